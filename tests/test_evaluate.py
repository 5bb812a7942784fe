"Compare the figures of a report with independent computations: torchmetrics, erosion per class, constructed calibration, known populations"
import csv, json, math, re, shutil
from dataclasses import replace
from types import SimpleNamespace
import numpy as np, pytest, torch, torch.nn.functional as F
from PIL import Image
from scipy.ndimage import binary_erosion
from conftest import CNN, SMALL, learner, train
from segkc_fastai.cli import main
from segkc_fastai.core.files import write_json
from segkc_fastai.core.task import Task, IGNORE, load_task
from segkc_fastai.data.sources import Pair
from segkc_fastai.runs.evaluating import evaluate_run, result
from segkc_fastai.evaluate.inference import Evaluation, evaluate_pairs, probabilities
from segkc_fastai.evaluate.report import Report, make_report
from segkc_fastai.models.segmenter import segmenter
from segkc_fastai.train.metrics import BoundaryIoU, Calibration, Confusion
from segkc_fastai.runs.folder import Run
from segkc_fastai.runs.training import peak_memory, reset_peak

def random_maps(k, n=4, size=(40,56), ignore=.1, seed=0):
    "Blocks of classes, a prediction that is partly right, and ignored pixels"
    g = torch.Generator().manual_seed(seed)
    y = F.interpolate(torch.randint(k, (n,1,*(-(-s//8) for s in size)), generator=g).float(), size, mode='nearest').long()[:,0]
    p = torch.where(torch.rand(y.shape, generator=g)<.8, y.roll(2, -1), torch.randint(k, y.shape, generator=g))
    return p,y.masked_fill(torch.rand(y.shape, generator=g)<ignore, IGNORE)

# Confusion

@pytest.mark.parametrize('k', (2,21,150,255))
def test_confusion_equals_torchmetrics(k):
    tm = pytest.importorskip('torchmetrics.classification')
    ours,theirs = Confusion(k),tm.MulticlassConfusionMatrix(k, ignore_index=IGNORE)
    jaccard,recall = (f(k, average=a, ignore_index=IGNORE) for f,a in ((tm.MulticlassJaccardIndex, 'none'), (tm.MulticlassAccuracy, 'none')))
    for seed in range(3):
        p,y = random_maps(k, seed=seed)
        ours.update(p, y.byte() if seed else y)
        for o in (theirs, jaccard, recall): o.update(p, y)
    assert (ours.matrix==theirs.compute()).all()
    there,occurs = ~ours.iou.isnan(),ours.matrix.sum(1)>0
    torch.testing.assert_close(ours.iou[there].float(), jaccard.compute()[there])
    assert abs(ours.class_accuracy-recall.compute()[occurs].mean())<1e-6

def test_single_images_count_as_a_batch():
    p,y = random_maps(7)
    a,b = Confusion(7),Confusion(7)
    a.update(p, y)
    for o in zip(p, y): b.update(*o)
    assert (a.matrix==b.matrix).all() and (a.per_image==b.per_image).all() and a.per_image.shape==(4,3,7)
    assert (a.per_image[:,0].sum(0)==a.matrix.diag()).all() and (a.per_image[:,2].sum(0)==a.matrix.sum(1)).all()

def test_unknown_classes_raise():
    with pytest.raises(RuntimeError): Confusion(3).update(torch.zeros(1,2,2, dtype=torch.long), torch.full((1,2,2), 7))

def test_nothing_waits_for_the_device():
    "Tensors without data: reading a value fails"
    p,y,conf = (torch.empty(2,40,56, dtype=t, device='meta') for t in (torch.long, torch.uint8, torch.float))
    for o in (Confusion(5, 'meta'), BoundaryIoU(5, 'meta')): o.update(p, y)
    Calibration('meta').update(conf, p, y)

# Intervals

def test_interval_covers_a_known_population():
    g,hits,n = torch.Generator().manual_seed(1),0,150
    counts = lambda m: torch.stack([(a := torch.rand(m, 2, generator=g)*80).round(), torch.full_like(a, 90), torch.full_like(a, 100)], 1).long()
    everyone = counts(200_000).double().sum(0)
    truth = float((everyone[0]/(everyone[1]+everyone[2]-everyone[0])).mean())
    for _ in range(n):
        c = Confusion(2)
        c._each.append(counts(40))
        low,high = c.interval(400)[-1]
        hits += bool(low<=truth<=high)
    assert .89<=hits/n<=.99

def test_interval():
    p,y = random_maps(5, n=12, ignore=.3)
    c,one = Confusion(5),Confusion(5)
    c.update(p, y)
    one.update(p[0], y[0])
    i = c.interval()
    assert i.shape==(6,2) and torch.equal(i, c.interval()) and not torch.equal(i, c.interval(seed=1))
    assert ((i[:-1,0]<c.iou)&(c.iou<i[:-1,1])).all() and i[-1,0]<c.miou<i[-1,1]
    assert (i[-1]-c.interval(level=.5)[-1]).sign().tolist()==[-1,1]
    torch.testing.assert_close(one.interval(), torch.cat([one.iou, one.iou.nanmean()[None]])[:,None].expand(-1, 2), equal_nan=True)

def test_interval_equals_resampled_images():
    "Drawn and counted again, one image at a time"
    p,y = random_maps(3, n=5)
    c,values = Confusion(3),[]
    c.update(p, y)
    for d in torch.randint(5, (1000,5), generator=torch.Generator().manual_seed(0)):
        o = Confusion(3)
        o.update(p[d], y[d])
        values.append(o.miou)
    np.testing.assert_allclose(c.interval()[-1], np.quantile(values, (.025,.975)))

# Boundaries

def naive_boundary(p, y, k):
    "(K,3) pixels of intersection, prediction and ground truth, from masks eroded one class at a time"
    d = max(round(.02*math.hypot(*y.shape)), 1)
    ring = lambda m: m&~binary_erosion(m, np.ones((2*d+1,)*2), border_value=0)
    masks = [[ring(((o==i)&(y!=IGNORE)).numpy()) for o in (p, y)] for i in range(k)]
    return [[int((a&b).sum()), int(a.sum()), int(b.sum())] for a,b in masks]

@pytest.mark.parametrize('size,k,ignore', [((40,56),5,0.), ((83,121),7,.01), ((200,150),3,.002), ((1,9),2,0.), ((5,5),255,.2)])
def test_boundary_equals_erosion_by_class(size, k, ignore):
    p,y = random_maps(k, 3, size, ignore)
    p = torch.where(torch.rand(p.shape)<.9, y.where(y!=IGNORE, 0).roll(1, -2), p) # long edges too
    b = BoundaryIoU(k)
    b.update(p, y)
    assert b.per_image.transpose(1, 2).tolist()==[naive_boundary(*o, k) for o in zip(p, y)]

def test_boundary_of_the_ground_truth_is_perfect_despite_ignored_pixels():
    _,y = random_maps(4, size=(90,60), ignore=.01)
    b = BoundaryIoU(4)
    b.update(torch.where(y==IGNORE, 2, y), y)
    assert b.miou==1

# Calibration

def test_calibrated_and_overconfident():
    g,y = torch.Generator().manual_seed(0),torch.zeros(400_000, dtype=torch.long)
    conf = torch.rand(y.shape, generator=g)
    right = torch.rand(y.shape, generator=g)<conf
    good,bad = Calibration(),Calibration()
    good.update(conf, (~right).long(), y)
    bad.update(torch.full((1000,), .95), (torch.arange(1000)<300).long(), y[:1000]) # right in 70 %
    assert good.ece<.005 and abs(bad.ece-.25)<1e-6
    assert int(good.table[:,0].sum())==len(y) and bad.table[14].tolist()==pytest.approx([1000,.95,.7])

def test_calibration_equals_torchmetrics():
    tm = pytest.importorskip('torchmetrics.classification')
    z,y = torch.randn(4,6,30,30),random_maps(6, size=(30,30))[1]
    ours,theirs = Calibration(),tm.MulticlassCalibrationError(6, n_bins=15, ignore_index=IGNORE)
    conf,pred = z.softmax(1).max(1)
    ours.update(conf, pred, y)
    theirs.update(z, y)
    assert abs(ours.ece-float(theirs.compute()))<1e-5

def test_edges_of_bins():
    c = Calibration(bins=4)
    c.update(torch.tensor([0.,.25,.2500001,.5,1.]), torch.zeros(5), torch.zeros(5))
    assert c.table[:,0].tolist()==[2,2,0,1]

# Readings

class Pixelwise:
    "A network that sees one pixel at a time, so scaling and mirroring change nothing"
    stride,config = 8,dict(classes=3)
    def __call__(self, x): return SimpleNamespace(logits=(x*4).float())

SLIDING,SCALES = dict(mode='sliding', window=(24,32)),dict(scales=(1.,1.5))

@pytest.mark.parametrize('kw', [dict(flip=True), SLIDING, SLIDING|dict(flip=True), SLIDING|SCALES, SCALES|dict(flip=True), SCALES|dict(mode='resize')])
def test_readings_of_an_equivariant_network_agree(kw):
    flat = torch.rand(2,3,1,1).expand(-1, -1, 40, 64) # unchanged by scaling
    x = flat if 'scales' in kw else torch.rand(2,3,40,64)
    torch.testing.assert_close(probabilities(Pixelwise(), x, **kw), (4*x).softmax(1))

def test_memory_of_sliding_is_bounded():
    "2048 × 1024 pixels, 19 classes: memory for the sum, the input and a few windows, however many are read"
    net,x = torch.nn.Conv2d(3, 19, 1),torch.rand(1,3,1024,2048)
    f = lambda o: SimpleNamespace(logits=net(o))
    with torch.no_grad():
        probabilities(f, x[...,:300,:300], 'sliding', (256,256))
        reset_peak()
        before = peak_memory()
        p = probabilities(f, x, 'sliding', (256,256)) # 72 windows
        grown = peak_memory()-before
    total,window = (19*n*4/2**30 for n in (1024*2048, 256*256))
    assert p.dtype==torch.float32 and torch.allclose(p.sum(1), torch.ones(()))
    if not math.isnan(before) and not torch.cuda.is_available(): assert grown<total+12*window

def test_result_does_not_depend_on_the_batch(tmp_path):
    sizes,pairs,g = [(40,60),(32,70),(40,60),(25,25),(40,60)],[],np.random.default_rng(0)
    for i,(h,w) in enumerate(sizes):
        Image.fromarray(g.integers(0, 256, (h,w,3), dtype=np.uint8)).save(tmp_path/f'{i}.png')
        Image.fromarray(g.integers(0, 3, (h,w), dtype=np.uint8)).save(tmp_path/f'{i}-mask.png')
        pairs.append(Pair(tmp_path/f'{i}.png', tmp_path/f'{i}-mask.png'))
    reports = [make_report(evaluate_pairs(Pixelwise(), pairs, Task('abc'), bs, 'cpu'), Task('abc')) for bs in (1,2,8)]
    assert reports[0]==reports[1]==reports[2] and sum(map(sum, reports[0].confusion))==sum(h*w for h,w in sizes)

# Runs

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    from segkc_fastai.data.scenes import write_scenes
    tmp = tmp_path_factory.mktemp('run')
    return train(tmp/'r', write_scenes(tmp/'scenes', n_train=16, n_val=2, n_test=5), **SMALL|dict(epochs=1))

def test_report_files(run):
    r = evaluate_run(run)
    f = {s:(run.path/f'eval-test-junior.{s}').read_text(encoding='utf-8') for s in ('json','csv','md')}
    assert Report(**json.loads(f['json']))==result(run)==r and f['md']==r.markdown()+'\n'
    rows = list(csv.DictReader(f['csv'].splitlines()))
    assert [o['class'] for o in rows]==list(run.task.classes) and sum(int(o['pixels']) for o in rows)==sum(map(sum, r.confusion))
    assert [float(o['iou']) if o['iou'] else None for o in rows]==list(r.iou.values())
    assert (r.member, r.split, r.mode, r.images)==('junior', 'test', 'whole', 5) and r.miou_interval[0]<=r.miou<=r.miou_interval[1]
    assert sum(o[0] for o in r.reliability)==sum(map(sum, r.confusion))
    assert not [o for o in run.path.iterdir() if o.suffix=='.part']

def test_all_members_and_other_readings(run):
    reports = evaluate_run(run, member='all', bs=2)
    assert list(reports)==['senior','junior']==list(run.facts.networks) and reports['junior'].miou==result(run).miou
    ms = evaluate_run(run, mode='sliding', scales=(.75,1.), flip=True)
    assert ms.mode=='sliding 64×96, scales 0.75 1, flip' and (run.path/'eval-test-junior-sliding-x0.75-x1-flip.csv').is_file()
    assert result(run).mode=='whole'

def test_other_folders_have_reports_of_their_own(run):
    "Promised: No report replaces another. Attacked: Folders of one name, and one called like an option"
    data = [run.path.parent/o for o in ('day/street','night/street','flip')]
    for o in data: shutil.copytree(run.path.parent/'scenes', o)
    kinds = [*(dict(data=str(o)) for o in data), dict(flip=True), {}]
    reports = [evaluate_run(run, 'val', **o) for o in kinds]
    found = [json.loads(f.read_text(encoding='utf-8')) for f in run.path.glob('eval-val-junior*.json')]
    assert sorted(o['what'] for o in found)==sorted(o.what for o in reports) and [o['mode'] for o in found].count('whole, flip')==1
    assert [o.what for o in reports[:3]]==[f'junior of {run.path} on val of {o}' for o in data]

def test_reports_of_earlier_versions_load(run):
    old = dict(what='junior of r on val', images=2, miou=50., accuracy=60., iou={'a':50.,'b':None})
    (run.path/'eval-val-junior.json').write_text(json.dumps(old))
    r = result(Run(run.path), 'val')
    assert vars(r)|old==vars(r) and r.miou_interval is None

def test_interval_while_training(scenes):
    learn = learner(scenes)
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    m = learn.seg_metrics
    for k in ('junior','senior'):
        low,high = m.interval(k)
        assert low<=m.value(k, 'miou')<=high
    assert math.isnan(m.interval('boss')[0])

def test_evaluation_agrees_with_validation(scenes):
    "A report that reads images whole counts the same pixels as the callback during training"
    net,x,y = segmenter(CNN, 8, pretrained=False).eval(),torch.rand(2,3,64,96),torch.randint(8, (2,64,96))
    a,b = Evaluation(8),Confusion(8)
    with torch.no_grad():
        a.update(probabilities(net, x), y)
        b.update(net(x).logits.argmax(1), y)
    assert (a.confusion.matrix==b.matrix).all()

def test_other_data_must_have_the_same_classes(scenes, tmp_path):
    "Promised: Class numbers stand for the same names. Attacked: The same names in another order"
    run = train(tmp_path/'run', scenes, 'supervised', **SMALL|dict(epochs=1, senior=None), probe=0)
    other = shutil.copytree(scenes, tmp_path/'other')
    assert evaluate_run(run, data=other).miou==evaluate_run(run).miou
    file,task = other/'task.json',load_task(other)
    first,second,*rest = task.classes
    for classes in ((second, first, *rest), ('renamed', second, *rest)):
        write_json(file, replace(task, classes=classes).to_dict())
        both = re.escape(f'{other} has 8 classes, {", ".join(classes)}, but {run.path} has 8, {", ".join(task.classes)}; number 0 is')
        with pytest.raises(ValueError, match=f'^{both}'): evaluate_run(run, data=other)
        with pytest.raises(SystemExit, match=both): main(['eval', str(run.path), '--data', str(other)])
        before = sorted(run.path.iterdir())
        with pytest.raises(SystemExit, match=f'{other} has 8 classes'): main(['export', str(run.path), '--int8', str(other)])
        assert sorted(run.path.iterdir())==before
