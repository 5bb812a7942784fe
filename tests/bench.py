"""What the library costs and what co-training gains. `make bench` runs both parts; `python tests/bench.py step` or `gain` one.

step: one training step of CPS and of SegKC by the learner against a hand-written PyTorch loop of the same work (same networks, views, losses, optimizer), alternating in one process;
      SegKC's step against that of CPS; and the host-device synchronisations that our own code asks for in a step.
gain: labelled-only, CPS and SegKC on the scenes, seeds 0, 1 and 2."""
import copy, statistics, sys, tempfile, time, traceback, warnings
from pathlib import Path
import torch, torch.nn.functional as F
from fastai.callback.core import Callback
from fastai.torch_core import set_seed
from torch.utils._python_dispatch import TorchDispatchMode
from segkc_fastai.core.task import IGNORE
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.views import cutmix, cutmix_box
from segkc_fastai.demo import DEMO, SCENES
from segkc_fastai.evaluate.compare import ablation_arms, arms_table, run_arms
from segkc_fastai.methods.table import make_method
from segkc_fastai.train.learner import dual_learner

ROOT = Path(__file__).resolve().parents[1]

def kl(z, t, v): return (F.kl_div(z.log_softmax(1), t.detach().log_softmax(1), reduction='none', log_target=True).sum(1)*v).sum()/v.sum()

def bare_step(nets, adapt, opt, strong, x, y, u, pad):
    "CPS with CutMix, and consultation where there are adaptors, written out: nothing but tensors, two networks and an optimizer"
    valid,pseudo = pad!=IGNORE,{}
    s = strong(u)
    for k,net in nets.items():
        net.eval()
        with torch.no_grad(): pseudo[k] = net(u).logits.softmax(1).max(1)
        net.train()
    box = cutmix_box(valid.shape)
    s,valid = cutmix(s, box),cutmix(valid, box)
    out = {k:net(torch.cat([x, s])) for k,net in nets.items()}
    loss,n,both = 0,len(x),torch.cat([y!=IGNORE, valid])
    for k,o in zip(nets, reversed(nets)):
        conf,label = (cutmix(t, box) for t in pseudo[o])
        z = out[k].logits
        sup = F.cross_entropy(z[:n], y, ignore_index=IGNORE)
        ce = F.cross_entropy(z[n:], label, reduction='none')
        loss = loss + .5*sup + .5*(ce*(valid&(conf>=0))).sum()/valid.sum()
        if not adapt: continue
        f,g = adapt[k](out[k].features[-1]),out[o].features[-1].detach()
        share = F.adaptive_avg_pool2d(both.float(), g.shape[-2:])
        loss = loss + .1*((1-F.cosine_similarity(f, g))*share).sum()/share.sum() + .1*kl(z, out[o].logits, both)
    loss.backward()
    opt.step()
    opt.zero_grad()
    return loss.item() # a training loop shows its loss, as fastai's does

class Alternate(Callback):
    "After each step of the learner, one of the bare loop; loading is part of both"
    order,run_valid = 1000,False
    def before_fit(self):
        self.nets = {k:copy.deepcopy(m) for k,m in self.model.members.items()}
        self.adapt = {a.frm:copy.deepcopy(a) for a in self.model.adaptors.values()}
        self.bare_opt = torch.optim.AdamW([p for m in [*self.nets.values(), *self.adapt.values()] for p in m.parameters()], lr=1e-4, weight_decay=.01)
        self.ours,self.bare = [],[]
    def before_train(self): self.it,self.t = zip(self.dls.train, self.dls.unlabelled),time.perf_counter()
    def after_batch(self):
        self.ours.append(time.perf_counter()-self.t)
        t = time.perf_counter()
        b = next(self.it, None)
        if b is None: return
        bare_step(self.nets, self.adapt, self.bare_opt, self.dls.strong, *(o.as_subclass(torch.Tensor) for p in b for o in p))
        self.t = time.perf_counter()
        self.bare.append(self.t-t)

SYNC = {'aten::_local_scalar_dense','aten::nonzero','aten::masked_select','aten::unique2','aten::is_nonzero','aten::equal'}

class Syncs(TorchDispatchMode):
    "Counts operations for which the host has to wait for a device, by who asks: our code or fastai's"
    def __init__(self):
        super().__init__()
        self.ours,self.fastai = [],[]
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.name().split('.')[0] in SYNC:
            own = [f for f in traceback.extract_stack() if 'segkc_fastai/' in f.filename or '/fastai/' in f.filename]
            (self.ours if own and 'segkc_fastai/' in own[-1].filename else self.fastai).append(f'{own[-1].filename}:{own[-1].lineno}' if own else '?')
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

def small_learner(data, method, cbs):
    set_seed(0)
    keys = {k:DEMO[k] for k in ('labelled','size','bs','scale')}
    dls = SemiDataLoaders.from_folder(data, **keys, device='cpu')
    dls.loaders[1] = dls.valid.new(dls.valid.dataset, n=8)
    return dual_learner(dls, DEMO['junior'], DEMO['senior'], make_method(method, warmup=0, ramp=0), pretrained=False, cbs=cbs)

def step(data, rounds=2):
    times = {}
    for m in ('cps','segkc')*rounds:
        alt = Alternate()
        with (learn := small_learner(data, m, [alt])).no_logging(): learn.fit(1)
        times.setdefault(m, []).extend(list(zip(alt.ours, alt.bare))[3:])
    for m,t in times.items():
        ours,bare = zip(*t)
        print(f'{m} step, {len(t)} pairs: learner {1e3*statistics.median(ours):.0f} ms, bare loop {1e3*statistics.median(bare):.0f} ms, median ratio {statistics.median(a/b for a,b in t):.3f}')
    med = {m:statistics.median(a for a,_ in t) for m,t in times.items()}
    print(f'segkc step to cps step: {med["segkc"]/med["cps"]:.3f}')
    count = CountSyncs()
    with (learn := small_learner(data, 'segkc', [count, StopCounting()])).no_logging(): learn.fit(1)
    print(f'host-device synchronisations in a step of segkc: {len(count.mode.ours)} of our own {count.mode.ours or ""}, {len(count.mode.fastai)} of fastai (its progress bar and running loss)')

def gain(data, seeds=(0,1,2)):
    with tempfile.TemporaryDirectory() as d:
        arms = {k:v for k,v in ablation_arms(DEMO['junior'], DEMO['senior'], DEMO['method_args']).items() if k in ('labelled-only','CPS','SegKC')}
        print(f'\n{arms_table(run_arms(arms, data, d, seeds, **DEMO))}\n\nmIoU of the junior on test, last epoch')

if __name__=='__main__':
    warnings.filterwarnings('ignore')
    data,what = write_scenes(ROOT/'data'/'scenes', **SCENES),sys.argv[1:] or ['step','gain']
    if 'step' in what: step(data)
    if 'gain' in what: gain(data)
