"""The evidence of the documentation: methods on real images. `make evidence`, or `python tests/evidence.py NAME …` with
names of STUDIES. Runs are in runs/evidence, where an interrupted study resumes, and several processes share it; results
are written to nbs/results after each seed.

The folder with the data, nuclei and camvid, is $SEGKC_DATA, or shared/data beside the repository. All runs start from
pretrained encoders and are evaluated on the test part after the last epoch. Settings are those of the recipes, which were
chosen on validation images with a fourth seed."""
import os, sys, warnings
from dataclasses import dataclass
from pathlib import Path
import pandas as pd
from segkc_fastai.core.files import replacing, write_text
from segkc_fastai.data.benchmarks import load_source
from segkc_fastai.methods.registry import METHODS
from segkc_fastai.runs.compare import ablation_arms, method_arms
from segkc_fastai.runs.grid import run_grid
from segkc_fastai.runs.recipes import recipe

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get('SEGKC_DATA', ROOT.parent/'shared'/'data'))
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

def ablated(_, config):
    "The arms of the ablation; those that the comparison has keep its names, so they are not trained twice"
    names = {'labelled-only':'supervised', 'CPS':'cps', 'SegKC':'segkc'}
    return {names.get(k, k):v for k,v in ablation_arms(config).items()}

@dataclass
class Study:
    "Arms on a data set"
    data:str              # folder within DATA, and recipe
    labelled:tuple        # shares or numbers; functions of the folder return a list
    methods:tuple=ALL
    arms:object=compared  # function of methods and config

    def run(self, name):
        folder = DATA/self.data
        config = recipe(self.data)(str(folder))
        labelled = [o(folder) if callable(o) else o for o in self.labelled]
        rows = []
        for s in SEEDS: # a table of the seeds so far is a result, too
            rows.append(run_grid(self.arms(self.methods, config), config, RUNS/self.data, (s,), labelled))
            df = pd.concat(rows, ignore_index=True).drop(columns='path')
            with replacing(ROOT/'nbs'/'results'/f'{name}.csv') as f: df.to_csv(f, index=False)

STUDIES = dict(nuclei=Study('nuclei', ('13','26')), camvid=Study('camvid', ('46',), STREETS))
STUDIES |= dict(camvid_drive=Study('camvid', (one_drive,), STREETS), camvid_all=Study('camvid', ('367',), ('supervised',)))
STUDIES |= {f'{k}_ablation':Study(k, STUDIES[k].labelled[:1], arms=ablated) for k in ('nuclei','camvid')}

if __name__=='__main__':
    warnings.filterwarnings('ignore')
    os.chdir(ROOT)
    for k in sys.argv[1:] or STUDIES: STUDIES[k].run(k)
