"A training resumed after an interrupt is bit-identical to one that was left alone; checkpoints that do not match, or cannot be written, have clear errors"
import errno, math, os, pickle, random, re, shutil, subprocess, warnings
import numpy as np, pandas as pd, pytest, torch
from conftest import CNN, SMALL, settings, train
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.progress import CSVLogger
from fastai.callback.tracker import EarlyStoppingCallback, ReduceLROnPlateau, SaveModelCallback
from fastai.callback.training import GradientAccumulation
from fastai.optimizer import OptimWrapper
from fastai.torch_core import set_seed
from safetensors.torch import save_file
from segkc_fastai.cli import main
from segkc_fastai.data.loaders import SegDataset, SemiDataLoaders
from segkc_fastai.runs.grid import find_or_train
from segkc_fastai.methods.registry import METHODS, make_method
from segkc_fastai.core import tensors
from segkc_fastai.train import checkpoint
from segkc_fastai.train.checkpoint import STATE, Checkpoint, load_state, save_state
from segkc_fastai.train.learner import dual_learner
from segkc_fastai.runs.folder import Run, has_checkpoint
from segkc_fastai.runs.training import resume_run
from soak import TIMES, soak

class Stop(Callback):
    "Interrupt a fit after a training step, counted over all epochs, or after the checkpoint of an epoch"
    order = Checkpoint.order+1
    def __init__(self, step=None, after=None): self.step,self.after = step,after
    def after_batch(self):
        if self.learn.training and self.learn.train_iter==self.step: raise KeyboardInterrupt
    def after_epoch(self):
        if self.learn.epoch==self.after: raise KeyboardInterrupt

SIZE = 32,48

def small(scenes, method='mean_teacher', seed=0, cbs=(), workers=0, labelled=8, **kwargs):
    "A learner with 4 steps per epoch"
    set_seed(seed)
    dls = SemiDataLoaders.from_folder(scenes, labelled=labelled, size=SIZE, bs=4, device='cpu', num_workers=workers)
    m = make_method(method, **dict(supervised={}, self_training={}).get(method, dict(warmup=.2)))
    return dual_learner(dls, CNN, CNN if 'senior' in m.members else None, m, pretrained=False, cbs=list(cbs), **kwargs)

def fit(learn, epochs=2, how='fit_one_cycle', cbs=()):
    with learn.no_bar(), learn.no_logging(): getattr(learn, how)(epochs, 1e-3, cbs=list(cbs))
    return learn

def cut(learn, path, stop, **kwargs):
    cbs = [*kwargs.pop('cbs', ()), Checkpoint(path, minutes=0), stop]
    with pytest.raises(KeyboardInterrupt): fit(learn, cbs=cbs, **kwargs)

def equal(a, b):
    if isinstance(a, torch.Tensor): return torch.equal(a, b)
    if isinstance(a, dict): return list(a)==list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, float): return a==b or math.isnan(a) and math.isnan(b)
    return len(a)==len(b) and all(map(equal, a, b)) if hasattr(a, '__iter__') and not isinstance(a, str) else a==b

def facts(learn):
    "Networks, EMA copies and their updates, statistics, optimizer, the records of a fit, random numbers"
    recorded = {k:getattr(learn.recorder, k) for k in ('lrs','iters','losses','values')}
    return recorded | dict(model=dict(learn.model.state_dict()), opt=learn.opt.state_dict(), epochs=learn.semi_step.epochs, rng=torch.get_rng_state())

def check_same(a, b):
    for k,v in a.items(): assert equal(v, b[k]), k

@pytest.fixture(scope='module')
def whole(drawn_scenes):
    "The facts of an uninterrupted fit"
    return facts(fit(small(drawn_scenes)))

@pytest.mark.parametrize('method', METHODS)
def test_bit_identical(scenes, tmp_path, method):
    "Promised: A resumed run equals an uninterrupted one, bit for bit, on a CPU. Attacked: Interrupted twice, with each method"
    whole = facts(fit(small(scenes, method)))
    cut(small(scenes, method), tmp_path, Stop(3))
    cut(small(scenes, method, seed=1).resume(tmp_path), tmp_path, Stop(7))
    check_same(whole, facts(fit(small(scenes, method, seed=2).resume(tmp_path))))

@pytest.mark.parametrize('stop', [Stop(4), Stop(8), Stop(after=0), Stop(after=1)], ids=['last step','very last step','epoch','last epoch'])
def test_edges_of_an_epoch(scenes, whole, tmp_path, stop):
    cut(small(scenes), tmp_path, stop)
    check_same(whole, facts(fit(small(scenes, seed=1).resume(tmp_path))))

@pytest.mark.parametrize('how,opt', [('fit',None), ('fit_poly',None), ('fit',torch.optim.AdamW)])
def test_other_fits_and_accumulation(scenes, tmp_path, how, opt):
    "Three batches per step: the checkpoint falls in the middle of a step that reaches into the next epoch"
    kw = dict(opt_func=lambda p, **k: OptimWrapper(p, opt, **k)) if opt else {}
    make = lambda seed=0: small(scenes, 'cps', seed, [GradientAccumulation(12)], **kw)
    whole = facts(fit(make(), how=how))
    cut(make(), tmp_path, Stop(5), how=how)
    check_same(whole, facts(fit(make(1).resume(tmp_path), how=how)))

def test_workers(scenes, whole, tmp_path):
    "The number of loading processes may change, and images already trained on are not loaded again"
    cut(small(scenes, workers=2), tmp_path, Stop(6))
    check_same(whole, facts(fit(small(scenes, workers=1).resume(tmp_path))))
    seen,get = [],SegDataset.__getitem__
    learn = small(scenes).resume(tmp_path)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(SegDataset, '__getitem__', lambda self, i: seen.append(self) or get(self, i))
        fit(learn)
    assert [sum(o is dl.dataset for o in seen) for dl in learn.dls]==[2*4,4,2*4] # two batches of each stream, four validation images

class Rises(Callback):
    "Replace a metric by one that gets worse after the first epoch, so that the trackers have something to do"
    order = 55 # between recorder and trackers
    def after_epoch(self): self.recorder.values[-1][1] = (3.,1.,2.,2.5,2.2)[self.learn.epoch]

def trackers(): return [Rises(), SaveModelCallback(fname='best'), CSVLogger('log.csv'), EarlyStoppingCallback(patience=3), ReduceLROnPlateau(patience=2, factor=7)]

@pytest.mark.parametrize('stop', [Stop(after=2), Stop(14)], ids=['after an epoch','within one'])
def test_trackers(scenes, tmp_path, stop, capsys):
    "Best value, patience and rows equal those of the whole fit, which stops early and loads its best model"
    out = {}
    for k in ('whole','cut'):
        (tmp_path/k).mkdir()
        learn = small(scenes, 'supervised', cbs=trackers(), path=tmp_path/k)
        if k=='cut':
            cut(learn, tmp_path/'c', stop, epochs=6, how='fit')
            (tmp_path/k/'log.csv').write_text('') # as a crash may leave it
            learn = small(scenes, 'supervised', seed=1, cbs=trackers(), path=tmp_path/k).resume(tmp_path/'c')
        fit(learn, 6, 'fit')
        log = pd.read_csv(tmp_path/k/'log.csv').drop(columns='time').to_csv()
        out[k] = facts(learn) | dict(best=learn.save_model.best, wait=learn.early_stopping.wait, epoch=learn.epoch, lr=learn.opt.hypers[0]['lr'], log=log)
    assert out['whole']['epoch']==4 and out['whole']['best']==1. and out['whole']['lr']==1e-3/7
    check_same(out['whole'], out['cut'])

def test_progress_bar_and_rows(scenes, tmp_path, capsys):
    cut(small(scenes, 'supervised'), tmp_path, Stop(6))
    small(scenes, 'supervised').resume(tmp_path).fit_one_cycle(2, 1e-3)
    cut(small(scenes, 'supervised'), tmp_path, Stop(after=1))
    small(scenes, 'supervised').resume(tmp_path).fit_one_cycle(2, 1e-3) # nothing is left to do

class CPUScaler(Callback):
    "The scaler of half precision, which fastai creates for CUDA only"
    order = MixedPrecision.order
    def before_fit(self): self.learn.scaler = torch.amp.GradScaler('cpu', init_scale=2., growth_interval=3)
    def before_backward(self): self.learn.loss_grad = self.learn.scaler.scale(self.learn.loss_grad)
    def before_step(self):
        self.learn.scaler.unscale_(self.opt_like)
        self.learn.scaler.update()
    @property
    def opt_like(self):
        params = [p for g in self.learn.opt.param_lists for p in g if p.grad is not None]
        return torch.optim.SGD(params, 1.)

def test_scaler(scenes, tmp_path):
    whole = fit(small(scenes, cbs=[CPUScaler()]))
    scaler = whole.scaler.state_dict()
    cut(small(scenes, cbs=[CPUScaler()]), tmp_path, Stop(5))
    other = fit(small(scenes, seed=1, cbs=[CPUScaler()]).resume(tmp_path))
    assert scaler==other.scaler.state_dict() and scaler['scale']==8. and equal(dict(whole.model.state_dict()), dict(other.model.state_dict()))

def test_predicting_before_the_fit(scenes, whole, tmp_path):
    "Predicting, validating and finding a learning rate between `resume` and the fit changes nothing and writes no checkpoint"
    cut(small(scenes), tmp_path/'c', Stop(6))
    learn = small(scenes, seed=1, cbs=[Checkpoint(tmp_path/'d', 0)], path=tmp_path).resume(tmp_path/'c')
    with learn.no_bar(), learn.no_logging():
        learn.get_preds()
        learn.validate()
        learn.lr_find(num_it=2, show_plot=False, suggest_funcs=())
    assert not (tmp_path/'d').exists()
    check_same(whole, facts(fit(learn)))
    assert not {'resuming','_do_fit','all_batches'}&set(vars(learn)) and load_state(tmp_path/'d')['where']['epoch']==2
    learn.validate()
    assert load_state(tmp_path/'d')['where']['step']==0

def test_a_fit_that_fails_is_over(scenes, tmp_path):
    "The next fit is an ordinary one"
    cut(small(scenes), tmp_path, Stop(6))
    learn = small(scenes).resume(tmp_path)
    cut(learn, tmp_path/'e', Stop(7))
    assert len(fit(learn, 1).recorder.losses)==4

def test_other_processes(scenes, tmp_path, monkeypatch):
    "All processes but the first write nothing, and draw different random numbers after a resume"
    cut(small(scenes), tmp_path/'c', Stop(6))
    drawn = []
    for rank in ('0','1','2'):
        monkeypatch.setenv('RANK', rank)
        learn = small(scenes).resume(tmp_path/'c')
        checkpoint._restore(learn, learn.resuming)
        drawn.append((torch.rand(1).item(), random.random(), np.random.rand()))
    assert len(set(sum(drawn, ())))==9
    fit(small(scenes, cbs=[Checkpoint(tmp_path/'d', 0)]), 1)
    assert not (tmp_path/'d').exists()

def test_other_frozen_networks(scenes, tmp_path):
    cut(small(scenes, 'mkd'), tmp_path, Stop(3))
    other = dual_learner(small(scenes).dls, CNN, CNN, make_method('mkd'), pretrained=False, frozen=['senior']).resume(tmp_path)
    with pytest.raises(ValueError, match='freeze the same networks'): fit(other)

class Payload:
    def __reduce__(self): return os.mkdir,(str(self.at),)

def test_a_pickle_is_not_loaded(scenes, tmp_path):
    evil = Payload()
    evil.at = tmp_path/'ran'
    pickled,nothing,other = (lambda f: f.write_bytes(pickle.dumps(evil))),(lambda f: f.write_bytes(b'')),(lambda f: save_file(dict(a=torch.ones(2)), f))
    for write in (pickled, nothing, other, lambda f: torch.save(evil, f)):
        write(tmp_path/STATE)
        with pytest.raises(ValueError, match=f'{STATE}: (not a safetensors file|holds tensors, but not the state of training)'): small(scenes).resume(tmp_path)
    assert not evil.at.exists()

def check_full(path, trainings):
    "One checkpoint was written; the next does not fit on the disk"
    first = load_state(path)
    with pytest.raises(OSError, match=r'the disk is full; a checkpoint needs \d+\.\d MiB beside the last one, \d+\.\d MiB are free') as e: trainings()
    assert e.value.errno==errno.ENOSPC and str(path) in str(e.value)
    assert [o.name for o in path.iterdir()]==[STATE] and equal(first, load_state(path))

def test_full_disk(scenes, tmp_path):
    "Promised: A full disk costs no checkpoint. Attacked: A file system with room for one"
    cut(small(scenes), tmp_path/'c', Stop(2))
    disk,size = tmp_path/'disk',(tmp_path/'c'/STATE).stat().st_size
    disk.mkdir()
    try: got = subprocess.run(['mount','-t','tmpfs','-o',f'size={int(1.5*size)}','tmpfs',str(disk)], capture_output=True, text=True)
    except FileNotFoundError: pytest.skip('mount is missing')
    if got.returncode: pytest.skip(f'cannot mount a small file system: {got.stderr.strip()}')
    try:
        cut(small(scenes), disk/'c', Stop(1))
        check_full(disk/'c', lambda: fit(small(scenes).resume(disk/'c'), cbs=[Checkpoint(disk/'c', 0)]))
    finally: subprocess.run(['umount',str(disk)], check=True)

@pytest.mark.parametrize('error', [OSError(errno.ENOSPC, 'No space left on device'), OSError(errno.EDQUOT, 'Disk quota exceeded')])
def test_full_disk_simulated(tmp_path, monkeypatch, error):
    "The same without mounting: the first part of the file is written, then the disk is full"
    def half(tensors, path, metadata=None):
        path.write_bytes(b'x'*99)
        raise error
    save_state(tmp_path/'c', dict(a=torch.zeros(9)))
    monkeypatch.setattr(tensors, 'save_file', half)
    check_full(tmp_path/'c', lambda: save_state(tmp_path/'c', dict(a=torch.zeros(2**20))))

RUN = SMALL|dict(senior=CNN, size=SIZE, method_args=dict(warmup=.2, ramp=.2), probe=2)

def check_runs(a, b):
    assert a.finished and b.finished and not has_checkpoint(b.path) and not list(b.path.rglob('*.part'))
    for k in a.facts.networks: assert equal(*(dict(o.network(k).state_dict()) for o in (a,b)))
    pd.testing.assert_frame_equal(*(o.history.drop(columns=TIMES) for o in (a,b)), check_exact=True)

def test_runs(scenes, tmp_path, capsys, monkeypatch):
    "Also on the command line; resuming raises if data are missing or the run is finished"
    monkeypatch.setattr('segkc_fastai.data.loaders.default_device', lambda: torch.device('cpu'))
    whole,out = train(tmp_path/'a', scenes, 'segkc', **RUN),tmp_path/'b'
    with pytest.raises(KeyboardInterrupt): train(out, scenes, 'segkc', **RUN|dict(checkpoint=0), cbs=[Stop(2)])
    assert has_checkpoint(out) and not (out/'history.csv').exists() and not Run(out).ended
    shutil.move(scenes/'train'/'images'/'scene_00003.jpg', tmp_path)
    with pytest.raises(ValueError, match='b: split_hash was .*, now .*; restore the original, or start a new run'): resume_run(out)
    shutil.move(tmp_path/'scene_00003.jpg', scenes/'train'/'images')
    (out/'.card.md.1.part').write_text('half')
    main(['train','--resume',str(out)])
    assert f'Run: {out}' in capsys.readouterr().out
    check_runs(whole, Run(out))
    with pytest.raises(SystemExit, match='segkc: .*b: this run is finished after 2 epochs; its results are in .*card.md'): main(['train','--resume',str(out)])

def test_runs_without_a_checkpoint(scenes, tmp_path):
    whole,out = train(tmp_path/'a', scenes, 'segkc', **RUN),tmp_path/'b'
    shutil.copytree(whole.path, out)
    for f in (out/'card.md', out/'card.json', out/'history.csv', *out.glob('*.safetensors')): f.unlink() # as during the first epoch
    check_runs(whole, resume_run(out, device='cpu'))
    with pytest.raises(KeyboardInterrupt): train(tmp_path/'c', scenes, 'segkc', **RUN|dict(checkpoint=None), cbs=[Stop(6)])
    with pytest.raises(ValueError, match='c: was trained without checkpoints'): resume_run(tmp_path/'c')
    assert len(Run(tmp_path/'c').history)==1 and 'Stopped early' in (tmp_path/'c'/'card.md').read_text()

def test_an_early_end_is_an_end(scenes, tmp_path):
    run = train(tmp_path/'a', scenes, 'segkc', **RUN|dict(epochs=3), cbs=[EarlyStoppingCallback('junior_miou', min_delta=2., patience=1)])
    assert run.ended and run.finished and len(run.history)==2
    with pytest.raises(ValueError, match='this run is finished after 2 epochs'): resume_run(run.path)
    config,how = settings(scenes, 'segkc', **RUN|dict(epochs=3))
    steps = Trained()
    assert find_or_train(run.path, config, [steps], **how).path==run.path and steps.n==0

def test_pretraining_is_remembered(scenes, tmp_path, monkeypatch):
    "A resumed run downloads no weights, yet its encoders keep their learning rate"
    from segkc_fastai.models import segmenter
    real,asked = segmenter._build,[]
    def build(enc, dec, width, pretrained, kw):
        asked.append(pretrained)
        return *real(enc, dec, width, False, kw)[:3],pretrained
    monkeypatch.setattr(segmenter, '_build', build)
    kw = RUN|dict(pretrained=True)
    whole = train(tmp_path/'a', scenes, 'cps', **kw)
    with pytest.raises(KeyboardInterrupt): train(tmp_path/'b', scenes, 'cps', **kw|dict(checkpoint=0), cbs=[Stop(6)])
    asked.clear()
    done = resume_run(tmp_path/'b', device='cpu')
    assert not any(asked[:2]) and {o['pretrained'] for o in done.facts.networks.values()}=={True}
    check_runs(whole, done)

class Trained(Callback):
    run_valid,n = False,0
    def after_batch(self): self.n += 1

def test_a_comparison_resumes(scenes, tmp_path):
    kw,steps = RUN|dict(senior=None, method='supervised', method_args={}),Trained()
    whole = train(tmp_path/'a', scenes, **kw)
    with pytest.raises(KeyboardInterrupt): train(tmp_path/'b', scenes, **kw|dict(checkpoint=0), cbs=[Stop(6)])
    config,how = settings(scenes, **kw)
    check_runs(whole, find_or_train(tmp_path/'b', config, [steps], **how))
    assert steps.n==2

class Threads(Callback):
    run_valid,seen = False,()
    def before_batch(self): self.seen = *self.seen,torch.get_num_threads()

@pytest.mark.parametrize('cores, words', [(2, ''), (1, 'hardware was CPU, .*, 2 threads, .* now CPU, .*, 1 threads, .*; the results of an uninterrupted run may differ')])
def test_a_resumed_run_has_as_many_threads(scenes, tmp_path, monkeypatch, cores, words):
    "Promised: A resumed run computes with as many threads, or warns. Attacked: Resumed on a machine with fewer cores"
    kw,n = RUN|dict(senior=None, method='supervised', method_args={}, checkpoint=0),torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt): train(tmp_path/'b', scenes, **kw, cbs=[Stop(2)])
    file = tmp_path/'b'/'config.json'
    file.write_text(file.read_text().replace(f'{n} threads', '2 threads'))
    monkeypatch.setattr('os.cpu_count', lambda: cores)
    seen = Threads()
    with warnings.catch_warnings(record=True) as said: resume_run(tmp_path/'b', [seen], device='cpu')
    assert set(seen.seen)=={cores} and torch.get_num_threads()==n
    found = [str(o.message) for o in said if 'hardware' in str(o.message)]
    assert re.search(words, found[0]) if words else not found

def test_a_list_of_names_is_recorded(scenes, tmp_path):
    "Promised: The labelled images are recorded as they were given. Attacked: A list of names, and all images as 1.0"
    names = [f'scene_{i:05}' for i in (3,1,7,4)]
    kw = RUN|dict(senior=None, method='supervised', method_args={}, checkpoint=0, labelled=names)
    with pytest.raises(KeyboardInterrupt): train(tmp_path/'b', scenes, **kw, cbs=[Stop(2)])
    done = resume_run(tmp_path/'b', device='cpu')
    assert done.finished and done.config.labelled==tuple(names) and done.facts.images['labelled']==4
    assert [train(tmp_path/f'r{i}', scenes, **kw|dict(labelled=o, epochs=1, probe=0)).facts.images['labelled'] for i,o in enumerate((1., '1.0'))]==[24,24]

@pytest.mark.parametrize('kw, words', [
    (dict(method_args=dict(criterion=torch.nn.functional.cross_entropy)), 'method_args, criterion=<function cross_entropy at .*: a run cannot record it'),
    (dict(strong=dict(p_blur=torch.ones(1))), r'strong, p_blur=tensor\(\[1.\]\): a run cannot record it'),
    (dict(junior=torch.nn.Conv2d(3, 8, 1)), r'junior=Conv2d\(3, 8, .*: a run cannot record it, and could not be resumed; .* use dual_learner'),
])
def test_what_cannot_be_recorded_is_refused(scenes, tmp_path, kw, words):
    "Promised: A run can be repeated from its config. Attacked: A function, a tensor or a module as a setting"
    with pytest.raises(ValueError, match=words): train(tmp_path/'b', scenes, **RUN|kw)

def test_killed(tmp_path):
    "Promised: The same if it is killed. Attacked: Killed and suspended at random moments, also while it writes a checkpoint"
    n = soak(tmp_path, 3, seed=0, net=CNN)
    assert n['kills']==3 and n['runs']

def test_an_interrupted_run_says_how_it_continues(scenes, tmp_path):
    with pytest.raises(KeyboardInterrupt, match=f"^continue with segkc train --resume '{tmp_path}/my run'$"):
        train(tmp_path/'my run', scenes, cbs=[Stop(2)], **SMALL, checkpoint=0)
