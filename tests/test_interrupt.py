"The stop button: a learner can be used as before, wherever its fit was interrupted"
import csv, multiprocessing, os, signal, threading, traceback
import pytest, torch
from conftest import CNN, learner
from fastai.callback.core import Callback
from fastai.callback.progress import CSVLogger
from fastai.callback.tracker import SaveModelCallback
from fastai.learner import load_learner
from segkc_fastai.data.loaders import SegDataset, SemiDataLoaders
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.methods.mean_teacher import mean_teacher
from segkc_fastai.train.learner import dual_learner

EVENTS = '''before_fit before_epoch before_train before_batch after_pred after_loss before_backward after_backward before_step after_step after_batch
    after_train before_validate after_validate after_epoch after_fit'''.split()
PLACES = [f'{e}, {when}' for e in EVENTS for when in ('first','last')] + ['loading','labelling','forward','backward','optimizer','validating','teacher']

@pytest.fixture(scope='module')
def data(tmp_path_factory): return write_scenes(tmp_path_factory.mktemp('data')/'scenes', n_train=12, n_val=2, n_test=2)

@pytest.fixture(scope='module')
def learn(data, tmp_path_factory):
    "One learner for all interrupts, each after the previous one"
    res = learner(data, CNN, None, mean_teacher(warmup=0), path=tmp_path_factory.mktemp('learn'))
    return res.to_bf16()

def interrupt(event, when):
    "A callback that interrupts at an event, before or after all others"
    def stop(self): raise KeyboardInterrupt
    return type('Stop', (Callback,), {'order':dict(first=-1000, last=1000)[when], event:stop})()

def breaks(place, learn, monkeypatch):
    "Interrupt in the middle of something other than an event"
    def stop(*args, **kwargs): raise KeyboardInterrupt
    net = learn.model['junior']
    def second(opt): # after half of the weights have moved
        for p,_,s,_ in opt.all_params(with_grad=True)[:20]: p.data.add_(1e-4)
        stop()
    what = dict(loading=(SegDataset, '__getitem__', stop), labelling=(learn.model['teacher'], 'decode', stop), forward=(net, 'decode', stop),
        optimizer=(type(learn.opt), 'step', second), teacher=(learn.move_ema, 'move', stop), validating=(learn.seg_metrics, 'after_pred', stop))
    if place=='backward': return net.classifier.weight.register_hook(stop).remove
    monkeypatch.setattr(*what[place])
    return monkeypatch.undo

def open_files(path): return [o for o in os.listdir('/proc/self/fd') if os.path.realpath(f'/proc/self/fd/{o}').startswith(str(path))]
def autocasting(): return torch.is_autocast_enabled('cpu'),torch.is_autocast_enabled('cuda'),(torch.autocast_increment_nesting(), torch.autocast_decrement_nesting())[1]

@pytest.mark.parametrize('place', PLACES)
def test_a_learner_is_as_it_was(learn, place, monkeypatch):
    event,_,when = place.partition(', ')
    cbs,logger,log = list(learn.cbs),learn.logger,CSVLogger()
    if learn.opt is None: learn.create_opt()
    undo,stop = (lambda: None,[interrupt(event, when)]) if when else (breaks(place, learn, monkeypatch),[])
    with pytest.raises(KeyboardInterrupt): learn.fit(1, 1e-4, cbs=[log, *stop])
    undo()
    assert list(learn.cbs)==cbs and learn.logger==logger and autocasting()==(False,False,0)
    assert (not hasattr(log, 'file') or log.file.closed) and not open_files(learn.path) and not hasattr(learn, 'csv_logger')
    assert learn.dl is None and learn.pred is None and learn.unlabelled_batch.it is None and not getattr(learn.progress, 'mbar', None)
    assert not any(m.training for m in learn.model.ema.modules())

def test_it_can_be_used(learn):
    "After all these interrupts"
    with learn.no_bar(): learn.fit(1, 1e-4, cbs=CSVLogger())
    assert len(list(csv.reader((learn.path/'history.csv').open())))==2
    image = learn.dls.split.unlabelled[0].image
    learn.show_results()
    learn.predict(image)
    mask = learn.to_fp32().predict(image)[0]
    learn.save('m')
    learn.load('m')
    learn.export('l.pkl')
    assert len(learn.dls.train)==2 and torch.equal(load_learner(learn.path/'l.pkl').predict(image)[0], mask)

def test_the_gradient_of_an_interrupted_step_is_not_used(data):
    def after(*stops):
        learn = learner(data, CNN, None, mean_teacher(warmup=0))
        with learn.no_bar(), learn.no_logging():
            for o in stops:
                with pytest.raises(KeyboardInterrupt): learn.fit(1, 1e-3, cbs=o)
        seen = []
        class See(Callback):
            order = 1000
            def before_backward(self): seen.append([p.grad is not None and bool(p.grad.any()) for p in self.model.parameters()])
        with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3, cbs=See())
        return seen[0]
    assert not any(after(interrupt('before_step', 'last')))

def test_nothing_is_loaded_from_the_past(data, tmp_path):
    "An interrupt in the second epoch leaves the weights of the second epoch, even with an earlier `SaveModelCallback` on disk"
    class Stop(Callback):
        order = 1000
        def before_validate(self):
            if self.epoch==1:
                self.now = [p.clone() for p in self.model.parameters()]
                raise KeyboardInterrupt
    learn,stop = learner(data, CNN, None, mean_teacher(warmup=0), path=tmp_path),Stop()
    with learn.no_bar(), learn.no_logging(), pytest.raises(KeyboardInterrupt): learn.fit(2, 1e-3, cbs=[SaveModelCallback('junior_miou'), stop])
    assert all(torch.equal(a, b) for a,b in zip(stop.now, learn.model.parameters()))

def test_an_interrupted_lr_find_restores_the_weights(data, tmp_path):
    learn = learner(data, CNN, None, mean_teacher(warmup=0), path=tmp_path)
    before = [p.clone() for p in learn.model.parameters()]
    learn.add_cb(stop := interrupt('after_step', 'last'))
    with learn.no_bar(), pytest.raises(KeyboardInterrupt): learn.lr_find(num_it=6, show_plot=False, suggest_funcs=())
    learn.remove_cb(stop)
    assert all(torch.equal(a, b) for a,b in zip(before, learn.model.parameters())) and not [*(tmp_path/'models').iterdir()]

def test_an_error_is_cleaned_up(data, tmp_path):
    class Fail(Callback):
        order = 1000
        def after_pred(self): raise ZeroDivisionError('mine')
    learn = learner(data, CNN, None, mean_teacher(warmup=0), path=tmp_path).to_bf16()
    with learn.no_bar(), pytest.raises(ZeroDivisionError, match='mine'): learn.fit(1, cbs=[Fail(), log := CSVLogger()])
    assert log.file.closed and autocasting()==(False,False,0)
    with learn.no_bar(), learn.no_logging(): learn.fit(1)

def test_no_tensor_stays_in_the_traceback(data):
    class Stop(Callback):
        order = 1000
        def after_loss(self): raise KeyboardInterrupt
    learn = learner(data, CNN, None, mean_teacher(warmup=0))
    with learn.no_bar(), learn.no_logging(), pytest.raises(KeyboardInterrupt) as e: learn.fit(1, cbs=Stop())
    frames = [f for f,_ in traceback.walk_tb(e.value.__traceback__)]
    assert len(frames)>10 and {f.f_code.co_name for f in frames if any(torch.is_tensor(o) for o in f.f_locals.values())}==set()
    kept = [f.f_code.co_name for f in frames if f.f_locals]
    assert kept==['test_no_tensor_stays_in_the_traceback','fit','_with_events']

def test_workers_end(data):
    dls = SemiDataLoaders.from_folder(data, labelled=4, size=(64,96), bs=4, device='cpu', num_workers=1)
    learn = dual_learner(dls, CNN, method=mean_teacher(warmup=0), pretrained=False)
    with learn.no_bar(), learn.no_logging(), pytest.raises(KeyboardInterrupt): learn.fit(1, cbs=interrupt('after_batch', 'last'))
    assert not multiprocessing.active_children()

@pytest.fixture
def interruptible():
    "A shell starts background processes with SIGINT ignored"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)

def test_a_signal_while_training(data, interruptible):
    "The stop button itself"
    learn = learner(data, CNN, None, mean_teacher(warmup=0)).to_bf16()
    class Press(Callback):
        order = -1000
        def before_batch(self):
            if self.iter==1: threading.Timer(.02, signal.raise_signal, (signal.SIGINT,)).start()
    with learn.no_bar(), learn.no_logging(), pytest.raises(KeyboardInterrupt): learn.fit(50, cbs=Press())
    assert autocasting()==(False,False,0)
