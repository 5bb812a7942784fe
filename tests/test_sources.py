"Every published layout in miniature: it is recognised, images and masks are paired, values are the right classes; archives are downloaded, unpacked and resumed"
import functools, hashlib, http.server, shutil, tarfile, threading, zipfile
import numpy as np, pytest
from PIL import Image
from scipy.io import savemat
from fastai.data.external import URLs
from torchvision.datasets import SBDataset
from torchvision.datasets.voc import DATASET_YEAR_DICT
from segkc_fastai.data import download as dl
from segkc_fastai.data.benchmarks import LAYOUTS, VOC, load_source, write_sbd
from segkc_fastai.data.labels import read_mask

# part, image, mask, value of the mask's pixels, their class (– for ignored pixels)
FILES = dict(
    folder='''
train train/images/a.jpg train/masks/a.png 1 car
val val/images/b.png val/masks/b.png 0 road
test test/images/c.png test/masks/c.png 255 –''',
    flat='''
train images/a.jpg masks/a.png 1 car
train images/b.png masks/b.png 0 road''',
    voc='''
train JPEGImages/2007_000032.jpg SegmentationClass/2007_000032.png 1 aeroplane
train JPEGImages/2007_000039.jpg SegmentationClass/2007_000039.png 20 tvmonitor
val JPEGImages/2007_000033.jpg SegmentationClass/2007_000033.png 255 –''',
    voc_blended='''
train JPEGImages/2007_000032.jpg SegmentationClassAug/2007_000032.png 15 person
train JPEGImages/2008_000002.jpg SegmentationClassAug/2008_000002.png 12 dog
val JPEGImages/2007_000033.jpg SegmentationClass/2007_000033.png 0 background''',
    cityscapes='''
train leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png gtFine/train/ulm/ulm_000000_000019_gtFine_labelIds.png 26 car
train leftImg8bit/train/zurich/zurich_000000_000019_leftImg8bit.png gtFine/train/zurich/zurich_000000_000019_gtFine_labelIds.png 4 –
val leftImg8bit/val/munster/munster_000000_000019_leftImg8bit.png gtFine/val/munster/munster_000000_000019_gtFine_labelIds.png 19 traffic light''',
    cityscapes_train_ids='''
train leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png gtFine/train/ulm/ulm_000000_000019_gtFine_labelTrainIds.png 13 car
train leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png gtFine/train/ulm/ulm_000001_000019_gtFine_labelTrainIds.png 255 –
val leftImg8bit/val/munster/munster_000000_000019_leftImg8bit.png gtFine/val/munster/munster_000000_000019_gtFine_labelTrainIds.png 6 traffic light''',
    ade20k='''
train images/training/ADE_train_00000001.jpg annotations/training/ADE_train_00000001.png 1 wall
train images/training/ADE_train_00000002.jpg annotations/training/ADE_train_00000002.png 0 –
val images/validation/ADE_val_00000001.jpg annotations/validation/ADE_val_00000001.png 150 flag''',
    coco_stuff='''
train images/train2017/000000000009.jpg stuffthingmaps/train2017/000000000009.png 0 person
train images/train2017/000000000025.jpg stuffthingmaps/train2017/000000000025.png 255 –
val images/val2017/000000000139.jpg stuffthingmaps/val2017/000000000139.png 181 wood''',
    coco_in_annotations='''
train train2017/000000000009.jpg annotations/train2017/000000000009.png 12 stop sign
val val2017/000000000139.jpg annotations/val2017/000000000139.png 91 banner''',
    coco_in_one_folder='''
train train2017/000000000009.jpg train2017/000000000009.png 89 toothbrush
val val2017/000000000139.jpg val2017/000000000139.png 168 tree''',
    camvid='''
train images/0001TP_006690.png labels/0001TP_006690_P.png 21 Sky
train images/0006R0_f00930.png labels/0006R0_f00930_P.png 27 Car
val images/0016E5_07959.png labels/0016E5_07959_P.png 30 –''',
    camvid_segnet='''
train train/0001TP_006690.png trainannot/0001TP_006690.png 0 Sky
val val/0016E5_07959.png valannot/0016E5_07959.png 10 Bicyclist
test test/0001TP_008550.png testannot/0001TP_008550.png 11 –''')
CODES = '''Animal Archway Bicyclist Bridge Building Car CartLuggagePram Child Column_Pole Fence LaneMkgsDriv LaneMkgsNonDriv Misc_Text MotorcycleScooter OtherMoving ParkingBlock
Pedestrian Road RoadShoulder Sidewalk SignSymbol Sky SUVPickupTruck TrafficCone TrafficLight Train Tree Truck_Bus Tunnel VegetationMisc Void Wall'''
TASK,LISTS = {'task.json':'{"classes": ["road","car"]}'},'ImageSets/Segmentation'
TEXTS = dict(folder=TASK, flat=TASK, camvid={'codes.txt':'\n'.join(CODES.split()), 'valid.txt':'0016E5_07959.png\n'},
    voc={f'{LISTS}/train.txt':'2007_000032\n2007_000039\n', f'{LISTS}/val.txt':'2007_000033\n'},
    voc_blended={f'{LISTS}/train.txt':'2007_000032\n', f'{LISTS}/val.txt':'2007_000033\n', f'{LISTS}/trainaug.txt':'2007_000032\n2008_000002\n'})
NAMES = dict(flat='folder', cityscapes_train_ids='cityscapes', coco_in_annotations='coco_stuff', coco_in_one_folder='coco_stuff') # layouts with several miniatures

def rows(kind): return [o.split(maxsplit=4) for o in FILES[kind].strip().splitlines()]

def picture(path, a):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(a).save(path)

def tree(d, kind):
    for _,image,mask,value,_ in rows(kind):
        picture(d/image, np.zeros((6,8,3), np.uint8))
        picture(d/mask, np.full((6,8), int(value), np.uint8))
    for f,text in TEXTS.get(kind, {}).items():
        (d/f).parent.mkdir(parents=True, exist_ok=True)
        (d/f).write_text(text)
    return d

@pytest.fixture(params=FILES)
def kind(request): return request.param

def read(d, kind, named=False):
    "Read as a user would, without naming the layout, except for the second family of VOC, which looks like the first"
    name = NAMES.get(kind, kind)
    return load_source(d, layout=name if named or name=='voc_blended' else None)

def test_pairs_parts_and_classes(kind, tmp_path):
    src = read(tree(tmp_path, kind), kind)
    assert src.layout==NAMES.get(kind, kind)
    for part in ('train','val','test'):
        mine = [o for o in rows(kind) if o[0]==part]
        pairs = sorted(getattr(src, part), key=lambda o: o.name)
        assert [(o.image, o.mask) for o in pairs]==[(tmp_path/o[1], tmp_path/o[2]) for o in mine]
        found = [{int(v) for v in np.unique(read_mask(o.mask, src.task))} for o in pairs]
        assert [{src.task.classes[v] if v<255 else '–' for v in o} for o in found]==[{o[4]} for o in mine]

def test_a_name_gives_the_same(kind, tmp_path): assert read(tree(tmp_path, kind), kind)==read(tmp_path, kind, named=True)

def test_every_layout_has_a_miniature(): assert {NAMES.get(k, k) for k in FILES}==set(LAYOUTS)

@pytest.mark.parametrize('kind', [k for k in FILES if NAMES.get(k, k)!='folder']) # a general folder may hold images without masks
def test_a_missing_mask_is_named(kind, tmp_path):
    mask = tree(tmp_path, kind)/rows(kind)[-1][2]
    mask.unlink()
    with pytest.raises(FileNotFoundError, match=f'{mask}: no such mask'): read(tmp_path, kind)

def test_the_two_publications_of_camvid_speak_one_task(tmp_path):
    ours,theirs = (load_source(tree(tmp_path/k, k)).task for k in ('camvid','camvid_segnet'))
    assert (ours.classes, ours.palette)==(theirs.classes, theirs.palette) and sorted({*ours.masks, *ours.ignore})==list(range(32))

def sbd_tree(d, values):
    (d/'cls').mkdir(parents=True)
    for n,v in values.items():
        savemat(d/'cls'/f'{n}.mat', dict(GTcls=dict(Segmentation=np.full((6,8), v, np.uint8))))
        for k in ('img/{}.jpg','inst/{}.jpg'): picture(d/k.format(n), np.zeros((6,8,3), np.uint8))
    names = list(values)
    for k,o in dict(train=names[::2], val=names[1::2]).items(): (d/f'{k}.txt').write_text('\n'.join(o)+'\n')
    return d

SBD = {'2008_000002':12, '2007_000033':3, '2007_000032':7} # only in SBD, in VOC's val, in VOC's train with a finer mask

@pytest.fixture
def both(tmp_path):
    "Pascal VOC and SBD as in their archives"
    voc = tree(tmp_path/'VOCdevkit'/'VOC2012', 'voc')
    picture(voc/'JPEGImages'/'2008_000002.jpg', np.zeros((6,8,3), np.uint8))
    return voc,sbd_tree(tmp_path/'benchmark_RELEASE'/'dataset', SBD)

def test_sbd_becomes_the_blended_family(both):
    voc,sbd = both
    assert write_sbd(sbd.parent, voc)==3
    src = load_source(voc, layout='voc_blended')
    assert [(o.name, int(read_mask(o.mask, VOC)[0,0])) for o in src.train]==[('2007_000032',1), ('2007_000039',20), ('2008_000002',12)]
    assert not (voc/'SegmentationClassAug'/'2007_000033.png').exists() and [o.name for o in load_source(voc).extra]==['2008_000002']

def test_sbd_can_be_stopped_and_begun_again(both):
    voc,sbd = both
    whole = (sbd/'cls'/'2008_000002.mat').read_bytes()
    (sbd/'cls'/'2008_000002.mat').write_bytes(whole[:100])
    with pytest.raises(ValueError, match='2008_000002.mat: not readable'): write_sbd(sbd, voc)
    assert sorted(o.name for o in (voc/'SegmentationClassAug').iterdir())==['2007_000032.png','2007_000039.png'] and not (voc/LISTS/'trainaug.txt').exists()
    (sbd/'cls'/'2008_000002.mat').write_bytes(whole)
    assert write_sbd(sbd, voc)==3 and len(load_source(voc, layout='voc_blended').train)==3

# The published archives, from a local server

def pack(file, top, prefix=''):
    "Pack all of `top` into an archive, with paths that begin with `prefix`; returns its MD5"
    files = [(f, f'{prefix}{f.relative_to(top)}') for f in sorted(top.rglob('*')) if f.is_file()]
    if file.suffix=='.zip':
        with zipfile.ZipFile(file, 'w') as z: [z.write(*o) for o in files]
    else:
        with tarfile.open(file, 'w:gz' if file.suffix=='.tgz' else 'w') as t: [t.add(*o) for o in files]
    return hashlib.md5(file.read_bytes()).hexdigest()

@pytest.fixture
def site(tmp_path, monkeypatch):
    "Folder of archives and the requests to it; the libraries' addresses point to its server"
    folder,asked = tmp_path/'site',[]
    folder.mkdir()
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): asked.append(self.path.strip('/'))
    s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=s.serve_forever, daemon=True).start()
    url = f'http://127.0.0.1:{s.server_port}'
    monkeypatch.setitem(DATASET_YEAR_DICT['2012'], 'url', f'{url}/voc.tar')
    monkeypatch.setattr(SBDataset, 'url', f'{url}/sbd.tgz')
    monkeypatch.setattr(URLs, 'CAMVID', f'{url}/camvid.tgz')
    monkeypatch.setattr(dl, '_SITES', dict.fromkeys(dl._SITES, url))
    yield folder,asked
    s.shutdown()
    s.server_close()

@pytest.fixture
def voc_site(site, both, tmp_path, monkeypatch):
    voc,sbd = both
    monkeypatch.setitem(DATASET_YEAR_DICT['2012'], 'md5', pack(site[0]/'voc.tar', voc, 'VOCdevkit/VOC2012/'))
    monkeypatch.setattr(SBDataset, 'md5', pack(site[0]/'sbd.tgz', sbd, 'benchmark_RELEASE/dataset/'))
    return site

def test_download_pascal_and_sbd(voc_site, tmp_path):
    asked,d = voc_site[1],tmp_path/'data'
    voc = dl.download('voc', d)
    assert voc==d/'VOCdevkit'/'VOC2012' and asked==['voc.tar']
    with pytest.warns(UserWarning, match='only the 2 training images'): assert len(load_source(voc).train)==2
    assert dl.download('sbd', d)==voc and asked==['voc.tar','sbd.tgz']
    assert [o.name for o in load_source(voc, layout='voc_blended').train]==['2007_000032','2007_000039','2008_000002']
    for f in (d/'VOCtrainval_11-May-2012.tar', d/'sbd'/'benchmark.tgz'): f.unlink() # no longer needed
    assert dl.download('sbd', d)==dl.download('voc', d)==voc and len(asked)==2

def test_unpacking_that_was_stopped_begins_again(voc_site, tmp_path):
    asked,d = voc_site[1],tmp_path/'data'
    voc = dl.download('sbd', d)
    for f in (d/'VOCtrainval_11-May-2012.tar.unpacked', d/'sbd'/'benchmark.tgz.unpacked', voc/LISTS/'trainaug.txt'): f.unlink()
    for f in (voc/'JPEGImages'/'2007_000032.jpg', d/'sbd'/'cls'/'2008_000002.mat', voc/'SegmentationClassAug'/'2008_000002.png'): f.unlink()
    assert dl.download('sbd', d)==voc and len(load_source(voc, layout='voc_blended').train)==3 and len(asked)==2

def test_another_archive_than_the_published_one(voc_site, tmp_path, monkeypatch):
    monkeypatch.setitem(DATASET_YEAR_DICT['2012'], 'md5', '0'*32)
    with pytest.raises(ConnectionError, match='checksum differs.; nothing was kept'): dl.download('voc', tmp_path/'data')
    shutil.copy(voc_site[0]/'voc.tar', tmp_path/'data'/'VOCtrainval_11-May-2012.tar')
    with pytest.raises(ValueError, match='checksum differs.; delete it'): dl.download('voc', tmp_path/'data')

def test_a_damaged_archive_is_named(site, tmp_path):
    (site[0]/'ADEChallengeData2016.zip').write_bytes(b'no zip')
    with pytest.raises(ValueError, match='ADEChallengeData2016.zip: cannot be unpacked'): dl.download('ade20k', tmp_path/'data')

@pytest.mark.parametrize('name, archives', [
    ('camvid', {'camvid.tgz':('', 'camvid/')}),
    ('ade20k', {'ADEChallengeData2016.zip':('', 'ADEChallengeData2016/')}),
    ('coco_stuff', {'train2017.zip':('images/train2017','train2017/'), 'val2017.zip':('images/val2017','val2017/'), 'stuffthingmaps_trainval2017.zip':('stuffthingmaps','')})])
def test_download_the_others(name, archives, site, tmp_path):
    (folder,asked),d = site,tmp_path/'data'
    for file,(top,prefix) in archives.items(): pack(folder/file, tree(tmp_path/'made', name)/top, prefix)
    src = load_source(dl.download(name, d))
    assert src.layout==name and (len(src.train), len(src.val))==(2,1) and len(asked)==len(archives)
    assert dl.download(name, d)==src.path and len(asked)==len(archives)
    assert sorted(o.name for o in d.iterdir() if o.is_file())==sorted(f'{o}{end}' for o in archives for end in ('','.unpacked'))

def test_by_hand_instead(site, tmp_path):
    "A folder unpacked by hand is used; an archive in the right place is unpacked, not downloaded"
    folder,asked = site
    top = tree(tmp_path/'a'/'ADEChallengeData2016', 'ade20k')
    assert dl.download('ade20k', tmp_path/'a')==top and not asked
    (tmp_path/'b').mkdir()
    pack(tmp_path/'b'/'ADEChallengeData2016.zip', top, 'ADEChallengeData2016/')
    assert len(load_source(dl.download('ade20k', tmp_path/'b')).train)==2 and not asked

def test_no_connection(site, tmp_path, monkeypatch):
    monkeypatch.setattr(URLs, 'CAMVID', 'http://127.0.0.1:9/camvid.tgz')
    (tmp_path/'camvid.tgz.part').write_bytes(bytes(2_500_000))
    with pytest.raises(ConnectionError) as e: dl.download('camvid', tmp_path)
    said = str(e.value)
    for words in ('http://127.0.0.1:9/camvid.tgz', 'refused', '2.5 MB are kept', 'run the same command again to resume', f'put it at {tmp_path}/camvid.tgz'): assert words in said
    assert '\n' not in said and (tmp_path/'camvid.tgz.part').stat().st_size==2_500_000
