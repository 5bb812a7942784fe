"Kill and suspend runs at random moments, also while they write a checkpoint, and finish them, also twice at once: each must be bit-identical to an uninterrupted run. `make soak`"
import multiprocessing, os, random, signal, sys, tempfile, time
from collections import Counter
from contextlib import redirect_stdout, suppress
from pathlib import Path
import numpy as np, pandas as pd, torch
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.train.checkpoint import STATE
from segkc_fastai.train.probe import Probe
from segkc_fastai.runs import writer
from segkc_fastai.runs.config import RunConfig
from segkc_fastai.runs.folder import Run
from segkc_fastai.runs.training import resume_run, train_run

CNN = 'mobilenetv4_conv_small+fpn:32'
ARGS = dict(method='segkc', method_args=dict(warmup=.2, ramp=.2), pretrained=False, labelled=8, epochs=3, size=(64,96), bs=4, probe=2, checkpoint=0)
TIMES = ['seconds','step','gib']
TAKEN,FINISHED = 3,4 # exit codes of processes that another one left nothing to do

def work(out, data, net, resume):
    "Train or resume a run, with a checkpoint after every step"
    torch.set_num_threads(1)
    writer.LEASE,writer.BEAT = 2.,.2
    with open(os.devnull, 'w') as f, redirect_stdout(f):
        try:
            if resume: resume_run(out, device='cpu')
            else: train_run(out, RunConfig(data, junior=net, senior=net, **ARGS), device='cpu')
        except writer.RunTaken: sys.exit(TAKEN)
        except ValueError as e: sys.exit(FINISHED if 'this run is finished' in str(e) else repr(e))

class Server:
    "Forks processes from one that has imported everything and, as PyTorch requires, computed nothing"
    def __init__(self, *args):
        self.args = args # of `work`, after the first
        self.ctx = multiprocessing.get_context('forkserver')
        self.ctx.set_forkserver_preload(['segkc_fastai.runs.training'])
    def start(self, out, resume):
        p = self.ctx.Process(target=work, args=(out, *self.args, resume))
        p.start()
        return p
    def run(self, out, resume):
        p = self.start(out, resume)
        p.join()
        if p.exitcode: raise RuntimeError(f'{out}: exit code {p.exitcode}')

def until(cond, p, seconds):
    "Wait for a condition while a process lives"
    end = time.monotonic()+seconds
    while not cond() and p.is_alive() and time.monotonic()<end: time.sleep(.0005)

def writing(out): return any(out.glob(f'checkpoint/.{STATE}.*.part'))

def owner(out):
    "Number of the process that holds the lock of a run"
    with suppress(OSError, IndexError): return int((out/writer.LOCK).read_text().split('pid=')[1].split()[0])

def begin(server, out, rng, took, at_writing):
    "Start or resume a run, and return its process at a random moment after it has the lock and its config is written"
    p = server.start(out, (out/'config.json').is_file())
    until(lambda: owner(out)==p.pid and (out/'config.json').is_file(), p, 60)
    until(lambda: False, p, rng.uniform(0, took))
    if at_writing: until(lambda: writing(out), p, took)
    return p

def kill(*args):
    "Kill a run; return whether it was killed, and half way through a checkpoint"
    p = begin(*args)
    p.kill()
    p.join()
    return p.exitcode==-signal.SIGKILL,writing(args[1])

def ended(out): return (out/'card.md').is_file() and Run(out).ended

def suspend(server, out, rng, took, at_writing):
    "Suspend a run, let another process take it over, and wake the first one up; return their exit codes, none if it had ended"
    p = begin(server, out, rng, took, at_writing)
    with suppress(ProcessLookupError): os.kill(p.pid, signal.SIGSTOP)
    taken = p.is_alive() and owner(out)==p.pid and not ended(out)
    if taken:
        q = server.start(out, True)
        until(lambda: owner(out)==q.pid, q, 60)
        until(lambda: False, q, rng.uniform(0, took))
    with suppress(ProcessLookupError): os.kill(p.pid, signal.SIGCONT)
    ps = [p,q] if taken else [p]
    for o in ps: o.join()
    return [o.exitcode for o in ps] if taken else []

def twice(server, out):
    "Resume a run twice at once; return the exit codes"
    ps = [server.start(out, True) for _ in range(2)]
    for p in ps: p.join()
    return sorted(p.exitcode for p in ps)

def check_same(a, b):
    "Assert that networks, histories and probe records of two runs are identical, except for times"
    a,b = Run(a),Run(b)
    assert a.finished and b.finished and not list(b.path.rglob('*.part'))
    for k in a.facts.networks:
        x,y = (o.network(k).state_dict() for o in (a,b))
        assert list(x)==list(y) and all(torch.equal(x[n], y[n]) for n in x), k
    pd.testing.assert_frame_equal(*(o.history.drop(columns=TIMES) for o in (a,b)), check_exact=True)
    p,q = Probe(a),Probe(b)
    assert p.records==q.records and all((o.path/'pseudo.csv').read_text()==(a.path/'pseudo.csv').read_text() for o in (a,b))
    for k in ('records','agreement','images'): pd.testing.assert_frame_equal(p.table(k), q.table(k), check_exact=True)
    assert all(np.array_equal(m, n) for r in range(len(p.records)) for m,n in zip(p.maps(r, 'junior', 0), q.maps(r, 'junior', 0)))

def soak(
    tmp:Path,    # empty folder
    kills:int,   # total number
    seed:int,    # of the random moments
    net=CNN,     # junior and senior; the larger, the longer a checkpoint takes
    limit=550.,  # seconds; no run starts later
    say=lambda *a: None
)->Counter: # numbers of runs, kills, kills while a checkpoint was written, suspensions, and resumes that were refused
    "Kill runs once or several times, finish each, alone, twice at once or after a suspension, and compare it with an uninterrupted run"
    data = write_scenes(tmp/'scenes', n_train=24, n_val=4, n_test=4)
    server,rng,n = Server(data, net),random.Random(seed),Counter()
    end = time.monotonic()+limit
    server.run(tmp/'whole', False)
    config,card = (os.stat(tmp/'whole'/k).st_mtime for k in ('config.json','card.md'))
    while n['kills']<kills and time.monotonic()<end:
        out = tmp/f'run{n["runs"]}'
        for _ in range(min(rng.choice((1,1,2,3)), kills-n['kills'])):
            killed,half = kill(server, out, rng, card-config, n['kills']%2==1)
            n['kills'] += killed
            n['torn'] += killed and half
            say(f'{out.name}: {"killed" if killed else "already finished"}, {len(Run(out).history) if (out/"history.csv").is_file() else 0} epochs completed{", while writing a checkpoint" if half else ""}')
            if not killed: break
        if n['runs']%3==0 and not ended(out):
            codes = suspend(server, out, rng, (card-config)/2, n['runs']%2==1)
            assert codes in ([], [TAKEN,0]), codes
            n['suspended'] += len(codes)//2
            say(f'{out.name}: {"suspended, taken over, woken up" if codes else "ended before it was suspended"}')
        if n['runs']%3==1 and not ended(out):
            codes = twice(server, out)
            assert codes in ([0,TAKEN], [0,FINISHED]), codes
            n['refused'] += TAKEN in codes
            say(f'{out.name}: resumed twice at once')
        if not ended(out): server.run(out, True)
        check_same(tmp/'whole', out)
        n['runs'] += 1
    return n

if __name__=='__main__':
    with tempfile.TemporaryDirectory() as d:
        wanted,seed,start = int((sys.argv[1:] or [20])[0]),random.randrange(1000),time.monotonic()
        print(f'seed {seed}')
        n = soak(Path(d), wanted, seed, say=print)
        print(f'{n["kills"]} kills, {n["torn"]} of them while a checkpoint was written; {n["suspended"]} suspended, {n["refused"]} second resumes refused; '
            f'{n["runs"]} runs, each finished and bit-identical to the uninterrupted run; {time.monotonic()-start:.0f} s')
        if n['kills']<wanted: sys.exit(f'only {n["kills"]} of {wanted} kills within the time limit')
