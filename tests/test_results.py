"Results are kept once: tables in README and notebooks are rendered from nbs/results"
import importlib.util, json, re, shutil
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(o.relative_to(ROOT) for o in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in o.parts)

def cells(path): return [(c, ''.join(c['source'])) for c in json.loads(path.read_text(encoding='utf-8'))['cells']]

def shown(path): return [''.join(o['data']['text/markdown']) for c,s in cells(path) if 'echo: false' in s for o in c['outputs']]

@pytest.fixture
def docs(tmp_path, monkeypatch):
    "The builder of the documentation, working on a copy of the notebooks"
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location('docs', ROOT/'.ci'/'docs.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shutil.copytree(ROOT/'nbs', tmp_path/'nbs', ignore=shutil.ignore_patterns('images', '.*'))
    (tmp_path/'tests').symlink_to(ROOT/'tests')
    monkeypatch.setattr(module, 'nbs', tmp_path/'nbs')
    monkeypatch.setattr(module, 'root', tmp_path)
    return module

def test_tables_are_those_of_the_files(docs, tmp_path):
    docs.tables()
    old = [str(o) for o in NOTEBOOKS if shown(ROOT/o)!=shown(tmp_path/o)]
    assert not old, f'{", ".join(old)}: run `make readme`'

def test_a_number_is_changed_in_all_places(docs, tmp_path):
    "SegKC's result with seed 0 is in README and in the comparison"
    results = tmp_path/'nbs'/'results'/'scenes.csv'
    text = results.read_text(encoding='utf-8')
    assert text.count('\nsegkc,1/8,0,49.55,')==1
    results.write_text(text.replace('\nsegkc,1/8,0,49.55,', '\nsegkc,1/8,0,98.7,'), encoding='utf-8')
    docs.tables()
    docs.readme(tmp_path/'README.md')
    changed = {str(o) for o in NOTEBOOKS if shown(ROOT/o)!=shown(tmp_path/o)}
    assert changed=={'nbs/index.ipynb', 'nbs/explanations/01_methods_compared.ipynb'}
    for text in ((tmp_path/'README.md').read_text(encoding='utf-8'), *('\n'.join(shown(tmp_path/o)) for o in changed)): assert '| 98.7 ' in text and not re.search(r'(?i)\| segkc .*\| 49.5 ', text)

@pytest.mark.parametrize('path', NOTEBOOKS, ids=str)
def test_no_table_of_figures_is_typed(path):
    "A table in the prose has no column of figures, which would be aligned right"
    prose = '\n'.join(s for c,s in cells(ROOT/path) if c['cell_type']=='markdown')
    assert not re.search(r'^\|.*-:\|', re.sub(r'```.*?```', '', prose, flags=re.S), flags=re.M)
