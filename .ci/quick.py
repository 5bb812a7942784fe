"""Check one notebook: its style, its cells, the tests of its module, and that nbdev-export and nbdev-clean would change nothing

The tests are those of `tests/test_NAME.py`, NAME being the name of the module. Without such a file, they are those tests that use names of the module, from
the file that uses them most often. A notebook with browser code also has the tests of that code, and every notebook those of links and imports. A budget of
computing time limits the tests, see `pytest_budget.py`."""
import ast, filecmp, os, re, shutil, subprocess, sys, tempfile, time
from collections import Counter
from functools import cache
from pathlib import Path
from fastcore.nbio import read_nb

root = Path(__file__).parents[1]
tool = Path(sys.executable).parent

def source_of(nb): return '\n'.join(c.source for c in read_nb(nb).cells)

def module_of(source):
    "The module that a notebook exports to, such as core.task, or None"
    found = re.search(r'^#\|\s*default_exp (\S+)', source, flags=re.M)
    return found and found[1]

@cache
def parsed(path):
    "Imports of a test file as (module, name, local name), and how often each of its tests uses each name"
    tree = ast.parse(path.read_text(encoding='utf-8'))
    imports = [(o.module, a.name, a.asname or a.name) for o in ast.walk(tree) if isinstance(o, ast.ImportFrom) for a in o.names]
    tests = (o for o in tree.body if isinstance(o, ast.FunctionDef) and o.name.startswith('test'))
    return imports,{o.name: Counter(n.id for n in ast.walk(o) if isinstance(n, ast.Name)) for o in tests}

def uses(path, module):
    "Test → how often it uses a name that its file imports from `module`"
    imports,tests = parsed(path)
    names = {here for m,name,here in imports if module in (m, f'{m}.{name}')}
    return Counter({k: sum(n[o] for o in names) for k,n in tests.items()})

def tests_of(source):
    "Arguments of pytest for a notebook"
    module,shows = module_of(source),re.search(r"\w+\.(js|css)'", source)
    return ['tests/test_docs.py'] + ['tests/test_js.py']*bool(shows) + (module_tests(module) if module else [])

def module_tests(module):
    own = Path('tests')/f'test_{module.rpartition(".")[2]}.py'
    if (root/own).is_file(): return [str(own)]
    found = {f: uses(f, f'segkc_fastai.{module}') for f in sorted((root/'tests').glob('test_*.py'))}
    best = max(found, key=lambda f: found[f].total())
    return [f'{best.relative_to(root)}::{k}' for k,n in found[best].items() if n]

def changes(nb, files):
    "Those of `files` that nbdev-export and nbdev-clean of the notebook would change; run on a copy"
    with tempfile.TemporaryDirectory() as tmp:
        for o in ('nbs','segkc_fastai'): shutil.copytree(root/o, Path(tmp)/o, ignore=shutil.ignore_patterns('__pycache__'))
        shutil.copy(root/'pyproject.toml', tmp)
        for args in (['nbdev-export','--path',nb], ['nbdev-clean','--fname',nb]): subprocess.run([tool/args[0], *args[1:]], cwd=tmp, check=True)
        return [o for o in files if not (root/o).is_file() or not filecmp.cmp(root/o, Path(tmp)/o, shallow=False)]

def start(*args):
    "Start a command of the environment and print it"
    print('$', *args, flush=True)
    env = os.environ | dict(OMP_NUM_THREADS='1', PYTHONPATH=str(root/'.ci'))
    return subprocess.Popen([tool/args[0], *args[1:]], cwd=root, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

def passed(process):
    "Wait for a process; print all output if it failed, and otherwise the last two lines"
    out = process.communicate()[0]
    print(out if process.returncode else '\n'.join(out.strip().splitlines()[-2:]))
    return process.returncode==0

def check(nb):
    "Check the notebook at `nb`, a path from the top of the repository; True if it passes"
    source = source_of(root/nb)
    module = module_of(source)
    files = [nb] + ([Path('segkc_fastai', *module.split('.')).with_suffix('.py')] if module else [])
    style = passed(start('chkstyle', *files))
    print('$ nbdev-export and nbdev-clean, on a copy', flush=True)
    stale = changes(nb, files)
    if stale: print(f'Run nbdev-export and nbdev-clean; they change {" and ".join(map(str, stale))}')
    runs = [start('nbdev-test', nb, '--n-workers', '0'), start('pytest', '-q', '--disable-warnings', '-p', 'pytest_budget', *tests_of(source))]
    return all([style, not stale, *map(passed, runs)])

def main(nb):
    example = 'make quick NB=nbs/01_core/01_task.ipynb'
    if not nb: sys.exit(f'no notebook: pass one, for example {example}')
    path = (root/nb).resolve()
    if path.suffix!='.ipynb' or not path.is_file(): sys.exit(f'{nb}: no such notebook; pass its path from the top of the repository, for example {example}')
    began = time.time()
    good = check(path.relative_to(root))
    print(f'{nb}: {"all is well" if good else "something failed, see above"} ({time.time()-began:.0f} s)')
    sys.exit(not good)

if __name__=='__main__': main(sys.argv[1] if len(sys.argv)>1 else '')
