"Exports as tools write them, and folders as people have them, made from a known drawing: imported as drawn, pixel by pixel"
import base64, errno, json, math, os, re, shutil, subprocess, sys, unicodedata, zipfile
import numpy as np, pytest, tifffile
from PIL import Image, ImageDraw, ImageFilter
from pycocotools import mask as coco
from segkc_fastai.core.files import write_json
from segkc_fastai.core.task import Task, load_task
from segkc_fastai.data.audit import audit
from segkc_fastai.data.bands import read_picture
from segkc_fastai.data.benchmarks import load_source
from segkc_fastai.data.importing import import_data, recognised_format
from segkc_fastai.data.inspection import mask_values, numbers_objects
from segkc_fastai.data.labels import read_image, read_mask
from segkc_fastai.deploy.export_labels import export_labels, run_lengths
from segkc_fastai.deploy.predict import as_image
from test_masks import png_file

SIZE = 96,80 # width and height
CAR,ROAD = [(10,8),(40,8),(40,30),(10,30)],[(50,40),(90,44),(86,70),(55,72)] # outlines
COLOURS = [(0,0,0), (250,50,83), (64,128,32)]

def drawing(i):
    "Car (1) and road (2), moved by i pixels"
    m = Image.new('L', SIZE)
    for k,o in enumerate((CAR,ROAD), 1): ImageDraw.Draw(m).polygon(moved(o, i), fill=k, outline=k)
    return np.asarray(m)

def moved(o, i): return [(x+i, y) for x,y in o]
def photo(f, i=0):
    f.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8([(90,90,90), (200,30,30), (60,60,70)])[drawing(i)]).save(f)
def save(f, a, **kw):
    f.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(a, np.uint8)).save(f, **kw)
def text(f, s):
    f.parent.mkdir(parents=True, exist_ok=True)
    f.write_text(s if isinstance(s, str) else json.dumps(s))

def labelme(d, inside=False):
    "Version 5: a JSON file per image"
    for i in range(4):
        photo(d/f'im{i}.png', i)
        if i==3: continue # still to be annotated
        shapes = [dict(label=l, points=[list(map(float, p)) for p in moved(o, i)], group_id=None, description='', shape_type='polygon', flags={}, mask=None)
            for l,o in (('car',CAR), ('road',ROAD))]
        data = base64.b64encode((d/f'im{i}.png').read_bytes()).decode() if inside else None
        text(d/f'im{i}.json', dict(version='5.5.0', flags={}, shapes=shapes, imagePath=f'im{i}.png', imageData=data, imageHeight=80, imageWidth=96))
        if inside: (d/f'im{i}.png').unlink()

def labelme_inside(d): labelme(d, inside=True)

def labelme2voc(d):
    for i in range(3):
        photo(d/'JPEGImages'/f'im{i}.png', i)
        m = Image.fromarray(drawing(i))
        m.putpalette(sum(COLOURS, ()))
        (d/'SegmentationClassPNG').mkdir(exist_ok=True)
        m.save(d/'SegmentationClassPNG'/f'im{i}.png')
        photo(d/'SegmentationClassVisualization'/f'im{i}.jpg', i)
    text(d/'class_names.txt', '_background_\ncar\nroad\n')

def cvat(d):
    "Segmentation mask 1.1"
    for i in range(3):
        photo(d/'JPEGImages'/f'im{i}.jpg', i)
        save(d/'SegmentationClass'/f'im{i}.png', np.uint8(COLOURS)[drawing(i)])
        save(d/'SegmentationObject'/f'im{i}.png', np.uint8(COLOURS)[np.minimum(drawing(i), 1)])
    lines = '\n'.join(f'{k}:{",".join(map(str, c))}::' for k,c in zip(('background','car','road'), COLOURS))
    text(d/'labelmap.txt', f'# label:color_rgb:parts:actions\n{lines}\n')
    text(d/'ImageSets'/'Segmentation'/'default.txt', 'im0\nim1\nim2\n')

def roboflow(d):
    "png-mask-semantic"
    for part,i in (('train',0), ('train',1), ('valid',2)):
        photo(d/part/f'im{i}_jpg.rf.0123abcd.jpg', i)
        save(d/part/f'im{i}_jpg.rf.0123abcd_mask.png', drawing(i))
        text(d/part/'_classes.csv', 'Pixel Value, Class\n0, background\n1, car\n2, road\n')

def coco_rle(d, compressed=True):
    images,found = [],[]
    for i in range(4):
        photo(d/'images'/f'im{i}.jpg', i)
        images.append(dict(id=i+1, file_name=f'im{i}.jpg', width=96, height=80))
        for k in (1,2) if i<3 else ():
            m = drawing(i)==k
            rle = coco.encode(np.asfortranarray(m.astype(np.uint8))) if compressed else dict(size=[80,96], counts=run_lengths(m))
            if compressed: rle['counts'] = rle['counts'].decode()
            found.append(dict(id=len(found)+1, image_id=i+1, category_id=k+10, segmentation=rle, area=int(m.sum()), bbox=[0,0,1,1], iscrowd=1))
    cats = [dict(id=11, name='car', supercategory=''), dict(id=12, name='road', supercategory=''), dict(id=13, name='never', supercategory='')]
    text(d/'annotations'/'instances_default.json', dict(licenses=[], info={}, images=images, annotations=found, categories=cats))

def coco_counts(d): coco_rle(d, compressed=False)

def packed(samples):
    "Label Studio's brush as its editor packs it: records of equal samples"
    bits = f'{len(samples):032b}{7:05b}' + ''.join(f'{o-1:04b}' for o in (3,4,8,16))
    i = 0
    while i<len(samples):
        j = i
        while j<len(samples) and samples[j]==samples[i] and j-i<2**16: j += 1
        k,n = next((k,n) for k,n in enumerate((3,4,8,16)) if j-i<=2**n)
        bits += f'1{k:02b}{j-i-1:0{n}b}{samples[i]:08b}'
        i = j
    return [int(bits[i:i+8].ljust(8, '0'), 2) for i in range(0, len(bits), 8)]

def label_studio(d):
    tasks = []
    for i in range(4):
        photo(d/'upload'/f'im{i}.png', i)
        results = []
        for k,name in ((1,'car'), (2,'road')):
            rgba = np.zeros((80,96,4), np.uint8)
            rgba[drawing(i)==k] = 255
            value = dict(format='rle', rle=packed(rgba.ravel().tolist()), brushlabels=[name])
            results.append(dict(id=f'r{k}', type='brushlabels', from_name='tag', to_name='image', original_width=96, original_height=80, value=value))
        notes = [dict(id=i, was_cancelled=False, result=results)] if i<3 else []
        tasks.append(dict(id=i+1, data=dict(image=f'/data/upload/1/0a1b2c3d-im{i}.png'), annotations=notes, predictions=[]))
    text(d/'project-1.json', tasks)

def placed(d, image, mask):
    "Three pairs at paths made of part and number"
    for i,part in enumerate(('train','train','val')):
        photo(d/image.format(part=part, i=i), i)
        save(d/mask.format(part=part, i=i), drawing(i))

def mmsegmentation(d): placed(d, 'img_dir/{part}/im{i}.jpg', 'ann_dir/{part}/im{i}.png')
def images_and_labels(d): placed(d, 'images/{part}/im{i}.jpg', 'labels/{part}/im{i}.png')
def capitals(d): placed(d, 'Images/im{i}.jpg', 'Masks/im{i}.png')
def train_labels(d): placed(d, 'train/images/im{i}.jpg', 'train/labels/im{i}.png')
def side_by_side(d): placed(d, 'train/im{i}.png', 'train/im{i}_mask.png')
def sequences(d): placed(d, 'images/drive{i}/001.jpg', 'masks/drive{i}/001.png')

def codes(d):
    placed(d, 'images/im{i}.png', 'labels/im{i}_P.png')
    text(d/'codes.txt', 'background\ncar\nroad\nVoid\n')

def per_class(d, mask):
    for i in range(3):
        photo(d/'images'/f'im{i}.jpg', i)
        for k,name in ((1,'car'), (2,'road')): save(d/'masks'/mask.format(name=name, i=i), 255*(drawing(i)==k))

def class_folders(d): per_class(d, '{name}/im{i}.png')
def class_endings(d): per_class(d, 'im{i}_{name}.png')

def objects(d):
    for i in range(3):
        photo(d/'stage1_train'/f'im{i}'/'images'/f'im{i}.png', i)
        for k in (1,2): save(d/'stage1_train'/f'im{i}'/'masks'/f'object{k}.png', 255*(drawing(i)==k))

WRITERS = { # function → kind, names of the classes
    labelme:('labelme','background car road'), labelme_inside:('labelme','background car road'), labelme2voc:('pairs','_background_ car road'),
    cvat:('pairs','background car road'), roboflow:('pairs','background car road'), coco_rle:('coco','background car road'),
    coco_counts:('coco','background car road'), label_studio:('label_studio','background car road'), mmsegmentation:('pairs',''),
    images_and_labels:('pairs',''), capitals:('pairs',''), train_labels:('pairs',''), side_by_side:('pairs',''), codes:('pairs','background car road'),
    sequences:('pairs',''), class_folders:('files per class','background car road'), class_endings:('files per class','background car road'),
    objects:('files per object','background object')}

def snapshot(d): return {str(f.relative_to(d)):f.read_bytes() for f in d.rglob('*') if f.is_file()}

@pytest.mark.parametrize('writer', WRITERS, ids=lambda o: o.__name__)
def test_imported_as_drawn(tmp_path, writer):
    src,out,(kind,names) = tmp_path/'src',tmp_path/'out',WRITERS[writer]
    src.mkdir()
    writer(src)
    before = snapshot(src)
    r = import_data(src, out)
    assert r.kind==kind and not r.left and snapshot(src)==before
    assert not names or ' '.join(r.task.classes)==names
    got = load_source(out)
    pairs = got.train+got.val
    assert len(pairs)==3
    for p in pairs:
        i = int(p.name[5 if p.name.startswith('drive') else 2])
        want = drawing(i)
        if writer is objects: want = want>0
        assert np.array_equal(read_mask(p.mask, got.task), want), p.name
    assert len(got.extra)==(1 if writer in (labelme,labelme_inside,coco_rle,coco_counts,label_studio) else 0)
    assert len(got.val)==(1 if writer in (roboflow,mmsegmentation,images_and_labels) else 0)

@pytest.mark.parametrize('writer', [o for o in WRITERS if o not in (train_labels,)], ids=lambda o: o.__name__)
def test_the_audit_prints_the_line_that_imports(tmp_path, writer):
    src = tmp_path/'src'
    src.mkdir()
    writer(src)
    said = audit(src, size=(64,64)).markdown()
    if writer in (cvat,): return # read in place
    line = next(o for o in said.split('`') if o.startswith('segkc import'))
    cli = [sys.executable, '-m', 'segkc_fastai.cli', *line.split()[1:]]
    if writer is not labelme: return # one process says enough
    subprocess.run(cli, check=True, capture_output=True)
    assert audit(f'{src}-imported', labelled=2, size=(64,64)).task.classes==('background','car','road')

@pytest.mark.parametrize('writer', [labelme, coco_rle, label_studio], ids=lambda o: o.__name__)
def test_masks_beside_annotations_are_no_images(tmp_path, writer):
    "Tools also export pictures of their masks"
    d = tmp_path/'src'
    d.mkdir()
    writer(d)
    for f in ('masks/im0.png','SegmentationClassVisualization/im0.jpg','task-1-annotation-1-by-1-tag-car-0.png'): save(d/f, drawing(0))
    r = import_data(d, tmp_path/'out')
    assert r.parts==dict(train=3, val=0, test=0, unlabelled=1) and not r.left

def test_sequences_are_groups(tmp_path):
    sequences(tmp_path/'src')
    import_data(tmp_path/'src', tmp_path/'out')
    assert {p.name for p in load_source(tmp_path/'out').train}=={'drive0_001','drive1_001','drive2_001'}

def again(d, name, source='Masks/im0.png'): save(d/name, np.asarray(Image.open(d/source)))
DOUBTFUL = { # what lies in the folder as well → words of the refusal
    'masks_old/im0.png':'2 masks of Images/im0.jpg: Masks/im0.png and masks_old/im0.png; keep the one that is meant',
    'pred_masks/im0.png':'2 masks of Images/im0.jpg: Masks/im0.png and pred_masks/im0.png', 'Masks/im0_mask.png':'Masks/im0.png and Masks/im0_mask.png',
    'gt_alt/im0.png':'Masks/im0.png and gt_alt/im0.png', 'Images/im0.png':'2 images for the mask Masks/im0.png: Images/im0.jpg and Images/im0.png',
    'photos/im0.tif':'2 images for the mask Masks/im0.png: Images/im0.jpg and photos/im0.tif'}

@pytest.mark.parametrize('name', DOUBTFUL)
def test_no_mask_is_chosen_silently(tmp_path, name):
    capitals(d := tmp_path/'src')
    again(d, name)
    with pytest.raises(ValueError, match=DOUBTFUL[name]): import_data(d, tmp_path/'out')
    write_json(d/'task.json', Task(['background','car','road']).to_dict())
    with pytest.raises(ValueError, match=DOUBTFUL[name]): load_source(d, layout='folder')
    found = audit(d, layout='folder', size=(64,64)).findings
    assert sum(DOUBTFUL[name] in o.what and o.level=='error' for o in found)==1

def test_a_class_mask_of_two_images_is_refused(tmp_path):
    class_folders(d := tmp_path/'src')
    again(d, 'images/im0.png', 'images/im0.jpg')
    with pytest.raises(ValueError, match='a mask of 2 images, .*im0.jpg and .*im0.png'): import_data(d, tmp_path/'out')

def test_names_in_two_unicode_forms_are_one(tmp_path):
    "Images from one system and masks from another; also in the names of folders"
    d,(nfd,nfc) = tmp_path/'src',(unicodedata.normalize(k, 'Bäume') for k in ('NFD','NFC'))
    photo(d/'images'/nfd/f'{nfd}.jpg')
    photo(d/'images'/nfd/f'{nfd}2.jpg')
    save(d/'masks'/nfc/f'{nfc}.png', drawing(0))
    save(d/'masks'/nfc/f'{nfc}2_mask.png', drawing(0))
    assert import_data(d, tmp_path/'out').parts['train']==2

def test_a_png_beside_a_jpeg_is_its_mask_where_nothing_else_is(tmp_path):
    d = tmp_path/'src'
    for i,end in enumerate(('jpg','JPG')):
        photo(d/f'im{i}.{end}', i)
        save(d/f'im{i}.png', drawing(i))
    assert import_data(d, tmp_path/'out').parts['train']==2

def test_masks_that_are_not_used_are_listed(tmp_path):
    "One of another name than its image, and all of them beside annotations"
    capitals(d := tmp_path/'src')
    (d/'Masks'/'im1.png').rename(d/'Masks'/'im1b.png')
    r = import_data(d, tmp_path/'out')
    assert r.notes[0]=='1 mask(s) are not used, because no image has their names: Masks/im1b.png'
    assert r.notes[0] in (tmp_path/'out'/'import.md').read_text() and r.parts['unlabelled']==1
    labelme(d := tmp_path/'annotated')
    again(d, 'masks/im0.png', '../src/Masks/im0.png')
    assert import_data(d, tmp_path/'other').notes==['1 mask(s) are not used, because labels are read as labelme: masks/im0.png']

def test_annotations_of_two_kinds_are_refused(tmp_path):
    labelme(d := tmp_path/'src')
    coco_rle(d/'other')
    with pytest.raises(ValueError, match=r'annotations of 2 kinds, labelme \(im0.json\) and coco \(other/.*json\); keep those'): import_data(d, tmp_path/'out')

def test_yolo_is_refused_by_name(tmp_path):
    photo(tmp_path/'src'/'images'/'im0.jpg')
    text(tmp_path/'src'/'labels'/'im0.txt', '0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n')
    with pytest.raises(ValueError, match='labels of YOLO .labels/im0.txt., which are not read; convert them to COCO'): import_data(tmp_path/'src', tmp_path/'out')
    assert 'labels of YOLO (labels/im0.txt)' in audit(tmp_path/'src').markdown()

def test_boxes_without_outlines_are_ignored_pixels(tmp_path):
    "Not background: their classes are known to be there"
    coco_counts(d := tmp_path/'src')
    f = d/'annotations'/'instances_default.json'
    o = json.loads(f.read_text())
    for a in o['annotations']:
        if a['category_id']==12: a |= dict(segmentation=[], bbox=[a['image_id']+49, 40, 40.5, 32.5])
    text(f, o)
    r = import_data(d, tmp_path/'out')
    assert r.task.classes==('background','car') and r.notes==['3 object(s) of class road have a box but no outline; pixels in the box are ignored']
    src = load_source(tmp_path/'out')
    for p in src.train:
        got,want = read_mask(p.mask, src.task),drawing(int(p.name[2]))
        assert (got[want==2]==255).all() and np.array_equal(got==1, want==1) and (got==255).sum()==41*33
    for a in o['annotations']: a['segmentation'] = []
    text(f, o)
    with pytest.raises(ValueError, match='boxes but no outlines; export polygons'): import_data(d, tmp_path/'all')

def test_overlapping_classes_are_reported(tmp_path):
    "A folder `background` is class 0, and the report names a class that others cover"
    class_folders(d := tmp_path/'src')
    for i in range(3):
        save(d/'masks'/'Background'/f'im{i}.png', 255*(drawing(i)==0))
        save(d/'masks'/'edge'/f'im{i}.png', 255*(drawing(i)==2))
    r = import_data(d, tmp_path/'out')
    n = 3*int((drawing(0)==2).sum())
    assert r.task.classes==('background','car','edge','road')
    assert r.notes==[f'{n:,} pixel(s) of edge belong to road as well and count as road', 'no mask shows edge']

def test_palettes_of_their_own_are_read_by_colour(tmp_path):
    "Numbered anew in each mask, as drawing programs do; the copies have one palette, and the audit says nothing of it"
    capitals(d := tmp_path/'src')
    for i,f in enumerate(sorted((d/'Masks').iterdir())):
        order = np.roll(np.arange(3), i)
        p = Image.fromarray(np.uint8(order)[drawing(i)])
        p.putpalette(np.uint8(COLOURS)[order.argsort()].tobytes())
        p.save(f)
    r = import_data(d, tmp_path/'out')
    src = load_source(tmp_path/'out')
    assert r.notes==['palettes differ: one colour has several class numbers, each in another mask; colours were read']
    number = np.array([r.task.palette.index(c) for c in COLOURS])
    for p in src.train: assert np.array_equal(read_mask(p.mask, src.task), number[drawing(int(p.name[2]))])
    assert not any('palette images' in o.what or 'palettes differ' in o.what for o in audit(tmp_path/'out', size=(64,64)).findings)
    proposal = audit(d, size=(64,64))
    assert '"masks": "rgb"' in proposal.markdown()
    assert load_task(proposal.write_task().parent).palette==r.task.palette

def test_two_codings_in_one_folder_are_reported(tmp_path):
    for i in range(2):
        photo(tmp_path/'src'/'Images'/f'im{i}.jpg')
        save(tmp_path/'src'/'Masks'/f'im{i}.png', (drawing(0)==1)*(1,255)[i])
    (note,) = import_data(tmp_path/'src', tmp_path/'out').notes
    assert note.startswith('some masks hold 0 and 1, others 0 and 255') and '"masks": {"0": 0, "1": 1, "255": 1}' in note
    write_json(tmp_path/'src'/'task.json', dict(classes=['a','b'], masks={0:0, 1:1, 255:1}, ignore=[]))
    assert not import_data(tmp_path/'src', tmp_path/'other').notes

def numbered(d, kind=np.uint16):
    "Masks with 3, 9 and 12 cells, each with a number of its own, of a type of NumPy"
    for i,n in enumerate((3,9,12)):
        photo(d/'Images'/f'im{i}.png')
        m = np.zeros(SIZE[::-1], kind)
        for k in range(n): m[4*(k//6):4*(k//6)+3,5*(k%6):5*(k%6)+4] = k+1
        (d/'Masks').mkdir(exist_ok=True)
        Image.fromarray(m).save(d/'Masks'/f'im{i}.png')

@pytest.mark.parametrize('kind', [np.uint8,np.uint16])
@pytest.mark.parametrize('classes', [None, ['plate','cell']])
def test_numbers_of_objects_are_one_class(tmp_path, kind, classes):
    src = tmp_path/'src'
    numbered(src, kind)
    if classes: write_json(src/'task.json', dict(classes=classes))
    (f,) = [f for f in audit(src, labelled=2, size=(32,32)).findings if 'numbers of objects' in f.what]
    assert f.level=='warning' and f'segkc import {src}' in f.mend
    res = import_data(src, tmp_path/'out')
    assert res.task.classes==tuple(classes or ('background','object')) and 'each became '+res.task.classes[1] in res.notes[0]
    for p in load_source(tmp_path/'out').train:
        want = np.asarray(Image.open(src/'Masks'/p.mask.name))>0
        assert np.array_equal(read_mask(p.mask, res.task), want)

def test_classes_are_no_numbers_of_objects():
    found = lambda masks: numbers_objects([mask_values(o)[0].tolist() for o in masks], masks)
    same = [np.kron(np.arange(10)[None], np.ones((4,4)))]*4 # each class in one piece, in every mask
    gaps = [np.where(same[0]%(i+2), same[0], 0) for i in range(3)]
    pieces = [np.tile(np.where(same[0]<n, same[0], 0), (1,2)) for n in (4,9,10)]
    for ms in (same, gaps, pieces): assert not found([Image.fromarray(m.astype(np.uint8)) for m in ms])
    assert not found([Image.fromarray(np.int32([[0,2**31-1]]))]*3), 'in no time and memory'
    cells = [Image.fromarray(np.where(same[0]<n, same[0], 0).astype(np.int32)) for n in (4,9,10)]*7
    assert found(cells) and found([*cells, Image.fromarray(np.int32([[0,2**31-1]]))])
    assert not numbers_objects([{0,1}]*20, (1/0 for _ in range(20))), 'masks of two classes are not read'

def test_the_audit_knows_labels_from_other_files(tmp_path):
    labelme(tmp_path/'annotated')
    assert '.json' not in audit(tmp_path/'annotated', size=(64,64)).markdown()
    class_folders(tmp_path/'classes')
    (hit,) = (o for o in audit(tmp_path/'classes', size=(64,64)).findings if 'in a folder below' in o.what)
    assert hit.files==['masks/car','masks/road']

def smooth(d, end):
    for i in range(3):
        photo(d/'images'/f'im{i}.jpg', i)
        m = Image.fromarray(np.uint8(255*(drawing(i)==1))).filter(ImageFilter.GaussianBlur(1))
        (d/'masks').mkdir(exist_ok=True)
        m.save(d/'masks'/f'im{i}.{end}')

@pytest.mark.parametrize('end', ['png','jpg'])
def test_threshold(tmp_path, end):
    smooth(tmp_path/'src', end)
    with pytest.raises(ValueError, match='threshold'): import_data(tmp_path/'src', tmp_path/'out')
    assert not (tmp_path/'out').exists()
    r = import_data(tmp_path/'src', tmp_path/'out', threshold=128)
    src = load_source(tmp_path/'out')
    assert r.task.classes==('background','object') and len(src.train)==3
    for p in src.train: assert (read_mask(p.mask, src.task)!=(drawing(int(p.name[2]))==1)).mean()<.001

def test_nearest(tmp_path):
    "Masks in colour that were saved as JPEG"
    d = tmp_path/'src'
    for i in range(3):
        photo(d/'images'/f'im{i}.png', i)
        save(d/'masks'/f'im{i}.jpg', np.uint8(COLOURS)[drawing(i)], quality=90)
    with pytest.raises(ValueError, match='nearest'): import_data(d, tmp_path/'out', nearest=True)
    write_json(d/'task.json', Task(['background','car','road'], COLOURS, (), 'rgb').to_dict())
    import_data(d, tmp_path/'out', nearest=True)
    src = load_source(tmp_path/'out')
    assert len(src.train)==3 and all((read_mask(p.mask, src.task)!=drawing(int(p.name[2]))).mean()<.01 for p in src.train)

@pytest.mark.parametrize('tag, turn', {3:Image.Transpose.ROTATE_180, 6:Image.Transpose.ROTATE_90, 8:Image.Transpose.ROTATE_270}.items())
def test_masks_turn_with_images_that_are_stored_turned(tmp_path, tag, turn):
    "A mask that was drawn on the pixels as stored, which shows in its size unless the turn is by 180°"
    d,exif = tmp_path/'src',Image.Exif()
    exif[0x0112] = tag
    photo(d/'images'/'im0.png')
    upright = Image.open(d/'images'/'im0.png').convert('RGB')
    (d/'images'/'im0.png').unlink()
    upright.transpose(turn).save(d/'images'/'im0.jpg', exif=exif)
    (d/'masks').mkdir()
    m = Image.fromarray(drawing(0))
    (m if tag==3 else m.transpose(turn)).save(d/'masks'/'im0.png')
    import_data(d, tmp_path/'out')
    src = load_source(tmp_path/'out')
    assert np.array_equal(read_mask(src.train[0].mask, src.task), drawing(0))

def test_other_images_are_left_out_and_named(tmp_path):
    "Nothing stops at one bad file, and nothing is left out unmentioned"
    d = tmp_path/'src'
    capitals(d)
    (d/'Images'/'im0.jpg').write_bytes((d/'Images'/'im0.jpg').read_bytes()[:300])
    Image.fromarray(drawing(1)).resize((20,20)).save(d/'Masks'/'im1.png')
    r = import_data(d, tmp_path/'out')
    assert {f.name for f,_ in r.left}=={'im1.jpg'} or {f.name for f,_ in r.left}=={'im0.jpg','im1.jpg'}
    why = dict((f.name, w) for f,w in r.left)['im1.jpg']
    assert '20×20 pixels, but the image 96×80' in why and why in (tmp_path/'out'/'import.md').read_text()
    assert [p.name for p in load_source(tmp_path/'out').train][-1]=='im2'

def test_nothing_is_half_written(tmp_path):
    d = tmp_path/'src'
    capitals(d)
    for f in (d/'Masks').iterdir(): f.write_bytes(b'no')
    with pytest.raises(ValueError): import_data(d, tmp_path/'out')
    assert [f.name for f in tmp_path.iterdir()]==['src']

@pytest.mark.parametrize('fill, words', [
    (lambda d: None, 'no images with masks'),
    (lambda d: photo(d/'a.png'), 'no images with masks'),
    (lambda d: (labelme(d), text(d/'labels.txt', 'car\n')), "does not list 'road'"),
    (lambda d: (coco_rle(d), (d/'images'/'im0.jpg').unlink()), 'im0.jpg: 0 images of this name'),
    (lambda d: text(d/'x.json', [dict(data=dict(text='a'), annotations=[])]), 'names no image file'),
    (lambda d: (labelme(d), (d/'im1.json').write_text('{"shapes": [')), 'im1.json: not readable as JSON'),
    (lambda d: (photo(d/'a.png'), save(d/'task-1-annotation-3-by-1-tag-car-0.png', drawing(0)>0)), 'export JSON as well'),
])
def test_clear_errors(tmp_path, fill, words):
    d = tmp_path/'src'
    d.mkdir()
    fill(d)
    with pytest.raises((ValueError,OSError), match=words): import_data(d, tmp_path/'out')
    assert not (tmp_path/'out').exists()

def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    capitals(tmp_path/'src')
    def full(*args): raise OSError(errno.ENOSPC, 'No space left on device', str(args[1]))
    monkeypatch.setattr(shutil, 'copyfile', full)
    with pytest.raises(OSError, match='No space left'): import_data(tmp_path/'src', tmp_path/'out')
    assert [f.name for f in tmp_path.iterdir()]==['src']

def without(o):
    "Copies of a JSON value, each without one key or with one value of another type"
    keys = o if isinstance(o, dict) else range(len(o)) if isinstance(o, list) else ()
    for k in list(keys)[:12]:
        if isinstance(o, dict): yield {j:v for j,v in o.items() if j!=k}
        yield {**o, k:None} if isinstance(o, dict) else [*o[:k], None, *o[k+1:]]
        for v in without(o[k]): yield {**o, k:v} if isinstance(o, dict) else [*o[:k], v, *o[k+1:]]

@pytest.mark.parametrize('writer', [labelme, coco_counts, label_studio], ids=lambda o: o.__name__)
def test_annotations_in_another_form_raise_nothing_else(tmp_path, writer):
    d = tmp_path/'src'
    d.mkdir()
    writer(d)
    file = next(d.rglob('*.json'))
    good = json.loads(file.read_text())
    small = good if writer is labelme else good[:1] if writer is label_studio else good | dict(images=good['images'][:1], annotations=good['annotations'][:1])
    for i,bad in enumerate(without(small)):
        file.write_text(json.dumps(bad))
        try: import_data(d, tmp_path/f'out{i}')
        except (ValueError,OSError) as e: assert str(tmp_path) in str(e), e

def coco_one(d, size=(20,20), category=1, name='cat', file='c', seg=[[0,0,10,0,10,10]], **more):
    d.mkdir(exist_ok=True)
    Image.new('RGB', (20,20)).save(d/'a.png')
    o = dict(id=1, image_id=1, category_id=category, segmentation=seg) | more
    text(d/f'{file}.json', dict(images=[dict(id=1, file_name='a.png', height=size[0], width=size[1])], categories=[dict(id=1, name=name)], annotations=[o]))

def labelme_one(d, points=((0,0),(5,0),(5,5)), label='cat', kind='polygon', size=(20,20), **more):
    d.mkdir()
    Image.new('RGB', (20,20)).save(d/'a.png')
    text(d/'a.json', dict(imagePath='a.png', imageWidth=size[0], imageHeight=size[1], shapes=[dict(label=label, points=points, shape_type=kind) | more]))

NAN,FAR = ((math.nan,0),(5,0),(5,5)),((1e300,0),(5,0),(5,5))

@pytest.mark.parametrize('write, kw, words', [
    (coco_one, dict(category=7), 'category 7 is not among its categories'),
    (coco_one, dict(size=('20',20)), "an image of 20 × '20' pixels; must be whole numbers"),
    (coco_one, dict(size=(-20,20)), 'an image of 20 × -20 pixels'),
    (coco_one, dict(size=(10**6,10**6)), r'an image of 1000000 × 1000000 pixels; must be whole numbers above 0, of at most 268,435,456 pixels in all'),
    (coco_one, dict(seg=[[math.nan,0,10,0,10,10]]), 'cannot draw .a point at'),
    (coco_one, dict(seg=dict(size=[10**6,10**6], counts=[10**12])), 'run lengths of .1000000, 1000000. pixels in an image of .20, 20.'),
    (labelme_one, dict(points=NAN), 'a point at .nan, 0.; must be two numbers'),
    (labelme_one, dict(points=FAR), 'a point at .1e.300, 0.; must be two numbers'),
    (labelme_one, dict(points=((1,1),), kind='circle'), 'a circle of 1 point.s.; must have 2'),
    (labelme_one, dict(points=(), kind='rectangle'), 'a rectangle of 0 point.s.; must have 2'),
    (labelme_one, dict(kind='mask', mask='!!!'), 'a shape of kind mask whose bitmap cannot be read'),
    (labelme_one, dict(size=(10**7,10**7)), 'an image of 10000000 × 10000000 pixels'),
    (labelme_one, dict(size=(-5,20)), 'an image of -5 × 20 pixels'),
    (labelme_one, dict(label=' '), 'an empty label; name the class'),
])
def test_faults_of_annotations_are_named(tmp_path, write, kw, words):
    write(tmp_path/'src', **kw)
    with pytest.raises(ValueError, match=f'{"c" if write is coco_one else "a"}.json: .*{words}'): import_data(tmp_path/'src', tmp_path/'out')

def test_blanks_around_a_label_do_not_matter(tmp_path):
    labelme_one(tmp_path/'src', label=' cat ')
    assert import_data(tmp_path/'src', tmp_path/'out').task.classes==('background','cat')

def test_an_image_that_is_annotated_twice_is_left_out(tmp_path):
    "Promised: No object becomes background unseen. Attacked: A COCO file per class; then one of them annotates nothing"
    for k in ('cat','dog'): coco_one(tmp_path/'src', name=k, file=k)
    with pytest.raises(ValueError, match='a.png: annotated 2 times, in several files or tasks; join them, or keep one'): import_data(tmp_path/'src', tmp_path/'out')
    Image.new('RGB', (20,20)).save(tmp_path/'src'/'b.png')
    coco = json.loads((tmp_path/'src'/'dog.json').read_text())
    text(tmp_path/'src'/'dog.json', coco | dict(images=[*coco['images'], dict(id=2, file_name='b.png', height=20, width=20)], annotations=[o | dict(image_id=2) for o in coco['annotations']]))
    r = import_data(tmp_path/'src', tmp_path/'out')
    assert r.parts['train']==2 and not r.left and r.task.classes==('background','cat','dog')

def test_rectangles_of_label_studio_have_the_size_that_is_stated(tmp_path):
    photo(tmp_path/'src'/'a.png')
    box = dict(type='rectanglelabels', original_width=100, original_height=50, value=dict(x=10, y=10, width=20, height=20, rectanglelabels=['cat']))
    Image.new('RGB', (100,50)).save(tmp_path/'src'/'a.png')
    text(tmp_path/'src'/'p.json', [dict(id=1, data=dict(image='a.png'), annotations=[dict(result=[box])])])
    import_data(tmp_path/'src', tmp_path/'out')
    ys,xs = np.nonzero(np.asarray(Image.open(tmp_path/'out'/'train'/'masks'/'a.png')))
    assert (ys.min(), ys.max(), xs.min(), xs.max(), len(ys))==(5, 14, 10, 29, 200)

def test_the_new_folder_must_be_new_and_elsewhere(tmp_path):
    capitals(tmp_path/'src')
    with pytest.raises(ValueError, match='pass a folder outside it'): import_data(tmp_path/'src', tmp_path/'src'/'out')
    text(tmp_path/'out'/'precious.txt', 'x')
    with pytest.raises(FileExistsError, match='nothing is overwritten'): import_data(tmp_path/'src', tmp_path/'out')
    assert (tmp_path/'out'/'precious.txt').read_text()=='x'

def test_links_share_the_bytes(tmp_path):
    capitals(tmp_path/'src')
    import_data(tmp_path/'src', tmp_path/'out', link=True)
    assert os.path.samefile(tmp_path/'src'/'Images'/'im0.jpg', tmp_path/'out'/'train'/'images'/'im0.jpg')

def partly(i):
    "A drawing with ignored pixels"
    a = drawing(i)
    return np.where(np.arange(96)<20, 255, a).astype(np.uint8)

@pytest.mark.parametrize('to, name', [('coco','labels.json'), ('cvat','labels.zip')])
def test_exported_labels_come_back(tmp_path, to, name):
    photos,masks = tmp_path/'photos',tmp_path/'masks'
    for i in range(3):
        photo(photos/'day'/f'im{i}.jpg', i)
        save(masks/'masks'/'day'/f'im{i}.png', partly(i))
    write_json(masks/'task.json', Task(['background','car','road']).to_dict())
    assert export_labels(masks, photos, tmp_path/name, to)==3
    if to=='cvat':
        with zipfile.ZipFile(tmp_path/name) as z: z.extractall(photos)
    else: (tmp_path/name).rename(photos/name)
    r = import_data(photos, tmp_path/'out')
    src = load_source(tmp_path/'out')
    assert r.task.classes==('background','car','road') and len(src.train)==3 and not r.left
    for p in src.train: assert np.array_equal(read_mask(p.mask, src.task), partly(int(p.name[2]))), p.name

def test_a_class_that_cvat_cannot_read_is_refused(tmp_path):
    photo(tmp_path/'photos'/'im0.jpg')
    save(tmp_path/'masks'/'im0.png', drawing(0))
    write_json(tmp_path/'masks'/'task.json', Task(['background','sign: stop','road']).to_dict())
    with pytest.raises(ValueError, match="CVAT cannot read the class 'sign: stop'; rename it in task.json"):
        export_labels(tmp_path/'masks', tmp_path/'photos', tmp_path/'labels.zip', 'cvat')
    assert not (tmp_path/'labels.zip').exists()

def test_masks_are_exported_for_the_photos_that_they_belong_to(tmp_path):
    for k in ('im0','more/im0'): photo(tmp_path/'photos'/f'{k}.png')
    save(tmp_path/'out'/'masks'/'im0.png', drawing(0))
    write_json(tmp_path/'out'/'task.json', Task(['background','car','road']).to_dict())
    write_json(tmp_path/'out'/'predict.json', dict(images='../photos'))
    with pytest.raises(ValueError, match='out: holds masks of the images in .*photos, not in .*more'):
        export_labels(tmp_path/'out', tmp_path/'photos'/'more', tmp_path/'labels.json')
    assert export_labels(tmp_path/'out', tmp_path/'photos', tmp_path/'labels.json')==1

def test_cvat_keeps_classes_and_ignored_pixels_apart(tmp_path):
    "Promised: Exported masks come back. Attacked: A palette that repeats a colour, and the one of ignored pixels"
    photos,masks = tmp_path/'photos',tmp_path/'masks'
    for i in range(3):
        photo(photos/f'im{i}.jpg', i)
        save(masks/f'im{i}.png', a := np.where(drawing(i)==2, 255, drawing(i)+2*(drawing(i)==0)*(np.arange(96)<5)).astype(np.uint8))
    write_json(masks/'task.json', Task(['background','cell','dish'], [(0,0,0), (255,255,255), (255,255,255)]).to_dict())
    export_labels(masks, photos, tmp_path/'labels.zip', 'cvat')
    with zipfile.ZipFile(tmp_path/'labels.zip') as z: z.extractall(photos)
    import_data(photos, tmp_path/'out')
    src = load_source(tmp_path/'out')
    assert src.task.classes==('background','cell','dish') and set(np.unique(a))=={0,1,2,255}
    assert all(np.array_equal(read_mask(p.mask, src.task), np.asarray(Image.open(masks/f'{p.name}.png'))) for p in src.train)

@pytest.mark.parametrize('to', ['coco','cvat'])
def test_photos_that_would_share_a_mask_are_refused(tmp_path, to):
    for end in ('jpg','png'): photo(tmp_path/'photos'/f'im0.{end}')
    save(tmp_path/'masks'/'im0.png', drawing(0))
    write_json(tmp_path/'masks'/'task.json', Task(['background','car','road']).to_dict())
    out = tmp_path/dict(coco='a.json', cvat='a.zip')[to]
    with pytest.raises(ValueError, match='im0.jpg: another image differs only in its ending, so both would share .*im0.png; move'): export_labels(tmp_path/'masks', tmp_path/'photos', out, to)
    assert not out.exists()

def bands(d, kind, end):
    "Pictures of a satellite: blue, green, red and infrared, or one band, of 11 bits"
    for i in range(3):
        a = np.stack([(drawing(i).astype(np.uint16)*k*300+k) for k in (1,2,3,0)], -1)
        (d/'images').mkdir(parents=True, exist_ok=True)
        if end=='png': Image.fromarray(a[...,2]).save(d/'images'/f'im{i}.png')
        else: tifffile.imwrite(d/'images'/f'im{i}.tif', a if kind=='contig' else a.transpose(2,0,1), photometric='minisblack', planarconfig=kind)
        save(d/'masks'/f'im{i}.png', drawing(i))

@pytest.mark.parametrize('kind, end', [('contig','tif'), ('separate','tif'), ('grey','png')])
def test_many_bands_and_bits(tmp_path, kind, end):
    "Refused with a line that imports them; what it states is in the task, by which further pictures are read"
    d = tmp_path/'src'
    bands(d, kind, end)
    write_json(d/'task.json', Task(['background','car','road']).to_dict())
    said = audit(d, labelled=2, size=(64,64)).markdown()
    assert '--range=' in said and ('--bands=0,1,2' in said)==(end=='tif')
    for f in (d/'images').iterdir():
        with pytest.raises(ValueError, match='three channels of 8 bits; make copies with segkc import'): read_image(f)
    import_data(d, tmp_path/'out', bands=(2,1,0) if end=='tif' else None, range=(0,1803))
    src = load_source(tmp_path/'out')
    assert len(src.train)==3 and src.task.range==(0,1803)
    for p in src.train:
        a,want = np.asarray(read_image(p.image)),drawing(int(p.name[2])).astype(float)
        assert np.array_equal(a[...,0], ((want*900+3)*255/1803).round()) and np.array_equal(read_mask(p.mask, src.task), want)
        raw = next(f for f in (d/'images').iterdir() if f.stem==p.name)
        assert np.array_equal(np.asarray(as_image(raw, src.task)), a)

@pytest.mark.parametrize('end, more', [('png', {}), ('tif', dict(extrasamples=['unassalpha'])), ('tif', dict(extrasamples=['unspecified']))])
def test_a_fourth_band_of_8_bits_is_no_transparency(tmp_path, end, more):
    "Promised: Stated bands are read. Attacked: A fourth channel that the file calls transparency, or nothing"
    a,d = np.full((80,96,4), (10,20,30,40), np.uint8),tmp_path/'src'
    (d/'images').mkdir(parents=True)
    for i in range(3):
        f = d/'images'/f'im{i}.{end}'
        Image.fromarray(a).save(f) if end=='png' else tifffile.imwrite(f, a, photometric='rgb', **more)
        save(d/'masks'/f'im{i}.png', drawing(i))
    for bands,want in (((3,2,1), [40,30,20]), ((0,1,2), [10,20,30])):
        import_data(d, out := tmp_path/f'out{bands[0]}', bands=bands)
        src = load_source(out)
        assert len(src.train)==3 and all(np.asarray(read_picture(p.image, src.task))[0,0].tolist()==want for p in src.train)

def test_bits_that_no_reader_keeps_are_refused(tmp_path):
    for k in ('images','masks'): (tmp_path/'src'/k).mkdir(parents=True)
    png_file(tmp_path/'src'/'images'/'im0.png', SIZE, 16, 2, (b'\0'+bytes(96*6))*80)
    save(tmp_path/'src'/'masks'/'im0.png', drawing(0))
    with pytest.raises(ValueError, match='colours of 16 bits are read only from TIFFs'): import_data(tmp_path/'src', tmp_path/'out', range=(0,99))

def test_coco_needs_its_tools(tmp_path, monkeypatch):
    coco_rle(tmp_path/'src')
    monkeypatch.setitem(sys.modules, 'pycocotools', None)
    with pytest.raises(ValueError, match='pip install pycocotools'): import_data(tmp_path/'src', tmp_path/'out')

def test_without_labels_there_is_no_kind(tmp_path):
    photo(tmp_path/'a.png')
    assert recognised_format(tmp_path) is None

def imported(src, out):
    "Report of an import, and the values that its masks show"
    return import_data(src, out),{str(f.relative_to(out)):sorted(np.unique(np.asarray(Image.open(f))).tolist()) for f in sorted(out.rglob('masks/*.png'))}

@pytest.mark.parametrize('top, images, masks', [('Semantic segmentation dataset','Tile 1/images','Tile 1/masks'), ('Lung Segmentation','CXR_png','masks'),
    ('.','face_mask_dataset/images','face_mask_dataset/labels')])
def test_the_nearest_folder_tells_masks_from_images(tmp_path, top, images, masks):
    src = tmp_path/'src'
    for i in range(2):
        photo(src/top/images/f'im{i}.png', i)
        save(src/top/masks/f'im{i}.png', drawing(i))
    photo(src/top/'more'/'images'/'im9.png')
    r,_ = imported(src, tmp_path/'out')
    assert (r.parts['train'], r.parts['unlabelled'], r.notes)==(2, 1, [])

def test_lists_of_parts_may_leave_out_endings_of_names_with_dots(tmp_path):
    src = tmp_path/'src'
    for i in range(4):
        photo(src/'JPEGImages'/f'cam.000{i}.png', i)
        save(src/'SegmentationClass'/f'cam.000{i}.png', drawing(i))
    text(src/'ImageSets'/'Segmentation'/'val.txt', 'cam.0002\ncam.0003.png\ncam.0009\n')
    r = import_data(src, tmp_path/'out')
    assert (r.parts['train'], r.parts['val'])==(2, 2) and '1 name(s) in lists of val and test match no image: cam.0009' in r.markdown()

def coco_file(d, **changes):
    "One image, `a`, with a square"
    photo(d/'a.png')
    square = dict(id=1, image_id=1, category_id=1, iscrowd=0, bbox=[10,10,9,9], area=81, segmentation=[[10,10,19,10,19,19,10,19]])
    image = dict(id=1, file_name='a.png', width=96, height=80)
    text(d/'c.json', dict(images=[image], annotations=[square], categories=[dict(id=1, name='car')]) | changes)
    return image,square

def test_annotations_of_coco_fit_one_image_each(tmp_path):
    image,square = coco_file(tmp_path/'lost')
    photo(tmp_path/'twice'/'b.png')
    coco_file(tmp_path/'twice', images=[image, image | dict(file_name='b.png')])
    with pytest.raises(ValueError, match=r'c.json: a.png and b.png share the id 1, so annotations fit both'): import_data(tmp_path/'twice', tmp_path/'out')
    coco_file(tmp_path/'lost', annotations=[square, square | dict(image_id='1')])
    assert '1 annotation(s) of c.json belong to no image in it' in import_data(tmp_path/'lost', tmp_path/'out').markdown()

@pytest.mark.parametrize('outlines', [[[]], [[1,1,50,50]], [[1,1,5,5], [10,10,19,10,19,19,10,19]]])
def test_an_outline_of_two_points_encloses_nothing(tmp_path, outlines):
    _,square = coco_file(tmp_path/'src')
    coco_file(tmp_path/'src', annotations=[square, square | dict(id=2, segmentation=outlines)])
    assert imported(tmp_path/'src', tmp_path/'out')[1]=={'train/masks/a.png':[0,1]}

def test_an_answer_about_an_image_of_label_studio_is_no_class(tmp_path):
    photo(tmp_path/'src'/'a.png')
    corners = dict(points=[[10,10],[40,10],[40,40]], polygonlabels=['car'])
    drawn = dict(type='polygonlabels', original_width=96, original_height=80, value=corners)
    answers = dict(type='choices', value=dict(choices=['sunny'])),dict(type='rating', value=dict(rating=4))
    of_region = drawn | dict(type='choices', value=corners | dict(choices=['old']))
    results = [answers[0], drawn, answers[1], of_region]
    text(tmp_path/'src'/'e.json', [dict(id=1, data=dict(image='a.png'), annotations=[dict(result=results)])])
    r,values = imported(tmp_path/'src', tmp_path/'out')
    assert (r.task.classes, values)==(('background','car'), {'train/masks/a.png':[0,1]})

def smooth_pairs(d, **task):
    for i in range(2):
        photo(d/'images'/f'im{i}.png', i)
        save(d/'masks'/f'im{i}.png', Image.fromarray(np.uint8(255*(drawing(i)==1))).filter(ImageFilter.GaussianBlur(1)))
    write_json(d/'task.json', dict(ignore=[]) | task)

def test_a_threshold_follows_the_coding_that_the_folder_states(tmp_path):
    smooth_pairs(tmp_path/'src', classes=['object','background'], masks={'255':0, '0':1})
    r = import_data(tmp_path/'src', tmp_path/'out', threshold=128)
    assert 0<r.pixels[0]<r.pixels[1] and sum(r.pixels)==2*96*80
    smooth_pairs(tmp_path/'three', classes=['a','b','c'], masks={'0':0, '127':1, '255':2})
    with pytest.raises(ValueError, match='threshold=128: is for masks of two classes, but .*three states 3; pass nearest=True'):
        import_data(tmp_path/'three', tmp_path/'other', threshold=128)

def pairs(d, n=2):
    for i in range(n):
        photo(d/'images'/f'im{i}.png', i)
        save(d/'masks'/f'im{i}.png', drawing(i))

def test_hidden_files_are_no_data(tmp_path):
    src = tmp_path/'src'
    labelme(src)
    photo(src/'.thumbnails'/'im0.png')
    text(src/'.vscode'/'settings.json', '{ // no JSON')
    shutil.copytree(src, src/'.ipynb_checkpoints')
    r = import_data(src, tmp_path/'out')
    assert (r.parts['train'], r.parts['unlabelled'], r.left)==(3, 1, [])
    one = tmp_path/'cells'
    for k in ('c1','c2'):
        photo(one/k/'images'/f'{k}.png')
        for j in range(2): save(one/k/'masks'/f'{j}.png', 255*(drawing(0)==j+1))
        for k2 in ('images/._x.png','masks/._y.png'): text(one/k/k2, 'resource fork')
    assert import_data(one, tmp_path/'out2').kind=='files per object'

def test_linked_folders_are_data(tmp_path):
    pairs(tmp_path/'store')
    (tmp_path/'src').mkdir()
    (tmp_path/'src'/'images').symlink_to(tmp_path/'store'/'images')
    (tmp_path/'src'/'labels').symlink_to('../store/masks')
    assert import_data(tmp_path/'src', tmp_path/'out').parts['train']==2
    (tmp_path/'links'/'images').mkdir(parents=True)
    shutil.copytree(tmp_path/'store'/'masks', tmp_path/'links'/'masks')
    for f in (tmp_path/'store'/'images').iterdir(): (tmp_path/'links'/'images'/f.name).symlink_to(f'../../store/images/{f.name}')
    import_data(tmp_path/'links', tmp_path/'linked', link=True)
    assert (tmp_path/'linked'/'train'/'images'/'im0.png').samefile(tmp_path/'store'/'images'/'im0.png')

def test_the_new_folder_may_be_a_link_or_the_current_one(tmp_path, monkeypatch):
    pairs(tmp_path/'src')
    (tmp_path/'disk').mkdir()
    (tmp_path/'out').symlink_to('disk')
    import_data(tmp_path/'src', tmp_path/'out')
    assert len(load_source(tmp_path/'out').train)==2
    (tmp_path/'here').mkdir()
    monkeypatch.chdir(tmp_path/'here')
    import_data(tmp_path/'src', '.')
    assert len(load_source(tmp_path/'here').train)==2

def test_names_that_are_not_utf8_can_be_imported(tmp_path):
    pairs(tmp_path/'src', 1)
    for k in ('images','masks'): os.rename(tmp_path/'src'/k/'im0.png', os.fsencode(tmp_path/'src'/k)+b'/stra\xdfe.png')
    import_data(tmp_path/'src', tmp_path/'out')
    assert [o.name for o in load_source(tmp_path/'out').train]==['stra\ufffde']
    with pytest.raises(ValueError, match='file name is not UTF-8; rename it'): load_source(tmp_path/'src', Task('abc'))

def test_lists_that_are_not_utf8_are_named(tmp_path):
    for name in ('class_names.txt','labelmap.txt','_classes.csv','codes.txt'):
        pairs(tmp_path/name)
        (tmp_path/name/name).write_bytes('1, Gr\u00fcn:0,0,0::\n'.encode('latin-1'))
        with pytest.raises(ValueError, match=f'{name}: not a UTF-8 text file; save it as UTF-8'): import_data(tmp_path/name, tmp_path/'out')

def test_masks_below_zero_are_named(tmp_path):
    pairs(tmp_path/'src')
    a = drawing(0).astype(np.int32)-1
    Image.fromarray(a).save(tmp_path/'src'/'masks'/'im0.tif')
    (tmp_path/'src'/'masks'/'im0.png').unlink()
    assert 'im0.tif: values from -1 to 1, but class numbers are 0 to 65535; save pixels without a class as 255' in audit(tmp_path/'src').markdown()
    r = import_data(tmp_path/'src', tmp_path/'out')
    assert len(r.left)==1 and 'values from -1 to 1' in r.left[0][1]
    (tmp_path/'src'/'masks'/'im1.png').unlink()
    with pytest.raises(ValueError, match='im0.tif: values from -1 to 1'): import_data(tmp_path/'src', tmp_path/'other')

def test_16_bits_in_several_channels_are_refused(tmp_path):
    "Pillow would keep the upper 8, so that all class numbers would be 0"
    a = drawing(0).astype('>u2')
    for colour,bands in ((2, [a, a, a]), (4, [a, a*0+65535])): # equal colours, grey with alpha
        rows = np.stack(bands, -1).astype('>u2')
        png_file(tmp_path/'m.png', SIZE, 16, colour, b''.join(b'\0'+o.tobytes() for o in rows))
        with pytest.raises(ValueError, match='m.png: . channels of 16 bits would lose 8; save one channel'): read_mask(tmp_path/'m.png', Task('abc'))

def test_a_damaged_second_page_is_named(tmp_path):
    first = Image.new('L', (64,64), 3)
    first.save(tmp_path/'t.tif', save_all=True, append_images=[first])
    (tmp_path/'t.tif').write_bytes((tmp_path/'t.tif').read_bytes()[:4200])
    with pytest.raises(ValueError, match='t.tif: truncated or damaged'): read_image(tmp_path/'t.tif')

def test_an_unannotated_photo_of_labelme_called_test_is_unlabelled(tmp_path):
    labelme(tmp_path/'src')
    for f in sorted((tmp_path/'src').iterdir()):
        s = f.read_bytes() if f.suffix!='.json' else re.sub(rb'"im(\d)', rb'"test\1', f.read_bytes())
        f.unlink()
        f.with_name(f.name.replace('im','test')).write_bytes(s)
    r = import_data(tmp_path/'src', tmp_path/'out')
    assert (r.parts, r.left)==(dict(train=3, val=0, test=0, unlabelled=1), [])

def test_the_table_of_kinds_is_up_to_date():
    "nbs/results/kinds.csv, which `python tests/kinds.py` writes"
    import csv, kinds
    with open(kinds.FILE, newline='', encoding='utf-8') as f: assert [kinds.TITLES, *kinds.rows()]==list(map(tuple, csv.reader(f)))
