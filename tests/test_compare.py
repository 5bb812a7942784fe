"A comparison resumes after a crash, is shared by processes, and survives runs that fail"
import os, shutil, time
from dataclasses import replace
from pathlib import Path
import pandas as pd, pytest
from conftest import CNN, SENIOR, apart
from filelock import SoftFileLease
from fastai.callback.tracker import EarlyStoppingCallback
from segkc_fastai.cli import main
from segkc_fastai.core.files import LOCK
from segkc_fastai.runs.compare import compare
from segkc_fastai.runs import grid
from segkc_fastai.runs.config import RunConfig
from segkc_fastai.runs.folder import Run
from segkc_fastai.runs.grid import find_or_train, run_grid, run_path
from segkc_fastai.runs.recipes import Scenes
from segkc_fastai.runs.writer import LEASE

NETS = f'--junior {CNN} --senior {SENIOR} --random --size 64,96 --bs 4'

def command(scenes, out, methods='supervised,fixmatch', more='--labelled 4,8 --seeds 0,1 --epochs 1'):
    return f'compare --data {scenes} --methods {methods} {NETS} {more} --out {out}'.split()

def times(out): return {o.parent.name:o.stat().st_mtime_ns for o in Path(out).glob('*/card.md')}

def test_killed_and_started_again(scenes, tmp_path):
    out = tmp_path/'c'
    args = command(scenes, out, more='--labelled 8 --seeds 0,1 --epochs 2')
    p = apart(main, args)
    while p.is_alive():
        if len(times(out))>=2 and any(not (o.parent/'card.md').exists() for o in out.glob('*/config.json')): break
        time.sleep(.01)
    p.kill()
    p.join()
    done = times(out)
    half = [o.parent.name for o in out.glob('*/config.json') if o.parent.name not in done]
    assert 2<=len(done)<4 and half, 'killed too early or too late to test anything'
    main(args)
    after = times(out)
    assert len(after)==4 and all(after[k]==t for k,t in done.items())
    df = pd.read_csv(out/'results.csv')
    assert len(df)==4 and sorted(df.arm.unique())==['fixmatch','supervised'] and (out/'table.md').read_text().count('±')==3
    for k in ('share','size'): assert (out/f'{out.name}-{k}.png').stat().st_size>5000

def test_two_processes_share_the_cells(scenes, tmp_path):
    "Promised: Processes divide a grid, and train nothing twice. Attacked: Two at once"
    args = command(scenes, tmp_path/'c', more='--labelled 8 --seeds 0,1 --epochs 1')
    logs = [tmp_path/f'{i}.txt' for i in range(2)]
    ps = [apart(main, args, log=o) for o in logs]
    for p in ps: p.join(300)
    said = [o.read_text() for o in logs]
    assert [p.exitcode for p in ps]==[0,0], said
    trained = [[s.split(':')[0] for s in o.splitlines() if s.endswith(': training')] for o in said]
    assert len(trained[0])+len(trained[1])==len(set(trained[0]) | set(trained[1]))==4 and all(trained)
    assert len(pd.read_csv(tmp_path/'c'/'results.csv'))==4

SMALL = dict(junior=CNN, epochs=1, size=(64,96), bs=4, pretrained=False)
ONE = {'a':dict(method='supervised')}

def grid_of(arms, scenes, out, seeds=(0,), labelled=8, split='test', **kw): return run_grid(arms, RunConfig(scenes, **SMALL|kw), out, seeds, labelled, split, device='cpu')

def test_a_cell_locked_by_another_process_is_not_repeated(scenes, tmp_path, monkeypatch):
    path,seen = run_path(tmp_path, 'a', 8, 0),[]
    path.mkdir()
    lock = SoftFileLease(path/LOCK, lease_duration=LEASE)
    lock.acquire()
    def sleep(s): # the other process ends while this one waits
        seen.append((path/'config.json').exists())
        lock.release()
    monkeypatch.setattr(grid.time, 'sleep', sleep)
    assert len(grid_of(ONE, scenes, tmp_path))==1 and seen==[False]

@pytest.mark.parametrize('left', [['config.json','card.md','labelled.txt'], ['labelled.txt.1.part'], ['config.json']])
def test_files_left_by_a_killed_process_are_replaced(scenes, tmp_path, left):
    path = run_path(tmp_path, 'a', 8, 0)
    grid_of(ONE, scenes, tmp_path)
    for o in path.iterdir():
        if o.name not in left: shutil.rmtree(o) if o.is_dir() else o.unlink()
    if left[0].endswith('.part'): (path/left[0]).touch()
    assert len(grid_of(ONE, scenes, tmp_path))==1 and Run(path).finished and not list(tmp_path.glob('*.part'))

def test_a_run_that_ends_early_is_not_trained_again(scenes, tmp_path, monkeypatch):
    "Promised: A run that stopped early is finished. Attacked: A grid of runs with early stopping, started again"
    stop,whole = lambda: EarlyStoppingCallback('junior_miou', min_delta=2., patience=1),grid.train_run
    monkeypatch.setattr(grid, 'train_run', lambda out, config, cbs, **how: whole(out, config, [stop()], **how))
    df = grid_of(ONE, scenes, tmp_path, epochs=3)
    when = times(tmp_path)
    again = grid_of(ONE, scenes, tmp_path, epochs=3)
    assert len(Run(df.path[0]).history)==2 and times(tmp_path)==when and again.miou.tolist()==df.miou.tolist() and not again.attrs['failed']

def test_a_failed_evaluation_costs_one_row(scenes, tmp_path, monkeypatch, capsys):
    whole = grid.result
    def broken(run, split):
        if run.config.method=='fixmatch': raise OSError('no test image')
        return whole(run, split)
    monkeypatch.setattr(grid, 'result', broken)
    df = grid_of(ONE | {'b':dict(method='fixmatch')}, scenes, tmp_path)
    assert list(df.arm)==['a'] and df.attrs['failed']==['b-8-seed0']

@pytest.mark.parametrize('kw, words', [
    (dict(split='tset'), "split: 'tset'"),
    (dict(seeds=(0,0)), 'a-8-seed0: 2 runs'),
    (dict(labelled=['x/92/l.txt','y/92/l.txt']), 'a-92-l-seed0: 2 runs'),
    (dict(labelled=99), '99'),
])
def test_an_impossible_grid_raises_before_training(scenes, tmp_path, kw, words):
    for d in 'xy':
        (tmp_path/d/'92').mkdir(parents=True)
        (tmp_path/d/'92'/'l.txt').write_text('scene_00001\n')
    if isinstance(kw.get('labelled'), list): kw = kw | dict(labelled=[str(tmp_path/o) for o in kw['labelled']])
    with pytest.raises(ValueError) as e: grid_of(ONE, scenes, tmp_path/'c', **kw)
    assert words in str(e.value) and not list(tmp_path.glob('c/*/config.json'))

def test_a_run_with_other_settings_is_not_reused(scenes, tmp_path):
    grid_of(ONE, scenes, tmp_path, lr=1e-2)
    with pytest.raises(ValueError) as e: grid_of(ONE, scenes, tmp_path)
    assert 'lr=0.01, not 0.001' in str(e.value)

def test_a_run_is_found_however_its_paths_are_spelled(scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = sorted(o.stem for o in (Path(scenes)/'train'/'images').iterdir())[:8]
    (tmp_path/'runs').mkdir()
    listed(tmp_path/'runs'/'a.txt', names)
    config = RunConfig(str(scenes), labelled='runs/a.txt', method='supervised', **SMALL)
    find_or_train('runs/r', config, device='cpu')
    for k in ('.','/.'): assert find_or_train(tmp_path/'runs'/'r', replace(config, data=f'{scenes}/{k}', labelled=str(tmp_path/'runs'/'a.txt'))).path==tmp_path/'runs'/'r'
    os.rename('runs', 'moved')
    assert find_or_train('moved/r', replace(config, labelled='moved/a.txt')).path==Path('moved/r')
    with pytest.raises(ValueError, match='holds a run with labelled='): find_or_train('moved/r', replace(config, labelled='8'))
    first = find_or_train('moved/all', replace(config, labelled=None), device='cpu')
    assert find_or_train('moved/all', replace(config, labelled=None)).config==first.config

def changed(folder):
    "Change the first file of a folder, and return its stem"
    f = next(folder.iterdir())
    f.write_bytes(f.read_bytes()+b'x')
    return f.stem

@pytest.mark.parametrize('folder, words', [('val/images','a-8-seed0: 1 of 28 images or their masks differ: {}; restore'),
    ('test/masks','images or their masks differ: {} from those of test that it was measured on')])
def test_runs_on_files_that_have_changed_are_not_reused(scenes, tmp_path, folder, words):
    grid_of(ONE, scenes, tmp_path)
    with pytest.raises(ValueError, match=words.format(changed(scenes/folder))): grid_of(ONE, scenes, tmp_path, seeds=(0,1))
    assert not (tmp_path/'a-8-seed1').exists()
    if folder=='test/masks': assert len(grid_of(ONE, scenes, tmp_path, split='val'))==1

def listed(file, names):
    file.write_text('\n'.join(names))
    return str(file)

def test_runs_on_images_that_were_others_are_not_reused(scenes, tmp_path):
    "Promised: The runs of a table saw the same images. Attacked: Other names in the list, then an image more, then as before"
    names = sorted(o.stem for o in (scenes/'train'/'images').iterdir())
    again = lambda seeds=(0,): grid_of(ONE, scenes, tmp_path/'c', seeds, listed(tmp_path/'l.txt', names[:4]))
    def stops():
        with pytest.raises(ValueError, match='l-seed0: holds a run with other training images than its settings name now; restore'): again((0,1))
    assert len(again())==len(again())==1
    names = names[::-1]
    stops()
    names = names[::-1]
    shutil.copy(scenes/'val/images'/(o := next((scenes/'val/images').iterdir())).name, scenes/f'train/images/more{o.suffix}')
    stops()
    (scenes/f'train/images/more{o.suffix}').unlink()
    assert len(again())==1 and len(list((tmp_path/'c').glob('*/config.json')))==1

def test_a_failed_run_is_recorded_and_tried_again(scenes, tmp_path, capsys):
    image = next((scenes/'train'/'images').iterdir())
    whole = image.read_bytes()
    image.write_bytes(whole[:len(whole)//2]) # found when it is read, in the run
    args = command(scenes, tmp_path/'c', more='--labelled 23 --seeds 0 --epochs 1')
    with pytest.raises(SystemExit) as e: main(args)
    assert 'none of 2 runs' in str(e.value) and image.name in (tmp_path/'c'/'failed'/'supervised-23-seed0.txt').read_text()
    image.write_bytes(whole)
    main(args)
    assert not list((tmp_path/'c'/'failed').iterdir()) and len(pd.read_csv(tmp_path/'c'/'results.csv'))==2

def test_a_failed_run_does_not_stop_the_others(scenes, tmp_path, capsys):
    with pytest.raises(SystemExit) as e: main(command(scenes, tmp_path/'c', 'supervised,cps', '--senior vit_tiny_patch16_224+dpt:16 --size 64,90 --labelled 8 --seeds 0 --epochs 1'))
    assert '1 runs could not be finished: cps-8-seed0' in str(e.value)
    table = (tmp_path/'c'/'table.md').read_text()
    assert 'Not finished: cps-8-seed0.' in table and '| supervised |' in table

def test_all_methods_from_a_recipe(scenes, tmp_path, capsys):
    config = Scenes(scenes, junior=CNN, senior=SENIOR, labelled=8, epochs=1)
    df = compare(config.comparison(), tmp_path/'c', seeds=(0,), device='cpu').set_index('arm')
    assert list(df.index)==['supervised','mean_teacher','fixmatch','unimatch','self_training','cps','segkc','gta','mkd'] and df.deployed.nunique()==1
    assert (df.trained>df.deployed).to_dict()==dict.fromkeys(df.index, False) | dict(self_training=True, cps=True, segkc=True, gta=True, mkd=True)
    runs = {a:Run(p) for a,p in df.path.items()}
    args = runs['cps'].config.method_args
    assert len({r.facts.split_hash for r in runs.values()})==1 and args['weight']==.6 and 'weight_senior' not in args

@pytest.mark.parametrize('more, words', [
    ('--methods supervised,spc', "unknown method 'spc'; choose from supervised"),
    ('--method-arg tau=1', "method argument 'tau': no method takes it"),
    ('--method-arg cps.cap=.9', "method argument 'cps.cap': no method takes it"),
    ('--data nowhere', 'nowhere'),
    ('--published', 'no published numbers'),
    ('--methods supervised,cps --senior zzz', "encoder 'zzz'"),
])
def test_mistakes_are_found_before_anything_is_trained(scenes, tmp_path, more, words):
    with pytest.raises(SystemExit) as e: main([*command(scenes, tmp_path/'c'), *more.split()])
    assert words in str(e.value) and not list(tmp_path.glob('c/*/config.json')) and not list(tmp_path.glob('c/failed/*'))
