"""The table of kinds of labels in the documentation, made by reading each kind: `python tests/kinds.py` writes
nbs/results/kinds.csv, and tests/test_import.py checks that it is up to date."""
import csv, re, sys, tempfile, warnings
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent))
import test_import as tools, test_masks as masks
from segkc_fastai.core.files import replacing
from segkc_fastai.data.audit import audit
from segkc_fastai.data.importing import import_data

FILE = Path(__file__).resolve().parents[1]/'nbs'/'results'/'kinds.csv'
TITLES = 'found','what the audit says','what happens'
TOOLS = dict(labelme='labelme, a JSON file beside each image', labelme_inside='labelme, images inside the JSON files',
    labelme2voc='`labelme2voc`: `JPEGImages`, `SegmentationClassPNG`, `class_names.txt`', cvat='CVAT, *Segmentation mask 1.1*',
    roboflow='Roboflow, *png-mask-semantic*: `x.jpg`, `x_mask.png`, `_classes.csv`', coco_rle='COCO JSON, compressed run lengths',
    coco_counts='COCO JSON, run lengths without compression', label_studio='Label Studio JSON, brushes',
    mmsegmentation='`img_dir/train`, `ann_dir/train`', images_and_labels='`images/train`, `labels/train`', capitals='`Images`, `Masks`',
    train_labels='`train/images`, `train/labels`', side_by_side='`train/a.png` beside `train/a_mask.png`',
    codes="fastai's `images`, `labels/*_P.png`, `codes.txt`", sequences='`images/drive1/001.jpg`, `masks/drive1/001.png`',
    class_folders='a folder of masks per class: `masks/car/a.png`', class_endings='a mask per class: `masks/a_car.png`',
    objects='a mask per object: `a/images/a.png`, `a/masks/*.png`')

def plain(text, folder):
    "A message without the names of folders"
    text = re.sub(rf'{re.escape(str(folder))}/?', '', text).replace(str(folder.parent), '')
    text = re.sub(r'(?:train|val|test)/(?:images|masks)/[\w.]+(?:, [\w./]+)*(?: and \d+ more)?: ', '', text)
    return re.sub(r'\d+ image\(s\) and \d+ mask\(s\) found in all subfolders; ', '', text).strip()

def said(folder, first=()):
    "The finding that matters most: one with the words `first`, smooth edges, an import, a proposal for task.json, or the first error"
    found = audit(folder, labelled=2, size=(64,64)).findings
    wanted = *first,'three channels of 8 bits','along borders','its compression','`segkc import','with the real names'
    f = next((o for w in wanted for o in found if w in o.what+o.mend), None) or next((o for o in found if o.level=='error'), None)
    if f is None: return ''
    text = plain('; '.join(filter(None, (f.what, f.mend))), folder)
    return re.sub(r'`segkc import +\S*-imported', '`segkc import SRC OUT', text)

def cut(f): f.write_bytes(f.read_bytes()[:len(f.read_bytes())//2])
def truncated_image(d): return cut(d/'train'/'images'/'train0.png')
def truncated_mask(d): return [cut(f) for f in d.glob('train/masks/*')] and ['truncated']
def one_class(d): return [masks.grey(0*masks.drawing(0)).save(f) for f in d.glob('*/masks/*')] and ['alone']
def other_size(d): return [masks.grey(masks.drawing(0)).resize((48,40)).save(f) for f in d.glob('*/masks/*')] and ['pixels, but']

def turned(d, mask=False):
    for f in d.glob('*/images/*'):
        m = f.parents[1]/'masks'/f.name
        if mask: masks.Image.open(m).transpose(masks.UPRIGHT[3]).save(m)
        masks.stored(masks.Image.open(f), f, 3, True)
    return ['fit the edges' if mask else 'stored turned']

def several_pictures(d):
    f = d/'train'/'images'/'train0.png'
    im = masks.Image.open(f).convert('RGB')
    im.save(f.with_suffix('.gif'), save_all=True, append_images=[masks.Image.new('RGB', im.size)])
    f.unlink()

def valid(d): (d/'val').rename(d/'valid')
def unpaired(d): return (d/'train'/'masks'/'train0.png').rename(d/'train'/'masks'/'other.png') and ['without image']

def gas_mask(d):
    for k in ('images','masks'): (d/'train'/k/'train0.png').rename(d/'train'/k/'gas_mask_00.png')

def two_forms(d):
    for k,name in (('images','caf\u00e9'), ('masks','cafe\u0301')): (d/'train'/k/'train0.png').rename(d/'train'/k/f'{name}.png')

REFUSED,READ = 'refused','read as drawn'
ODD = {'an image that ends early':truncated_image, 'a mask that ends early':truncated_mask, 'masks that show one class':one_class,
    'masks of another size than their images':other_size, 'images that a camera stored turned, masks drawn as shown':turned,
    'images that a camera stored turned, masks drawn as stored':lambda d: turned(d, mask=True), 'an animated image':several_pictures,
    'a folder `valid`':valid, 'a mask without an image':unpaired, 'an image called `gas_mask_00`':gas_mask,
    'é in the name of an image, e and an accent in that of its mask':two_forms}
AFTER = dict.fromkeys(ODD, READ) | dict.fromkeys([*ODD][:4]+['an animated image'], REFUSED)
AFTER |= {'images that a camera stored turned, masks drawn as stored':'read as they are, with this warning', 'a mask without an image':'ignored, with this warning'}

def rows():
    "A row for each kind that the tests make"
    with tempfile.TemporaryDirectory() as tmp, warnings.catch_warnings(action='ignore'):
        tmp = Path(tmp)
        for i,(name,(task,save,end,_)) in enumerate(masks.READ.items()):
            yield f'masks: {name}',said(masks.write(tmp/f'r{i}', task, save, end)),'read as drawn'
        for i,(name,(task,save,_)) in enumerate(masks.REMEDIES.items()):
            yield f'masks: {name}',said(masks.write(tmp/f'p{i}', task, save)),'refused; read as drawn once `task.json` is as proposed'
        for i,(name,(task,save,end,_)) in enumerate(masks.REFUSED.items()):
            yield f'masks: {name}',said(masks.write(tmp/f'x{i}', task, save, end)),'refused'
        for i,(name,make) in enumerate(ODD.items()):
            folder = masks.write(tmp/f'o{i}', masks.THREE, masks.in_format('PNG'))
            yield name,said(folder, make(folder) or ()),AFTER[name]
        for i,name in enumerate(masks.BENCHMARKS):
            folder = tmp/f'b{i}'
            masks.in_layout(folder, name)
            yield f'own classes in the layout of {name}',said(folder),'read in place, with these classes'
        for end in ('png','jpg'):
            tools.smooth(tmp/f's{end}', end)
            import_data(tmp/f's{end}', tmp/f's{end}-out', threshold=128)
            yield f'masks: smooth edges, {end}',said(tmp/f's{end}'),'refused; `--threshold 128` imports them'
        for kind,name in dict(contig='TIFFs of 4 bands and 11 bits', grey='grey images of 16 bits').items():
            src = tmp/f'bands-{kind}'
            tools.bands(src, kind, 'tif' if kind=='contig' else 'png')
            import_data(src, tmp/f'{src.name}-out', bands=(2,1,0) if kind=='contig' else None, range=(0,1803))
            yield name,said(src),'refused; with these options `segkc import` makes copies of 8 bits'
        tools.numbered(tmp/'numbered')
        import_data(tmp/'numbered', tmp/'numbered-out')
        yield 'masks: numbers of objects',said(tmp/'numbered', ['numbers of objects']),'`segkc import` makes one class of all objects'
        for writer in tools.WRITERS:
            src = tmp/writer.__name__
            src.mkdir()
            writer(src)
            kind = import_data(src, tmp/f'{src.name}-out').kind
            yield TOOLS[src.name],said(src),f'`segkc import` reads *{kind}*; masks are as drawn'

if __name__=='__main__':
    with replacing(FILE) as f, open(f, 'w', newline='', encoding='utf-8') as out: csv.writer(out).writerows([TITLES, *rows()])
