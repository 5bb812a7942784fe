"The numbers of a step: empty batches, losses that are not finite, half precision, accumulated and clipped gradients"
import math
import pytest, torch
from conftest import CNN, SENIOR, SMALL, learner, one_step, vit, train
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.training import GradientClip
from torch.amp import GradScaler
from segkc_fastai.core.task import IGNORE
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.methods.cps import cps
from segkc_fastai.methods.mean_teacher import mean_teacher
from segkc_fastai.methods.step import SemiStep, StrongViews, Term, UnlabelledBatch
from segkc_fastai.methods.supervised import supervised
from segkc_fastai.methods.registry import METHODS, make_method
from segkc_fastai.train.learner import dual_learner
from segkc_fastai.train.precision import Accumulate, FiniteLoss, InFlight, NonFiniteLoss, batch_files, step_callbacks

LAST = 1000

@pytest.fixture(scope='module')
def data(tmp_path_factory): return write_scenes(tmp_path_factory.mktemp('data')/'scenes', n_train=24, n_val=4, n_test=2)

def method_of(name):
    "All terms from the first step on"
    now = dict(warmup=0, ramp=0)
    own = dict(supervised={}, self_training=dict(first=0), gta=dict(warmup=0)) | dict.fromkeys(('fixmatch','unimatch'), dict(now, threshold=0))
    return make_method(name, **own.get(name, now))
def make(data, method, cbs=(), junior=CNN, senior=SENIOR, **kw): return learner(data, junior, senior if 'senior' in method.members else None, method, cbs, **kw)
def fit(learn, n=1, **kw):
    with learn.no_bar(), learn.no_logging(): learn.fit(n, 1e-3, **kw)
    return learn

def state(learn):
    "Weights, buffers and the state of the optimizer"
    c = learn.model
    ts = {k:v.clone() for k,v in c.state_dict().items() if torch.is_tensor(v)}
    if learn.opt: ts |= {f'{i}.{k}':torch.as_tensor(v).clone() for i,(_,_,s,_) in enumerate(learn.opt.all_params()) for k,v in s.items()}
    return ts | dict(moves=torch.tensor(c.moves))
def finite(learn): return all(p.isfinite().all() for p in [*learn.model.parameters(), *learn.model.buffers()])

class Watch(Callback):
    "Keep terms and gradient of the last step"
    order,run_valid = LAST-1,False
    def after_loss(self): self.terms,self.total = {k:float(v.detach()) for k,(v,_) in self.learn.semi_step.terms.items()},float(self.learn.loss.detach())
    def before_step(self): self.grads = [p.grad.clone() for p in self.model.parameters() if p.grad is not None]

# Empty batches

class Labels(Callback):
    "Change the ground truth of each batch"
    order,run_valid = SemiStep.order-.5,False
    def __init__(self, f): self.f = f
    def before_batch(self): self.learn.yb = (self.f(self.learn.y),)

class Padding(Callback):
    "Turn the whole unlabelled batch into padding"
    order,run_valid = UnlabelledBatch.order+.5,False
    def before_batch(self):
        s = self.learn.semi_step
        if s.valid is not None: s.valid = torch.zeros_like(s.valid)

nothing,no_class = Labels(lambda y: torch.full_like(y, IGNORE)),Labels(lambda y: torch.where(y==3, 0, y))
EMPTY = dict(ignored=[nothing], absent=[no_class], padding=[Padding()], both=[nothing, Padding()])

@pytest.mark.parametrize('name', METHODS)
def test_empty_batches(data, name):
    watch = Watch()
    learn = make(data, method_of(name), [watch])
    for case,cbs in EMPTY.items():
        with learn.added_cbs(cbs): one_step(learn)
        terms,of_labels = watch.terms,{'sup', *(k for k in watch.terms if k.startswith(('kc_','mkd_')))} # these use labelled images as well
        assert math.isfinite(watch.total) and all(g.isfinite().all() for g in watch.grads) and finite(learn), case
        if case=='ignored': assert terms['sup']==0 and all(v>0 for k,v in terms.items() if k!='sup')
        if case=='padding': assert terms['sup']>0 and all(v==0 for k,v in terms.items() if k not in of_labels)
        if case=='both': assert not any(terms.values()) and watch.total==0 and not any(g.any() for g in watch.grads)

@pytest.mark.parametrize('name', METHODS)
def test_a_batch_of_one(data, name):
    method,watch = method_of(name),Watch()
    dls = SemiDataLoaders.from_folder(data, labelled=8, size=(64,96), bs=1, device='cpu')
    learn = dual_learner(dls, CNN, SENIOR if 'senior' in method.members else None, method, pretrained=False, cbs=watch)
    one_step(learn)
    assert math.isfinite(watch.total) and finite(learn)

def test_a_decoder_that_needs_two_images(data):
    dls = SemiDataLoaders.from_folder(data, labelled=8, size=(64,96), bs=1, device='cpu')
    with pytest.raises(ValueError, match="decoder 'deeplabv3plus' needs more than bs=1 image"): dual_learner(dls, 'resnet10t', pretrained=False)

def test_a_partial_last_batch(data):
    learn = make(data, supervised())
    with learn.no_bar(), learn.no_logging(): loss = learn.validate()
    matrix = learn.seg_metrics.confusion['junior'].matrix
    with learn.no_bar(), learn.no_logging(): again = learn.validate(dl=learn.dls.valid.new(bs=3))
    torch.testing.assert_close(learn.seg_metrics.confusion['junior'].matrix, matrix, rtol=0, atol=20) # pixels of nearly equal logits
    assert loss[0]==pytest.approx(again[0], rel=.02)

# Losses that are not finite

class Broken(Term):
    "A term that is not finite in one step, or whose gradient is not"
    names = ('mine',)
    def __init__(self, at, value=math.nan):
        super().__init__()
        self.at,self.value,self.before = at,value,None
    def after_pred(self):
        if self.train_iter!=self.at: return
        self.before = state(self.learn)
        z = self.step.labelled['junior'].logits
        self.step.add('mine', (0*z.sum()).abs().sqrt() if self.value=='gradient' else z.sum()*self.value, self.now)

@pytest.mark.parametrize('value,term', [(math.nan,'mine (nan)'), (math.inf,'mine ('), ('gradient','gradient (nan)')])
def test_stops_before_the_step_and_names_it(data, tmp_path, value, term):
    broken,cp = Broken(6, value),tmp_path/'checkpoint'
    cp.mkdir()
    learn = make(data, mean_teacher(warmup=5/8), [broken, FiniteLoss(path=cp)]) # 4 steps per epoch, unlabelled images from the second step of the second epoch on
    with pytest.raises(NonFiniteLoss) as e: fit(learn, 2)
    l,u = batch_files(learn.dls.train, 2),batch_files(learn.dls.unlabelled, 1)
    assert f'epoch 2, step 3: not finite: {term}' in str(e.value) and f'labelled {", ".join(l)}; unlabelled {", ".join(u)}; resume from {cp}' in str(e.value)
    after,stats = state(learn),{k for k,_ in learn.model.named_buffers()}
    assert all(torch.equal(after[k], v) for k,v in broken.before.items() if k not in stats) and finite(learn)
    learn.remove_cb(broken)
    assert math.isfinite(fit(learn).recorder.losses[-1])

def test_files_of_a_batch(data):
    seen = []
    class See(Callback):
        order,run_valid = LAST,False
        def before_batch(self): seen.append((self.learn.x, batch_files(self.dls.train, self.iter)))
    learn = fit(make(data, supervised(), [See()]))
    ds,by_name = learn.dls.train.dataset,{}
    for i,p in enumerate(ds.pairs): by_name.setdefault(p.image.name, []).append(i)
    for x,names in seen: # the views of an image also depend on its place in the list
        for a,n in zip(x, names): assert any(torch.allclose(ds[i][0]/255, torch.as_tensor(a)) for i in by_name[n])

def test_the_host_does_not_wait(data, monkeypatch):
    "As on a GPU when nothing arrives before the end of the epoch: the gradient of that step is zero"
    monkeypatch.setattr(InFlight, 'ready', False)
    watch,norms = Watch(),[]
    class Norms(Callback):
        order,run_valid = LAST,False
        def before_step(self): norms.append(float(sum(g.norm() for g in self.learn.watch.grads)))
    learn = make(data, mean_teacher(warmup=0), [Broken(1), watch, Norms()])
    with pytest.raises(NonFiniteLoss, match='epoch 1, step 2: not finite: mine'): fit(learn)
    assert [o>0 for o in norms]==[True,False,True,True] and finite(learn)

@pytest.mark.parametrize('value', [math.nan,'gradient'])
def test_skipped_batches_leave_no_trace(data, value):
    broken,after = Broken(1, value),[]
    class After(Callback):
        order,run_valid = LAST,False
        def after_batch(self): after.append(state(self.learn) | {f'counts of {k}':v.clone() for k,v in self.learn.training_guards.counts.items()})
    learn = fit(make(data, mean_teacher(warmup=0), [broken, After(), FiniteLoss(skip=True)]))
    changed = {k for k,v in after[0].items() if not torch.equal(after[1][k], v)} - ({'counts of masks','counts of teacher'} if value=='gradient' else set())
    assert changed==({k for k,_ in learn.model.members.named_buffers(prefix='members') if 'running' in k or 'tracked' in k} if value=='gradient' else set()) # the forward pass was finite
    assert learn.finite_loss.skipped==1 and learn.model.moves==3 and after[2]['moves']==2
    values = dict(zip(learn.recorder.metric_names[1:], learn.recorder.values[-1]))
    assert all(math.isfinite(values[k]) for k in ('train_loss','sup','consistency'))

def test_statistics_are_restored(data):
    class Overflow(Callback):
        order,run_valid = LAST,False
        def before_batch(self):
            if self.train_iter==1: self.learn.xb = (self.learn.xb[0]*math.inf,)
    learn = fit(make(data, supervised(), [Overflow(), FiniteLoss(skip=True)]))
    assert learn.finite_loss.skipped==1 and finite(learn)

def test_lr_find_may_diverge(data, tmp_path):
    learn = make(data, supervised(), [Broken(3)], path=tmp_path)
    with learn.no_bar(): learn.lr_find(num_it=6, show_plot=False, suggest_funcs=(), stop_div=False)
    assert finite(learn)

def test_a_run_records_it(data, tmp_path):
    args = SMALL | dict(method='supervised', senior=None)
    with pytest.raises(NonFiniteLoss): train(tmp_path/'a', data, cbs=Broken(5), **args)
    card = (tmp_path/'a'/'card.md').read_text()
    assert 'Stopped early: NonFiniteLoss epoch 2, step 2: not finite: mine (nan)' in card
    run = train(tmp_path/'b', data, cbs=Broken(5), precision='bf16', clip=1., skip_nonfinite=True, **args)
    assert run.history['skipped'].tolist()==[0,1] and (run.config.precision, run.config.clip)==('bf16',1.)
    assert ', bf16, gradients clipped to a norm of 1.0, 1 batches skipped' in (run.path/'card.md').read_text()

# Half precision

class Float32(Callback):
    "Compute the terms from the same outputs outside autocast, before they are computed as usual"
    order,run_valid = Term.order-.5,False
    def after_pred(self):
        s = self.learn.semi_step
        taught,self.was = getattr(s, 'taught', None),torch.is_autocast_enabled('cpu')
        with torch.autocast('cpu', enabled=False):
            for cb in self.learn.cbs.sorted('order'):
                if isinstance(cb, Term): cb.after_pred()
        self.terms,s.taught = {k:float(v.detach()) for k,(v,_) in s.terms.items()},taught
        s.terms.clear()

@pytest.mark.parametrize('name', METHODS)
def test_terms_in_bf16(data, name):
    seen = []
    exact,watch = Float32(),Watch()
    learn = make(data, method_of(name), [exact, watch]).to_bf16()
    learn.model['junior'].classifier.register_forward_hook(lambda m,i,o: seen.append(o.dtype))
    one_step(learn)
    assert exact.was and set(seen)=={torch.bfloat16} and not torch.is_autocast_enabled('cpu')
    assert watch.terms==pytest.approx(exact.terms, rel=1e-5)
    plain = Watch()
    one_step(make(data, method_of(name), [plain]))
    for k,v in plain.terms.items(): assert watch.terms[k]==pytest.approx(v, rel=.05, abs=2e-3), k
    assert all(p.dtype==torch.float32 for p in learn.model.parameters())

@pytest.mark.parametrize('name', ['cps','segkc'])
def test_all_weights_have_gradients_in_bf16(data, name):
    "Before torch 2.11, a weight that was cast without gradients for the pseudo labels got none in the same step"
    without = []
    class Look(Callback):
        order = 1000
        def after_backward(self): without.extend(k for k,p in self.learn.model.named_parameters() if p.requires_grad and p.grad is None)
    one_step(make(data, method_of(name), [Look()]).to_bf16())
    assert not without

def test_strong_views_are_exact_in_half_precision(data):
    views = []
    class Look(Callback):
        order = StrongViews.order+.1
        def before_batch(self): views.append(self.learn.semi_step.x_s)
    one_step(make(data, method_of('fixmatch'), [Look()]).to_bf16())
    assert {o.dtype for o in views}=={torch.float32}

def test_fp16_requires_a_gpu(data):
    with pytest.raises(ValueError, match='precision fp16: requires a GPU; on a CPU choose bf16'): fit(make(data, supervised()).to_fp16())

def test_validation_reads_all_networks_alike(data):
    dtypes = []
    learn = make(data, cps()).to_bf16()
    for k in ('junior','senior'): learn.model[k].classifier.register_forward_hook(lambda m,i,o: dtypes.append(o.dtype))
    with learn.no_bar(), learn.no_logging(): learn.validate()
    assert set(dtypes)=={torch.bfloat16} and len(dtypes)==2

# Accumulated and clipped gradients

class AllCount(Callback):
    "No pixel is ignored"
    order,run_valid = SemiStep.order-.5,False
    def before_batch(self): self.learn.yb = (torch.where(self.learn.y==IGNORE, 0, self.learn.y),)

SAME = dict(warmup=0, ramp=0, cutmix=False, paste=False) # views without random numbers

@pytest.mark.parametrize('method', [supervised(), cps(**SAME), mean_teacher(**SAME)], ids=lambda m: m.name)
def test_accumulated_gradients_equal_those_of_the_large_batch(data, method):
    def grads(bs, *cbs):
        torch.manual_seed(0)
        dls = SemiDataLoaders.from_folder(data, labelled=8, size=(64,96), bs=bs, scale=(1,1.2), strong=lambda x: x.flip(1), device='cpu')
        watch = Watch()
        one_step(dual_learner(dls, vit(), vit() if 'senior' in method.members else None, method, pretrained=False, cbs=[watch, AllCount(), *cbs]))
        return watch
    one,two = grads(8),grads(4, Accumulate(2))
    assert len(one.grads)==len(two.grads)
    for a,b in zip(one.grads, two.grads): torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5*max(float(a.abs().max()), 1e-2))

@pytest.mark.parametrize('name', ['mean_teacher','gta'])
def test_teachers_move_once_per_step(data, name):
    learn = fit(make(data, method_of(name), step_callbacks(accumulate=2)))
    assert learn.model.moves==2 and learn.opt.state[learn.model['junior'].classifier.weight]['step']==2

def test_a_step_of_more_batches_than_an_epoch_has(data, tmp_path):
    "Promised: Training that would do nothing raises an error. Attacked: More batches per step than an epoch has"
    words = '^accumulate=5: an epoch has only 4 batches; pass at most 4'
    with pytest.raises(ValueError, match=words): fit(make(data, supervised(), step_callbacks(accumulate=5)))
    with pytest.raises(ValueError, match=words): train(tmp_path/'run', data, 'supervised', **SMALL|dict(senior=None), accumulate=5)
    assert not (tmp_path/'run').exists()

def test_a_fit_starts_without_gradients(data):
    learn = fit(make(data, supervised(), step_callbacks(accumulate=3))) # 4 batches: one is left over
    w = learn.model['junior'].classifier.weight
    assert w.grad.any()
    class First(Callback):
        def before_batch(self): self.clean = w.grad is None
    one_step(learn.add_cb(First()).remove_cb(Accumulate))
    assert learn.first.clean

class Scaled(MixedPrecision):
    "Scale the loss as on a GPU, in float32"
    def __init__(self, scale):
        super().__init__()
        self.scale = scale
    def before_fit(self): self.autocast,self.learn.scaler,self.scales = torch.autocast('cpu', enabled=False),GradScaler('cpu', init_scale=self.scale),[]

def test_gradients_are_unscaled_before_clipping(data):
    norm = lambda gs: float(torch.stack([g.norm() for g in gs]).norm())
    plain,clipped = Watch(),Watch()
    one_step(make(data, supervised(), [plain]))
    one_step(make(data, supervised(), [clipped, GradientClip(.1), Scaled(1024.)]))
    assert norm(plain.grads)>.1 and norm(clipped.grads)==pytest.approx(.1, rel=1e-3)
    for a,b in zip(plain.grads, clipped.grads): torch.testing.assert_close(a*.1/norm(plain.grads), b, rtol=1e-3, atol=1e-6)

def test_overflow_at_any_scale(data):
    class Huge(Term):
        def after_pred(self): self.step.add('mine', (0*self.step.labelled['junior'].logits.sum()).abs().sqrt(), 1.)
    learn = make(data, supervised(), [Huge(), Scaled(2.)])
    with pytest.raises(NonFiniteLoss, match='step 3: the gradient overflows float16 at any scale'): fit(learn)
    assert finite(learn)

# Layout and compiling

def test_channels_last_changes_only_the_layout(data):
    "The layout on a CPU: the terms of a step are those of contiguous weights, and every network has it, EMA copies too"
    plain,last = Watch(),Watch()
    learn = make(data, method_of('gta'), [plain])
    learn.model.to(memory_format=torch.contiguous_format)
    one_step(learn)
    learn = one_step(make(data, method_of('gta'), [last]))
    for k,v in plain.terms.items(): assert last.terms[k]==pytest.approx(v, rel=1e-3)
    w = learn.model['teacher'].encoder.state_dict()['model.conv_stem.weight']
    assert w.is_contiguous(memory_format=torch.channels_last)

def test_compiled_networks_are_the_same(data, tmp_path, monkeypatch):
    compile = torch.compile
    monkeypatch.setattr(torch, 'compile', lambda *args, **kw: compile(*args, **(kw | dict(backend='eager'))))
    torch._dynamo.reset()
    plain,fast = Watch(),Watch()
    one_step(make(data, supervised(), [plain], junior=SENIOR))
    learn = one_step(make(data, supervised(), [fast, *step_callbacks(compile=True)], junior=SENIOR, path=tmp_path))
    assert torch._dynamo.utils.counters['stats']['unique_graphs']>=2
    assert fast.total==pytest.approx(plain.total, rel=1e-4) and not any('_orig_mod' in k for k in learn.model.state_dict())
    x,net = torch.rand(1,3,64,96),learn.deploy()
    with torch.no_grad(): torch.testing.assert_close(learn.model.eval()(x), net(x).logits, rtol=1e-4, atol=1e-4)
    learn.save('m')
    learn.load('m')
    learn.export('l.pkl')
