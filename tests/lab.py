"A separate JupyterLab, and Chromium to inspect it, shared by the tests of widgets; `conftest.py` registers the fixture"
import base64, json, os, shutil, signal, socket, statistics, subprocess, sys, time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.request import Request, urlopen
import nbformat, numpy as np, pytest
from jupyter_client import BlockingKernelClient

ROOT = Path(__file__).parent.parent
CHROMIUM = os.environ.get('SEGKC_CHROMIUM') or next(filter(None, map(shutil.which, ('chromium','chromium-browser','google-chrome'))), None)
MISSING = 'no Chromium: install the package chromium, or set SEGKC_CHROMIUM to the program' if not CHROMIUM else '' if find_spec('pytest_playwright') else 'no pytest-playwright: install the extra dev'
SETTINGS = {
    'notebook-extension/tracker': dict(windowingMode='none'), # otherwise cells below the fold are missing from the page
    'apputils-extension/notification': dict(fetchNews='false', checkForUpdates=False)}
QUIET = '--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync'.split()
HARMLESS = 'favicon','WebGL',"reading 'schema'",'filebrowser:open-path' # errors that are not of our widgets; the last two are of Notebook 7
APPS = {'JupyterLab':'doc/tree', 'Notebook 7':'notebooks'} # pages of one server
KERNEL = 'window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status' # the page's indicator is idle before a kernel exists
WARM = 'import segkc_fastai.view.comparing, segkc_fastai.view.live, segkc_fastai.methods.cps'

def pytest_configure(config): config.addinivalue_line('markers', 'timed: measures response times, so nothing else should run')

def pytest_collection_modifyitems(items):
    "Skip tests that inspect a page before anything is started for them, if there is no browser"
    for o in items:
        if MISSING and 'lab' in o.fixturenames: o.add_marker(pytest.mark.skip(reason=MISSING))

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

@contextmanager
def jupyterlab(folder):
    "Address of a JupyterLab in `folder/work`, with separate settings; errors are in `folder/server.log`"
    port,dirs = free_port(),{k:folder/k for k in ('config','data','runtime','ipython','work')}
    for d in dirs.values(): d.mkdir(parents=True, exist_ok=True)
    for k,v in SETTINGS.items():
        f = dirs['config']/'lab'/'user-settings'/'@jupyterlab'/f'{k}.jupyterlab-settings'
        f.parent.mkdir(parents=True, exist_ok=True)
        f.write_text(json.dumps(v))
    own = {f'JUPYTER_{k.upper()}_DIR':str(dirs[k]) for k in ('config','data','runtime')}
    env = os.environ | own | dict(IPYTHONDIR=str(dirs['ipython']), PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', MPLBACKEND='module://matplotlib_inline.backend_inline')
    args = f'--no-browser --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0 --IdentityProvider.token=T --ServerApp.root_dir={dirs["work"]} --allow-root --expose-app-in-browser --JupyterNotebookApp.expose_app_in_browser=True'
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
    "A notebook in its own page; leaving the context closes the page, and fails if the page logged an error"
    def __init__(self, lab, name, app, harmless):
        self.page,self.errors,self.received,self.harmless = lab.context.new_page(),[],0,[*HARMLESS,*harmless]
        self.page.on('websocket', lambda ws: ws.on('framereceived', self.count))
        self.page.on('console', lambda m: self.heard(m.text, m.location.get('url', '')) if m.type=='error' else None)
        self.page.on('pageerror', lambda e: self.heard(str(e)))
        self.page.goto(f'{lab.url}/{APPS[app]}/{name}?token=T&reset')
        self.page.wait_for_selector('.jp-NotebookPanel .jp-Cell')

    def heard(self, error, url=''):
        if not any(o in error+url for o in self.harmless): self.errors.append(error)
    def count(self, frame): self.received += len(frame) # bytes from the kernel
    def __enter__(self): return self
    def __exit__(self, kind, *_):
        self.page.close()
        if kind is None: assert not self.errors, self.errors

    def run_all(self):
        "Run the cells without waiting for them"
        self.page.wait_for_function(f"{KERNEL}=='idle'", timeout=60_000) # earlier, JupyterLab would ask for a kernel
        self.page.evaluate("() => { window.ran = window.jupyterapp.commands.execute('notebook:run-all-cells') }")
        return self

    def command(self, name, wait=True): return self.page.evaluate("([n, w]) => { const p = window.jupyterapp.commands.execute(n).then(() => null); return w ? p : null }", [name, wait])
    def wait_done(self, timeout=90):
        "Until all cells have run, and JupyterLab has moved the focus, which it does after the last"
        self.page.get_by_text('[*]:').first.wait_for(state='hidden', timeout=timeout*1000)
        self.page.evaluate("() => window.ran?.then(() => null)")
    def cell(self, i): return f'.jp-Cell:nth-child({i+1})'
    @property
    def cells(self): return self.page.locator('.jp-Notebook .jp-Cell').count()
    @property
    def prompts(self):
        self.wait_done()
        return self.page.evaluate("[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(e => e.innerText)")

PIXELS = '''([sel]) => [...document.querySelectorAll(sel+' .box canvas')].map(c => {
  const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let s = ''
  for (let i = 0; i < d.length; i += 8192) s += String.fromCharCode(...d.subarray(i, i+8192))
  return [c.dataset.title, c.width, c.height, btoa(s)] })'''

def canvases(page, sel='.segkc'):
    "dict: title → (H,W,3) pixels of the canvas"
    arr = lambda w,h,s: np.frombuffer(base64.b64decode(s), np.uint8).reshape(h, w, 4)[...,:3].copy()
    return {t:arr(w, h, s) for t,w,h,s in page.evaluate(PIXELS, [sel])}

FRAMES = "() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r())))"
def pause(page, ms):
    "Wait some milliseconds, and until the page has drawn after them, however busy the machine is"
    page.wait_for_timeout(ms)
    page.evaluate(FRAMES)

def until(page, true, seconds=20):
    "Wait until a function returns true, which reads a page or a file"
    for _ in range(20*seconds):
        if true(): return
        page.wait_for_timeout(50)
    assert true(), page.locator('.segkc .state').all_inner_texts()

def settle(page, do, sel='.segkc', sign='draws'):
    "Do something, wait for the next drawing (with `sign='arrived'`, the next image or record), and return the canvases"
    was = page.get_attribute(sel, f'data-{sign}')
    do()
    page.wait_for_function('([s, k, was]) => document.querySelector(s).dataset[k]!==was', arg=[sel, sign, was])
    pause(page, 40)
    return canvases(page, sel)

def says(page, sel, *texts):
    "Wait until an element contains each text or pattern; an action may change one element a message later than another"
    from playwright.sync_api import expect
    for o in texts: expect(page.locator(sel).first).to_contain_text(o, timeout=10_000)

def quiet(nb, ms):
    "Wait until nothing has been received for some milliseconds"
    was = None
    while was!=nb.received:
        was = nb.received
        nb.page.wait_for_timeout(ms)

def pressed(nb, key, n, pause=0):
    "Median milliseconds from a key to its pixels, and median bytes received until then; before the next, `quiet` for a `pause`"
    ms,size,page = [],[],nb.page
    for _ in range(n):
        was,got = page.get_attribute('.segkc[data-arrived]', 'data-arrived'),nb.received
        page.keyboard.press(key)
        page.wait_for_function("was => document.querySelector('.segkc[data-arrived]').dataset.arrived!==was", arg=was)
        ms.append(float(page.get_attribute('.segkc[data-arrived]', 'data-next')))
        size.append(nb.received-got)
        if pause: quiet(nb, pause)
    return statistics.median(ms),statistics.median(size)

FAINT = """([sel, least]) => {
  const rgba = s => { const [r, g, b, a = 1] = s.match(/[\\d.]+/g).map(Number); return [r, g, b, a] }
  const over = ([r, g, b, a], under) => [r, g, b].map((c, i) => c*a+under[i]*(1-a))
  const ground = e => { if (!e) return [255, 255, 255]
    const c = rgba(getComputedStyle(e).backgroundColor); return c[3] === 1 ? c.slice(0, 3) : over(c, ground(e.parentElement)) }
  const opacity = e => e ? getComputedStyle(e).opacity*opacity(e.parentElement) : 1
  const light = c => c.map(v => (v /= 255) <= .04045 ? v/12.92 : ((v+.055)/1.055)**2.4).reduce((s, v, i) => s+v*[.2126, .7152, .0722][i], 0)
  const ink = e => getComputedStyle(e)[e instanceof SVGElement ? 'fill' : 'color']
  const contrast = e => { const [r, g, b, a] = rgba(ink(e)), under = ground(e)
    const [x, y] = [light(over([r, g, b, a*opacity(e)], under)), light(under)].sort((p, q) => q-p); return (x+.05)/(y+.05) }
  return [...document.querySelectorAll(sel)].filter(e => e.getBoundingClientRect().width && !e.closest(':disabled'))
    .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && /[\\p{L}\\p{N}]/u.test(n.data))).filter(e => contrast(e) < least)
    .map(e => `${e.className}: ${e.textContent.trim().slice(0, 30)} ${contrast(e).toFixed(1)}`) }"""

def faint(page, sel, least=4.5):
    "Enabled elements whose text has less contrast with its background; 4.5 is the least of the WCAG (AA)"
    return page.evaluate(FAINT, [sel, least])

def change_theme(page, theme):
    "Change to `Dark` or `Light`"
    page.evaluate("t => window.jupyterapp.commands.execute('apputils:change-theme', {theme: t}).then(() => null)", f'JupyterLab {theme}')
    page.wait_for_function("t => document.body.dataset.jpThemeName==t", arg=f'JupyterLab {theme}')
    pause(page, 200)

def drag(page, sel, value):
    "Set a slider as the pointer does"
    page.evaluate("([s,v]) => { const e = document.querySelector(s); e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})) }", [sel, value])

class Lab:
    "Notebooks in one JupyterLab, and one kernel with the slow imports done"
    def __init__(self, url, folder, context):
        self.url,self.path,self.context = url,folder/'work',context
        self.warm = self.post('kernels', name='python3', path='/')['id'] # imports while other tests run
        self.client = BlockingKernelClient(connection_file=str(folder/'runtime'/f'kernel-{self.warm}.json'))
        self.client.load_connection_file()
        self.client.start_channels()
        self.client.execute(WARM, silent=True)

    def post(self, what, **data):
        with urlopen(Request(f'{self.url}/api/{what}?token=T', json.dumps(data).encode(), {'Content-Type':'application/json'})) as r: return json.load(r)

    def end_kernel(self, name):
        "End the kernel of a notebook, as when its page is closed for the day"
        with urlopen(f'{self.url}/api/sessions?token=T') as r: ids = [o['id'] for o in json.load(r) if o['path']==name]
        for o in ids: urlopen(Request(f'{self.url}/api/sessions/{o}?token=T', method='DELETE')).close()

    def write(self, name, *cells):
        "Write a notebook of code cells into the server's folder"
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c.strip()) for c in cells])
        nb.metadata.kernelspec = dict(name='python3', display_name='Python 3', language='python')
        nbformat.write(nb, self.path/name)

    def open(self, name, warm=False, app='JupyterLab', harmless=())->Notebook:
        "Open a notebook in a page, on a new kernel or on the warm one; `harmless` errors are expected"
        if warm: self.post('sessions', path=name, name=name, type='notebook', kernel=dict(id=self.warm))
        return Notebook(self, name, app, harmless)

    def run(self, name, *cells, **how)->Notebook:
        "Write a notebook, open it, and run its cells"
        self.write(name, *cells)
        return self.open(name, **how).run_all()

@pytest.fixture(scope='session')
def lab(request, tmp_path_factory):
    "One `Lab` for all tests"
    folder,browser = tmp_path_factory.mktemp('lab'),request.getfixturevalue('browser')
    with jupyterlab(folder) as url:
        lab = Lab(url, folder, browser.new_context(viewport=dict(width=2600, height=1300)))
        yield lab
        lab.client.stop_channels()

@pytest.fixture(scope='session')
def browser_type_launch_args(): return dict(executable_path=CHROMIUM, args=QUIET, headless=True)
