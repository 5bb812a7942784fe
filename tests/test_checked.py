"Thresholds certified on labelled images left out of training: the bound holds, nobody trains on the witnesses, what is kept and recorded"
import json
import numpy as np, pytest, torch
from conftest import CNN, SENIOR, SMALL, one_step, train
from fastai.callback.core import Callback, CancelFitException
from fastai.torch_core import set_seed
from scipy.special import betaincinv
from segkc_fastai.core.certify import EDGES, NOTHING, certified, class_bounds, kept_and_right, precision_bound
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.splits import stated_names
from segkc_fastai.methods.checked import Checked
from segkc_fastai.methods.losses import pseudo_label_loss
from segkc_fastai.methods.registry import METHODS, make_method, method_parameters
from segkc_fastai.methods.step import CERTAIN
from segkc_fastai.models.cohort import Cohort
from segkc_fastai.runs.training import resume_run
from segkc_fastai.train.checkpoint import Checkpoint
from segkc_fastai.train.learner import dual_learner

WITH = [k for k in METHODS if 'threshold' in method_parameters(k)]

def learner(scenes, method, labelled=8, **kwargs):
    set_seed(0)
    dls = SemiDataLoaders.from_folder(scenes, labelled=labelled, size=(32,48), bs=4, device='cpu')
    start = dict(first=0) if method=='self_training' else dict(warmup=0)
    m = make_method(method, **start | dict(threshold='checked:0.2') | kwargs)
    return dual_learner(dls, CNN, SENIOR if 'senior' in m.members else None, m, pretrained=False)

def fit(learn, epochs=2, cbs=()):
    with learn.no_bar(), learn.no_logging(): learn.fit(epochs, 1e-3, cbs=list(cbs))
    return learn

def drawn(rng, trials, images, rho):
    "Wrong and right pixels by bin of confidence; precision grows with it, and varies alike for all pixels of an image. And the true precision"
    at = np.array([*EDGES, 1.])
    share,local = rng.dirichlet(np.arange(1, len(EDGES)+1)),.3+.7*((at[1:]+at[:-1])/2)**3
    n = np.ceil(3000*rng.lognormal(0, .7, (trials,images,1))*share)
    each = betaincinv(local*(1/rho-1), (1-local)*(1/rho-1), rng.random((trials,images,1)))
    right = rng.binomial(n.astype(int), each)
    up = lambda o: o[::-1].cumsum()[::-1]
    return np.stack([n-right, right], -1)[:,:,None],up(local*share)/up(share)

@pytest.mark.parametrize('images', [5,10,20,50])
def test_the_bound_holds_in_19_of_20_cases(images):
    rng = np.random.default_rng(images)
    for rho,least in {.02:.95, .05:.95, .1:.95, .2:.9, .3:.83}.items(): # more alike than the bound assumes, it holds less often
        for p in (.8,.9,.95,.98):
            n = np.ceil(1000*rng.lognormal(0, .7, (1000,images)))
            right = rng.binomial(n.astype(int), rng.beta(p*(1/rho-1), (1-p)*(1/rho-1), n.shape))
            assert (precision_bound(n, right)[1]<=p).mean()>=least, (rho,p)

@pytest.mark.parametrize('images', [5,10,20,50])
def test_a_chosen_threshold_keeps_its_promise(images):
    "The smallest of many confidences is chosen by the same pixels, and yet the precision is as promised in at least 95 % of 1 000 draws"
    rng = np.random.default_rng(images)
    for target in (.9,.95):
        for rho in (.05,.1,.2):
            n,true = drawn(rng, 1000, images, rho)
            tau = certified(class_bounds(*kept_and_right(n))[1], target)[:,0]
            broken = [t!=NOTHING and true[EDGES.index(t)]<target for t in tau]
            assert np.mean(broken)<=.05, (target,rho)
            if images==50: assert (tau!=NOTHING).mean()>.8 # and a promise is made

def test_pixels_are_no_witnesses():
    "A bound on pixels alone would promise 99 % after one wrong image of ten"
    kept,right = np.full(10, 10_000),np.full(10, 10_000)
    right[0] = 9_000
    assert precision_bound(kept, right)[1]<.96 and precision_bound(kept[:1], kept[:1])[1]<.06

@pytest.mark.parametrize('method', WITH)
def test_witnesses_are_not_trained_on(scenes, method):
    "They are the same until half of the training, and are learned after it"
    learn,seen,counts = learner(scenes, method),[],[]
    class Spy(Callback):
        run_valid,order = False,100
        def before_batch(self): seen.append((self.epoch, {o.name for o in self.dls.train_ds.pairs}))
        def after_epoch(self): counts.append(self.learn.checked.counts)
    every = {o.name for o in learn.dls.train_ds.pairs}
    fit(learn, 4, [Spy()])
    c = learn.checked
    rest = every-set(c.out)
    assert len(every)==8 and len(rest)==4 and all(o==(rest if e<2 else every) for e,o in seen) and {e for e,_ in seen}=={*range(4)}
    assert {o.name for o in learn.dls.train_ds.pairs}==every and len(learn.dls.train_ds)==16
    assert (counts[1].sum((2,3,4))>0).all() and torch.equal(counts[1], counts[3]) and not torch.equal(counts[0], counts[1])
    assert all(t.shape==(8,) for t in c.least.values()) and learn.method.keeps[c.labellers[0]][0] is c.least[c.labellers[0]]

def test_judged_in_the_precision_of_training(scenes, monkeypatch):
    learn,seen,real = learner(scenes, 'fixmatch').to_bf16(),[],Cohort.predictions
    monkeypatch.setattr(Cohort, 'predictions', lambda *args: seen.append(torch.is_autocast_enabled('cpu')) or real(*args))
    fit(learn, 1)
    n = len(learn.dls.train)
    assert len(seen)>n and all(seen) and learn.checked.counts.sum()>0 and not torch.is_autocast_enabled('cpu')

def test_who_is_checked():
    who = {k:next(cb for cb in make_method(k, threshold='checked:0.9').cbs if isinstance(cb, Checked)).labellers for k in WITH}
    one = dict.fromkeys(('fixmatch','unimatch','gta'), ('teacher',)) | dict(self_training=('senior',))
    assert who==one | dict(cps=('senior','junior'), segkc=('senior','junior'), mkd=('senior_teacher','junior_teacher'))

@pytest.mark.parametrize('method', ['fixmatch','unimatch','cps','gta','mkd'])
def test_each_class_has_its_own_threshold(scenes, monkeypatch, method):
    "Classes that are not certified add nothing to the loss, the others as much as without a threshold"
    def loss(classes):
        def estimate(c): c.least = {k:torch.full((8,), NOTHING).index_fill_(0, torch.tensor(classes, dtype=torch.long), 0.) for k in c.labellers}
        monkeypatch.setattr(Checked, 'estimate', estimate)
        last = one_step(learner(scenes, method, **{} if method in ('gta','mkd') else dict(paste=False))).last
        return next(float(v.detach()) for k,(v,_) in last.terms.items() if k in ('pseudo','cps_junior','assistant','mkd_teachers')),last.notes.get('kept')
    none,low,high,every = (loss([*o]) for o in ((), range(4), range(4,8), range(8)))
    assert none[0]==0<max(low[0], high[0]) and every[0]>0
    if method!='gta': # which weights the pixels that it keeps
        assert abs(low[0]+high[0]-every[0])<1e-4*every[0] and none[1]==0 and every[1]==1 and abs(low[1]+high[1]-1)<1e-5

def test_pasted_labels_need_no_certificate():
    z,y,c = torch.randn(1,3,2,2),torch.zeros(1,2,2, dtype=torch.long),torch.tensor([[[.999,CERTAIN],[CERTAIN,.5]]])
    kept = pseudo_label_loss(z, y, c, c>0, torch.full((3,), NOTHING))
    true = -z.log_softmax(1)[0,0]
    assert torch.isclose(kept, (true[0,1]+true[1,0])/4)

def test_few_images_are_read(scenes):
    c = fit(learner(scenes, 'cps', labelled=12), 1).checked
    assert c.views==1 and len(c.out)==5

def test_learned_images_are_no_witnesses(scenes, tmp_path):
    "Neither in a second fit, nor in a run that goes on from another; nor can one label check itself"
    learn = fit(learner(scenes, 'fixmatch'), 4)
    least = learn.checked.least['teacher']
    fit(learn, 2)
    assert not learn.checked.due and learn.checked.least['teacher'] is least
    with pytest.raises(ValueError, match="threshold=checked:0.2: needs two labelled images that no network has learned, found 1"): learner(scenes, 'fixmatch', labelled=1)
    how = SMALL | dict(size=(32,48), senior=None, epochs=1, probe=0, method_args=dict(threshold='checked:0.2', warmup=0))
    a = train(tmp_path/'a', scenes, 'fixmatch', **how)
    known = stated_names(a.path/'labelled.txt')
    with pytest.raises(ValueError, match='found 0; label more'): train(tmp_path/'b', scenes, 'fixmatch', **how | dict(parent=str(a.path), labelled=str(a.path/'labelled.txt')))
    every = [o.stem for o in sorted((scenes/'train'/'masks').iterdir())]
    (tmp_path/'more.txt').write_text('\n'.join([*known, *[o for o in every if o not in known][:4]]))
    train(tmp_path/'c', scenes, 'fixmatch', [spy := Callback()], **how | dict(parent=str(a.path), labelled=str(tmp_path/'more.txt')))
    assert len(spy.learn.checked.out)==2 and not set(spy.learn.checked.out)&set(known)

def test_recorded_and_resumed(scenes, tmp_path):
    "A resumed run leaves out the same images, finds the same thresholds, and writes the same curves"
    class Stop(Callback):
        order = 1000
        def after_batch(self):
            if self.learn.train_iter==6: raise KeyboardInterrupt
    how = SMALL | dict(size=(32,48), epochs=3, probe=0, checkpoint=0, method_args=dict(threshold='checked:0.2', warmup=0))
    a = train(tmp_path/'a', scenes, 'cps', **how)
    with pytest.raises(KeyboardInterrupt): train(tmp_path/'b', scenes, 'cps', [Stop()], **how)
    b = resume_run(tmp_path/'b', device='cpu')
    assert (a.path/'checked.csv').read_text()==(b.path/'checked.csv').read_text() and a.history.kept.equals(b.history.kept)
    df = a.certificates()
    assert len(df)==16 and set(df.labeller)=={'senior','junior'} and df.certified.any()
    card = (a.path/'card.md').read_text()
    assert 'certifies a precision of 20 %' in card and 'sky' in card

def test_classes_may_be_called_none_or_7(scenes, tmp_path):
    task = json.loads((scenes/'task.json').read_text())
    names = ['None','7',*task['classes'][2:]]
    (scenes/'task.json').write_text(json.dumps(task | dict(classes=names)))
    how = SMALL | dict(senior=None, size=(32,48), probe=0, checkpoint=None, method_args=dict(threshold='checked:0.2', warmup=0))
    run = train(tmp_path/'a', scenes, 'fixmatch', **how)
    assert list(run.certificates()['class'])==names and '| None | ' in (run.path/'card.md').read_text()

def test_whole_groups_are_left_out(scenes):
    "Frames of one video would certify each other"
    with pytest.warns(UserWarning, match='near-duplicates'): dls = SemiDataLoaders.from_folder(scenes, labelled=8, size=(32,48), bs=4, device='cpu', group=r'\d$')
    learn = dual_learner(dls, CNN, method=make_method('fixmatch', threshold='checked:0.2', warmup=0), pretrained=False)
    fit(learn)
    out = {o[-1] for o in learn.checked.out}
    assert out and len(learn.checked.out)<=4 and len({o.name for o in dls.train_ds.pairs if o.name[-1] in out})==len(learn.checked.out)

def test_a_group_is_one_witness(scenes):
    "Promised: The bound holds. Attacked: Frames of a video, which make the same mistakes, as independent images"
    with pytest.warns(UserWarning, match='near-duplicates'): dls = SemiDataLoaders.from_folder(scenes, labelled=12, size=(32,48), bs=4, device='cpu', group=r'\d$')
    learn = dual_learner(dls, CNN, method=make_method('fixmatch', threshold='checked:0.2', warmup=0), pretrained=False)
    fit(learn)
    c = learn.checked
    groups = {o[-1] for o in c.out}
    assert 1<len(groups)<len(c.out) and c.counts.shape[1]==len(groups) and c.counts.sum()>0 and c.curves.images.max()<=len(groups)
    kept = np.ones((1,2,200)) # one video with 200 frames, all right
    assert precision_bound(kept.sum(-1, keepdims=True), kept.sum(-1, keepdims=True))[1].max()<.1<precision_bound(kept, kept)[1].min()

def test_looking_at_a_learner_uses_up_no_witness(scenes):
    learn = learner(scenes, 'fixmatch')
    with learn.no_bar(), learn.no_logging():
        for look in (learn.validate, learn.get_preds, lambda: learn.predict(learn.dls.valid_ds.pairs[0].image)): look()
        assert learn.checked.learned==[] and learn.checked.check(learn.dls) is None
        fit(learn, 4, [Stop(2)])
        assert len(learn.checked.learned)==4, 'those left out have not been learned'
        learn.validate()
    assert len(learn.checked.learned)==4 and learn.checked.counts.sum()>0

class Stop(Callback):
    "Cancel a fit after some epochs"
    order = 1000
    def __init__(self, epochs): self.epochs = epochs
    def after_epoch(self):
        if self.epoch+1==self.epochs: raise CancelFitException

def test_a_second_fit_is_resumed(scenes, tmp_path):
    "It checks nothing, and a new learner that resumes it does not either"
    whole = fit(learner(scenes, 'fixmatch'))
    fit(whole, 3)
    half = fit(learner(scenes, 'fixmatch'))
    with pytest.raises(KeyboardInterrupt): fit(half, 3, [Checkpoint(tmp_path, 0), Interrupt()])
    rest = fit(learner(scenes, 'fixmatch').resume(tmp_path), 3, [Checkpoint(tmp_path, 0)])
    assert rest.checked.learned==whole.checked.learned and len(whole.checked.learned)==8
    assert all(map(torch.equal, whole.model.parameters(), rest.model.parameters()))

class Interrupt(Callback):
    order = 1000
    def after_batch(self):
        if self.epoch==1 and self.iter==1: raise KeyboardInterrupt

def test_one_epoch_keeps_nothing_and_says_so(scenes):
    with pytest.warns(UserWarning, match='training for one keeps no pseudo label'): fit(learner(scenes, 'fixmatch'), 1)
