"A comparison as jobs of a cluster: commands named as SLURM's keep what they are given, and processes do what its machines would"
import os, re, signal, time
from pathlib import Path
import pandas as pd, pytest
from conftest import CNN, apart
from segkc_fastai.cli import main
from segkc_fastai.core.files import LOCK
from segkc_fastai.runs.folder import Run
from segkc_fastai.runs.writer import only_writer
from submitit.core.submission import process_job

GPU = '--launcher slurm --job-arg time=60 --job-arg partition=gpu --job-arg gpus_per_node=1'

def command(methods, more, epochs=1, data='scenes'):
    return f'compare --data {data} --methods {methods} --junior {CNN} --random --size 64,96 --bs 4 --labelled 8 --seeds 0 --epochs {epochs} --out c {more}'.split()

@pytest.fixture
def slurm(scenes, tmp_path, monkeypatch):
    "Folder of commands named as SLURM's, which append their arguments to a file; `sbatch` accepts every job but those of a partition full"
    (bin := tmp_path/'bin').mkdir()
    scripts = dict(srun='', scontrol=f'echo $* >> {bin}/scontrol.txt')
    scripts['sbatch'] = 'if grep -q partition=full $1; then echo "sbatch: error: invalid partition specified: full" >&2; exit 1; fi\n' \
        f'cp $1 {bin}/submitted.sh; n=$(ls {bin} | wc -l); touch {bin}/$n; echo Submitted batch job $n'
    for k,text in scripts.items():
        (bin/k).write_text(f'#!/bin/sh\n{text}\n')
        (bin/k).chmod(0o755)
    monkeypatch.setenv('PATH', f'{bin}{os.pathsep}{os.environ["PATH"]}')
    monkeypatch.chdir(tmp_path) # paths of data and runs are relative
    return bin

def at_work(number, home, path):
    "Do as a machine of the cluster with a job, in the folder from which it was submitted"
    job,_,task = number.partition('_')
    os.environ.update(dict(PATH=path, SLURM_JOB_ID=job, SUBMITIT_EXECUTOR='slurm'), **(dict(SLURM_ARRAY_JOB_ID=job, SLURM_ARRAY_TASK_ID=task) if task else {}))
    os.chdir(home)
    process_job(Path('c/jobs').absolute())

def start(number): return apart(at_work, number, Path.cwd(), os.environ['PATH'], log='job.txt')

def finish(number):
    (p := start(number)).join()
    return p.exitcode,Path('job.txt').read_text()

def numbers(said): return dict(re.findall(r'^(\S+): job (\S+)$', said, re.M))

def test_the_runs_of_a_comparison_are_jobs(slurm, capsys):
    main(command('supervised,fixmatch', GPU))
    jobs,script = numbers(capsys.readouterr().out),(slurm/'submitted.sh').read_text()
    assert list(jobs)==['supervised-8-seed0','fixmatch-8-seed0'] and len({o.partition('_')[0] for o in jobs.values()})==1
    assert all(f'#SBATCH --{o}\n' in script for o in ('array=0-1%2','time=60','partition=gpu','gpus-per-node=1','job-name=segkc'))
    assert [o.name for o in Path('c').iterdir()]==['jobs']
    code,log = finish(jobs['fixmatch-8-seed0'])
    assert code==0 and Run('c/fixmatch-8-seed0').finished and not Path('c/supervised-8-seed0').exists(), log
    main(command('supervised,fixmatch', GPU)) # submits the rest
    rest = numbers(capsys.readouterr().out)
    assert list(rest)==['supervised-8-seed0'] and 'array' not in (slurm/'submitted.sh').read_text() and not Path('c/table.md').exists()
    with only_writer('c/supervised-8-seed0'): code,log = finish(jobs['supervised-8-seed0']) # another process trains it
    assert code==1 and 'is writing to this run folder' in log
    code,log = finish(rest['supervised-8-seed0'])
    assert code==0, log
    finish(jobs['supervised-8-seed0']) # submitted twice, trained once
    assert 'supervised-8-seed0: found' in Path('job.txt').read_text()
    main(command('supervised,fixmatch', GPU)) # all are finished
    out = capsys.readouterr().out
    assert len(pd.read_csv('c/results.csv'))==2 and not numbers(out) and 'c/c-share.png' in out

def test_a_job_whose_time_is_up_is_queued_again_and_resumes(slurm, capsys):
    main(command('supervised', GPU, epochs=20))
    (name,number), = numbers(capsys.readouterr().out).items()
    history,p = Path('c')/name/'history.csv',start(number)
    while not (history.exists() and len(history.read_text().splitlines())>3):
        assert p.is_alive(), Path('job.txt').read_text()
        time.sleep(.02)
    os.kill(p.pid, signal.SIGUSR2) # before it stops a job, SLURM sends this signal
    p.join()
    assert (slurm/'scontrol.txt').read_text()==f'requeue {number}\n' and not Run(f'c/{name}').finished and not Path('c',name,LOCK).exists()
    begun = (Path('c')/name/'config.json').stat().st_mtime_ns
    code,log = finish(number)
    assert code==0 and Run(f'c/{name}').finished and len(Run(f'c/{name}').history)==20, log
    assert (Path('c')/name/'config.json').stat().st_mtime_ns==begun

def test_a_job_fails_if_its_run_does(slurm, capsys):
    image = next(Path('scenes/train/images').iterdir())
    main(command('supervised', GPU+' --labelled 24'))
    (name,number), = numbers(capsys.readouterr().out).items()
    image.write_bytes(image.read_bytes()[:100])
    code,log = finish(number)
    assert code==1 and f'{name}: failed; see c/failed/{name}.txt' in log

@pytest.mark.parametrize('more, words', [
    ('--launcher slurm', 'time must be the minutes'),
    ('--launcher slurm --job-arg time=1:00:00', "time must be the minutes that one run may take, not '1:00:00'"),
    ('--launcher slurm --job-arg time=60 --job-arg tiem=3', "slurm: Unavailable parameter(s): ['tiem']; choose from account, additional_parameters"),
    ('--launcher slurm --job-arg time=60 --job-arg partition=full', 'slurm: sbatch: error: invalid partition specified: full'),
    ('--job-arg time=60', 'require a launcher'),
])
def test_mistakes_are_one_sentence(slurm, capfd, more, words):
    with pytest.raises(SystemExit) as e: main(command('supervised', more))
    assert words in str(e.value) and '\n' not in str(e.value) and 'sbatch' not in capfd.readouterr().err and not list(Path('c').glob('*-seed0'))

def test_jobs_of_this_machine(slurm, capsys):
    "A process of its own, with the real interpreter"
    main(command('supervised', '--launcher local'))
    (name,number), = numbers(capsys.readouterr().out).items()
    while not (done := list(Path('c/jobs').glob('*_result.pkl'))): time.sleep(.1)
    assert done[0].name==f'{number}_0_result.pkl' and Run(f'c/{name}').finished
