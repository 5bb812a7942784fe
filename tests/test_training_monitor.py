"Live curves of a history, of a learner, of a folder that another process writes, and in a browser"
import json, math, re, shutil, time
from pathlib import Path
import numpy as np, pandas as pd, pytest, torch
from conftest import learner
from fastai.callback.core import Callback
from lab import pause
from segkc_fastai.core.files import write_json, write_text
from segkc_fastai.core.task import Task
from segkc_fastai.runs.config import RunConfig, RunFacts, write_config
from segkc_fastai.train.precision import InFlight
from segkc_fastai.view.assets import style
from segkc_fastai.view.curves import curves, panels, value_range
from segkc_fastai.view.live import TrainingMonitor, probe_pictures, still_picture

def history(n, **more):
    falling = dict(lr=np.linspace(1e-3, 1e-5, n), train_loss=np.linspace(2, 1, n))
    return pd.DataFrame(dict(epoch=range(n), **falling, junior_miou=np.linspace(.1, .5, n), **more))
def by_title(p): return {o['title']:{s['name']:s for s in o['series']} for o in p['panels']}

def test_terms_that_appear_later_and_missing_values():
    nan = math.nan
    p = panels(history(4, cps_junior=[nan,nan,.3,.2], kept=[nan,0.,.25,.5], agree=[nan]*4, valid_loss=[1.,.5,math.inf,.7], seconds=[1.]*4), 9)
    json.dumps(p, allow_nan=False)
    t = by_title(p)
    assert list(t)==['loss terms','mIoU','kept','agreement','learning rate'] and p['total']==9
    assert t['loss terms']['cps_junior']['y']==[None,None,.3,.2] and t['loss terms']['valid_loss']['y'][2] is None
    assert t['kept']['kept']['y']==[None,0.,25.,50.] and t['agreement']['agree']['y']==[None]*4
    assert (t['loss terms']['valid_loss']['best'],t['mIoU']['junior']['best'],t['loss terms']['cps_junior']['best'])==(1,3,None)

@pytest.mark.parametrize('n', [0,1,300])
def test_any_number_of_epochs(n):
    p = panels(history(n, senior_miou=np.linspace(.2, .4, n)), None)
    assert (len(p['x']),p['total'])==(n,max(n, 1))
    assert [s['color'] for s in by_title(p)['mIoU'].values()]==[1,0] # a network has one colour, whatever its position
    assert len(json.dumps(p))<40*1024 and still_picture(p).count('<img')==(n>0)

def test_constant_series_are_said_in_words():
    "Also where a panel has others; a single epoch is drawn, because nothing is known of its course"
    p = panels(history(3, kept=[1.]*3, cps_junior=[math.nan,0.,0.], sup=[2.,1.,1.], junior_low=[.1]*3, junior_high=[.6,.7,.8]))
    assert p['constant']==['loss terms, cps_junior 0','kept 100 % of unlabelled pixels']
    assert list(by_title(p))==['loss terms','mIoU','learning rate'] and list(by_title(p)['loss terms'])==['train_loss','sup']
    one = panels(history(1, kept=[1.]))
    assert one['constant']==[] and 'kept' in by_title(one)

@pytest.mark.parametrize('n', [1,2,7,300])
def test_figures_are_those_of_the_live_view(n):
    "Titles, units, colours and numbers; axes from the first epoch to the last, ticks that differ and do not touch"
    h = history(n, kept=np.linspace(.9998, .9999, n), sup=[math.nan]*(n-1)+[.3], **{f'term{i}':np.linspace(1, i/100, n) for i in range(8)})
    p,fig = panels(h),curves(h)
    fig.draw_without_rendering()
    axs = [ax for ax in fig.axes if ax.axison]
    assert [ax.get_title() for ax in axs]==[f'{o["title"]}\n{o["unit"]}' for o in p['panels']]
    colours = re.findall('--c[0-5]:(#[0-9a-f]{6})', style('training.css'))[:6]
    for ax,o in zip(axs, p['panels']):
        assert ax.get_xlim()==((1,n) if n>1 else (.5,1.5)) and ax.get_ylim()==value_range(o)
        lines = {l.get_label():l for l in ax.lines}
        for s in o['series']:
            ink,known = lines[s['name']].get_color(),[v for v in s['y'] if v is not None]
            assert ink==('.15' if s['color']<0 else colours[s['color']%6])
            dots = [l for l in ax.lines if l.get_color()==ink and l.get_marker()=='o']
            assert dots or len(known)>1, f'{s["name"]} is invisible'
        values = [t.get_text() for t in ax.texts]
        assert len(values)==len(o['series']) and all(t.endswith(' %')==(o['series'][0]['scale']==100) for t in values)
        for axis in (ax.xaxis, ax.yaxis):
            labels = [t for t in axis.get_ticklabels() if t.get_text()]
            boxes,texts = [t.get_window_extent() for t in labels],[t.get_text() for t in labels]
            assert texts and len(set(texts))==len(texts) and not any(a.overlaps(b) for i,a in enumerate(boxes) for b in boxes[:i]), texts
        ends = [t.get_window_extent() for t in ax.texts]
        assert not any(a.overlaps(b) for i,a in enumerate(ends) for b in ends[:i])

class Interrupt(Callback):
    "Acts like the stop button in the first step of the second epoch"
    order = 100
    def after_batch(self):
        if not (self.learn.training and self.learn.epoch==1): return
        self.running = dict(self.learn.training_monitor.widget.running)
        raise KeyboardInterrupt

def test_curves_continue_after_an_interrupt(scenes, monkeypatch):
    monkeypatch.setattr(TrainingMonitor, 'every', 0.)
    learn,first,second = learner(scenes),TrainingMonitor(),TrainingMonitor()
    with learn.no_bar(), learn.no_logging():
        with pytest.raises(KeyboardInterrupt): learn.fit(3, cbs=[first, stop:=Interrupt()])
        assert first.history.epoch.tolist()==[0] and stop.running['x']==[1.25]
        assert {'sup','train_loss','lr','kept','agree'}<=set(stop.running['y'])
        assert first.widget.running=={} and first.widget.status=='stopped in epoch 2 of 3; fit again to continue the curves'
        learn.lr_find(num_it=2, show_plot=False, suggest_funcs=())
        learn.get_preds()
        learn.fit(2, cbs=second)
    assert second.widget.chart['x']==[1,2,3] and second.widget.chart['total']==3 and second.widget.error==''
    assert second.widget.running=={} and second.widget.status=='ended after 3 epochs'
    row = learn.recorder.values[-1]
    assert np.allclose(second.history[list(learn.recorder.metric_names[1:-1])].iloc[-1], np.array(row, float), equal_nan=True)
    assert second.history[['junior_low','junior_high']].notna().all(axis=None)
    assert not any(isinstance(o, TrainingMonitor) for o in learn.cbs) and not hasattr(learn, 'training_monitor')

def test_training_is_the_same_with_it(scenes):
    a,b = (learner(scenes, cbs=cbs) for cbs in ([], [TrainingMonitor()]))
    for o in (a,b):
        torch.manual_seed(0)
        with o.no_bar(), o.no_logging(): o.fit(1)
    assert all(torch.equal(p, q) for p,q in zip(a.model.parameters(), b.model.parameters()))
    assert a.recorder.losses==b.recorder.losses

def test_an_error_does_not_stop_the_training(scenes, monkeypatch):
    mon = TrainingMonitor()
    monkeypatch.setattr('segkc_fastai.view.live.panels', lambda *a: 1/0)
    learn = learner(scenes)
    with learn.no_bar(), learn.no_logging(), pytest.warns(UserWarning, match='the training continues'): learn.fit(1, cbs=mon)
    assert mon.widget.error=='ZeroDivisionError: division by zero' and len(mon.history)==1

def test_any_learner():
    from fastai.test_utils import synth_learner
    learn,mon = synth_learner(),TrainingMonitor()
    with learn.no_bar(), learn.no_logging(): learn.fit(2, cbs=mon)
    assert [o['title'] for o in mon.widget.chart['panels']]==['loss terms'] and mon.widget.error==''
    assert mon.widget.chart['constant']==['learning rate 1e-3']

def test_values_in_flight():
    t = torch.tensor(2.)
    o = InFlight(dict(a=(t, 4), b=(torch.tensor(3), 1)))
    t += 1 # the device continues
    assert o.ready and o.values==dict(a=(2.,4), b=(3.,1)) and InFlight({}).values=={}

def wait(cond, seconds=10):
    end = time.monotonic()+seconds
    while not cond():
        assert time.monotonic()<end
        time.sleep(.02)

@pytest.fixture
def half(tmp_path):
    "A run folder without an epoch yet"
    path = tmp_path/'half'
    junior = dict(spec='resnet18+fpn:32', params=1, pretrained=False, follows=None, frozen=False)
    found = dict(split='8 of 24', split_family=None, split_hash='', val_hash=None, steps=4, streams=['labelled'], note='', versions={}, hardware='CPU')
    images = dict(labelled=8, unlabelled=16, val=4)
    facts = RunFacts(task=Recorded.task.to_dict(), source_layout='folder', images=images, deployed='junior', networks=dict(junior=junior), **found)
    write_config(path, RunConfig('scenes', epochs=3), facts)
    return path

@pytest.fixture
def watching(half, monkeypatch):
    "A monitor of `half` as it is once displayed"
    monkeypatch.setattr(TrainingMonitor, 'poll', .02)
    mon = TrainingMonitor(half)
    mon._ipython_display_()
    yield mon
    mon.close()

def test_a_folder_that_grows(half, watching):
    w = watching.widget
    assert w.status=='half: waiting for the end of the first epoch' and w.chart['panels']==[]
    for n in (1,2):
        write_text(half/'history.csv', history(n).to_csv(index=False))
        wait(lambda: w.chart['x']==list(range(1, n+1)))
    assert w.status.startswith('half: 2 of 3 epochs, the last at') and w.chart['total']==3
    write_json(half/'card.json', dict(note='Stopped early: KeyboardInterrupt'))
    write_text(half/'card.md', '')
    wait(lambda: watching.ended)
    assert w.status=='half: ended after 2 of 3 epochs. Stopped early: KeyboardInterrupt'

def test_errors_of_the_watching_thread_are_shown(half, watching):
    (half/'history.csv').write_text('')
    wait(lambda: watching.widget.error.startswith('ValueError: '))
    write_text(half/'history.csv', history(1).to_csv(index=False))
    wait(lambda: not watching.widget.error and watching.widget.chart['x']==[1])
    shutil.rmtree(half)
    wait(lambda: 'gone' in watching.widget.error)

class Recorded:
    "Stands in for `Probe`, in memory: two images, large enough to be reduced"
    task,names,records,networks,deployed = Task(['a','b','c']),['x','y'],[(0,4),(1,8)],['junior','teacher','senior'],'junior'
    def __init__(self, path=None, truths=2): self.truths = truths
    def refresh(self): return self
    def image(self, i): return np.full((300,480,3), 90, np.uint8)
    def truth(self, i): return np.zeros((300,480), np.uint8) if i<self.truths else None
    def maps(self, record, network, i):
        assert self.records[record]==(1,8) # the newest
        return np.full((300,480), self.networks.index(network), np.uint8),np.full((300,480), 200, np.uint8)

@pytest.mark.parametrize('truths,said', [(2,'only senior right'), (1,'disagree, both sure'), (0,'disagree, both sure')])
def test_probe_images(half, watching, monkeypatch, truths, said):
    monkeypatch.setattr('segkc_fastai.view.live.Probe', lambda path: Recorded(path, truths))
    columns,rows,classes = probe_pictures(Recorded(truths=truths))
    assert (columns,classes,[n for n,_ in rows])==(['senior','junior','disagreement'],[0,2],['x','y'])
    assert {a.shape for _,r in rows for a in r}=={(150,240,3)}
    write_json(half/'probe'/'probe.json', {})
    wait(lambda: watching.widget.probe)
    p = watching.widget.probe
    assert p['title']=='probe images, epoch 2, step 8' and p['rows'][1]['images'][2]['data'][:2]==b'\xff\xd8'
    assert [n for n,_ in p['legends'][0]]==['a','c'] and said in [n for n,_ in p['legends'][1]]
    assert still_picture(panels(history(1)), Recorded(truths=truths)).count('<img')==2

CVD = dict(normal=np.eye(3), # Machado et al. 2009, the whole deficiency
    protan=[[.152286,1.052583,-.204868],[.114503,.786281,.099216],[-.003882,-.048116,1.051998]],
    deutan=[[.367322,.860646,-.227968],[.280085,.672501,.047413],[-.01182,.04294,.968881]],
    tritan=[[1.255528,-.076749,-.178779],[-.078411,.930809,.147602],[.004733,.691367,.3039]])
XYZ = np.array([[.4124,.3576,.1805],[.2126,.7152,.0722],[.0193,.1192,.9505]])

def linear(h):
    c = np.array([int(h[i:i+2], 16) for i in (0,2,4)])/255
    return np.where(c<=.04045, c/12.92, ((c+.055)/1.055)**2.4)

def lab_colour(c):
    t = np.clip(c, 0, 1)@XYZ.T/[.9505,1,1.089]
    x,y,z = np.where(t>.008856, np.cbrt(t), 7.787*t+16/116).T
    return np.stack([116*y-16, 500*(x-y), 200*(y-z)], -1)

@pytest.mark.parametrize('vision', CVD)
@pytest.mark.parametrize('theme,page,ink', [(0,'ffffff','212121'), (1,'111111','e6e6e6')])
def test_colours_can_be_told_apart(vision, theme, page, ink):
    named = re.findall('--c[0-5]:#([0-9a-f]{6})', style('training.css'))[6*theme:6*theme+6]
    c = np.stack([linear(o) for o in (*named, ink)])
    seen = lab_colour(c@np.array(CVD[vision]).T)
    assert np.linalg.norm(seen[:,None]-seen, axis=-1)[np.triu_indices(7, 1)].min()>=25
    lum,back = c@XYZ[1],linear(page)@XYZ[1]
    assert ((np.maximum(lum, back)+.05)/(np.minimum(lum, back)+.05)).min()>=3

SETUP = """
from pathlib import Path
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.methods.cps import cps
from segkc_fastai.train.learner import dual_learner
from segkc_fastai.view.live import TrainingMonitor
TrainingMonitor.every = .1
data = write_scenes('scenes', n_train=48, n_val=4, n_test=2)
dls = SemiDataLoaders.from_folder(data, labelled=8, size=(64,96), bs=4, device='cpu')
learn = dual_learner(dls, 'mobilenetv4_conv_small+fpn:32', 'resnet10t+fpn:32', cps(warmup=.2, ramp=.2), pretrained=False)
"""

POINTS = "document.querySelectorAll('.segkc-training circle.point[data-name=junior_miou]').length"
BUSY = "[...document.querySelectorAll('.jp-InputPrompt')].some(e => e.textContent.includes('*'))"

def test_points_appear_while_the_cell_runs(lab):
    "Each state is awaited with one inspection of the page, because the training does not wait"
    with lab.run('live.ipynb', SETUP, 'learn.fit_one_cycle(3, 1e-3, cbs=TrainingMonitor())', warm=True) as nb:
        page,root = nb.page,nb.page.locator('.segkc-training')
        points = lambda: root.locator('circle.point[data-name=junior_miou]').count()
        page.wait_for_function(f"{POINTS}==0 && document.querySelector('.segkc-training path.running[data-name=sup]')", timeout=60_000) # in the first epoch
        page.wait_for_function(f'{POINTS}>=1 && {POINTS}<3 && {BUSY}', timeout=60_000)
        nb.wait_done()
        page.wait_for_function("document.querySelector('.segkc-training .status').textContent=='ended after 3 epochs'")
        assert points()==3 and root.locator('polygon.band').count()==1 and root.locator('path.running').count()==0
        assert root.locator('text.value').count()==root.locator('.names > span').count()
        still = page.locator('.segkc-static img')
        assert still.count()==1 and not still.is_visible()

INSIDE = "() => { const e = document.querySelector('.segkc-training'), right = e.getBoundingClientRect().right+1; return [...e.querySelectorAll('.probe img, .panel')].every(o => o.getBoundingClientRect().right<=right) }"

def test_three_columns_in_a_narrow_window(lab):
    "Also where the side bar of JupyterLab takes a third of it"
    run = shutil.copytree(Path(__file__).parent/'runs_of_0_1'/'finished', lab.path/'finished')
    write_json(run/'warnings.json', dict(warnings=[line := 'epoch 2: hardly any label of senior is kept; lower the threshold']))
    with lab.run('narrow.ipynb', "from segkc_fastai.view.live import TrainingMonitor\nTrainingMonitor('finished')", warm=True) as nb:
        nb.page.wait_for_selector('.segkc-training .probe img', timeout=60000)
        assert nb.page.locator('.segkc-training .warnings > div').all_inner_texts()==[line]
        for width in (1400,1000,700):
            nb.page.set_viewport_size(dict(width=width, height=900))
            pause(nb.page, 300)
            assert nb.page.evaluate(INSIDE), width
            assert nb.page.locator('.segkc-training .probe tr').last.locator('img').count()==3
