"Runs that go on from the weights of others, and the chain of them"
import json, shutil
from dataclasses import replace
from pathlib import Path
import numpy as np, pytest, torch
from fastai.callback.core import Callback
from fastai.torch_core import get_model
from segkc_fastai.cli import main
from segkc_fastai.data.benchmarks import load_source
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.splits import write_list
from segkc_fastai.runs.config import FORMAT, RunConfig, read_config
from segkc_fastai.runs.evaluating import evaluate_run
from segkc_fastai.runs.folder import Run, conditions, continued, lineage, not_comparable, run_chain, source_of
from segkc_fastai.runs.grid import check_run
from segkc_fastai.runs.training import resume_run, train_run
from segkc_fastai.train.checkpoint import Checkpoint
from segkc_fastai.view.charts import chain_lines
from segkc_fastai.view.results import all_figures

SMALL = dict(junior='test_efficientnet+fpn:32', pretrained=False, labelled='8', size=(32,64), bs=4, epochs=1, probe=0, checkpoint=None)
PAIR = dict(senior='test_resnet+fpn:32', method='segkc', method_args=dict(warmup=0, ramp=0))
EACH = dict(pair=PAIR, teacher=dict(method='mean_teacher', method_args=dict(warmup=0, ramp=0)), one=dict(method='supervised'))

class First(Callback):
    "Keeps the weights of every network and adaptor before the first step"
    def before_fit(self):
        c = get_model(self.learn.model)
        self.nets = {k:{n:t.clone() for n,t in c[k].state_dict().items()} for k in c.names}
        self.projections = {n:t.clone() for n,t in c.adaptors.state_dict().items()}
        self.rates = [h['lr'] for h in self.opt.hypers]

@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    d = tmp_path_factory.mktemp('chain')
    write_scenes(d/'data', n_train=24, n_val=2, n_test=2, size=(32,64))
    return {k:train_run(d/k, RunConfig(str(d/'data'), **SMALL | kw)) for k,kw in EACH.items()}

@pytest.fixture(scope='module')
def second(runs, tmp_path_factory):
    "A run that goes on from the pair by the command, with a larger list"
    d = tmp_path_factory.mktemp('second')
    run = runs['pair']
    rest = [o for o in (run.path/'unlabelled.txt').read_text().splitlines() if o[0]!='#']
    (d/'more.txt').write_text((run.path/'labelled.txt').read_text()+'\n'.join(rest[:6]))
    main(f'train --from {run.path}/ --labelled {d}/more.txt --epochs 2 --out {d}/second'.split())
    return Run(d/'second')

def same(a, b): return a.keys()==b.keys() and all(torch.equal(a[k], b[k]) for k in a)

@pytest.mark.parametrize('name', EACH)
def test_it_starts_with_the_weights_of_its_parent(runs, tmp_path, name):
    first,run = First(),runs[name]
    child = train_run(tmp_path/'child', replace(continued(run), labelled='12'), cbs=first)
    follows = {k:v['follows'] or k for k,v in child.facts.networks.items()} # a copy starts equal to the network that it follows
    for k in first.nets: assert same(first.nets[k], run.network(follows[k]).state_dict() if name!='pair' else weights(run, k)), k
    if name=='pair': assert first.projections and same(first.projections, weights(run, 'adaptors'))
    assert len(set(first.rates))==1 and child.config.lr_ratio==1, 'networks that began at random keep one rate for all'

def weights(run, name):
    from safetensors.torch import load_file
    return load_file(run.path/f'{name}.safetensors')

def test_settings_are_those_of_the_parent_but_for_those_given(runs, second):
    was = runs['pair'].config
    assert second.config==replace(was, labelled=second.config.labelled, epochs=2, parent=str(runs['pair'].path), lr_ratio=1)
    assert second.facts.images['labelled']==14 and second.finished and len(second.history)==2

def test_the_parent_is_in_config_and_card(runs, second):
    p = str(runs['pair'].path)
    assert json.loads((second.path/'config.json').read_text())['settings']['parent']==p==json.loads((second.path/'card.json').read_text())['parent']
    assert {v['pretrained'] for v in second.facts.networks.values()}=={f'weights of {p}'}
    text = (second.path/'card.md').read_text()
    assert f'from weights of {p}' in text and 'encoders 1/' not in text

def test_a_comparison_shows_where_it_started(runs, second, capsys):
    assert conditions(second)['start']==f'weights of {runs["pair"].path}'
    assert f'different start: random weights and weights of {runs["pair"].path}' in not_comparable(runs['pair'], second)
    with pytest.raises(ValueError, match='holds a run with parent='): check_run(second.path, replace(second.config, parent=None))
    assert check_run(second.path, second.config)

class Stop(Callback):
    order = Checkpoint.order+1
    def __init__(self, at): self.at = at
    def after_batch(self):
        if self.learn.training and self.learn.train_iter==self.at: raise KeyboardInterrupt

def test_it_resumes_without_its_parent(runs, tmp_path):
    parent = Run(shutil.copytree(runs['one'].path, tmp_path/'parent'))
    c = replace(continued(parent), labelled='12', checkpoint=0.)
    whole = train_run(tmp_path/'whole', c)
    with pytest.raises(KeyboardInterrupt): train_run(tmp_path/'cut', c, cbs=Stop(2))
    shutil.rmtree(parent.path)
    done = resume_run(tmp_path/'cut')
    assert done.finished and same(done.network().state_dict(), whole.network().state_dict())
    assert done.facts.networks==whole.facts.networks
    assert run_chain(done).attrs['note'].startswith(f'{parent.path}: no run there')

def test_a_run_before_its_first_checkpoint_needs_its_parent(runs, tmp_path):
    c = replace(continued(runs['one']), labelled='12', checkpoint=10.)
    whole = train_run(tmp_path/'cut', c)
    for k in ('card.md','card.json'): (whole.path/k).unlink() # as if it had been killed in its first epoch
    done = resume_run(whole.path)
    assert same(done.network().state_dict(), whole.network().state_dict())

def refused(line, *parts):
    with pytest.raises(SystemExit) as e: main(line.split())
    said = str(e.value)
    assert said.startswith('segkc: ') and '\n' not in said and all(o in said for o in parts), said

def test_errors(runs, tmp_path):
    p,out = runs['pair'].path,tmp_path/'out'
    go = f'train --out {out} --from {p}'
    refused(go, '--labelled: pass the larger list')
    refused(f'train --from {tmp_path}/nowhere --labelled 12', f'{tmp_path}/nowhere: no run there')
    refused(f'train --resume {p} --from {p}', '--from: not allowed with --resume')
    refused(f'{go} --labelled 12 --junior test_resnet+fpn:32', 'junior: test_resnet+fpn:32 here', 'test_efficientnet+fpn:32 in')
    refused(f'train --out {out} --from {runs["one"].path} --labelled 12 --method cps --senior test_resnet+fpn:32', 'senior: test_resnet+fpn:32 here, no such network in')
    refused(f'{go} --labelled 12 --recipe scenes', '--recipe: not allowed with --from')
    assert not out.exists()

def test_a_parent_without_weights(runs, tmp_path):
    cut = Run(shutil.copytree(runs['one'].path, tmp_path/'cut'))
    (cut.path/'junior.safetensors').unlink()
    refused(f'train --from {cut.path} --labelled 12', 'junior.safetensors: no weights of junior there')
    (cut.path/'card.md').unlink()
    refused(f'train --from {cut.path} --labelled 12', f'{cut.path}: not finished, so it has no weights to start from; finish it with --resume')

def test_other_classes(runs, tmp_path):
    data = shutil.copytree(runs['one'].config.data, tmp_path/'data')
    t = json.loads((data/'task.json').read_text())
    (data/'task.json').write_text(json.dumps(t | dict(classes=t['classes'][::-1])))
    refused(f'train --from {runs["one"].path} --data {data} --labelled 12', ', '.join(t['classes']), ', '.join(t['classes'][::-1]), 'in the same order')

def test_validation_with_images_that_were_learned(runs, tmp_path):
    data = shutil.copytree(runs['one'].config.data, tmp_path/'data')
    shutil.rmtree(data/'val')
    c = RunConfig(data, **SMALL | EACH['one'] | dict(val='4'))
    run = train_run(tmp_path/'held', c)
    learned = [o for o in (run.path/'labelled.txt').read_text().splitlines() if o[0]!='#']
    (tmp_path/'val.txt').write_text('\n'.join(learned[:2]))
    refused(f'train --from {run.path} --labelled 12 --val {tmp_path}/val.txt', 'val: 2 images held out', f'are among those that {run.path} learned from')
    rest = [o for o in (run.path/'unlabelled.txt').read_text().splitlines() if o[0]!='#']
    (tmp_path/'new.txt').write_text('\n'.join(rest[:9]))
    with pytest.warns(UserWarning, match='labelled: 8 images that .* learned from are not labelled now'):
        train_run(tmp_path/'new', replace(continued(run), labelled=str(tmp_path/'new.txt')))

def test_it_holds_out_what_its_parent_held_out(runs, tmp_path):
    data = tmp_path/'flat'
    for k in ('images','masks'): shutil.copytree(Path(runs['one'].config.data)/'train'/k, data/k)
    shutil.copy(Path(runs['one'].config.data)/'task.json', data)
    masks = sorted((data/'masks').iterdir())
    (tmp_path/'kept').mkdir()
    for f in masks[1::2]: shutil.move(f, tmp_path/'kept')
    run = train_run(tmp_path/'first', RunConfig(data, **SMALL | EACH['one'] | dict(labelled='1/1', val='0.25')))
    for f in masks[1:9:2]: shutil.move(tmp_path/'kept'/f.name, data/'masks')
    (run.path/'labels.txt').write_text((run.path/'labelled.txt').read_text()+'\n'.join(f.stem for f in masks[1:9:2]))
    main(f'train --from {run.path} --labelled {run.path}/labels.txt --out {tmp_path}/next'.split())
    child = Run(tmp_path/'next')
    assert child.facts.val_hash==run.facts.val_hash and child.facts.images['labelled']==run.facts.images['labelled']+4
    shutil.rmtree(run.path)
    assert child.config.val==continued(child).val and child.source().val and source_of(child.config).val==child.source().val

def test_relative_paths_lead_from_where_the_run_was_started(tmp_path, monkeypatch, capsys):
    "Also for a namesake of the data in another folder, for a moved run, and for a run that does not know where it was started"
    for k,seed in (('a',0),('b',9)): write_scenes(tmp_path/k/'scenes', n_train=8, n_val=2, n_test=2, size=(32,64), seed=seed)
    monkeypatch.chdir(tmp_path/'a')
    write_list('few.txt', load_source('scenes').train[:4], 'few')
    train_run('runs/one', RunConfig('scenes', **SMALL | EACH['one'] | dict(labelled='few.txt', checkpoint=10.)))
    want = evaluate_run(Run('runs/one')).miou
    assert Run('runs/one').located()==Run('runs/one').config and str(tmp_path) not in (Path('runs/one')/'card.json').read_text()
    monkeypatch.chdir(tmp_path/'b')
    run = Run('../a/runs/one')
    assert (run.config.data, run.source().path)==('scenes', tmp_path/'a'/'scenes') and evaluate_run(run).miou==want
    for k in ('card.md','card.json'): (run.path/k).unlink() # as if it had been killed in its first epoch
    done = resume_run(run.path)
    assert (done.config, done.source().path)==(run.config, tmp_path/'a'/'scenes')
    main('train --from ../a/runs/one --labelled 6 --out two'.split())
    assert load_source(Run('two').config.data).path==tmp_path/'a'/'scenes' and len(lineage(Run('two'))[0])==2
    moved = Run(shutil.move(run.path, tmp_path/'moved'))
    assert moved.source().path==tmp_path/'a'/'scenes'
    (tmp_path/'a').rename(tmp_path/'c')
    together = Run(shutil.move(moved.path, tmp_path/'c'/'moved'))
    assert together.source().path==tmp_path/'c'/'scenes'
    d = json.loads((together.path/'config.json').read_text())
    (together.path/'config.json').write_text(json.dumps({k:v for k,v in d.items() if k!='started'}))
    assert Run(together.path).source().path==tmp_path/'c'/'scenes'
    shutil.rmtree(tmp_path/'c'/'scenes')
    shutil.rmtree('scenes')
    with pytest.raises(FileNotFoundError) as e: Run(together.path).source()
    assert all(o in str(e.value) for o in (f'{together.path}: no such folder: scenes', str(tmp_path/'c'), str(tmp_path/'b')))

def test_another_method_keeps_its_arguments_apart(runs, tmp_path):
    main(f'train --from {runs["pair"].path} --labelled 12 --method supervised --out {tmp_path}/alone'.split())
    c = Run(tmp_path/'alone').config
    assert (c.method, c.senior, c.method_args)==('supervised', None, {})

def test_a_chain_of_three(runs, second, tmp_path, capsys):
    first = runs['pair']
    third = train_run(tmp_path/'third', replace(continued(second), labelled='20', epochs=1))
    (first.path/'labelling.csv').write_text('name,seconds\na,30\nb,90\n')
    for o in (first, third): evaluate_run(o, 'test')
    df = run_chain(third)
    spent = [o.history.seconds.sum()/60 for o in (first, second, third)]
    assert [o.path for o in lineage(third)[0]]==[first.path, second.path, third.path] and df.attrs['note']==''
    assert df.labelled.tolist()==[8,14,20] and df.run.tolist()==['pair','second','third']
    assert np.allclose(df.minutes, np.cumsum(spent)+[0,2,2]) and df.labelling[0]==2
    assert df.test.isna().tolist()==[False,True,False] and df.test[2]==third.report().miou
    assert np.allclose(df.val, [100*o.last['junior_miou'] for o in (first, second, third)], atol=.01)
    a,b = chain_lines(df).axes
    assert [o.get_xdata().tolist() for o in a.lines]==[[8,14,20], [8,20]] and np.allclose(b.lines[0].get_xdata(), df.minutes)
    assert np.allclose(b.lines[0].get_ydata(), df.val) and b.get_xlabel()=='minutes of training and labelling'
    capsys.readouterr()
    main(f'card {third.path}'.split())
    rows = capsys.readouterr().out.splitlines()[-4:-1]
    assert [o.split(' | ')[:2] for o in rows]==[['| pair','8'], ['| second','14'], ['| third','20']] and ' | 2.0 | ' in rows[0]
    files,_ = all_figures([third.path], tmp_path/'figures')
    assert 'third-chain' in [o.stem for o in files]

@pytest.mark.parametrize('lacks', [('stop_if_failing',), ('stop_if_failing','parent')])
def test_configs_of_older_formats_are_read(runs, tmp_path, lacks):
    run = Run(shutil.copytree(runs['one'].path, tmp_path/'old'))
    d = json.loads((run.path/'config.json').read_text())
    assert d['format']==FORMAT==4
    for k in lacks: del d['settings'][k]
    (run.path/'config.json').write_text(json.dumps(d | dict(format=FORMAT-len(lacks))))
    assert read_config(run.path)==(run.config, run.facts) and run.config.parent is None and not run.config.stop_if_failing
