"The structure of the package: layers, and names that mean one thing. Modules are parsed, not imported"
import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]/'segkc_fastai'
LAYERS = ['core','data','models','methods','train','evaluate','runs',('deploy','label'),'view','cli','all'] # nothing imports to the right
RANK = {k:i for i,o in enumerate(LAYERS) for k in (o if isinstance(o, tuple) else (o,))}
MODULES = {'.'.join(f.relative_to(ROOT).with_suffix('').parts):ast.parse(f.read_text()) for f in sorted(ROOT.rglob('*.py')) if f.stem not in ('__init__','_modidx')}

def imports(name):
    "Imports from the package, at the top or later: pairs of module and name, None for a whole module"
    for o in ast.walk(MODULES[name]):
        if isinstance(o, ast.Import):
            for a in o.names:
                if a.name.startswith(f'{ROOT.name}.'): yield a.name.partition('.')[2],None
        if isinstance(o, ast.ImportFrom):
            at = name.split('.')[:-o.level] if o.level else (o.module or '').split('.')
            if not o.level and at[0]!=ROOT.name: continue
            path = [*at, *(o.module or '').split('.')] if o.level else at[1:]
            path = '.'.join(filter(None, path))
            for a in o.names: yield (path,a.name) if path in MODULES else ('.'.join(filter(None, [path, a.name])),None)

def privates(name):
    "Module-level names with a leading underscore; a trailing one marks a protocol"
    for o in MODULES[name].body:
        names = [o.name] if isinstance(o, (ast.FunctionDef,ast.ClassDef)) else []
        if isinstance(o, (ast.Assign,ast.AnnAssign)):
            for t in (o.targets if isinstance(o, ast.Assign) else [o.target]): names += [n.id for n in ast.walk(t) if isinstance(n, ast.Name)]
        yield from (k for k in names if k.startswith('_') and not k.endswith('_'))

def test_the_modules_were_found():
    assert len(MODULES)>40 and {'core.task','runs.folder','cli'}<=set(MODULES)
    assert {('core.files','replacing'),('core.task','IGNORE')}<=set(imports('train.probe'))

def test_every_module_has_a_layer(): assert {o.split('.')[0] for o in MODULES}<=set(RANK) and [o for o in MODULES if '.' not in o]==['all','cli']

def test_nothing_imports_to_the_right():
    wrong = []
    for name in MODULES:
        here = name.split('.')[0]
        for other,_ in imports(name):
            there = other.split('.')[0]
            if there in RANK and (RANK[there]>RANK[here] or (RANK[there]==RANK[here] and there!=here)): wrong.append(f'{name} → {other}')
    assert not wrong

def test_imported_modules_exist(): assert not [f'{k} → {o}' for k in MODULES for o,_ in imports(k) if o not in MODULES and o not in ('_modidx','__version__')]

def test_views_read_runs_only_through_their_folder():
    assert {o for k in MODULES if k.startswith('view.') for o,_ in imports(k) if o.startswith('runs.')}<={'runs.folder'}

def test_modules_differ_in_name():
    at = defaultdict(list)
    for o in MODULES: at[o.split('.')[-1]].append(o)
    assert not {k:v for k,v in at.items() if len(v)>1}

def test_a_private_name_means_one_thing():
    at = defaultdict(set)
    for o in MODULES:
        for k in privates(o): at[k].add(o)
    assert not {k:sorted(v) for k,v in at.items() if len(v)>1}

def test_private_names_are_not_imported(): assert not [f'{k} → {o}.{n}' for k in MODULES for o,n in imports(k) if n and n.startswith('_')]

def test_modules_are_short(): assert not {o:n for o in MODULES if (n := len((ROOT/f'{o.replace(".", "/")}.py').read_text().splitlines()))>400}

def test_no_module_gives_away_another_library():
    "`from module import *` must not bring names such as pd, even if the library is imported late"
    for name,tree in MODULES.items():
        found = {t.id:o.value for o in tree.body if isinstance(o, ast.Assign) for t in ast.walk(o.targets[0]) if isinstance(t, ast.Name)}
        late = {k for k,v in found.items() if any(isinstance(n, ast.Call) and getattr(n.func, 'id', '')=='lazy' for n in ast.walk(v))}
        assert not late & set(ast.literal_eval(found['__all__'])) if '__all__' in found else True, name
