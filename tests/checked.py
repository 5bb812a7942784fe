"""Checked thresholds against fixed ones: `python tests/checked.py [DATA …]`, with data of SETTINGS.

Each run starts from pretrained encoders. It is evaluated on test images after its last epoch; then its labellers read
weak views of all unlabelled images, whose masks the training never read: the share of pixels that their thresholds keep,
and how many of these are right. Runs are in runs/checked, where an interrupted study resumes, and several processes share
it; the rows are in nbs/results/checked.csv. Then witnesses are drawn from these unlabelled images, many times, to see how
often a certificate is wrong: nbs/results/checked_coverage.csv. For nuclei and camvid, $SEGKC_DATA is the folder that holds them, or
shared/data beside the repository; the scenes are drawn."""
import os, sys, warnings
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
import numpy as np, pandas as pd, torch
from segkc_fastai.core.certify import EDGES, class_bounds, kept_and_right, stated_target
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.sources import Pair
from segkc_fastai.methods.checked import edge_counts
from segkc_fastai.methods.registry import make_method
from segkc_fastai.methods.step import pseudo_label
from segkc_fastai.runs.compare import method_arms
from segkc_fastai.runs.evaluating import result
from segkc_fastai.runs.folder import Run, run_loaders
from segkc_fastai.runs.grid import find_or_train
from segkc_fastai.runs.recipes import recipe
from studies import DATA, RESULTS, ROOT, put, write_rows

RUNS = Path('runs')/'checked'
METHODS,SEEDS = ('unimatch','cps','segkc'),(0,1,2)
THRESHOLDS = 0.,.8,.95,'checked:0.8','checked:0.9'
SETTINGS = dict(scenes=dict(labelled='32'), nuclei=dict(labelled='13', epochs=8), camvid=dict(labelled='46', epochs=10))

def settings(data):
    "`RunConfig` of all trainings of a data set"
    folder = DATA/data
    if data=='scenes': folder = write_scenes(RUNS/'data'/'scenes', n_train=240, n_val=20, n_test=100, size=recipe(data).scene)
    return replace(recipe(data)(str(folder)), **SETTINGS[data], probe=0, checkpoint=10)

def last_thresholds(run, labeller):
    "One per class, at the end of a run"
    tau,k = run.config.method_args['threshold'],len(run.task)
    if not (found := stated_target(tau)): return np.full(k, tau)
    rows = run.certificates().query('labeller==@labeller')
    return np.where(rows.certified, rows.threshold, found[1])

@torch.no_grad()
def image_counts(run, labeller, n=400):
    "Wrong and right pixels (images,K,T,2) of a labeller on one weak view of each of at most `n` unlabelled images"
    dls,src = run_loaders(run.config, device='cpu', num_workers=0),run.source()
    masks,net,each = {o.image:o for o in src.train},run.network(labeller),[]
    pairs = [masks[o.image] for o in dict.fromkeys(dls.unlabelled.dataset.pairs)][:n]
    for x,y in dls.weak_dl([Pair(*o) for o in pairs], epoch=1000):
        p = pseudo_label(net(x.as_subclass(torch.Tensor)).logits, None)
        each.append(edge_counts(p.label, p.confidence, y.as_subclass(torch.Tensor), len(run.task)))
    return torch.cat(each).numpy()

def kept_row(run, labeller):
    "Pixels of unlabelled images that the last thresholds of a labeller keep, and how many certificates are true"
    n,tau = image_counts(run, labeller).sum(0)[:,::-1].cumsum(1)[:,::-1],last_thresholds(run, labeller)
    at = [np.searchsorted(EDGES, t) for t in tau] # above the last edge nothing is kept
    kept,right = (np.array([o[k,t] if t<len(EDGES) else 0 for k,t in enumerate(at)]) for o in (n.sum(2), n[...,1]))
    row = dict(labeller=labeller, kept=kept.sum()/n[:,0].sum(), precision=right.sum()/max(kept.sum(), 1))
    if not (found := stated_target(run.config.method_args['threshold'])): return row
    sure = run.certificates().query('labeller==@labeller').certified.to_numpy() & (kept>0)
    return row | dict(certified=sure.sum(), true=(right[sure]>=found[0]*kept[sure]).sum(), worst=(right[sure]/kept[sure]).min() if sure.any() else np.nan)

def rows_of(data, method, threshold, seed):
    "Train a run, unless it exists, and describe it: one row per labeller"
    config = settings(data)
    arm = method_arms([method], config.comparison())[method]
    args = arm.get('method_args', {}) | dict(threshold=threshold)
    run = find_or_train(RUNS/data/run_name(method, threshold, seed), replace(config, **arm | dict(method_args=args), seed=seed))
    what = dict(data=data, method=method, threshold=threshold, seed=seed, miou=result(run, 'test').miou, steps=run.config.epochs*run.facts.steps)
    return [what | kept_row(run, k) for k in make_method(method, **run.config.method_args).keeps]

def run_name(method, threshold, seed): return f'{method}-{str(threshold).replace(":", "_")}-seed{seed}'

def coverage(run, labeller, rng, draws=400):
    "How often a class gets a certificate, and a wrong one, with so many images as witnesses: one row per number and target"
    kept,right = kept_and_right(image_counts(run, labeller))
    true = right.sum(-1)/np.maximum(kept.sum(-1), 1)
    for images,target in product((5,10,20), (.8,.9,.95)):
        drawn = (rng.choice(kept.shape[-1], images, replace=False) for _ in range(draws))
        ok = np.array([class_bounds(kept[...,i], right[...,i])[1]>=target for i in drawn]) # (draws,K,T)
        sure,at = ok.any(-1),ok.argmax(-1)
        wrong = sure & (np.take_along_axis(true[None], at[...,None], -1)[...,0]<target)
        yield dict(images=images, target=target, certified=sure.mean(), wrong=wrong.mean(), worst_class=wrong.mean(0).max())

def all_coverage(data):
    "Of the labellers of the runs with a fixed threshold of 0.8, seed 0"
    for method in METHODS[:2]:
        if not (path := RUNS/data/run_name(method, .8, 0)).exists(): continue
        run = Run(path)
        for k in make_method(method).keeps:
            yield from (dict(data=data, method=method, labeller=k) | o for o in coverage(run, k, np.random.default_rng(0)))

if __name__=='__main__':
    warnings.filterwarnings('ignore')
    os.chdir(ROOT)
    sets = sys.argv[1:] or SETTINGS
    for seed,data,method,tau in product(SEEDS, sets, METHODS, THRESHOLDS):
        file = RUNS/data/f'{run_name(method, tau, seed)}.csv'
        if not file.exists(): write_rows(file, partial(rows_of, data, method, tau, seed))
    for o in sets:
        put(RESULTS/'checked.csv', pd.concat([pd.read_csv(f) for f in sorted((RUNS/o).glob('*.csv'))]), float_format='%.4f')
        put(RESULTS/'checked_coverage.csv', pd.DataFrame(all_coverage(o)), float_format='%.4f')
