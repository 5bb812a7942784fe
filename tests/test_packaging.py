"Wheel, sdist and README agree with settings.ini"
import re, shutil, subprocess, sys, tarfile, tomllib, zipfile
from configparser import ConfigParser
from importlib.metadata import PathDistribution
from pathlib import Path
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
import segkc_fastai

root = Path(__file__).parent.parent
lib = 'segkc_fastai'
parts = ['settings.ini', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE', 'README.md', 'constraints.txt']

def run(*args, **kw):
    "Standard output of `python args…` in a separate process"
    res = subprocess.run([sys.executable, *map(str, args)], capture_output=True, text=True, **kw)
    assert res.returncode==0, f'{args}\n{res.stdout}\n{res.stderr}'
    return res.stdout

def modules():
    "Files of the package: Python modules, and the browser code of the widgets"
    return {o.relative_to(root).as_posix() for o in (root/lib).rglob('*') if o.suffix in ('.py','.js','.css')}

@pytest.fixture(scope='module')
def settings():
    cfg = ConfigParser(delimiters=['='])
    cfg.read(root/'settings.ini', encoding='utf-8')
    return cfg['DEFAULT']

@pytest.fixture(scope='module')
def project(): return tomllib.loads((root/'pyproject.toml').read_text(encoding='utf-8'))['project']

@pytest.fixture(scope='module')
def built(tmp_path_factory):
    "Folder with sdist and wheel, built from a copy, because setuptools leaves folders behind"
    src,dest = tmp_path_factory.mktemp('src'),tmp_path_factory.mktemp('dist')
    for o in parts:
        if (root/o).exists(): shutil.copy(root/o, src)
    shutil.copytree(root/lib, src/lib, ignore=shutil.ignore_patterns('__pycache__'))
    run('-m', 'build', '--no-isolation', '--outdir', dest, src)
    return dest

@pytest.fixture(scope='module')
def site(built, tmp_path_factory):
    "The unpacked wheel"
    path = tmp_path_factory.mktemp('site')
    with zipfile.ZipFile(next(built.glob('*.whl'))) as z: z.extractall(path)
    return path

@pytest.fixture(scope='module')
def dist(site): return PathDistribution(next(site.glob('*.dist-info')))

def test_one_identity(settings, project, dist):
    m = dist.metadata
    assert settings['lib_name']==project['name']==m['Name']==lib
    assert settings['description']==project['description']==m['Summary']
    assert dist.version==segkc_fastai.__version__ and 'version' not in settings
    assert m['License-Expression']=='Apache-2.0' and settings['license']=='apache2'
    assert m['Requires-Python']==f">={settings['min_python']}"
    assert settings['author'] in (m['Author'] or m['Author-email'])
    assert m['Keywords'].replace(',', ' ').split()==settings['keywords'].split()

def test_addresses(settings, project, dist):
    urls = dict(Repository=settings['git_url'], Documentation=settings['doc_url'])
    assert project['urls']==urls
    assert dict(o.split(', ') for o in dist.metadata.get_all('Project-URL'))==urls

def test_requirements(settings, dist):
    "The wheel has all requirements, and `constraints.txt` pins each to a version and nothing else"
    run_time,dev = settings['requirements'].split(),settings['dev_requirements'].split()
    found = [Requirement(o) for o in dist.requires]
    assert {o.name for o in found if not o.marker}=={Requirement(o).name for o in run_time}
    extras = [o for k,v in settings.items() if k.endswith('_requirements') for o in v.split()]
    assert {o.name for o in found if o.marker}=={Requirement(o).name for o in extras}
    lines = [o for o in (root/'constraints.txt').read_text().splitlines() if o and not o.startswith('#')]
    assert all(re.fullmatch(r'[\w.-]+==[\w.]+', o) for o in lines)
    pins = {canonicalize_name(name): version for name,version in (o.split('==') for o in lines)}
    for o in map(Requirement, run_time+dev): assert o.specifier.contains(pins[canonicalize_name(o.name)]), o

def test_sdist(built):
    with tarfile.open(next(built.glob('*.tar.gz'))) as t: names = {o.partition('/')[2] for o in t.getnames()}
    assert {'settings.ini', 'setup.py', 'pyproject.toml', 'LICENSE'} | modules() <= names

def test_wheel(site, dist):
    assert modules() <= {o.relative_to(site).as_posix() for o in site.rglob('*')}
    assert any(o.endswith('.js') for o in modules())
    assert list(site.glob('*.dist-info/**/LICENSE'))
    entries = {(o.group, o.name): o.value for o in dist.entry_points}
    assert entries=={('console_scripts', 'segkc'): f'{lib}.cli:main', ('nbdev', lib): f'{lib}._modidx:d'}

def test_wheel_runs(site):
    code = f'import sys; sys.path.insert(0, {str(site)!r}); import {lib} as o; print(o.__file__, o.__version__)'
    assert run('-c', code, cwd=site).split()==[str(site/lib/'__init__.py'), segkc_fastai.__version__]

readme = root/'README.md'
needs_readme = pytest.mark.skipif(not readme.exists(), reason='README.md is missing; run make readme')

@needs_readme
def test_readme(tmp_path):
    "README.md is up to date with nbs/index.ipynb"
    run(root/'.ci/docs.py', 'readme', '--out', tmp_path/'README.md', cwd=root)
    assert (tmp_path/'README.md').read_text(encoding='utf-8')==readme.read_text(encoding='utf-8')

@needs_readme
def test_readme_links():
    text = re.sub(r'```.*?```|`[^`\n]*`', '', readme.read_text(encoding='utf-8'), flags=re.S)
    links = re.findall(r'\]\(([^)\s#]+)', text) + re.findall(r'\bsrc="([^"]+)"', text)
    assert not [o for o in links if not re.match(r'[a-z]+:', o) and not (root/o).exists()]
