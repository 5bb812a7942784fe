"""The evidence of the documentation: methods on real images. `make evidence`, or `python tests/evidence.py NAME …` with
names of STUDIES. Runs are in runs/evidence, where an interrupted study resumes, and several processes share it; after
each seed results are written to nbs/results, and at the end figures to nbs/images. With --missing, rows that the tables
already have are kept, and only the others are trained.

The folder with the data, nuclei and camvid, is $SEGKC_DATA, or shared/data beside the repository. All runs start from
pretrained encoders and are evaluated on the test part after the last epoch. Settings are those of the recipes, which were
chosen on validation images with a fourth seed."""
import os, sys, warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
import pandas as pd
from segkc_fastai.core.files import replacing, write_text
from segkc_fastai.data.benchmarks import load_source
from segkc_fastai.methods.registry import METHODS
from segkc_fastai.runs.compare import ablation_arms, method_arms
from segkc_fastai.runs.folder import Run, read_results
from segkc_fastai.runs.grid import run_grid, run_path
from segkc_fastai.runs.recipes import recipe
from segkc_fastai.view.charts import arm_bars
from segkc_fastai.view.figures import save_figure
from segkc_fastai.view.results import demo_grid
from studies import DATA, ROOT

RUNS = Path('runs')/'evidence' # relative, because results name the list of labelled images
SEEDS = 0,1,2
ALL = tuple(METHODS)
STREETS = 'supervised','mean_teacher','unimatch','self_training','cps','segkc','mkd','gta'

def one_drive(data):
    "A list of every fourth frame of CamVid's drive 0016E5"
    names = sorted(o.name for o in load_source(data).train if o.name.startswith('0016E5'))[::4]
    path = RUNS/'one_drive.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, '\n'.join(names)+'\n')
    return str(path)

def compared(methods, config):
    "The arms of a comparison. The networks of self-training learn in turn, so each gets as many steps as in the other arms"
    arms = method_arms(methods, config.comparison())
    if 'self_training' in arms: arms['self_training']['epochs'] = 2*config.epochs
    return arms

def ceiling(methods, config):
    "The arms with all labels, in as many steps: an epoch passes over all images instead of the unlabelled ones"
    epochs = round(config.epochs*(1-Fraction(config.labelled)))
    return {k:v | dict(epochs=epochs) for k,v in method_arms(methods, config.comparison()).items()}

def ablated(_, config):
    "The arms of the ablation; those that the comparison has keep its names, so they are not trained twice"
    names = {'labelled-only':'supervised', 'CPS':'cps', 'SegKC':'segkc'}
    return {names.get(k, k):v for k,v in ablation_arms(config).items()}

@dataclass
class Study:
    "Arms on a data set"
    data:str              # folder within DATA, and recipe
    labelled:object       # number; or a function of the folder, which returns a list
    methods:tuple=ALL
    arms:object=compared  # function of methods and config
    shown:tuple=()        # arms whose predictions are drawn; only for data whose licence allows it

    def run(self, name, missing=False):
        folder,table = DATA/self.data,ROOT/'nbs'/'results'/f'{name}.csv'
        config = recipe(self.data)(str(folder))
        labelled = self.labelled(folder) if callable(self.labelled) else self.labelled
        arms = self.arms(self.methods, config)
        df = read_results(table) if missing and table.exists() else pd.DataFrame(columns=['arm','seed'])
        for s in SEEDS: # a table of the seeds so far is a result, too
            todo = {k:v for k,v in arms.items() if k not in set(df.arm[df.seed==s])}
            if not todo: continue
            new = run_grid(todo, config, RUNS/self.data, (s,), labelled).drop(columns='path')
            df = pd.concat([df, new], ignore_index=True)
            df = df.sort_values(['arm','seed'], key=lambda o: o.map(list(arms).index) if o.name=='arm' else o)
            with replacing(table) as f: df.convert_dtypes().to_csv(f, index=False) # whole numbers as such
        if self.arms is not ceiling: self.draw(name, df, labelled)

    def draw(self, name, df, labelled):
        "The bars of all arms below the ceiling, and the grid of those in `shown`, if their runs are here"
        images,top = ROOT/'nbs'/'images',ROOT/'nbs'/'results'/f'{self.data}_all.csv'
        tops = [read_results(top).assign(arm='supervised, all labels')] if top.exists() else []
        save_figure(arm_bars(pd.concat([df, *tops]), 'mIoU on test, last epoch'), images/f'{name}.png')
        runs = {k:run_path(RUNS/self.data, k, labelled, SEEDS[0]) for k in self.shown}
        if absent := [o.name for o in runs.values() if not o.exists()]: print(f'no grid without the runs {", ".join(absent)}')
        elif runs: save_figure(demo_grid({k:Run(o) for k,o in runs.items()}), images/f'{name}_grid.png')

STUDIES = {f'{k}_all':Study(k, n, ('supervised',), ceiling) for k,n in dict(nuclei=410, camvid=367).items()}
FEW = 'supervised','unimatch','cps','segkc'
STUDIES |= dict(nuclei_6=Study('nuclei', 6, FEW), nuclei=Study('nuclei', 13, shown=FEW), nuclei_26=Study('nuclei', 26))
STUDIES |= dict(camvid=Study('camvid', 46, STREETS), camvid_drive=Study('camvid', one_drive, STREETS))
STUDIES |= {f'{k}_ablation':Study(k, STUDIES[k].labelled, arms=ablated) for k in ('nuclei','camvid')}

if __name__=='__main__':
    warnings.filterwarnings('ignore')
    os.chdir(ROOT)
    names = [o for o in sys.argv[1:] if o!='--missing']
    for k in names or STUDIES: STUDIES[k].run(k, '--missing' in sys.argv)
