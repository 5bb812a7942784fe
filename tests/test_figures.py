"Figures have the requested size, embed their fonts, cope with very little and very much data, and are written completely or not at all"
import json, re, shutil
from pathlib import Path
import matplotlib.pyplot as plt
import numpy as np, pandas as pd, pytest, torch
from PIL import Image
from conftest import SMALL, train
from segkc_fastai.cli import main
from segkc_fastai.core.task import IGNORE, Task
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.evaluate.inference import Evaluation
from segkc_fastai.evaluate.report import make_report
from segkc_fastai.runs.evaluating import evaluate_run
from segkc_fastai.runs.folder import Run
from segkc_fastai.view.charts import arm_bars, class_bars, confusion_map, reliability_diagram, size_scatter
from segkc_fastai.view.curves import curves
from segkc_fastai.view.disagreement import draw_agreement
from segkc_fastai.view.figures import COLUMN, FORMATS, PAGE, error_grid, figure_svg, prediction_grid, save_figure
from segkc_fastai.view.overlay import cross_counts
from segkc_fastai.view.pseudo_figures import class_flow, disagreement_grid, pseudo_curves
from segkc_fastai.view.qualitative import difference_boxes, qualitative_grid
from segkc_fastai.view.results import all_figures

SIZES = ((40,60),(48,48))

@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close('all')

def task_of(k): return Task([f'a class {i}' for i in range(k)])

def maps(k, seed=0):
    "Label maps of two sizes, in blocks"
    rng = np.random.default_rng(seed)
    return [np.kron(rng.integers(0, k, (h//4, w//4)), np.ones((4,4), int)).astype(np.uint8) for h,w in SIZES]

def images(): return [np.random.default_rng(9).integers(0, 255, (*s,3)).astype(np.uint8) for s in SIZES]

def report(k, seed=0):
    g = torch.Generator().manual_seed(seed)
    y,e = torch.randint(0, k, (2,40,60), generator=g),Evaluation(k)
    e.update((torch.nn.functional.one_hot(y, k).movedim(-1, 1)*2+torch.randn(2, k, 40, 60, generator=g)).softmax(1), y)
    return make_report(e, task_of(k), 'junior of /a/folder/of/runs/with-a-rather-long-name-seed0 on test')

def history(n):
    one = dict(sup=1., junior_miou=.3, junior_low=.2, junior_high=.4, agree=.9)
    return pd.DataFrame([one | dict(epoch=i, lr=.1/(i+1), train_loss=2-i, cps_junior=np.nan if i==0 else .5) for i in range(n)])

def pseudo(n, k=2):
    rows = [dict(epoch=e, network=n, threshold=t, kept=1-t, precision=np.nan if t>.98 else .5+t/3) for e in range(n) for n in ('senior','junior') for t in (0.,.9,.99)]
    return pd.DataFrame([r | {'class':c} for r in rows for c in (*task_of(k).classes, 'all')])

def runs_table():
    one = dict(labelled='1/8', labelled_images=8, deployed=2e6, trained=9e6, layout='folder')
    return pd.DataFrame([one | dict(arm=a, seed=s, miou=50.+s+i) for i,a in enumerate(('cps','segkc')) for s in (0,1)])

def drawn(k):
    "Width and figure of every kind, for `k` classes"
    r,task,ims,t,a,b = report(k),task_of(k),images(),maps(k),maps(k, 1),maps(k, 2)
    stages,flow = {'epoch 1':(a,b), 'epoch 2':(t,b)},sum(cross_counts(x, y, k) for x,y in zip(a, b))
    yield PAGE,class_bars(dict(a=r, b=report(k, 1)))
    yield COLUMN,reliability_diagram(r)
    yield COLUMN if k<=12 else PAGE,confusion_map(r)
    yield PAGE,prediction_grid(ims, t, dict(senior=a, junior=b), task, ['one','two'])
    yield PAGE,error_grid(ims, t, a, task)
    yield PAGE,qualitative_grid(ims, t, dict(theirs=a, ours=b), task, rule='Images: both')
    yield PAGE,disagreement_grid(ims, t, stages, task)
    yield COLUMN,class_flow(flow, task)

def pixels(path): return np.asarray(Image.open(path).convert('RGB')).astype(int)

@pytest.mark.parametrize('k', [1,2,21,150])
def test_any_number_of_classes_at_the_requested_size(k, tmp_path):
    for i,(width,fig) in enumerate(drawn(k)):
        assert fig.get_figwidth()==width and .5<fig.get_figheight()<11
        im = pixels(save_figure(fig, tmp_path/f'{i}.png'))
        assert abs(im.shape[1]-200*width)<=1 and im.std()>5, f'{i}: {im.shape} {im.std()}'
        edge = np.concatenate([im[:,0], im[:,-1], im[-1], im[0]])
        assert (edge.min(1)>180).mean()>.5, f'{i}: drawn over the edge'

@pytest.mark.parametrize('n', [1,2,30])
def test_any_number_of_epochs(n, tmp_path):
    h,p = history(n),pseudo(n)
    for i,fig in enumerate((curves(h), curves(h, COLUMN), pseudo_curves(p), pseudo_curves(p, 'a class 1', COLUMN))):
        assert fig.get_figwidth()==(PAGE,COLUMN)[i%2]
        fig.canvas.draw()
        ticks = [t.get_text() for ax in fig.axes if ax.axison for t in ax.get_xticklabels() if t.get_text()]
        assert ticks and all(re.fullmatch(r'−?\d+', t) for t in ticks), ticks
        assert pixels(save_figure(fig, tmp_path/f'{i}.png')).std()>5

def test_names_are_not_markup(monkeypatch):
    "A name may begin with an underscore, and dollars are no formula"
    names = ['_background_','$_$']
    monkeypatch.setitem(globals(), 'task_of', lambda k: Task(names))
    agreement = draw_agreement(pd.DataFrame([[.5,.6]], pd.MultiIndex.from_tuples([(0,4)]), names), task_of(2).palette)
    assert [o.get_text() for o in agreement.legends[0].get_texts()]==names
    for fig in [agreement, pseudo_curves(pseudo(1)), *(fig for _,fig in drawn(2))]: assert figure_svg(fig)

def test_only_ignored_pixels():
    none = [np.full(s, IGNORE, np.uint8) for s in SIZES]
    a = maps(3, 1)
    qualitative_grid(images(), none, dict(a=a, b=maps(3, 2)), task_of(3))
    error_grid(images(), none, a, task_of(3))

def test_one_column_or_two():
    df,reports = runs_table(),dict(a=report(21))
    for w in (COLUMN,PAGE):
        for f,o in ((class_bars, reports), (confusion_map, reports['a']), (size_scatter, df), (arm_bars, df)): assert f(o, width=w).get_figwidth()==w

def inside(fig, artists):
    "Boxes of artists in inches, all of them inside the figure"
    fig.canvas.draw()
    boxes = [o.get_window_extent(fig.canvas.get_renderer()) for o in artists]
    assert all(o.x0>=-1 and o.y0>=-1 and o.x1<=fig.bbox.width+1 and o.y1<=fig.bbox.height+1 for o in boxes)
    return [np.array(o.extents)/fig.dpi for o in boxes]

def test_a_legend_names_every_class():
    for k in (2,33):
        df = pd.DataFrame(np.full((3,k), .5), pd.MultiIndex.from_tuples([(i,4) for i in range(3)]), [f'a class of a street {i}' for i in range(k)])
        legend = (fig := draw_agreement(df, task_of(k).palette, title='a and b')).legends[0]
        inside(fig, [legend])
        assert len(legend.get_texts())==k and fig.axes[0].get_position().height*fig.get_figheight()>1.5

def test_long_names_of_images_stay_at_their_rows():
    ims = [np.full((128,256,3), 90, np.uint8)]*4
    t = [np.zeros((128,256), np.uint8)]*4
    for names in ([f'aachen_00000{i}_000019_leftImg8bit' for i in range(4)], ['x'*70]*4, ['short']*4):
        fig = prediction_grid(ims, t, dict(senior=t, junior=t), task_of(2), names)
        labels = [ax.yaxis.label for ax in fig.axes if ax.get_ylabel()]
        boxes = inside(fig, labels)
        assert [o.get_text().replace('\n', '') for o in labels]==names and all(a[1]>b[3] for a,b in zip(boxes, boxes[1:]))

@pytest.mark.parametrize('n', [12,40])
def test_long_names_of_classes_leave_room(n):
    names = [f'class {i} with the long name of an object in a street'[:n] for i in range(6)]
    r,flow = report(6),np.random.default_rng(0).integers(1, 99, (6,6))
    r.iou = dict(zip(names, r.iou.values()))
    sizes = lambda fig: fig.canvas.draw() or fig.axes[0].get_position().size*fig.get_size_inches()
    assert sizes(confusion_map(r)).min()>1 and sizes(class_flow(flow, Task(names)))[0]>.9

def test_arms_of_many_seeds_and_failed_runs():
    df = pd.DataFrame(dict(arm='segkc', seed=range(8), miou=50.))
    fig = arm_bars(df)
    inside(fig, fig.legends)
    assert fig.axes[0].get_position().height*fig.get_figheight()>.2 and [o.get_text() for o in fig.legends[0].get_texts()]==[f'seed {i}' for i in range(8)]
    for miou in ([np.nan,50.], [50.,np.nan], [np.nan]*2):
        fig = arm_bars(pd.DataFrame(dict(arm=['a','b'], seed=[0,0], miou=miou)))
        fig.canvas.draw()
        assert [o.get_text() for o in fig.axes[0].texts]==['–' if v!=v else '50.0' for v in miou]

def test_fonts_are_embedded(tmp_path):
    png,pdf,svg = save_figure(class_bars(dict(a=report(2))), tmp_path/'f', FORMATS)
    assert [o.name for o in (png,pdf,svg)]==['f.png','f.pdf','f.svg']
    raw = pdf.read_bytes()
    assert b'/FontFile2' in raw and b'/Type3' not in raw
    w,h = map(float, re.search(rb'/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)', raw).groups())
    assert abs(w-72*PAGE)<.5
    text = svg.read_text()
    assert '<text' not in text and 'font-family' not in text and f'{w:g}pt' in text

def test_written_completely_or_not_at_all(tmp_path, monkeypatch):
    old = save_figure(arm_bars(runs_table()), tmp_path/'f.png').read_bytes()
    def fails(self, path, **kwargs):
        Path(path).write_bytes(b'half')
        raise OSError('disk full')
    fig = arm_bars(runs_table())
    monkeypatch.setattr(plt.Figure, 'savefig', fails)
    for f in ('f.png','g.pdf'):
        with pytest.raises(OSError, match='disk full'): save_figure(fig, tmp_path/f)
    assert [o.name for o in tmp_path.iterdir()]==['f.png'] and (tmp_path/'f.png').read_bytes()==old

def test_photographs_are_smoothed_and_labels_are_not():
    "In every grid: a photograph enlarged has colours between those of its pixels, a mask painted over grey has none"
    h,w = 12,18
    im,mask = np.zeros((h,w,3), np.uint8),np.zeros((h,w), np.uint8)
    im[:,9:],mask[:,9:] = 200,1
    grey = np.full((h,w,3), 128, np.uint8)
    seen = lambda ax: len(np.unique(ax.images[0].get_array().reshape(-1, 3), axis=0))
    def figures(im):
        yield prediction_grid([im], [mask], dict(senior=[mask], junior=[1-mask]), task_of(2))
        yield error_grid([im], [mask], [mask], task_of(2))
        yield qualitative_grid([im], [mask], dict(a=[mask], b=[1-mask]), task_of(2))
        yield disagreement_grid([im], [mask], {'epoch 1':([mask],[1-mask])}, task_of(2))
    for photo,labels in zip(figures(im), figures(grey)):
        assert seen(photo.axes[0])>2 and all(seen(ax)<=2 for ax in labels.axes), labels.axes[0].get_title()
        assert min(ax.images[0].get_array().shape[1] for ax in photo.axes)>=320

def test_boxes_are_drawn_where_they_are():
    a,t = np.zeros((40,60), np.uint8),np.zeros((40,60), np.uint8)
    t[:10,:15] = 1
    fig = qualitative_grid([np.full((40,60,3), 90, np.uint8)], [t], dict(a=[a], b=[t]), task_of(2), boxes=1)
    shown = fig.axes[0].images[0].get_array().shape
    box = fig.axes[0].patches[0]
    assert [o/shown[1]*60 for o in (box.get_width(), box.get_height(), box.get_x()+.5, box.get_y()+.5)]==[15,10,0,0]

def test_boxes_are_the_windows_with_most_difference():
    for seed in range(5):
        a,b,t = (maps(3, 3*seed+i)[0] for i in range(3))
        t[:9] = IGNORE
        one = ((a==t)!=(b==t))&(t!=IGNORE)
        boxes = difference_boxes(a, b, t, 3)
        h,w = boxes[0][2:]
        windows = {(i,j):one[i:i+h,j:j+w].sum() for i in range(one.shape[0]-h+1) for j in range(one.shape[1]-w+1)}
        assert (h,w)==(10,15) and len(boxes)==3
        for y,x,*_ in boxes:
            assert windows[y,x]==max(windows.values())>0
            windows = {k:v for k,v in windows.items() if abs(k[0]-y)>=h or abs(k[1]-x)>=w} # without overlap

# Finished runs, shared by all tests below: labelled-only and CPS on the same scenes

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    d = tmp_path_factory.mktemp('figures')
    data = write_scenes(d/'scenes', n_train=16, n_val=4, n_test=6)
    for m,s in (('supervised',None), ('cps',SMALL['senior'])):
        run = train(d/'runs'/m, data, m, **SMALL|dict(senior=s, epochs=1))
        shutil.rmtree(run.path/'probe', ignore_errors=True)
    return d

@pytest.fixture
def runs(trained, tmp_path):
    shutil.copytree(trained/'runs', tmp_path/'runs')
    return [tmp_path/'runs'/k for k in ('supervised','cps')]

def write_probe(path, records, truth=True, networks=('senior','junior'), k=8):
    "Write records of two probe images, as `ProbeRecorder` does"
    d,task = path/'probe',Run(path).task
    for o in ('images','truth'): (d/o).mkdir(parents=True, exist_ok=True)
    for i,(im,t) in enumerate(zip(images(), maps(k))):
        Image.fromarray(im).save(d/'images'/f'{i}.jpg', quality=90, subsampling=0)
        if truth: Image.fromarray(t).save(d/'truth'/f'{i}.png')
    what = dict(part='unlabelled', names=['one','two'], sizes=SIZES, truth=[truth]*2, networks=networks, deployed='junior', threshold=.9, task=task.to_dict())
    for e,s in records:
        label = {f'{n}/label/{i}':m for j,n in enumerate(networks) for i,m in enumerate(maps(k, 1+e+10*j))}
        np.savez_compressed(d/f'e{e:04}-s{s:06}.npz', **label, **{n.replace('label', 'confidence'):np.full_like(m, 200) for n,m in label.items()})
    (d/'probe.json').write_text(json.dumps(dict(format=1, **what)))

ALL = {'curves','grid','pseudo','classes','reliability','confusion','flow','disagreement'}

def rewrite(path, part, **what):
    "Change one part of a run's `config.json`"
    c = json.loads((path/'config.json').read_text())
    (path/'config.json').write_text(json.dumps(c | {part:c[part] | what}))

def stems(path): return {o.stem.rpartition("-")[2] for o in path.iterdir()} # without the name of the run

def test_command_draws_everything(runs, tmp_path, capsys):
    "In every format for one run, as PNG for two"
    for o in runs: write_probe(o, [(0,5),(1,10),(2,15)])
    for few,to,formats in ((runs[1:],'one',FORMATS),(runs,'two',FORMATS[:1])):
        main(['figures', *map(str, few), '--out', str(tmp_path/'out'/to), '--formats', ','.join(formats)])
    printed,drawn = capsys.readouterr().out,lambda *at: {f.name for f in (tmp_path/'out').joinpath(*at).iterdir() if f.is_file()}
    assert 'Not drawn' not in printed, printed
    assert drawn('one')=={f'cps-{k}.{e}' for k in ALL for e in FORMATS}
    for o in ('supervised','cps'): assert drawn('two', o)=={f'{o}-{k}.png' for k in ALL}
    assert drawn('two')=={f'supervised-and-cps-{k}.png' for k in ('classes','qualitative','size')}
    for f in (tmp_path/'out').rglob('*.png'): assert pixels(f).std()>5, f
    assert not list(tmp_path.rglob('*.part')) and all(str(f) in printed for f in (tmp_path/'out').rglob('*.svg'))

def test_missing_figures_are_listed_once_and_the_others_drawn(runs, blank):
    (runs[1]/'pseudo.csv').unlink()
    files,left = all_figures([runs[1]], evaluate=evaluate_run)
    assert stems(runs[1]/'figures')==ALL-{'pseudo','flow','disagreement'} and len(files)==5
    assert len(left)==2 and 'cps: no pseudo, because the run has no pseudo.csv' in left[0] and left[1].startswith('cps: no flow, disagreement, because')
    rewrite(runs[1], 'settings', data='/moved/away')
    _,left = all_figures(runs[1:], runs[1]/'again', evaluate=evaluate_run)
    assert stems(runs[1]/'again')==ALL-{'pseudo','flow','disagreement','grid'}, 'the report is reused'
    assert sum('no grid' in o for o in left)==1
    for f in runs[1].glob('eval-*'): f.unlink()
    _,left = all_figures(runs[1:], runs[1]/'bare', evaluate=evaluate_run)
    assert stems(runs[1]/'bare')=={'curves'} and any('no grid, classes, reliability, confusion' in o for o in left)

def test_nothing_is_evaluated_without_a_function_to_do_it(runs, blank):
    _,left = all_figures(runs)
    assert any(f'no classes, reliability, confusion, because {runs[0]} was not evaluated on test' in o for o in left)
    assert not list(runs[0].glob('eval-*')) and stems(runs[0].parent/'figures')=={'qualitative'}

def test_too_few_records_or_networks(runs, blank):
    write_probe(runs[1], [(0,5)])
    _,left = all_figures([runs[1]], evaluate=evaluate_run)
    assert left==['cps: no flow, because class flow needs two records of the probe images, found 1'] and 'disagreement' in stems(runs[1]/'figures')
    write_probe(runs[0], [(0,5),(0,10)], truth=False, networks=('junior',))
    _,left = all_figures([runs[0]], evaluate=evaluate_run)
    assert left==['supervised: no disagreement, because disagreement needs two networks, found 1'] and 'flow' in stems(runs[0]/'figures')

def test_runs_on_different_data_are_not_compared(runs, blank):
    rewrite(runs[1], 'facts', val_hash='other')
    _,left = all_figures(runs, evaluate=evaluate_run)
    assert any('no classes, qualitative, size' in o and 'differ in validation images' in o for o in left)

def test_wrong_arguments_end_in_one_line(runs, tmp_path, capsys):
    with pytest.raises(SystemExit, match='2'): main(['figures', str(runs[1]), '--formats', 'gif'])
    assert 'png or pdf or svg' in capsys.readouterr().err
    for args,message in (([str(runs[1])], 'occurs twice'), ([str(tmp_path)], 'no run there')):
        with pytest.raises(SystemExit, match=message): main(['figures', str(runs[1]), *args])
    assert not (runs[1]/'figures').exists()
