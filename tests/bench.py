"""Costs of the library against other implementations of the same work. `make bench`, or `python tests/bench.py NAME …` with
names of BENCHES or of methods.

`methods`: a training step against a hand-written PyTorch loop. For each method, steps of the learner and of the bare loop
(same networks, views, optimizer) alternate in one process; reported is the median of their ratios, into
nbs/results/step_cost.csv. On a CPU time is that of the processor in one thread, which other programs do not change. The
longer formulas (GTA-Seg's loss, MKD's augmentation, the channel masks) are the library's in both, so the measurement
covers the machinery around them. Also the number of host-device synchronisations that our own code requests per step, as far as they are
visible among dispatched operations (unlike `.cpu()` or `tolist`); and the duration of a SegKC step in CPS steps.

`laptop`: a SegKC step of 4 labelled and 4 unlabelled crops of 160 × 208 pixels on one and two cores: plain, channels-last,
and channels-last compiled or in bf16. The four alternate in one process; reported are medians, and the median ratio of the
plain step to the others. Also the time until the first compiled step, which compiles, and the labels of the weak view under
`no_grad` and `inference_mode`.

`demo`: the two arms of `make demo` with three seeds, into runs/demo-seeds, where an interrupted comparison resumes; and
the mean gain of the junior.

`metrics`: from logits to counts, against the argmax alone, fastai and torchmetrics, in turn in one process; medians.

`loading`: decoding and weak view of scenes of 500 × 375 pixels, labelled and unlabelled in turn, in two processes, against
the same operations as in releases of the field: the whole image resized with Pillow, padded, then cropped. Also the share
of a CPU training epoch spent waiting for data.

`probe`: the time to record every network's labels of sixteen images after each epoch, over two epochs of SegKC on the
scenes, as a share of the epochs' time with validation; and the size of a record.

`export`: a convolutional junior, a SegFormer and DINOv2-S with DPT, with random weights, on one image of 512 × 512 pixels
on the CPU: eager PyTorch and the exported ONNX file in onnxruntime, with the same number of threads, alternating in one
process, from pixels to logits; reported is the median of their ratios."""
import copy, io, statistics, sys, tempfile, traceback, warnings
from contextlib import redirect_stdout
from pathlib import Path
from time import perf_counter, process_time
from types import SimpleNamespace
import numpy as np, pandas as pd, torch, torch.nn.functional as F
from PIL import Image, ImageOps
from fastai.callback.core import Callback
from fastai.metrics import JaccardCoeffMulti
from fastai.torch_core import set_seed
from torch.utils._python_dispatch import TorchDispatchMode
from torchmetrics.classification import MulticlassConfusionMatrix
from segkc_fastai.core.files import replacing
from segkc_fastai.core.task import Task, IGNORE
from segkc_fastai.runs.compare import compare, method_arms
from segkc_fastai.data.loaders import SegDL, SegDataset, SemiDataLoaders
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.sources import Pair, folder_source
from segkc_fastai.data.views import WeakView, cutmix, cutmix_box
from segkc_fastai.runs.recipes import Demo, Scenes
from segkc_fastai.runs.tables import results_table
from segkc_fastai.deploy.export import Deployed, export
from segkc_fastai.deploy.predict import OnnxNet
from segkc_fastai.methods.gta import assistant_loss, feature_parameters
from segkc_fastai.methods.losses import class_map
from segkc_fastai.methods.mkd import ClassCovariance, augmented
from segkc_fastai.methods.registry import METHODS, make_method
from segkc_fastai.methods.unimatch import complementary_masks
from segkc_fastai.models.cohort import own_statistics
from segkc_fastai.models.segmenter import save_segmenter, segmenter, spec_of
from segkc_fastai.train.learner import dual_learner
from segkc_fastai.train.metrics import Confusion
from segkc_fastai.train.probe import ProbeRecorder, Probe
from segkc_fastai.runs.training import train_run
from studies import RESULTS, ROOT

def ce(z, y, keep=None):
    "Cross-entropy over valid pixels, or weighted by `keep`"
    if keep is None: return F.cross_entropy(z, y, ignore_index=IGNORE)
    return (F.cross_entropy(z, y, reduction='none')*keep).sum()/keep.sum()

def kl(z, t, v): return (F.kl_div(z.log_softmax(1), t.detach().log_softmax(1), reduction='none', log_target=True).sum(1)*v).sum()/v.sum()

@torch.no_grad()
def read(net, x):
    was = net.training
    net.eval()
    o = net(x)
    net.train(was)
    return o

@torch.no_grad()
def follow(copy, net, decay):
    a,b = ([t for t in n.state_dict().values() if t.is_floating_point()] for n in (copy, net))
    torch._foreach_lerp_(a, b, 1-decay)

class Bare:
    "The training step of each method, written with tensors, networks and an optimizer"
    def __init__(self, name, cohort, strong):
        self.nets,self.ema = ({k:copy.deepcopy(m) for k,m in o.items()} for o in (cohort.members, cohort.ema))
        self.adapt = {a.frm:copy.deepcopy(a) for a in cohort.adaptors.values()}
        self.cov = {k:ClassCovariance(len(c.amount), c.mean.shape[1]) for k,c in cohort.statistics.items()}
        self.opt = torch.optim.AdamW([p for m in [*self.nets.values(), *self.adapt.values()] for p in m.parameters()], lr=1e-4, weight_decay=.01)
        self.follows,self.strong,self.work = cohort.follows,strong,getattr(self, name)
        self.shared = [feature_parameters(m, 'predictor') for k in ('junior','assistant') if (m := self.nets.get(k))]

    def __call__(self, *batch):
        loss = self.work(*batch)
        loss.backward()
        self.opt.step()
        self.opt.zero_grad()
        self.after()
        return loss.item() # a training loop reads its loss, as fastai's does

    def after(self):
        for k,e in self.ema.items(): follow(e, self.nets[self.follows[k]], .9)
        if 'assistant' not in self.nets: return
        with torch.no_grad(): torch._foreach_lerp_(*self.shared, .001)

    def views(self, u, pad, n=1):
        u,valid = u.repeat(n, 1, 1, 1),(pad!=IGNORE).repeat(n, 1, 1)
        box = cutmix_box(valid.shape, valid.device)
        return cutmix(self.strong(u), box, n),cutmix(valid, box, n),box

    def both(self, k, x, s):
        o = self.nets[k](x)
        with own_statistics(self.nets[k]): return o,self.nets[k](s)

    def supervised(self, x, y, u, pad): return ce(self.nets['junior'](x).logits, y)

    def mean_teacher(self, x, y, u, pad):
        q = read(self.ema['teacher'], u).logits.softmax(1)
        s,valid,box = self.views(u, pad)
        z,zs = (o.logits for o in self.both('junior', x, s))
        d = (zs.softmax(1)-cutmix(q, box)).pow(2).sum(1)
        return ce(z, y) + (d*valid).sum()/valid.sum()

    def self_training(self, x, y, u, pad):
        conf,label = read(self.nets['senior'], u).logits.softmax(1).max(1)
        s,valid,box = self.views(u, pad)
        z,zs = (o.logits for o in self.both('junior', x, s))
        return ce(z, y) + (F.cross_entropy(zs, cutmix(label, box), reduction='none')*(valid&(cutmix(conf, box)>=0))).sum()/valid.sum()

    def fixmatch(self, x, y, u, pad, n=1):
        conf,label = read(self.ema['teacher'], u).logits.softmax(1).max(1)
        s,valid,box = self.views(u, pad, n)
        conf,label = (cutmix(t.repeat(n, 1, 1), box, n) for t in (conf, label))
        z,zs = self.nets['junior'](x).logits,self.strong_logits(s, len(u), n)
        return ce(z, y) + (F.cross_entropy(zs, label, reduction='none')*(valid&(conf>=.95))).sum()/valid.sum()

    def unimatch(self, *batch): return self.fixmatch(*batch, n=2)

    def strong_logits(self, x, nu, n):
        net = self.nets['junior']
        with own_statistics(net):
            if n==1: return net(x).logits
            f,k = net.encode(x),len(net.widths)
            masks = {c:complementary_masks(nu, c, x.device) for c in set(net.widths)}
            f[-k:] = [o*masks[o.shape[1]][:,:,None,None] for o in f[-k:]]
            return net.decode(f, x.shape[-2:]).logits

    def cps(self, x, y, u, pad):
        pseudo = {k:read(net, u).logits.softmax(1).max(1) for k,net in self.nets.items()}
        s,valid,box = self.views(u, pad)
        out = {k:net(torch.cat([x, s])) for k,net in self.nets.items()}
        loss,n,both = 0,len(x),torch.cat([y!=IGNORE, valid])
        for k,o in zip(self.nets, reversed(self.nets)):
            conf,label = (cutmix(t, box) for t in pseudo[o])
            z = out[k].logits
            loss = loss + .5*ce(z[:n], y) + .5*(F.cross_entropy(z[n:], label, reduction='none')*(valid&(conf>=0))).sum()/valid.sum()
            if not self.adapt: continue
            f,g = self.adapt[k](out[k].features[-1]),out[o].features[-1].detach()
            share = F.adaptive_avg_pool2d(both.float(), g.shape[-2:])
            loss = loss + .1*((1-F.cosine_similarity(f, g))*share).sum()/share.sum() + .1*kl(z, out[o].logits, both)
        return loss

    segkc = cps

    def gta(self, x, y, u, pad):
        conf,label = read(self.ema['teacher'], u).logits.softmax(1).max(1)
        s,valid,box = self.views(u, pad)
        z,a = self.nets['junior'](x).logits,self.both('assistant', x, s)[1].logits
        return ce(z, y) + assistant_loss(a, cutmix(label, box), cutmix(conf, box), valid)

    def mkd(self, x, y, u, pad):
        n,pairs = len(x),(('senior','junior'),('junior','senior'))
        taught = {k:read(e, torch.cat([x, u])) for k,e in self.ema.items()}
        s,valid,box = self.views(u, pad)
        out = {k:net(torch.cat([x, s])) for k,net in self.nets.items()}
        half = lambda t: F.interpolate(t, scale_factor=.5, mode='bilinear')
        mix = lambda t: torch.cat([t[:n], cutmix(t[n:], box[:,::8,::8])])
        gt,valid = y[:,::8,::8],valid[:,::8,::8]
        both,zs = torch.cat([gt!=IGNORE, valid]),{}
        for k,o in (out|taught).items():
            z,f,net = half(o.coarse),half(o.embedding.detach()),(self.nets|self.ema)[k]
            if k in taught: z,f = mix(z),mix(f)
            zs[k] = augmented(z, f, gt, valid, net.classifier.weight[:,:,0,0], self.cov[f'{k}_classes'], .5)
        loss = sum(.5*ce(out[a].logits[:n], y) for a,_ in pairs)
        for a,b in pairs: loss = loss + .3*ce(zs[a], zs[f'{b}_teacher'].argmax(1), both) + .2*ce(zs[a], zs[b].argmax(1), both)
        return loss

def now():
    "Seconds of the processor; with a GPU seconds, when all its work so far is done"
    if not torch.cuda.is_available(): return process_time()
    torch.cuda.synchronize()
    return perf_counter()

class Alternate(Callback):
    "Runs one step of the bare loop after each step of the learner; both include loading"
    order,run_valid = 1000,False
    def __init__(self, method): self.method = method
    def before_fit(self):
        self.bare = Bare(self.method, self.model, self.dls.strong)
        self.pairs,self.semi = [],self.dls.unlabelled
    def before_train(self): self.it,self.t = zip(self.dls.train, self.semi) if self.method!='supervised' else ((b, ()) for b in self.dls.train),now()
    def after_batch(self):
        ours,t = now()-self.t,now()
        b = next(self.it, None)
        if b is None: return
        self.bare(*(o.as_subclass(torch.Tensor) for p in b for o in p), *[None]*(2 if self.method=='supervised' else 0))
        self.t = now()
        self.pairs.append((ours, self.t-t))

SYNC = {'aten::_local_scalar_dense','aten::nonzero','aten::masked_select','aten::_unique2','aten::is_nonzero','aten::equal'}

def waits(op, args):
    "Must the host wait for the device? Indexing with a boolean mask counts as well"
    return op in SYNC or op in ('aten::index','aten::index_put_') and any(o is not None and o.dtype==torch.bool for o in args[1])

class Syncs(TorchDispatchMode):
    "Counts operations for which the host waits for the device, separately for our code and fastai's"
    def __init__(self):
        super().__init__()
        self.ours,self.fastai = [],[]
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if waits(func.name().split('.')[0], args):
            own = [f for f in traceback.extract_stack() if 'segkc_fastai/' in f.filename or '/fastai/' in f.filename]
            (self.ours if own and 'segkc_fastai/' in own[-1].filename else self.fastai).append(f'{Path(own[-1].filename).name}:{own[-1].lineno}' if own else '?')
        return func(*args, **(kwargs or {}))

class CountSyncs(Callback):
    "Counts over the whole step, from the first callback to the last"
    order,run_valid = -1000,False
    def before_batch(self):
        self.mode = Syncs()
        self.mode.__enter__()
    def after_cancel_batch(self): self.mode.__exit__(None, None, None)

class StopCounting(Callback):
    order,run_valid = 1000,False
    def after_batch(self): self.learn.count_syncs.mode.__exit__(None, None, None)

def small_learner(data, name, cbs, device='cpu'):
    set_seed(0)
    c = Scenes(data, method_args={'warmup':0, 'ramp':0, 'paste':False, 'self_training.first':0})
    dls = SemiDataLoaders.from_folder(data, labelled=c.labelled, size=c.size, bs=c.bs, scale=c.scale, device=device)
    dls.loaders[1] = dls.valid.new(dls.valid.dataset, n=8)
    arm = method_arms(['segkc', name], c)[name]
    return dual_learner(dls, c.junior, arm['senior'], make_method(name, **arm['method_args']), pretrained=False, cbs=cbs)

def bench_methods(names=tuple(METHODS), rounds=2):
    names,times,syncs,threads = list(names),{},{},torch.get_num_threads()
    torch.set_num_threads(1)
    data = write_scenes(ROOT/'data'/'scenes', size=Scenes.scene)
    for name in names*rounds:
        with (learn := small_learner(data, name, [alt := Alternate(name)])).no_logging(), learn.no_bar(): learn.fit(1)
        times[name] = times.get(name, [])+alt.pairs[3:]
    for name in names:
        with (learn := small_learner(data, name, [count := CountSyncs(), StopCounting()])).no_logging(), learn.no_bar(): learn.fit(1)
        syncs[name] = count.mode.ours
    torch.set_num_threads(threads)
    rows = []
    for name,t in times.items():
        ours,bare = (round(1e3*statistics.median(o)) for o in zip(*t))
        rows.append({'method':name, 'learner, ms per step':ours, 'bare loop, ms per step':bare, 'median ratio':f'{statistics.median(a/b for a,b in t):.3f}', 'pairs':len(t)})
        print(*rows[-1].values(), len(syncs[name]), *syncs[name])
    if names==list(METHODS) and not torch.cuda.is_available():
        with replacing(RESULTS/'step_cost.csv') as f: pd.DataFrame(rows).to_csv(f, index=False)
    if {'cps','segkc'}<=set(names): print('\nDuration of a segkc step in cps steps:', round(statistics.median(a for a,_ in times['segkc'])/statistics.median(a for a,_ in times['cps']), 3))

PAIRS = [('tf_efficientnet_lite0+segformer:64','tf_efficientnet_lite2+segformer:128'), ('mobilenetv4_conv_small+segformer:64','resnet18d+segformer:64')]

def timed(f, *args):
    t = perf_counter()
    f(*args)
    return perf_counter()-t

def step_variants(cohort, strong):
    "The bare loop of SegKC in several memory layouts and precisions: name → function of a batch"
    make = {k:Bare('segkc', cohort, strong) for k in ('plain','channels-last','compiled','bf16')}
    for k,bare in make.items():
        layout = torch.contiguous_format if k=='plain' else torch.channels_last
        for net in bare.nets.values(): net.to(memory_format=layout)
        if k=='compiled':
            for net in bare.nets.values(): net.encoder.compile(), net.decoder.compile()
    def in_bf16(*batch):
        with torch.autocast('cpu', torch.bfloat16): return make['bf16'](*batch)
    return make | dict(bf16=in_bf16)

def reading(net, x, mode):
    with mode(): net(x)

def bench_laptop(rounds=9, size=(160,208)):
    data = write_scenes(Path(tempfile.mkdtemp())/'scenes', n_train=16, n_val=2, n_test=1, size=size)
    dls = SemiDataLoaders.from_folder(data, labelled=8, size=size, bs=4, device='cpu')
    batch,threads = [o.as_subclass(torch.Tensor) for dl in (dls.train, dls.unlabelled) for o in next(iter(dl))],torch.get_num_threads()
    print('| junior, senior | cores | step | seconds | plain / this | first step, s |\n|---|---:|---|---:|---:|---:|')
    for n in (1,2):
        for pair in PAIRS:
            torch.set_num_threads(n)
            torch._dynamo.reset()
            set_seed(0)
            cohort = dual_learner(dls, *pair, make_method('segkc', warmup=0, ramp=0), pretrained=False).model
            work = step_variants(cohort, dls.strong)
            first = {k:timed(f, *batch) for k,f in work.items()}
            times = [{k:timed(f, *batch) for k,f in work.items()} for _ in range(rounds)][1:]
            for k in work: print(f'| {", ".join(o.split("+")[0] for o in pair)} | {n} | {k} | {statistics.median(t[k] for t in times):.3f} | {statistics.median(t["plain"]/t[k] for t in times):.2f} | {first[k]:.0f} |', flush=True)
            net,modes = cohort['senior'].eval(),(torch.no_grad, torch.inference_mode)
            read = [[timed(reading, net, batch[2], m) for m in modes] for _ in range(rounds)][1:]
            print(f'labels under no_grad / inference_mode: {statistics.median(a/b for a,b in read):.2f}', flush=True)
    torch.set_num_threads(threads)

def bench_demo(seeds=(0,1,2)):
    data = write_scenes(ROOT/'data'/'demo', size=Demo.scene)
    with redirect_stdout(io.StringIO()): df = compare(Demo(data), ROOT/'runs'/'demo-seeds', ['supervised','segkc'], seeds=seeds)
    print(results_table(df))
    miou = df.pivot(index='seed', columns='arm', values='miou')
    gain = miou.segkc-miou.supervised
    print(f'\nGain of the junior: {gain.mean():+.1f} points, seed by seed {", ".join(f"{o:+.1f}" for o in gain)}')

def bench_metrics(rounds=11):
    set_seed(0)
    k = 21
    z,y = torch.randn(8,k,512,512),torch.randint(0,k,(8,512,512))
    y[torch.rand(y.shape)<.05] = IGNORE
    learn,ours,jaccard,tm = SimpleNamespace(pred=z, y=y),Confusion(k),JaccardCoeffMulti(),MulticlassConfusionMatrix(k, ignore_index=IGNORE)
    jaccard.reset()
    work = {'argmax':lambda: z.argmax(1), 'update':lambda: ours.update(class_map(z), y), 'fastai JaccardCoeffMulti':lambda: jaccard.accumulate(learn), 'torchmetrics':lambda: tm.update(z, y)}
    times = {n:[] for n in work}
    for _ in range(rounds):
        for n,f in work.items():
            t = perf_counter()
            f()
            times[n].append(perf_counter()-t)
    assert (tm.compute()==ours.matrix).all()
    med = {n:statistics.median(t[1:]) for n,t in times.items()}
    print('| 8×21×512×512 logits | ms | relative to argmax | relative to update |\n|---|---:|---:|---:|')
    for n,t in med.items(): print(f'| {n} | {1e3*t:.0f} | {t/med["argmax"]:.2f} | {t/med["update"]:.2f} |')

class AsReleased(SegDataset):
    "The same scale, crop and flip, on whole images"
    def __getitem__(self, i):
        p,rng,(h,w) = self.pairs[i],np.random.default_rng((self.seed, self.epoch, i)),self.view.size
        x = Image.open(p.image).convert('RGB')
        y = Image.open(p.mask) if p.mask else Image.fromarray(np.zeros(x.size[::-1], np.uint8))
        s = rng.uniform(*self.view.scale)
        W,H = (max(round(n*s), 1) for n in x.size)
        pad = (0, 0, max(w-W, 0), max(h-H, 0))
        x,y = (ImageOps.expand(o.resize((W,H), how), pad, fill) for o,how,fill in ((x, Image.BILINEAR, 0), (y, Image.NEAREST, IGNORE)))
        left,top = (rng.integers(n-m+1) for n,m in zip(x.size, (w,h)))
        x,y = (o.crop((left, top, left+w, top+h)) for o in (x, y))
        if rng.random()<self.view.flip: x,y = (o.transpose(Image.FLIP_LEFT_RIGHT) for o in (x, y))
        return torch.from_numpy(np.array(x).transpose(2,0,1).copy()),torch.from_numpy(np.array(y))

def images_a_second(ds):
    it = iter(torch.utils.data.DataLoader(ds, 8, num_workers=2, collate_fn=len)) # images stay in the worker
    next(it) # waits until the workers have started
    t = perf_counter()
    return sum(it)/(perf_counter()-t)

def waiting(method):
    "Share of the training time of an epoch spent waiting for batches"
    spent,plain = [],SegDL.__iter__
    def timed(self):
        it = plain(self)
        while True:
            t = perf_counter()
            b = next(it, None)
            spent.append(perf_counter()-t)
            if b is None: return
            yield b
    class Epoch(Callback):
        order = -1000
        def before_train(self): self.start = perf_counter()
        def after_train(self): self.took,self.waited = perf_counter()-self.start,sum(spent)
    SegDL.__iter__ = timed
    try:
        with (learn := small_learner(write_scenes(ROOT/'data'/'scenes', size=Scenes.scene), method, [e := Epoch()])).no_logging(), learn.no_bar(): learn.fit(1)
    finally: SegDL.__iter__ = plain
    return e.waited/e.took

def bench_loading(rounds=3):
    src = folder_source(write_scenes(Path(tempfile.mkdtemp())/'scenes', n_train=48, n_val=1, n_test=1, size=(375,500)))
    pairs = [o for p in src.train for o in (p, Pair(p.image))]*8
    print('| crop | images per second | as released | median ratio |\n|---|---:|---:|---:|')
    for size in ((321,321), (518,518)):
        sets = [f(pairs, src.task, WeakView(size)) for f in (SegDataset, AsReleased)]
        a,b = zip(*([images_a_second(ds) for ds in sets] for _ in range(rounds)))
        print(f'| {size[0]}×{size[1]} | {statistics.median(a):.0f} | {statistics.median(b):.0f} | {statistics.median(x/y for x,y in zip(a, b)):.2f} |')
    print('\nWaiting for data, on the CPU: '+', '.join(f'{k} {100*waiting(k):.1f} %' for k in ('supervised','cps','segkc')))

class TimedRecorder(ProbeRecorder):
    "Keeps the duration of each record in seconds"
    took = ()
    def record(self, ended=False):
        t = perf_counter()
        super().record(ended)
        self.took += (perf_counter()-t,)

def bench_probe(epochs=2):
    "Uses the recipe of the scenes; the duration of an epoch is `seconds` in history.csv"
    data,out,n = write_scenes(ROOT/'data'/'scenes', size=Scenes.scene),Path(tempfile.mkdtemp())/'run',16
    watch = TimedRecorder(out, n)
    with redirect_stdout(io.StringIO()): run = train_run(out, Scenes(data, epochs=epochs, probe=0), watch, device='cpu')
    probe = Probe(run)
    pixels,size = len(probe.networks)*sum(h*w for h,w in probe.sizes),[o.stat().st_size for o in (out/'probe').glob('*.npz')]
    print('| networks | images | ms per record | share of the epoch, % | bytes per pixel, image and network | compressed | KiB per record |\n|---:|---:|---:|---:|---:|---:|---:|')
    share = 100*sum(watch.took)/run.history.seconds.sum()
    print(f'| {len(probe.networks)} | {n} | {1e3*statistics.mean(watch.took):.0f} | {share:.2f} | 2 | {statistics.mean(size)/pixels:.2f} | {statistics.mean(size)/1024:.0f} |')

def bench_export(rounds=7):
    x = np.random.default_rng(0).integers(0, 256, (1,3,512,512), dtype=np.uint8)
    print('| junior | eager PyTorch, ms | ONNX, ms | median ratio | file, MB |\n|---|---:|---:|---:|---:|')
    for spec in ('mobilenetv4_conv_small','pvt_v2_b0+segformer','vit_small_patch14_dinov2+dpt'):
        f = Path(tempfile.mkdtemp())/'junior.safetensors'
        save_segmenter(net := segmenter(spec, 21, pretrained=False), f, task=Task([f'class {i}' for i in range(21)]).to_dict())
        onnx = export(f)
        nets,times = (Deployed(net),OnnxNet(onnx).logits),[]
        for _ in range(rounds):
            t = [perf_counter()]
            with torch.no_grad(): nets[0](torch.from_numpy(x))
            t.append(perf_counter())
            nets[1](x)
            times.append((t[1]-t[0], perf_counter()-t[1]))
        ours,theirs = (1e3*statistics.median(o) for o in zip(*times[1:]))
        print(f'| {spec_of(net)} | {ours:.0f} | {theirs:.0f} | {statistics.median(b/a for a,b in times[1:]):.2f} | {onnx.stat().st_size/2**20:.1f} |')

BENCHES = dict(methods=bench_methods, laptop=bench_laptop, demo=bench_demo, metrics=bench_metrics, loading=bench_loading)
BENCHES |= dict(probe=bench_probe, export=bench_export)

if __name__=='__main__':
    warnings.filterwarnings('ignore')
    asked = sys.argv[1:] or list(BENCHES)
    for k in asked:
        if k in BENCHES: BENCHES[k]()
    if some := [k for k in asked if k not in BENCHES]: bench_methods(some)
