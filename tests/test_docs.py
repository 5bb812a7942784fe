"Links, imports, names and commands in notebooks and pages lead somewhere. Notebooks and modules are read as text, so this needs no torch"
import ast, importlib.util, json, os, re, shlex, shutil, subprocess, sys, tomllib
from functools import cache
from pathlib import Path
import pytest, yaml

root = Path(__file__).parent.parent
lib = 'segkc_fastai'
urls = tomllib.loads((root/'pyproject.toml').read_text(encoding='utf-8'))['project']['urls']
site_url,repo_url = urls['Documentation'],f"{urls['Repository']}/blob/main/"
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
    "What `from module import …` finds, None if there is no such module: submodules, and what the module's own statements define"
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

def load(name):
    "The functions of a script in .ci"
    spec = importlib.util.spec_from_file_location(name, root/'.ci'/f'{name}.py')
    res = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(res)
    return res

@pytest.fixture
def docs(monkeypatch):
    monkeypatch.chdir(root) # where nbdev looks for its settings
    return load('docs')

def test_llms(docs, tmp_path):
    "A line for every page, a page for every line; a site without one of them does not pass"
    docs.llms(tmp_path/'llms.txt')
    text = (tmp_path/'llms.txt').read_text(encoding='utf-8')
    assert text.startswith(f'# {lib}\n\n> ') and len(re.findall('^## ', text, flags=re.M))>10
    listed = re.findall(r'^- \[[^]]+\]\(([^)]+)\): \S', text, flags=re.M)
    assert sorted(listed)==sorted(f'{site_url}{o}.md' for o in docs.pages()) and len(listed)==len(notebooks)
    assert f'[{lib}.core.task]({site_url}01_core/task.html.md)' in text
    for o in docs.pages():
        page = tmp_path/f'{o}.md'
        page.parent.mkdir(parents=True, exist_ok=True)
        page.touch()
    assert not docs.broken(tmp_path, site_url)
    page.unlink()
    assert docs.broken(tmp_path, site_url)==[f'{o}.md']

def test_docstrings_name_their_page(docs):
    files = [o for o in (root/lib).rglob('*.py') if not o.name.startswith('_')]
    found = {o: re.search(r'^Docs: (\S+?)"""', o.read_text(encoding='utf-8'), flags=re.M) for o in files}
    assert not [o for o,m in found.items() if not m or m[1].removeprefix(site_url).removesuffix('.md') not in docs.pages()]

def test_broken_links(docs, tmp_path):
    (tmp_path/'llms.txt').touch()
    (tmp_path/'a').mkdir()
    (tmp_path/'a'/'b c.html').write_text('<a class="x" href="../index.html#top">up</a> <a href="https://x.org">out</a> <script>"<a href=\\"no.html\\">"</script>')
    (tmp_path/'index.html').write_text('<a href="a/b%20c.html">down</a> <img src="a/lost.png"> <a href="#here">here</a>')
    assert docs.broken(tmp_path, site_url)==['index.html: a/lost.png']

def test_sections(docs):
    "Guides before the reference, the reference in the order of its numbers, every notebook once"
    res = docs.sections()
    assert [*res][:6]==['index','tutorials','how to','explanations','core','data'] and [*res][-1]=='cli'
    assert sorted(o for v in res.values() for o in v)==sorted(o.relative_to(root/'nbs') for o in notebooks)

def test_changelog():
    "In nbdev's form, the newest entry that of the version"
    text = (root/'CHANGELOG.md').read_text(encoding='utf-8')
    assert text.startswith('# Release notes\n\n<!-- do not remove -->\n\n## ')
    version = re.search(r'__version__ = "(.*)"', (root/lib/'__init__.py').read_text(encoding='utf-8'))[1]
    assert re.findall(r'^## (.*)$', text, flags=re.M)[0]==version
    assert {*re.findall(r'^### (.*)$', text, flags=re.M)} <= {'Breaking Changes','New Features','Bugs Squashed'}

def test_workflow():
    "The checks run on every change; the docs that were built are published from main, once the checks have passed"
    jobs = yaml.safe_load((root/'.github/workflows/ci.yml').read_text(encoding='utf-8'))['jobs']
    steps = lambda job: [o.get('run') or o['uses'].split('@')[0] for o in jobs[job]['steps']]
    assert '.ci/run' in steps('test') and {'make docs','actions/upload-pages-artifact'} <= {*steps('docs')}
    publish = jobs['publish']
    assert {*publish['needs']}=={'test','docs'} and 'refs/heads/main' in publish['if'] and steps('publish')==['actions/deploy-pages']
    assert publish['permissions']=={'pages':'write', 'id-token':'write'}

def test_quick_finds_tests():
    "By the name of the module, else by the names that the tests use; what it finds is there"
    quick = load('quick')
    found = {o.stem.lstrip('0123456789_'): quick.tests_of(quick.source_of(o)) for o in notebooks}
    assert found['index']==['tests/test_docs.py'] and found['audit']==['tests/test_docs.py','tests/test_audit.py']
    assert 'tests/test_js.py' in found['viewer']
    nodes = [o.split('::') for v in found.values() for o in v]
    assert all((root/f).is_file() for f,*_ in nodes)
    assert all(f'def {name}(' in (root/f).read_text(encoding='utf-8') for f,*rest in nodes for name in rest)
    assert sum(len(v)>1 for v in found.values()) > len(found)/2

@pytest.mark.parametrize('nb,says', [('', 'make quick NB='), ('nbs/no.ipynb', 'no such notebook'), ('README.md', 'no such notebook')])
def test_quick_refuses(nb, says):
    res = subprocess.run([sys.executable, root/'.ci'/'quick.py', nb], capture_output=True, text=True)
    assert res.returncode==1 and says in res.stderr and not res.stdout

def test_quick_sees_changes(tmp_path):
    "A notebook as nbdev leaves it does not change, one with an output more does"
    quick = load('quick')
    for o in ('nbs','segkc_fastai'): shutil.copytree(root/o, tmp_path/o, ignore=shutil.ignore_patterns('__pycache__', '*.jpg', '*.png'))
    shutil.copy(root/'pyproject.toml', tmp_path)
    quick.root = tmp_path
    nb,module = Path('nbs/01_core/01_task.ipynb'),Path('segkc_fastai/core/task.py')
    assert not quick.changes(nb, [nb, module])
    with (tmp_path/module).open('a') as f: f.write('\n# by hand')
    assert quick.changes(nb, [nb, module])==[module]

def test_quick_has_a_budget(tmp_path):
    "Tests that begin after it are left out and counted; what ran is what decides"
    (tmp_path/'test_it.py').write_text('import time\ndef test_a():\n    while time.process_time()<3: pass\ndef test_b(): assert False\n')
    (tmp_path/'small.py').write_text('import pytest_budget\nfrom pytest_budget import *\npytest_budget.BUDGET = 2\n')
    env = os.environ | dict(PYTHONPATH=f'{root/".ci"}{os.pathsep}{tmp_path}')
    args = [sys.executable, '-m', 'pytest', '-q', '-p', 'small', '-p', 'no:cacheprovider', tmp_path]
    res = subprocess.run(args, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert res.returncode==0 and '1 passed, 1 skipped' in res.stdout and 'and 1 were left out' in res.stdout
