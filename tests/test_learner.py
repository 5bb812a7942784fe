"Training never reads the masks of unlabelled images, and works with the tools of fastai"
import gc
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
import numpy as np, matplotlib.pyplot as plt, pytest, torch
from PIL import Image
from conftest import SMALL, one_step, train
from fastai.callback.tracker import SaveModelCallback, EarlyStoppingCallback
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.training import GradientAccumulation
from fastai.callback.core import Callback
from fastai.callback.progress import CSVLogger
from fastai.data.core import DataLoaders
from fastai.torch_core import set_seed
from segkc_fastai.core.task import Task
from segkc_fastai.data.loaders import SegDataset, SemiDataLoaders
from segkc_fastai.data.sources import Pair
from segkc_fastai.evaluate.inference import evaluate_pairs
from segkc_fastai.methods.cps import cps
from segkc_fastai.methods.fixmatch import fixmatch
from segkc_fastai.methods.gta import gta
from segkc_fastai.methods.self_training import self_training
from segkc_fastai.methods.step import CERTAIN
from segkc_fastai.deploy.predict import Predictor
from segkc_fastai.methods.losses import cross_entropy, pseudo_label_loss
from segkc_fastai.methods.registry import METHODS, make_method
from segkc_fastai.models.cohort import encoder_split, save_cohort
from segkc_fastai.train.checkpoint import Checkpoint
from segkc_fastai.train.learner import dual_learner
from segkc_fastai.train.probe import Probe
from segkc_fastai.train.tracking import TrackClasses
from segkc_fastai.view.interpretation import SegInterpretation
from segkc_fastai.view.live import TrainingMonitor

NETS = {k:SMALL[k] for k in ('junior','senior','pretrained')}

def loaders(path, **kw): return SemiDataLoaders.from_folder(path, labelled=8, size=(64,96), bs=4, device='cpu', **kw)

def learner(folder, **kw):
    set_seed(0)
    return dual_learner(loaders(folder), method=cps(warmup=0, ramp=.5), **NETS, **kw)

def fit(learn, n=1, **kw):
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(n, 1e-3, **kw)
    return learn

class Spied(Callback):
    "Counts the tensors that any code reads from the device within a training step"
    order,run_valid = -1000,False
    def __init__(self, patch): self.patch,self.reads = patch,[]
    def before_batch(self):
        for k in ('item','cpu') if self.learn.iter else (): # the first step starts the unlabelled loader
            def spy(t, *args, k=k, old=getattr(torch.Tensor, k)): return self.reads.append(k) or old(t, *args)
            self.patch.setattr(torch.Tensor, k, spy)

class Unspied(Callback):
    order,run_valid = 1000,False
    def after_batch(self): self.learn.spied.patch.undo()

def test_a_step_reads_nothing_from_the_device(scenes, monkeypatch):
    "Promised: A training step does not wait for its loss. Attacked: Every tensor read within the steps of a fit, also to draw bars"
    learn,spied = learner(scenes),Spied(monkeypatch)
    with learn.no_logging(): learn.fit(1, cbs=[spied, Unspied()])
    assert spied.reads==[] and len(learn.recorder.losses)==4

def test_pinned_batches_are_copied_beside_the_computation(scenes, monkeypatch):
    "Promised: A batch goes to a GPU while the host continues. Attacked: The arguments of each copy, of all loaders"
    copies,to = [],torch.Tensor.to
    def spy(t, *args, **kw):
        if args and isinstance(args[0], torch.device): copies.append(kw.get('non_blocking'))
        return to(t, *args, **kw)
    dls = loaders(scenes)
    monkeypatch.setattr(torch.Tensor, 'to', spy)
    for dl in dls.loaders:
        for dl.pin_memory in (True,False):
            copies.clear()
            dl.one_batch()
            assert set(copies)=={dl.pin_memory}

def test_loaders_hold_no_object_per_image():
    "Promised: Loading processes share the list of images, however long. Attacked: The objects that a data set of 10 000 images consists of"
    task = Task(['a','b'])
    before = len(gc.get_objects())
    ds = SegDataset((Pair(Path(f'images/{i}.png'), Path(f'masks/{i}.png')) for i in range(10_000)), task)
    assert len(gc.get_objects())-before<1000 and ds.pairs[9_999]==Pair(Path('images/9999.png'), Path('masks/9999.png'))

def test_masks_of_unlabelled_images_are_never_read(scenes, tmp_path):
    "Promised: Training never reads the masks of unlabelled images. Attacked: The same run with and without them"
    runs = [train(tmp_path/'with', scenes, **SMALL)]
    names = (runs[0].path/'unlabelled.txt').read_text().splitlines()[1:]
    for n in names: (scenes/'train'/'masks'/f'{n}.png').unlink()
    labelled = SMALL | dict(labelled=str(runs[0].path/'labelled.txt'))
    runs += [train(tmp_path/k, scenes, **labelled, probe=n) for k,n in dict(without=16, off=0).items()]
    assert len(names)==16 and len({r.facts.split_hash for r in runs})==1
    assert [Probe(r).has_truth for r in runs[:2]]==[[True]*16, [False]*12+[True]*4]
    same = [c for c in runs[0].history if c not in ('seconds','step','gib')]
    assert all(r.history[same].equals(runs[0].history[same]) for r in runs)
    assert [(r.path/'pseudo.csv').exists() for r in runs]==[True,False,False] # only the diagnostics read them
    for k in ('senior','junior'):
        a,*others = (r.network(k).state_dict() for r in runs)
        assert all(torch.equal(a[n], b[n]) for b in others for n in a)

def test_junior_starts_from_the_same_weights_without_senior(scenes):
    a = learner(scenes)
    set_seed(0)
    b = dual_learner(loaders(scenes), NETS['junior'], pretrained=False)
    assert all(torch.equal(p, q) for p,q in zip(a.model['junior'].parameters(), b.model['junior'].parameters()))
    assert torch.equal(a.dls.train.one_batch()[0], b.dls.train.one_batch()[0])

def test_workers_do_not_change_batches(scenes):
    a,b = (loaders(scenes, num_workers=n).unlabelled for n in (0,2))
    for (x,_),(y,_) in zip(a, b): assert torch.equal(x, y)

def test_ignored_pixels_change_no_term():
    z,y,v = torch.randn(2,8,64,96),torch.randint(0, 8, (2,64,96)),torch.rand(2,64,96)>.3
    other,one = torch.where(v[:,None], z, torch.randn_like(z)),torch.ones(2,64,96)
    assert torch.equal(pseudo_label_loss(z, y, one, v), pseudo_label_loss(other, y, one, v))
    assert torch.equal(cross_entropy(z, torch.where(v, y, 255)), cross_entropy(other, torch.where(v, y, 255)))

def test_fastai_tools(scenes, tmp_path):
    learn = learner(scenes, path=tmp_path, cbs=[CSVLogger(), SaveModelCallback(monitor='junior_miou'), EarlyStoppingCallback(monitor='junior_miou', patience=9)])
    with learn.no_bar(), learn.no_logging(): s = learn.lr_find(show_plot=False, num_it=12)
    assert s.valley>0
    fit(learn, 2)
    assert len((tmp_path/'history.csv').read_text().splitlines())==3 and (tmp_path/'models'/'model.pth').exists()
    learn.validate()
    learn.save('again')
    learn.load('again')
    with learn.no_bar(): p,y = learn.get_preds()
    assert p.shape==(4,8,64,96) and y.shape==(4,64,96)
    with learn.no_bar(): mask,_,prob = learn.predict(learn.dls.source.test[0].image)
    learn.remove_cb(CSVLogger) # its closed file cannot be pickled
    learn.export('x.pkl')
    assert len(learn.dls.train)>0 and mask.shape==(64,96)

def test_masks_that_are_missing_are_no_ground_truth(scenes):
    "Promised: A missing mask is not counted as class 0. Attacked: Validation on plain paths"
    learn = learner(scenes)
    pairs = learn.dls.valid_ds.pairs
    bare = learn.dls.test_dl([o.image for o in pairs])
    with learn.no_bar(), learn.no_logging():
        for how in (learn.validate, partial(learn.get_preds, with_loss=True), partial(SegInterpretation.from_learner, learn)):
            with pytest.raises(ValueError, match=f'^validation: 4 of 4 images have no mask, such as {pairs[0].image}, '): how(dl=bare)
        with pytest.raises(ValueError, match='images have no mask'): learn.validate(2)
        assert len(learn.get_preds(dl=bare)[0])==4
        assert str(learn.validate(dl=learn.dls.test_dl(pairs)))==str(learn.validate()) # NaN differs from itself
        learn.show_results(dl=bare)
        assert [o.get_title() for o in plt.gcf().axes[:2]]==['image','prediction']
        plt.close('all')
    train = learn.dls.split.labelled
    for k,lists in dict(labelled=([train[0], train[1].image], [], pairs), valid=(train, [], [o.image for o in pairs])).items():
        with pytest.raises(ValueError, match=f'^{k}: . of . images have no mask'): SemiDataLoaders.from_lists(*lists, learn.dls.task)

def test_a_validation_on_other_classes_raises(scenes):
    "Promised: The same for a learner. Attacked: Loaders of another task"
    learn = learner(scenes)
    other = replace(learn.dls.task, classes=learn.dls.task.classes[::-1])
    dl = SemiDataLoaders.from_lists(learn.dls.split.labelled, [], learn.dls.valid_ds.pairs, other, size=(64,96), device='cpu').valid
    with pytest.raises(ValueError, match="number 0 is 'pedestrian' and 'sky'"): learn.validate(dl=dl)

def test_freeze_and_rates(scenes):
    learn = learner(scenes)
    learn.freeze()
    fit(learn)
    enc,rest = encoder_split(learn.model)
    convs = [p for m in learn.model.members.values() for k,p in m.encoder.named_parameters() if p.ndim==4]
    assert not any(p.requires_grad for p in convs) and all(p.requires_grad for p in rest)
    learn.unfreeze()
    fit(learn)
    assert all(p.requires_grad for p in enc)
    learn.fit(1, slice(1e-4, 1e-3))
    assert [h['lr'] for h in learn.opt.hypers]==pytest.approx([1e-4, 1e-3])

def test_mixed_precision_and_accumulation(scenes):
    learn = learner(scenes)
    fit(learn, cbs=[MixedPrecision(), GradientAccumulation(8)])
    assert all(torch.isfinite(p).all() for p in learn.model.parameters())

def test_a_step_without_valid_pixels_is_finite(scenes):
    learn = learner(scenes)
    for o in learn.dls.loaders[::2]: o.dataset.view.scale = (.02,.02)
    fit(learn)
    assert all(torch.isfinite(p).all() for p in learn.model.parameters())

class Fails(Callback):
    def __init__(self, e): self.e = e
    def after_pred(self): raise self.e

def test_a_fit_leaves_no_tensors_behind(scenes):
    "Promised: A fit releases the outputs of the networks. Attacked: Finished and interrupted, then copied"
    learn = learner(scenes)
    for cbs in ((), Fails(KeyboardInterrupt())):
        with learn.no_bar(), learn.no_logging():
            try: learn.fit(1, cbs=cbs)
            except KeyboardInterrupt: pass
        s = learn.semi_step
        assert [s.labelled,s.unlabelled,s.soft,s.terms,s.notes,learn.loss_grad]==[None,None,{},{},{},None]
        assert not any(o.requires_grad for o in (s.x_l,s.x_s,*(v for p in s.pseudo.values() for v in vars(p).values())))
    other = deepcopy(learn)
    assert all(map(torch.equal, learn.model.parameters(), other.model.parameters()))

def test_what_a_learner_is_not_made_for(scenes):
    dls = loaders(scenes)
    with pytest.raises(TypeError, match='^dls of type DataLoaders: must be `SemiDataLoaders`'): dual_learner(DataLoaders(dls.train, dls.valid), method=cps(), **NETS)
    with pytest.raises(TypeError, match='^junior of type int: must be a description, such as "resnet50.fpn", or a `Segmenter`, or a module that returns logits'): dual_learner(dls, 18, pretrained=False)
    with pytest.raises(TypeError, match='^an image of type ndarray: must be the path of a file'): learner(scenes).predict(np.zeros((8,8,3), np.uint8))

def plain(): return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 8, 1))

@pytest.mark.parametrize('name', METHODS)
def test_plain_modules_train_where_logits_are_enough(scenes, tmp_path, name):
    "Promised: A module that returns logits trains, or the message says why it cannot. Attacked: Every method, with one as each network"
    def make():
        m = make_method(name)
        set_seed(0)
        return dual_learner(loaders(scenes), plain(), plain() if 'senior' in m.members else None, m)
    if name in ('gta','mkd','segkc','unimatch'):
        with pytest.raises(ValueError, match=f"^(junior|senior) of type Sequential: method '{name}' reads .*, and a plain module returns logits alone; pass a description"): make()
        return
    learn = make()
    with learn.no_bar(), learn.no_logging(): learn.fit(2, 1e-3, cbs=Checkpoint(tmp_path/'at', minutes=0))
    again = make().resume(tmp_path/'at')
    assert all(map(torch.equal, learn.model.parameters(), again.model.parameters()))
    with pytest.raises(ValueError, match='a Sequential has no description'): save_cohort(learn.model, tmp_path)
    assert Predictor(learn.deploy(), learn.dls.task).predict(learn.dls.valid_ds.pairs[0].image).mask.shape==(64,96)

def test_plain_modules_cannot_be_frozen_and_return_whole_maps(scenes):
    with pytest.raises(ValueError, match='^junior of type Conv2d: only an encoder can be frozen'): dual_learner(loaders(scenes), torch.nn.Conv2d(3, 8, 1), frozen=['junior'])
    learn = dual_learner(loaders(scenes), torch.nn.Conv2d(3, 8, 1, stride=4))
    with learn.no_bar(), learn.no_logging(), pytest.raises(ValueError, match=r'^Conv2d: returns \(4, 8, 16, 24\); must be logits of shape \(4, 8, 64, 96\)$'): learn.fit(1)

@pytest.mark.parametrize('error', [torch.OutOfMemoryError('CUDA out of memory'), RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried")])
def test_out_of_memory(scenes, error):
    "Promised: The error for a lack of memory names the argument to lower. Attacked: Errors of CUDA and of the CPU's allocator"
    learn = learner(scenes)
    with learn.no_bar(), learn.no_logging(), pytest.raises(MemoryError, match=r'^out of memory in steps of 4 images of 64 × 96; pass bs=2 with accumulate=2, or size=\(44,67\)$'): learn.fit(1, cbs=Fails(error))

def test_out_of_memory_in_a_validation(scenes):
    learn = learner(scenes)
    class Validating(Callback):
        def before_validate(self): raise torch.OutOfMemoryError('')
    with learn.no_bar(), learn.no_logging(), pytest.raises(MemoryError, match='^out of memory in a validation, in batches of 4 whole images; pass val_bs=2 to the loaders, or bs=2 with accumulate=2 to a run$'): learn.fit(1, cbs=Validating())

def test_out_of_memory_with_loaders_put_together_by_hand(scenes):
    "They state no size of crops"
    learn = learner(scenes)
    learn.dls.size = None
    with learn.no_bar(), learn.no_logging(), pytest.raises(MemoryError, match='^out of memory in steps of 4 images; pass bs=2 with accumulate=2$'): learn.fit(1, cbs=Fails(torch.OutOfMemoryError('')))

def test_a_validation_is_no_training(scenes, tmp_path):
    "Promised: Validation and prediction change nothing. Attacked: Callbacks that begin and end with a fit"
    ends = []
    learn = learner(scenes, cbs=[TrackClasses(lambda *o: ends.append('log'), end=lambda: ends.append('end')), monitor := TrainingMonitor()])
    fit(learn)
    rows,ends[:] = learn.training_guards.rows,[]
    with learn.no_bar(), learn.no_logging():
        learn.validate()
        learn.get_preds()
        learn.predict(learn.dls.valid_ds.pairs[0].image)
    assert learn.training_guards.rows is rows and len(rows)==1 and not ends and not learn.fitting
    assert len(monitor.rows)==1 and monitor.widget.status=='ended after 1 epochs'

def test_searching_for_a_rate_has_one_objective(scenes):
    "That of the start, without stages; and the views of the next epoch are those that it would have had"
    class Terms(Callback):
        order,run_valid,seen,rates = 1000,False,(),()
        def after_batch(self): self.seen,self.rates = (*self.seen, tuple(self.learn.semi_step.terms)),(*self.rates, self.opt.hypers[-1]['lr'])
    for method in (cps(), self_training()):
        set_seed(0)
        learn = dual_learner(loaders(scenes), method=method, cbs=(t := Terms()), **NETS)
        with learn.no_bar(), learn.no_logging(): learn.lr_find(num_it=8, show_plot=False, suggest_funcs=())
        assert len(set(t.seen))==1 and len(t.rates)>4 and all(b>a for a,b in zip(t.rates, t.rates[1:])) and learn.semi_step.epochs==0

@pytest.mark.parametrize('name', METHODS)
def test_one_method_makes_two_learners(scenes, name):
    m = make_method(name)
    senior = NETS['senior'] if 'senior' in m.members else None
    a,b = (dual_learner(loaders(scenes), NETS['junior'], senior, m, pretrained=False) for _ in range(2))
    for o in (a, b): fit(o)
    assert all(torch.isfinite(torch.tensor(o.recorder.losses)).all() for o in (a, b))
    dual_learner(loaders(scenes), NETS['junior'], senior, a.method, pretrained=False)

@pytest.mark.parametrize('method, found', [('cps',"'cps'"), (cps,'cps')])
def test_a_name_is_no_method(scenes, method, found):
    with pytest.raises(TypeError, match=f'^method={found}: must be a `Method`; call a function'): dual_learner(loaders(scenes), method=method, **NETS)

@pytest.mark.parametrize('arg, value', [('size',64), ('size',(64.,64.)), ('size',(64,64,3)), ('bs',0)])
def test_numbers_of_loaders(scenes, arg, value):
    with pytest.raises(ValueError, match=f'^{arg}=.*: must be (height,width in pixels|a whole number)'): SemiDataLoaders.from_folder(scenes, labelled=8, device='cpu', **dict(size=(64,96), bs=4) | {arg:value})

@pytest.mark.parametrize('paste', [True,False])
def test_shares_are_of_pseudo_labels(scenes, paste):
    "Pasted true labels are neither kept nor agreed on"
    def noted(method, senior): return one_step(dual_learner(loaders(scenes), NETS['junior'], senior, method, pretrained=False)).last
    assert float(noted(fixmatch(threshold=1.5, warmup=0, paste=paste), None).notes['kept'])==0
    s = noted(cps(warmup=0, paste=paste), NETS['senior'])
    a,b = s.pseudo.values()
    theirs = s.valid & (a.confidence<CERTAIN)
    assert paste==bool((a.confidence==CERTAIN).any()) and float(s.notes['agree'])==pytest.approx(float(((a.label==b.label)&theirs).sum()/theirs.sum()))

def test_each_network_reads_what_is_learned_of_it(scenes):
    "The student of GTA-Seg learns nothing from strong views, and does not read them"
    learn,read = dual_learner(loaders(scenes), NETS['junior'], method=gta(warmup=0), pretrained=False),[]
    for k in ('junior','assistant'): learn.model[k].encoder.register_forward_pre_hook(lambda m, x, k=k: read.append(k))
    one_step(learn)
    assert sorted(read)==['assistant','assistant','junior']

def test_whole_images_of_different_sizes(scenes):
    "Validated and predicted one at a time, so that none is padded; a single array of them is refused"
    for o in sorted((scenes/'val').rglob('*.*'))[::4]:
        with Image.open(o) as im: small = im.crop((0,0,48,32))
        small.save(o, quality=95)
    sizes = {o.size for o in map(Image.open, (scenes/'val'/'images').iterdir())}
    learn = dual_learner(loaders(scenes), method=cps(), **NETS)
    pairs = learn.dls.valid_ds.pairs
    assert len(sizes)==2 and learn.dls.valid.bs==1 and learn.dls.test_dl(pairs).bs==1 and learn.dls.test_dl(pairs, bs=3).bs==3
    with learn.no_bar(), learn.no_logging():
        want = evaluate_pairs(learn.deploy(), pairs, learn.dls.task).confusion.miou
        learn.validate()
        assert learn.seg_metrics.confusion['junior'].miou==pytest.approx(want)
        with pytest.raises(ValueError, match='predictions of images that differ in size are no single array'): learn.get_preds()
