"Links, imports, names and commands in notebooks and pages lead somewhere. Notebooks and modules are read as text, so this needs no torch"
import ast, json, re, shlex, tomllib
from functools import cache
from pathlib import Path
import pytest

root = Path(__file__).parent.parent
lib = 'segkc_fastai'
urls = tomllib.loads((root/'pyproject.toml').read_text(encoding='utf-8'))['project']['urls']
repo_url = f"{urls['Repository']}/blob/main/"
notebooks = sorted(o for o in (root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in o.parts)
pages = [o for name in ('README.md','CONTRIBUTING.md','CHANGELOG.md','data/README.md') if (o:=root/name).exists()]

@cache
def cells(path): return [(c['cell_type'], ''.join(c['source'])) for c in json.loads(path.read_text(encoding='utf-8'))['cells']]

@cache
def prose(path):
    "The Markdown of a notebook or page"
    if path.suffix!='.ipynb': return path.read_text(encoding='utf-8')
    return '\n\n'.join(s for kind,s in cells(path) if kind=='markdown')

def without_code(text): return re.sub(r'```.*?```|`[^`\n]*`', '', text, flags=re.S)

def links(path):
    text = without_code(prose(path))
    return re.findall(r'\]\(([^)\s#]+)', text) + re.findall(r'\b(?:src|href)="([^"#]+)"', text)

def check(lost):
    lines = [f'{path.relative_to(root)}: {o}' for path,o in lost]
    assert not lines, 'lead nowhere:\n' + '\n'.join(lines)

def test_links():
    relative = [(p, o) for p in [*notebooks, *pages] for o in links(p) if not re.match(r'[a-z]+:', o)]
    assert len(relative)>20
    check((p, o) for p,o in relative if not (p.parent/o).exists())

def test_links_to_the_repository():
    check((p, o) for p in [*notebooks, *pages] for o in links(p) if o.startswith(repo_url) and not (root/o.removeprefix(repo_url)).exists())

@cache
def names(module):
    "Names that `from module import …` finds: submodules, and those that the module's own statements define; None for a missing module"
    path = root.joinpath(*module.split('.'))
    file = path/'__init__.py' if path.is_dir() else path.with_suffix('.py')
    if not file.is_file(): return None
    res = {o.stem for o in path.glob('*') if o.suffix=='.py' or o.is_dir()} if path.is_dir() else set()
    for o in ast.parse(file.read_text(encoding='utf-8')).body:
        if isinstance(o, (ast.FunctionDef, ast.ClassDef)): res.add(o.name)
        elif isinstance(o, (ast.Import, ast.ImportFrom)): res |= {(a.asname or a.name).split('.')[0] for a in o.names}
        else: res |= {n.id for n in ast.walk(o) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return res

def imports(code, package=''):
    "(module, name) of each import of the library; `package` is the one that relative imports start from"
    for o in ast.walk(ast.parse(code)):
        if isinstance(o, ast.Import): yield from ((a.name, None) for a in o.names)
        elif isinstance(o, ast.ImportFrom):
            above = package.split('.')[:len(package.split('.'))+1-o.level] if o.level else []
            for a in o.names: yield '.'.join([*above, *filter(None, [o.module])]), a.name

def absent(code, package=''):
    found = [(m, n) for m,n in imports(code, package) if m.split('.')[0]==lib]
    return [f'{m}: {n or "no such module"}' for m,n in found if names(m) is None or n not in names(m)|{None,'*'}]

def plain(code):
    "Code without what only IPython or a reader understands: magics, commands, and … for the rest"
    return re.sub(r'^[%!].*$', '', '' if code.startswith('%%') else code.replace('…', '...'), flags=re.M)

def test_absent():
    "The search that the next tests rely on finds what is absent, and nothing else"
    assert not absent(f'from {lib}.core.task import Task, IGNORE\nimport {lib}.core.files\nfrom {lib}.core import task')
    assert not absent('from ..core.task import Task\nfrom .losses import *', f'{lib}.methods')
    assert absent(f'from {lib}.core.task import Tusk')==[f'{lib}.core.task: Tusk']
    assert absent('from ..cores import task', f'{lib}.methods')==[f'{lib}.cores: task']

def test_imports_of_modules():
    files = [o for o in (root/lib).rglob('*.py') if o.name!='_modidx.py']
    package = lambda f: '.'.join(f.parent.relative_to(root).parts)
    assert len(files)>40
    check((f, o) for f in files for o in absent(f.read_text(encoding='utf-8'), package(f)))

def test_imports_of_notebooks():
    "Cells that only a flag runs are read, too"
    check((p, o) for p in notebooks for kind,s in cells(p) if kind=='code' for o in absent(plain(s)))

def test_imports_of_samples():
    "Code between the lines of the prose, in README.md before all"
    samples = [(p, s) for p in [*notebooks, *pages] for s in re.findall(r'^```python\n(.*?)^```', prose(p), flags=re.M|re.S)]
    assert sum(p.name=='README.md' for p,_ in samples)>1
    check((p, o) for p,s in samples for o in absent(plain(s)))

def test_mentions():
    "Modules, names in modules and files of the repository that the prose names"
    def exists(o):
        module,_,name = o.rpartition('.')
        return names(o) is not None or name in (names(module) or ())
    text = {p: re.sub(r'\w+://\S+', '', prose(p)) for p in [*notebooks, *pages] if p.name!='CHANGELOG.md'} # which names what is gone
    check((p, o) for p,s in text.items() for o in re.findall(rf'`({lib}\.[\w.]*\w)', s) if not exists(o))
    files = rf'`((?:nbs|tests|{lib}|\.ci|\.github)/[\w./-]+)`'
    check((p, o) for p,s in text.items() for o in re.findall(files, s) if 'NAME' not in o and not (root/o).exists())

def test_the_makefile_names_files_and_tests_that_exist():
    "A target such as soak runs for minutes before it would miss one"
    text = (root/'Makefile').read_text(encoding='utf-8')
    for file,test in re.findall(r'(tests/\w+\.py)(?:::(\w+))?', text): assert f'def {test}' in (root/file).read_text(encoding='utf-8')

def test_targets():
    "Every `make …` that the prose names is in the Makefile"
    known = set(re.findall(r'^([a-z]+):', (root/'Makefile').read_text(encoding='utf-8'), flags=re.M))
    code = lambda p: '\n'.join(re.findall(r'```.*?```|`[^`\n]*`', prose(p), flags=re.S))
    check((p, o) for p in [*notebooks, *pages] for o in re.findall(r'(?:^|`)make ([a-z]+)', code(p), flags=re.M) if o not in known)

def test_commands():
    "Every `segkc …` that the prose shows is understood"
    from segkc_fastai.cli import parser
    blocks = [o for p in [*notebooks, *pages] for o in re.findall(r'^```sh\n(.*?)^```', prose(p), flags=re.M|re.S)]
    shown = [re.split(r'-m segkc_fastai.cli|^segkc', line)[1] for o in blocks for line in o.splitlines() if 'segkc_fastai.cli ' in line or line.startswith('segkc ')]
    assert len(shown)>15
    for line in shown:
        argv = shlex.split(line, comments=True)
        try: parser(argv).parse_args(argv)
        except SystemExit: pytest.fail(f'segkc {line}')

def test_no_link_in_a_link(): assert '[[' not in (root/'README.md').read_text(encoding='utf-8')
