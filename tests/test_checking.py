"The worklist of labels that are probably wrong: order, verdicts, files on disk, bad input; at the end in a browser"
import errno, io
import numpy as np, pandas as pd, pytest
from lab import pause
from PIL import Image
from segkc_fastai.core.task import IGNORE, Task
from segkc_fastai.data.labels import read_mask
from segkc_fastai.data.sources import Pair
from segkc_fastai.label.errors import image_errors, read_decisions, read_errors, write_errors
from segkc_fastai.runs.config import RunConfig, RunFacts, write_config
from segkc_fastai.view.checking import Checker, box_zoom, region_runs

TASK,RGB = Task(['road','car','tree']),Task(['road','car','tree'], [(9,9,9),(7,200,3),(0,0,250)], masks='rgb')
AREAS = (slice(4,12),slice(4,12)),(slice(16,28),slice(30,42)) # of two cars, of which the second is larger

def cars(*which):
    m = np.zeros((32,48), np.uint8)
    for i in which: m[AREAS[i]] = 1
    return m

def write_out(d, labels, seen, task=TASK, p=.9, networks=('senior','junior')):
    "Images, masks and the results of a check in which each network saw `seen`, name → (H,W)"
    rows,values = [],np.uint8(task.palette) if task.masks=='rgb' else np.arange(3, dtype=np.uint8)
    for k in ('images','masks',*(f'out/predictions/{n}' for n in networks)): (d/k).mkdir(parents=True)
    for k,label in labels.items():
        Image.new('RGB', (48,32)).save(d/'images'/f'{k}.png')
        Image.fromarray(values[label]).save(d/'masks'/f'{k}.png')
        for n in networks: Image.fromarray(seen[k]).save(d/'out'/'predictions'/n/f'{k}.png')
        probs = np.where(np.arange(3)[:,None,None]==seen[k], p, (1-p)/2)
        rows += image_errors([probs]*2, Pair(d/'images'/f'{k}.png', d/'masks'/f'{k}.png'), task)
    write_errors(pd.DataFrame(rows).sort_values('score', ascending=False, ignore_index=True), d/'out')
    (d/'out'/'fold-0').mkdir()
    about = dict(split='', split_family=None, split_hash='', val_hash=None, steps=1, streams=[], note='', versions={}, hardware='')
    nets = {k:dict(spec=k, params=1, pretrained=False, follows=None, frozen=False) for k in networks}
    facts = RunFacts(task.to_dict(), 'folder', images=dict(labelled=9, unlabelled=0, val=0), deployed='junior', networks=nets, **about)
    write_config(d/'out'/'fold-0', RunConfig('d'), facts)
    return d/'out'

@pytest.fixture
def out(tmp_path):
    "Three regions: the large car of 001, that of NA, and the small car of 001"
    return write_out(tmp_path, {'001':cars(), 'NA':cars(0)}, {'001':cars(0,1), 'NA':2*cars(1)+cars(0)})

def files(d): return {f.name:f.read_bytes() for f in d.iterdir() if f.name[0]!='.'}
def mask(d, name): return read_mask(d/'masks'/f'{name}.png', TASK)
def verdicts(out): return sorted((o['name'], o['verdict']) for o in read_decisions(out).values())
def press(c, k): c.buttons[['keep','theirs','edited'].index(k)].click()
def arrow(c, key): c.editor._handle_custom_msg(dict(key=key), [])

def painted(c, to, at, n=1):
    "Give pixels of the current mask a class, as the browser would"
    e = c.editor
    e._heard(e, dict(edit='page', of=e._about['draft']), [np.int32([[to,at,n]]).tobytes()])

def test_the_worst_comes_first(out):
    c = Checker(out)
    assert [(o['name'], o['area']) for o in c.left]==[('001',144),('NA',144),('001',64)]
    for text in ('1 of 3', '001', 'missing object: label says road, networks say car', f'{c.region["score"]:.2f}'): assert text in c.head.value
    assert [*c.editor.panels]==['mask','senior','junior','where they differ'] and c.editor.zoom==box_zoom(c.region['box'], (32,48))

def test_order_is_that_of_scores(out):
    write_errors(read_errors(out)[::-1].reset_index(drop=True), out)
    assert [o['area'] for o in Checker(out).left]==[144,144,64]

def test_keep_changes_nothing(out):
    before = files(out.parent/'masks')
    c = Checker(out)
    press(c, 'keep')
    assert files(out.parent/'masks')==before and verdicts(out)==[('001','keep')] and c.region['name']=='NA' and '1 of 2' in c.head.value

def test_theirs_writes_the_region_alone(out, monkeypatch):
    c = Checker(out)
    sent,draft,of = [],c.editor.draft,c.editor._about['draft']
    monkeypatch.setattr(c.editor, 'send', lambda m, buffers=None: sent.append((m, buffers)))
    press(c, 'theirs')
    assert np.array_equal(mask(out.parent, '001'), cars(1)) and np.array_equal(mask(out.parent, 'NA'), cars(0))
    assert read_mask(out.parent/'masks'/'001.png.bak', TASK).max()==0 and verdicts(out)==[('001','theirs')]
    (m,(runs,)), = [o for o in sent if 'edit' in o[0]]
    assert m==dict(edit='kernel', of=of) and np.frombuffer(runs, '<i4').reshape(-1, 3).tolist()==[[1,48*y+30,12] for y in range(16, 28)]
    assert not draft.journal.exists(), 'saved'

def test_an_edit_is_in_the_journal_before_it_is_saved(out, monkeypatch):
    c = Checker(out)
    monkeypatch.setattr(c.editor, 'save', lambda: False)
    press(c, 'theirs')
    assert mask(out.parent, '001').max()==0 and read_decisions(out)=={} and c.editor.draft.journal.is_file() and c.at==0
    c.editor.draft.close()
    again = Checker(out)
    assert again.editor.draft.recovered==1 and np.array_equal(again.editor.draft.label, cars(1))
    press(again, 'theirs')
    assert np.array_equal(mask(out.parent, '001'), cars(1)) and verdicts(out)==[('001','theirs')]

def test_edited_saves_what_was_painted(out):
    c = Checker(out)
    painted(c, 2, 48*20+32, 5)
    press(c, 'edited')
    want = cars()
    want[20,32:37] = 2
    assert np.array_equal(mask(out.parent, '001'), want) and verdicts(out)==[('001','edited')]

def test_arrows_decide_nothing_and_what_was_painted_is_saved_with_the_image(out):
    c = Checker(out)
    arrow(c, 'ArrowLeft')
    assert c.at==0
    painted(c, 2, 0)
    arrow(c, 'ArrowRight')
    assert c.region['name']=='NA' and mask(out.parent, '001')[0,0]==2 and '2 of 3' in c.head.value
    arrow(c, 'ArrowRight')
    arrow(c, 'ArrowRight')
    assert c.at==2 and c.region['area']==64 and read_decisions(out)=={}
    press(c, 'keep') # the last: the first comes next
    assert c.at==0 and len(c.left)==2

def test_a_mask_stays_open_for_its_next_region(out):
    c = Checker(out)
    arrow(c, 'ArrowRight')
    press(c, 'keep')
    of,zoom = c.editor._about['draft'],c.editor.zoom
    assert c.region['area']==64 and c.region['name']=='001'
    arrow(c, 'ArrowLeft')
    assert c.region['area']==144 and c.editor._about['draft']==of and c.editor.zoom[1:]!=zoom[1:]

def test_the_next_mask_is_read_ahead(out):
    c = Checker(out)
    for _ in c._send_next(): pass # as in idle moments
    read = c.editor._next
    assert read.path.name=='NA.png'
    arrow(c, 'ArrowRight')
    assert c.editor.draft.key==read.key and c.editor.draft.label is read.label and list(c.memo)==['NA']
    for _ in c._send_next(): pass
    assert c.editor._next.path.name=='001.png', 'of the last region'

def test_decisions_are_remembered(out):
    press(Checker(out), 'theirs')
    c = Checker(out)
    assert [(o['name'], o['area']) for o in c.left]==[('NA',144),('001',64)]
    press(c, 'theirs')
    press(c, 'theirs')
    assert c.head.value=='<b>Nothing left to decide</b>' and all(b.disabled for b in c.buttons)
    assert np.array_equal(mask(out.parent, '001'), cars(0,1)) and np.array_equal(mask(out.parent, 'NA'), 2*cars(1)+cars(0))
    arrow(c, 'ArrowRight')
    c.decide('keep')
    with pytest.raises(ValueError, match='nothing left to decide; all 3 regions'): Checker(out)

def test_nothing_to_take(out):
    c = Checker(out)
    painted(c, 2, 0, 32*48)
    assert c.editor.save()
    press(c, 'theirs')
    assert c.editor.status['bad'] and 'no pixel of the box is road in the mask and car' in c.editor.status['text']
    assert read_decisions(out)=={} and c.at==0 and not c.buttons[0].disabled

def test_a_mask_of_another_program_is_shown_before_it_is_replaced(out):
    c = Checker(out)
    Image.fromarray(2*cars(0)).save(out.parent/'masks'/'001.png')
    press(c, 'theirs')
    assert 'on disk' in c.editor.panels and c.editor.status['bad'] and read_decisions(out)=={} and mask(out.parent, '001').max()==2
    press(c, 'theirs')
    assert np.array_equal(mask(out.parent, '001'), cars(1)) and verdicts(out)==[('001','theirs')]

def test_a_full_disk_is_told(out, monkeypatch):
    c = Checker(out)
    def full(*a, **k): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr('segkc_fastai.view.checking.decide', full)
    press(c, 'keep')
    assert 'No space left' in c.editor.status['text'] and len(c.left)==3

def test_colour_masks(tmp_path):
    out = write_out(tmp_path, dict(a=cars()), dict(a=cars(1)), RGB)
    press(Checker(out), 'theirs')
    assert np.array_equal(read_mask(tmp_path/'masks'/'a.png', RGB), cars(1))

def test_a_check_with_one_network(tmp_path):
    out = write_out(tmp_path, dict(a=cars()), dict(a=cars(1)), networks=('junior',))
    c = Checker(out)
    assert [*c.editor.panels]==['mask','junior']
    press(c, 'theirs')
    assert np.array_equal(mask(tmp_path, 'a'), cars(1))

def test_pixels_of_a_region():
    label,seen = cars(0),[cars(0,1),2*cars(0)+cars(1)]
    assert len(region_runs(label, seen, (0,0,30,32), 0, 1))==0, 'outside the box'
    assert region_runs(label, seen, (30,16,42,17), 0, 1).tolist()==[[1,16*48+30,12]]
    assert len(region_runs(label, seen, (0,0,48,32), 1, 2))==0, 'one network is not enough'
    assert region_runs(0*label[:2], [1+0*label[:2]], (0,0,48,2), 0, 1).tolist()==[[1,0,96]]
    seen = np.uint8([[1]*7+[0]*2, [1]+[0]*8, [1]+[0]*3+[1]*5])
    assert region_runs(0*seen, [seen], (0,0,7,3), 0, 1).tolist()==[[1,0,7],[1,9,1],[1,18,1]], 'another region reaches into the box'

def test_pixels_of_a_shifted_object():
    label = np.uint8([[0,0,0,0,1,1,1,0,0,0,0,0]])
    seen = np.roll(label, 3)
    assert region_runs(label, [seen]*2, (4,0,10,1), 1, 1).tolist()==[[0,4,3],[1,7,3]]
    assert region_runs(label, [seen]*2, (4,0,9,1), 1, 1).tolist()==[[0,4,3],[1,7,2]], 'outside the box'
    assert region_runs(label, [seen,label], (4,0,10,1), 1, 1).tolist()==[], 'one network is not enough'
    seen[0,5],label[0,8] = 2,IGNORE
    assert region_runs(label, [seen]*2, (4,0,10,1), 1, 1).tolist()==[[0,4,1],[2,5,1],[0,6,1],[1,7,1],[1,9,1]]

def test_a_shifted_object_in_the_editor(tmp_path):
    true,label = (np.zeros((32,48), np.uint8) for _ in range(2))
    true[8:20,14:26] = label[8:20,8:20] = 1
    out = write_out(tmp_path, dict(a=label), dict(a=true))
    c = Checker(out)
    assert len(c.left)==1 and 'shifted object: label says car, networks see it a few pixels away' in c.head.value
    press(c, 'theirs')
    assert np.array_equal(mask(tmp_path, 'a'), true)

@pytest.mark.parametrize('box, size, want', [((92,42,108,58),(100,200),[.5/.32,.5,.5]), ((0,0,48,32),(32,48),[1,.5,.5]),
    ((0,0,4,4),(1000,2000),[25,.001,.002])])
def test_zoom(box, size, want): assert box_zoom(box, size)==pytest.approx(want)

# ---- bad input

def test_a_folder_without_a_list(tmp_path):
    with pytest.raises(FileNotFoundError, match='no errors.csv there; pass a folder made by `segkc check-labels`'): Checker(tmp_path)

@pytest.mark.parametrize('text', ['', 'name,box\na,1 2', 'x'])
def test_a_damaged_list(out, text):
    (out/'errors.csv').write_text(text)
    with pytest.raises(ValueError, match='errors.csv: not readable as a list of regions'): Checker(out)

@pytest.mark.parametrize('numbers', ['score','box','area'])
def test_a_list_with_words_for_numbers(out, numbers):
    df = pd.read_csv(out/'errors.csv', dtype=str)
    df[numbers] = 'many'
    df.to_csv(out/'errors.csv', index=False)
    with pytest.raises(ValueError, match='not readable as a list of regions'): Checker(out)

def test_an_empty_list(out):
    write_errors(read_errors(out)[:0], out)
    with pytest.raises(ValueError, match='nothing left to decide'): Checker(out)

@pytest.mark.parametrize('gone', ['images/NA.png','masks/NA.png','out/predictions/junior/NA.png'])
def test_a_file_that_is_gone(out, gone):
    c = Checker(out)
    (out.parent/gone).unlink()
    arrow(c, 'ArrowRight')
    assert c.editor.status['bad'] and 'NA.png: no such file' in c.editor.status['text'] and all(b.disabled for b in c.buttons)
    c.decide('keep')
    assert read_decisions(out)=={} and (gone[:5]!='masks' or not (out.parent/gone).exists())
    arrow(c, 'ArrowRight')
    assert c.region['area']==64 and not c.buttons[0].disabled

def test_all_files_are_gone(out):
    for f in (out.parent/'images').iterdir(): f.unlink()
    with pytest.raises(FileNotFoundError, match='001.png: no such file, but .*errors.csv lists'): Checker(out)

def test_regions_whose_files_are_gone_are_passed_over_at_the_start(out):
    (out.parent/'masks'/'001.png').unlink()
    c = Checker(out)
    assert c.region['name']=='NA' and '2 of 3' in c.head.value

# ---- in a browser

def outline(page, title):
    "(H,W,3) pixels of the screen: a panel with all that is drawn over it"
    return np.asarray(Image.open(io.BytesIO(page.locator(f'.box:has(canvas[data-title={title}])').screenshot())).convert('RGB'))

def lines(pixels, at=22):
    "Number of white lines of two pixels, with a black one on either side, across a row; `at` of 32"
    row = pixels[len(pixels)*at//32].astype(int).sum(1).tolist()
    return sum(row[i:i+4]==[0,765,765,0] for i in range(len(row)))

def test_a_worklist_in_a_browser(lab):
    "Keep, take, correct; the outline of the region; and the list after the notebook was run again"
    d = lab.path/'check'
    out = write_out(d, {'001':cars(), 'NA':cars(0)}, {'001':cars(0,1), 'NA':2*cars(1)+cars(0)})
    before = files(d/'masks')
    with lab.run('check.ipynb', 'from segkc_fastai.view.checking import Checker', "Checker('check/out', height=240)", warm=True) as nb:
        page = nb.page
        shows = lambda text: page.locator('.widget-html b').get_by_text(text).wait_for()
        settled = lambda: pause(page, 300)
        page.wait_for_selector('.segkc[data-arrived]', timeout=60000)
        shows('1 of 3')
        settled()
        assert [lines(outline(page, k)) for k in ('mask','senior','junior')]==[2,2,2], 'left and right'
        assert page.locator('.box:has(.region)').count()==3
        page.click('.box canvas[data-title=mask]', position=dict(x=3, y=3), modifiers=['Shift'])
        page.keyboard.press('h')
        assert lines(outline(page, 'mask'))==0 and page.get_attribute('button:text("outline")', 'aria-pressed')=='false'
        page.keyboard.press('h')
        page.keyboard.press('+')
        settled()
        assert lines(outline(page, 'mask'), 17)==2, 'as thin after zooming in'
        page.get_by_role('button', name='keep mine').click()
        shows('1 of 2')
        assert verdicts(out)==[('001','keep')] and files(d/'masks')==before
        page.get_by_role('button', name='take theirs').click()
        shows('1 of 1')
        assert np.array_equal(mask(d, 'NA'), cars(0)+2*cars(1)) and files(d/'masks')['001.png']==before['001.png']
        page.evaluate("() => { document.querySelector('.segkc').dataset.old = 1 }")
        nb.run_all()
        page.wait_for_selector('.segkc[data-arrived]:not([data-old])')
        nb.wait_done()
        shows('1 of 1')
        settled()
        assert page.get_attribute('.segkc', 'data-name')=='001' and lines(outline(page, 'mask'), 8)==2
        page.click('.box canvas[data-title=mask]', position=dict(x=3, y=3), modifiers=['Shift'])
        for k in '3[[[[[[[': page.keyboard.press(k)
        page.click('.box canvas[data-title=mask]', position=dict(x=64, y=64))
        page.get_by_role('button', name='edited').click()
        page.get_by_text('Nothing left to decide').wait_for()
        assert page.locator('.region:visible').count()==0 and page.locator('button:text("outline"):visible').count()==0
    m = mask(d, '001')
    assert verdicts(out)==[('001','edited'),('001','keep'),('NA','theirs')] and np.argwhere(m>0).tolist()==[[8,8]] and m[8,8]==2
