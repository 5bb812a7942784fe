"Kill runs at random moments, also while they write a checkpoint, and finish them: each must be bit-identical to an uninterrupted run. `make soak`"
import multiprocessing, os, random, signal, sys, tempfile, time
from contextlib import redirect_stdout
from pathlib import Path
import numpy as np, pandas as pd, torch
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.train.checkpoint import STATE
from segkc_fastai.train.probe import Probe
from segkc_fastai.runs.config import RunConfig
from segkc_fastai.runs.folder import Run
from segkc_fastai.runs.training import resume_run, train_run

CNN = 'mobilenetv4_conv_small+fpn:32'
NETS = dict(method='segkc', method_args=dict(warmup=.2, ramp=.2), junior=CNN, senior=CNN, pretrained=False)
ARGS = NETS | dict(labelled=8, epochs=3, size=(64,96), bs=4, probe=2, checkpoint=0)
TIMES = ['seconds','step','gib']

def work(out, data, resume):
    "Train or resume a run, with a checkpoint after every step"
    torch.set_num_threads(1)
    with open(os.devnull, 'w') as f, redirect_stdout(f):
        if resume: resume_run(out, device='cpu')
        else: train_run(out, RunConfig(data, **ARGS), device='cpu')

class Server:
    "Forks processes from one that has imported everything and, as PyTorch requires, computed nothing"
    def __init__(self):
        self.ctx = multiprocessing.get_context('forkserver')
        self.ctx.set_forkserver_preload(['segkc_fastai.runs.training'])
    def start(self, *args):
        p = self.ctx.Process(target=work, args=args)
        p.start()
        return p
    def run(self, *args):
        p = self.start(*args)
        p.join()
        if p.exitcode: raise RuntimeError(f'{args[0]}: exit code {p.exitcode}')

def until(cond, p, seconds):
    "Wait for a condition while a process lives"
    end = time.monotonic()+seconds
    while not cond() and p.is_alive() and time.monotonic()<end: time.sleep(.0005)

def writing(out): return any(out.glob(f'checkpoint/.{STATE}.*.part'))

def kill(server, out, data, rng, took, at_writing):
    "Start or resume a run and kill it after its config is written; return whether it was killed, and half way through a checkpoint"
    p = server.start(out, data, (out/'config.json').is_file())
    until((out/'config.json').is_file, p, 60)
    until(lambda: False, p, rng.uniform(0, took))
    if at_writing: until(lambda: writing(out), p, took)
    p.kill()
    p.join()
    return p.exitcode==-signal.SIGKILL,writing(out)

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
    limit=550.,  # seconds; no run starts later
    say=lambda *a: None
): # numbers of kills, of kills while a checkpoint was written, and of runs
    "Kill runs once or several times, finish each, and compare it with an uninterrupted run"
    data,server,rng = write_scenes(tmp/'scenes', n_train=24, n_val=4, n_test=4),Server(),random.Random(seed)
    end,dead,torn,runs = time.monotonic()+limit,0,0,0
    server.run(tmp/'whole', data, False)
    config,card = (os.stat(tmp/'whole'/k).st_mtime for k in ('config.json','card.md'))
    while dead<kills and time.monotonic()<end:
        out = tmp/f'run{runs}'
        for _ in range(min(rng.choice((1,1,2,3)), kills-dead)):
            killed,half = kill(server, out, data, rng, card-config, at_writing=dead%2==1)
            dead,torn = dead+killed,torn+(killed and half)
            say(f'{out.name}: {"killed" if killed else "already finished"}, {len(Run(out).history) if (out/"history.csv").is_file() else 0} epochs completed{", while writing a checkpoint" if half else ""}')
            if not killed: break
        if not (out/'card.md').is_file() or not Run(out).ended: server.run(out, data, True)
        check_same(tmp/'whole', out)
        runs += 1
    return dead,torn,runs

if __name__=='__main__':
    with tempfile.TemporaryDirectory() as d:
        n,seed,begin = int((sys.argv[1:] or [20])[0]),random.randrange(1000),time.monotonic()
        print(f'seed {seed}')
        dead,torn,runs = soak(Path(d), n, seed, say=print)
        print(f'{dead} kills, {torn} of them while a checkpoint was written; {runs} runs, each finished and bit-identical to the uninterrupted run; {time.monotonic()-begin:.0f} s')
        if dead<n: sys.exit(f'only {dead} of {n} kills within the time limit')
