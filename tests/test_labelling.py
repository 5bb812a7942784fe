"Masks under work and the queue, without a browser: crashes, full disks, other programs, bad input"
import errno, json, os, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np, pytest
from PIL import Image
from segkc_fastai.core.task import IGNORE, Task
from segkc_fastai.data.labels import read_mask
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.splits import read_names
from segkc_fastai.label.masks import Draft, MaskChanged, apply_runs, as_runs, encode_mask
from segkc_fastai.runs.config import RunConfig
from segkc_fastai.runs.training import train_run
from segkc_fastai.view.editor import MaskEditor
from segkc_fastai.view.labelling import Labeller, log_mask, queue_of, read_log

TASK,RGB = Task(['a','b','c']),Task(['a','b'], [(9,9,9),(7,200,3)], masks='rgb', ignore=[(0,0,0)])
CODINGS = dict(index=TASK, rgb=RGB, binary=Task(['no','yes'], masks={0:0, 255:1}, ignore=[7]), wide=Task(['a','b'], masks={1000:0, 65535:1}, ignore=[3]))
row = lambda *o: np.int32([o])

@pytest.mark.parametrize('task', CODINGS.values(), ids=CODINGS)
def test_a_mask_is_read_as_it_was_written(task, tmp_path):
    label = np.random.default_rng(0).choice([*range(len(task)), IGNORE], (31,17)).astype(np.uint8)
    encode_mask(label, task).save(tmp_path/'m.png')
    assert np.array_equal(read_mask(tmp_path/'m.png', task), label)

@pytest.mark.parametrize('seed', range(5))
def test_runs_make_the_map_again(seed):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 1+seed, (13,29)).astype(np.uint8)
    again = rng.integers(0, 256, label.shape).astype(np.uint8)
    apply_runs(again, as_runs(label))
    assert np.array_equal(label, again)

CRASH = '''
import numpy as np, os
from segkc_fastai.core.task import Task
from segkc_fastai.label.masks import Draft
d = Draft({path!r}, Task(['a','b','c']), (8,9))
for i in range(5): d.edit(np.int32([[i%3, 7*i, 9]]))
os._exit(9)'''

def test_a_process_that_dies_leaves_its_edits(tmp_path):
    path = tmp_path/'masks'/'a.png'
    assert subprocess.run([sys.executable, '-c', CRASH.format(path=str(path))]).returncode==9
    want = np.full(72, IGNORE, np.uint8)
    for i in range(5): want[7*i:7*i+9] = i%3
    d = Draft(path, TASK, (8,9))
    assert d.recovered==5 and np.array_equal(d.label.ravel(), want) and not path.exists()

@pytest.mark.parametrize('cut', [1, 5, 11, 19])
def test_a_journal_that_was_cut_short_loses_its_last_edit_alone(tmp_path, cut):
    d = Draft(tmp_path/'a.png', TASK, (4,4))
    for i in range(3): d.edit(row(i, 4*i, 4))
    d.close()
    data = d.journal.read_bytes()
    d.journal.write_bytes(data[:-cut])
    again = Draft(tmp_path/'a.png', TASK, (4,4))
    assert again.recovered==2 and again.label.tolist()==[[0]*4, [1]*4, [IGNORE]*4, [IGNORE]*4]
    again.edit(row(2, 12, 4))
    again.close()
    assert Draft(tmp_path/'a.png', TASK, (4,4)).label[3].tolist()==[2]*4, 'edits after the recovery follow the last complete one'

@pytest.mark.parametrize('damage', [lambda head, rest: head+bytes(len(rest)), lambda head, rest: head+rest[:10], lambda head, rest: head])
def test_a_journal_without_its_mask_replaces_nothing(tmp_path, damage):
    Image.fromarray(np.ones((4,4), np.uint8)).save(tmp_path/'a.png')
    d = Draft(tmp_path/'a.png', TASK, (4,4))
    d.edit(row(2, 0, 1))
    d.close()
    head,_,rest = d.journal.read_bytes().partition(b'\n')
    d.journal.write_bytes(damage(head+b'\n', rest))
    with pytest.raises(ValueError, match='a.png.strokes: no complete mask at its beginning'): Draft(tmp_path/'a.png', TASK, (4,4))

def test_zeros_after_the_last_edit(tmp_path):
    d = Draft(tmp_path/'a.png', TASK, (1,2))
    d.edit(row(2, 0, 1))
    d.edit(np.zeros((0,3), np.int32))
    d.close()
    d.journal.write_bytes(d.journal.read_bytes()+bytes(40))
    assert Draft(tmp_path/'a.png', TASK, (1,2)).recovered==1

@pytest.mark.parametrize('size, said', [([4],'strokes for 4 pixels'), ([3,4],'strokes for 4×3 pixels')])
def test_a_journal_of_another_size(tmp_path, size, said):
    (tmp_path/'.a.png.strokes').write_text(json.dumps(dict(size=size, mask=''))+'\n')
    with pytest.raises(ValueError, match=said): Draft(tmp_path/'a.png', TASK, (4,4))

def test_edits_are_for_the_classes_that_were_painted(tmp_path):
    d = Draft(tmp_path/'a.png', TASK, (1,2))
    d.edit(row(1, 0, 2))
    d.close()
    with pytest.raises(ValueError, match="strokes .edits that were not saved. has 3 classes, a, b, c, but the task has 4.*number 1 is 'b' and 'person'"):
        Draft(tmp_path/'a.png', Task(['a','person','b','c']), (1,2))
    head,_,rest = d.journal.read_bytes().partition(b'\n')
    d.journal.write_bytes(json.dumps({k:v for k,v in json.loads(head).items() if k!='classes'}).encode()+b'\n'+rest)
    assert Draft(tmp_path/'a.png', TASK, (1,2)).recovered==1, 'a journal of an earlier version'

def test_a_crash_between_mask_and_journal(tmp_path):
    d = Draft(tmp_path/'a.png', TASK, (1,2))
    d.edit(row(1, 0, 2))
    left = d.journal.read_bytes()
    d.save()
    d.close()
    d.journal.write_bytes(left)
    again = Draft(tmp_path/'a.png', TASK, (1,2))
    assert (again.recovered, again.changed, again.journal.exists())==(0,False,False)
    again.edit(row(2, 0, 1))
    again.save()

@pytest.mark.skipif(os.name=='nt', reason='no limit of file sizes there')
def test_an_edit_on_a_full_disk_is_refused_whole(tmp_path):
    import resource, signal
    d = Draft(tmp_path/'a.png', TASK, (8,8))
    d.edit(row(0, 0, 64))
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (d.journal.stat().st_size+9, was[1]))
    try:
        with pytest.raises(OSError): d.edit(row(1, 0, 8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, handler)
    d.edit(row(2, 16, 8))
    assert d.edits==2 and d.label[0,0]==0
    again = Draft(tmp_path/'a.png', TASK, (8,8))
    assert again.recovered==2 and np.array_equal(again.label, d.label)

def test_a_full_disk_keeps_the_edits(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((2,2), np.uint8)).save(tmp_path/'a.png')
    d = Draft(tmp_path/'a.png', TASK, (2,2))
    d.edit(row(1, 0, 3))
    def full(*a, **k): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(Image.Image, 'save', full)
    with pytest.raises(OSError, match='No space left'): d.save()
    monkeypatch.undo()
    assert read_mask(tmp_path/'a.png', TASK).tolist()==[[0,0],[0,0]] and d.journal.is_file()
    d.close()
    again = Draft(tmp_path/'a.png', TASK, (2,2))
    again.save()
    assert read_mask(tmp_path/'a.png', TASK).tolist()==[[1,1],[1,0]]
    assert sorted(o.name for o in tmp_path.iterdir() if o.name[0]!='.')==['a.png','a.png.bak']

def test_another_program(tmp_path):
    d = Draft(tmp_path/'a.png', TASK, (1,2))
    d.edit(row(1, 0, 2))
    Image.fromarray(np.uint8([[2,2]])).save(tmp_path/'a.png')
    with pytest.raises(MaskChanged): d.save()
    d.close()
    again = Draft(tmp_path/'a.png', TASK, (1,2))
    assert again.label.tolist()==[[1,1]] and again.changed, 'also after the editor was closed'
    with pytest.raises(MaskChanged) as seen: again.save()
    Image.fromarray(np.uint8([[0,2]])).save(tmp_path/'a.png')
    with pytest.raises(MaskChanged) as newer: again.save(over=seen.value.found)
    again.save(over=newer.value.found)
    assert np.array(Image.open(tmp_path/'a.png.bak')).tolist()==[[0,2]]
    Image.fromarray(np.uint8([[2,0]])).save(tmp_path/'a.png')
    with pytest.raises(MaskChanged) as seen: again.save()
    again.save(over=seen.value.found)
    assert np.array(Image.open(tmp_path/'a.png.bak2')).tolist()==[[2,0]], 'each mask of another program is kept'

def test_another_process_has_the_mask(tmp_path):
    code = f"import sys; from segkc_fastai.core.task import Task; from segkc_fastai.label.masks import Draft\nd = Draft({str(tmp_path/'a.png')!r}, Task(['a','b']), (1,2)); print('ready', flush=True); sys.stdin.read()"
    p = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline()=='ready\n'
    with pytest.raises(ValueError, match='open in another editor'): Draft(tmp_path/'a.png', TASK, (1,2))
    p.communicate('')
    Draft(tmp_path/'a.png', TASK, (1,2)).close()

@pytest.mark.parametrize('name,size,why', [('a.png',(3,3),'2×2 pixels, but the image has 3×3'), ('a.tif',(2,2),'edited as PNG')])
def test_masks_that_cannot_be_edited(tmp_path, name, size, why):
    Image.fromarray(np.zeros((2,2), np.uint8)).save(tmp_path/name)
    with pytest.raises(ValueError, match=why): Draft(tmp_path/name, TASK, size)
    Draft(tmp_path/'b.png', TASK, size).close()

@pytest.mark.skipif(os.name=='nt' or not hasattr(os, 'geteuid') or os.geteuid()==0, reason='root may write everywhere')
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(OSError, match='cannot be saved there; pass another folder'): Draft(tmp_path/'a.png', TASK, (2,2))
    finally: tmp_path.chmod(0o755)

def test_an_editor_keeps_its_mask_if_it_cannot_be_opened_again(tmp_path):
    d = Draft(tmp_path/'a.png', TASK, (2,2))
    d.edit(row(1, 0, 4))
    with pytest.raises(ValueError, match='strokes for 2×2 pixels'): Draft(tmp_path/'a.png', TASK, (3,3))
    d.edit(row(2, 0, 1))
    d.save()
    with pytest.raises(ValueError, match='2×2 pixels, but the image has 3×3'): Draft(tmp_path/'a.png', TASK, (3,3))
    d.edit(row(0, 0, 1))
    again = Draft(tmp_path/'a.png', TASK, (2,2))
    assert (d.open, again.open, again.recovered)==(False,True,1)
    again.close()
    Draft(tmp_path/'a.png', TASK, (2,2)).close()

@pytest.mark.parametrize('task, label', [(Task(['void','road','car'], ignore=[0]),[[1,2,IGNORE]]),
    (Task(['a','b'], masks={0:0, 255:1, 9:1}, ignore=[9,7]),[[0,1,IGNORE]]),
    (Task(['a','b'], [(0,0,0),(9,9,9)], masks='rgb', ignore=[(5,5,5)]),[[0,1,IGNORE]])])
def test_values_that_are_ignored_and_those_of_classes(tmp_path, task, label):
    encode_mask(np.uint8(label), task).save(tmp_path/'m.png')
    assert read_mask(tmp_path/'m.png', task).tolist()==label

def test_a_class_that_is_ignored_cannot_be_painted():
    with pytest.raises(ValueError, match="class 0: task 'task' has no value for it"): encode_mask(np.uint8([[0,1]]), Task(['void','road'], ignore=[0]))

def test_open_pixels_need_a_value(tmp_path):
    d = Draft(tmp_path/'a.png', Task(['no','yes'], masks={0:0, 255:1}, ignore=[]), (2,2))
    d.edit(row(1, 0, 3))
    with pytest.raises(ValueError, match='1 pixels have no class'): d.save()
    d.edit(row(0, 3, 1))
    d.save()
    assert np.array(Image.open(tmp_path/'a.png')).tolist()==[[255,255],[255,0]]

@pytest.fixture
def editor(tmp_path, monkeypatch):
    "An editor with a mask, its image, and the messages to the browser"
    e,image,sent = MaskEditor(TASK),np.zeros((2,2,3), np.uint8),[]
    e.edit(image, tmp_path/'a.png')
    monkeypatch.setattr(e, 'send', lambda m, buffers=None: sent.append((m, buffers)))
    return e,image,sent

def press(e, buffers=(), **msg): e._handle_custom_msg(msg, [*buffers])

def test_an_edit_of_the_image_before(editor, tmp_path):
    e,image,_ = editor
    old = e.draft.key
    e.edit(image, tmp_path/'b.png', seconds=7)
    press(e, [row(1, 0, 4).tobytes()], edit='page', of=old, seconds=99)
    assert e.status==dict(text='the last edit was made on an image that is no longer open, and is lost', bad=True)
    assert e.seconds==7 and not e.draft.edits and not (tmp_path/'a.png').exists()

def test_seconds_are_the_most_of_any_page(editor):
    "A page that is opened again goes on from there, without a message to the others"
    e,_,sent = editor
    press(e, [row(1, 0, 4).tobytes()], edit='page', of=e.draft.key, seconds=300)
    assert (e.seconds,e.get_state('_item')['_item']['seconds'],len(sent))==(300,300,1)
    press(e, save='now', of=e.draft.key, seconds=5)
    assert e.seconds==300
    e._show_mask(e.image, 'again')
    assert e._item['seconds']==300

def test_an_arrow_key_that_leads_nowhere_is_answered(editor, tmp_path):
    e,image,sent = editor
    press(e, key='ArrowRight', of=e.draft.key)
    assert sent==[(dict(stays=e.draft.key),None)]
    e.on_msg(lambda *_: e.edit(image, tmp_path/'b.png'))
    press(e, key='ArrowRight', of=e.draft.key)
    assert not any('stays' in m for m,_ in sent[1:])

def test_an_edit_that_is_not_in_the_journal_is_taken_back(editor, monkeypatch):
    e,_,sent = editor
    e.paint(row(2, 0, 4))
    def full(runs): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(e.draft, 'edit', full)
    press(e, [row(1, 0, 2).tobytes()], edit='page', of=e.draft.key)
    assert sent[-1]==(dict(edit='page', of=e.draft.key, refused=True),[row(2, 0, 4).tobytes()]) and 'taken back' in e.status['text']

def test_keys_in_a_row_replace_no_mask_unseen(editor, tmp_path):
    e,_,_ = editor
    e.paint(row(1, 0, 4))
    Image.fromarray(np.full((2,2), 2, np.uint8)).save(tmp_path/'a.png')
    for _ in range(2): press(e, save='now', of=e.draft.key)
    assert read_mask(tmp_path/'a.png', TASK).max()==2 and 'on disk' in e.panels
    press(e, save='auto', of=e.draft.key, over=e._item['disk'])
    assert read_mask(tmp_path/'a.png', TASK).max()==2
    press(e, save='now', of=e.draft.key, over=e._item['disk'])
    assert read_mask(tmp_path/'a.png', TASK).max()==1 and e.status['text']=='saved to a.png'

def test_a_mask_that_is_saved_but_not_recorded(editor, tmp_path):
    e,image,_ = editor
    def full(path, seconds): raise OSError(errno.ENOSPC, 'No space left on device')
    e.on_saved,said = full,'saved to a.png, but not recorded: [Errno 28] No space left on device'
    e.paint(row(1, 0, 4))
    press(e, save='now', of=e.draft.key)
    assert e.status==dict(text=said, bad=True) and read_mask(tmp_path/'a.png', TASK).min()==1
    e.paint(row(2, 0, 4))
    e.edit(image, tmp_path/'b.png')
    assert e.status==dict(text=said, bad=True) and read_mask(tmp_path/'a.png', TASK).min()==2

def test_a_mask_that_nobody_edited_is_not_saved_by_itself(editor, tmp_path):
    press(editor[0], save='auto')
    assert not (tmp_path/'a.png').exists()

def test_an_image_of_another_size_leaves_the_editor_as_it_was(editor, tmp_path):
    e = editor[0]
    e.paint(row(1, 0, 4))
    with pytest.raises(ValueError, match='strokes for 2×2 pixels'): e.edit(np.zeros((3,3,3), np.uint8), tmp_path/'a.png')
    with pytest.raises(ValueError, match='junior'): e.edit(np.zeros((2,2,3), np.uint8), tmp_path/'b.png', dict(junior=(np.zeros((3,3), np.uint8),)))
    e.paint(row(2, 0, 1))
    e.leave()
    assert read_mask(tmp_path/'a.png', TASK).tolist()==[[2,1],[1,1]]

@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    "Runs of two networks and of one, on ten scenes, four of which have masks"
    d = tmp_path_factory.mktemp('queue')
    write_scenes(d/'data', n_train=10, n_val=2, n_test=0, size=(32,64))
    for f in sorted((d/'data'/'train'/'masks').iterdir())[4:]: f.unlink()
    (d/'data'/'unlabelled').mkdir()
    small = dict(junior='test_efficientnet+fpn:32', pretrained=False, labelled='3', size=(32,64), bs=2, epochs=1, probe=0, checkpoint=None)
    pair = dict(senior='test_resnet+fpn:32', method='cps')
    return {k:train_run(d/k, RunConfig(str(d/'data'), **small | kw)) for k,kw in dict(pair=pair, one=dict(method='supervised')).items()}

def painted(q, to=0, seconds=30):
    "Give all pixels of the current image a class, as the browser would"
    e = q.editor
    e._heard(e, dict(edit='page', of=e._about['draft'], seconds=seconds), [row(to, 0, e.draft.label.size).tobytes()])

@pytest.mark.parametrize('name', ['pair','one'])
def test_queue(runs, name, tmp_path):
    run = runs[name]
    q = Labeller(run, n=3, masks=tmp_path/'new')
    assert len(q.pairs)==3 and [*q.editor.panels]==['mask','senior','junior','where they differ'] if name=='pair' else ['mask','junior']
    painted(q)
    first = q.pair.name
    q._key(q.editor, dict(key='ArrowRight'), [])
    assert q.at==1 and read_mask(tmp_path/'new'/f'{first}.png', run.task).max()==0, 'saved on leaving'
    q.editor._heard(q.editor, dict(save='auto', seconds=35), [])
    assert [o.name for o in (tmp_path/'new').glob('*.png')]==[f'{first}.png'], 'an image that was only looked at is not saved'
    q._key(q.editor, dict(key='ArrowLeft'), [])
    q._key(q.editor, dict(key='ArrowLeft'), [])
    assert q.at==0 and q.editor.seconds==30 and q.editor.status['text']=='mask on disk'
    assert [o.name for o in Labeller(run, masks=tmp_path/'new').pairs]==[o.name for o in q.pairs], 'the same suggestions again'

@pytest.fixture
def ahead(runs, tmp_path, monkeypatch):
    "A queue of four, the second of which was sent ahead, and the messages to the browser from then on"
    q,sent = Labeller(runs['pair'], [o.name for o in runs['pair'].source().extra[:4]], masks=tmp_path/'new'),[]
    monkeypatch.setattr(q.editor, 'send', lambda m, buffers=None: sent.append(m))
    for _ in q._next(): pass
    assert sum(len(o.get('hold', ())) for o in sent)==6 and 'count' in sent[-1], 'image, mask, two labels and their confidence'
    sent.clear()
    return q,sent

def shown_mask(q): return q.editor._panels[0]['label']

def test_the_next_image_is_sent_ahead(ahead):
    q,sent = ahead
    q.go(1)
    assert sent==[] and q.editor.status['text']=='no mask yet' and {shown_mask(q),q.editor._item['image']}<={*q.editor._held}
    painted(q, 1)
    assert q.editor.draft.label.max()==1 and q.editor.save() and read_mask(q.files[1], q.run.task).max()==1

def test_a_mask_that_changed_after_it_was_sent_ahead_is_read_again(ahead):
    q,sent = ahead
    theirs = np.full((32,64), 2, np.uint8)
    Image.fromarray(theirs).save(q.files[1])
    q.go(1)
    assert np.array_equal(q.editor.draft.label, theirs) and [o['hold'] for o in sent]==[[shown_mask(q)]]
    assert not q.editor.draft.changed and q.editor.status['text']=='mask on disk'

def test_edits_that_another_session_left_after_it_was_sent_ahead_are_restored(ahead):
    q,sent = ahead
    d = Draft(q.files[1], q.run.task, (32,64))
    d.edit(row(1, 0, 9))
    d.close()
    q.go(1)
    assert q.editor.draft.recovered==1 and (q.editor.draft.label==1).sum()==9 and len(sent)==1

def test_the_browser_keeps_the_image_on_display_and_the_next(ahead, monkeypatch):
    "However large they are; those before are dropped"
    q,sent = ahead
    monkeypatch.setattr('segkc_fastai.view.viewer.KEPT', 1)
    for i in (1,2):
        q.go(i)
        for _ in q._next(): pass
    kept = {*q.editor._named, *(k for k,_ in q.editor._soon.values())}
    assert {*q.editor._held}==kept and len(kept)==12
    held = {k for o in sent for k in o.get('hold', ())}-{k for o in sent for k in o.get('drop', ())}
    assert held<=kept, 'a message names all that is dropped'

def test_a_mask_that_cannot_be_saved_on_leaving_is_told(runs, tmp_path):
    q = Labeller(runs['one'], [o.name for o in runs['one'].source().train[:2]], masks=tmp_path)
    painted(q)
    q.files[0].write_bytes(b'of another program')
    q._key(q.editor, dict(key='ArrowRight'), [])
    assert q.at==1 and q.editor.status['bad'] and f'{q.files[0].name} is not saved' in q.editor.status['text']
    assert q.files[0].read_bytes()==b'of another program'
    q._key(q.editor, dict(key='ArrowLeft'), [])
    assert q.editor.draft.recovered==1

def test_saved_masks_join_the_list(runs):
    run = runs['pair']
    before = {o.name for o in run.source().train}
    name = next(p.name for p in run.source().extra)
    q = Labeller(run, [name])
    painted(q)
    assert q.editor.save()
    after = run.source()
    assert {o.name for o in after.train}==before|{name}
    assert set(read_names(run.path/'labels.txt', {o.name for o in after.train}))>={name, *read_names(run.path/'labelled.txt', before)}
    assert read_log(run.path).set_index('name').seconds[name]==30

def test_masks_that_are_saved_at_the_same_time(tmp_path):
    with ThreadPoolExecutor(4) as pool: list(pool.map(lambda k: log_mask(tmp_path, k, 3), map(str, range(60))))
    assert sorted(read_log(tmp_path).name, key=int)==[*map(str, range(60))]

def test_a_list_names_the_masks_of_others(runs, monkeypatch):
    "Another notebook saves a mask after this one has read the log"
    run = runs['one']
    names = [p.name for p in run.source().extra[:2]]
    q = Labeller(run, names)
    painted(q)
    def late(path, name, seconds):
        log = log_mask(path, name, seconds)
        painted(other)
        assert other.editor.save()
        return log
    monkeypatch.setattr('segkc_fastai.view.labelling.log_mask', late)
    other = Labeller(run, names[1:])
    monkeypatch.setattr(other.editor, 'on_saved', lambda path, seconds: log_mask(run.path, names[1], seconds))
    assert q.editor.save()
    assert set(names)<=set(read_names(run.path/'labels.txt', {p.name for p in run.source().train}))

def test_names_that_are_not_there(runs, tmp_path):
    with pytest.raises(ValueError, match='nowhere: no such image among 10'): queue_of(runs['pair'], ['nowhere'])
    (tmp_path/'list.txt').write_text('nowhere\n')
    with pytest.raises(ValueError, match='nowhere'): queue_of(runs['pair'], tmp_path/'list.txt')

def test_an_image_that_cannot_be_opened_is_told(runs, tmp_path):
    run = runs['one']
    q = Labeller(run, [o.name for o in run.source().train[:2]], masks=tmp_path)
    Image.fromarray(np.zeros((2,2), np.uint8)).save(q.files[1])
    q._key(q.editor, dict(key='ArrowRight'), [])
    assert q.editor.status['bad'] and '2×2 pixels' in q.editor.status['text'] and q.at==0
    painted(q)
    assert q.editor.save(), 'the image before is still open'

def test_a_mask_that_another_program_damaged(runs, tmp_path):
    run = runs['one']
    q = Labeller(run, [run.source().train[0].name], masks=tmp_path)
    painted(q)
    q.files[0].write_bytes(b'no mask')
    assert not q.editor.save() and q.editor.status['bad'] and q.files[0].read_bytes()==b'no mask'
    assert q.editor.save() and read_mask(q.files[0], run.task).max()==0
    assert q.files[0].with_name(f'{q.files[0].name}.bak').read_bytes()==b'no mask'
