"`SegInterpretation` agrees with counting by hand, for fastai's segmentation learners and for `dual_learner`"
import gc
import numpy as np, pytest, torch, torch.nn.functional as F
from fastai.data.block import DataBlock
from fastai.interpret import Interpretation
from fastai.callback.core import Callback
from fastai.data.transforms import Normalize, RandomSplitter
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat, FocalLossFlat
from fastai.torch_core import set_seed
from fastai.vision.core import imagenet_stats
from fastai.vision.data import ImageBlock, MaskBlock, SegmentationDataLoaders
from fastai.vision.learner import unet_learner
from PIL import Image
from torchvision.models import resnet18
from conftest import learner
from segkc_fastai.evaluate.inference import evaluate_pairs
from segkc_fastai.view.interpretation import SegInterpretation
from segkc_fastai.evaluate.report import make_report
from segkc_fastai.core.tensors import plain_tensor
from segkc_fastai.train.metrics import Confusion
from segkc_fastai.view.figures import save_figure

CODES,SIZE = ['road','car','tree','Void'],(32,64)

def write(d, void, n=10):
    "Write images whose colours follow their classes, with a band of `void`"
    rng = np.random.default_rng(0)
    (d/'masks').mkdir(parents=True)
    for i in range(n):
        m = np.kron(rng.integers(0, 3, (4,8)), np.ones((8,8), int)).astype(np.uint8)
        im = (np.array([(90,90,90),(200,40,40),(40,160,60)], np.uint8)[m]+rng.integers(0, 40, (*SIZE,3))).astype(np.uint8)
        m[:i+1] = void if void is not None else m[:i+1]
        Image.fromarray(m).save(d/'masks'/f'{i}.png')
        Image.fromarray(im).save(d/f'{i}.png')
    return sorted(d.glob('*.png'))

def loaders(d, void=None, codes=CODES[:3], bs=3):
    files,label = write(d, void),lambda o: o.parent/'masks'/o.name
    how = dict(valid_pct=.5, seed=0, codes=codes, bs=bs, num_workers=0, device='cpu')
    return SegmentationDataLoaders.from_label_func(d, files, label, **how, batch_tfms=[Normalize.from_stats(*imagenet_stats, cuda=False)])

def tiny(dls, k, loss=None):
    set_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, k, 1))
    return Learner(dls, net, loss or CrossEntropyLossFlat(axis=1))

def by_hand(learn, ignore=None):
    "Loss of each validation image and the confusion, from all logits at once"
    x,y = map(torch.cat, zip(*[(x,y) for x,y in learn.dls.valid]))
    x,y = (o.as_subclass(torch.Tensor) for o in (x, y))
    with torch.no_grad(): z = learn.model.eval()(x)
    skip = torch.zeros_like(y, dtype=torch.bool) if ignore is None else y==ignore
    loss = F.cross_entropy(z, y.masked_fill(skip, 0), reduction='none')
    c = Confusion(z.shape[1])
    c.update(z.argmax(1), y.masked_fill(skip, 255))
    return (loss*~skip).sum((1,2))/(~skip).sum((1,2)),c

def test_unet_learner(tmp_path):
    dls = loaders(tmp_path/'d')
    set_seed(0)
    learn = unet_learner(dls, resnet18, pretrained=False, normalize=False)
    interp = SegInterpretation.from_learner(learn)
    losses,c = by_hand(learn)
    assert torch.allclose(interp.losses, losses, atol=1e-4) and np.array_equal(interp.confusion_matrix(), c.matrix)
    assert torch.allclose(interp.losses, Interpretation.from_learner(learn).losses, atol=1e-4)
    assert list(interp.by_class().index)==CODES[:3]==list(interp.report.iou) and abs(interp.report.miou-100*c.miou)<.01
    i = int(losses.argmax())
    image,truth,pred,loss = interp.sample(i)
    assert np.abs(image.astype(int)-np.array(Image.open(dls.valid.items[i]))).max()<=1, 'the picture is the file'
    assert np.array_equal(truth, np.array(Image.open(dls.valid.items[i].parent/'masks'/dls.valid.items[i].name)))
    assert abs(loss-losses.max())<1e-4 and pred.shape==SIZE
    fig = interp.plot_top_losses(9)
    assert [ax.get_ylabel() for ax in fig.axes[::4]]==[f'loss {l:.2f}' for l in losses.sort(descending=True)[0].tolist()]
    for f in (fig, interp.plot_confusion_matrix(), interp.show_results([0])): assert np.asarray(Image.open(save_figure(f, tmp_path/'f.png'))).std()>5

@pytest.mark.parametrize('how', ['name','number','loss'])
def test_a_void_class_is_ignored(tmp_path, how):
    learn = tiny(loaders(tmp_path/'d', 3, CODES), 4, CrossEntropyLossFlat(axis=1, ignore_index=3) if how=='loss' else None)
    interp = SegInterpretation.from_learner(learn, void=dict(name='Void', number=3, loss=None)[how])
    losses,c = by_hand(learn, 3)
    assert torch.allclose(interp.losses, losses, atol=1e-5)
    assert np.array_equal(interp.confusion_matrix(), c.matrix) and interp.confusion_matrix()[:,3].sum()>0==interp.confusion_matrix()[3].sum()
    assert interp.report.iou['Void'] is None and interp.report.boundary['Void'] is None
    assert abs(interp.report.miou-100*float(c.iou[:3].mean()))<.01
    assert not (interp.most_confused().truth=='Void').any() and (interp.most_confused().predicted=='Void').any()
    assert set(np.unique(interp.sample(0)[1]))<={0,1,2,255}

def test_numbers_without_a_class_are_ignored(tmp_path):
    learn = tiny(loaders(tmp_path/'d', 255), 3, CrossEntropyLossFlat(axis=1, ignore_index=255))
    interp = SegInterpretation.from_learner(learn)
    losses,c = by_hand(learn, 255)
    assert torch.allclose(interp.losses, losses, atol=1e-5) and np.array_equal(interp.confusion_matrix(), c.matrix)

def test_without_a_vocabulary(tmp_path):
    files = write(tmp_path/'d', None)
    block = DataBlock((ImageBlock,MaskBlock), get_y=lambda o: o.parent/'masks'/o.name, splitter=RandomSplitter(seed=0))
    learn = tiny(block.dataloaders(files, bs=4, num_workers=0, device='cpu'), 3, torch.nn.CrossEntropyLoss())
    assert list(SegInterpretation.from_learner(learn).report.iou)==['class 0','class 1','class 2']
    assert list(SegInterpretation.from_learner(learn, task=['a','b','c']).report.iou)==['a','b','c']

def test_another_loader_and_another_loss(tmp_path):
    dls = loaders(tmp_path/'d')
    learn = tiny(dls, 3, FocalLossFlat(axis=1))
    train = SegInterpretation.from_learner(learn, ds_idx=0)
    again = SegInterpretation.from_learner(learn, dl=dls.train)
    assert len(train.losses)==len(dls.train_ds)==5 and torch.equal(train.losses, again.losses)

def test_our_learner(scenes):
    learn = learner(scenes)
    interp = SegInterpretation.from_learner(learn)
    net = learn.deploy()
    with torch.no_grad(): e = evaluate_pairs(net, learn.dls.source.val, learn.dls.task, device='cpu')
    other = make_report(e, learn.dls.task, interp.report.what)
    assert interp.report==other, 'equals the report of segkc eval'
    assert len(interp.plot_top_losses(2).axes)==8 and interp.task is learn.dls.task

def test_images_of_several_sizes(scenes):
    for i,f in enumerate(sorted((scenes/'val').glob('*/*0.*'))):
        im = Image.open(f)
        im.crop((0,0,64,48)).save(f)
    learn = learner(scenes, 'mobilenetv4_conv_small+fpn:32') # of a smaller network, padding would reach the whole image
    interp = SegInterpretation.from_learner(learn)
    sizes = {interp.sample(i)[0].shape[:2] for i in range(4)}
    assert sizes=={(48,64),(64,96)} and len(interp.plot_top_losses(4).axes)==16
    learn.model.eval()
    pairs = [map(plain_tensor, o) for o in learn.dls.valid.dataset]
    with torch.no_grad(): small = [float(F.cross_entropy(learn.model(x[None]/255), y[None].long())) for x,y in pairs]
    assert np.allclose(interp.losses, small, atol=.2)

def test_logits_are_not_kept(tmp_path):
    class Alive(Callback):
        seen = []
        def after_batch(self):
            gc.collect()
            shapes = [tuple(o.shape) for o in gc.get_objects() if torch.is_tensor(o) and all(type(n) is int for n in o.shape)] # an export leaves tensors of open size
            self.seen.append(sum(len(s)==4 and s[1]==3 and s[-2:]==SIZE for s in shapes))
    learn = tiny(loaders(tmp_path/'d', bs=1), 3)
    learn.add_cb(Alive())
    interp = SegInterpretation.from_learner(learn)
    assert len(Alive.seen)==5 and max(Alive.seen[1:])<=Alive.seen[1], Alive.seen
    kept = [o for o in (*vars(interp).values(), *vars(interp.evaluation.confusion).values()) if torch.is_tensor(o)]
    assert sum(o.numel() for o in kept)<100

def test_a_misfit_raises_an_error(tmp_path):
    dls = loaders(tmp_path/'d')
    with pytest.raises(ValueError, match='both must have the same size'): SegInterpretation.from_learner(Learner(dls, torch.nn.Conv2d(3, 3, 2, 2), CrossEntropyLossFlat(axis=1)))
    with pytest.raises(ValueError, match='returned 1 values for 3 images'): SegInterpretation.from_learner(tiny(dls, 3, lambda p,y,reduction=None: F.cross_entropy(p, y)))
