"The scripts in .ci (pages, llms.txt, the quick check of a notebook), the release notes and the public workflow"
import importlib.util, os, re, shutil, subprocess, sys, tomllib
from pathlib import Path
import pytest, yaml

root = Path(__file__).parent.parent
lib = 'segkc_fastai'
site_url = tomllib.loads((root/'pyproject.toml').read_text(encoding='utf-8'))['project']['urls']['Documentation']
notebooks = sorted(o for o in (root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in o.parts)

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
    "One line per page; a site that lacks a listed page is reported"
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
    "Guides come before the reference, the reference follows its numbers, and every notebook appears once"
    res = docs.sections()
    assert [*res][:6]==['index','tutorials','how to','explanations','core','data'] and [*res][-2:]==['cli','all']
    assert sorted(o for v in res.values() for o in v)==sorted(o.relative_to(root/'nbs') for o in notebooks)

def test_changelog():
    "The format is nbdev's, and the first entry is the current version"
    text = (root/'CHANGELOG.md').read_text(encoding='utf-8')
    assert text.startswith('# Release notes\n\n<!-- do not remove -->\n\n## ')
    version = re.search(r'__version__ = "(.*)"', (root/lib/'__init__.py').read_text(encoding='utf-8'))[1]
    assert re.findall(r'^## (.*)$', text, flags=re.M)[0]==version
    assert {*re.findall(r'^### (.*)$', text, flags=re.M)} <= {'Breaking Changes','New Features','Bugs Squashed'}

def test_workflow():
    "The checks run on every change; the documentation of main is published after they pass"
    jobs = yaml.safe_load((root/'.github/workflows/ci.yml').read_text(encoding='utf-8'))['jobs']
    steps = lambda job: [o.get('run') or o['uses'].split('@')[0] for o in jobs[job]['steps']]
    assert '.ci/run' in steps('test') and {'make docs','actions/upload-pages-artifact'} <= {*steps('docs')}
    assert steps('all')[-1]=='make test-all' and 'schedule' in jobs['all']['if']
    publish = jobs['publish']
    assert {*publish['needs']}=={'test','docs'} and 'refs/heads/main' in publish['if'] and steps('publish')==['actions/deploy-pages']
    assert publish['permissions']=={'pages':'write', 'id-token':'write'}

def test_the_list_of_slow_tests():
    "It is sorted, and names only tests that exist"
    names = (root/'tests'/'slow.txt').read_text().splitlines()[1:]
    assert names==sorted(set(names))
    defined = {f'{o.name}::{k}' for o in (root/'tests').glob('test_*.py') for k in re.findall(r'^def (test_\w+)', o.read_text(encoding='utf-8'), flags=re.M)}
    assert not {o.partition('[')[0] for o in names}-defined

def test_quick_finds_tests():
    "Tests are found by the name of the module, or else by the names they use, and exist"
    quick = load('quick')
    found = {o.stem.lstrip('0123456789_'): quick.tests_of(quick.source_of(o)) for o in notebooks}
    assert found['index']==['tests/test_docs.py'] and found['audit']==['tests/test_docs.py','tests/test_audit.py']
    assert 'tests/test_js.py' in found['viewer']
    nodes = [o.split('::') for v in found.values() for o in v]
    assert all((root/f).is_file() for f,*_ in nodes)
    assert all(f'def {name}(' in (root/f).read_text(encoding='utf-8') for f,*rest in nodes for name in rest)
    assert sum(len(v)>1 for v in found.values()) > len(found)/2

@pytest.mark.parametrize('nb,message', [('', 'make quick NB='), ('nbs/no.ipynb', 'no such notebook'), ('README.md', 'no such notebook')])
def test_quick_rejects(nb, message):
    res = subprocess.run([sys.executable, root/'.ci'/'quick.py', nb], capture_output=True, text=True)
    assert res.returncode==1 and message in res.stderr and not res.stdout

def test_quick_sees_changes(tmp_path):
    "An exported notebook is unchanged; a module edited by hand is reported"
    quick = load('quick')
    for o in ('nbs','segkc_fastai'): shutil.copytree(root/o, tmp_path/o, ignore=shutil.ignore_patterns('__pycache__', '*.jpg', '*.png'))
    shutil.copy(root/'pyproject.toml', tmp_path)
    quick.root = tmp_path
    nb,module = Path('nbs/01_core/01_task.ipynb'),Path('segkc_fastai/core/task.py')
    assert not quick.changes(nb, [nb, module])
    with (tmp_path/module).open('a') as f: f.write('\n# by hand')
    assert quick.changes(nb, [nb, module])==[module]

def test_quick_has_a_budget(tmp_path):
    "Tests that would start after the time limit are skipped and counted; the others decide"
    (tmp_path/'test_it.py').write_text('import time\ndef test_a():\n    while time.process_time()<3: pass\ndef test_b(): assert False\n')
    (tmp_path/'small.py').write_text('import pytest_budget\nfrom pytest_budget import *\npytest_budget.BUDGET = 2\n')
    env = os.environ | dict(PYTHONPATH=f'{root/".ci"}{os.pathsep}{tmp_path}')
    args = [sys.executable, '-m', 'pytest', '-q', '-p', 'small', '-p', 'no:cacheprovider', tmp_path]
    res = subprocess.run(args, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert res.returncode==0 and '1 passed, 1 skipped' in res.stdout and 'and 1 were skipped' in res.stdout
