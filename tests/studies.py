"Shared by the studies behind the documentation: places of data and results, rows that one of several processes writes, tables of several data sets"
import os
from pathlib import Path
import pandas as pd
from filelock import FileLock, Timeout
from segkc_fastai.core.files import replacing

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get('SEGKC_DATA', ROOT.parent/'shared'/'data')) # holds nuclei and camvid
RESULTS = ROOT/'nbs'/'results'

def write_rows(file, make):
    "Write the rows that `make` returns to a CSV file, as they come, unless another process is at it"
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f'{file}.lock', timeout=0):
            rows = []
            for o in make():
                rows.append(o)
                print(o, flush=True)
                with replacing(file) as f: pd.DataFrame(rows).to_csv(f, index=False)
    except Timeout: print(f'{file}: another process is at it')

def put(file, df, **how):
    "Replace the rows of the data sets of `df` in a table; `how`: arguments of `to_csv`"
    old = pd.read_csv(file) if file.exists() else df[:0]
    with replacing(file) as f: pd.concat([old[~old.data.isin(set(df.data))], df]).to_csv(f, index=False, **how)
