"""What a training step costs beside a hand-written PyTorch loop of the same work. `make bench`, or `python tests/bench.py METHOD …`.

For each method: steps by the learner and steps of the bare loop (same networks, views, optimizer), alternating in one process, and the median of their ratios. The longer formulas (GTA-Seg's loss,
MKD's augmentation, the channel masks) are the library's in both, so what is measured is the machinery around them. Further how many host-device synchronisations our own code asks for in a step, as far as
they show among dispatched operations (not `.cpu()` or `tolist`); and a SegKC step in CPS steps."""
import copy, statistics, sys, traceback, warnings
from pathlib import Path
from time import perf_counter
import torch, torch.nn.functional as F
from fastai.callback.core import Callback
from fastai.torch_core import set_seed
from torch.utils._python_dispatch import TorchDispatchMode
from segkc_fastai.core.task import IGNORE
from segkc_fastai.compare import method_arms
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.views import cutmix, cutmix_box
from segkc_fastai.demo import DEMO, SCENES
from segkc_fastai.methods.gta import assistant_loss
from segkc_fastai.methods.mkd import ClassCovariance, augmented
from segkc_fastai.methods.table import METHODS, make_method
from segkc_fastai.methods.unimatch import complementary_masks
from segkc_fastai.train.learner import dual_learner

ROOT = Path(__file__).resolve().parents[1]

def ce(z, y, keep=None):
    "Mean over pixels that count, or over `keep` of those that do"
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
    "Each method's step written out: tensors, networks and an optimizer"
    def __init__(self, name, cohort, strong):
        self.nets,self.ema = ({k:copy.deepcopy(m) for k,m in o.items()} for o in (cohort.members, cohort.ema))
        self.adapt = {a.frm:copy.deepcopy(a) for a in cohort.adaptors.values()}
        self.cov = {k:ClassCovariance(len(c.amount), c.mean.shape[1]) for k,c in cohort.statistics.items()}
        self.opt = torch.optim.AdamW([p for m in [*self.nets.values(), *self.adapt.values()] for p in m.parameters()], lr=1e-4, weight_decay=.01)
        self.follows,self.strong,self.work = cohort.follows,strong,getattr(self, name)

    def __call__(self, *batch):
        loss = self.work(*batch)
        loss.backward()
        self.opt.step()
        self.opt.zero_grad()
        self.after()
        return loss.item() # a training loop shows its loss, as fastai's does

    def after(self):
        for k,e in self.ema.items(): follow(e, self.nets[self.follows[k]], .9)
        if 'assistant' not in self.nets: return
        s,a = ([p for k,p in self.nets[m].named_parameters() if not k.startswith('classifier.')] for m in ('junior','assistant'))
        with torch.no_grad(): torch._foreach_lerp_(s, a, .001)

    def views(self, u, pad, n=1):
        u,valid = u.repeat(n, 1, 1, 1),(pad!=IGNORE).repeat(n, 1, 1)
        box = cutmix_box(valid.shape)
        return cutmix(self.strong(u), box),cutmix(valid, box),box

    def supervised(self, x, y, u, pad): return ce(self.nets['junior'](x).logits, y)

    def mean_teacher(self, x, y, u, pad):
        q = read(self.ema['teacher'], u).logits.softmax(1)
        s,valid,box = self.views(u, pad)
        z = self.nets['junior'](torch.cat([x, s])).logits
        d = (z[len(x):].softmax(1)-cutmix(q, box)).pow(2).mean(1)
        return ce(z[:len(x)], y) + (d*valid).sum()/valid.sum()

    def fixmatch(self, x, y, u, pad, n=1):
        conf,label = read(self.ema['teacher'], u).logits.softmax(1).max(1)
        s,valid,box = self.views(u, pad, n)
        conf,label = (cutmix(t.repeat(n, 1, 1), box) for t in (conf, label))
        z = self.forward(torch.cat([x, s]), len(x), len(u), n)
        return ce(z[:len(x)], y) + (F.cross_entropy(z[len(x):], label, reduction='none')*(valid&(conf>=.95))).sum()/valid.sum()

    def unimatch(self, *batch): return self.fixmatch(*batch, n=2)

    def forward(self, x, nl, nu, n):
        net = self.nets['junior']
        if n==1: return net(x).logits
        f,k = net.encode(x),len(net.widths)
        masks = {c:torch.cat([torch.ones(nl, c), complementary_masks(nu, c)]) for c in set(net.widths)}
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
        both,n = torch.cat([x, s]),len(x)
        a,z = (self.nets[k](both).logits for k in ('assistant','junior'))
        return ce(z[:n], y) + assistant_loss(a[n:], cutmix(label, box), cutmix(conf, box), valid)

    def mkd(self, x, y, u, pad):
        n,pairs = len(x),(('senior','junior'),('junior','senior'))
        taught = {k:read(e, torch.cat([x, u])) for k,e in self.ema.items()}
        s,valid,box = self.views(u, pad)
        out = {k:net(torch.cat([x, s])) for k,net in self.nets.items()}
        half = lambda t: F.interpolate(t, [d//2 for d in x.shape[-2:]], mode='bilinear')
        mix = lambda t: torch.cat([t[:n], cutmix(t[n:], box[:,::2,::2])])
        gt,valid = y[:,::2,::2],valid[:,::2,::2]
        both,zs = torch.cat([gt!=IGNORE, valid]),{}
        for k,o in (out|taught).items():
            z,f,net = half(o.logits),F.interpolate(o.embedding, gt.shape[-2:], mode='bilinear'),(self.nets|self.ema)[k]
            if k in taught: z,f = mix(z),mix(f)
            zs[k] = augmented(z, f, gt, valid, net.classifier.weight[:,:,0,0], self.cov[f'{k}_classes'], .5)
        loss = sum(.5*ce(out[a].logits[:n], y) for a,_ in pairs)
        for a,b in pairs: loss = loss + .75*ce(zs[a], zs[f'{b}_teacher'].argmax(1), both) + .5*ce(zs[a], zs[b].argmax(1), both)
        return loss

class Alternate(Callback):
    "After each step of the learner, one of the bare loop; loading is part of both"
    order,run_valid = 1000,False
    def __init__(self, method): self.method = method
    def before_fit(self):
        self.bare = Bare(self.method, self.model, self.dls.strong)
        self.pairs,self.semi = [],self.dls.unlabelled
    def before_train(self): self.it,self.t = zip(self.dls.train, self.semi) if self.method!='supervised' else ((b, ()) for b in self.dls.train),perf_counter()
    def after_batch(self):
        ours,t = perf_counter()-self.t,perf_counter()
        b = next(self.it, None)
        if b is None: return
        self.bare(*(o.as_subclass(torch.Tensor) for p in b for o in p), *[None]*(2 if self.method=='supervised' else 0))
        self.t = perf_counter()
        self.pairs.append((ours, self.t-t))

SYNC = {'aten::_local_scalar_dense','aten::nonzero','aten::masked_select','aten::_unique2','aten::is_nonzero','aten::equal'}

def waits(op, args):
    "Must the host wait for a device? Also where a mask of bools is an index"
    return op in SYNC or op in ('aten::index','aten::index_put_') and any(o is not None and o.dtype==torch.bool for o in args[1])

class Syncs(TorchDispatchMode):
    "Counts operations for which the host has to wait for a device, by who asks: our code or fastai's"
    def __init__(self):
        super().__init__()
        self.ours,self.fastai = [],[]
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if waits(func.name().split('.')[0], args):
            own = [f for f in traceback.extract_stack() if 'segkc_fastai/' in f.filename or '/fastai/' in f.filename]
            (self.ours if own and 'segkc_fastai/' in own[-1].filename else self.fastai).append(f'{Path(own[-1].filename).name}:{own[-1].lineno}' if own else '?')
        return func(*args, **(kwargs or {}))

class CountSyncs(Callback):
    "Counts during whole steps, from the first callback to the last"
    order,run_valid = -1000,False
    def before_batch(self):
        self.mode = Syncs()
        self.mode.__enter__()
    def after_cancel_batch(self): self.mode.__exit__(None, None, None)

class StopCounting(Callback):
    order,run_valid = 1000,False
    def after_batch(self): self.learn.count_syncs.mode.__exit__(None, None, None)

def small_learner(data, name, cbs):
    set_seed(0)
    keys = {k:DEMO[k] for k in ('labelled','size','bs','scale')}
    dls = SemiDataLoaders.from_folder(data, **keys, device='cpu')
    dls.loaders[1] = dls.valid.new(dls.valid.dataset, n=8)
    arm = method_arms([name], DEMO['junior'], DEMO['senior'], dict(warmup=0, ramp=0))[name]
    return dual_learner(dls, arm['junior'], arm['senior'], make_method(name, **arm['method_args']), pretrained=False, cbs=cbs)

def bench(data, names, rounds=2):
    times,syncs = {},{}
    for name in names*rounds:
        with (learn := small_learner(data, name, [alt := Alternate(name)])).no_logging(), learn.no_bar(): learn.fit(1)
        times[name] = times.get(name, [])+alt.pairs[3:]
    for name in names:
        with (learn := small_learner(data, name, [count := CountSyncs(), StopCounting()])).no_logging(), learn.no_bar(): learn.fit(1)
        syncs[name] = count.mode.ours
    print('| method | learner, ms a step | bare loop, ms | median ratio | pairs | synchronisations of our own |\n|---|---:|---:|---:|---:|---|')
    for name,t in times.items():
        ours,bare = (1e3*statistics.median(o) for o in zip(*t))
        print(f'| {name} | {ours:.0f} | {bare:.0f} | {statistics.median(a/b for a,b in t):.3f} | {len(t)} | {len(syncs[name])} {", ".join(syncs[name])} |')
    if {'cps','segkc'}<=set(names): print('\nA step of segkc in steps of cps:', round(statistics.median(a for a,_ in times['segkc'])/statistics.median(a for a,_ in times['cps']), 3))

if __name__=='__main__':
    warnings.filterwarnings('ignore')
    bench(write_scenes(ROOT/'data'/'scenes', **SCENES), sys.argv[1:] or list(METHODS))
