"The map of a run's images: features that are read once, a plane, lists of selected images, and ten thousand points in a browser"
import gc, re, shutil, statistics, weakref
import numpy as np, pytest, torch
from PIL import Image
from conftest import SMALL, train
from lab import KERNEL, pause, says, until
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.splits import read_names
from segkc_fastai.label import features
from segkc_fastai.label.features import all_images, image_features, principal_plane, run_images
from segkc_fastai.label.suggest import suggest
from segkc_fastai.runs.folder import Run
from segkc_fastai.view.embedding import EmbeddingMap
from segkc_fastai.view.labelling import queue_of

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    d = tmp_path_factory.mktemp('map')
    data = write_scenes(d/'scenes', n_train=16, n_val=4, n_test=2)
    for i,f in enumerate(sorted((data/'train'/'masks').iterdir())): # images without masks, of another size, and with a damaged mask
        if i in (14,15): f.unlink()
        if i==13: f.write_bytes(b'damaged')
    first = next(o for o in sorted((data/'train'/'images').iterdir()) if not (data/'train'/'masks'/f'{o.stem}.png').exists())
    with Image.open(first) as im: im.resize((80,48)).save(first)
    return train(d/'run', data, 'cps', **SMALL|dict(epochs=1, labelled=4))

@pytest.fixture
def run(trained, tmp_path): return Run(shutil.copytree(trained.path, tmp_path/'run'))

def test_numbers_of_every_image(run):
    found,df = all_images(run, bs=3, device='cpu')
    parts = run_images(run)
    assert {k:len(o) for k,o in parts.items()}==df.part.value_counts().to_dict() and len(df)==20
    pairs = [p for o in parts.values() for p in o]
    assert np.allclose(found, image_features(run, pairs, device='cpu'), rtol=1e-3, atol=1e-4)
    masked = np.array([p.mask is not None and p.mask.read_bytes()!=b'damaged' for p in pairs])
    assert (df.error.notna()==masked).all() and ((df.true>=0)==masked).all() and df.agreement.between(0, 1).all()
    nets,one = run.networks(),next(p for p in parts['validation'])
    x = torch.from_numpy(np.array(Image.open(one.image).convert('RGB'))).permute(2,0,1)[None]/255
    with torch.no_grad(): a,b = (net.eval()(x).logits[0].argmax(0) for net in nets.values())
    row = df[df.name==f'val/{one.name}'].iloc[0]
    assert abs(float((a==b).float().mean())-row.agreement)<2e-3

def test_read_again_only_if_something_changed(run, monkeypatch):
    first = all_images(run, device='cpu')
    reads,real = [],features.stacked
    monkeypatch.setattr(features, 'stacked', lambda pairs: reads.append(len(pairs)) or real(pairs))
    again = all_images(run, device='cpu')
    assert not reads and np.allclose(first[0], again[0], rtol=1e-2, atol=1e-3) and first[1].equals(again[1].astype(first[1].dtypes))
    file = run.path/'features.npz'
    for damage in (lambda: file.write_bytes(file.read_bytes()[:200]), lambda: np.savez(file, key='x', features=np.ones((2,2))),
        lambda: (run.path/'junior.safetensors').write_bytes((run.path/'junior.safetensors').read_bytes()[:-4]+b'\0\0\0\0'), file.unlink):
        damage()
        reads.clear()
        all_images(run, device='cpu')
        assert sum(reads)==20
        reads.clear()
        all_images(run, device='cpu')
        assert not reads

def test_memory_does_not_grow_with_the_images(run, monkeypatch):
    "Batches are forgotten: at most one is alive when the next is read"
    real,seen = features.stacked,[]
    def stacked(pairs):
        gc.collect()
        assert sum(o() is not None for o in seen)<=1
        x = real(pairs)
        seen.append(weakref.ref(x))
        return x
    monkeypatch.setattr(features, 'stacked', stacked)
    all_images(run, bs=2, device='cpu')
    assert len(seen)>=10

def test_plane():
    rng = np.random.default_rng(0)
    groups = np.concatenate([c+rng.normal(0, .01, (50,300)) for c in np.eye(300)[:3]])
    xy,shares = principal_plane(groups)
    centres = [xy[i:i+50].mean(0) for i in (0,50,100)]
    apart = min(np.linalg.norm(centres[i]-centres[j]) for i,j in ((0,1),(0,2),(1,2)))
    assert apart>10*max(xy[i:i+50].std(0).max() for i in (0,50,100)) and 0.9<shares.sum()<=1
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert np.array_equal(principal_plane(groups)[0], xy) and torch.equal(before, torch.get_rng_state())
    for shape in ((1,5),(2,1),(5,1),(3,700)): assert principal_plane(np.ones(shape))[0].shape==(shape[0],2)

def test_umap_is_optional(monkeypatch, run):
    monkeypatch.setitem(__import__('sys').modules, 'umap', None)
    with pytest.raises(ImportError, match=r"pip install 'segkc_fastai\[umap\]'"): EmbeddingMap(run, how='umap', device='cpu')
    with pytest.raises(ValueError, match='choose pca or umap'): EmbeddingMap(run, how='tsne', device='cpu')

def test_a_selection_is_a_list_for_the_rest(run, tmp_path):
    "For labelling, for a training, and for suggestions"
    m = EmbeddingMap(str(run.path), device='cpu')
    parts = {k:list(m.images.name[m.images.part==k]) for k in ('labelled','unlabelled','validation')}
    heard = []
    m.observe(lambda change: heard.append(change.new), 'selected')
    m._chosen = [0,5,19]
    assert heard==[[m.images.name[i] for i in (0,5,19)]] and m.images.part[19]=='validation'
    file = m.write(tmp_path/'chosen.txt')
    assert [p.name for p in queue_of(run, file)]==heard[0][:2]
    assert read_names(file, m.images.name)==heard[0][:2]
    m.selected = parts['unlabelled'][:3]
    assert m._chosen==[4,5,6]
    among = suggest(run, 2, among=m.selected, bs=2)
    assert set(among.name)<=set(m.selected) and len(among)==2
    m.write(tmp_path/'some.txt')
    assert list(suggest(run, 2, among=tmp_path/'some.txt').name)==list(among.name)
    assert set(suggest(run, 2, among=m.selected+parts['labelled'][:1]+parts['validation'], bs=2).name)==set(among.name)
    with pytest.raises(ValueError, match='among: none of 1 names'): suggest(run, among=parts['labelled'][:1])
    with pytest.raises(ValueError, match="among: no image of .* is called 'nowhere'"): suggest(run, among=[*m.selected, 'nowhere'])
    (tmp_path/'typed.txt').write_text('\n'.join(f'{o}.jpg' for o in m.selected))
    assert list(suggest(run, 2, among=tmp_path/'typed.txt').name)==list(among.name)
    (tmp_path/'typed.txt').write_text(f'{m.selected[0]}\n{m.selected[1]}x\n')
    with pytest.raises(ValueError, match='typed.txt, line 2: no image of this run is called'): suggest(run, among=tmp_path/'typed.txt')
    m.selected = parts['validation']
    with pytest.raises(ValueError, match='none of them labelled or unlabelled'): m.write(tmp_path/'no.txt')
    assert not (tmp_path/'no.txt').exists()

def test_one_network_has_no_layer_of_agreement(run):
    (run.path/'features.npz').unlink(missing_ok=True)
    titles = lambda r: [o['title'] for o in EmbeddingMap(r, device='cpu')._layers]
    assert titles(run)==['part','predicted class','true class','agreement of senior and junior','error']
    run.facts.networks.pop('senior')
    (run.path/'features.npz').unlink()
    assert titles(run)==['part','predicted class','true class','error']

POINTS = '''
import io, numpy as np
from PIL import Image
from segkc_fastai.view.embedding import MapState, class_layer, share_layer
rng = np.random.default_rng(0)
n = 10_000
xy = np.concatenate([rng.normal(c, .07, (n//4, 2)) for c in ((.25,.25),(.75,.3),(.3,.75),(.7,.7))]).clip(0, 1).astype(np.float32)
kind = np.repeat(np.arange(4), n//4)
layers = [class_layer('class', kind, ['road','car','sky','tree'], [(90,90,90),(0,114,178),(240,228,66),(0,158,115)]), share_layer('error', np.where(kind==3, np.nan, xy[:,0]), 'of pixels', 'no mask')]
m = MapState(title='made up', axes='principal components: 30 % and 20 %', _xy=xy.tobytes(), _names=[f'image {i}' for i in range(n)], _layers=layers, colour='class')
f = io.BytesIO()
Image.new('RGB', (60,40), (200,30,30)).save(f, 'JPEG')
m.on_msg(lambda w,msg,b: w.send(dict(thumb=msg['want']), [f.getvalue()]))
'''

@pytest.fixture(scope='module')
def points(lab):
    with lab.run('points.ipynb', POINTS, 'm', 'print(len(m.selected), m.current, m.colour)', warm=True) as nb:
        nb.page.wait_for_selector('.segkc-map[data-draws]', timeout=120_000)
        nb.wait_done()
        yield nb

def told(nb, text):
    "Wait until Python knows as much: a cell that ran before the page's last message printed what was, so it runs again"
    def now():
        nb.page.locator('.jp-Cell').nth(2).locator('.cm-content').click()
        nb.page.keyboard.press('Control+Enter')
        nb.wait_done()
        return nb.page.locator('.jp-Cell').nth(2).locator('.jp-OutputArea-output').first.inner_text().startswith(text)
    until(nb.page, now)

def lasso(page, box, x0, y0, x1, y1, steps=8):
    at = lambda x,y: (box['x']+x*box['width'], box['y']+y*box['height'])
    page.mouse.move(*at(x0, y0))
    page.mouse.down()
    for x,y in ((x1,y0),(x1,y1),(x0,y1),(x0,y0)): page.mouse.move(*at(x, y), steps=steps)
    page.mouse.up()

def test_map_in_the_browser(points):
    "Lasso, legend, hover and keys; nothing reaches the notebook"
    nb,page = points,points.page
    page.locator('.segkc-map .plot').scroll_into_view_if_needed()
    box = page.locator('.segkc-map .plot canvas').first.bounding_box()
    assert page.locator('.segkc-map .keys-of-map button').count()==4
    lasso(page, box, .02, .5, .5, .98)
    page.wait_for_function("!document.querySelector('.segkc-map .count').textContent.startsWith('0 ')")
    found = int(page.inner_text('.segkc-map .count').split()[0])
    assert 2000<found<3200
    told(nb, f'{found} ')
    page.click('.segkc-map .keys-of-map button:has-text("car")', modifiers=['Shift'])
    assert int(page.inner_text('.segkc-map .count').split()[0])>found
    page.click('.segkc-map .keys-of-map button:has-text("car")')
    says(page, '.segkc-map .count', re.compile('^2500 of 10000'))
    page.mouse.move(box['x']+box['width']*.3, box['y']+box['height']*.3)
    page.mouse.move(box['x']+box['width']/2-.2*box['height'], box['y']+box['height']*.28)
    page.wait_for_selector('.segkc-map .tip img')
    says(page, '.segkc-map .tip', 'image ', 'class: ', re.compile(r'error: \d+ %'))
    tip = page.locator('.segkc-map .tip').bounding_box()
    page.focus('.segkc-map')
    page.mouse.wheel(0, -400)
    page.wait_for_function("x => document.querySelector('.segkc-map .tip').getBoundingClientRect().x!==x", arg=tip['x'])
    page.keyboard.press('0')
    finger = page.context.new_cdp_session(page)
    for kind,x,y in (('Start',.1,.1), ('Move',.9,.1), ('Move',.9,.9), ('Move',.1,.9)):
        at = dict(x=box['x']+x*box['width'], y=box['y']+y*box['height'], id=1)
        finger.send('Input.dispatchTouchEvent', dict(type=f'touch{kind}', touchPoints=[at]))
    finger.send('Input.dispatchTouchEvent', dict(type='touchCancel', touchPoints=[]))
    page.mouse.move(box['x']+box['width']*.5, box['y']+box['height']*.5)
    page.mouse.move(box['x']+box['width']*.6, box['y']+box['height']*.5)
    assert page.evaluate("document.querySelector('canvas.over').getContext('2d').getImageData(0, 0, 2000, 600).data.every(v => v === 0)"), 'no lasso is left'
    says(page, '.segkc-map .count', re.compile('^2500 of 10000'))
    cells = nb.cells
    assert page.get_by_role('group', name='map of images: made up').count()==1
    page.focus('.segkc-map')
    page.keyboard.press('Escape')
    says(page, '.segkc-map .count', re.compile('^0 of'))
    page.keyboard.press('ArrowRight')
    says(page, '.segkc-map .line', 'image ')
    one = page.inner_text('.segkc-map .line')
    page.keyboard.press('ArrowRight')
    page.wait_for_function("was => document.querySelector('.segkc-map .line').innerText!==was", arg=one)
    page.keyboard.press(' ')
    says(page, '.segkc-map .count', re.compile('^1 of'))
    page.keyboard.press('c')
    page.wait_for_selector('.segkc-map .ends')
    assert page.inner_text('.segkc-map .ends').count('%')==2 and 'no mask 2500' in page.inner_text('.segkc-map .keys-of-map')
    for k in 'abxdd+-0': page.keyboard.press(k)
    pause(page, 200)
    assert nb.cells==cells
    told(nb, f'1 {page.inner_text(".segkc-map .line").split(" · ")[0]} error')

@pytest.mark.timed
def test_ten_thousand_points_are_fluid(points):
    page = points.page
    page.focus('.segkc-map')
    box = page.locator('.segkc-map .plot canvas').first.bounding_box()
    page.mouse.move(box['x']+50, box['y']+50)
    ms = dict(draw=[], lasso=[])
    for i in range(9):
        page.mouse.wheel(0, -100 if i%2==0 else 100)
        pause(page, 60)
        ms['draw'].append(float(page.get_attribute('.segkc-map', 'data-ms')))
    for _ in range(5):
        lasso(page, box, .02, .02, .98, .98, 40)
        pause(page, 60)
        ms['lasso'].append(float(page.get_attribute('.segkc-map', 'data-lasso')))
    ms = {k:statistics.median(o) for k,o in ms.items()}
    print('\nmedian ms of script for 10 000 points: '+', '.join(f'{k} {o:.1f}' for k,o in ms.items()))
    assert ms['draw']<50 and ms['lasso']<100

def test_reopened_without_its_kernel(points, lab):
    "One picture, of the state when the notebook was saved, and no message about the missing view"
    page,count = points.page,"document.querySelectorAll('.segkc-static img').length"
    first = page.get_attribute('.segkc-static img', 'src')
    assert not page.is_visible('.segkc-static')
    page.keyboard.press('Escape')
    page.click('.segkc-map .keys-of-map button')
    page.wait_for_function("was => document.querySelector('.segkc-static img').src!==was", arg=first)
    last = page.get_attribute('.segkc-static img', 'src')
    points.command('docmanager:save')
    lab.end_kernel('points.ipynb')
    with lab.open('points.ipynb', harmless=['widget model not found']) as again:
        again.page.wait_for_selector('.segkc-static img', state='visible')
        assert again.page.evaluate(count)==1 and again.page.get_attribute('.segkc-static img', 'src')==last!=first
        again.page.wait_for_function(f"{KERNEL}=='idle'")
        pause(again.page, 1000)
        missing = again.page.get_by_text('model not found').or_(again.page.get_by_text('Loading widget'))
        assert not any(o.is_visible() for o in missing.all())
