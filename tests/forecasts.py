"""Are forecasts right? Short trainings, joined with the gains of the full ones in nbs/results. `python tests/forecasts.py`
trains all of TRIALS, or those of the data in its arguments, seed by seed, and writes nbs/results/forecasts.csv and
nbs/images/forecasts.png after each; runs are in runs/forecasts, where an interrupted one resumes. --table writes the rows of
the runs that are there, without training.

The folder with the data, nuclei and camvid, is $SEGKC_DATA, or shared/data beside the repository; scenes are rendered. Gains
are those of the deployed network over labelled-only training: of short trainings on validation images, of full ones on test
images, both as means over the same seeds. The interval of each forecast is widened by the error of the others."""
import os, sys, warnings
from dataclasses import dataclass
from pathlib import Path
import matplotlib.pyplot as plt
import numpy as np, pandas as pd, torch
from segkc_fastai.core.files import replacing
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.runs.folder import Run, read_results
from segkc_fastai.runs.forecast import NO_DIFFERENCE, around, read_validation, resampled, widened
from segkc_fastai.runs.grid import run_path
from segkc_fastai.runs.recipes import Scenes, recipe
from segkc_fastai.runs.trials import LEAST_STEPS, train_pairs
from segkc_fastai.view.figures import COLUMN, save_figure, styled
from studies import DATA, ROOT

RUNS,TABLES = Path('runs')/'forecasts',ROOT/'nbs'/'results'
SEEDS,STEPS = (0,1,2),LEAST_STEPS # of the short trainings; full ones have 872 to 2424 steps

@dataclass
class Trial:
    "Short trainings at one number of labels, and the table with the results of the full ones"
    data:str
    labelled:str
    methods:tuple
    table:str
    share:str=None # as the table spells the number of labels, if it has several
    steps:int=STEPS

    def config(self, method):
        where = 'data/scenes' if self.data=='scenes' else str(DATA/self.data)
        return recipe(self.data)(where, method=method).comparison()

    def path(self, method, seed): return run_path(RUNS/self.data/f'{self.steps}-steps', method, self.labelled, seed)

    def train(self, method, seed): train_pairs(self.config(method), RUNS/self.data, [self.labelled], [seed], self.steps)

    def counts(self, method, seeds): return torch.stack([read_validation(Run(self.path(method, s))).counts for s in seeds])

    def full(self, method, seeds):
        "Gain of the full training; that of all its seeds where the table has only their mean"
        df = read_results(TABLES/f'{self.table}.csv')
        if self.share: df = df[df.labelled==self.share]
        if 'seed' in df: df = df[df.seed.isin(seeds)]
        mean = df.groupby('arm').miou.mean()
        return mean[method]-mean['supervised']

    def row(self, method):
        "Short and full gain over the seeds whose runs are finished, or None"
        done = [s for s in SEEDS if all((self.path(k, s)/'card.md').is_file() for k in ('supervised',method))]
        if not done: return None
        both = torch.stack([self.counts(k, done) for k in ('supervised',method)])
        at,draws = (resampled(both, n)[...,-1] for n in (0, 1000))
        short = [round(o, 2) for o in around(at[0,1]-at[0,0], draws[:,1]-draws[:,0])]
        what = dict(data=self.data, labelled=self.labelled, method=method, seeds=' '.join(map(str, done)), steps=self.steps)
        std = round(float((draws[:,1]-draws[:,0]).std()), 2)
        return what | dict(zip(('short','low','high'), short)) | dict(std=std, full=round(self.full(method, done), 2))

FEW = 'segkc','cps','unimatch'
TRIALS = [Trial('scenes', '63', ('segkc','cps','mkd','gta','mean_teacher','unimatch','fixmatch'), 'scenes')]
TRIALS += [Trial('nuclei', '13', FEW, 'nuclei'), Trial('nuclei', '6', FEW, 'nuclei_6')]
TRIALS += [Trial('camvid', '46', ('segkc','mkd','gta'), 'camvid')]
TRIALS += [Trial('scenes', n, ('segkc','mean_teacher'), 'scenes_shares', s) for n,s in (('31','1/16'), ('125','1/4'))]
TRIALS += [Trial('scenes', '63', ('segkc','cps','gta','mean_teacher'), 'scenes', steps=240)] # too short, to show that

def verdict(gain): return np.sign(gain)*(abs(gain)>=NO_DIFFERENCE)

def error(df): return float(np.sqrt(np.mean((df.short-df.full)**2)))

def add_forecasts(df):
    "Add the forecast of each row, widened by the error of the others of its length, and whether its sign was right"
    for i,r in df.iterrows():
        others = df[(df.steps==r.steps)&(df.index!=i)]
        df.loc[i, ['forecast','from','to']] = [round(o, 2) for o in widened(r.short, r['std'], error(others))]
    df['right'] = verdict(df.forecast)==verdict(df.full)
    return df

@styled
def calibration_figure(df):
    "Forecast with its interval against the gain of the full training; returns the figure"
    fig,ax = plt.subplots(figsize=(COLUMN, COLUMN), layout='constrained')
    ends = [df[['from','full']].min().min()-.5, df[['to','full']].max().max()+.5]
    ax.plot(ends, ends, '--', color='.6', lw=.8)
    for at in (ax.axvspan, ax.axhspan): at(-NO_DIFFERENCE, NO_DIFFERENCE, color='.92', zorder=0)
    for k,o in df.groupby('data', sort=False):
        ax.errorbar(o.full, o.forecast, [o.forecast-o['from'], o['to']-o.forecast], ls='', marker='o', ms=3.5, lw=.8, capsize=1.5, label=k)
    ax.set(xlabel='gain of the full run, points', ylabel='forecast, points', xlim=ends, ylim=ends)
    ax.legend()
    return fig

def write_table():
    df = pd.DataFrame([o for t in TRIALS for m in t.methods if (o := t.row(m))])
    long = df[df.steps>=LEAST_STEPS]
    if len(long)<2: return # no others to tell the error
    print(f'SPREAD = {error(long):.2f}')
    with replacing(TABLES/'forecasts.csv') as f: add_forecasts(df).to_csv(f, index=False)
    save_figure(calibration_figure(df[df.steps>=LEAST_STEPS]), ROOT/'nbs'/'images'/'forecasts.png')

if __name__=='__main__':
    warnings.filterwarnings('ignore')
    os.chdir(ROOT)
    names = [o for o in sys.argv[1:] if o!='--table']
    if '--table' not in sys.argv:
        write_scenes('data/scenes', size=Scenes.scene)
        for s in SEEDS:
            for t in TRIALS:
                for m in t.methods if not names or t.data in names else (): t.train(m, s)
            write_table()
    write_table()
