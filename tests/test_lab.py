"`segkc lab` in a browser: the workbench opens with its cells run, on any run, and server and kernels end with the command"
import json, os, shutil, signal, subprocess, sys, time
from contextlib import suppress
from pathlib import Path
import pytest
from lab import MISSING, ROOT, SETTINGS, free_port

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
OLD = Path(__file__).parent/'runs_of_0_1'/'finished'

def single(run):
    "Make a run one of a single network without probe images"
    d = json.loads((run/'config.json').read_text())
    d['networks'] = {k:v for k,v in d['networks'].items() if k==d['deployed']}
    (run/'config.json').write_text(json.dumps(d))
    shutil.rmtree(run/'probe')

@pytest.fixture
def project(tmp_path):
    "A folder with two runs, and the environment of a JupyterLab with separate settings"
    for k in 'ab': shutil.copytree(OLD, tmp_path/'project'/'runs'/k)
    single(tmp_path/'project'/'runs'/'b')
    dirs = {f'JUPYTER_{k.upper()}_DIR':str(tmp_path/k) for k in ('config','data','runtime')}
    for k,v in SETTINGS.items():
        f = tmp_path/'config'/'lab'/'user-settings'/'@jupyterlab'/f'{k}.jupyterlab-settings'
        f.parent.mkdir(parents=True, exist_ok=True)
        f.write_text(json.dumps(v))
    return tmp_path/'project',os.environ | dirs | dict(IPYTHONDIR=str(tmp_path/'ipython'), PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')

def alive(env): return [int(f.stem.split('-')[1]) for f in Path(env['JUPYTER_RUNTIME_DIR']).glob('jpserver-*.json')]

def kernels(env):
    "Processes whose command names a connection file of this server"
    found = []
    for f in Path('/proc').glob('[0-9]*/cmdline'):
        with suppress(OSError): found.append(f.read_bytes()) # a process may end meanwhile
    return [o for o in found if env['JUPYTER_RUNTIME_DIR'].encode() in o and b'ipykernel' in o]

@pytest.fixture
def lab_command(project):
    "Starts `segkc lab` and waits for its address"
    here,env = project
    started = []
    def start(run):
        words = [sys.executable, '-m', 'segkc_fastai.cli', 'lab', run, '--no-browser', '--port', str(free_port()), '--allow-root']
        heard = lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL) # also if these tests run under nohup
        p = subprocess.Popen(words, cwd=here, env=env, stdout=subprocess.DEVNULL, stderr=open(here/'log.txt', 'w'), start_new_session=True, preexec_fn=heard)
        started.append(p)
        for _ in range(1200):
            found = [o.split()[-1] for o in (here/'log.txt').read_text().splitlines() if '/lab/tree/' in o]
            if found: return p,found[0]
            assert p.poll() is None, (here/'log.txt').read_text()
            time.sleep(.1)
        raise TimeoutError((here/'log.txt').read_text())
    yield start
    for p in started:
        p.terminate()
        p.wait(60)

@pytest.mark.parametrize('run, said', [('runs/a', ''), ('runs/b', 'Not shown: ')])
def test_the_workbench_opens_with_its_cells_run(lab_command, project, browser, run, said):
    p,url = lab_command(run)
    page = browser.new_page(viewport=dict(width=1400, height=900))
    page.goto(url)
    page.wait_for_selector('.jp-OutputArea-output', timeout=120_000)
    page.get_by_text('[*]:').first.wait_for(state='hidden', timeout=120_000)
    texts = page.evaluate("[...document.querySelectorAll('.jp-OutputArea-output')].map(e => e.innerText)")
    assert not any('Traceback' in o for o in texts), texts
    assert any(said in o for o in texts) and (said or page.locator('.jp-OutputArea canvas').count()), texts
    page.close()
    assert kernels(project[1])
    p.send_signal(signal.SIGHUP if said else signal.SIGTERM)
    p.wait(60)
    for _ in range(100):
        if not kernels(project[1]) and not alive(project[1]): break
        time.sleep(.1)
    else: raise AssertionError((kernels(project[1]), alive(project[1])))
