"The mask editor in a real browser: each tool, by the pixels of the PNG on disk"
import re, statistics
import numpy as np, pytest
from lab import canvases, change_theme, faint, pause, pressed, quiet, until
from PIL import Image

SETUP = '''
import time
import numpy as np
from segkc_fastai.core.task import Task
from segkc_fastai.view.editor import MaskEditor
from segkc_fastai.view.viewer import as_bytes
task = Task(['road','car','sky'], [(90,90,90), (0,114,178), (240,228,66)])
H,W = 240,320
senior = np.repeat(np.uint8([2,0,1]), 80)[:,None].repeat(W, 1)
junior = np.roll(senior, 20, 0)
senior[100:120,100:140] = junior[100:120,100:140] = 2
sure = as_bytes(np.linspace(.1, 1, W)[None].repeat(H, 0))
image = np.full((H,W,3), 120, np.uint8)
'''
OPEN = '''
number = time.time_ns()
v = MaskEditor(task, height=240).edit(image, f'masks/a{number}.png', dict(senior=(senior,sure), junior=(junior,sure)), f'a{number}')
v.on_msg(lambda w, msg, buffers: (time.sleep(.8), w._say('the only image')) if 'key' in msg else None)
v'''
SENIOR = np.repeat(np.uint8([2,0,1]), 80)[:,None].repeat(320, 1)
JUNIOR = np.roll(SENIOR, 20, 0)
SENIOR[100:120,100:140] = JUNIOR[100:120,100:140] = 2
OPEN_PIXEL = 255

@pytest.fixture(scope='module')
def opened(lab):
    with lab.run('editor.ipynb', SETUP, OPEN, warm=True) as nb:
        nb.page.wait_for_selector('.segkc[data-arrived]', timeout=60000)
        yield nb

class Editing:
    "The editor on the page, and its mask on disk"
    def __init__(self, lab, nb):
        self.page,self.nb = nb.page,nb
        self.name = self.page.get_attribute('.segkc', 'data-name')
        self.folder = lab.path/'masks'
        self.file = self.folder/f'{self.name}.png'
        self.page.click('.box canvas[data-title=mask]', position=dict(x=3, y=3), modifiers=['Shift'])

    def at(self, x, y, title='mask'):
        "The middle of a pixel of the image, in the window; without zoom"
        box = self.page.locator(f'.box canvas[data-title={title}]').bounding_box()
        return box['x']+(x+.5)*box['width']/320,box['y']+(y+.5)*box['height']/240

    def stroke(self, *points, steps=4):
        "Press at the first point, move over the others, release"
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for p in points[1:]: self.page.mouse.move(*self.at(*p), steps=steps)
        self.page.mouse.up()

    def key(self, *keys):
        for k in keys: self.page.keyboard.press(k)
    def click(self, x, y, title='mask'): self.page.mouse.click(*self.at(x, y, title))

    def state(self): return self.page.inner_text('.segkc .state')
    def told(self, text):
        try: self.page.wait_for_function('t => document.querySelector(".segkc .state").innerText.includes(t)', arg=text)
        except Exception: pytest.fail(f'{text!r} is not in {self.state()!r}, line {self.page.inner_text(".segkc .line")!r}')

    def saved(self):
        "Save, and read the mask from disk"
        written = lambda: self.file.stat().st_mtime_ns if self.file.exists() else 0
        before = written()
        self.key('s')
        until(self.page, lambda: written()!=before, 30)
        return np.array(Image.open(self.file))

@pytest.fixture
def editing(lab, opened):
    page = opened.page
    page.evaluate("() => { document.querySelector('.segkc').dataset.old = 1 }")
    opened.run_all()
    page.wait_for_selector('.segkc[data-arrived]:not([data-old])')
    opened.wait_done()
    pause(page, 150)
    yield Editing(lab, opened)
    assert not opened.errors, opened.errors

def capsule(a, b, r):
    "(240,320) bool: pixels within `r` of the line from a to b"
    y,x = np.mgrid[:240,:320]
    d = np.subtract(b, a)
    t = np.clip(((x-a[0])*d[0]+(y-a[1])*d[1])/max(1, d@d), 0, 1)
    return np.hypot(x-a[0]-t*d[0], y-a[1]-t*d[1])<r+1e-6

def test_brush_and_eraser(editing):
    e = editing
    e.key('2')
    e.stroke((50,60), (120,60))
    e.key('e')
    e.stroke((80,40), (80,80))
    m = e.saved()
    want = np.where(capsule((50,60), (120,60), 7.5), 1, OPEN_PIXEL)
    want[capsule((80,40), (80,80), 7.5)] = OPEN_PIXEL
    assert np.array_equal(m, want)
    assert (canvases(e.page)['mask'][60,60]!=120).any() and (canvases(e.page)['mask'][60,80]==120).all(), 'the canvas shows what is on disk'

def test_polygon_lasso_fill_and_pick(editing):
    e = editing
    e.key('p', '3')
    for x,y in ((20,20),(60,20),(60,50)): e.click(x, y)
    e.page.mouse.dblclick(*e.at(20, 50))
    assert ' ' not in e.page.get_attribute('.marks polyline', 'points'), 'the outline goes with the polygon'
    e.key('l', '2')
    e.stroke((200,100), (260,100), (260,160), (200,160))
    e.key('i')
    e.click(40, 30)
    e.key('f')
    e.click(230, 130)
    m = e.saved()
    assert (m[20:50,20:60]==2).all() and (m[101:159,201:259]==2).all() and not (m==1).any(), 'the class of the polygon was picked, and fills the lasso'
    assert (m[:19]==OPEN_PIXEL).all() and (m[165:]==OPEN_PIXEL).all() and (m[52:98]==OPEN_PIXEL).all()

def test_accept_regions_and_agreement(editing):
    e = editing
    e.click(10, 200, 'senior')
    assert np.array_equal(e.saved(), np.where(SENIOR==1, 1, OPEN_PIXEL)), 'the area of the senior'
    e.key('z', 'x', '3')
    e.stroke((300,10), (310,10))
    e.key('a')
    m = e.saved()
    kept = np.round(255*np.linspace(.1, 1, 320))>=int(255*.7+.5)
    agree = (SENIOR==JUNIOR)&kept
    painted = capsule((300,10), (310,10), 7.5)
    assert np.array_equal(m[~painted], np.where(agree, SENIOR, OPEN_PIXEL)[~painted]) and (m[painted]==2).all(), 'only open pixels, and only where both are sure'
    e.click(120, 110, 'junior')
    assert (e.saved()[100:120,100:140]==2).all()

def test_undo_and_redo_a_hundred_strokes(editing):
    e = editing
    for i in range(100):
        e.key('123'[i%3])
        x,y = 20+i*37%280,20+i*53%200
        e.stroke((x,y), (x+15,y+9), steps=1)
    full = e.saved()
    for _ in range(100): e.key('z')
    e.told('edits: 0, undone: 100')
    assert (e.saved()==OPEN_PIXEL).all()
    for _ in range(100): e.key('Control+Shift+Z')
    e.told('edits: 100, undone: 0')
    assert np.array_equal(e.saved(), full)
    assert (e.file.with_name(f'{e.file.name}.bak')).is_file(), 'the first mask is kept'
    assert e.nb.cells==2, 'no key reached the notebook'

CAPS = "k => document.querySelector('.segkc').dispatchEvent(new KeyboardEvent('keydown', {bubbles: true, ...k}))"

def test_one_finger_paints(editing):
    "A second one does nothing, and neither does Caps Lock"
    e = editing
    finger = e.page.context.new_cdp_session(e.page)
    touch = lambda kind,*points: finger.send('Input.dispatchTouchEvent', dict(type=f'touch{kind}', touchPoints=[dict(x=e.at(*p)[0], y=e.at(*p)[1], id=i) for i,p in enumerate(points)]))
    e.page.evaluate(CAPS, dict(key='B'))
    e.key('2')
    for kind,*points in (('Start',(50,60)), ('Start',(50,60),(250,200)), ('Move',(120,60),(200,150)), ('End',)): touch(kind, *points)
    e.told('edits: 1')
    assert np.array_equal(e.saved(), np.where(capsule((50,60), (120,60), 7.5), 1, OPEN_PIXEL))
    e.page.evaluate(CAPS, dict(key='Z', ctrlKey=True))
    e.told('edits: 0, undone: 1')
    e.page.evaluate(CAPS, dict(key='z', ctrlKey=True, shiftKey=True))
    e.told('edits: 1, undone: 0')

def test_names_and_states_for_screen_readers(editing):
    page = editing.page
    role = page.get_by_role('group', name='mask editor').get_by_role
    pressed = lambda: [o for o in ('road','car','sky','ignored') if role('button', name=o, pressed=True).count()]
    assert pressed()==['road']
    editing.key('3')
    assert pressed()==['sky']
    editing.key('x')
    assert pressed()==['ignored'] and page.inner_text('.state [role=status]')=='no mask yet'
    role('button', name='sky').click(modifiers=['Shift'])
    assert page.evaluate("[...document.querySelectorAll('.legend button.off')].map(e => `${e.title}, ${e.ariaDescription}`)")==['paint sky; shift and click: show or hide, hidden']
    role('button', name='sky').click(modifiers=['Shift'])
    assert not page.locator('.legend button.off').count()

def test_strokes_are_exact_at_any_zoom(editing):
    e = editing
    e.key('2', *'[['*10)
    e.page.mouse.move(*e.at(160, 120))
    for _ in range(6): e.page.mouse.wheel(0, -400)
    for x,y in ((160,120),(171,130)):
        e.page.mouse.move(*e.at(x, y))
        pause(e.page, 100)
        at = re.match(r'x=(\d+) y=(\d+)', e.page.inner_text('.segkc .line'))
        e.page.mouse.click(*e.at(x, y))
        m = e.saved()
        assert np.argwhere(m==1).tolist()==[[int(at[2]),int(at[1])]], 'the pixel that the line under the panels names'
        e.key('z')
    e.key('0')

def test_nothing_is_painted_between_two_images(editing):
    "After an arrow key, until the kernel has answered; a key that is held saves once"
    e = editing
    e.key('2', 'ArrowRight')
    e.stroke((50,60), (120,60))
    e.key('a')
    e.told('the only image')
    pause(e.page, 100) # the answer comes after the status
    e.stroke((50,150), (120,150))
    assert np.array_equal(e.saved(), np.where(capsule((50,150), (120,150), 7.5), 1, OPEN_PIXEL))
    Image.fromarray(np.full((240,320), 2, np.uint8)).save(e.file)
    e.page.keyboard.down('s')
    e.page.wait_for_selector('.box canvas[data-title="on disk"]')
    for _ in range(3): e.page.keyboard.down('s')
    e.page.keyboard.up('s')
    pause(e.page, 200)
    assert (np.array(Image.open(e.file))==2).all()
    assert (e.saved()==1).any()

def test_two_pages_edit_one_mask(editing, lab):
    e = editing
    e.key('2')
    e.stroke((50,60), (120,60))
    e.told('not saved')
    e.nb.command('docmanager:save')
    with lab.open('editor.ipynb') as other:
        other.page.wait_for_selector('.segkc[data-arrived]', timeout=60000)
        until(other.page, lambda: (canvases(other.page)['mask'][60,60]!=120).any()) # the stroke of the first page
        o = Editing(lab, other)
        o.key('3')
        o.stroke((50,150), (120,150))
        o.told('not saved')
        until(e.page, lambda: (canvases(e.page)['mask'][150,60]!=120).any()) # and the first that of the second
        e.stroke((200,60), (220,60))
        until(o.page, lambda: (canvases(o.page)['mask'][60,210]!=120).any())
        m = o.saved()
    want = np.where(capsule((50,60), (120,60), 7.5)|capsule((200,60), (220,60), 7.5), 1, OPEN_PIXEL)
    assert np.array_equal(m, np.where(capsule((50,150), (120,150), 7.5), 2, want))

def test_a_browser_that_closes_in_a_stroke(editing, lab):
    e = editing
    e.nb.command('docmanager:save')
    with lab.open('editor.ipynb') as other:
        other.page.wait_for_selector('.segkc[data-arrived]', timeout=60000)
        o = Editing(lab, other)
        o.key('2')
        o.page.mouse.move(*o.at(50, 60))
        o.page.mouse.down()
        o.page.mouse.move(*o.at(120, 60), steps=9)
        until(e.page, lambda: (canvases(e.page)['mask'][60,120]!=120).any())
    e.told('not saved')
    m = e.saved()
    assert (m==1).any() and np.array_equal(m==1, capsule((50,60), (120,60), 7.5))

def test_a_mask_that_another_program_wrote(editing):
    e = editing
    e.key('2')
    e.stroke((50,60), (120,60))
    e.told('not saved')
    theirs = np.full((240,320), 2, np.uint8)
    Image.fromarray(theirs).save(e.file)
    e.key('s')
    e.told('another program changed it')
    e.page.wait_for_selector('.box canvas[data-title="on disk"]')
    assert np.array_equal(np.array(Image.open(e.file)), theirs), 'nothing is replaced at first'
    m = e.saved()
    assert np.array_equal(m, np.where(capsule((50,60), (120,60), 7.5), 1, OPEN_PIXEL))
    assert np.array_equal(np.array(Image.open(e.file.with_name(f'{e.file.name}.bak'))), theirs)

def test_texts_are_legible_in_both_themes(editing):
    "Tools, palette, state, good and bad news, and the table of keys"
    e = editing
    e.key('2', '?')
    e.stroke((50,60), (120,60))
    e.page.click('.segkc .legend button:has-text("sky")', modifiers=['Shift'])
    Image.fromarray(np.full((240,320), 2, np.uint8)).save(e.file)
    e.key('s')
    e.told('another program changed it')
    for theme in ('Dark','Light'):
        change_theme(e.page, theme)
        e.page.mouse.move(*e.at(80, 120))
        assert len(faint(e.page, '.segkc *', 22))>40 and not faint(e.page, '.segkc *'), theme
    e.key('?')
    e.page.click('.segkc .legend button:has-text("sky")', modifiers=['Shift'])

MANY = """
from PIL import Image
n,k = 4096,20
many = Task([f'class {i}' for i in range(k)])
"""
LARGE = MANY+"""
label = np.kron(np.random.default_rng(0).integers(0, k, (64,64)).astype(np.uint8), np.ones((64,64), np.uint8))
photo = np.repeat((label*12)[...,None], 3, 2)
w = MaskEditor(many, height=600).edit(photo, 'large/a.png', dict(junior=(label,)), 'large')
w"""

@pytest.mark.timed
def test_large_masks_stay_fluid(lab):
    "4096 × 4096 pixels and 20 classes: milliseconds of a stroke 60 pixels wide, and of undoing it"
    with lab.run('large.ipynb', SETUP, LARGE, warm=True) as nb:
        page = nb.page
        page.wait_for_selector('.segkc[data-arrived]', timeout=90000)
        pause(page, 500)
        box = page.locator('.box canvas[data-title=mask]').bounding_box()
        at = lambda x,y: (box['x']+x*box['width'],box['y']+y*box['height'])
        page.click('.box canvas[data-title=mask]', position=dict(x=3, y=3), modifiers=['Shift'])
        for _ in range(11): page.keyboard.press(']')
        ms = dict(stroke=[], undo=[])
        read = lambda k: ms[k].append(float(page.get_attribute('.segkc', f'data-{k}')))
        for i in range(12):
            page.keyboard.press(str(1+i%9))
            page.mouse.move(*at(.1+.05*i, .3))
            page.mouse.down()
            for j in range(5):
                page.mouse.move(*at(.1+.05*i+.01*j, .3+.02*j))
                read('stroke')
            page.mouse.up()
        for _ in range(12):
            page.keyboard.press('z')
            read('undo')
        page.keyboard.press('y')
        page.keyboard.press('s')
        page.wait_for_function('document.querySelector(".segkc .state").innerText.includes("saved to")')
        m = np.array(Image.open(lab.path/'large'/'a.png'))
        assert m.shape==(4096,4096) and (m!=OPEN_PIXEL).any()
        print({k:statistics.median(v) for k,v in ms.items()}, page.inner_text('.segkc .editing output'))
        assert statistics.median(ms['stroke'])<=16 and statistics.median(ms['undo'])<=50

QUEUE = MANY+"""
import json
from pathlib import Path
from segkc_fastai.runs.config import RunConfig, RunFacts, write_config
from segkc_fastai.view import labelling
rng = np.random.default_rng(0)
blocks = lambda: np.kron(rng.integers(0, k, (64,64)).astype(np.uint8), np.ones((64,64), np.uint8))
smooth = lambda *s: np.array(Image.fromarray(rng.integers(0, 256, (512,512,*s), dtype=np.uint8)).resize((n,n)))
for o in ('images','masks'): Path('queue/data/train', o).mkdir(parents=True)
photo = smooth(3)
for i in range(5): Image.fromarray(np.roll(photo, 99*i, 1)).save(f'queue/data/train/images/{i}.jpg')
for i in range(3): Image.fromarray(blocks()).save(f'queue/data/train/masks/{i}.png')
Path('queue/data/task.json').write_text(json.dumps(dict(classes=[*many.classes])))
about = dict(split='', split_family=None, split_hash='', val_hash=None, steps=1, streams=[], note='', versions={}, hardware='')
nets = {o:dict(spec=o, params=1, pretrained=False, follows=None, frozen=False) for o in ('senior','junior')}
counts = dict(labelled=3, unlabelled=2, val=0)
Path('queue/run').mkdir()
write_config(Path('queue/run'), RunConfig('queue/data'), RunFacts(many.to_dict(), 'folder', images=counts, deployed='junior', networks=nets, **about))
guess = {o:(blocks(),smooth()) for o in ('senior','junior')}
labelling.Proposals = lambda run: lambda image: {o:(np.roll(m, image[0,0,0], 0),c.copy()) for o,(m,c) in guess.items()}
q = labelling.Labeller('queue/run', [str(i) for i in range(5)])
q"""

@pytest.mark.timed
def test_the_next_image_of_a_queue_is_there(lab):
    "4096 × 4096 pixels, 20 classes, two proposals: milliseconds from the key to the canvas; a stroke is saved after the next image is shown"
    with lab.run('queue.ipynb', SETUP, QUEUE, warm=True) as nb:
        page = nb.page
        page.wait_for_selector('.segkc[data-arrived]', timeout=90000)
        page.click('.box canvas[data-title=mask]', position=dict(x=3, y=3), modifiers=['Shift'])
        page.keyboard.press('2')
        quiet(nb, 2500)
        ms,size = pressed(nb, 'ArrowRight', 3, 2500)
        print(f'next image: median {ms:.0f} ms, {size:.0f} bytes')
        page.click('.box canvas[data-title=mask]')
        page.wait_for_function('document.querySelector(".segkc .state").innerText.includes("not saved")')
        page.keyboard.press('ArrowRight')
        page.wait_for_function('document.querySelector(".segkc").dataset.name=="4"')
        page.get_by_text('1 saved').wait_for() # after the next image is shown
    m = np.array(Image.open(lab.path/'queue'/'data'/'train'/'masks'/'3.png'))
    assert m.shape==(4096,4096) and (m==1).any() and ((m==1)|(m==OPEN_PIXEL)).all()
    assert ms<400 and size<20_000

def test_a_kernel_that_dies_loses_no_stroke(editing):
    e = editing
    e.key('2')
    e.stroke((50,60), (120,60))
    e.told('not saved')
    e.nb.command('kernelmenu:restart', wait=False)
    e.page.click('.jp-Dialog-button.jp-mod-accept')
    pause(e.page, 500)
    assert not e.file.is_file()
    e.page.wait_for_function("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status=='idle'")
    e.nb.page.evaluate("() => { for (const o of document.querySelectorAll('.segkc')) o.dataset.old = 1 }")
    code = f"v = MaskEditor(task, height=240).edit(image, 'masks/{e.name}.png', {{}}, '{e.name}'); v"
    cell = e.page.locator('.jp-Cell').nth(1)
    cell.locator('.cm-content').click()
    e.page.keyboard.press('Control+A')
    e.page.keyboard.insert_text(code)
    e.nb.run_all()
    e.page.wait_for_selector('.segkc[data-arrived]:not([data-old])', timeout=60000)
    e.told('edits that were not saved have been restored') # a slow stroke arrives in pieces
    e.page.click('.box canvas[data-title=mask]', position=dict(x=3, y=3), modifiers=['Shift'])
    m = e.saved()
    cell.locator('.cm-content').click()
    e.page.keyboard.press('Control+A')
    e.page.keyboard.insert_text(OPEN.strip())
    assert np.array_equal(m, np.where(capsule((50,60), (120,60), 7.5), 1, OPEN_PIXEL))
