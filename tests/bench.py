"""What the library costs and what co-training gains. `make bench` runs both parts; `python tests/bench.py step` or `gain` one.

step: one CPS training step of the learner against a hand-written PyTorch loop of the same work (same networks, views, losses, optimizer), alternating in one process;
      and the host-device synchronisations that our own code asks for in a step.
gain: the demo's comparison for seeds 0, 1 and 2."""
import copy, statistics, sys, time, traceback, warnings
from pathlib import Path
import torch, torch.nn.functional as F
from fastai.callback.core import Callback
from fastai.torch_core import set_seed
from torch.utils._python_dispatch import TorchDispatchMode
from segkc_fastai.core.task import IGNORE
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.views import cutmix, cutmix_box
from segkc_fastai.demo import ARMS, DEMO, SCENES, compare_arms
from segkc_fastai.methods.cps import cps
from segkc_fastai.train.learner import dual_learner

ROOT = Path(__file__).resolve().parents[1]

def bare_step(nets, opt, strong, x, y, u, pad):
    "CPS with CutMix written out: nothing but tensors, two networks and an optimizer"
    valid,pseudo = pad!=IGNORE,{}
    s = strong(u)
    for k,net in nets.items():
        net.eval()
        with torch.no_grad(): pseudo[k] = net(u).logits.softmax(1).max(1)
        net.train()
    box = cutmix_box(valid.shape)
    s,valid = cutmix(s, box),cutmix(valid, box)
    out = {k:net(torch.cat([x, s])).logits for k,net in nets.items()}
    loss,n = 0,len(x)
    for k,o in zip(nets, reversed(nets)):
        conf,label = (cutmix(t, box) for t in pseudo[o])
        sup = F.cross_entropy(out[k][:n], y, ignore_index=IGNORE)
        ce = F.cross_entropy(out[k][n:], label, reduction='none')
        loss = loss + .5*sup + .5*(ce*(valid&(conf>=0))).sum()/valid.sum()
    loss.backward()
    opt.step()
    opt.zero_grad()
    return loss.item() # a training loop shows its loss, as fastai's does

class Alternate(Callback):
    "After each step of the learner, one of the bare loop; loading is part of both"
    order,run_valid = 1000,False
    def before_fit(self):
        self.nets = {k:copy.deepcopy(m) for k,m in self.model.members.items()}
        self.bare_opt = torch.optim.AdamW([p for m in self.nets.values() for p in m.parameters()], lr=1e-4, weight_decay=.01)
        self.ours,self.bare = [],[]
    def before_train(self): self.it,self.t = zip(self.dls.train, self.dls.unlabelled),time.perf_counter()
    def after_batch(self):
        self.ours.append(time.perf_counter()-self.t)
        t = time.perf_counter()
        b = next(self.it, None)
        if b is None: return
        bare_step(self.nets, self.bare_opt, self.dls.strong, *(o.as_subclass(torch.Tensor) for p in b for o in p))
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

def small_learner(data, cbs):
    set_seed(0)
    keys = {k:DEMO[k] for k in ('labelled','size','bs','scale')}
    dls = SemiDataLoaders.from_folder(data, **keys, device='cpu')
    dls.loaders[1] = dls.valid.new(dls.valid.dataset, n=8)
    return dual_learner(dls, DEMO['junior'], ARMS['co-trained']['senior'], cps(warmup=0, ramp=0), pretrained=False, cbs=cbs)

def step(data):
    alt = Alternate()
    learn = small_learner(data, [alt])
    learn.fit(1)
    ours,bare = alt.ours[3:len(alt.bare)],alt.bare[3:]
    ratios = [a/b for a,b in zip(ours, bare)]
    print(f'\nCPS step, {len(ratios)} pairs: learner {1e3*statistics.median(ours):.0f} ms, bare loop {1e3*statistics.median(bare):.0f} ms, median ratio {statistics.median(ratios):.3f}')
    count = CountSyncs()
    learn = small_learner(data, [count, StopCounting()])
    learn.fit(1)
    print(f'host-device synchronisations in a step: {len(count.mode.ours)} of our own {count.mode.ours or ""}, {len(count.mode.fastai)} of fastai (its progress bar and running loss)')
    return statistics.median(ratios),len(count.mode.ours)

def gain(data, seeds=(0,1,2)):
    import tempfile
    rows = []
    with tempfile.TemporaryDirectory() as d:
        for s in seeds:
            a,b = (r.miou for r in compare_arms(data, Path(d)/str(s), s).values())
            rows.append((s, a, b, b-a))
            print(f'seed {s}: labelled-only {a:.1f}, co-trained {b:.1f}, gain {b-a:+.1f} points of mIoU on test, last epoch')
    mean = [statistics.mean(c) for c in zip(*rows)]
    print('\n'.join(['', '| seed | labelled-only | co-trained | gain |', '|---|---:|---:|---:|', *(f'| {s} | {a:.1f} | {b:.1f} | {g:+.1f} |' for s,a,b,g in rows),
        f'| mean | {mean[1]:.1f} | {mean[2]:.1f} | {mean[3]:+.1f} |']))
    return mean[3]

if __name__=='__main__':
    warnings.filterwarnings('ignore')
    data,what = write_scenes(ROOT/'data'/'scenes', **SCENES),sys.argv[1:] or ['step','gain']
    if 'step' in what: step(data)
    if 'gain' in what: gain(data)
