"Every method: gradients of its terms, moves of its teachers, the deployed network"
import re
from pathlib import Path
from types import SimpleNamespace
import numpy as np, pytest, torch
from conftest import CNN, SENIOR, Gradients, learner, one_step, vit, train
from fastai.callback.core import Callback, CancelStepException
from fastai.callback.fp16 import MixedPrecision
from segkc_fastai.core.task import IGNORE
from segkc_fastai.data.views import cutmix
from segkc_fastai.methods.checked import as_threshold
from segkc_fastai.methods.gta import gta
from segkc_fastai.methods.losses import CRITERIA, OHEM, cross_entropy
from segkc_fastai.methods.mean_teacher import mean_teacher
from segkc_fastai.methods.mkd import ClassCovariance, augmented, cross_losses, mkd
from segkc_fastai.methods.step import CutMix, MoveEMA, PseudoLabel, Term
from segkc_fastai.methods.supervised import Supervised
from segkc_fastai.methods.registry import METHODS, make_method
from segkc_fastai.methods.unimatch import unimatch
from segkc_fastai.models.cohort import Cohort, ema_decay, encoder_split
from segkc_fastai.models.segmenter import DECODERS, Segmenter
from segkc_fastai.train.precision import Accumulate

NOW = dict(warmup=0)
TAUGHT = dict(mean_teacher=mean_teacher(**NOW), gta=gta(**NOW), mkd=mkd(**NOW), unimatch=unimatch(**NOW))

def make(scenes, method, cbs=(), **kw): return learner(scenes, senior=SENIOR if 'senior' in method.members else None, method=method, cbs=cbs, **kw)
def fit(learn, n=1):
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(n, 1e-3)
    return learn

def test_readme_lists_every_method():
    table = (Path(__file__).parent.parent/'README.md').read_text(encoding='utf-8').split('## Methods')[1]
    rows = dict(re.findall(r'^\| \[`(\w+)`\].* \| (.*) \|$', table, re.M))
    want = dict(supervised='that network', mkd='student 1, the junior')
    assert rows=={k:want.get(k, make_method(k).deployed) for k in METHODS}

@pytest.mark.parametrize('name', METHODS)
def test_every_method_trains_and_leaves_a_run(scenes, tmp_path, name):
    senior = dict(senior='test_convnext+segformer:16') if 'senior' in make_method(name).members else {}
    run = train(tmp_path/'r', scenes, name, junior=CNN, **senior, labelled=8, epochs=1, size=(64,96), bs=4, pretrained=False, device='cpu')
    assert run.finished and not run.history.isna().any().any()
    method,nets = make_method(name),run.facts.networks
    assert set(nets)==set(method.members)|set(method.ema) and {k:v['follows'] for k,v in nets.items() if v['follows']}==method.ema
    assert f'Deployed | {method.deployed}' in (run.path/'card.md').read_text()
    with torch.no_grad(): assert run.network()(torch.rand(1,3,60,90)).logits.shape==(1,8,60,90)

def test_gta_keeps_pseudo_labels_and_ground_truth_apart(scenes):
    m = one_step(make(scenes, gta(**NOW), [Gradients()])).gradients.moved
    assert m['assistant']['assistant']>0==m['assistant']['junior'] and m['sup']['junior']>0==m['sup']['assistant']

def behind_the_last_join(net, maps):
    "Parameters of the modules that read one map, without which no map of the encoder reaches the logits"
    maps,found = [o.detach().requires_grad_() for o in maps],set()
    cut = lambda xs: tuple(x.detach() if isinstance(x, torch.Tensor) else x for x in xs)
    for m in [*net.decoder.modules(), net.classifier]:
        inputs = []
        def hook(m, xs):
            inputs.append(sum(isinstance(x, torch.Tensor) for x in xs))
            return cut(xs)
        handle = m.register_forward_pre_hook(hook)
        z = net.classifier(net.decoder([*maps])).sum()
        handle.remove()
        grads = torch.autograd.grad(z, maps, allow_unused=True)
        if inputs==[1] and all(g is None or not g.numel() for g in grads): found |= set(m.parameters())
    return found

@pytest.mark.parametrize('encoder', ['test_resnet','convnext_atto']) # with and without a stage of stride 2
@pytest.mark.parametrize('decoder', DECODERS)
def test_the_mask_predictor_is_all_that_follows_the_last_join(encoder, decoder):
    if decoder=='dpt' and encoder!='test_resnet': return
    width = 32 if decoder=='fpn' else 8 # its normalisation has 32 groups
    net = vit() if decoder=='dpt' else Segmenter(encoder, decoder, 8, width=width, pretrained=False)
    net.eval()
    assert set().union(*(m.parameters() for m in net.predictor))==behind_the_last_join(net, net.encode(torch.rand(1,3,64,96)))

@pytest.mark.parametrize('junior', ['test_efficientnet+deeplabv3plus:32','test_resnet+unet:8',CNN])
@pytest.mark.parametrize('private', ['predictor','classifier'])
def test_gta_hands_over_features_alone(scenes, private, junior):
    method = gta(private=private, **NOW)
    method.cbs = [cb for cb in method.cbs if not isinstance(cb, Supervised)]
    learn = make(scenes, method, junior=junior)
    own = [p for m in (learn.model['junior'].predictor if private=='predictor' else [learn.model['junior'].classifier]) for p in m.parameters()]
    before = {k:v.clone() for k,v in learn.model['junior'].named_parameters()}
    fit(learn)
    moved = {k for k,v in learn.model['junior'].named_parameters() if not torch.equal(v, before[k])}
    assert moved=={k for k,p in learn.model['junior'].named_parameters() if not any(p is o for o in own)}
    assert not {p.data_ptr() for p in learn.model['junior'].parameters()} & {p.data_ptr() for p in learn.model['assistant'].parameters()}

def test_gta_starts_assistant_and_teacher_from_the_student(scenes):
    starts,same = [],lambda a,b: all(torch.equal(p, q) for p,q in zip(a.parameters(), b.parameters()))
    class Watch(Callback):
        order,run_valid = 1000,False
        def before_batch(self): starts.append(self.learn.semi_step.x_w is not None and all(same(self.model[k], self.model['junior']) for k in ('assistant','teacher')))
    fit(make(scenes, gta(warmup=.5), [Watch()]), 2)
    assert starts.count(True)==1 and starts[4] # 4 steps an epoch

@pytest.mark.parametrize('t', [0,1,10,10_000])
def test_gta_hands_over_as_scheduled(scenes, t):
    learn,seen = make(scenes, gta(features=.8, cap=.9, **NOW)),{}
    key,alpha = 'encoder.model.conv_stem.weight',min(1-1/(t+1), .8)
    class Watch(Callback):
        run_valid = False
        def before_batch(self): self.model.moves = t
        def before(self): return [self.model[k].get_parameter(key).clone() for k in ('junior','assistant')]
    class Before(Watch):
        order = learn.hand_over.order-.5
        def after_step(self): seen['before'] = self.before()
    class After(Watch):
        order = learn.hand_over.order+.5
        def after_step(self): seen['after'] = self.before()
    learn.add_cbs([Before(), After()])
    one_step(learn)
    (s,a),(moved,_) = seen['before'],seen['after']
    assert not torch.equal(s, a) or t==0
    torch.testing.assert_close(moved, alpha*s+(1-alpha)*a, rtol=1e-5, atol=1e-7)

def test_skipped_steps_move_nothing(scenes):
    class Overflow(Callback):
        order,run_valid = MixedPrecision.order,False
        def before_step(self): raise CancelStepException
    learn = make(scenes, gta(**NOW), [Overflow()])
    before = [p.clone() for p in learn.model.parameters()]
    one_step(learn)
    assert learn.model.moves==0 and all(torch.equal(p, q) for p,q in zip(before, learn.model.parameters()))

def test_gta_rests_its_assistant_in_a_later_warmup(scenes):
    learn = fit(make(scenes, gta(warmup=.3)))
    before = [p.clone() for p in learn.model['assistant'].parameters()]
    one_step(learn)
    assert all(torch.equal(p, q) for p,q in zip(before, learn.model['assistant'].parameters()))

@pytest.mark.parametrize('t', [0,1,10,10_000])
@pytest.mark.parametrize('name', TAUGHT)
def test_teachers_move_as_scheduled(scenes, name, t):
    learn,state = make(scenes, make_method(name, cap=.9, **NOW)),{}
    alpha = min(1-1/(t+1), .9)
    assert ema_decay(t, .9)==alpha
    class Watch(Callback):
        run_valid = False
        def before_batch(self):
            self.model.moves = t
            with torch.no_grad():
                for k in self.model.follows: self.model[k].classifier.weight.fill_(.5)
        def after_step(self): state.update({k:[self.model[n].classifier.weight.clone() for n in (k, m)] for k,m in self.model.follows.items()})
    Watch.order = max(cb.order for cb in learn.cbs)+1
    learn.add_cb(Watch())
    one_step(learn)
    assert learn.model.moves==t+1
    for copy,followed in state.values(): torch.testing.assert_close(copy, alpha*.5+(1-alpha)*followed, rtol=1e-5, atol=1e-6)

@pytest.mark.parametrize('name, most', [('mean_teacher',.99),('fixmatch',.996),('unimatch',.996),('gta',.999)])
def test_decays_follow_the_number_of_steps(name, most):
    cb, = (o for o in make_method(name).cbs if isinstance(o, MoveEMA))
    def late(epochs, cap=None, **more):
        cb.learn = SimpleNamespace(n_epoch=epochs, dls=SimpleNamespace(train=range(4)), **more)
        return cb.late(cap)
    assert [late(n) for n in (30,500,50_000)]==pytest.approx([1-1/2.4, 1-1/40, most])
    assert late(500, .5)==.5 and late(500, accumulate=Accumulate(2))==pytest.approx(1-1/20)

@pytest.mark.parametrize('name', TAUGHT)
def test_teachers_stay_out_of_training(scenes, tmp_path, name):
    learn = make(scenes, make_method(name, **NOW), path=tmp_path)
    def check():
        c = learn.model.train()
        trained = {id(p) for g in learn.opt.param_lists for p in g} if learn.opt else set()
        assert len(c.ema) and not c.ema.training and not any(m.training for m in c.ema.modules()) and c['junior'].training
        assert not any(p.requires_grad or p.grad is not None or id(p) in trained for p in c.ema.parameters())
        assert len(sum(encoder_split(c), []))==sum(1 for o in (c.members, c.adaptors) for _ in o.parameters())
    fit(learn)
    check()
    for change in (learn.freeze, learn.unfreeze):
        change()
        fit(learn)
        check()
    moves,weights = learn.model.moves,[p.clone() for p in learn.model.ema.parameters()]
    learn.save('state')
    with learn.no_bar(), learn.no_logging(): learn.lr_find(show_plot=False, num_it=5)
    check()
    assert learn.model.moves==moves and all(torch.equal(p, q) for p,q in zip(weights, learn.model.ema.parameters()))
    fit(learn)
    assert learn.model.moves==moves+4
    learn.load('state')
    check()
    assert learn.model.moves==moves and all(torch.equal(p, q) for p,q in zip(weights, learn.model.ema.parameters()))

@pytest.mark.parametrize('strength', [0.,1.5])
def test_mkd_is_cps_and_cross_teachers(scenes, strength, monkeypatch):
    "Plain terms without augmentation; with it, terms of logits shifted by each network's own statistics and classifier"
    monkeypatch.setattr('segkc_fastai.methods.mkd.strength_at', lambda t,end: end)
    half = lambda t: torch.nn.functional.interpolate(t, scale_factor=.5, mode='bilinear', align_corners=False)
    class ByHand(Callback):
        order,run_valid = Term.order-.5,False
        def after_pred(self):
            s,n,c = self.learn.semi_step,len(self.learn.semi_step.x_l),self.model
            gt,mixed = s.y_l[:,::8,::8],s.valid[:,::8,::8] # FPN has a cell for 4 × 4 pixels
            valid,z = torch.cat([gt!=IGNORE, mixed]),{}
            for k,o in (s.whole|s.taught).items():
                net,e = c[k],o.embedding.detach()
                read = [half(net.classifier(o.embedding)), half(e)]
                if k in s.taught: read = [torch.cat([t[:n], cutmix(t[n:], s.box[:,::8,::8])]) for t in read]
                w = net.classifier.weight.flatten(1)
                z[k] = augmented(*read, gt, mixed, w, ClassCovariance(*w.shape), strength) if strength else read[0]
            ce = lambda a,b: cross_entropy(z[a], torch.where(valid, z[b].argmax(1), IGNORE))
            self.cps,self.across = ce('senior','junior')+ce('junior','senior'),ce('senior','junior_teacher')+ce('junior','senior_teacher')
    learn = one_step(make(scenes, mkd(strength=strength, **NOW), [ByHand()]))
    t = learn.last.terms
    torch.testing.assert_close(t['mkd_students'][0], learn.by_hand.cps)
    torch.testing.assert_close(t['mkd_teachers'][0], learn.by_hand.across)
    assert (t['mkd_students'][1],t['mkd_teachers'][1])==(.2,.3)

@pytest.mark.parametrize('grid, cells', [(.5,(8,12)), (1.,(16,24)), (.25,(4,6))])
def test_mkd_measures_branches_of_different_grids_on_the_coarsest(scenes, grid, cells):
    "FPN has 16 × 24 cells for 64 × 96 pixels, DPT with patches of 16 has 32 × 48"
    learn = one_step(learner(scenes, senior=vit, method=mkd(grid=grid, **NOW)))
    s,n = learn.last,64//cells[0]
    seen = (s.y_l[:,::n,::n]!=IGNORE).sum()+s.valid[:,::n,::n].sum()
    assert s.valid[:,::n,::n].shape[1:]==cells and [int(o.amount.sum()) for o in learn.model.statistics.values()]==4*[int(seen)]

def test_mkd_augments_the_chosen_networks(scenes):
    learn = make(scenes, mkd(augment='students'))
    assert set(learn.model.statistics)=={'senior_classes','junior_classes'}
    fit(learn)
    assert all(s.amount.sum()>0 and torch.isfinite(s.covariance).all() for s in learn.model.statistics.values())
    assert not list(make(scenes, mkd(augment=None)).model.statistics)

def test_mkd_moves_each_student_by_its_own_terms(scenes):
    class Keep(Gradients):
        def after_pred(self):
            super().after_pred()
            self.labels = self.learn.semi_step.pseudo
    learn = one_step(make(scenes, mkd(**NOW), [Keep()]))
    assert all(learn.keep.moved[t][k]>0 for t in ('mkd_teachers','mkd_students') for k in ('senior','junior')) and set(learn.keep.labels)=={'senior_teacher','junior_teacher'}

def test_unimatch_shows_two_complementary_views(scenes):
    learn = one_step(make(scenes, unimatch(**NOW)))
    s = learn.last
    b = len(s.x_w)
    assert len(s.x_s)==len(s.valid)==len(s.pseudo['teacher'].label)==2*b and not torch.equal(s.x_s[:b], s.x_s[b:])
    for m,width in zip(s.masks['junior'], learn.model['junior'].widths):
        one,two = m.chunk(2)
        assert m.shape==(2*b,width) and torch.equal(one+two, torch.full_like(one, 2.)) and set(one.unique().tolist())<={0.,1.,2.}
        assert int((one==1).all(1).sum())==b//2

def test_strong_views_leave_batchnorm_statistics_alone(scenes):
    "The running statistics after a step are those of a step on labelled images alone"
    def running(name, **kw): return {k:v for k,v in one_step(make(scenes, make_method(name, **kw))).model['junior'].named_buffers() if 'running' in k}
    alone = running('supervised')
    for name in ('mean_teacher','unimatch','gta'):
        after = running(name, **NOW)
        assert len(alone) and all(torch.equal(v, after[k]) for k,v in alone.items()), name

def test_unimatch_mixes_each_view_with_its_own_mirror_image(scenes):
    class Before(Callback):
        order,run_valid = CutMix.order-.5,False
        def before_batch(self):
            s = self.learn.semi_step
            self.x,self.label,self.valid = s.x_s,s.pseudo['teacher'].label,s.valid
    learn = make(scenes, unimatch(**NOW, paste=False), [Before()])
    learn.cut_mix.box = dict(p=1.)
    s,was = one_step(learn).last,learn.before
    for now,then in ((s.x_s,was.x), (s.pseudo['teacher'].label,was.label), (s.valid,was.valid)):
        box = s.box if now.ndim==3 else s.box[:,None]
        views = zip(*(o.chunk(2) for o in (now, then, box)))
        assert all(torch.equal(a, torch.where(m, b.flip(0), b)) for a,b,m in views)
    assert s.box.flatten(1).any(1).all() and not torch.equal(s.box[0], s.box[len(s.x_w)])

def test_plain_transformers_share_one_mask():
    c = Cohort(dict(junior=vit()), 'junior')
    x,m = torch.rand(2,3,32,32),torch.cat([torch.ones(1,96), torch.zeros(1,96)])
    o = c.outputs(x, ['junior'], {'junior':[m]*4})['junior']
    assert all(f[1].abs().max()==0<f[0].abs().max() for f in o.features)

def release_ohem(z, y, threshold=.7, least=200_000):
    "UniMatch V2: at least `least` pixels of the two images of a GPU"
    p = z.softmax(1).gather(1, y.masked_fill(y==IGNORE, 0)[:,None])[:,0].masked_fill(y==IGNORE, 1).flatten()
    keep = p<=max(threshold, p[p.argsort()[min(len(p), least)-1]])
    return torch.nn.functional.cross_entropy(z, y.masked_fill(~keep.view_as(y), IGNORE), ignore_index=IGNORE)

def test_hard_examples_are_those_of_the_release_for_any_number_and_size_of_images():
    torch.manual_seed(0)
    z = torch.randn(2,2,399,399)*.1
    y = (torch.rand(2,399,399)<.94).long()
    z[:,1] += 2.5 # 6 % of the pixels are hard
    y[:,:9] = IGNORE
    want = release_ohem(*(o.repeat_interleave(2, -1).repeat_interleave(2, -2) for o in (z, y))) # crops of 798 × 798
    hard = release_ohem(z, y, least=1)
    assert hard>2*want
    for n in (1,4): assert CRITERIA['ohem'](z.repeat(n,1,1,1), y.repeat(n,1,1)).item()==pytest.approx(want.item(), rel=1e-4)
    assert OHEM(.7, 0)(z, y).item()==pytest.approx(hard.item(), rel=1e-5)

@pytest.mark.parametrize('what, words', [
    (lambda d: learner(d, senior=SENIOR, method=gta()), ['senior',"'gta' trains only assistant, junior","must have the shape of junior"]),
    (lambda d: learner(d, senior=SENIOR, method=mean_teacher()), ['senior','trains only junior; leave it out']),
    (lambda d: learner(d, senior=None, method=mkd()), ['senior',"'mkd' trains it"]),
    (lambda d: learner(d, senior=None, method=gta(), frozen=('assistant',)), ["frozen='assistant'","'gta' has junior"]),
])
def test_mistakes_are_named(scenes, what, words):
    with pytest.raises(ValueError) as e: what(scenes)
    for w in words: assert w in str(e.value), str(e.value)

def test_a_threshold_is_that_of_the_class_that_was_confident():
    "Not that of the class which MKD's augmentation makes of it"
    z,seen = torch.tensor([0.,1.]).view(1,2,1,1),torch.ones(1,1,1, dtype=torch.bool)
    teachers = dict(senior='senior_teacher', junior='junior_teacher')
    labels = {k:PseudoLabel(torch.zeros(1,1,1, dtype=torch.long), torch.full((1,1,1), .525), seen) for k in (*teachers, *teachers.values())}
    def by_teachers(*least):
        tau = as_threshold('checked:0.9', *teachers.values())
        tau.use({k:np.array(least) for k in teachers.values()})
        return float(cross_losses(dict.fromkeys(labels, z), labels, seen, teachers, tau)[0])
    assert by_teachers(.99, .5)==0<by_teachers(.5, .99)
