"""The viewer and the explorers in a real browser: JupyterLab on this machine only, Chromium, and the pixels of the canvases

Assertions check the pixels of canvases or the cells of the notebook, because labels change earlier than pictures.
"""
import json, statistics
from contextlib import chdir, contextmanager
from pathlib import Path
import nbformat, numpy as np, pandas as pd, pytest
from lab import APPS, canvases, change_theme, drag, faint, pause, pressed, quiet, says, settle
from nbconvert import HTMLExporter
from PIL import Image
from conftest import train
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.view.lab import write_workbench

SETUP = '''
import numpy as np
from segkc_fastai.core.task import Task
from segkc_fastai.view.viewer import MaskViewer, Panel, as_bytes
'''

STRIPES = SETUP+'''
task = Task(['road','car','sky'], [(90,90,90), (0,114,178), (240,228,66)])
truth = np.repeat(np.uint8([2,0,1]), 80)[:,None].repeat(320, 1)
truth[:,:8] = 255
senior,junior = truth.copy(),np.roll(truth, 20, 0)
senior[truth==255] = junior[truth==255] = 0
senior[100:120,100:140] = junior[100:120,100:140] = 2
sure = as_bytes(np.linspace(.1, 1, 320)[None].repeat(240, 0))
image = np.full((240,320,3), 120, np.uint8)
image[:,::2] = 160
panels = dict(image=Panel('image'), senior=Panel('label', senior, sure), junior=Panel('label', junior, sure), who=Panel('disagreement', of=('senior','junior')), sure=Panel('confidence', confidence=sure))
v = MaskViewer(task, height=240, opacity=1., quality='junior', matrix=['senior','junior'])
v.run = 'a run'
v.show(image, panels, truth, 'stripes')
keys = []
v.on_msg(lambda w,m,b: keys.append(m['key']))
'''
ROAD,CAR,SKY = (90,90,90),(0,114,178),(240,228,66)
is_colour = lambda im,c: (im==np.array(c, np.uint8)).all(-1)

@pytest.fixture(scope='module')
def opened(lab):
    "The notebook of the stripes, opened once"
    with lab.run('stripes.ipynb', STRIPES, 'v', 'keys, v.hover, v.threshold') as nb:
        nb.page.wait_for_selector('.segkc[data-arrived]', timeout=60000)
        yield nb

@pytest.fixture
def stripes(opened):
    "A page with a new viewer of the stripes; a test that leaves an error behind fails"
    page = opened.page
    page.evaluate("() => { document.querySelector('.segkc').dataset.old = 1 }")
    opened.run_all()
    page.wait_for_selector('.segkc[data-arrived]:not([data-old])')
    pause(page, 200)
    yield page
    assert not opened.errors, opened.errors

def test_what_is_drawn(stripes):
    "Opacity, classes, threshold, matrix: each changes its own pixels, and no others"
    page = stripes
    im = canvases(page)
    assert list(im)==['image','senior','junior','who','sure']
    assert is_colour(im['senior'][:70,8:], SKY).all() and is_colour(im['senior'][160:], CAR)[:,8:].all()
    assert is_colour(im['who'][100:120,100:140], (214,39,40)).all(), 'wrong alike must be the red of the legend'
    now = settle(page, lambda: drag(page, 'input.threshold', .6))
    kept = np.linspace(.1, 1, 320)>=.602
    sky = is_colour(now['senior'][:70], SKY)
    assert sky[:,kept].all() and not sky[:,~kept][:,:-2].any(), 'labels below the threshold must fade'
    now = settle(page, lambda: page.click('.segkc .legend button:nth-child(3)'))
    assert not is_colour(now['senior'], SKY).any() and is_colour(now['senior'], CAR).any(), 'a click hides one class'
    assert np.array_equal(now['senior'][:70,8:], im['image'][:70,8:])
    now = settle(page, lambda: page.dblclick('.segkc .legend button:nth-child(3)'))
    assert is_colour(now['senior'], SKY).any() and not is_colour(now['senior'], CAR).any(), 'a double click leaves one class alone'
    page.dblclick('.segkc .legend button:nth-child(3)')
    pause(page, 100)
    settle(page, lambda: drag(page, 'input.threshold', 0))
    before,now = canvases(page),settle(page, lambda: drag(page, 'input.opacity', .5))
    assert np.abs((im['image'][:70,8:].astype(int)+SKY)/2-now['senior'][:70,8:]).max()<=1.5
    assert not np.array_equal(before['who'], now['who']) and np.array_equal(before['sure'], now['sure'])

def test_matrix_outlines_its_pixels(stripes):
    page = stripes
    full = canvases(page)
    at = page.evaluate("() => { const c = document.querySelector('.matrix canvas'), r = c.getBoundingClientRect(); return [r.x, r.y] }")
    cell = (78+10, 78+20+10) # first column, second row: the order is that of disputes
    now = settle(page, lambda: page.mouse.click(at[0]+cell[0], at[1]+cell[1]))
    dim = lambda o: (full[o]//4==now[o]).all(-1)
    lit = {o:~dim(o) for o in now}
    rows = np.flatnonzero(lit['senior'].any(1))
    assert 0<len(rows)<=20 and all(np.array_equal(lit['senior'], lit[o]) for o in ('junior','image','who')), 'the same pixels in every panel'
    inner = lit['image'].copy()
    inner[1:] &= lit['image'][:-1]
    inner[:-1] &= lit['image'][1:]
    assert is_colour(now['image'][lit['image']&~inner], (255,255,255)).all(), 'a white line inside the border'
    now = settle(page, lambda: page.mouse.click(at[0]+cell[0], at[1]+cell[1]))
    assert all(np.array_equal(full[o], now[o]) for o in now), 'a second click clears the cell'

def test_zoom_and_hover(stripes):
    page = stripes
    before = canvases(page)
    page.click('.box canvas[data-title=senior]', position=dict(x=60, y=60))
    pause(page, 50)
    box = page.locator('.box canvas[data-title=senior]').bounding_box()
    for _ in range(4): near = settle(page, lambda: page.mouse.wheel(0, -400))
    assert len(np.unique(near['senior'].reshape(-1, 3), axis=0))<=3, 'masks are resampled with nearest neighbour only'
    assert all(not np.array_equal(before[o], near[o]) for o in ('image','sure')), 'panels move in step'
    page.mouse.move(box['x']+100, box['y']+100)
    page.mouse.down()
    before,moved = canvases(page),settle(page, lambda: page.mouse.move(box['x']+60, box['y']+90))
    page.mouse.up()
    assert all(not np.array_equal(before[o], moved[o]) for o in ('image','sure'))
    settle(page, lambda: page.keyboard.press('0'))
    page.mouse.move(box['x']+box['width']*.5, box['y']+box['height']*110.5/240)
    says(page, '.segkc .line', 'x=160 y=110 · truth road · senior road 0.55', 'junior road', 'sure 0.55')

def test_keys(stripes, opened):
    "Each key works, and none reaches the notebook"
    page,cells,ran = stripes,opened.cells,opened.prompts
    page.click('.box canvas[data-title=image]')
    assert page.evaluate("getComputedStyle(document.querySelector('.segkc')).boxShadow")!='none', 'a ring shows the focus'
    full = canvases(page)
    key = lambda k: settle(page, lambda: page.keyboard.press(k))
    now = key(' ')
    assert all(np.array_equal(now[o], full['image']) for o in ('senior','junior')), 'space shows the image'
    assert np.array_equal(key(' ')['senior'], full['senior'])
    now = key('2')
    assert np.array_equal(now['senior'], full['image']) and np.array_equal(now['junior'], full['junior'])
    assert page.locator('figure.off').count()==1 and not faint(page, 'figure.off *')
    key('2')
    assert is_colour(key('g')['junior'][85:155,8:], ROAD).all(), 'ground truth instead of the junior'
    key('g')
    now = key('d')
    assert np.array_equal(now['senior'], full['who']) and np.array_equal(now['junior'], full['who'])
    key('d')
    for k,n in (('c',0), ('c',1), ('c',2)):
        now = key(k)
        assert [is_colour(now['senior'], o).any() for o in (ROAD,CAR,SKY)]==[i==n for i in range(3)]
    assert np.array_equal(key('c')['senior'], full['senior'])
    assert not np.array_equal(key('+')['senior'], full['senior'])
    key('+')
    key('-')
    assert np.array_equal(key('0')['senior'], full['senior'])
    for _ in range(4): now = key(']')
    assert not np.array_equal(now['senior'], full['senior'])
    for _ in range(4): now = key('[')
    assert np.array_equal(now['senior'], full['senior'])
    with page.expect_download() as d: page.keyboard.press('f')
    picture = np.asarray(Image.open(d.value.path()))
    assert d.value.suggested_filename=='a-run-stripes.png'
    for i,o in enumerate(('senior','junior'), 1):
        here = picture[88:568, 16+656*i:656+656*i]
        assert np.array_equal(here[:,16:], full[o][:,8:].repeat(2, 0).repeat(2, 1)), 'at twice the size, labels are not smoothed'
    gaps = np.abs(np.diff(picture[328,16:656].astype(int), axis=0)).max()
    assert 0<gaps<30, 'stripes of the photograph, 40 apart, are smoothed'
    page.keyboard.press('?')
    assert page.is_visible('.segkc .help')
    for k in [*'abxvmyzsjkolhnABDX', 'd', 'd', 'Enter','Shift+Enter','Delete','Backspace', 'ArrowLeft','ArrowRight','ArrowUp','ArrowDown']: page.keyboard.press(k)
    page.focus('.segkc input.threshold')
    for k in [*'bxa', 'ArrowRight', 'd', 'd']: page.keyboard.press(k)
    pause(page, 300)
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status=idle]') # the kernel may still answer the last keys
    assert opened.cells==cells and page.locator('.jp-Notebook-ExecutionIndicator[data-status=idle]').count()==1
    assert page.locator('.jp-Cell.jp-MarkdownCell').count()==0
    assert page.get_attribute('.segkc', 'data-lm-suppress-shortcuts') is not None, 'Notebook 7 handles keys before any listener can stop them'
    assert opened.prompts==ran, 'no cell was run again'
    page.locator('.jp-Cell').nth(2).locator('.cm-content').click()
    page.keyboard.press('Control+Enter')
    page.wait_for_function("n => document.querySelectorAll('.jp-Cell')[2].innerText.includes('ArrowDown')")
    out = page.locator('.jp-Cell').nth(2).locator('.jp-OutputArea-output').inner_text()
    assert "'x': 160" in out and out.endswith('0.01)'), 'pointer and slider reach Python'
    assert [k for k in ('ArrowLeft','ArrowRight','ArrowUp','ArrowDown') if k in out]==['ArrowLeft','ArrowRight','ArrowUp','ArrowDown'], 'arrows reach Python'

def test_memory(stripes):
    "Two thousand changes leave nothing behind"
    page = stripes
    cdp = page.context.new_cdp_session(page)
    def heap():
        cdp.send('HeapProfiler.collectGarbage')
        return cdp.send('Runtime.getHeapUsage')['usedSize']/2**20
    work(page, 200)
    was = heap()
    work(page, 2000)
    now = heap()
    print(f'\nheap after 200 changes {was:.1f} MiB, after 2200 {now:.1f} MiB')
    assert now<was+2

WORK = '''async n => {
  const e = document.querySelector('.segkc'), ms = {opacity: [], threshold: [], classes: []}, slider = s => { const o = e.querySelector('input.'+s); o.value = Math.random(); o.dispatchEvent(new Event('input')) }
  const act = {opacity: () => slider('opacity'), threshold: () => slider('threshold'), classes: () => { const b = e.querySelectorAll('.legend button'); b[Math.floor(Math.random()*b.length)].click() }}
  for (let i = 0; i < n; i++) { const k = Object.keys(act)[i%3]; act[k](); await new Promise(r => { const c = new MessageChannel(); c.port1.onmessage = r; c.port2.postMessage(0) }); ms[k].push(+e.dataset.ms) }
  return ms }'''
def work(page, n): return page.evaluate(WORK, n)

LATENCY = SETUP+'''
rng = np.random.default_rng(0)
task = Task([f'class {i}' for i in range(21)])
blocks = lambda: rng.integers(0, 21, (32,32), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
items = [[rng.integers(0, 255, (64,64,3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)]+[blocks() for _ in range(3)]+[rng.integers(0, 256, (512,512), dtype=np.uint8) for _ in range(2)] for _ in range(6)]
v,at = MaskViewer(task, height=512),[0]
def item():
    im,t,s,j,c,d = items[at[0]%6]
    v.show(im, dict(image=Panel('image'), senior=Panel('label', s, c), junior=Panel('label', j, d), who=Panel('disagreement', of=('senior','junior'))), t, f'item {at[0]}')
def go(w, m, b):
    at[0] += 1
    item()
v.on_msg(go)
item()
'''

@pytest.mark.timed
def test_latency(lab):
    "With 4 panels of 512 × 512 and 21 classes; the bounds are generous, the measurements are printed"
    with lab.run('latency.ipynb', LATENCY, 'v', warm=True) as nb:
        page = nb.page
        page.wait_for_selector('.segkc[data-arrived]', timeout=60000)
        pause(page, 500)
        assert all(o.shape==(512,512,3) for o in canvases(page).values())
        ms = {k:statistics.median(o) for k,o in work(page, 120).items()}
        page.click('.box canvas')
        ms['next image, nothing ahead'],size = pressed(nb, 'ArrowRight', 5)
        ms['next image, seen before'],again = pressed(nb, 'ArrowRight', 7)
    print('\nmedian ms: '+', '.join(f'{k} {o:.1f}' for k,o in ms.items()))
    assert all(ms[k]<60 for k in ('opacity','threshold','classes')) and ms['next image, nothing ahead']<300 and ms['next image, seen before']<150
    assert size>5*512**2 and again<20_000, 'an image that was seen is not sent again'

def test_static_picture(stripes, opened, lab):
    "A saved notebook opened without a kernel shows the picture as it was seen last, trusted or not"
    first = stripes.get_attribute('.segkc-static img', 'src')
    settle(stripes, lambda: drag(stripes, 'input.opacity', .3))
    stripes.wait_for_function("was => document.querySelector('.segkc-static img').src!==was", arg=first)
    assert stripes.locator('.segkc-static').count()==1 and not stripes.is_visible('.segkc-static'), 'the live view hides it'
    opened.command('docmanager:save')
    saved = nbformat.read(lab.path/'stripes.ipynb', 4)
    assert any('segkc-static' in o.get('data', {}).get('text/html', '') for o in saved.cells[1].outputs)
    assert 'segkc-static' in HTMLExporter().from_notebook_node(saved)[0]
    for trusted in (True,False):
        if not trusted: saved.cells[0].source += '\n# changed by someone else'
        saved.metadata['kernelspec'] = dict(name='gone', display_name='no such kernel', language='python')
        nbformat.write(saved, lab.path/f'saved{trusted}.ipynb')
        with lab.open(f'saved{trusted}.ipynb') as nb: # JupyterLab asks for a kernel on top of it
            page = nb.page
            page.wait_for_selector('.segkc-static img', state='visible', timeout=20000)
            assert page.evaluate("document.querySelector('.segkc-static img').naturalWidth")>600 and page.locator('.segkc').count()==0

def test_page_loaded_again(stripes, opened, lab):
    "A page opened later asks for the arrays that it lacks, and shows the same"
    opened.command('docmanager:save')
    with lab.open('stripes.ipynb') as nb:
        nb.page.wait_for_selector('.segkc[data-arrived]')
        pause(nb.page, 100)
        was,now = canvases(stripes),canvases(nb.page)
        assert list(was)==list(now) and all(np.array_equal(was[o], now[o]) for o in was)

def write_probe(path, sizes=((96,144),)*4, k=5, records=3, networks=('senior','junior'), truth=True):
    "The files that `ProbeRecorder` leaves of a training, with labels that improve from record to record"
    rng,d,n = np.random.default_rng(0),Path(path)/'probe',len(sizes)
    for o in ('images','truth'): (d/o).mkdir(parents=True)
    truths,rows = [],[]
    for i,(h,w) in enumerate(sizes):
        m = rng.integers(0, k, (6,9), dtype=np.uint8)
        truths.append(m[np.ix_(np.arange(h)*6//h, np.arange(w)*9//w)])
        Image.fromarray(np.stack([60+(truths[i]*37%150).astype(np.uint8)]*3, -1)).save(d/'images'/f'{i}.jpg', quality=90, subsampling=0)
        if truth: Image.fromarray(truths[i]).save(d/'truth'/f'{i}.png')
    for e in range(records):
        maps = {}
        for i,m in enumerate(truths):
            for j,o in enumerate(networks):
                wrong = np.roll(m, 3*(records-e)+2*j, j)
                maps[f'{o}/label/{i}'],maps[f'{o}/confidence/{i}'] = wrong,(np.where(wrong==m, 240-10*j, 120+i%100)+rng.integers(0, 8, m.shape)).astype(np.uint8)
                row = dict(epoch=e, step=10*e+10, network=o, image=i, loss=1., entropy=.5, confidence=.8, kept=i/n, disagreement=(i*7%n)/n)
                rows.append(row | dict(error=(wrong!=m).mean() if truth else np.nan))
        np.savez_compressed(d/f'e{e:04}-s{10*e+10:06}.npz', **maps)
    pd.DataFrame(rows).to_csv(d/'images.csv', index=False)
    task = dict(name='made up', classes=[f'class {i}' for i in range(k)])
    what = dict(part='unlabelled', names=[f'image {i}' for i in range(n)], sizes=[list(o) for o in sizes], truth=[truth]*n)
    (d/'probe.json').write_text(json.dumps(dict(format=1, **what, networks=list(networks), deployed=networks[-1], threshold=.9, task=task)))
    return path

EDGES = dict(usual={}, no_truth=dict(truth=False), one_class=dict(k=1), many_classes=dict(k=150), one_image=dict(sizes=[(96,144)]))
EDGES |= dict(many_images=dict(sizes=[(32,48)]*500, records=1), sizes=dict(sizes=[(96,144),(144,96),(40,200)]))

@pytest.fixture(scope='module')
def notebook(lab):
    "A notebook of explorers, each on a different kind of run"
    for k,o in EDGES.items(): write_probe(lab.path/'runs'/k, **o)
    write_probe(lab.path/'runs'/'one_network', networks=('student',))
    (lab.path/'runs'/'nothing').mkdir()
    cells = ["from segkc_fastai.view.disagreement import DisagreementExplorer\nfrom segkc_fastai.view.pseudo import PseudoLabelExplorer"]
    cells += [f"{c}Explorer('runs/{k}', height=150)" for k in EDGES for c in ('PseudoLabel','Disagreement')]
    cells += [f"PseudoLabelExplorer('runs/{k}', height=150)" for k in ('one_network','nothing')]
    with lab.run('explorers.ipynb', *cells, warm=True) as nb:
        nb.page.wait_for_function(f"document.querySelectorAll('.segkc[data-arrived]').length=={len(cells)-2}", timeout=90000)
        nb.wait_done()
        yield nb

@pytest.fixture
def explorers(notebook):
    yield notebook.page
    assert not notebook.errors, notebook.errors

def cell(i): return f'.jp-Cell:nth-child({i+1})'
def after(page, i, do):
    "Do something that shows another image or record; returns the canvases before and after"
    sel = f'{cell(i)} .segkc[data-arrived]'
    return canvases(page, sel),settle(page, do, sel, 'arrived')

def test_every_kind_of_run_opens(explorers):
    "With and without masks, 1 class and 150, 1 image and 500, different sizes, one network; without records, the remedy"
    page = explorers
    for i in range(1, 2*len(EDGES)+2):
        im = canvases(page, f'{cell(i)} .segkc[data-arrived]')
        assert all(o.any() for o in im.values()) and page.locator(f'{cell(i)} .error, {cell(i)} .line.bad:visible').count()==0
    says(page, cell(2*len(EDGES)+2), 'train with probe=16')

def test_scrubbing(explorers, notebook):
    "Another epoch changes only labels, another image changes everything, sorting brings the first image to the front"
    page = explorers
    scrub = f'{cell(1)} input.record'
    was,now = after(page, 1, lambda: drag(page, scrub, 0))
    assert np.array_equal(was['image'], now['image']) and not np.array_equal(was['junior'], now['junior'])
    page.click(f'{cell(1)} .box canvas')
    was,now = after(page, 1, lambda: page.keyboard.press('ArrowUp'))
    assert np.array_equal(was['image'], now['image']) and not np.array_equal(was['junior'], now['junior'])
    was,now = after(page, 1, lambda: page.keyboard.press('ArrowRight'))
    assert not np.array_equal(was['image'], now['image'])
    was,now = after(page, 1, lambda: page.click(f'{cell(1)} .thumb:nth-child(4)'))
    assert not np.array_equal(was['image'], now['image'])
    says(page, f'{cell(1)} output.image', 'image 3')
    after(page, 1, lambda: page.select_option(f'{cell(1)} select.sort', 'least kept'))
    says(page, f'{cell(1)} output.image', 'image 0 (1/4)')
    says(page, f'{cell(1)} .strip', '0.0 %')
    was,now = after(page, 1, lambda: page.select_option(f'{cell(1)} select.network', 'senior'))
    assert 'senior' in now and np.array_equal(was['image'], now['image'])
    cells = notebook.cells
    page.focus(scrub)
    for k in 'bxaddm': page.keyboard.press(k)
    pause(page, 200)
    assert notebook.cells==cells and not page.locator('.jp-MarkdownCell').count()

QUALITY = "s => { const c = document.querySelector(s+' .quality canvas'); return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.reduce((h, x) => (31*h+x)|0, 7) }"
def test_quality_follows_the_slider(explorers):
    page,sel = explorers,f'{cell(1)} .segkc[data-arrived]'
    seen = []
    for t in (.3, .6, .95): # it opens at 0, as the run keeps all
        was,now = canvases(page, sel),settle(page, lambda: drag(page, f'{cell(1)} input.threshold', t), sel)
        seen.append(page.evaluate(QUALITY, cell(1)))
    assert len(set(seen))==3 and np.array_equal(was['image'], now['image']) and np.array_equal(was['confidence'], now['confidence'])
    page.click(f'{cell(1)} button:text("rarest class")')
    page.wait_for_function("s => document.querySelector(s).textContent.includes('rarest in the probe set: class')", arg=f'{cell(1)} .note')

def test_disagreement(explorers):
    "A cell of the matrix outlines its pixels, the whole probe set is summed, and errors are shown"
    page,sel = explorers,f'{cell(2)} .segkc[data-arrived]'
    page.locator(f'{cell(2)} .matrix').scroll_into_view_if_needed()
    at = page.locator(f'{cell(2)} .matrix canvas').bounding_box()
    click = lambda: page.mouse.click(at['x']+78+30, at['y']+78+10)
    full,now = canvases(page, sel),settle(page, click, sel)
    lit = {o:~(full[o]//4==now[o]).all(-1) for o in now}
    assert 0<lit['image'].mean()<.3 and all(np.array_equal(lit['image'], o) for o in lit.values())
    now = settle(page, click, sel)
    assert all(np.array_equal(full[o], now[o]) for o in now)
    page.click(f'{cell(2)} button:text("whole probe set")')
    page.wait_for_function("s => document.querySelector(s).textContent.startsWith('all 4 images: both right')", arg=f'{cell(2)} .note')
    page.click(f'{cell(2)} button:text("agreement over epochs")')
    page.wait_for_selector(f'{cell(2)} .widget-html svg')
    page.click(f'{cell(2)} button:text("features")')
    page.wait_for_selector(f'{cell(2)} .line.bad:text("no run there")')
    was,now = after(page, 2, lambda: page.click(f'{cell(2)} .thumb:nth-child(2)'))
    assert not page.is_visible(f'{cell(2)} .segkc-nav .line.bad')

@pytest.mark.timed
def test_steps_are_fetched_ahead(lab):
    "With 4 panels of 512 × 512 and 21 classes, a step between images or epochs sends names only, and a long walk stays within the memory limit"
    write_probe(lab.path/'runs'/'large', sizes=((512,512),)*6, k=21, records=5)
    setup = 'from segkc_fastai.view import disagreement, viewer\nviewer.KEPT = 2**24'
    with lab.run('large.ipynb', setup, "disagreement.DisagreementExplorer('runs/large', height=512)", warm=True) as nb:
        page = nb.page
        page.wait_for_selector('.segkc[data-arrived]', timeout=60000)
        page.click('.box canvas')
        quiet(nb, 1000)
        for what,key in dict(image='ArrowRight', epoch='ArrowDown').items():
            ms,size = pressed(nb, key, 4, 1000)
            print(f'\nnext {what}: median {ms:.1f} ms, {size:.0f} bytes')
            assert ms<150 and size<20_000
        cdp = page.context.new_cdp_session(page)
        def buffers():
            quiet(nb, 1000)
            cdp.send('HeapProfiler.collectGarbage')
            return cdp.send('Runtime.getHeapUsage')['backingStorageSize']/2**20
        walk = lambda: [pressed(nb, k, 4) for k in ('ArrowLeft','ArrowUp','ArrowRight','ArrowDown')]
        walk()
        was = buffers()
        for _ in range(2): walk()
        now = buffers()
        print(f'buffers after 16 steps {was:.1f} MiB, after 48 {now:.1f} MiB')
        assert now<was+8

def downloaded(page, button):
    with page.expect_download() as d: page.click(button)
    return d.value

def test_numbers_of_all_images(explorers, lab):
    "As a file, and in the head while Shift is held"
    page,probe = explorers,np.load(lab.path/'runs'/'usual'/'probe'/'e0002-s000030.npz')
    page.click(f'{cell(2)} .box canvas')
    page.keyboard.down('Shift')
    pause(page, 400)
    page.wait_for_function("s => document.querySelector(s).textContent.startsWith('all 4 images: both right')", arg=f'{cell(2)} .note')
    page.keyboard.up('Shift')
    page.wait_for_selector(f'{cell(2)} .note', state='hidden')
    page.keyboard.press('?') # needs Shift as well, but not for long
    pause(page, 400)
    assert not page.is_visible(f'{cell(2)} .note')
    file = downloaded(page, f'{cell(2)} button:text("csv")')
    df = pd.read_csv(file.path())
    assert file.suggested_filename=='usual-disagreement-epoch3-step30.csv' and len(df)==4+5+1
    assert np.allclose(df.agreement[:4], [(probe[f'senior/label/{i}']==probe[f'junior/label/{i}']).mean() for i in range(4)], atol=1e-4)
    df = pd.read_csv(downloaded(page, f'{cell(1)} button:text("csv")').path())
    assert list(df)==['image','class','pixels','kept','precision','recall'] and df['class'].tolist()==['all']*4+[f'class {k}' for k in range(5)]+['all']
    with Image.open(downloaded(page, f'{cell(1)} button:text("figure")').path()) as im: assert im.width>600

LARGE = """
from segkc_fastai.view.disagreement import DisagreementExplorer
h,w = 1024,2048
label = np.repeat(np.uint8([0,1,2,1]), 256)[:,None].repeat(w, 1)
large = MaskViewer(Task(['road','car','sky']), matrix=['senior','junior'])
panels = dict(image=Panel('image'), senior=Panel('label', label), junior=Panel('label', np.roll(label, 300, 0)), who=Panel('disagreement', of=('senior','junior')))
"""
SHOW_LARGE = "large.show(np.full((h,w,3), 120, np.uint8), panels, label, 'large')"
EXPLORED,ALONE = '.widget-vbox .segkc:not(.segkc-nav)','.jp-Cell:nth-child(3) .segkc'

@pytest.fixture(scope='module')
def laptop(lab):
    "An explorer of 320 × 240 photographs and a viewer of 2048 × 1024, both of automatic size, in a window of 1400 × 900"
    write_probe(lab.path/'runs'/'photographs', sizes=((240,320),)*3)
    with lab.run('laptop.ipynb', SETUP+LARGE, "DisagreementExplorer('runs/photographs')", SHOW_LARGE, warm=True) as nb:
        nb.page.set_viewport_size(dict(width=1400, height=900))
        nb.page.wait_for_function("document.querySelectorAll('.segkc[data-arrived]').length==2", timeout=90000)
        nb.wait_done()
        yield nb

@pytest.fixture
def photographs(laptop):
    "The explorer at the top of the window, at its first image and as at the start"
    page = laptop.page
    page.set_viewport_size(dict(width=1400, height=900))
    page.evaluate("window.jupyterapp.shell.collapseLeft()")
    page.click('.thumb:nth-child(1)')
    page.keyboard.press('r')
    page.evaluate("document.querySelector('.segkc-nav').scrollIntoView()")
    page.wait_for_function(f"document.querySelector('{EXPLORED}').dataset.name.startsWith('image 0')")
    pause(page, 300)
    yield page
    assert not laptop.errors, laptop.errors

line = lambda page: page.inner_text(f'{EXPLORED} .line')
pressed_buttons = lambda page: page.locator('.tools button[aria-pressed=true]').all_inner_texts()
boxes = lambda page, sel: page.evaluate("s => [...document.querySelectorAll(s)].map(e => e.getBoundingClientRect()).filter(r => r.width).map(r => [r.x, r.y, r.width, r.height])", sel)

def matrix_cell(page, row, column):
    "Middle of a cell of the matrix on the page"
    at = page.locator(f'{EXPLORED} .matrix canvas').bounding_box()
    return at['x']+78+20*column+10,at['y']+78+20*row+10

def test_head_and_viewer_are_one_focus(photographs):
    "After a click in the head, keys act on the viewer; Escape clears the cell, then the zoom, then leaves"
    page = photographs
    step = lambda do: settle(page, do, EXPLORED, 'arrived')
    step(lambda: page.click('.thumb:nth-child(2)'))
    step(lambda: page.keyboard.press('ArrowRight'))
    says(page, 'output.image', 'image 2 (3/3)')
    step(lambda: page.click('.segkc-nav button[aria-label^="previous image"]'))
    settle(page, lambda: page.keyboard.press('d'), EXPLORED)
    assert pressed_buttons(page)==['compare']
    page.select_option('select.sort', 'most disagreement')
    pause(page, 300)
    settle(page, lambda: page.keyboard.press('d'), EXPLORED)
    page.select_option('select.sort', 'as recorded')
    page.focus('.segkc-nav button[aria-label^="next image"]')
    settle(page, lambda: page.keyboard.press('g'), EXPLORED)
    assert pressed_buttons(page)==['truth'], 'a button reached by Tab passes keys on'
    settle(page, lambda: page.keyboard.press('g'), EXPLORED)
    full = canvases(page, EXPLORED)
    settle(page, lambda: page.mouse.click(*matrix_cell(page, 1, 0)), EXPLORED)
    zoomed = settle(page, lambda: page.keyboard.press('+'), EXPLORED)
    says(page, f'{EXPLORED} .zoom', 'zoom 1.5 ×')
    now = settle(page, lambda: page.keyboard.press('Escape'), EXPLORED)
    assert not any(np.array_equal(zoomed[o], now[o]) for o in now) and page.inner_text(f'{EXPLORED} .zoom')=='zoom 1.5 ×'
    now = settle(page, lambda: page.keyboard.press('Escape'), EXPLORED)
    assert all(np.array_equal(full[o], now[o]) for o in now)
    page.keyboard.press('Escape')
    assert not page.evaluate(f"document.querySelector('{EXPLORED}').contains(document.activeElement)")

def test_words_are_of_what_is_shown(photographs):
    "The line follows image, threshold and pointer; toggles and percentages follow the keys"
    page = photographs
    page.hover(f'{EXPLORED} .box canvas[data-title=senior]', position=dict(x=160, y=90))
    for do in (lambda: page.keyboard.press('ArrowRight'), lambda: page.keyboard.press('ArrowDown')):
        page.focus(EXPLORED)
        settle(page, do, EXPLORED, 'arrived')
        said = line(page)
        page.mouse.move(0, 0)
        assert line(page).startswith('click a panel'), 'nothing is under the pointer'
        page.hover(f'{EXPLORED} .box canvas[data-title=senior]', position=dict(x=160, y=90))
        assert said==line(page) and said.startswith('x='), 'as if read anew'
    page.mouse.move(*matrix_cell(page, 0, 0))
    was = line(page)
    settle(page, lambda: drag(page, f'{EXPLORED} input.threshold', .6), EXPLORED)
    now = line(page)
    page.mouse.move(*(o+2 for o in matrix_cell(page, 0, 0)))
    assert 'that both keep' in was and was!=now==line(page)

def test_only_kept_pixels_are_judged(photographs):
    "Who is right follows the slider, in pixels and in numbers"
    page = photographs
    part = lambda: page.locator(f'{EXPLORED} .parts .part').all_inner_texts()
    was,full = part(),canvases(page, EXPLORED)
    assert was[-1]=='of 76,800 pixels with truth'
    now = settle(page, lambda: drag(page, f'{EXPLORED} input.threshold', .9), EXPLORED)
    assert part()[:5]!=was[:5] and 'pixels with truth that both keep (' in part()[-1]
    loud = lambda o: np.ptp(o['who is right?'].astype(int), axis=-1)>40
    assert loud(now).sum()<.2*loud(full).sum() and not (loud(now)&~loud(full)).any()
    colours = [len(np.unique(full['who is right?'][loud(full)], axis=0)) for _ in range(1)]
    assert colours[0]>5, 'parts have patterns'

def test_panels_use_the_room(photographs):
    "The rows fit the window, beside the matrix; closing the side bar never makes a panel smaller; one panel can be large"
    page,seen = photographs,lambda: boxes(page, f'{EXPLORED} .box canvas')
    for width,least,rows in ((1400,310,2), (1000,150,3)):
        page.set_viewport_size(dict(width=width, height=900))
        pause(page, 300)
        page.evaluate(f"document.querySelector('{EXPLORED}').scrollIntoView()")
        (head,),(side,),panels = boxes(page, f'{EXPLORED} .head'),boxes(page, f'{EXPLORED} .matrix'),seen()
        assert len(panels)==5 and panels[0][2]>=least and len({o[1] for o in panels})==rows
        assert all(o[0]+o[2]<=side[0] for o in panels) and side[0]+side[2]<=width and panels[-1][1]+panels[-1][3]<870
        assert {round(o[2]/o[3], 1) for o in boxes(page, f'{ALONE} .box canvas')}=={2.}
        page.evaluate(f"document.querySelector('{EXPLORED} figure:nth-child(4)').scrollIntoView()")
        pause(page, 100)
        top = boxes(page, '.jp-WindowedPanel-outer')[0][1]
        assert abs(boxes(page, f'{EXPLORED} .head')[0][1]-top)<4 and boxes(page, f'{EXPLORED} .matrix')[0][1]>top, 'the head and the matrix stay'
        closed = seen()[0][2]
        page.evaluate("window.jupyterapp.shell.expandLeft()")
        pause(page, 400)
        assert seen()[0][2]<=closed
        page.evaluate("window.jupyterapp.shell.collapseLeft()")
        pause(page, 400)
        assert seen()[0][2]==closed
    (small,*_) = seen()
    page.dblclick(f'{EXPLORED} .box canvas[data-title=junior]')
    pause(page, 100)
    assert len(seen())==1 and seen()[0][2]>1.7*small[2]
    page.keyboard.press('1')
    pause(page, 100)
    assert len(seen())==2, 'any number can be chosen'
    page.keyboard.press('m')
    pause(page, 100)
    assert seen()[0]==small and len(seen())==5

def test_nothing_jumps(photographs):
    "Head, panels and matrix stay in place from image to image, and under the pointer"
    page = photographs
    place = lambda: boxes(page, f'{EXPLORED} :is(.head, .legend, .told, .box canvas, .side, .matrix, .part)')
    was = place()
    for k in (2,3):
        settle(page, lambda: page.click(f'.thumb:nth-child({k})'), EXPLORED, 'arrived')
        assert place()==was
    page.hover(f'{EXPLORED} .box canvas[data-title=image]')
    pause(page, 50)
    assert place()==was

def test_reset_and_empty_cells(photographs):
    "A cell without pixels dims nothing; reset returns to the start"
    page = photographs
    full = canvases(page, EXPLORED)
    settle(page, lambda: drag(page, f'{EXPLORED} input.threshold', 1), EXPLORED)
    empty = settle(page, lambda: page.mouse.click(*matrix_cell(page, 1, 0)), EXPLORED)
    assert np.array_equal(empty['image'], full['image']) and ' 0 pixels' in line(page)
    for k in ('+', 'c', 'o', '2', ' '): settle(page, lambda: page.keyboard.press(k), EXPLORED)
    now = settle(page, lambda: page.click(f'{EXPLORED} button:text("reset")'), EXPLORED)
    assert all(np.array_equal(full[o], now[o]) for o in full) and not pressed_buttons(page)
    assert page.input_value(f'{EXPLORED} input.threshold')=='0'

def test_both_themes(photographs):
    "The head hides what scrolls beneath it, and buttons have tooltips that name their keys"
    page = photographs
    colour = lambda sel, what='backgroundColor': page.evaluate("([s, k]) => getComputedStyle(document.querySelector(s))[k]", [sel, what])
    seen = []
    for theme in ('Dark','Light'):
        change_theme(page, theme)
        assert colour(f'{EXPLORED} .head')==colour('.jp-Notebook') and colour(f'{EXPLORED} .head')!=colour(EXPLORED, 'color')
        seen.append(colour(f'{EXPLORED} .head'))
    assert len(set(seen))==2
    titles = page.eval_on_selector_all('.segkc .tools button', 'l => l.map(e => e.title)')
    assert all(titles) and sum('(' in o for o in titles)>8
    page.focus(EXPLORED)
    page.keyboard.press('?')
    assert page.locator(f'{EXPLORED} .help kbd:visible').count()>12
    page.keyboard.press('?')

KINDS = dict(photographs={}, large=dict(sizes=((512,1024),)*2), no_truth=dict(truth=False), one_network=dict(networks=('student',)))
OUTSIDE = """s => { const box = document.querySelector(s+' .jp-OutputArea').getBoundingClientRect()
  return [...document.querySelectorAll(s+' [class*=segkc] *')].filter(e => { const r = e.getBoundingClientRect()
    return r.width && (r.right > box.right+1 || r.left < box.left-1) }).map(e => e.className+' '+e.textContent.slice(0, 30)) }"""

@pytest.mark.parametrize('app', APPS)
def test_everywhere(lab, app):
    "JupyterLab and Notebook 7, wide and narrow windows, both themes: all is inside its cell, legible and drawn, and keys act"
    for k,o in KINDS.items(): write_probe(lab.path/'runs'/f'{app}_{k}', **dict(sizes=((240,320),)*3) | o)
    cells = [SETUP+LARGE+'from segkc_fastai.view.pseudo import PseudoLabelExplorer']
    cells += [f"{'PseudoLabel' if k=='one_network' else 'Disagreement'}Explorer('runs/{app}_{k}')" for k in KINDS]
    cells.append(SHOW_LARGE)
    with lab.run(f'{app}.ipynb', *cells, warm=True, app=app) as nb:
        page,n = nb.page,len(cells)
        page.wait_for_function(f"document.querySelectorAll('.segkc[data-arrived]').length=={n-1}", timeout=90000)
        nb.wait_done()
        for theme in ('Dark','Light'):
            change_theme(page, theme)
            for width,key in ((1400,'ArrowRight'), (1000,'ArrowLeft')):
                page.set_viewport_size(dict(width=width, height=900))
                pause(page, 200)
                for i in range(1, n):
                    where = app,theme,width,cells[i]
                    page.focus(f'{cell(i)} .segkc[data-arrived]')
                    if i<n-1: # an explorer
                        was,now = after(page, i, lambda: page.keyboard.press(key))
                        assert all(o.std()>1 and not np.array_equal(o, was[t]) for t,o in now.items()), where
                    for k in 'bxa': page.keyboard.press(k)
                    assert not page.evaluate(OUTSIDE, cell(i)) and not faint(page, f'{cell(i)} .segkc *'), where
        assert nb.cells==n

@pytest.fixture(scope='module')
def workbench_path(lab):
    "The notebook that `segkc lab` writes, with two trained runs"
    data = write_scenes(lab.path/'few_scenes', n_train=16, n_val=4, n_test=1)
    small = dict(junior='mobilenetv4_conv_small+fpn:32', labelled=8, epochs=2, size=(64,96), bs=4, pretrained=False, device='cpu', probe=4) # the two runs must differ in an image
    runs = [train(lab.path/'trained'/m, data, m, senior=s, **small) for m,s in (('supervised',None), ('cps','resnet10t+fpn:32'))]
    with chdir(lab.path): return str(write_workbench(runs[1].path).relative_to(lab.path)) # the notebook changes to the folder in which `segkc lab` was called

@contextmanager
def opened_workbench(lab, path, app):
    with lab.open(path, warm=True, app=app) as nb:
        nb.run_all()
        nb.page.wait_for_function("document.querySelectorAll('.segkc[data-arrived]').length==3", timeout=90000)
        nb.wait_done()
        yield nb

@pytest.fixture(scope='module')
def workbench(lab, workbench_path):
    with opened_workbench(lab, workbench_path, 'JupyterLab') as nb: yield nb

PSEUDO,DISAGREE,CARD,COMPARE = 5,7,9,11 # cells of the workbench
viewer = lambda i,n=2: f'{cell(i)} .widget-vbox > :nth-child({n})' # under the head

def shows_everything(nb):
    "No cell has an error or a warning, each shows something, inside the cell and legible, in wide and narrow windows and both themes"
    page = nb.page
    for kind in ('error','stderr'): assert page.locator(f'[data-mime-type="application/vnd.jupyter.{kind}"]').count()==0
    assert page.locator('.segkc-training path.line').count()>=4
    says(page, cell(CARD), 'cps')
    for i,n in ((PSEUDO,4), (DISAGREE,5), (COMPARE,5)):
        im = canvases(page, viewer(i, 3 if i==COMPARE else 2))
        assert len(im)==n and all(o.std()>1 for o in im.values()), i
    try:
        for theme in ('Dark','Light'):
            change_theme(page, theme)
            for width in (1400,1000):
                page.set_viewport_size(dict(width=width, height=900))
                pause(page, 300)
                for i in range(nb.cells):
                    if not page.locator(f'{cell(i)} .jp-OutputArea').count(): continue
                    assert not page.evaluate(OUTSIDE, cell(i)) and not faint(page, f'{cell(i)} .jp-OutputArea-output *'), (theme, width, i)
    finally: page.set_viewport_size(dict(width=2600, height=1300))
    assert not nb.errors, nb.errors

def test_workbench(workbench): shows_everything(workbench)

def test_views_of_the_loss(workbench):
    "Shown under the image, with linked sliders; and removed again"
    page = workbench.page
    page.click(f'{cell(PSEUDO)} button:text("views")')
    page.wait_for_selector(f'{viewer(PSEUDO, 3)} .segkc[data-arrived]')
    pause(page, 100)
    im = canvases(page, viewer(PSEUDO, 3))
    assert list(im)==['weak view','junior now','strong view, drawn anew'] and all(o.std()>1 for o in im.values())
    for t,same in ((1,True), (0,False)): # at 1 nothing is kept, and only a trace of the label is left
        now = settle(page, lambda: drag(page, f'{viewer(PSEUDO)} input.threshold', t), f'{viewer(PSEUDO, 3)} .segkc')
        assert (np.abs(now['junior now'].astype(int)-im['weak view']).mean()<12)==same
    page.click(f'{cell(PSEUDO)} button:text("views")')
    page.wait_for_function("s => !document.querySelector(s).querySelector('.segkc')", arg=viewer(PSEUDO, 3))
    assert not workbench.errors, workbench.errors

def test_comparing(workbench):
    "Image, epoch and matrix change their own pixels; table and curves follow the epoch"
    page,sel,table = workbench.page,f'{viewer(COMPARE, 3)} .segkc',f'{cell(COMPARE)} .widget-html'
    after = lambda do: (canvases(page, sel),settle(page, do, sel, 'arrived'))
    page.locator(cell(COMPARE)).scroll_into_view_if_needed()
    page.click(f'{sel} .box canvas')
    was,now = after(lambda: page.keyboard.press('ArrowRight'))
    assert list(now)==['image','ground truth','cps','supervised','who is right?'] and all(not np.array_equal(was[o], now[o]) for o in now)
    row = lambda: page.eval_on_selector(table, "e => [e.querySelector('tbody').innerText, e.querySelector('line').getAttribute('x1')]")
    text,(was,now) = row(),after(lambda: drag(page, f'{cell(COMPARE)} input.record', 0))
    assert all(np.array_equal(was[o], now[o])==(o in ('image','ground truth')) for o in now)
    page.wait_for_function("([s, x]) => document.querySelector(s).getAttribute('x1')!==x", arg=[f'{table} line', text[1]])
    assert row()[0]!=text[0]
    page.locator(f'{cell(COMPARE)} .matrix').scroll_into_view_if_needed()
    at,full = page.locator(f'{cell(COMPARE)} .matrix canvas').bounding_box(),canvases(page, sel)
    now = settle(page, lambda: page.mouse.click(at['x']+78+10, at['y']+78+10), sel) # both label it with the class that they dispute most
    lit = {o:~(full[o]//4==now[o]).all(-1) for o in now}
    assert 0<lit['image'].mean()<1 and all(np.array_equal(lit['image'], o) for o in lit.values())
    was,now = after(lambda: page.click(f'{cell(COMPARE)} button:text("largest gain")'))
    says(page, f'{cell(COMPARE)} .note', 'supervised compared with cps')
    assert not workbench.errors, workbench.errors

def test_workbench_in_notebook_7(lab, workbench_path):
    with opened_workbench(lab, workbench_path, 'Notebook 7') as nb: shows_everything(nb)
