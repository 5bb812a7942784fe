"Each trap of a data folder is found, named and given its remedy; what the audit calls an error stops training, and nothing else does"
import json, os, shutil, warnings
from pathlib import Path
import numpy as np, pytest
from PIL import Image
from segkc_fastai.data.audit import audit
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.splits import split_source
from segkc_fastai.data.benchmarks import load_source

CAMVID = Path(os.environ.get('SEGKC_CAMVID', Path(__file__).parents[2]/'shared'/'data'/'camvid'))
ARGS = dict(labelled=8, size=(64,96))

@pytest.fixture(scope='session')
def clean(tmp_path_factory): return write_scenes(tmp_path_factory.mktemp('audit')/'scenes', n_train=24, n_val=4, n_test=4)

@pytest.fixture
def folder(clean, tmp_path): return Path(shutil.copytree(clean, tmp_path/'scenes'))

def pairs(d, part='train'): return [(f, d/part/'masks'/f'{f.stem}.png') for f in sorted((d/part/'images').iterdir())]
def roles(d):
    split = split_source(load_source(d), ARGS['labelled'])
    return split.labelled,[o.image for o in split.unlabelled]
def masks(d): return sorted(d.glob('*/masks/*.png'))
def recode(d, f, fs=None):
    for m in fs or masks(d): Image.fromarray(f(np.asarray(Image.open(m)))).save(m)
def task(d, **kw): (d/'task.json').write_text(json.dumps(json.loads((d/'task.json').read_text()) | kw))
def cut(f): f.write_bytes(f.read_bytes()[:len(f.read_bytes())*2//3])
def binary(d, **kw):
    recode(d, lambda a: np.uint8(a>3)*255)
    task(d, classes=['background','thing'], palette=[], **kw)

# Changes that users make to a folder

def nothing(d): pass
def repainted(d):
    "Masks with other colours than those of the task, the same in each"
    for m in masks(d):
        im = Image.open(m)
        im.putpalette([255-v for v in im.getpalette()])
        im.save(m)
def no_folder(d): shutil.rmtree(d)
def no_task(d): (d/'task.json').unlink()
def no_task_binary(d):
    binary(d)
    no_task(d)
def broken_task(d): (d/'task.json').write_text('{"classes": [')
def flat(d):
    for k in ('images','masks'): (d/'train'/k).rename(d/k)
    for k in ('val','test'): shutil.rmtree(d/k)
def empty(d):
    for k in ('train','val','test'): shutil.rmtree(d/k)
    (d/'a.dcm').touch()
def other_stems(d):
    for m in (d/'train'/'masks').iterdir(): m.rename(m.with_stem(f'{m.stem}_mask'))
def stray_mask(d): pairs(d)[0][1].rename(d/'train'/'masks'/'stray.png')
def val_without_mask(d): pairs(d, 'val')[0][1].unlink()
def no_val(d): shutil.rmtree(d/'val')
def same_stem(d): Image.open(pairs(d)[0][0]).save(pairs(d)[0][0].with_suffix('.png'))
def other_type(d): (d/'train'/'images'/'extra.psd').touch()

def cut_labelled(d): cut(roles(d)[0][0].image)
def cut_unlabelled(d): cut(roles(d)[1][0])
def cut_test(d): cut(pairs(d, 'test')[0][0])
def cut_mask(d): cut(roles(d)[0][0].mask)
def cut_val_mask(d): cut(pairs(d, 'val')[0][1])
def cut_unused_mask(d): cut(d/'train'/'masks'/f'{roles(d)[1][0].stem}.png')
def no_image(d): roles(d)[1][0].write_text('not found')
def sideways_and_cut(d):
    f = roles(d)[1][0]
    sideways(d, [f])
    cut(f)
def deep(d):
    f = pairs(d)[0][0]
    Image.fromarray(np.full((64,96), 40000, np.uint16)).save(f.with_suffix('.png'))
    f.unlink()
def alpha(d):
    f = pairs(d)[0][0]
    Image.open(f).convert('RGBA').save(f.with_suffix('.png'))
    f.unlink()
def jpeg_masks(d):
    for m in masks(d):
        Image.open(m).convert('L').save(m.with_suffix('.jpg'))
        m.unlink()
def float_mask(d):
    m = roles(d)[0][0].mask
    Image.fromarray(np.full((64,96), .5, np.float32)).save(m.with_suffix('.tif'))
    m.unlink()

def own_palettes(d):
    "The same colours everywhere, numbered anew in each mask, as drawing programs do"
    colours = np.uint8(json.loads((d/'task.json').read_text())['palette'])
    for i,m in enumerate(masks(d)):
        order = np.roll(np.arange(8), i)
        p = Image.fromarray(order[np.asarray(Image.open(m))].astype(np.uint8), 'P')
        p.putpalette(colours[order.argsort()].tobytes())
        p.save(m)
def two_codings(d):
    binary(d)
    recode(d, lambda a: a//np.uint8(255), masks(d)[::2])
def binary_unknown(d): binary(d, ignore=[])
def binary_ignored(d): binary(d, ignore=[255])
def binary_128(d):
    binary(d)
    recode(d, lambda a: a//2)
def binary_split(d):
    binary(d, ignore=[])
    recode(d, lambda a: a|np.uint8(255), [m for i,m in enumerate(masks(d)) if i%2])
    recode(d, lambda a: a*np.uint8(0), [m for i,m in enumerate(masks(d)) if not i%2])
def one_from_one(d): recode(d, lambda a: np.maximum(a, 1)+np.uint8(a.max()==7), sorted((d/'train'/'masks').iterdir()))
def photos_as_masks(d):
    rng = np.random.default_rng(0)
    recode(d, lambda a: rng.integers(0, 255, (320,320,3), dtype=np.uint8))
def from_one(d): recode(d, lambda a: a+np.uint8(1))
def forgotten(d): recode(d, lambda a: np.where(a==7, 12, a).astype(np.uint8))
def forgotten_unlabelled(d): recode(d, lambda a: np.where(a==0, 12, a).astype(np.uint8), [d/'train'/'masks'/f'{roles(d)[1][0].stem}.png'])
def rgb(d):
    pal = np.uint8(json.loads((d/'task.json').read_text())['palette'])
    recode(d, lambda a: pal[a])
def rgb_other(d): recode(d, lambda a: np.stack([a*9, a*0+3, a], -1))
def rgb_grey(d): recode(d, lambda a: np.stack([a]*3, -1))
def rgb_unknown(d):
    rgb(d)
    task(d, masks='rgb')
    recode(d, lambda a: a//np.uint8(2), [roles(d)[0][0].mask])
def ignored_one(d):
    task(d, ignore=[255])
    recode(d, lambda a: a|np.uint8(255), [roles(d)[0][0].mask])
def ignored_all(d):
    task(d, ignore=[255])
    recode(d, lambda a: a|np.uint8(255))
def never(d): task(d, classes=[*json.loads((d/'task.json').read_text())['classes'], 'unicorn'], palette=[])
def never_labelled(d): recode(d, lambda a: np.where(a==4, 0, a).astype(np.uint8), [o.mask for o in roles(d)[0]])
def never_val(d): recode(d, lambda a: np.where(a==4, 0, a).astype(np.uint8), sorted((d/'val'/'masks').iterdir()))

def half_masks(d):
    for m in masks(d): Image.open(m).resize((48,32), Image.NEAREST).save(m)
def turned_masks(d): recode(d, lambda a: a.T.copy())
def sideways(d, fs=()):
    for f in fs or [f for k in ('train','val') for f,_ in pairs(d, k)]:
        im = Image.open(f)
        exif = im.getexif()
        exif[0x0112] = 6
        im.save(f, exif=exif)
def half_test_mask(d): recode(d, lambda a: a[:32], [pairs(d, 'test')[0][1]])
def small(d):
    for f,m in pairs(d):
        for p in (f, m): Image.open(p).resize((60,40), Image.NEAREST).save(p)
def many_sizes(d):
    for i,(f,m) in enumerate(pairs(d, 'val')):
        for p in (f, m): Image.open(p).crop((0,0,90-i,60)).save(p)

def copy(d, part, name, change=lambda im: im):
    f,m = pairs(d)[0]
    change(Image.open(f)).save(d/part/'images'/f'{name}.png')
    shutil.copy(m, d/part/'masks'/f'{name}.png')
def same_in_val(d): copy(d, 'val', 'again')
def near_in_test(d): copy(d, 'test', 'again', lambda im: im.point(lambda v: min(255, int(v*1.2)+4)))
def val_is_test(d): shutil.rmtree(d/'test') or shutil.copytree(d/'val', d/'test')
def film(d):
    f,m = pairs(d)[0]
    for i in range(9):
        Image.open(f).point(lambda v, i=i: min(255, v+i)).save(d/'val'/'images'/f'scene_{900+i:05}.png')
        shutil.copy(m, d/'val'/'masks'/f'scene_{900+i:05}.png')

TRAPS = [ # what was done, arguments, level, words of the finding or its remedy, number of files if it counts them
    (repainted,       {}, 'note', ['palette images'], 32),
    (own_palettes,    {}, 'warning', ['palettes differ: one colour has several class numbers','set `"masks": "rgb"`'], 32),
    (two_codings,     dict(labelled=4), 'warning', ['some masks hold 0 and 1, others 0 and 255','"masks": {"0": 0, "1": 1, "255": 1}, "ignore": []'], 16),
    (no_folder,       {}, 'error', ['no such folder'], 0),
    (no_task,         {}, 'error', ['no task.json'], 0),
    (no_task,         {}, 'note', ['masks contain 8 value(s): 0, 1, 2','task.json with the real names: `{"classes": ["class 0"'], 0),
    (no_task_binary,  {}, 'note', ['2 value(s): 0, 255','"masks": {"0": 0, "255": 1}','"ignore": []'], 0),
    (broken_task,     {}, 'error', ['task.json: not readable as JSON'], 0),
    (flat,            {}, 'error', ['val: no image with a mask','--val 0.2'], 0),
    (empty,           {}, 'note', ['0 image(s)','.dcm','train/images'], 0),
    (other_stems,     {}, 'error', ['no image has a mask of the same stem'], 0),
    (other_stems,     {}, 'note', ['32 pair(s)','segkc import'], 0),
    (stray_mask,      {}, 'warning', ['1 mask(s) without image: stray'], 1),
    (val_without_mask,{}, 'warning', ['1 image(s) without mask'], 1),
    (no_val,          {}, 'error', ['val: no image with a mask','val/images and val/masks'], 0),
    (same_stem,       {}, 'error', ['has the same stem','rename one'], 0),
    (other_type,      {}, 'note', ['.psd are not read','convert'], 1),
    (nothing,         dict(labelled=24), 'warning', ['no image is unlabelled','labelled='], 0),
    (nothing,         dict(labelled=99), 'error', ['99 labelled images, but 24'], 0),
    (nothing,         dict(labelled='none.txt'), 'error', ['none.txt','no such file'], 0),
    (cut_labelled,    {}, 'error', ['truncated','replace or remove'], 1),
    (cut_unlabelled,  {}, 'error', ['truncated','replace or remove'], 1),
    (cut_test,        {}, 'warning', ['truncated'], 1),
    (cut_mask,        {}, 'error', ['truncated'], 1),
    (cut_val_mask,    {}, 'error', ['truncated'], 1),
    (cut_unused_mask, {}, 'warning', ['truncated'], 1),
    (no_image,        {}, 'error', ['not readable as an image'], 1),
    (sideways_and_cut,{}, 'error', ['truncated'], 1),
    (deep,            {}, 'error', ['more than 8 bits','three channels of 8 bits'], 1),
    (alpha,           {}, 'warning', ['transparency'], 1),
    (jpeg_masks,      {}, 'error', ['a mask in JPEG format','png'], 32),
    (float_mask,      {}, 'error', ['values with fractions'], 1),
    (binary_unknown,  {}, 'error', ['value 255 is outside','"masks": {"0": 0, "255": 1}, "ignore": []'], 32),
    (binary_ignored,  {}, 'error', ['masks show background alone','0/255 binary mask?','"masks": {"0": 0, "255": 1}, "ignore": []'], 0),
    (binary_128,      {}, 'error', ['value 127 is outside','"masks": {"0": 0, "127": 1}, "ignore": []'], 32),
    (binary_split,    {}, 'error', ['value 255 is outside','"masks": {"0": 0, "255": 1}, "ignore": []'], 16),
    (one_from_one,    {}, 'error', ['value 8 is outside','add the name(s) of 1 class(es)'], None),
    (photos_as_masks, {}, 'error', ['a colour mask','colours: edges are smoothed, or these are photographs'], 32),
    (from_one,        {}, 'error', ['value 8 is outside','no mask contains 0','"masks": {"1": 0, "2": 1'], None),
    (forgotten,       {}, 'error', ['value 12 is outside','add the name(s) of 1 class(es)','"12": 8'], None),
    (forgotten_unlabelled, {}, 'warning', ['value 12 is outside'], 1),
    (rgb,             {}, 'error', ['a colour mask','"masks": "rgb"','all colours are in the palette'], 32),
    (rgb_other,       {}, 'error', ['a colour mask','"palette"','[18, 3, 2]'], 32),
    (rgb_unknown,     {}, 'error', ['is outside task','"palette"'], 1),
    (ignored_one,     {}, 'warning', ['every pixel is ignored (labelled)'], 1),
    (ignored_all,     {}, 'error', ['every pixel is ignored (labelled)','"ignore"'], 8),
    (never,           {}, 'warning', ['no mask at all shows unicorn'], 0),
    (never_labelled,  {}, 'warning', ['no labelled mask shows tree, but masks of unlabelled do','labelled='], None),
    (never_val,       {}, 'note', ['no mask of val shows tree','IoU'], None),
    (half_masks,      {}, 'error', ['48×32 pixels','each image is 2.0 times the size of its mask','NEAREST'], 32),
    (turned_masks,    {}, 'error', ['64×96 pixels','width and height are swapped'], 32),
    (sideways,        {}, 'error', ['96×64 pixels','EXIF'], 28),
    (half_test_mask,  {}, 'warning', ['96×32 pixels','NEAREST'], 1),
    (small,           {}, 'warning', ['24 of 24 training images are smaller','size=40,60'], 24),
    (many_sizes,      {}, 'note', ['val has images of 4 sizes','val_bs=1'], 0),
    (same_in_val,     {}, 'warning', ['1 of 5 images of val are also in train: 1 with identical pixels','group='], 1),
    (near_in_test,    {}, 'warning', ['1 of 5 images of test are also in train: 0 with identical pixels, 1 nearly identical'], 1),
    (val_is_test,     {}, 'warning', ['4 of 4 images of test are also in val'], 4),
    (film,            {}, 'warning', ['13 images show 5 different pictures','from sequences that are also in train: scene','group='], 8)]

def trains(d, **kwargs):
    "Whether every batch of one epoch can be made"
    try:
        dls = SemiDataLoaders.from_folder(d, **ARGS|kwargs, bs=4, device='cpu')
        for dl in dls.loaders: list(dl)
    except (ValueError, OSError): return False
    return True

@pytest.mark.parametrize('spoil, args, level, words, n', TRAPS, ids=[f'{o[0].__name__}-{i}' for i,o in enumerate(TRAPS)])
def test_trap(folder, spoil, args, level, words, n):
    spoil(folder)
    a = audit(folder, **ARGS|args)
    hits = [o for o in a.findings if o.level==level and all(w in f'{o.what} {o.mend}' for w in words)]
    assert len(hits)==1, a.markdown()
    assert n is None or len(hits[0].files)==n, hits[0].files
    assert str(folder) not in hits[0].what or not hits[0].files
    assert all((folder/f).exists() for f in hits[0].files)
    assert hits[0].markdown() in a.markdown() and a.markdown().endswith('can start.**' if a.ok else 'error(s).**')
    assert json.loads(json.dumps(a.to_dict()))['ok']==a.ok
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert trains(folder, **args)==a.ok, a.markdown()

def test_clean(clean):
    a = audit(clean, **ARGS)
    assert a.ok and not a.duplicates and a.distinct==dict(val=4, test=4)
    assert all(o.level=='note' for o in a.findings), a.markdown()
    src = load_source(clean)
    assert a.pixels('val').sum()==4*64*96 and a.table('labelled')['sizes']=={'96×64':8} and len(src.train)==24

@pytest.mark.parametrize('spoil, mend', [
    (binary_unknown, dict(masks={0:0, 255:1}, ignore=[])),
    (binary_ignored, dict(masks={0:0, 255:1}, ignore=[])),
    (from_one,       dict(masks={i+1:i for i in range(8)})),
    (forgotten,      dict(classes=[f'class {i}' for i in range(9)], palette=[], masks={**{i:i for i in range(8)}, 12:8})),
    (rgb,            dict(masks='rgb')),
])
def test_remedy_for_the_task(folder, spoil, mend):
    "Following a remedy word for word fixes the problem"
    spoil(folder)
    said = ' '.join(o.mend for o in audit(folder, **ARGS).findings)
    for k in mend.keys()-{'classes','palette'}: assert f'"{k}": {json.dumps(mend[k])}' in said
    task(folder, **mend)
    a = audit(folder, **ARGS)
    assert a.ok and trains(folder) and not any('no mask at all' in o.what and 'thing' in o.what for o in a.findings), a.markdown()

def test_no_remedy_changes_files(folder):
    "A shell loop would overwrite images that share a folder with their masks"
    other_stems(folder)
    said = ' '.join(o.mend for o in audit(folder, **ARGS).findings)
    assert 'segkc import' in said and not any(o in said for o in ('mv ','rm ','.save('))

def test_three_equal_channels_are_one(folder):
    rgb_grey(folder)
    assert audit(folder, **ARGS).ok and trains(folder)

def test_remedy_for_a_folder_without_parts(folder):
    flat(folder)
    a = audit(folder, **ARGS, val=.2)
    assert a.ok and [len(a.parts[k]) for k in ('labelled','val','test')]==[8,5,0]

def test_suggested_task_reads_the_masks(folder):
    no_task_binary(folder)
    mend = next(o.mend for o in audit(folder, **ARGS).findings if 'value(s)' in o.what)
    (folder/'task.json').write_text(mend.split('`')[1])
    assert audit(folder, **ARGS).ok and trains(folder)

def test_uniform_pictures_are_no_near_duplicates(folder):
    for k in ('train','val'):
        for i,(f,_) in enumerate(pairs(folder, k)): Image.new('RGB', (96,64), (i if k=='train' else 99+i,)*3).save(f, quality=95)
    assert not audit(folder, **ARGS).duplicates

def test_nothing_is_drawn_that_is_not_there(folder):
    import matplotlib.pyplot as plt
    for spoil,n in ((nothing, 1), (same_in_val, 3), (no_folder, 0)):
        plt.close('all')
        spoil(folder)
        audit(folder, **ARGS).show()
        assert len(plt.get_fignums())==n

def test_names_with_dollars_are_drawn(folder):
    import matplotlib.pyplot as plt
    (folder/'task.json').write_text((folder/'task.json').read_text().replace('"sky"', '"$_$"'))
    for k in ('image','mask'):
        f = getattr(load_source(folder).train[0], k)
        f.rename(f.with_stem('$_$'))
    a = audit(folder, **ARGS)
    assert '$_$' in a.task.classes
    a.show()
    for o in plt.get_fignums(): plt.figure(o).canvas.draw()

def test_camvid():
    if not (CAMVID/'task.json').is_file(): pytest.skip(f'no CamVid at {CAMVID}; set SEGKC_CAMVID to its folder')
    a = audit(CAMVID)
    assert a.ok and [a.table(k)['images'] for k in a.parts]==[46,321,101,233]
    val = next(o for o in a.findings if o.what.startswith('val: 101 images show'))
    assert val.level=='warning' and '101 are from sequences that are also in train: 0016E5' in val.what
    test = next(o for o in a.findings if o.what.startswith('test: 233 images show'))
    assert test.level=='note' and '62 are from sequences that are also in train: 0001TP' in test.what
    assert a.distinct['val']<40 and a.distinct['test']>150
    assert not [o for o in a.duplicates if o['part']=='test']

@pytest.mark.parametrize('kw, words', [(dict(seed=-1), 'seed=-1: must be a whole number'), (dict(size=(40,)), r'size=\(40,\): must be')])
def test_impossible_arguments_are_named(tmp_path, kw, words):
    with pytest.raises(ValueError, match=words): audit(tmp_path, **kw)
