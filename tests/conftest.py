"Shared by the tests: small scenes, small networks, quickly started processes, and reference vectors if available"
import os, shutil, sys
from multiprocessing import forkserver, get_context, resource_tracker, util
from pathlib import Path
from types import SimpleNamespace
import numpy as np, pytest, torch
from fastai.callback.core import Callback
from fastai.torch_core import set_seed
from matplotlib.figure import Figure
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.methods.segkc import segkc
from segkc_fastai.methods.step import Term
from segkc_fastai.models.segmenter import Segmenter
from segkc_fastai.runs.config import RunConfig
from segkc_fastai.runs.training import train_run
from segkc_fastai.train.learner import dual_learner

pytest_plugins = ['lab'] # JupyterLab in a browser

def pytest_configure(config): config.addinivalue_line('markers', 'slow: listed in slow.txt, which `make test` leaves out and `make test-all` includes')

def pytest_collection_modifyitems(items):
    listed = set((Path(__file__).parent/'slow.txt').read_text().split('\n'))
    for o in items:
        name = f'{o.path.name}::{o.name}'
        if {name, name.partition('[')[0]} & listed: o.add_marker('slow')

SOAK = bool(os.environ.get('SEGKC_SOAK')) # `make soak`: long repetitions
GOLDEN = Path(os.environ.get('SEGKC_GOLDEN', Path(__file__).parents[2]/'shared'/'golden'))
CNN,SENIOR = 'test_efficientnet+fpn:32','test_resnet+fpn:32' # 0.15 and 0.45 M parameters, with BatchNorm
SMALL = dict(junior=CNN, senior=SENIOR, labelled=8, epochs=2, size=(64,96), bs=4, pretrained=False, device='cpu')

def settings(data, method='cps', **kw):
    "A `RunConfig`, and the remaining arguments: how data are loaded"
    how = {k:kw.pop(k) for k in ('device','num_workers') if k in kw}
    return RunConfig(data, method=method, **kw),how

def train(out, data, method='cps', cbs=(), **kw):
    "`train_run` with settings and loader arguments together"
    config,how = settings(data, method, **kw)
    return train_run(out, config, cbs, **how)

@pytest.fixture
def golden():
    "Reads a file of reference vectors; skips the test if it is missing"
    def read(name):
        path = GOLDEN/f'{name}.npz'
        if not path.is_file(): pytest.skip(f'{path}: no reference vectors; set SEGKC_GOLDEN to their folder')
        return dict(np.load(path))
    return read

@pytest.fixture(scope='session')
def drawn_scenes(tmp_path_factory): return write_scenes(tmp_path_factory.mktemp('drawn')/'scenes', n_train=24, n_val=4, n_test=4)

@pytest.fixture
def scenes(drawn_scenes, tmp_path):
    "A copy that a test may change"
    return shutil.copytree(drawn_scenes, tmp_path/'scenes')

@pytest.fixture
def blank(monkeypatch):
    "Files of figures are empty, for tests of which ones are drawn"
    monkeypatch.setattr(Figure, 'savefig', lambda self, path, **kwargs: Path(path).touch())

def opened(): return {fd for fd in map(int, os.listdir('/dev/fd')) if os.path.exists(f'/dev/fd/{fd}')}

def pytest_sessionstart(session):
    "Tests fork their processes from this one: it has imported everything and, as PyTorch requires, computed nothing"
    def copy(exe, args, fds):
        if pid:=os.fork(): return pid
        sys.stdout,sys.stderr = sys.__stdout__,sys.__stderr__
        for fd in opened()-known-set(fds): os.close(fd) # otherwise the fork would not see this process end
        try: exec(args[-1])
        finally: os._exit(0)
    resource_tracker.ensure_running()
    known = opened()
    with pytest.MonkeyPatch.context() as m:
        m.setattr(util, 'spawnv_passfds', copy)
        forkserver.ensure_running()

def _logged(log, f, args):
    sys.stdout = sys.stderr = open(log, 'a', buffering=1)
    f(*args)

def apart(f, *args, log=os.devnull):
    "Start a process that calls `f` and prints to a file; SystemExit sets its exit code"
    p = get_context('forkserver').Process(target=_logged, args=(log, f, args))
    p.start()
    return p

def vit(): return Segmenter('vit_tiny_patch16_224', 'dpt', 8, width=16, pretrained=False, encoder_args=dict(depth=4, embed_dim=96, num_heads=3))

class Gradients(Callback):
    "The largest gradient of each term in each part of the cohort"
    order,run_valid = Term.order+1,False
    def after_pred(self):
        parts = {k:list(m.parameters()) for k,m in [*self.model.members.items(), *self.model.adaptors.items()]}
        grads = lambda v,ps: [g for g in torch.autograd.grad(v, ps, retain_graph=True, allow_unused=True) if g is not None]
        largest = lambda v,ps: max((float(g.abs().max()) for g in grads(v, ps)), default=0.)
        self.moved = {t:{k:largest(v, ps) for k,ps in parts.items()} for t,(v,_) in self.learn.semi_step.terms.items()}

def learner(scenes, junior=CNN, senior=SENIOR, method=None, cbs=(), **kwargs):
    "A learner on small scenes; networks are descriptions, or functions that build them"
    set_seed(0)
    dls = SemiDataLoaders.from_folder(scenes, labelled=8, size=(64,96), bs=4, device='cpu')
    make = lambda o: o() if callable(o) else o
    return dual_learner(dls, make(junior), make(senior), method or segkc(warmup=0, ramp=0), pretrained=False, cbs=list(cbs), **kwargs)

def one_step(learn):
    "The learner after a step, which is in `learn.last` as it was"
    class Stop(Callback):
        order = 1000
        def after_step(self):
            self.learn.last = SimpleNamespace(**vars(self.learn.semi_step))
            raise KeyboardInterrupt
    with learn.no_bar(), learn.no_logging(), pytest.raises(KeyboardInterrupt): learn.fit(1, cbs=Stop())
    return learn
