"""Costs of training on a GPU, in the docs by way of nbs/results: `python tests/gpu.py [NAME …]` with names of BENCHES.

`methods`: a step of the learner against the hand-written loop, as in tests/bench.py; and how often the host waits for the
device in a step of the learner, as PyTorch counts it.

`rates`: images a second and peak memory of SegKC and UniMatch V2, from files to updated weights, as learner and as
hand-written loop, both in bf16 on scenes: a pair of EfficientNet-Lite at 240 × 320, and DINOv2-S with DPT, whose senior is
DINOv2-B, at 518 × 518; 8 labelled and 8 unlabelled images a step. Networks are not pretrained."""
import statistics, sys, tempfile, warnings
from collections import Counter
from itertools import islice
from pathlib import Path
import pandas as pd, torch
from fastai.callback.core import Callback, CancelFitException
from fastai.torch_core import set_seed
from bench import Alternate, Bare, now, small_learner
from segkc_fastai.core.files import write_text
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.methods.registry import METHODS, make_method
from segkc_fastai.runs.recipes import Scenes
from segkc_fastai.runs.training import hardware
from segkc_fastai.train.learner import dual_learner

RESULTS = Path(__file__).resolve().parents[1]/'nbs'/'results'
SKIPPED,TIMED = 8,24 # steps
HEADS = 'method','learner, ms per step','bare loop, ms per step','median ratio','waits per step'
NETWORKS = {(240,320):('tf_efficientnet_lite0+segformer:64','tf_efficientnet_lite2+segformer:128'),
    (518,518):('vit_small_patch14_dinov2+dpt','vit_base_patch14_dinov2+dpt')}

class Waits(Callback):
    "Counts where the host waits for the device, over the steps after the first `SKIPPED`"
    order,run_valid,places = -1000,False,()
    def before_batch(self):
        if self.iter!=SKIPPED: return
        self.caught = warnings.catch_warnings(record=True)
        self.seen = self.caught.__enter__()
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
    def after_train(self):
        torch.cuda.set_sync_debug_mode('default')
        self.caught.__exit__(None, None, None)
        found = Counter(f'{Path(o.filename).name}:{o.lineno}' for o in self.seen if 'synchronizing' in str(o.message))
        self.places = {k:n/(self.iter+1-SKIPPED) for k,n in found.items()}

def bench_methods(names=tuple(METHODS)):
    data,rows = write_scenes(Path(tempfile.mkdtemp())/'scenes', size=Scenes.scene),[]
    for name in names:
        with (learn := small_learner(data, name, [alt := Alternate(name)], 'cuda')).no_logging(), learn.no_bar(): learn.fit(1)
        ours,bare = zip(*alt.pairs[SKIPPED:])
        with (learn := small_learner(data, name, [waits := Waits()], 'cuda')).no_logging(), learn.no_bar(): learn.fit(1)
        pair = (round(1e3*statistics.median(o), 1) for o in (ours,bare))
        ratio,n = statistics.median(a/b for a,b in zip(ours, bare)),sum(waits.places.values())
        rows.append(dict(zip(HEADS, (name, *pair, round(ratio, 3), round(n, 2)))))
        print(rows[-1], waits.places, flush=True)
    return pd.DataFrame(rows)

class Clock(Callback):
    "Seconds for a step after the first `SKIPPED`; ends the fit"
    order = 1000
    def after_batch(self):
        if self.iter==SKIPPED: self.start = now()
        if self.iter==SKIPPED+TIMED:
            self.took = (now()-self.start)/TIMED
            raise CancelFitException

def rate_of_learner(learn):
    learn.add_cb(clock := Clock())
    with learn.to_bf16().no_logging(), learn.no_bar(): learn.fit(1)
    return clock.took

def rate_of_loop(learn, method):
    bare,dls = Bare(method, learn.model, learn.dls.strong),learn.dls
    for i,b in enumerate(islice(zip(dls.train, dls.unlabelled), SKIPPED+TIMED+1)):
        with torch.autocast('cuda', torch.bfloat16): bare(*(o.as_subclass(torch.Tensor) for p in b for o in p))
        if i==SKIPPED: start = now()
    return (now()-start)/TIMED

def bench_rates(bs=8):
    rows = []
    for size,(junior,senior) in NETWORKS.items():
        data = write_scenes(Path(tempfile.mkdtemp())/'scenes', n_train=bs*(SKIPPED+TIMED+4), n_val=1, n_test=1, size=size)
        for method in ('segkc','unimatch'):
            made = make_method(method, warmup=0, paste=False, **(dict(ramp=0) if method=='segkc' else {}))
            for who in ('learner','bare loop'):
                set_seed(0)
                dls = SemiDataLoaders.from_folder(data, labelled=bs, size=size, bs=bs)
                torch.cuda.empty_cache(), torch.cuda.reset_peak_memory_stats()
                learn = dual_learner(dls, junior, senior if 'senior' in made.members else None, made, pretrained=False)
                took = rate_of_learner(learn) if who=='learner' else rate_of_loop(learn, method)
                rows.append({'networks':junior if method=='unimatch' else f'{junior}, {senior}', 'size':f'{size[0]} × {size[1]}',
                    'method':method, 'loop':who, 'images per second':round(2*bs/took, 1),
                    'peak, GiB':round(torch.cuda.max_memory_allocated()/2**30, 2)})
                print(rows[-1], flush=True)
                del learn
    return pd.DataFrame(rows)

BENCHES = dict(methods=bench_methods, rates=bench_rates)

if __name__=='__main__':
    warnings.filterwarnings('ignore')
    for k in sys.argv[1:] or BENCHES:
        with_card = BENCHES[k]().assign(hardware=hardware())
        write_text(RESULTS/f'gpu_{k}.csv', with_card.to_csv(index=False))
