"The records of the probe set, the remains of a crash, and the independence of training from them"
import gc, json, os, signal, time
import numpy as np, pandas as pd, pytest, torch
from PIL import Image
from conftest import CNN, SENIOR, SMALL, apart, train
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.torch_core import set_seed
from segkc_fastai.core.task import IGNORE, Task
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.sources import Pair
from segkc_fastai.methods.registry import METHODS, make_method
from segkc_fastai.models.cohort import main_pair
from segkc_fastai.train import probe
from segkc_fastai.train.checkpoint import load_state
from segkc_fastai.train.learner import dual_learner
from segkc_fastai.train.probe import ProbeRecorder, NUMBERS, Probe, record_now
from segkc_fastai.runs.folder import Run
from segkc_fastai.runs.training import resume_run
from segkc_fastai.view.pseudo import PseudoLabelExplorer
from segkc_fastai.view.results import all_figures

def learner(dls, cbs, senior=None, method=None):
    set_seed(0)
    return dual_learner(dls, CNN, senior, method, pretrained=False, cbs=cbs)

def fit(learn, n=1, **kw):
    with learn.no_bar(), learn.no_logging(): learn.fit(n, 1e-3, **kw)
    return learn

def loaders(scenes, labelled=8, **kw): return SemiDataLoaders.from_folder(scenes, labelled=labelled, size=(64,96), bs=4, device='cpu', **kw)

def drawn(folder, sizes, k=3, masks=True):
    "Pairs of random images and masks"
    rng,res = np.random.default_rng(0),[]
    folder.mkdir()
    for i,size in enumerate(sizes):
        Image.fromarray(rng.integers(0, 255, (*size,3), dtype=np.uint8)).save(folder/f'{i}.png')
        if masks: Image.fromarray(rng.integers(0, k, size, dtype=np.uint8)).save(folder/f'{i}_mask.png')
        res.append(Pair(folder/f'{i}.png', folder/f'{i}_mask.png' if masks else None))
    return res

def from_lists(tmp_path, sizes, k=3):
    "Loaders in which unlabelled images have the given sizes, and no masks"
    known = drawn(tmp_path/'known', [(32,32)]*4, k)
    return SemiDataLoaders.from_lists(known[:2], drawn(tmp_path/'other', sizes, masks=False), known[2:], Task([f'c{i}' for i in range(k)]), size=(32,32), bs=2, device='cpu')

def test_probe_0_records_nothing(scenes, tmp_path):
    run = train(tmp_path/'r', scenes, **SMALL|dict(senior=None, epochs=1), method='supervised', probe=0)
    assert not (run.path/'probe').exists() and not (run.path/'pseudo.csv').exists()
    with pytest.raises(FileNotFoundError, match='no probe images were recorded there .*probe=16'): Probe(run)
    with pytest.raises(ValueError, match='probe=-1: must be a whole number of at least 0'): train(tmp_path/'s', scenes, **SMALL, probe=-1)
    assert not (tmp_path/'s').exists()

def test_records_match_the_networks(scenes, tmp_path):
    run = train(tmp_path/'r', scenes, **SMALL|dict(epochs=1), method='mkd', probe=3)
    probe = Probe(run)
    assert probe.networks==list(run.facts.networks) and len(probe.networks)==4 and probe.task==run.task and probe.records==[(0,4)]
    labels = {}
    for k,net in run.networks().items():
        for i,name in enumerate(probe.names):
            x = torch.tensor(np.array(Image.open(next(scenes.glob(f'train/images/{name}.*'))))).permute(2,0,1)[None]/255
            with torch.no_grad(): p = net(x).logits[0].softmax(0)
            y,row = torch.tensor(probe.truth(i)).long(),probe.per_image(0, k).loc[i]
            labels[k,i],conf = probe.maps(-1, k, i)
            assert (labels[k,i]==p.argmax(0).numpy()).all() and abs(conf/255-p.amax(0).numpy()).max()<=.5/255+1e-5
            want = [-p.log().gather(0, y[None]), p.argmax(0)!=y, -(p*p.log()).sum(0), p.amax(0), p.amax(0)>=.9]
            assert row[list(NUMBERS)].tolist()==pytest.approx([float(o.float().mean()) for o in want], abs=1e-4)
            assert abs(probe.image(i).astype(float)-255*x[0].permute(1,2,0).numpy()).mean()<6
    pairs = probe.table('agreement').set_index(['first','second']).agreement
    agree = {i:(labels['senior',i]==labels['junior',i]).mean() for i in range(3)}
    assert len(pairs)==6 and pairs['senior','junior']==pytest.approx(np.mean(list(agree.values())), abs=1e-4)
    assert probe.per_image().disagreement.to_dict()==pytest.approx({i:1-a for i,a in agree.items()}, abs=1e-4)
    for k,df in probe.table('images').groupby('network'):
        assert probe.table('records').set_index('network').loc[k, ['entropy','confidence','kept']].to_dict()==pytest.approx(df[['entropy','confidence','kept']].mean().to_dict(), abs=1e-4)

def test_any_sizes_and_no_truth(tmp_path):
    "Large images are recorded smaller, using the pixel in the middle of each cell; without masks, quality is not measured"
    sizes = [(40,56), (16,2100), (1300,40), (33,47)]
    learn = fit(learner(from_lists(tmp_path, sizes), ProbeRecorder(tmp_path/'new'/'run')))
    probe = Probe(learn)
    sizes = [(40,56), (8,1024), (1024,32), (33,47)]
    assert probe.sizes==[*sizes, (32,32), (32,32)] and [probe.truth(i) for i in range(4)]==[None]*4
    for i,size in enumerate(sizes): assert [probe.image(i).shape[:2], *(o.shape for o in probe.maps(0, 'junior', i))]==[size]*3
    x = torch.from_numpy(np.array(Image.open(tmp_path/'other'/'1.png'))).permute(2,0,1)[None]/255
    with torch.no_grad(): whole = learn.model.eval()(x).argmax(1)[0]
    assert (probe.maps(0, 'junior', 1)[0]==whole[1::2][:, ((np.arange(1024)+.5)*2100/1024).astype(int)].numpy()).all()
    df = probe.per_image().loc[:3]
    assert df[['loss','error','disagreement']].isna().all(axis=None) and df[['entropy','confidence','kept']].notna().all(axis=None) and not (tmp_path/'new'/'run'/'pseudo.csv').exists()
    assert len(probe.table('agreement'))==0 # one network

def test_validation_images_where_no_other_has_a_mask(tmp_path):
    "They are marked, also in their names; a probe set of before, whose file has one part for all, still opens"
    dls = from_lists(tmp_path, [(40,40)]*9)
    probe = Probe(fit(learner(dls, ProbeRecorder(tmp_path/'r', n=6))))
    assert probe.parts==['unlabelled']*4+['val']*2 and probe.has_truth==[False]*4+[True]*2
    assert probe.names==['0','2','4','6','2 (val)','3 (val)'] and (probe.truth(5)==np.array(Image.open(tmp_path/'known'/'3_mask.png'))).all()
    assert probe.per_image().error.isna().tolist()==[True]*4+[False]*2 and not (tmp_path/'r'/'pseudo.csv').exists()
    f = tmp_path/'r'/'probe'/'probe.json'
    f.write_text(json.dumps({k:v for k,v in json.loads(f.read_text()).items() if k!='parts'}))
    assert Probe(tmp_path/'r').parts==['unlabelled']*6

def test_a_learner_without_recorder(scenes, tmp_path):
    "It is recorded as it is now, and from the next epoch on; what it learns does not change"
    learns = [learner(loaders(scenes), (), SENIOR) for _ in range(2)]
    def train_on(o):
        set_seed(0)
        fit(o)
    for o in learns: train_on(o)
    path = record_now(learns[1], n=3).path
    for o in learns: train_on(o)
    assert Probe(learns[1]).records==[(0,4),(1,8)] and Probe(learns[1]).networks==['senior','junior']
    assert all(torch.equal(a, b) for a,b in zip(*(o.model.state_dict().values() for o in learns)) if isinstance(a, torch.Tensor))
    learns[1].remove_cb(learns[1].probe_recorder)
    gc.collect()
    assert not path.exists()

def test_the_same_two_networks_for_every_method():
    pairs = dict(supervised=('junior',)) | dict.fromkeys(('mean_teacher','fixmatch','unimatch'), ('junior','teacher'))
    pairs |= dict.fromkeys(('self_training','cps','segkc','mkd'), ('senior','junior')) | dict(gta=('assistant','junior'))
    assert {k:main_pair([*m.members, *m.ema]) for k in METHODS for m in [make_method(k)]}==pairs

@pytest.mark.parametrize('k', [1,150,255])
def test_any_number_of_classes(tmp_path, k):
    probe = Probe(fit(learner(from_lists(tmp_path, [(32,40)], k), ProbeRecorder(tmp_path/'r'))))
    label,conf = probe.maps(0, 'junior', 0)
    assert len(probe)==3 and label.max()<k and (k>1 or (conf==255).all())

def test_500_images(tmp_path):
    probe = Probe(fit(learner(from_lists(tmp_path, [(40,40)]*520), ProbeRecorder(tmp_path/'r', n=500))))
    assert len(set(probe.names))==500 and len(probe.per_image())==500 and probe.maps(0, 'junior', 497)[0].shape==(40,40)
    assert probe.names[0]=='0' and probe.names[497]=='518' # from the whole list

def test_all_labelled(scenes, tmp_path):
    "Validation images are used, and the quality of pseudo labels is not measured"
    probe = Probe(fit(learner(loaders(scenes, '1/1'), ProbeRecorder(tmp_path/'r'))))
    assert probe.parts==['val']*4 and all(probe.has_truth) and probe.per_image().loss.notna().all() and not (tmp_path/'r'/'pseudo.csv').exists()

def test_ignored_pixels(scenes, tmp_path):
    dls = loaders(scenes)
    for p in dls.source.train: Image.fromarray(np.where(np.arange(96)<48, 3, np.array(Image.open(p.mask)))).save(p.mask)
    object.__setattr__(dls.task, 'ignore', (3,))
    probe = Probe(fit(learner(dls, ProbeRecorder(tmp_path/'r', n=2))))
    truth,label = probe.truth(0),probe.maps(0, 'junior', 0)[0]
    assert (truth[:,:48]==IGNORE).all() and probe.per_image().error[0]==pytest.approx((label!=truth)[truth!=IGNORE].mean(), abs=1e-4)

def test_every_step_and_further_fits(scenes, tmp_path):
    "Finding a learning rate, predicting and validating leave no record; a second fit continues the count"
    learn = learner(loaders(scenes), ProbeRecorder(tmp_path/'r', n=2, every=3))
    with learn.no_bar(), learn.no_logging(): learn.lr_find(show_plot=False, num_it=6)
    assert not (tmp_path/'r').exists()
    fit(learn, 2)
    with learn.no_bar(), learn.no_logging():
        learn.get_preds()
        learn.validate()
        learn.lr_find(show_plot=False, num_it=6)
    fit(learn, cbs=MixedPrecision())
    probe = Probe(learn)
    assert probe.records==[(0,3),(0,4),(1,6),(1,8),(2,9),(2,12)] and probe.table('records')[['epoch','step']].apply(tuple, axis=1).tolist()==probe.records
    assert pd.read_csv(tmp_path/'r'/'pseudo.csv').epoch.unique().tolist()==[0,1,2]

def test_inside_autocast_and_after_divergence(scenes, tmp_path):
    "Networks are read in float32 even inside autocast, and NaN weights do not stop the recorder"
    learn = fit(learner(loaders(scenes), ProbeRecorder(tmp_path/'r', n=1), SENIOR, make_method('cps', warmup=0)))
    with torch.autocast('cpu', torch.bfloat16): learn.probe_recorder.record()
    probe = Probe(learn)
    assert probe.records==[(0,4),(1,4)] and all((a==b).all() for k in probe.networks for a,b in zip(probe.maps(0, k, 0), probe.maps(1, k, 0)))
    for p in learn.model.parameters(): p.data.fill_(torch.nan)
    learn.probe_recorder.epochs = 2
    learn.probe_recorder.record(ended=True)
    assert probe.refresh().per_image().entropy.isna().all() and (probe.maps(-1, 'junior', 0)[1]==0).all()

def test_exported_learner(scenes, tmp_path):
    learn = fit(learner(loaders(scenes), ProbeRecorder(tmp_path/'r', n=1)))
    learn.path = tmp_path
    learn.export('x.pkl')
    assert (tmp_path/'x.pkl').stat().st_size>0

def test_other_processes_record_nothing(scenes, tmp_path, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    m = ProbeRecorder(tmp_path/'r')
    learn = learner(loaders(scenes), ())
    m.learn = learn
    m.before_fit()
    m.after_batch()
    m.after_train()
    assert not (tmp_path/'r').exists()

def killed(run, scenes):
    "Train, and have the system kill this process in the middle of the tenth record"
    real,recorder = probe._record_image,ProbeRecorder(run, n=6, every=1)
    def slow(z, i, *args):
        if recorder.steps==10 and i==3: os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(.03) # or the reader would miss most of it
        return real(z, i, *args)
    probe._record_image = slow
    train(run, scenes, 'supervised', cbs=[recorder], **SMALL|dict(senior=None, epochs=9, probe=0))

def look(run):
    "Read all records, as an explorer would"
    try: probe = Probe(run)
    except FileNotFoundError: return None
    for r in range(len(probe.records)): assert all(m.shape==(64,96) for i in range(len(probe)) for m in probe.maps(r, 'junior', i))
    for k in ('records','images'): assert len(probe.table(k))==len(probe.records)*(len(probe) if k=='images' else 1)
    assert all(probe.image(i).shape==(64,96,3) and probe.truth(i).shape==(64,96) for i in range(len(probe)))
    return probe

def test_killed_while_recording(scenes, tmp_path):
    "Another process reads along, and opens the remaining records"
    run,seen = tmp_path/'run',set()
    p = apart(killed, run, scenes)
    while p.is_alive():
        if probe := look(run): seen.add(len(probe.records))
        time.sleep(.01)
    assert p.exitcode==-signal.SIGKILL and len(seen)>2
    left = [o.name for o in (run/'probe').iterdir() if o.suffix in ('.npz','.part')]
    assert len(left)==10 and sum(o.startswith('.e0002-s000010') for o in left)==1 # the tenth, half-written, under another name
    probe = look(Run(run))
    assert probe.records==[(s//4-(s%4==0), s) for s in range(1,10)] and set(pd.read_csv(run/'pseudo.csv').epoch)=={0,1} and len(Run(run).history)==2
    e = PseudoLabelExplorer(run)
    e.go(image=5, record=0)
    assert len(e.nav.records)==9 and e.viewer.name.endswith('epoch 1, step 1') and e.png()[:4]==b'\x89PNG'

def test_a_run_without_a_record(scenes, tmp_path):
    "Promised: Views of a run that has not recorded yet say so. Attacked: Killed in its first epoch, or still in it"
    class Stop(Callback):
        order = 101 # after the checkpoint
        def after_batch(self): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): train(tmp_path/'r', scenes, **SMALL|dict(checkpoint=0), cbs=[Stop()])
    probe = Probe(tmp_path/'r')
    assert probe.records==[] and probe.table('images').empty
    for f in (probe.per_image, lambda: probe.maps(-1, 'junior', 0), lambda: PseudoLabelExplorer(tmp_path/'r')):
        with pytest.raises(FileNotFoundError, match='r/probe: no record yet; the first is written at the end of the first epoch'): f()

def test_rows_are_appended_and_taken_back(scenes, tmp_path):
    "Promised: Tables survive a killed writer. Attacked: Half a row at the end"
    class Stop(Callback):
        order = 101 # after the checkpoint
        def after_batch(self):
            if self.training and self.train_iter==6: raise KeyboardInterrupt
    whole,run = train(tmp_path/'a', scenes, **SMALL|dict(probe=2)),tmp_path/'b'
    with pytest.raises(KeyboardInterrupt): train(run, scenes, **SMALL|dict(probe=2, checkpoint=0), cbs=[Stop()])
    assert 'text' not in load_state(run/'checkpoint')['callbacks']['probe_recorder'], 'a checkpoint would hold all tables'
    files = [run/'pseudo.csv', *(run/'probe').glob('*.csv')]
    before = {f:(f.stat().st_ino, f.read_bytes()) for f in files}
    for f in files: f.write_bytes(f.read_bytes()+f.read_bytes().splitlines(True)[-1]+b'0,"ju')
    probe = Probe(run)
    assert len(probe.table('records'))==3 and not probe.table('images').isna().any().any()
    assert [o for o in all_figures([run], tmp_path/'f')[1] if 'pseudo' in o]==[]
    resume_run(run, device='cpu')
    (run/'probe'/'e0000-s000004.npz').unlink()
    with pytest.raises(FileNotFoundError, match='e0000-s000004.npz: no longer there, .*; open the run again'): probe.maps(0, 'junior', 0)
    for f in files:
        node,text = before[f]
        assert f.stat().st_ino==node and f.read_bytes().startswith(text), 'rewritten'
        assert f.read_bytes()==(whole.path/f.relative_to(run)).read_bytes()
