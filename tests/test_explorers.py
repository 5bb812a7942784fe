"""Explorers on every kind of run, learner and folder: one network, several runs, no ground truth, no records

The pages at the end are those of a browser.
"""
import shutil
from pathlib import Path
import numpy as np, pytest, torch
from conftest import CNN, SENIOR, SMALL, train
from fastai.data.all import DataBlock, Normalize, RandomSplitter, get_image_files
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.vision.all import ImageBlock, MaskBlock
from lab import canvases, pause, says, settle
from PIL import Image
from segkc_fastai.core.certify import EDGES, NOTHING
from segkc_fastai.core.task import IGNORE, Task, load_task
from segkc_fastai.data.labels import read_mask
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.sources import Pair
from segkc_fastai.methods.checked import Checked
from segkc_fastai.methods.registry import make_method
from segkc_fastai.runs.folder import Run
from segkc_fastai.train.learner import dual_learner
from segkc_fastai.view.comparing import CompareExplorer
from segkc_fastai.view.disagreement import DisagreementExplorer
from segkc_fastai.view.exploring import explore
from segkc_fastai.view.linking import link
from segkc_fastai.view.precision_figures import probe_counts
from segkc_fastai.view.pseudo import PseudoLabelExplorer
from segkc_fastai.view.readings import FolderReadings, Readings
from segkc_fastai.view.viewer import byte_threshold

ONE = SMALL | dict(senior=None, epochs=1)

@pytest.fixture(scope='module')
def own(drawn_scenes, tmp_path_factory):
    "Images of one's own, most of them without a mask, with runs on them: two networks, a network and its average, and one alone"
    d = shutil.copytree(drawn_scenes, tmp_path_factory.mktemp('own')/'scenes')
    names = sorted(o.stem for o in (d/'train'/'masks').iterdir())
    (d/'unlabelled'/'images').mkdir(parents=True)
    for k in names[8:]:
        (d/'train'/'masks'/f'{k}.png').unlink()
        file = next((d/'train'/'images').glob(f'{k}.*'))
        file.rename(d/'unlabelled'/'images'/file.name)
    how = dict(labelled='1/1', probe=6)
    train(d.parent/'pair', d, 'cps', **SMALL|how|dict(epochs=1))
    train(d.parent/'teacher', d, 'fixmatch', **ONE|how, method_args=dict(threshold=.7, warmup=0))
    train(d.parent/'checked', d, 'fixmatch', **ONE|how, method_args=dict(threshold='checked:0.15', warmup=0))
    train(d.parent/'alone', d, 'supervised', **ONE|how)
    train(d.parent/'bare', d, 'supervised', **ONE|how|dict(probe=0))
    return d.parent

def test_each_kind_of_run(own):
    "A pair, a network and its average, one network alone, none recorded, several"
    assert [DisagreementExplorer(own/k).pair for k in ('pair','teacher')]==[('senior','junior'),('junior','teacher')]
    with pytest.raises(ValueError, match='alone: only junior was recorded, so there is nothing to compare; use PseudoLabelExplorer, or train with'): DisagreementExplorer(own/'alone')
    with pytest.raises(FileNotFoundError, match='bare: no probe images were recorded there .* train with probe=16, or'): DisagreementExplorer(own/'bare')
    with pytest.raises(ValueError, match='2 runs: pass one; CompareExplorer'): PseudoLabelExplorer([own/'pair',own/'alone'])
    e = explore(own/'bare', device='cpu')
    assert e.title()=='bare, validation images' and 'ground truth' in e.viewer.panels

def test_where_no_truth_is_nothing_is_wrong(own):
    "Validation images are in the probe set; without any, buttons that need masks say why they are disabled"
    e = DisagreementExplorer(own/'pair')
    assert [*e.viewer.panels][-1]=='where they differ' and e.probe.parts==['unlabelled']*3+['val']*3 and 'most wrong alike' not in e.nav.why_not
    e.nav.sort = 'most wrong alike'
    assert e.nav.error=='' and e.probe.parts[e.image]=='val' and [*e.viewer.panels][-1]=='who is right?' and e.nav.values[0]=='–'
    df = e.numbers()
    assert df['wrong alike'].isna().tolist()[:6]==[True]*3+[False]*3
    files = sorted((own/'scenes'/'unlabelled'/'images').iterdir())
    e = explore(own/'pair', files[0].parent, n=4, device='cpu', height=100)
    need = 'no image here has a mask'
    assert {k:e.nav.why_not[k] for k in ('most wrong alike','most errors')}==dict.fromkeys(('most wrong alike','most errors'), need)
    assert {'views','features','highest loss'}<=set(e.nav.why_not) and 'most disagreement' not in e.nav.why_not
    e.nav.sort = 'most errors'
    assert e.nav.error.endswith(f"sort='most errors': {need}")
    e.whole()
    assert e.nav.note.startswith('all 4 images: no image has a mask')
    with pytest.raises(ValueError): e.worst()

def test_the_threshold_of_the_run(own):
    e = PseudoLabelExplorer(own/'teacher')
    assert (e.network, e.viewer.threshold)==('teacher',.7) and e.nav.note.startswith('teacher teaches junior: pixels of confidence ≥ 0.7; in epoch 1 ')
    e.nav.network = 'junior'
    assert e.nav.note.startswith('junior teaches no network; teacher does')
    e = PseudoLabelExplorer(own/'pair')
    assert e.viewer.threshold==0 and e.nav.note.startswith('junior teaches senior: every pixel; in epoch 1 100.0 %')
    assert PseudoLabelExplorer(own/'alone').nav.note.startswith('supervised teaches no pseudo labels')
    assert PseudoLabelExplorer(own/'pair', threshold=.4).viewer.threshold==.4

def test_precision_by_class(own):
    "With checked thresholds the curves by which the run chose them, otherwise those of the probe images with masks; and what is taught"
    e,run = PseudoLabelExplorer(own/'checked'),Run(own/'checked')
    df = run.certificates()
    assert 0<df.certified.sum()<8 and df.images.max()<=4
    assert e.nav.note.startswith(f'teacher teaches junior: labels of {df.certified.sum()} of 8 classes, each from its own confidence on')
    assert e.viewer.threshold==df.threshold[df.certified].min()
    label,conf = e.probe.maps(-1, 'teacher', 0)
    rule = next(o for o in e.method.cbs if isinstance(o, Checked))
    for o in (NOTHING,.3):
        rule.otherwise,first = o,np.array([byte_threshold(t) for t in df.threshold.where(df.certified, o)])
        e.show()
        assert np.array_equal(e.viewer.panels['taught'].label, np.where(conf>=first[label], label, IGNORE)) and e.viewer.panels['taught'].confidence is None
    e.toggle_precision()
    assert 'labelled images that were left out of training' in e.under.value and e.under.value.count('<li>')==8 and 'precision at least 15 % in 19 of 20, from ' in e.under.value
    e.nav.network = 'junior'
    assert 'the 3 images here that have a mask' in e.under.value and 'taught' not in e.viewer.panels
    e.toggle_precision()
    assert not e.under.value
    photos = explore(own/'pair', own/'scenes'/'unlabelled'/'images', n=4, device='cpu', height=100)
    assert isinstance(photos, DisagreementExplorer)
    p = PseudoLabelExplorer(own/'pair')
    assert 'taught' not in p.viewer.panels and 'precision by class' not in p.nav.why_not
    p.probe.has_truth = [False]*6
    assert p.why_not()['precision by class']=='no image here has a mask'

def test_the_share_that_gta_drops_as_a_threshold(scenes, tmp_path):
    run = train(tmp_path/'gta', scenes, 'gta', **ONE, probe=4, method_args=dict(warmup=0))
    e = PseudoLabelExplorer(run)
    n = e.kept()[:,0].sum()/e.counts()[:,0,0].sum()
    assert e.network=='teacher' and n>=.8 and e.counts()[:,0,round(255*e.viewer.threshold)+1].sum()/e.counts()[:,0,0].sum()<=.8
    assert DisagreementExplorer(run).pair==('assistant','junior')

def test_a_note_about_an_image_ends_with_it(own):
    "That of a jump; and views are closed, with a plain line, on an image that the loss never saw"
    e = PseudoLabelExplorer(own/'teacher')
    line = e.nav.note
    def click(what): e._clicked(None, dict(do=what), [])
    def move(): e.nav.at = (e.nav.at+1)%6
    click('rarest class')
    assert e.nav.note.startswith('rarest in the probe set: ')
    move()
    assert e.nav.note==line
    click('rarest class')
    click('most kept' if e.most_kept()!=e.image else 'least kept')
    assert e.nav.note==line
    e.go(0)
    click('views')
    assert e.nav.pressed==['views'] and (seen := e.seen)
    e.go(3)
    e.viewer.opacity = .1
    assert seen.opacity!=.1 and (e.seen,e.nav.pressed,e.nav.error)==(None,[],'') and e.nav.note.startswith(f'views closed: {e.probe.names[3]}: not among the unlabelled images')
    e.go(1)
    assert e.nav.note==line

def test_a_cell_lists_its_images(own):
    e = DisagreementExplorer(own/'pair')
    n = e.crossed()
    assert (n.sum((1,2))==e.parts().pixels).all() and e.crossed() is n
    i,j = np.unravel_index(np.where(np.eye(8), 0, n.sum(0)).argmax(), (8,8))
    e.toggle_matrix()
    e.viewer.safe = True
    assert e.matrix.safe
    e.matrix.cell = ['senior','junior',int(i),int(j)]
    there = n[:,i,j]/n.sum((1,2))
    assert e.nav.error=='' and e.nav.order[0]==there.argmax()==e.image and e.viewer.cell[2:]==[i,j] and e.BY_CELL not in e.nav.why_not
    assert [o=='–' for o in e.nav.values]==(there==0).tolist() and f'in {(there>0).sum()} of 6 images' in e.nav.note
    e.viewer.cell = None
    assert e.nav.sort=='as recorded' and e.BY_CELL in e.nav.why_not and e.matrix.cell is None

def test_choosing_runs(own):
    c = CompareExplorer([own/k for k in ('alone','pair','teacher')])
    assert c.pair==('alone','teacher') and c.nav.networks==['teacher'] and all(o=='–' or o.endswith(' points') for o in c.nav.values)
    was = c.gains()
    c.nav.sort,c.choice.judged = 'largest gain','pair'
    assert c.nav.error=='' and c.pair==('alone','pair') and not c.gains().equals(was) and c.viewer.matrix==['alone','pair']
    assert c.scores('gain').iloc[3:].tolist()==pytest.approx([c.probe.per_image(0, 'alone').error[i]-c.probe.per_image(0, 'pair').error[i] for i in (3,4,5)])
    c.choice.baseline,c.choice.shown = 'pair',[]
    assert c.pair==('pair','alone') and [k for k in c.viewer.panels if k in c.runs]==['alone','pair'] and c.nav.error==''
    df = c.results().set_index('run')
    assert df.difference['pair']!=df.difference['pair'] and df.difference['alone']==f'{df["last"]["alone"]-df["last"]["pair"]:+.2f} points'

def test_linked_explorers(own):
    a,b,c = DisagreementExplorer(own/'pair'),PseudoLabelExplorer(own/'teacher'),PseudoLabelExplorer(own/'alone')
    first,second = link(a, b),link(b, c)
    name = lambda e: e.probe.names[e.image]
    for o in (c, a, b):
        o.go(image=(o.image+2)%6)
        assert name(a)==name(b)==name(c)
    b.nav.sort = 'least kept'
    assert name(a)==name(b)==name(c) and a.nav.sort=='as recorded'
    c.viewer.threshold = .3
    assert a.viewer.threshold==.3
    first()
    a.go(image=(a.image+1)%6)
    assert name(a)!=name(b)==name(c)

def test_a_learner_after_a_plain_fit(scenes):
    "It is read now, and recorded from the next epoch on"
    dls = SemiDataLoaders.from_folder(scenes, labelled=8, size=(64,96), bs=4, device='cpu')
    learn = dual_learner(dls, CNN, SENIOR, make_method('cps', warmup=0), pretrained=False)
    fit = lambda: learn.fit(1, 1e-3)
    with learn.no_bar(), learn.no_logging():
        fit()
        e = DisagreementExplorer(learn)
        assert e.probe.records==[(0,4)] and not any(k in e.nav.why_not for k in ('views','features'))
        fit()
        e.refresh()
        assert e.nav.records==['epoch 1, step 4','epoch 2, step 8'] and e.record==(1,8) and e.viewer.name.endswith('epoch 2, step 8')

class Made(Readings):
    "Images of 64 pixels, image i with 16·(i+1) sure ones; what the network says, and the records, may change"
    def __init__(self):
        super().__init__([f'image {i}' for i in range(4)], Task(['a','b','c']), ['network'], [True]*4)
        self.records,self.says = [(0,4),(1,8),(2,12)],0
    def pixels(self, i): return np.full((8,8,3), 30*i, np.uint8)
    def mask(self, i): return np.where(np.arange(64)<i, 1, 0).astype(np.uint8).reshape(8, 8)
    def labels(self, network, i): return np.full((8,8), self.says, np.uint8),np.where(np.arange(64)<16*(i+1), 255, 128).astype(np.uint8).reshape(8, 8)

def test_what_is_read_again_is_shown():
    "New labels of the same record, in pictures and in numbers; a record that is gone"
    e = PseudoLabelExplorer(Made())
    e.nav.sort = 'most errors'
    e.go(record=2)
    assert e.image==3 and e.kept()[0].tolist()==[64]*3
    e.probe.says = 1
    e.refresh()
    assert (e.viewer.panels['network'].label==1).all() and e.kept()[0,2]==0 and e.nav.order==[0,1,2,3] and e.image==3
    e.go(record=1)
    del e.probe.records[1:]
    e._clicked(None, {'do':'look again'}, [])
    assert (e.nav.error,e.nav.record,e.nav.records)==('',0,['epoch 1, step 4']) and e.viewer.name=='image 3 · epoch 1, step 4'

def test_an_error_stays_until_a_view_succeeds():
    "However the head was moved; a click on the image that failed tries again"
    class Broken(Made):
        lacks = 2
        def labels(self, network, i):
            if i==self.lacks: raise FileNotFoundError(f'image {i} is gone')
            return super().labels(network, i)
    e = PseudoLabelExplorer(Broken())
    said = 'FileNotFoundError: image 2 is gone'
    for move in (lambda: e._pressed(None, dict(key='ArrowRight'), []), lambda: e._clicked(None, dict(go=2), []), lambda: setattr(e.nav, 'at', 2)):
        e.go(1)
        assert e.nav.error==''
        move()
        e.viewer.threshold = .9-e.viewer.threshold
        e._pressed(None, dict(key='ShiftUp'), [])
        assert (e.nav.at,e.nav.error)==(2,said) and e.viewer.name.startswith('image 1')
    e.probe.lacks = None
    e._clicked(None, dict(go=2), [])
    assert e.nav.error=='' and e.viewer.name.startswith('image 2')

def test_a_thumbnail_names_its_image():
    "A click that was made before the page knew of another order"
    e = PseudoLabelExplorer(Made())
    e.nav.set_state(dict(sort='most errors'))
    e._clicked(None, dict(go=1), [])
    assert e.nav.order==[3,2,1,0] and e.viewer.name.startswith('image 1')

def test_least_kept_follows_the_slider():
    e = PseudoLabelExplorer(Made())
    e.nav.sort = 'least kept'
    assert e.nav.values==['100.0 %']*4
    e.go(2)
    e.viewer.threshold = .9
    assert e.nav.values==['25.0 %','50.0 %','75.0 %','100.0 %'] and e.image==2
    d = DisagreementExplorer(Path(__file__).parent/'runs_of_0_1'/'finished', threshold=.3)
    d.nav.sort = 'least kept'
    assert d.scores('kept').tolist()==[(d.probe.maps(1, 'junior', i)[1]>=byte_threshold(.3)).mean() for i in range(2)]

def test_one_rule_for_bytes_of_confidence():
    "The slider, the panel of taught labels and the figures keep the same pixels"
    class Edges(Made):
        def labels(self, network, i): return np.zeros((4,4), np.uint8),np.uint8([byte_threshold(o) for o in EDGES]).reshape(4, 4)
        def mask(self, i): return np.zeros((4,4), np.uint8)
        def pixels(self, i): return np.zeros((4,4,3), np.uint8)
    assert (probe_counts(Edges(), 0, 'network')[0,0,:,1]==1).all()

class Dots(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, k, 1)
    def forward(self, x): return self.conv(x)

def test_any_fastai_learner(scenes):
    "Images as its loaders transform them, classes of its vocabulary"
    vocab,task = ['a','b','c','d','e','f','g','h'],load_task(scenes/'task.json')
    for o in (scenes/'train'/'masks').iterdir(): Image.fromarray(read_mask(o, task)%8).save(o)
    mask_of,half = lambda o: o.parents[1]/'masks'/f'{o.stem}.png',[.5]*3
    how = dict(get_items=get_image_files, get_y=mask_of, splitter=RandomSplitter(.5, seed=0), batch_tfms=Normalize.from_stats(half, half))
    block = DataBlock((ImageBlock,MaskBlock(vocab)), **how)
    dls = block.dataloaders(scenes/'train'/'images', bs=4, num_workers=0, device='cpu')
    learn = Learner(dls, Dots(8), CrossEntropyLossFlat(axis=1))
    e = explore(learn, height=100)
    assert type(e) is PseudoLabelExplorer and e.probe.task.classes==tuple(vocab) and len(e.probe)==12 and [*e.viewer.panels]==['image','ground truth','network','confidence']
    name = e.probe.names[3].partition(' ')[2]
    im = np.array(Image.open(next((scenes/'train'/'images').glob(f'{name}.*'))).convert('RGB'))
    assert np.abs(e.probe.image(3).astype(int)-im).max()<=1
    x = (torch.tensor(im).permute(2,0,1)[None]/255-.5)/.5
    with torch.no_grad(): want = learn.model(x)[0].argmax(0).numpy()
    assert (e.probe.maps(0, 'network', 3)[0]!=want).mean()<.01
    assert 'no unlabelled images' in e.nav.why_not['views'] and not any(o in e.nav.why_not for o in ('most errors','worst precision'))

def test_memory_is_bounded(tmp_path):
    "However many images are read, only some stay in memory"
    class Many(Readings):
        kept = 5
        def pixels(self, i): return np.full((32,32,3), i%256, np.uint8)
        def labels(self, network, i): return np.zeros((32,32), np.uint8),np.full((32,32), i%256, np.uint8)
    r = Many(range(300), Task(['a','b']), ['network'], [False]*300)
    assert len(r.per_image())==300 and len(r.recent)==5 and r.maps(0, 'network', 7)[1][0,0]==7

def test_large_photographs_are_read_whole(tmp_path):
    "Labels of each pixel, kept at the size of a record"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (900,1300,3), dtype=np.uint8)).save(tmp_path/'a.jpg')
    seen = []
    def read(path, im):
        seen.append(im.size)
        return np.zeros(im.size[::-1], np.uint8),np.zeros(im.size[::-1], np.uint8)
    r = FolderReadings([Pair(tmp_path/'a.jpg')], Task(['a','b']), dict(read=read))
    assert r.maps(0, 'read', 0)[0].shape==r.image(0).shape[:2]==(709,1024) and seen==[(1300,900)]

CELLS = '''
from segkc_fastai.view.comparing import CompareExplorer
from segkc_fastai.view.exploring import explore
e = explore('{own}/pair', '{own}/scenes/unlabelled/images', n=4, device='cpu', height=120)
e''','''c = CompareExplorer(['{own}/'+k for k in ('alone','teacher','pair')], height=120)
c.toggle_matrix()
c''','''from segkc_fastai.view.pseudo import PseudoLabelExplorer
PseudoLabelExplorer('{own}/checked', height=120)'''

def test_in_a_browser(lab, own):
    "Reasons are tooltips of disabled buttons, runs are chosen, and a cell of the matrix of all images leads to its images"
    with lab.run('kinds.ipynb', *(o.replace('{own}', str(own)) for o in CELLS), 'c.pair, c.image, c.nav.sort, c.nav.error', warm=True) as nb:
        page = nb.page
        page.wait_for_selector(f'{nb.cell(1)} .segkc[data-arrived]', timeout=60_000)
        head = page.locator(f'{nb.cell(0)} .segkc-nav')
        worst = head.get_by_role('button', name='most wrong alike')
        assert worst.is_disabled() and worst.get_attribute('title')=='no image here has a mask'
        assert head.get_by_role('button', name='csv').is_enabled() and head.locator('option:disabled').all_inner_texts()==['highest loss','most errors','most wrong alike','most of the cell']
        sel = f'{nb.cell(1)} .segkc[data-arrived]'
        choice = page.locator(f'{nb.cell(1)} .segkc-choice')
        assert choice.locator('select').nth(0).input_value()=='alone' and choice.locator('input:disabled').count()==2
        titles = lambda: [*canvases(page, sel)]
        assert titles()==['image','alone','teacher','pair','where they differ']
        settle(page, lambda: choice.locator('input[value=teacher]').uncheck(), sel, 'arrived')
        assert titles()==['image','alone','pair','where they differ']
        settle(page, lambda: choice.locator('select').nth(1).select_option('teacher'), sel, 'arrived')
        assert titles()==['image','alone','teacher','pair','where they differ'] and choice.locator('input[value=pair]').is_enabled()
        cells = nb.cells
        choice.locator('select').nth(1).press('b')
        pause(page, 100)
        assert nb.cells==cells, 'no key reaches the notebook'
        page.locator(f'{nb.cell(1)} .segkc-whole').get_by_role('img', name='classes of alone crossed with those of teacher').click(position=dict(x=78+30, y=78+10)) # second column, first row
        page.wait_for_function(f"document.querySelector('{nb.cell(1)} .segkc-nav select.sort').value==='most of the cell'")
        says(page, f'{nb.cell(1)} .segkc-nav .note', 'alone ', ' × teacher ', ' of 6 images')
        thumb = page.locator(f'{nb.cell(1)} .thumb').first
        assert thumb.get_attribute('aria-label').startswith(thumb.get_attribute('title')+', ')
        button,figure = page.locator(f'{nb.cell(2)} .segkc-nav').get_by_role('button', name='precision by class'),page.locator(f'{nb.cell(2)} .widget-html svg')
        assert [*canvases(page, f'{nb.cell(2)} .segkc[data-arrived]')][-1]=='taught' and not figure.count()
        button.click()
        figure.wait_for()
        assert button.get_attribute('aria-pressed')=='true' and figure.bounding_box()['width']>500
        assert page.locator(f'{nb.cell(2)} .widget-html li').count()==8
        says(page, f'{nb.cell(2)} .widget-html', 'in 19 of 20')
        button.click()
        figure.wait_for(state='detached')
