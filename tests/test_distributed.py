"Two processes train as one process does"
import hashlib, json, os, shutil, time
from contextlib import suppress
import pytest, torch
import torch.distributed as dist
from accelerate.commands.launch import launch_command, launch_command_parser
from conftest import CNN, SMALL, SOAK, apart, train, vit
from fastai.callback.core import Callback
from fastai.torch_core import rank_distrib, set_seed
from segkc_fastai.cli import main
from segkc_fastai.data.benchmarks import load_source
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.splits import split_source
from segkc_fastai.core.parallel import SHARED
from segkc_fastai.methods.losses import OHEM
from segkc_fastai.methods.step import MoveEMA
from segkc_fastai.methods.registry import METHODS, make_method
from segkc_fastai.train.checkpoint import Checkpoint, load_state, save_state
from segkc_fastai.train.distributed import _free_port, distributed, launch
from segkc_fastai.train.learner import dual_learner
from segkc_fastai.train.probe import Probe
from segkc_fastai.runs.folder import Run
from segkc_fastai.runs.training import resume_run

STEPS = 52 if SOAK else 12
RAMPS = ('mean_teacher','cps','segkc')
EARLY = {k:dict(warmup=.2) for k in METHODS if k!='supervised'} | {k:dict(warmup=.2, ramp=.2) for k in RAMPS} | dict(self_training={}) # all ramps begin within the steps
PLAIN = {k:dict(warmup=0, cutmix=False) for k in ('fixmatch','gta','mkd')} | {k:dict(warmup=0, ramp=0, cutmix=False) for k in RAMPS} # without random numbers
PLAIN |= {f'{k}, warming up':dict(warmup=.5, cutmix=False) for k in ('segkc','gta')} # adaptors and assistant have nothing to do yet
for k in ('fixmatch','mean_teacher','cps','segkc','segkc, warming up'): PLAIN[k]['paste'] = False
PLAIN['fixmatch'] |= dict(threshold=.1455) # keeps a part of the pixels
PLAIN['cps'] |= dict(threshold=.1455, criterion=OHEM(.1, .122))

class Gradients(Callback):
    "Record the gradients of the first step"
    order = MoveEMA.order
    def before_fit(self): self.first = {}
    def before_step(self):
        if not self.first: self.first = {k.removeprefix('module.'):p.grad.clone() for k,p in self.model.named_parameters() if p.grad is not None}

def learner(folder, method, nets, repeat=1, size=(64,96), cbs=(), **kw):
    "Unlabelled images are repeated, for many steps in one epoch; views have different scales, so the padding of images differs"
    set_seed(0)
    src = split_source(load_source(folder), 8, 0)
    task,val = load_source(folder).task,load_source(folder).part('val')
    dls = SemiDataLoaders.from_lists(src.labelled, src.unlabelled*repeat, val, task, size=size, bs=4, val_bs=2, scale=(.5,1.5), device='cpu', **kw)
    own = dict(junior=nets()) | (dict(senior=nets()) if 'senior' in method.members else {})
    return dual_learner(dls, method=method, pretrained=False, cbs=list(cbs), **own)

def fit(learn, *args, **kw):
    with distributed(learn), learn.no_bar(), learn.no_logging(): learn.fit(*args, **kw)

def measured(folder, name):
    "Gradients, losses and the row of the table after one epoch with a learning rate of 0"
    learn = learner(folder, make_method(name.split(',')[0], **PLAIN[name]), vit, strong=lambda x: 1-x, cbs=[Gradients()])
    fit(learn, 1, 0.)
    row = dict(zip(learn.recorder.metric_names[1:-1], map(float, learn.recorder.values[-1])))
    low_high = learn.seg_metrics.interval(learn.model.deployed)
    counts = {k:[n for o in v for n in o] for k,v in learn.training_guards.rows[0]['counts'].items()}
    return dict(row=row, counts=counts, interval=low_high, losses=list(map(float, learn.recorder.losses)), gradients=learn.gradients.first)

def digests(learn):
    "Parameters, buffers and the counter of EMA moves"
    state = learn.model.state_dict()
    return {k:hashlib.sha256(v.numpy().tobytes()).hexdigest() if isinstance(v, torch.Tensor) else repr(v) for k,v in state.items()}

def many(folder, name):
    "Names of the entries that differ between processes after many steps, and of those that did not change"
    learn = learner(folder, make_method(name, **EARLY.get(name, {})), lambda: CNN, repeat=STEPS//4, size=(32,48))
    start,each = digests(learn),[None]*2
    fit(learn, 1, 1e-3)
    dist.all_gather_object(each, digests(learn))
    assert len(learn.recorder.losses)==STEPS and type(learn.model).__name__=='Cohort'
    return dict(differ=[k for k in start if each[0][k]!=each[1][k]], same=[k for k in start if each[0][k]==start[k]])

def certified(folder):
    "Checked thresholds of each process, one per class and labeller, after two epochs"
    learn,each = learner(folder, make_method('cps', threshold='checked:0.02', warmup=0), lambda: CNN, repeat=2, size=(32,48)),[None]*2
    fit(learn, 2, 1e-3)
    dist.all_gather_object(each, {k:v.tolist() for k,v in learn.checked.least.items()})
    return each

def both(folder, out):
    res = dict(many={k:many(folder, k) for k in METHODS}, measured={k:measured(folder, k) for k in PLAIN}, certified=certified(folder))
    torch.save(res, out/f'{rank_distrib()}.pt')

class Stops(Callback):
    order = 0
    def before_batch(self):
        if rank_distrib()==1 and self.train_iter==2: raise ValueError('a file that cannot be read')

def breaks(folder, out):
    learn = learner(folder, make_method('cps', warmup=0), vit, cbs=[Stops()])
    try: fit(learn, 1)
    except Exception as e:
        left = [cb.name for cb in learn.cbs if cb.name in ('shared_step','distributed_trainer')]
        after = [type(learn.model).__name__, [dl.processes for dl in learn.dls.loaders], SHARED.processes, left]
        (out/f'error{rank_distrib()}.json').write_text(json.dumps([type(e).__name__, str(e), after]))

class Halts(Callback):
    "Interrupt in the second step of the second epoch, after the checkpoint"
    order = Checkpoint.order+1
    def after_batch(self):
        if self.learn.training and self.train_iter==6: raise KeyboardInterrupt

HALVED = SMALL | dict(senior=CNN, epochs=3, probe=4, checkpoint=0)

def halve(folder, out): train(out, folder, 'segkc', cbs=[Halts()], **HALVED)

def side_of_two(folder, out):
    "All trainings with two processes; `launch` copies the process that calls it"
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
    for f in (both, breaks): launch(f, folder, out, processes=2)
    for k,n in dict(one=1, two=2).items():
        with suppress(KeyboardInterrupt, Exception): halve(folder, out/k) if n==1 else launch(halve, folder, out/k, processes=2)
    launch(resume_run, out/'one', device='cpu', processes=2)
    try: launch(train, out/'odd', folder, 'cps', **(SMALL|dict(bs=3)), processes=2)
    except Exception as e: (out/'odd.txt').write_text(str(e))

@pytest.fixture(scope='module')
def two(tmp_path_factory):
    "Folder of scenes, and the results of two processes"
    d = tmp_path_factory.mktemp('two')
    write_scenes(d/'scenes', n_train=24, n_val=5, n_test=4)
    (d/'out').mkdir()
    p = apart(side_of_two, d/'scenes', d/'out', log=d/'log.txt')
    p.join()
    assert p.exitcode==0, (d/'log.txt').read_text()
    return d/'scenes',d/'out'

def test_processes_agree_after_many_steps(two):
    for o in (torch.load(two[1]/f'{i}.pt')['many'] for i in (0,1)):
        assert {k:v['differ'] for k,v in o.items()}=={k:[] for k in METHODS}
        assert not [(k,n) for k,v in o.items() for n in v['same'] if not n.endswith(('.mean','.std','_extra_state'))] # all learned

def test_processes_agree_on_checked_thresholds(two):
    "Each reads all images that were left out, since a half would certify less"
    first,second = torch.load(two[1]/'0.pt')['certified']
    assert first==second and min(o for v in first.values() for o in v)<1

@pytest.mark.parametrize('name', PLAIN)
def test_two_halves_equal_one_batch(two, name):
    one,parts = measured(two[0], name),[torch.load(two[1]/f'{i}.pt')['measured'][name] for i in (0,1)]
    assert 0<one['row'].get('kept', .5)<=1 and any(k.startswith(('adaptors','members.assistant')) for k in one['gradients'])==(name in ('segkc','gta')) and one['interval']==parts[0]['interval']==parts[1]['interval']
    for o in parts:
        assert o['counts']==one['counts'] and o['row']==pytest.approx(one['row'], abs=1e-5) and o['losses']==pytest.approx(one['losses'], abs=1e-5)
        assert set(o['gradients'])==set(one['gradients'])
        for k,g in one['gradients'].items(): assert torch.allclose(o['gradients'][k], g, rtol=1e-4, atol=1e-5), k

def test_a_failing_process_stops_all(two):
    (lost,why,after),(error,own,_) = (json.loads((two[1]/f'error{i}.json').read_text()) for i in (0,1))
    assert (lost,error)==('ConnectionError','ValueError') and 'its own message says why' in why and 'cannot be read' in own
    assert after==['Cohort', [1]*3, 1, []]

def test_a_batch_that_cannot_be_divided(two):
    assert 'bs=3: 2 processes cannot divide' in (two[1]/'odd.txt').read_text() and not (two[1]/'odd').exists()

def test_resuming_with_another_number_of_processes(two):
    "Begun by one process and finished by two, and the reverse"
    resume_run(two[1]/'two', device='cpu')
    a,b = (Run(two[1]/k) for k in ('one','two'))
    assert a.finished and b.finished and a.history.lr.tolist()==b.history.lr.tolist() and len(a.history)==3
    assert [Probe(o).records for o in (a, b)]==[[(0,4),(1,8),(2,12)]]*2

STANDS_IN = '''
import json, os, sys, time
from pathlib import Path
part,done = (Path(sys.argv[1])/f'{k}.{os.environ["RANK"]}' for k in ('part','done'))
part.write_text(json.dumps(dict(os.environ)))
part.rename(part.with_name(f'environment.{os.environ["RANK"]}'))
while not done.exists(): time.sleep(.02)
'''

def accelerate_launch(*args):
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
    launch_command(launch_command_parser().parse_args(args))

def launched(env, args, home):
    os.environ.update(env)
    os.chdir(home)
    main(args)

def together(tmp, envs, lines, homes):
    "Exit codes of two processes with these environments and working folders, and what each printed"
    logs = [tmp/f'log.{i}' for i in range(2)]
    ps = [apart(launched, env, o.split(), home, log=log) for env,o,home,log in zip(envs, lines, homes, logs)]
    for p in ps: p.join()
    return [p.exitcode for p in ps],[o.read_text() for o in logs]

def by_accelerate(tmp, lines, homes, *machines):
    "The same in the environments made by launchers, one a machine; and the exit codes of these, while a script that starts quickly waits"
    (script := tmp/'script.py').write_text(STANDS_IN)
    how = '--multi_gpu --num_processes 2 --mixed_precision no --dynamo_backend no'
    launchers = [apart(accelerate_launch, *how.split(), *o.split(), str(script), str(tmp), log=tmp/'launcher.txt') for o in machines]
    envs = [tmp/f'environment.{i}' for i in range(2)]
    while not all(o.exists() for o in envs):
        assert all(o.is_alive() for o in launchers), (tmp/'launcher.txt').read_text()
        time.sleep(.02)
    codes,logs = together(tmp, [json.loads(o.read_text()) for o in envs], lines, homes)
    for i in range(2): (tmp/f'done.{i}').touch()
    for p in launchers: p.join()
    return [*codes, *(p.exitcode for p in launchers)],logs

LINE = f'train --data scenes --out run --method gta --junior {CNN} --labelled 8 --epochs 1 --size 64,96 --random'

def is_trained(run): return run.finished and len(run.history)==1 and '2 processes' in run.facts.hardware

def test_accelerate_launch(two, tmp_path):
    codes,logs = by_accelerate(tmp_path, [f'{LINE} --bs 4']*2, [two[0].parent]*2, '--num_machines 1 --main_process_port 0')
    assert codes==[0]*3, logs
    assert is_trained(Run(two[0].parent/'run')) and ''.join(logs).count('Run: ')==1

@pytest.fixture(scope='module')
def homes(two):
    "Working folders of two machines, each with its copy of the data"
    at = [two[0].parent/k for k in 'ab']
    for o in at: shutil.copytree(two[0], o/'scenes')
    return at

def test_two_machines(homes, tmp_path):
    "Relative paths mean those of each machine, and the run is on the first"
    port = _free_port()
    each = [f'--num_machines 2 --machine_rank {i} --main_process_ip 127.0.0.1 --main_process_port {port}' for i in range(2)]
    codes,logs = by_accelerate(tmp_path, [f'{LINE} --bs 4']*2, homes, *each)
    assert codes==[0]*4, logs
    assert is_trained(Run(homes[0]/'run')) and not (homes[1]/'run').exists()

def test_machines_with_other_options_images_or_checkpoints(homes, tmp_path):
    def fail(lines, words):
        env = dict(WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(_free_port()), CUDA_VISIBLE_DEVICES='')
        codes,logs = together(tmp_path, [env | dict(RANK=str(i), LOCAL_RANK=str(i)) for i in range(2)], lines, homes)
        assert codes==[1]*2 and all(words in o and 'Traceback' not in o for o in logs) and not (homes[0]/'other').exists(), logs
    apart(halve, homes[0]/'scenes', homes[0]/'half').join()
    shutil.copytree(homes[0]/'half', homes[1]/'half')
    state = load_state(old := homes[1]/'half'/'checkpoint')
    state['where']['train_iter'] -= 1
    save_state(old, state)
    fail(['train --resume half']*2, 'segkc: checkpoint: ')
    line = LINE.replace('--out run', '--out other')
    fail([f'{line} --bs {n}' for n in (4,2)], 'segkc: bs: 4 in process 0, 2 in process 1; all need the same')
    for k in ('images','masks'):
        o = next((homes[1]/'scenes'/'val'/k).iterdir())
        o.rename(o.with_stem('another'))
    fail([f'{line} --bs 4']*2, 'segkc: val_hash: ')

def test_workers_read_the_same_share(two):
    src = load_source(two[0])
    dls = [SemiDataLoaders.from_lists(src.train[:8], src.train[8:], src.part('val'), src.task, size=(64,96), bs=4, device='cpu', num_workers=n) for n in (0,2)]
    for d in dls:
        for dl in d.loaders: dl.process,dl.processes = 1,2
    for a,b in zip(*(d.loaders for d in dls)):
        xs,ys = ([x for x,_ in o] for o in (a, b))
        assert len(xs)==len(ys)==len(a) and all(torch.equal(x, y) for x,y in zip(xs, ys))
    assert [len(dl) for dl in dls[0].loaders]==[4,1,4] and [len(x) for x in xs]==[2]*4

def test_only_training_is_shared(two, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(SystemExit, match='start it without a launcher'): main(['audit', str(two[0])])
