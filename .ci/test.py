"""Run notebooks and tests. Importing takes longer than most of them, so each file runs in a copy (fork) of one process that has imported everything

The arguments are notebooks and test files, of which all tests run. Without any, all files run, without the tests in tests/slow.txt and cells that are
flagged as slow, and with --all including those. Tests that measure response times run last and alone."""
import gc, json, os, pkgutil, re, sys, tempfile, time, traceback
from importlib import import_module
from pathlib import Path
sys.dont_write_bytecode = False # otherwise each process that a test starts compiles thousands of files
os.environ.pop('PYTHONDONTWRITEBYTECODE', None)
os.environ.setdefault('OMP_NUM_THREADS', '1') # two processes with a thread each do twice the work of one with two
root = Path(__file__).parents[1]
sys.path.insert(0, str(root))
import pytest, segkc_fastai, torch
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.test import test_nb

AT_ONCE = os.cpu_count()+2 # more than the number of cores, to use the time in which a test waits
LONG = 'checkpoint strangers distributed fuzz export figures methods deploy probe numerics compare'.split() # started first, so that none of them runs alone at the end
SLOWEST = 40

def import_all():
    for k in [o.name for o in pkgutil.walk_packages(segkc_fastai.__path__, 'segkc_fastai.')]+['hypothesis','nbformat','onnxruntime','timm','segmentation_models_pytorch','torchvision.datasets']: import_module(k)
    gc.freeze() # every collection would traverse half a million objects of libraries
    assert not torch.get_num_threads()>1, 'a copy of a process with several computing threads would wait for them forever'

def notebooks(): return sorted(map(Path, nbglob(root/'nbs')))
def test_files(): return sorted((root/'tests').glob('test_*.py'))

def in_jupyterlab(path): return path.suffix=='.py' and re.search(r'^def .*\blab\b.*:$', path.read_text(), re.M)

def long_first(path): return next((i for i,k in enumerate(LONG) if k in path.stem), len(LONG))

def core_seconds(): return sum(os.times()[:4])

class Times:
    "Seconds of a core per test, those of its processes included; and numbers of passed, failed and skipped tests"
    def __init__(self): self.seconds,self.counts = {},{}
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        began = core_seconds()
        res = yield
        self.seconds[item.nodeid] = core_seconds()-began
        return res
    def pytest_runtest_logreport(self, report):
        if report.when=='call' or report.outcome!='passed': self.counts[report.outcome] = self.counts.get(report.outcome, 0)+1

def run_tests(tmp, paths, slow, timed=False):
    "Exit code of pytest, seconds per test, and counts. A busy machine may miss a limit of time, also of a browser, so tests with one have a second try"
    which = 'timed' if timed else 'not timed'
    if not slow: which += ' and not slow'
    args = ['-q','-m',which,'-o',f'cache_dir={tmp}/cache',f'--basetemp={tmp}/files', *map(str, paths)]
    code = pytest.main(args, plugins=[times := Times()])
    if code==pytest.ExitCode.TESTS_FAILED and (timed or in_jupyterlab(paths[0])):
        code = pytest.main([*args, '--last-failed'], plugins=[again := Times()])
        times.seconds |= again.seconds
        times.counts['failed'] = again.counts.get('failed', 0)
        times.counts['second'] = again.counts.get('passed', 0)
        times.counts['passed'] = times.counts.get('passed', 0)+times.counts['second']
    return 0 if code==pytest.ExitCode.NO_TESTS_COLLECTED else int(code),times.seconds,times.counts

def run_notebook(tmp, path, slow):
    began,flags = core_seconds(),get_config(root/'nbs').tst_flags.split()
    good,_ = test_nb(path, skip_flags=[o for o in flags if not (slow and o=='slow')], basepath=root)
    return int(not good),{str(path.relative_to(root)):core_seconds()-began},dict(passed=1) if good else dict(failed=1)

def copy(tmp, f, *args):
    "Fork a process that calls `f`, and return its id; its output and its result are written to the folder `tmp`"
    tmp.mkdir()
    sys.stdout.flush()
    if pid:=os.fork(): return pid
    code = 1
    try:
        fd = os.open(tmp/'out.txt', os.O_WRONLY|os.O_CREAT|os.O_APPEND)
        for k in (1,2): os.dup2(fd, k)
        tempfile.tempdir = str(tmp)
        code,*res = f(tmp, *args)
        (tmp/'res.json').write_text(json.dumps(res))
    except BaseException: traceback.print_exc()
    finally:
        for o in (sys.stdout, sys.stderr): o.flush()
        os._exit(code)

class Runner:
    "Start jobs as others end, and report their results"
    def __init__(self, tmp): self.tmp,self.running,self.failed,self.seconds,self.counts = tmp,{},[],{},{}

    def start(self, name, f, *args):
        while len(self.running)>=AT_ONCE: self.wait()
        tmp = self.tmp/name
        self.running[copy(tmp, f, *args)] = name,tmp,time.time()

    def wait(self):
        pid,status,used = os.wait4(-1, 0)
        if pid not in self.running: return
        name,tmp,began = self.running.pop(pid)
        if status: self.failed.append(name)
        seconds,counts = json.loads((tmp/'res.json').read_text()) if (tmp/'res.json').exists() else ({},{})
        self.seconds |= seconds
        for k,n in counts.items(): self.counts[k] = self.counts.get(k, 0)+n
        print(f'{"FAILED" if status else "passed"} {time.time()-began:6.1f} s, {used.ru_utime+used.ru_stime:6.1f} s of a core  {name}', flush=True)
        if status: print((tmp/'out.txt').read_text(errors='replace'), flush=True)

    def finish(self):
        while self.running: self.wait()

    def report(self):
        print(f'\nThe {SLOWEST} that took most of a core:')
        for k,s in sorted(self.seconds.items(), key=lambda o: -o[1])[:SLOWEST]: print(f'{s:6.1f} s  {k}')
        n = dict(passed=0, second=0, failed=0, skipped=0) | self.counts
        tries = f'; {n["second"]} passed at a second try' if n['second'] else ''
        print(f'\n{n["passed"]} passed, {max(n["failed"], len(self.failed))} failed, {n["skipped"]} skipped{tries}')

def name_of(path): return path.name if path.suffix=='.py' else '-'.join(path.relative_to(root/'nbs').parts)

def main(*args):
    chosen = [Path(o).resolve() for o in args if o!='--all'] or sorted([*test_files(), *notebooks()], key=long_first)
    if missing := [str(o) for o in chosen if not o.is_file()]: sys.exit(f'{missing[0]}: not found; pass notebooks or test files')
    slow,began = bool(args),time.time()
    import_all()
    print(f'Everything imported in {time.time()-began:.0f} s', flush=True)
    with tempfile.TemporaryDirectory() as d:
        r = Runner(Path(d))
        lab = [o for o in chosen if in_jupyterlab(o)] # one process for all, since JupyterLab and its kernel start slowly
        if lab: r.start('jupyterlab', run_tests, lab, slow)
        for o in chosen:
            if o not in lab: r.start(name_of(o), *((run_tests, [o]) if o.suffix=='.py' else (run_notebook, o)), slow)
        r.finish()
        tests = [o for o in chosen if o.suffix=='.py']
        if tests:
            r.start('response-times', run_tests, tests, slow, True)
            r.finish()
        r.report()
    if r.failed: print(f'Failed: {", ".join(r.failed)}')
    sys.stdout.flush()
    os._exit(bool(r.failed)) # at a normal end, triton lists leaks of its bindings

if __name__=='__main__': main(*sys.argv[1:])
