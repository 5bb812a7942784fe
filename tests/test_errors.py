"Wrong labels: regions of arrays, folds, decisions, and a label that was changed, found by small networks"
import json, shutil
from concurrent.futures import ThreadPoolExecutor
import numpy as np, pandas as pd, pytest
from PIL import Image
from segkc_fastai.cli import main
from segkc_fastai.core.task import IGNORE, Task
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.sources import Pair
from segkc_fastai.data.splits import read_names
from segkc_fastai.label.errors import (COLUMNS, decide, divide, image_errors, kind_of_error, label_errors, less_habit,
    read_decisions, shifted_objects, suspicion, suspicious_regions, undecided)
from segkc_fastai.runs.config import RunConfig
from segkc_fastai.runs.folder import Run

SMALL = dict(junior='test_efficientnet+fpn:32', senior='test_resnet+fpn:32', method='cps', method_args=dict(warmup=0, ramp=0), pretrained=False,
    size=(32,64), bs=4, epochs=1, checkpoint=None)

def box(h=32, w=48, y=slice(8,20), x=slice(8,20)):
    m = np.zeros((h,w), np.uint8)
    m[y,x] = 1
    return m

def sure(m, k=3, p=.9): return np.where(np.arange(k)[:,None,None]==m, p, (1-p)/(k-1))

# ---- arrays

def test_ignored_pixels_are_never_suspicious():
    label = box()*IGNORE
    other,margin,evidence = suspicion([sure(1-box())]*2, label)
    assert (margin[label==IGNORE]==0).all() and (evidence[label==IGNORE]==0).all() and (margin[label==0]>.8).all()

def test_both_networks_must_agree():
    found = lambda *ps: suspicious_regions(*suspicion(ps, 0*box()), 0*box())
    assert len(found(sure(box()), sure(box())))==1 and found(sure(box()), sure(2*box()))==found(sure(box()), sure(0*box()))==[]
    assert not found(sure(box()), sure(box(), p=.6)) # .6 - .2 is below the smallest margin

def test_one_network_is_enough_for_a_run_with_one(): assert len(suspicious_regions(*suspicion([sure(box())], 0*box()), 0*box()))==1

def test_score_is_the_smaller_evidence_by_the_root_of_the_share():
    r, = suspicious_regions(*suspicion([sure(box(), p=.9), sure(box(), p=.8)], 0*box()), 0*box())
    assert r['score']==pytest.approx(np.log(.8/.1)*(144/(32*48))**.5, rel=1e-4) and r['area']==144 and r['box']==(8,8,20,20)

def test_tiny_regions_are_left_out():
    m = box(y=slice(3,6), x=slice(3,8))
    assert suspicious_regions(m, 1.*m, 1.*m, 0*m)==[] and len(suspicious_regions(m, 1.*m, 1.*m, 0*m, smallest=15))==1

def test_regions_of_two_classes_that_touch_are_two():
    m = box()+box(x=slice(14,20))
    assert sorted((r['other'],r['area']) for r in suspicious_regions(m, 1.*(m>0), 1.*(m>0), 0*m))==[(1,72),(2,72)]

@pytest.mark.parametrize('kind, region, label, other', [
    ('missing object', box(), 0*box(), 1),
    ('missing object', box(), box(x=slice(30,40)), 1), # another one is elsewhere
    ('missing object', box(y=slice(8,10)), 0*box(), 1), # thin, and by itself
    ('extra object', box(), box(), 0),
    ('extra object', box(y=slice(9,19)), box(), 0), # most of it
    ('wrong class', box(), 2*box(), 1),
    ('wrong class', box(y=slice(9,18)), 2*box(), 1),
    ('shifted boundary', box(x=slice(20,24)), box(), 1),
    ('shifted boundary', box(x=slice(8,12)), box(), 0)])
def test_kinds(kind, region, label, other): assert kind_of_error(region>0, label, other)==kind

def test_an_object_at_the_edge_of_the_image_or_among_ignored_pixels():
    whole = np.ones((8,8), np.uint8)
    assert kind_of_error(whole>0, whole, 0)=='wrong class'
    assert kind_of_error(box()>0, np.where(box(), 1, IGNORE).astype(np.uint8), 0)=='wrong class'

def test_bands_rank_below_objects_of_the_same_area():
    label = box(64, 64, slice(8,56), slice(4,20))
    both = np.maximum(label, box(64, 64, slice(8,56), slice(20,24)))
    both[4:20,36:48] = 1
    rows = {r['kind']:r for r in suspicious_regions(both, 1.*(both!=label), 1.*(both!=label), label)}
    assert rows['shifted boundary']['area']==rows['missing object']['area']==192
    assert rows['shifted boundary']['score']==rows['missing object']['score']/4

def shifts(label, *ps): return shifted_objects(ps, label, *suspicion(ps, label)[:2])

@pytest.mark.parametrize('dy, dx', [(0,6),(6,0),(-4,0),(0,-7),(4,4)])
def test_an_object_whose_label_is_beside_it(dy, dx):
    label,true = box(),box(y=slice(8+dy,20+dy), x=slice(8+dx,20+dx))
    r, = shifts(label, sure(true), sure(true, p=.8))
    assert (r['kind'],r['label'],r['other'])==('shifted object',1,1) and r['area']==(label!=true).sum()
    ys,xs = np.nonzero(label|true)
    assert r['box']==(xs.min(),ys.min(),xs.max()+1,ys.max()+1)
    assert r['score']==pytest.approx(3*np.log(.8/.1)*(r['area']/label.size)**.5, rel=1e-3)

@pytest.mark.parametrize('label, seen', [
    (box(), box()),
    (box(), box(x=slice(10,22))),                   # no further than a border may be
    (box(), 0*box()), (0*box(), box()),             # extra, missing
    (box(), 2*box(x=slice(14,26))),                 # seen as another class
    (box(), box(x=slice(8,26))),                    # only larger
    (box(), box(y=slice(0,32), x=slice(14,48))),    # no object of its size
    (box(), box(x=slice(26,38))),                   # too far
    (box(y=slice(0,24), x=slice(0,24)), box(y=slice(0,24), x=slice(6,30)))]) # more than an eighth of the image
def test_no_shifted_object(label, seen): assert shifts(label, sure(seen), sure(seen))==[]

def test_a_shifted_object_needs_all_networks():
    assert not shifts(box(), sure(box(x=slice(14,26))), sure(box())) and not shifts(box(), sure(box(x=slice(14,26))), sure(0*box()))

def test_a_shifted_object_at_the_edge_and_among_ignored_pixels():
    label,true = box(y=slice(0,12), x=slice(0,12)),box(y=slice(0,12), x=slice(6,18))
    assert shifts(label, sure(true))[0]['box']==(0,0,18,12)
    label[:,18:] = IGNORE
    assert shifts(label, sure(true))[0]['box']==(0,0,18,12)
    label[:,12:] = IGNORE
    assert not shifts(label, sure(true)), 'nothing speaks for the place it moves to'

def test_a_shifted_object_replaces_its_bands(tmp_path):
    Image.fromarray(box()).save(tmp_path/'a.png')
    seen = box(x=slice(14,26))
    seen[0:4,0:12] = 1 # another object, nearby
    rows = image_errors([sure(seen)]*2, Pair(tmp_path/'a.jpg', tmp_path/'a.png'), Task(['road','car','tree']))
    assert sorted((r['kind'],r['other']) for r in rows)==[('missing object','car'),('shifted object','car')]

def test_confusions_in_many_images_count_less():
    df = pd.DataFrame([dict(name=str(i//2), label='pole', other='house', score=4.) for i in range(32)]+[dict(name='0', label='car', other='house', score=3.)])
    assert [*less_habit(df).score]==[3]+[2]*32

def test_rows_name_classes_and_files(tmp_path):
    Image.fromarray(0*box()).save(tmp_path/'a.png')
    r, = image_errors([sure(box())]*2, Pair(tmp_path/'x'/'a.jpg', tmp_path/'a.png'), Task(['road','car','tree']))
    assert (r['name'], r['label'], r['other'], r['kind'])==('a','road','car','missing object') and set(r)==set(COLUMNS)

def test_a_mask_of_another_size_than_its_image(tmp_path):
    Image.fromarray(0*box(8, 6)).save(tmp_path/'a.png')
    with pytest.raises(ValueError, match='a.png: 6×8 pixels, but its image has 48×32; create it again'):
        image_errors([sure(box())]*2, Pair(tmp_path/'a.jpg', tmp_path/'a.png'), Task(['road','car','tree']))

# ---- folds

def test_folds_divide_the_images():
    names = [f'a{i}' for i in range(11)]
    parts = divide(names, 3, seed=1)
    assert sorted(sum(parts, []))==sorted(names) and sorted(map(len, parts))==[3,4,4]
    assert parts==divide(names[::-1], 3, seed=1)!=divide(names, 3, seed=2)

def test_groups_stay_together():
    parts = divide([f'{k}_{i}' for k in 'abcde' for i in range(4)], 3, group='^[^_]+')
    assert all(len({o[0] for o in p}) * 4 == len(p) for p in parts)
    with pytest.raises(ValueError, match='only 2 groups of labelled images'): divide(['a1','a2','b1'], 3, group='^.')

# ---- runs

@pytest.fixture(scope='module')
def checked(tmp_path_factory):
    "Folder of the results, data without a validation part, and settings"
    d = tmp_path_factory.mktemp('errors')
    write_scenes(d/'data', n_train=12, n_val=1, n_test=0, size=(32,64))
    shutil.rmtree(d/'data'/'val')
    config = RunConfig(str(d/'data'), labelled='9', **SMALL)
    return d,config,label_errors(config, d/'out', 3, device='cpu')

def test_held_out_images_are_never_labelled(checked):
    d,config,_ = checked
    seen = []
    for i in range(3):
        run = Run(d/'out'/f'fold-{i}')
        val,labelled = ({o for o in read_names(run.path/f'{k}.txt', [f'scene_{i:05}' for i in range(12)])} for k in ('val','labelled'))
        assert len(labelled)==6 and len(val)==3 and not val&labelled and run.facts.images==dict(labelled=6, unlabelled=3, val=3)
        seen += val
    assert len(set(seen))==9 and {o.stem for o in (d/'out'/'predictions'/'junior').iterdir()}==set(seen)

def test_predictions_are_class_numbers(checked):
    d,*_ = checked
    for k in ('junior','senior'):
        for f in (d/'out'/'predictions'/k).iterdir():
            with Image.open(f) as im: assert im.mode=='P' and im.size==(64,32) and np.asarray(im).max()<8

def test_a_second_check_trains_nothing(checked, monkeypatch):
    d,config,df = checked
    monkeypatch.setattr('segkc_fastai.runs.grid.train_run', None)
    pd.testing.assert_frame_equal(label_errors(config, d/'out', 3, device='cpu'), df)
    with pytest.raises(ValueError, match='holds a run with labelled='): label_errors(config, d/'out', 2, device='cpu')

def test_networks_that_learned_other_masks_do_not_judge(checked):
    d,config,_ = checked
    name = read_names(d/'out'/'fold-0'/'labelled.txt', [f'scene_{i:05}' for i in range(12)])[0]
    file = d/'data'/'train'/'masks'/f'{name}.png'
    before = file.read_bytes()
    Image.fromarray(1-np.minimum(np.array(Image.open(file)), 1)).save(file)
    try:
        why = f'fold-0: 1 of .* differ: {name}; its networks learned the old ones; remove .*out/fold-\\* to train again, or pass another folder'
        with pytest.raises(ValueError, match=why): label_errors(config, d/'out', 3, device='cpu')
    finally: file.write_bytes(before)

def certain(d, config, monkeypatch, labels):
    "`label_errors` if both networks were sure of these labels, name → (H,W)"
    def judge(nets, pair, config, device): return {k:sure(labels[pair.name], 8) for k in nets}
    monkeypatch.setattr('segkc_fastai.label.errors._judged', judge)
    monkeypatch.setattr('segkc_fastai.label.errors.check_contents', lambda *_: None)
    return label_errors(config, d/'out', 3, device='cpu')

def test_a_corrupted_mask_is_found_and_its_decision_remembered(checked, monkeypatch):
    d,config,_ = checked
    masks = {f.stem:np.array(Image.open(f)) for f in (d/'data'/'train'/'masks').iterdir()}
    name = next(o.stem for o in (d/'out'/'predictions'/'junior').iterdir())
    clean = masks[name].copy()
    bad = clean.copy()
    bad[4:14,10:30] = (clean[9,20]+1)%8
    file = d/'data'/'train'/'masks'/f'{name}.png'
    before = file.read_bytes()
    Image.fromarray(bad).save(file)
    df = certain(d, config, monkeypatch, masks)
    assert set(df.name)=={name} and df['mask'][0]==str(file) and df.score.is_monotonic_decreasing
    decide(d/'out', df.iloc[0], 'keep')
    left = certain(d, config, monkeypatch, masks)
    assert len(left)==len(df)-1 and df.key[0] not in set(left.key)
    bad[-1,-1] = (bad[-1,-1]+1)%8
    Image.fromarray(bad).save(file) # an edit elsewhere
    assert df.key[0] not in set(certain(d, config, monkeypatch, masks).key)
    bad[5,11] = clean[5,11]
    Image.fromarray(bad).save(file) # an edit within: asked again
    assert len(certain(d, config, monkeypatch, masks))==len(df)
    file.write_bytes(before)
    (d/'out'/'decisions.json').unlink()

def test_verdicts_of_two_notebooks(tmp_path):
    def judge(k): decide(tmp_path, dict(name='a', kind='wrong class', box=(0,0,1,1), key=str(k)), 'keep')
    with ThreadPoolExecutor(4) as pool: list(pool.map(judge, range(60)))
    assert len(read_decisions(tmp_path))==60

def test_a_damaged_file_of_decisions(tmp_path):
    (tmp_path/'decisions.json').write_text('{"decisions": 3}')
    with pytest.raises(ValueError, match="'decisions' is 3, not an object"): undecided(pd.DataFrame(dict(key=['a'])), tmp_path)

# ---- the command

def test_the_command_writes_its_lists(checked, capsys):
    d,config,df = checked
    nets = '--junior test_efficientnet+fpn:32 --senior test_resnet+fpn:32 --random --method cps --method-arg warmup=0 --method-arg ramp=0'
    main(f'check-labels --data {d}/data --out {d}/out --labelled 9 {nets} --size 32,64 --bs 4 --epochs 1'.split())
    said = capsys.readouterr().out
    assert f'{len(df)} regions' in said and (f"Checker('{d}/out')" in said)==bool(len(df))
    rows = json.loads((d/'out'/'errors.json').read_text())['regions']
    assert len(rows)==len(df)==len(pd.read_csv(d/'out'/'errors.csv')) and f'{len(df)} regions' in (d/'out'/'errors.md').read_text()

@pytest.mark.parametrize('more, why', [('--folds 1','folds=1: must be at least 2'), ('--folds 13','only 12 labelled images'), ('--labelled 40','requests 40')])
def test_bad_numbers(checked, tmp_path, more, why):
    with pytest.raises(SystemExit, match=why): main(f'check-labels --data {checked[0]}/data --out {tmp_path}/out {more}'.split())
    assert not (tmp_path/'out').exists()

def test_no_labels(tmp_path):
    (tmp_path/'images').mkdir()
    Image.new('RGB', (32,32)).save(tmp_path/'images'/'a.png')
    (tmp_path/'task.json').write_text('{"classes": ["road","car"]}')
    with pytest.raises(SystemExit, match='no pairs; masks must contain a mask'): main(f'check-labels --data {tmp_path} --out {tmp_path}/out'.split())
