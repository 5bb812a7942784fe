"A run folder has one writer: a second one is refused, a silent one is replaced, and stops when it wakes up"
import os, re, signal, socket, time
import pytest
from conftest import CNN, apart, train
from fastai.callback.core import Callback
from segkc_fastai.core.files import LOCK, write_text
from segkc_fastai.runs import writer
from segkc_fastai.runs.folder import Run, has_checkpoint
from segkc_fastai.runs.grid import find_or_train, run_grid
from segkc_fastai.runs.config import RunConfig
from segkc_fastai.runs.training import _clear, resume_run
from segkc_fastai.runs.writer import RunTaken, clear_folder, only_writer

RUN = dict(method='supervised', junior=CNN, labelled=8, epochs=2, size=(64,96), bs=4, pretrained=False, device='cpu')

RUN_SETTINGS = {k:v for k,v in RUN.items() if k!='device'}

@pytest.fixture
def short(monkeypatch):
    "Owners are replaced after two seconds"
    for k,v in dict(LEASE=2., BEAT=.2).items(): monkeypatch.setattr(writer, k, v)

def until(cond, seconds=60):
    end = time.monotonic()+seconds
    while not cond() and time.monotonic()<end: time.sleep(.005)
    assert cond()

def hold(path, lease=60.):
    "Hold the lock of a folder, and write to it once in a while"
    writer.LEASE,writer.BEAT = lease,lease/10
    with only_writer(path):
        for i in range(3000):
            write_text(path/'history.csv', str(i))
            time.sleep(.02)

class Slow(Callback):
    def after_batch(self): time.sleep(.2)

def slowly(out, scenes):
    "Train with a checkpoint after each step, and a lock that lasts for two seconds"
    writer.LEASE,writer.BEAT = 2.,.2
    train(out, scenes, **RUN|dict(checkpoint=0, epochs=5), cbs=[Slow()])

@pytest.fixture
def process(tmp_path):
    "Starts processes, and kills those that are left"
    started = []
    def start(*args):
        started.append(p := apart(*args, log=tmp_path/f'{len(started)}.log'))
        return p
    yield start
    for p in started:
        p.kill()
        p.join()

def files(path): return {str(o.relative_to(path)):o.read_bytes() for o in path.rglob('*') if o.is_file()}

def test_a_second_resume_is_refused(scenes, tmp_path, process, short):
    "Promised: A run folder has one writer. Attacked: Resumed by two processes at once"
    out,log = tmp_path/'r',tmp_path/'0.log'
    p = process(slowly, out, scenes)
    until(lambda: has_checkpoint(out) or not p.is_alive())
    with pytest.raises(RunTaken, match=rf'r: process {p.pid} on {re.escape(socket.gethostname())}\S*, since 20\d\d-\d\d-\d\d \d\d:\d\d, is writing to this run folder; wait'): resume_run(out, device='cpu')
    with pytest.raises(RunTaken, match='is writing'): train(out, scenes, **RUN)
    p.join(120)
    assert p.exitcode==0 and Run(out).finished and LOCK not in files(out), log.read_text()

def test_the_same_command_twice_removes_nothing(tmp_path, process):
    "Promised: A run folder has one writer. Attacked: A second `find_or_train`, as of `check-labels`, in the first epoch"
    out = tmp_path/'r'
    process(hold, out)
    until(lambda: (out/'history.csv').is_file())
    with pytest.raises(RunTaken, match='is writing to this run folder; wait'): find_or_train(out, RunConfig(str(tmp_path), **RUN_SETTINGS))
    assert (out/'history.csv').is_file()

def test_a_suspended_process_is_replaced_and_writes_nothing_when_it_wakes_up(scenes, tmp_path, process, short):
    "Promised: A process that has lost its run writes nothing more. Attacked: Suspended until another process took the run over, then woken up"
    out,log = tmp_path/'r',tmp_path/'0.log'
    p = process(slowly, out, scenes)
    until(lambda: has_checkpoint(out) or not p.is_alive())
    os.kill(p.pid, signal.SIGSTOP)
    run = resume_run(out, device='cpu')
    assert run.finished and len(run.history)==5
    done = files(out)
    os.kill(p.pid, signal.SIGCONT)
    p.join(60)
    said = log.read_text()
    assert files(out)==done and p.exitcode==1 and 'another process has taken this run over, because this process had been silent for 2 s' in said

def test_a_suspended_process_leaves_a_run_alone_that_has_not_begun(tmp_path, process, short):
    "Neither the folder nor anything of the new owner is removed, although there is no checkpoint yet"
    out = tmp_path/'r'
    p = process(hold, out, 2.)
    until((out/'history.csv').is_file)
    os.kill(p.pid, signal.SIGSTOP)
    with only_writer(out):
        write_text(out/'history.csv', 'mine')
        os.kill(p.pid, signal.SIGCONT)
        p.join(30)
        assert p.exitcode==1 and (out/'history.csv').read_text()=='mine' and sorted(files(out))==[LOCK,'history.csv']

def test_a_dead_process_is_replaced_at_once(tmp_path, process):
    "Promised: A lock does not outlive its owner. Attacked: Killed, and resumed at once"
    out = tmp_path/'r'
    p = process(hold, out)
    until((out/'history.csv').is_file)
    p.kill()
    p.join()
    assert (out/LOCK).is_file()
    began = time.monotonic()
    with only_writer(out): assert time.monotonic()-began<2

@pytest.mark.parametrize('change', [lambda s: s.replace(socket.gethostname(), 'elsewhere'), lambda s: s], ids=['of another host','of a copied folder'])
def test_a_lock_without_a_sign_of_life_is_replaced(tmp_path, process, short, capsys, change):
    "Promised: The same if the owner cannot be asked. Attacked: The lock of another host, and of a copied folder"
    out,copy = tmp_path/'r',tmp_path/'copy'
    process(hold, out, 2.)
    until((out/LOCK).is_file)
    until(lambda: 'since' in (out/LOCK).read_text())
    copy.mkdir()
    (copy/LOCK).write_text(change((out/LOCK).read_text()))
    with pytest.raises(RunTaken), only_writer(copy, wait=False): pass
    began = time.monotonic()
    with only_writer(copy): assert 1.5<time.monotonic()-began<20
    assert 'waiting up to 2 s for a sign of life' in capsys.readouterr().out

def test_a_grid_takes_a_run_over_from_a_silent_process(scenes, tmp_path, process, short):
    "It asks again and again, since it has no other cell to train"
    out = tmp_path/'c'/'a-8-seed0'
    p = process(hold, out, 2.)
    until((out/'history.csv').is_file)
    os.kill(p.pid, signal.SIGSTOP)
    (out/'history.csv').unlink()
    config = RunConfig(scenes, **{k:v for k,v in RUN.items() if k!='device'})
    df = run_grid({'a':{}}, config, tmp_path/'c', (0,), 8, wait=.3, device='cpu')
    assert len(df)==1 and not df.attrs['failed']

def lose(path):
    "Make another process the owner of a folder"
    (path/LOCK).write_text((path/LOCK).read_text().replace(f'pid={os.getpid()}', 'pid=1'))

def test_a_lost_run_keeps_what_its_new_owner_is_writing(tmp_path):
    "Promised: Nor does it remove anything. Attacked: It wakes up while it removes what its predecessor had left half-written"
    out = tmp_path/'r'
    for do in (_clear, clear_folder):
        with pytest.raises(RunTaken), only_writer(out):
            (out/'.state.safetensors.1.part').touch()
            lose(out)
            do(out)
        assert (out/'.state.safetensors.1.part').is_file()
        (out/LOCK).unlink(missing_ok=True)

def test_a_lost_folder_is_not_removed_by_a_run_that_fails(scenes, tmp_path):
    "As when another process has started the run anew"
    class Lose(Callback):
        def before_fit(self):
            lose(tmp_path/'r')
            raise ZeroDivisionError
    with pytest.raises(RunTaken, match='has taken this run over'): train(tmp_path/'r', scenes, **RUN, cbs=[Lose()])
    assert Run(tmp_path/'r').config.labelled=='8'
