"A JupyterLab of its own, and Chromium to look at it: what the tests of widgets share. `conftest.py` makes its fixtures known"
import json, os, shutil, signal, socket, subprocess, sys, time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen
import nbformat, pytest

ROOT = Path(__file__).parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ('chromium','chromium-browser','google-chrome'))), None)
SETTINGS = {
    'notebook-extension/tracker': dict(windowingMode='none'), # or cells below the fold are not in the page
    'apputils-extension/notification': dict(fetchNews='false', checkForUpdates=False)}
QUIET = '--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync'.split()
HARMLESS = ('favicon', 'WebGL') # console errors that are not the page's
KERNEL = 'window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status' # the page's indicator says idle before there is one

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

@contextmanager
def jupyterlab(folder):
    "Address of a JupyterLab over `folder/work`, with settings of its own; `folder/server.log` says what went wrong"
    port,dirs = free_port(),{k:folder/k for k in ('config','data','runtime','ipython','work')}
    for d in dirs.values(): d.mkdir(parents=True, exist_ok=True)
    for k,v in SETTINGS.items():
        f = dirs['config']/'lab'/'user-settings'/'@jupyterlab'/f'{k}.jupyterlab-settings'
        f.parent.mkdir(parents=True, exist_ok=True)
        f.write_text(json.dumps(v))
    own = {f'JUPYTER_{k.upper()}_DIR':str(dirs[k]) for k in ('config','data','runtime')}
    env = os.environ | own | dict(IPYTHONDIR=str(dirs['ipython']), PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', MPLBACKEND='module://matplotlib_inline.backend_inline')
    args = f'--no-browser --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0 --IdentityProvider.token=T --ServerApp.root_dir={dirs["work"]} --allow-root --expose-app-in-browser'
    quiet = '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate'
    with open(folder/'server.log', 'w') as log:
        p = subprocess.Popen([sys.executable, '-m', 'jupyterlab', *args.split(), quiet], env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(300):
            try:
                urlopen(f'http://127.0.0.1:{port}/api/status?token=T', timeout=5).close()
                break
            except OSError:
                assert p.poll() is None, (folder/'server.log').read_text()
                time.sleep(.1)
        else: raise TimeoutError((folder/'server.log').read_text())
        yield f'http://127.0.0.1:{port}'
    finally:
        p.send_signal(signal.SIGINT)
        try: p.wait(10)
        except subprocess.TimeoutExpired: p.kill()

class Notebook:
    "A notebook in the page; `errors` are those of the console"
    def __init__(self, page, url, name):
        self.page,self.errors = page,[]
        page.on('console', lambda m: self.errors.append(m.text) if m.type=='error' and not any(h in m.text+m.location.get('url', '') for h in HARMLESS) else None)
        page.on('pageerror', lambda e: self.errors.append(str(e)))
        page.goto(f'{url}/doc/tree/{name}?token=T&reset')
        page.wait_for_selector('.jp-NotebookPanel .jp-Cell')
        page.wait_for_function(f"{KERNEL}=='idle'") # cells that are run before ask for a kernel

    def run_all(self): self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }") # does not wait for the cells
    def command(self, name, **args): return self.page.evaluate('([n, a]) => window.jupyterapp.commands.execute(n, a).then(() => null)', [name, args])
    @property
    def busy(self): return self.page.get_by_text('[*]:').count()>0
    def wait_done(self, timeout=60): self.page.get_by_text('[*]:').first.wait_for(state='hidden', timeout=timeout*1000)

class Lab:
    def __init__(self, url, work): self.url,self.work = url,work
    def write(self, name, *cells):
        "A notebook of code cells in the server's folder"
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        nb.metadata.kernelspec = dict(name='python3', display_name='Python 3', language='python')
        nbformat.write(nb, self.work/name)
    def open(self, page, name)->Notebook: return Notebook(page, self.url, name)

@pytest.fixture(scope='session')
def lab(tmp_path_factory):
    "`Lab`, one for all tests; skips where there is no Chromium or no pytest-playwright"
    if CHROMIUM is None: pytest.skip('no Chromium on this machine')
    folder = tmp_path_factory.mktemp('lab')
    with jupyterlab(folder) as url: yield Lab(url, folder/'work')

@pytest.fixture(scope='session')
def browser_type_launch_args(browser_type_launch_args): return browser_type_launch_args | dict(executable_path=CHROMIUM, args=QUIET)
