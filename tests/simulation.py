"""Which images to label next, by simulation: `python tests/simulation.py [DATA …]`, with data of SETTINGS.

Each chain begins with the same 8 labelled images of a seed. Rounds of training and choosing 8 more follow, whose masks
are the ground truth. Trainings of a data set are equally long and start from the encoders' pretrained weights. Runs are
in runs/simulation, where an interrupted simulation resumes, and several processes share it; the results of complete
rounds are in nbs/results/next.csv, and drawn in nbs/images/next_labels.png. For nuclei and camvid, $SEGKC_DATA is the
folder that holds them, or shared/data beside the repository; the scenes are drawn."""
import os, sys, warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
import matplotlib.pyplot as plt, pandas as pd, seaborn as sns
from filelock import FileLock
from segkc_fastai.data.benchmarks import load_source
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.splits import split_source, write_list
from segkc_fastai.label.suggest import suggest
from segkc_fastai.runs.evaluating import result
from segkc_fastai.runs.grid import find_or_train
from segkc_fastai.runs.recipes import recipe
from segkc_fastai.view.figures import PAGE, outside_legend, save_figure, styled
from studies import DATA, RESULTS, ROOT, put, write_rows

RUNS,TABLE = Path('runs')/'simulation',RESULTS/'next.csv'
PICTURE = ROOT/'nbs'/'images'/'next_labels.png'
SEEDS,COUNTS = (0,1,2),(8,16,24,32,40) # labelled images after each round
PLAIN = dict(rarity=False, coverage=False)
CHOICES = dict(random=dict(by='random')) | {k:dict(by=k, **PLAIN) for k in ('entropy','disagreement')}
CHOICES |= {'disagreement, rarity, coverage':dict(by='disagreement')}
SETTINGS = dict(nuclei=dict(epochs=2), camvid=dict(epochs=3), scenes=dict(epochs=4))

def settings(data):
    "`RunConfig` of all trainings"
    folder = DATA/data
    if data=='scenes': folder = write_scenes(RUNS/'data'/'scenes', n_train=200, n_val=20, n_test=100, size=recipe(data).scene)
    return replace(recipe(data)(str(folder)), **SETTINGS[data], probe=0, checkpoint=None)

def trained(path, config):
    "The run at `path`; another process may be training it"
    with FileLock(f'{path}.lock'): return find_or_train(path, config)

def rounds(data, choice, seed):
    "One row per round of a chain"
    config,how = settings(data),CHOICES[choice]
    src = load_source(config.data)
    known,labelled = {p.name:p for p in src.train},list(split_source(src, COUNTS[0], seed=seed).labelled)
    for n in COUNTS:
        arm = 'start' if n==COUNTS[0] else f'choice{list(CHOICES).index(choice)}-{n}'
        path = RUNS/data/f'{arm}-seed{seed}'
        write_list(path.with_suffix('.txt'), labelled, f'{choice}, {n} images, seed {seed}')
        run = trained(path, replace(config, labelled=str(path.with_suffix('.txt')), seed=seed))
        what = dict(data=data, choice=choice, seed=seed, labelled=n, miou=result(run, 'test').miou)
        yield what | dict(steps=config.epochs*run.facts.steps, hardware=run.facts.hardware)
        if n<COUNTS[-1]: labelled += [known[k] for k in suggest(run, COUNTS[1]-COUNTS[0], **how, seed=seed).name]

def simulate(data, choice, seed):
    "Write the rows of a chain, unless another process does"
    write_rows(RUNS/data/f'{list(CHOICES).index(choice)}-{seed}.csv', partial(rounds, data, choice, seed))

def gather(data):
    "Put the rounds that all chains of a data set have into the table"
    df = pd.concat([pd.read_csv(o) for o in sorted((RUNS/data).glob('*.csv'))], ignore_index=True)
    whole = df.groupby('labelled').choice.transform('size')==len(CHOICES)*len(SEEDS)
    put(TABLE, df[whole])

@styled
def choice_curves(df):
    "mIoU over labelled images, a panel per data set: the mean of each choice, and its seeds as thin lines; returns the figure"
    sets = list(dict.fromkeys(df.data))
    fig,axs = plt.subplots(1, len(sets), figsize=(PAGE, 2.6), layout='constrained', squeeze=False)
    for ax,data in zip(axs[0], sets):
        for (k,o),col in zip(df[df.data==data].groupby('choice', sort=False), sns.color_palette('colorblind')):
            for _,one in o.groupby('seed'): ax.plot(one.labelled, one.miou, color=col, lw=.6, alpha=.5)
            ax.plot(o.groupby('labelled').miou.mean(), 'o-', color=col, lw=1.8, ms=4, label=k)
        ax.set(title=data, xlabel='labelled images', ylabel='mIoU, %', xticks=sorted(set(df.labelled[df.data==data])))
    outside_legend(fig, *axs[0,0].get_legend_handles_labels())
    return fig

if __name__=='__main__':
    warnings.filterwarnings('ignore')
    os.chdir(ROOT)
    for data in sys.argv[1:] or SETTINGS:
        for s in SEEDS:
            for k in CHOICES: simulate(data, k, s)
        gather(data)
    save_figure(choice_curves(pd.read_csv(TABLE)), PICTURE)
