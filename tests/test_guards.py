"Guards report each way in which self-training fails, and nothing of a healthy training, which they leave as it is"
import html
import pytest, torch
from conftest import SENIOR, SMALL, learner, train
from fastai.callback.core import Callback
from fastprogress.fastprogress import NBMasterBar
from segkc_fastai.core.files import read_json
from segkc_fastai.methods.cps import cps
from segkc_fastai.methods.fixmatch import fixmatch
from segkc_fastai.methods.mean_teacher import mean_teacher
from segkc_fastai.methods.registry import make_method
from segkc_fastai.methods.self_training import self_training
from segkc_fastai.runs.folder import Run
from segkc_fastai.runs.training import resume_run
from segkc_fastai.train.checkpoint import load_state
from segkc_fastai.train.guards import FailingTraining
from segkc_fastai.view.live import TrainingMonitor

NOW = dict(warmup=0)

def fit(learn, n=4, lr=1e-3, **kw):
    torch.manual_seed(0)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(n, lr, **kw)
    return learn

def make(scenes, method, cbs=(), **kw): return learner(scenes, senior=SENIOR if 'senior' in method.members else None, method=method, cbs=cbs, **kw)

class Broken(Callback):
    "Networks label everything as building, and from an epoch on as sky; or they stay as they were at the start"
    order,run_valid = -5,False
    def __init__(self, *names, since=0, forget=False, first=True): self.names,self.since,self.forget,self.first = names,since,forget,first
    def before_fit(self): self.start = {k:{n:p.clone() for n,p in self.model[k].state_dict().items()} for k in self.names}
    def before_batch(self):
        late = self.epoch>=self.since
        for k in self.names if late or self.first else ():
            if self.forget: self.model[k].load_state_dict(self.start[k])
            else: self.model[k].classifier.bias.data[:2] = torch.tensor([1000.,0.] if late else [0.,1000.])
    after_batch = before_batch

def healthy(scenes, name, cbs=()):
    own = dict(supervised={}, self_training={}) | dict.fromkeys(('fixmatch','unimatch'), dict(NOW, threshold=.3))
    return make(scenes, make_method(name, **own.get(name, NOW)), cbs)

@pytest.mark.parametrize('name', ['supervised','self_training','unimatch','segkc','gta','mkd'])
def test_nothing_is_reported_of_healthy_trainings(scenes, name):
    guards = fit(healthy(scenes, name)).training_guards
    assert guards.found==[] and len(guards.rows)==4 and bool(guards.rows[-1]['counts'])==(name!='supervised')

@pytest.mark.parametrize('name', ['unimatch','segkc','gta'])
def test_training_is_the_same_with_them(scenes, name):
    a,b = healthy(scenes, name),healthy(scenes, name)
    b.remove_cb(b.training_guards)
    for o in (a, b): fit(o, 1)
    assert a.recorder.losses==b.recorder.losses and all(torch.equal(p, q) for p,q in zip(a.model.parameters(), b.model.parameters()))

def said(learn, *args): return [o.split(';')[0] for o in fit(learn, *args).training_guards.found]

def test_a_class_dies_out(scenes):
    "Each class is reported once, two epochs after the teacher has lost it, and the shares are those of the masks"
    learn = make(scenes, mean_teacher(**NOW), [Broken('junior','teacher', since=2)])
    found = said(learn, 6)
    assert len(found)==1 and found[0].startswith('epoch 4: teacher labels hardly any pixel as building (') and '% in masks)' in found[0]
    counts = learn.training_guards.rows[-1]['counts']
    assert sum(counts['teacher'][1][1:])==0 and sum(counts['teacher'][1])>2000 and counts['teacher'][0]==[0]*8
    assert 0<sum(counts['masks'][1])<=4*4*16*24 and counts['masks'][0]==[0]*8

def test_pasted_objects_are_no_pseudo_labels(scenes):
    learn = make(scenes, mean_teacher(paste=True, **NOW), [Broken('junior','teacher')])
    fit(learn, 1)
    (_,n),m = learn.training_guards.rows[0]['counts']['teacher'],learn.training_guards.rows[0]['counts']['masks'][1]
    assert n[1:]==[0]*7 and all(m[:3]) and sum(n)<4*4*16*24*.95

@pytest.mark.parametrize('threshold,words', [(1.1,'hardly any label of teacher is kept'), (1e-4,'the threshold keeps 100.0 % of the labels of teacher'),
    ('checked:0.99','hardly any label of teacher is kept'), ('checked:0.01:0.0001',None), (0,None)])
def test_a_threshold_that_decides_nothing(scenes, threshold, words):
    found = [o for o in said(make(scenes, fixmatch(threshold=threshold, **NOW))) if 'kept' in o or 'keeps' in o]
    assert len(found)==(words is not None) and all(words in o for o in found)
    assert not found or found[0].startswith('epoch 4' if str(threshold).startswith('checked') else 'epoch 3')

def test_two_networks_agree_on_mistakes(scenes):
    found = said(make(scenes, cps(**NOW), [Broken('senior','junior', since=3, first=False)]), 6, 4e-3)
    assert any(o.startswith('epoch 5: senior and junior agree on 100.0 % of the pixels, while their mIoU has fallen from ') for o in found)

@pytest.mark.parametrize('method,broken,words', [(fixmatch(threshold=0, **NOW),'teacher','teacher labels, but its mIoU of '), (self_training(first=0),'senior','senior labels, but its mIoU of ')])
def test_a_teacher_is_overtaken(scenes, method, broken, words):
    learn = make(scenes, method, [Broken(broken, forget=True)])
    assert any(words in o for o in said(learn, 8, 4e-3)), [r['miou'] for r in learn.training_guards.rows]

def test_searching_for_a_rate_leaves_no_trace(scenes):
    learn = make(scenes, fixmatch(threshold=1.1, **NOW))
    learn.lr_find(num_it=2, show_plot=False, suggest_funcs=())
    assert (learn.training_guards.rows,learn.training_guards.found)==([],[])

def test_lines_stay_below_the_table(scenes, capsys, monkeypatch):
    "Printed once on a terminal; in a notebook, where each row replaces what is below the table, written again"
    learn = make(scenes, fixmatch(threshold=1.1, **NOW))
    learn.fit(5)
    out = capsys.readouterr().out.splitlines()
    line, = learn.training_guards.found
    assert out.count(line)==1 and out[out.index(line)-1].split()[0]=='2'
    learn.progress.mbar = bar = NBMasterBar(range(5))
    guards = learn.training_guards
    for row in ('a','b'):
        bar.write([row], table=True)
        guards.show([])
    assert len(bar.text_parts)==2 and line in str(bar.text_parts[1])

FAILS = SMALL | dict(senior=None, method='fixmatch', method_args=dict(threshold=1.1, warmup=0), epochs=5, probe=0, checkpoint=0)

def test_findings_are_in_card_and_monitor(scenes, tmp_path):
    run = train(tmp_path/'r', scenes, **FAILS)
    (line,),card = run.warnings(),(run.path/'card.md').read_text()
    assert line.startswith('epoch 3: hardly any label of teacher is kept; lower the threshold, or certify one') and f'\n- Warning, {line}\n' in card
    assert read_json(run.path/'card.json')['warnings']==[line] and run.finished and len(run.history)==5
    mon = TrainingMonitor(run.path)
    mon._look_at_folder()
    assert mon.widget.warnings==[line] and html.escape(line) in mon._html()
    learn = make(scenes, fixmatch(threshold=1.1, **NOW))
    fit(learn, cbs=(mon := TrainingMonitor()))
    assert mon.widget.warnings==learn.training_guards.found!=[]
    assert train(tmp_path/'s', scenes, **SMALL).warnings()==[] and not (tmp_path/'s'/'warnings.json').exists()

def test_a_failing_run_stops(scenes, tmp_path):
    with pytest.raises(FailingTraining, match='^epoch 3: hardly any label of teacher is kept'): train(tmp_path/'r', scenes, **FAILS, stop_if_failing=True)
    run = Run(tmp_path/'r')
    assert len(run.history)==3 and not run.finished and 'Stopped early: FailingTraining epoch 3: hardly' in (run.path/'card.md').read_text()

class Halt(Callback):
    order = 1000
    def __init__(self, at): self.at = at
    def after_batch(self):
        if self.learn.training and self.learn.train_iter==self.at: raise KeyboardInterrupt

def test_a_resumed_run_has_the_same_findings(scenes, tmp_path):
    "Interrupted in the step after the third epoch; the checkpoint holds the rows of the epochs before"
    whole = train(tmp_path/'a', scenes, **FAILS)
    with pytest.raises(KeyboardInterrupt): train(tmp_path/'b', scenes, cbs=[Halt(13)], **FAILS)
    state = load_state(tmp_path/'b'/'checkpoint')['callbacks']['training_guards']
    assert len(state['rows'])==3 and state['found']==whole.warnings()!=[]
    run = resume_run(tmp_path/'b', device='cpu')
    assert run.warnings()==whole.warnings() and (run.path/'card.md').read_text().count('- Warning, ')==1
