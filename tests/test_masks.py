"Masks as people have them, made from a known drawing: read as drawn, or refused with a remedy that leads there"
import json, re, struct, warnings, zlib
import numpy as np, pytest
from PIL import Image, ImageDraw
from segkc_fastai.data.audit import audit
from segkc_fastai.data.benchmarks import FAMILIES, load_source
from segkc_fastai.data.labels import read_image, read_mask
from segkc_fastai.data.sources import count_classes, folder_source

THREE,TWO = dict(classes=['background','disc','box']),dict(classes=['background','thing'])
BINARY = TWO | dict(masks={'0':0, '255':1}, ignore=[])
COLOURS = [(0,0,0), (220,60,40), (50,200,90)]
COLOURED = THREE | dict(masks='rgb', palette=COLOURS, ignore=[])

def drawing(i):
    "A disc (1) at the top left and a box (2) at the bottom right, (80,96)"
    m = Image.new('L', (96,80))
    d,j = ImageDraw.Draw(m),5*i%20
    d.ellipse([4+j,6,24+j,26], fill=1)
    d.rectangle([50,44+j//2,78,66+j//2], fill=2)
    return np.asarray(m)

def grey(a): return Image.fromarray(np.asarray(a, np.uint8))
def binary(a): return grey(255*(a>0))
def coloured(a): return Image.fromarray(np.uint8(COLOURS)[a])
def levels(*vs): return lambda a, f: grey(np.uint8(vs)[a]).save(f)

def png_file(f, size, bits, colour, rows):
    "A PNG of (w,h) pixels; `colour` is 0 for grey and 2 for RGB"
    chunk = lambda k,v: struct.pack('>I', len(v)) + k + v + struct.pack('>I', zlib.crc32(k+v))
    head = struct.pack('>IIBBBBB', *size, bits, colour, 0, 0, 0)
    f.write_bytes(b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', head)+chunk(b'IDAT', zlib.compress(rows))+chunk(b'IEND', b''))

def png(bits):
    "Writes grey PNGs of `bits` bits a sample, as optimisers of file size do"
    def write(a, f):
        per = 8//bits
        rows = (a.reshape(len(a), -1, per)<<(bits*np.arange(per)[::-1])).sum(-1).astype(np.uint8)
        png_file(f, a.shape[::-1], bits, 0, b''.join(b'\0'+o.tobytes() for o in rows))
    return write

def in_format(kind, of=grey, **kw): return lambda a, f: of(a).save(f, kind, **kw)
def pages(a, f): grey(a==0).save(f, save_all=True, append_images=[grey(a==1), grey(a==2)])

def in_alpha(a, f):
    im = Image.new('RGBA', (96,80))
    im.putalpha(binary(a))
    im.save(f)

def write(folder, task, save, end='.png', n=6):
    for part,m in (('train',n), ('val',2)):
        for k in ('images','masks'): (folder/part/k).mkdir(parents=True)
        for i in range(m):
            coloured(drawing(i)).save(folder/part/'images'/f'{part}{i}.png')
            save(drawing(i), folder/part/'masks'/f'{part}{i}{end}')
    if task: (folder/'task.json').write_text(json.dumps(task))
    return folder

def agree(folder, want=lambda a: a):
    "Are all masks read as drawn?"
    src = folder_source(folder)
    return all(np.array_equal(read_mask(p.mask, src.task), want(drawing(int(p.name[-1])))) for p in src.train+src.val)

READ = { # name → task, how masks are written, ending of the file, what to read
    'class numbers':         (THREE, in_format('PNG'), '.png', None),
    'RGBA':                  (COLOURED, lambda a,f: coloured(a).convert('RGBA').save(f), '.png', None),
    'three equal channels':  (THREE, lambda a,f: grey(a).convert('RGB').save(f), '.png', None),
    'grey and alpha':        (THREE, lambda a,f: grey(a).convert('LA').save(f), '.png', None),
    '2-bit PNG':             (THREE, png(2), '.png', None),
    '4-bit PNG':             (THREE, png(4), '.png', None),
    '16-bit PNG':            (THREE, lambda a,f: Image.fromarray(a.astype(np.uint16)).save(f), '.png', None),
    'whole numbers as floats':(THREE, lambda a,f: Image.fromarray(a.astype(np.float32)).save(f), '.tif', None),
    'lossless WebP':         (COLOURED, in_format('WEBP', coloured, lossless=True), '.webp', None),
    'GIF':                   (BINARY, in_format('GIF', binary), '.gif', lambda a: a>0),
    'BMP':                   (THREE, in_format('BMP'), '.bmp', None),
    'PNG named jpg':         (THREE, in_format('PNG'), '.jpg', None)}

@pytest.mark.parametrize('name', READ)
def test_read_as_drawn(tmp_path, name):
    task,save,end,want = READ[name]
    folder = write(tmp_path/'data', task, save, end)
    assert agree(folder, want or (lambda a: a))
    a = audit(folder, size=(64,64))
    assert a.ok, a.markdown()

REFUSED = { # name → task, how masks are written, ending of the file, words
    'JPEG':                  (BINARY, in_format('JPEG', binary), '.jpg', 'a mask in JPEG format'),
    'JPEG named png':        (BINARY, in_format('JPEG', binary), '.png', 'a mask in JPEG format'),
    'lossy WebP':            (COLOURED, in_format('WEBP', coloured, quality=80), '.webp', 'a mask in WEBP format'),
    'pages of a TIFF':       (BINARY, pages, '.tif', '3 pages in one file'),
    'shapes in alpha alone': (BINARY, in_alpha, '.png', 'shapes in the alpha channel alone'),
    'fractions':             (THREE, lambda a,f: Image.fromarray(a/2).convert('F').save(f), '.tif', 'values with fractions; save class numbers instead')}

@pytest.mark.parametrize('name', REFUSED)
def test_refused(tmp_path, name):
    task,save,end,words = REFUSED[name]
    folder = write(tmp_path/'data', task, save, end)
    src = folder_source(folder)
    with pytest.raises(ValueError, match=words) as e: read_mask(src.train[0].mask, src.task)
    assert str(src.train[0].mask) in str(e.value)
    a = audit(folder, size=(64,64))
    assert not a.ok and words in a.markdown(), a.markdown()

REMEDIES = { # name → task, how masks are written, what the proposed task reads
    '0 is unlabelled':       (dict(classes=['disc','box'], ignore=[0,255]), in_format('PNG'), lambda a: np.where(a==0, 255, a-1)),
    'numbered from 1':       (THREE, lambda a,f: grey(a+1).save(f), lambda a: a),
    'a class too many':      (TWO, in_format('PNG'), lambda a: a),
    'a value apart':         (TWO, levels(0,1,9), lambda a: a),
    '0 and 255, unmapped':   (TWO | dict(ignore=[]), lambda a,f: binary(a).save(f), lambda a: a>0),
    '0 and 255, ignored':    (TWO, lambda a,f: binary(a).save(f), lambda a: a>0),
    'no task, numbers':      (None, in_format('PNG'), lambda a: a),
    'no task, 0 and 255':    (None, lambda a,f: binary(a).save(f), lambda a: a>0),
    'no task, 0, 127, 255':  (None, levels(0,127,255), lambda a: a),
    'no task, void is 255':  (None, lambda a,f: grey(np.where(np.arange(96)<2, 255, a)).save(f), lambda a: np.where(np.arange(96)<2, 255, a)),
    'no task, grey as RGB':  (None, lambda a,f: grey(a).convert('RGB').save(f), lambda a: a)}

@pytest.mark.parametrize('name', REMEDIES)
def test_the_remedy_reads_as_drawn(tmp_path, name):
    "Proposals for task.json are put there word for word"
    task,save,want = REMEDIES[name]
    folder = write(tmp_path/'data', task, save)
    said = ' '.join(o.mend for o in audit(folder, size=(64,64)).findings)
    whole = re.search(r'`(\{"classes".*?\})`', said)
    new = json.loads(whole[1]) if whole else dict(task)
    if not whole:
        line = re.search(r'"masks": \{.*?\}(, "ignore": \[.*?\])?', said)
        if line: new |= json.loads(f'{{{line[0]}}}')
        if m := re.search(r'add the name\(s\) of (\d+) class', said): new['classes'] = [*new['classes'], *map(str, range(int(m[1])))]
    (folder/'task.json').write_text(json.dumps(new))
    assert agree(folder, want), said
    assert audit(folder, size=(64,64)).ok

@pytest.mark.parametrize('task, save, words', [
    (dict(classes=['thing']), lambda a,f: binary(a).save(f), 'background'),
    (dict(classes=['thing'], masks={'255':0}, ignore=[0]), lambda a,f: binary(a).save(f), 'background'),
    (TWO, lambda a,f: binary(a).save(f), '0/255 binary mask'),
    (THREE, lambda a,f: grey(0*a).save(f), 'label more images'),
])
def test_one_class_is_no_task(tmp_path, task, save, words):
    "A mIoU of 100 % would be certain, and mean nothing"
    folder = write(tmp_path/'data', task, save)
    src = folder_source(folder)
    with pytest.raises(ValueError, match=f'alone; .*{words}'): count_classes(src.train, src.task)
    a = audit(folder, size=(64,64))
    assert not a.ok and any(words in o.mend for o in a.findings), a.markdown()

UPRIGHT = {3:Image.Transpose.ROTATE_180, 6:Image.Transpose.ROTATE_90, 8:Image.Transpose.ROTATE_270} # from shown to stored

def stored(im, f, turn, tagged):
    "Write an image with its pixels turned, and say so or not"
    im = im.transpose(UPRIGHT[turn])
    exif = Image.Exif()
    exif[0x0112] = turn
    if not tagged: im.save(f)
    elif f.suffix=='.tif': im.save(f, tiffinfo={0x0112:turn})
    else: im.save(f, exif=exif)

@pytest.mark.parametrize('turn', UPRIGHT)
@pytest.mark.parametrize('end', ['.png','.tif'])
@pytest.mark.parametrize('kind', [np.uint8,np.uint16])
def test_a_mask_that_says_it_is_turned(tmp_path, turn, end, kind):
    def save(a, f): stored(Image.fromarray(a.astype(kind)), f, turn, True)
    folder = write(tmp_path/'data', THREE, save, end)
    assert agree(folder) and audit(folder, size=(64,64)).ok

@pytest.mark.parametrize('turn, crop', [(3,None), (6,(0,0,80,80)), (8,(0,0,80,80))])
@pytest.mark.parametrize('drawn_on', ['shown','stored'])
def test_which_way_a_mask_lies(tmp_path, turn, crop, drawn_on):
    "An image that is turned, with a mask of the same size either way"
    folder = write(tmp_path/'data', THREE, in_format('PNG'))
    for f in folder.glob('*/images/*'):
        m = f.parents[1]/'masks'/f.name
        im,mask = (Image.open(o).crop(crop or (0,0,96,80)) for o in (f, m))
        stored(im, f, turn, True)
        (mask.transpose(UPRIGHT[turn]) if drawn_on=='stored' else mask).save(m)
    a = audit(folder, size=(64,64))
    said = [o for o in a.findings if 'turned' in o.what]
    assert [o.level for o in said]==(['warning','note'] if drawn_on=='stored' else ['note']), a.markdown()
    if drawn_on=='shown': return
    for p in folder_source(folder).train: # the remedy
        m = Image.open(p.mask)
        m.transpose({3:Image.Transpose.ROTATE_180, 6:Image.Transpose.ROTATE_270, 8:Image.Transpose.ROTATE_90}[turn]).save(p.mask)
    assert not any(o.level=='warning' and 'turned' in o.what for o in audit(folder, size=(64,64), labelled=6).findings)

def test_empty_masks_of_turned_images_tell_nothing(tmp_path):
    folder = write(tmp_path/'data', THREE, in_format('PNG'))
    for f in folder.glob('*/images/*'):
        stored(Image.open(f), f, 3, True)
        if f.stem!='train0': grey(np.zeros((80,96))).save(f.parents[1]/'masks'/f.name)
    grey(np.full((80,96), 1)).save(folder/'train'/'masks'/'train0.png')
    with warnings.catch_warnings(action='error', category=RuntimeWarning): a = audit(folder, labelled=6, size=(64,64))
    assert [o.level for o in a.findings if 'turned' in o.what]==['note'], a.markdown()

def test_names_in_two_unicode_forms(tmp_path):
    folder = write(tmp_path/'data', THREE, in_format('PNG'))
    for i in range(6):
        for k,name in (('images','caf\u00e9'), ('masks','cafe\u0301')):
            f = folder/'train'/k/f'train{i}.png'
            f.rename(f.with_name(f'{name}{i}.png'))
    assert [p.name for p in folder_source(folder).train]==[f'caf\u00e9{i}' for i in range(6)] and agree(folder)

@pytest.mark.parametrize('end, kw', [('.tif',{}), ('.gif',{}), ('.png',{}), ('.webp',dict(lossless=True))])
def test_an_image_of_several_pictures(tmp_path, end, kw):
    Image.new('RGB', (8,8)).save(tmp_path/f'a{end}', save_all=True, append_images=[Image.new('RGB', (8,8), 'red')], **kw)
    with pytest.raises(ValueError, match=rf'a\{end}: 2 (pages|frames) in one file; save the one'): read_image(tmp_path/f'a{end}')

def test_a_photograph_with_a_preview(tmp_path):
    "Phones store a second, smaller picture in a JPEG"
    Image.new('RGB', (8,8)).save(tmp_path/'a.jpg', 'MPO', save_all=True, append_images=[Image.new('RGB', (4,4))])
    with Image.open(tmp_path/'a.jpg') as im: assert im.n_frames==2
    assert read_image(tmp_path/'a.jpg').size==(8,8)

NAMES = [f'im{i}' for i in range(6)]
VOC = {f'ImageSets/Segmentation/{k}.txt':'\n'.join(o) for k,o in dict(train=NAMES[:4], val=NAMES[4:]).items()}
def in_voc(n, part): return f'JPEGImages/{n}.jpg',f'SegmentationClass/{n}.png'
LABELMAP = '# label:color_rgb:parts:actions\nbackground:0,0,0::\ndisc:220,60,40::\nbox:50,200,90::\n'
BENCHMARKS = { # name → where image i and its mask are, other files, how masks are written
    'VOC, labelmap.txt':      (in_voc, VOC | {'labelmap.txt':LABELMAP}, grey),
    'VOC, labelmap, colours': (in_voc, VOC | {'labelmap.txt':LABELMAP}, coloured),
    'VOC, class_names.txt':   (in_voc, VOC | {'class_names.txt':'background\ndisc\nbox\n'}, grey),
    'VOC, task.json':         (in_voc, VOC | {'task.json':json.dumps(THREE)}, grey),
    'ADE20K, task.json':      (lambda n, v: tuple(f'{k}/{v or "training"}/{n}{e}' for k,e in (('images','.jpg'), ('annotations','.png'))), {'task.json':json.dumps(THREE)}, grey),
    'COCO, task.json':        (lambda n, v: (f'{"val" if v else "train"}2017/{n}.jpg', f'annotations/{"val" if v else "train"}2017/{n}.png'), {'task.json':json.dumps(THREE)}, grey),
    'fastai, codes.txt':      (lambda n, v: (f'images/{n}.png', f'labels/{n}_P.png'), {'codes.txt':'background\ndisc\nbox\n', 'valid.txt':'im4.png\nim5.png\n'}, grey)}

def in_layout(folder, name):
    "Six images in the layout of a benchmark"
    where,files,code = BENCHMARKS[name]
    for i,n in enumerate(NAMES):
        f,m = (folder/o for o in where(n, 'validation' if i>3 else ''))
        for o in (f, m): o.parent.mkdir(parents=True, exist_ok=True)
        coloured(drawing(i)).save(f)
        code(drawing(i)).save(m)
    for f,text in files.items():
        (folder/f).parent.mkdir(parents=True, exist_ok=True)
        (folder/f).write_text(text)

@pytest.mark.parametrize('name', BENCHMARKS)
def test_own_classes_in_the_layout_of_a_benchmark(tmp_path, name):
    in_layout(tmp_path, name)
    src = load_source(tmp_path)
    assert src.task.classes==('background','disc','box') and src.layout.endswith(', own classes') and src.layout not in FAMILIES
    assert (len(src.train), len(src.val))==(4,2)
    for p in src.train+src.val: assert np.array_equal(read_mask(p.mask, src.task), drawing(int(p.name[-1])))
    assert audit(tmp_path, labelled=2, size=(64,64)).ok
    if name=='fastai, codes.txt': return # whose names of classes are no statement of a folder
    plain = load_source(tmp_path, layout='folder')
    assert plain.layout=='folder' and len(plain.train+plain.val)==6 and plain.task.classes==src.task.classes
    for p in plain.train+plain.val: assert np.array_equal(read_mask(p.mask, plain.task), drawing(int(p.name[-1])))

def tiff(f, a, photometric, extra=()):
    "An uncompressed TIFF of any number of bands of 8 or 16 bits, (H,W,C)"
    h,w,c = a.shape
    data,bits = a.astype(a.dtype.newbyteorder('<')).tobytes(),struct.pack(f'<{c}H', *[8*a.dtype.itemsize]*c)
    more = struct.pack(f'<{len(extra)}H', *extra)
    entries = 10 + bool(extra)
    at = 8+2+12*entries+4
    tags = [(256,4,1,w), (257,4,1,h), (258,3,c,at), (259,3,1,1), (262,3,1,photometric), (273,4,1,at+len(bits)+len(more)), (277,3,1,c),
        (278,4,1,h), (279,4,1,len(data)), (284,3,1,1)]
    if extra: tags.append((338,3,len(extra),at+len(bits) if len(extra)>2 else int.from_bytes(more.ljust(4, b'\0'), 'little')))
    body = struct.pack('<H', entries) + b''.join(struct.pack('<HHII', *o) for o in tags) + struct.pack('<I', 0)
    f.write_bytes(struct.pack('<2sHI', b'II', 42, 8)+body+bits+more+data)

@pytest.mark.parametrize('bands, kind, photometric, extra, words', [
    (4, np.uint8, 5, (), '4 bands'), (4, np.uint8, 2, (0,), '4 bands'), (5, np.uint8, 2, (0,0), '5 bands'),
    (3, np.uint16, 2, (), 'more than 8 bits'), (4, np.uint16, 2, (2,), 'more than 8 bits')])
def test_bands_and_bits_are_not_lost_silently(tmp_path, bands, kind, photometric, extra, words):
    tiff(tmp_path/'a.tif', np.full((8,8,bands), 99, kind), photometric, extra)
    with pytest.raises(ValueError, match=rf'a\.tif: {words}.*segkc import'): read_image(tmp_path/'a.tif')

def test_16_bits_in_a_png(tmp_path):
    png_file(tmp_path/'a.png', (4,4), 16, 2, (b'\0'+bytes(4*6))*4)
    with pytest.raises(ValueError, match=r'a\.png: more than 8 bits'): read_image(tmp_path/'a.png')
