"Untrusted files raise one sentence that names the file: nothing in them runs, leads out of its folder or fills the memory"
import io, json, os, pickle, shutil, tarfile, zipfile, zlib
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
import numpy as np, pytest, torch
from fastai.callback.core import Callback
from hypothesis import HealthCheck, given, settings, strategies as st
from conftest import SMALL, train
from segkc_fastai.cli import main
from segkc_fastai.core.files import write_json
from segkc_fastai.core.task import Task, load_task
from segkc_fastai.data.benchmarks import load_source
from segkc_fastai.data.download import download
from segkc_fastai.data.labels import read_image, read_mask
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.splits import hold_out, split_source
from segkc_fastai.deploy import hub
from segkc_fastai.deploy.predict import Predictor
from segkc_fastai.runs.evaluating import result
from segkc_fastai.models.cohort import load_cohort
from segkc_fastai.models.segmenter import load_segmenter
from segkc_fastai.runs.folder import conditions
from segkc_fastai.runs.run_card import card
from segkc_fastai.train.checkpoint import FORMAT, load_state, save_state
from segkc_fastai.train.probe import Probe
from segkc_fastai.runs.folder import Run
from segkc_fastai.runs.training import peak_memory, reset_peak
from segkc_fastai.view import lab

CUT = dict(SMALL, probe=2, method='segkc', method_args=dict(warmup=0, ramp=0))

class Payload:
    "A pickle of it makes a file when it is read"
    def __init__(self, path): self.path = path
    def __reduce__(self): return Path.touch,(Path(self.path),)

class Stop(Callback):
    "The machine dies in the second epoch"
    def before_train(self):
        if self.epoch: raise RuntimeError('gone')

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "Scenes, a finished run, and one that was cut short"
    d = tmp_path_factory.mktemp('strange')
    write_scenes(d/'scenes', n_train=16, n_val=2, n_test=2)
    train(d/'run', d/'scenes', **CUT | dict(epochs=1))
    with pytest.raises(RuntimeError, match='gone'): train(d/'cut', d/'scenes', **CUT, cbs=[Stop()])
    main(f'eval {d}/run'.split())
    return d

def linked(a, b):
    "Copy a file; large ones, which are replaced and never written to, by a link"
    return os.link(a, b) if a.endswith('.safetensors') else shutil.copy2(a, b)

def rewrite(f, b):
    f.unlink(missing_ok=True)
    f.write_bytes(b)

@pytest.fixture
def run(made, tmp_path):
    for k in ('run','cut'): shutil.copytree(made/k, tmp_path/k, copy_function=linked)
    yield tmp_path/'run'
    for k in ('run','cut'): shutil.rmtree(tmp_path/k)

def refused(call, *words):
    "The sentence with which `call` is refused: one line, with `words`"
    with pytest.raises((ValueError, OSError, SystemExit)) as e: call()
    said = str(e.value)
    assert said.strip() and '\n' not in said and 'Traceback' not in said
    for o in words: assert str(o) in said, said
    return said

# what loads: file in the run folder, or in `cut`, and how it is reached
JUNIOR = 'junior.safetensors'
PLACES = {'load_segmenter': (JUNIOR, lambda d: load_segmenter(d/JUNIOR)), 'Predictor.load': (JUNIOR, lambda d: Predictor.load(d)),
    '.onnx': ('junior.onnx', lambda d: Predictor.load(d/'junior.onnx')), '.pth': ('junior.pth', lambda d: Predictor.load(d/'junior.pth')),
    'from_hub': ('model.safetensors', lambda d: Predictor.from_hub(d)), 'Run.network': (JUNIOR, lambda d: Run(d).network()),
    'Run.network, read together': ('adaptors.safetensors', lambda d: Run(d).network('senior')),
    'load_cohort': ('adaptors.safetensors', lambda d: load_cohort(d, ['senior','junior'], 'junior')),
    'load_state': ('../cut/checkpoint/state.safetensors', lambda d: load_state(d.parent/'cut'/'checkpoint')),
    'segkc predict': (JUNIOR, lambda d: main(f'predict {d} {d}/probe/images --out {d}/out'.split())),
    'segkc export': (JUNIOR, lambda d: main(f'export {d} --out {d}/o.onnx'.split())), 'segkc eval': (JUNIOR, lambda d: main(f'eval {d} --split val'.split())),
    'segkc train --resume': ('../cut/checkpoint/state.safetensors', lambda d: main(f'train --resume {d.parent}/cut'.split()))}

@pytest.mark.parametrize('place', PLACES)
def test_no_pickle_is_read(place, run):
    "Promised: A downloaded file runs no program. Attacked: Pickles under every name that is read"
    assert hub.FILES[0]=='model.safetensors'
    file,load = PLACES[place]
    f,ran = run/file,run.parent/'ran'
    before = sorted(run.parent.rglob('*'))
    for write in (lambda f: f.write_bytes(pickle.dumps(Payload(ran))), lambda f: torch.save(Payload(ran), f)):
        f.unlink(missing_ok=True)
        write(f)
        refused(lambda: load(run), f.name)
        assert not ran.exists() and set(run.parent.rglob('*'))-{f}==set(before)-{f}
    torch.load(f.rename(run.parent/'payload'), weights_only=False) # it is one
    assert ran.exists()

def test_no_pickle_in_records(run):
    probe,ran = Probe(run),run.parent/'ran'
    f = next((run/'probe').glob('*.npz'))
    np.savez(f, **{f'junior/{k}/0':np.array([Payload(ran)], object) for k in ('label','confidence')})
    refused(lambda: probe.maps(-1, 'junior', 0), f.name, 'copy the run folder again')
    assert not ran.exists()
    np.load(f, allow_pickle=True)['junior/label/0']
    assert ran.exists()

@pytest.mark.parametrize('write', [lambda f: f.write_bytes(b''), lambda f: f.write_text('no'), lambda f: f.write_bytes(b'PK\x05\x06'+b'\0'*18), lambda f: np.savez(f, a=np.zeros(3)),
    lambda f: np.savez(f, **{'junior/label/0':np.zeros((9,9), np.uint8)}), lambda f: np.savez(f, **{'junior/label/0':np.zeros((64,96))})])
def test_records_that_are_none(run, write):
    probe = Probe(run)
    f = next((run/'probe').glob('*.npz'))
    write(f)
    refused(lambda: probe.maps(-1, 'junior', 0), f.name)

# ---- hostile headers

def reheaded(f, change):
    "Write a safetensors file with another header"
    b = f.read_bytes()
    n = int.from_bytes(b[:8], 'little')
    head = json.loads(b[8:8+n])
    head = change(head) or head
    new = json.dumps(head).encode()
    rewrite(f, len(new).to_bytes(8, 'little')+new+b[8+n:])

def network(**kw):
    def change(h):
        c = json.loads(h['__metadata__']['network']) | kw
        h['__metadata__']['network'] = json.dumps({k:v for k,v in c.items() if v!='gone'})
    return change

def meta(**kw):
    def change(h): h['__metadata__'] |= kw
    return change

def task(**kw):
    def change(h):
        m = json.loads(h['__metadata__']['meta'])
        h['__metadata__']['meta'] = json.dumps(m | dict(task=m['task'] | kw))
    return change

def renamed(h): h['classifier.bios'] = h.pop('classifier.bias')
def reshaped(h): h['classifier.weight']['shape'] = h['classifier.weight']['shape'][::-1]
def outside(h): h['classifier.bias']['data_offsets'] = [1<<40, (1<<40)+32]
def huge(h): h['classifier.bias']['shape'] = [1<<60]

@pytest.mark.parametrize('change, words', [
    (network(encoder='resnet81'), "no such model"), (network(encoder=3), "'encoder' is 3, not text"), (network(encoder='gone'), 'encoder'), (network(encoder='hf-hub:me/evil'), 'no such model'),
    (network(encoder='../../x'), 'no such model'), (network(decoder='fpm'), "'fpm'"), (network(decoder=[]), 'not text'), (network(classes=10**9), 'within 0…4096'), (network(classes=-1), 'within'),
    (network(classes=3), '8 there, 3 here'), (network(classes=None), 'not a whole number'), (network(width=10**9), 'within'), (network(width='x'), "'width'"), (network(width=64), 'there, '),
    (network(encoder_args=dict(depth=10**6)), 'within'), (network(encoder_args=dict(nonsense=1)), 'no network that can be made'), (network(encoder_args=[1]), 'not an object'),
    (network(encoder_args=dict(checkpoint_path='evil.pth')), "'checkpoint_path' names a file of weights"), (network(encoder_args=dict(pretrained_cfg=dict(file='evil.pth'))), 'names a file of weights'),
    (network(pretrained=True), 'no network that can be made'), (network(extra=1), 'no network that can be made'), (network(frozen='yes'), 'not true or false'),
    (meta(network='['), 'not readable as JSON'), (meta(network='[1]'), 'not a JSON object'), (meta(network='['*100000), 'not readable as JSON'), (meta(network=f'{{"classes": {"9"*5000}}}'), 'not readable as JSON'),
    (meta(format='2'), 'format 2, made by a newer version, and this one reads up to 1; update segkc_fastai'), (meta(format='x'), "found 'x'"), (meta(format=''), "found ''"),
    (meta(meta='no'), 'not readable as JSON'), (meta(meta='{}'), 'no task beside the weights'), (meta(meta='{"task": 3}'), 'no "classes"'),
    (task(classes=['a','b'], palette=[]), '8 classes, but its task names 2'), (task(palette=[1]*8), 'palette: found'), (task(ignore='x'), 'ignore: found'), (task(masks=dict(a=1)), 'masks: found'),
    (task(ignore=[10**9]), 'masks hold 0 to 65535'), (task(shape=1), "unknown key 'shape'"), (lambda h: h.pop('__metadata__') and None, 'found None'),
    (renamed, 'classifier.bias: absent there'), (reshaped, 'there, '), (outside, 'not a safetensors file'), (huge, 'not a safetensors file')])
def test_headers(run, change, words):
    f = run/'junior.safetensors'
    reheaded(f, change)
    reset_peak()
    low = peak_memory()
    refused(lambda: Predictor.load(f), 'junior.safetensors', words)
    assert peak_memory()-low<.2

def test_header_lengths(run):
    f = run/'junior.safetensors'
    b = f.read_bytes()
    for n in (0, 1, len(b), 1<<40, (1<<64)-1):
        rewrite(f, n.to_bytes(8, 'little')+b[8:])
        refused(lambda: Predictor.load(f), 'junior.safetensors', 'not a safetensors file')

@pytest.mark.parametrize('configs', ['no', '[{"frm": "boss", "to": "junior"}]', '[{"frm": "senior", "to": "junior", "stage": 99}]', '[3]', '[{"a": 1}]', '[]', '{}'])
def test_adaptors(run, configs):
    reheaded(run/'adaptors.safetensors', meta(adaptors=configs))
    refused(lambda: Run(run).network('senior'), 'adaptors.safetensors', 'copy the whole run folder')

# ---- checkpoints

def test_checkpoints_of_other_versions_and_other_things(run):
    d = run.parent/'cut'/'checkpoint'
    f = d/'state.safetensors'
    whole = f.read_bytes()
    for fmt,words in ((f'segkc checkpoint {FORMAT+1}','made by a newer version'), ('segkc checkpoint','not the state of training'), ('pt','not the state of training')):
        reheaded(f, meta(format=fmt))
        refused(lambda: load_state(d), 'state.safetensors', words)
    rewrite(f, whole)
    def other(h): h['jsom'] = h.pop('json')
    reheaded(f, other)
    refused(lambda: main(f'train --resume {d.parent}'.split()), 'state.safetensors', 'damaged')
    assert (d.parent/'history.csv').exists()

STATES = {'no numbers':dict(where={}), 'words for numbers':dict(where=dict(epoch='x')), 'no rng':dict(rng=[]), 'another rng':dict(rng=[dict(python=[3,[1],None], numpy=['x',[1]], torch=torch.zeros(3), cuda=None)]),
    'no optimizer':dict(opt={}), 'another optimizer':dict(opt=dict(hypers=[1], state=[])), 'a list of callbacks':dict(callbacks=[]), 'odd callbacks':dict(callbacks=dict(recorder=dict(lrs=3))), 'no weights':dict(model={}),
    'words for weights':dict(model=dict(a='b')), 'no task':dict(task={}), 'odd gradients':dict(grads=dict.fromkeys('ab', 'x')), 'odd scaler':dict(scaler=dict(a=1))}

@pytest.mark.parametrize('odd', STATES)
def test_states_that_hold_anything(run, odd):
    "Optional parts of a state, such as the scaler of another precision, may be missing; any other part raises"
    d = run.parent/'cut'
    before = {o:o.read_bytes() for o in d.rglob('*') if o.is_file()}
    f = d/'checkpoint'/'state.safetensors'
    s = load_state(f.parent)
    save_state(f.parent, {k:dict(s[k], **v) if k=='where' and v else v for k,v in (s | STATES[odd]).items()})
    before[f] = f.read_bytes()
    if odd in ('odd gradients','odd scaler'): return main(f'train --resume {d}'.split())
    said = refused(lambda: main(f'train --resume {d}'.split()))
    assert 'checkpoint' in said
    if odd in ('no numbers','words for numbers','a list of callbacks','no weights','words for weights','no task'): assert {o:o.read_bytes() for o in d.rglob('*') if o.is_file()}==before

def test_a_checkpoint_names_no_attributes(run):
    "A state can set what its callbacks keep, and nothing else: a path, say"
    from segkc_fastai.train.checkpoint import _callbacks, _remember
    from segkc_fastai.runs.training import RunHistory
    cb = RunHistory(run)
    _remember(cb, dict(path='/elsewhere', rows=[dict(epoch=0)], spent=1.), cb.resumable)
    assert cb.path==run and cb.rows==[dict(epoch=0)] and _callbacks

# ---- paths

def facts(c, **kw): return c | dict(facts=c['facts']|kw)

@pytest.mark.parametrize('file, change', [
    *(('config.json', lambda c, v=v: facts(c, deployed=v)) for v in ('../../x','/etc/passwd','..\\x')),
    ('config.json', lambda c: facts(c, networks=c['facts']['networks'] | {'../../x':c['facts']['networks']['senior']})), ('probe/probe.json', lambda c: c | dict(names=['../../x']*len(c['names']))),
    ('probe/probe.json', lambda c: c | dict(networks=['../../x','junior'])), ('probe/probe.json', lambda c: c | dict(deployed='/x'))])
def test_names_in_a_run_folder_stay_in_it(run, file, change):
    write_json(run/file, change(json.loads((run/file).read_text())))
    refused(lambda: (Run(run), Probe(run)), file, 'is not a plain file name, and could lead out of its folder')
    if file!='config.json': return
    commands = ['eval {}', 'card {}', 'figures {}', 'train --resume {}'] + ['predict {} {}/probe/images --out {}/o', 'export {}']*(Path(json.loads((run/file).read_text())['facts']['deployed']).name!='junior')
    for command in commands: refused(lambda c=command: main(c.format(*[run]*3).split()), 'is not a plain file name')

@pytest.mark.parametrize('line', ['../../scene_00001', '../scene_00001.jpg', 'a/../../scene_00001.jpg', '..\\scene_00001.jpg', '/etc/passwd', '/scenes/../scene_00001.jpg', '~/x', 'C:\\x', '..'])
@pytest.mark.parametrize('kind', ['labelled','val'])
def test_lists_stay_in_the_data(made, tmp_path, line, kind):
    "Promised: A list can name only images of the data. Attacked: Paths that lead out of its folder"
    f = tmp_path/'list.txt'
    f.write_text(f'scene_00000\n{line}\n')
    src = load_source(made/'scenes')
    src.val = []
    choose = split_source if kind=='labelled' else hold_out
    said = refused(lambda: choose(src, f), 'list.txt, line 2', repr(line))
    assert 'leads out of its folder' in said or 'no image with a mask is called' in said
    refused(lambda: main(f'split {made}/scenes --labelled {f} --out {tmp_path}/s'.split()), 'list.txt, line 2')
    assert not (tmp_path/'s').exists()

@pytest.mark.parametrize('name', ['../../secret', '/etc/passwd', 'a/b'])
def test_lists_of_voc_stay_in_it(tmp_path, name):
    d = tmp_path/'VOC2012'
    for k in ('JPEGImages','SegmentationClass','ImageSets/Segmentation'): (d/k).mkdir(parents=True)
    for k in ('train','val'): (d/'ImageSets'/'Segmentation'/f'{k}.txt').write_text(f'{name}\n')
    refused(lambda: load_source(d), 'train.txt', 'is not a plain file name')

def test_archives_stay_in_their_folder(tmp_path):
    d = tmp_path/'data'
    d.mkdir()
    with zipfile.ZipFile(d/'ADEChallengeData2016.zip', 'w') as z:
        for k in ('../escaped.txt', '/../../escaped.txt', f'{tmp_path}/escaped.txt', 'ADEChallengeData2016/in.txt'): z.writestr(k, 'x')
    download('ade20k', d)
    assert (d/'ADEChallengeData2016'/'in.txt').is_file() and {o.name for o in tmp_path.iterdir()}=={'data'}
    for name,file in (('voc','VOCtrainval_11-May-2012.tar'), ('camvid','camvid.tgz')): # others are known by their checksums
        with tarfile.open(d/file, 'w') as t: t.addfile(tarfile.TarInfo('../escaped.txt'), io.BytesIO())
        refused(lambda: download(name, d), file, 'checksum differs')
    assert {o.name for o in tmp_path.iterdir()}=={'data'}

# ---- what JSON and tables hold

ANY = st.recursive(st.none() | st.booleans() | st.integers(-10**12, 10**12) | st.floats() | st.text(max_size=5), lambda o: st.lists(o, max_size=3)
    | st.dictionaries(st.text(max_size=4), o, max_size=2), max_leaves=5)

def places(o, at=()):
    "Keys and indices of everything in JSON types"
    for k,v in o.items() if isinstance(o, dict) else enumerate(o) if isinstance(o, list) else (): yield from ((at+(k,)), *places(v, at+(k,)))

def put(o, at, v):
    if not at: return v
    o = o.copy()
    if v is put and len(at)==1: o.pop(at[0])
    else: o[at[0]] = put(o[at[0]], at[1:], v)
    return o

def look(d):
    run = Run(d)
    r = run.task, card(run), conditions(run), run.ended, result(run, 'test').markdown(), result(run, 'test').csv()
    probe = Probe(d)
    return r, [probe.maps(-1, k, 0) for k in probe.networks], probe.per_image()

@pytest.mark.parametrize('file', ['config.json','probe/probe.json','card.json','eval-test-junior.json'])
def test_anything_in_json(made, tmp_path_factory, file):
    good = json.loads((made/'run'/file).read_text())
    d = tmp_path_factory.mktemp('json')/'run'
    shutil.copytree(made/'run', d, copy_function=linked)
    look(d)
    wrong = []
    @settings(derandomize=True, max_examples=120, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from([()] + list(places(good))), st.just(put) | ANY)
    def check(at, v):
        if v is put and not at: return
        (d/file).write_text(json.dumps(put(good, at, v)))
        try: look(d)
        except (ValueError, OSError) as e: assert Path(file).name in str(e) or d.name in str(e), (at, v, e)
        except Exception as e: wrong.append((at, v, repr(e)))
    check()
    assert not wrong, wrong

@pytest.mark.parametrize('file', ['config.json','probe/probe.json','card.json','task.json'])
@pytest.mark.parametrize('text', ['', '{', '[]', '3', 'null', '"x"', '{"format": 5}', '{"format": "x"}', '{"format": null}', '{}', '['*100000, '{"classes": NaN}', '\ud800'])
def test_json_that_is_none_of_ours(run, file, text):
    d = run if file!='task.json' else run/'data'
    d.mkdir(exist_ok=True)
    (d/file).write_text(text, errors='surrogatepass')
    call = lambda: load_task(d) if file=='task.json' else look(d)
    refused(call, Path(file).name)
    if text=='{"format": 5}' and file!='task.json': refused(call, f'format 5, made by a newer version, and this one reads up to {4 if file=="config.json" else 1}; update segkc_fastai')

@pytest.mark.parametrize('text', ['', 'a', 'epoch,lr\n', 'epoch,lr,seconds,step,gib,junior_miou\n', 'epoch,lr,seconds,step,gib,junior_miou\nx,x,x,x,x,x\n', '"', 'a,b\n1,2,3\n1,2\n', '\0'])
def test_histories(run, text):
    (run/'history.csv').write_text(text)
    refused(lambda: main(['card', str(run)]), 'history.csv')

def test_lists_of_newer_versions(made, tmp_path):
    main(f'split {made}/scenes --labelled 4 --out {tmp_path}'.split())
    f = tmp_path/'labelled.txt'
    first,*names = f.read_text().splitlines()
    assert first.startswith('# list 1: labelled images of split') and len(names)==4
    f.write_text('\n'.join(['# list 2: something new', *names]))
    refused(lambda: split_source(load_source(made/'scenes'), f), 'labelled.txt', 'format 2, made by a newer version')
    f.write_text('\n'.join(['# labelled images of split 0123: as earlier versions wrote it', *names]))
    assert len(split_source(load_source(made/'scenes'), f).labelled)==4

# ---- images

@pytest.fixture(scope='module')
def bomb(tmp_path_factory):
    "A PNG of 50 000 × 50 000 pixels, in 0.3 MB"
    n,z,parts = 50_000,zlib.compressobj(9),[]
    rows = bytes(1+n//8)*100
    for _ in range(n//100): parts.append(z.compress(rows))
    data = b''.join([*parts, z.flush()])
    chunk = lambda k,b: len(b).to_bytes(4, 'big')+k+b+zlib.crc32(k+b).to_bytes(4, 'big')
    f = tmp_path_factory.mktemp('bomb')/'bomb.png'
    f.write_bytes(b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', n.to_bytes(4, 'big')*2+bytes([1,0,0,0,0]))+chunk(b'IDAT', data)+chunk(b'IEND', b''))
    assert f.stat().st_size<1e6
    return f

BOMBS = {'read_image': (None, lambda f,d,r: read_image(f)), 'read_mask': (None, lambda f,d,r: read_mask(f, Task(['a','b']))),
    'Predictor.predict': (None, lambda f,d,r: Predictor.load(r, 'cpu').predict(f)),
    'predict': ('test/images/scene_00000.png', lambda f,d,r: main(f'predict {r} {d}/test/images --out {d}/out --device cpu'.split())),
    'train, labelled image': ('train/images/scene_00003.png', lambda f,d,r: main(f'train --data {d} --out {d}/out --labelled 15 --random'.split())),
    'train, unlabelled image': ('unlabelled/images/x.png', lambda f,d,r: main(f'train --data {d} --out {d}/out --random'.split())),
    'train, mask': ('train/masks/scene_00003.png', lambda f,d,r: main(f'train --data {d} --out {d}/out --labelled 16 --random'.split())),
    'split': ('train/masks/scene_00003.png', lambda f,d,r: main(f'split {d} --out {d}/out --labelled 16'.split())),
    'eval, image': ('test/images/scene_00000.png', lambda f,d,r: main(f'eval {r} --data {d}'.split())),
    'eval, mask': ('test/masks/scene_00000.png', lambda f,d,r: main(f'eval {r} --data {d}'.split())),
    'audit, image': ('train/images/scene_00003.png', lambda f,d,r: main(f'audit {d} --json {d.parent}/out.json'.split())),
    'audit, mask': ('train/masks/scene_00003.png', lambda f,d,r: main(f'audit {d} --labelled 16 --json {d.parent}/out.json'.split())),
    'explorers': ('../run/probe/truth/0.png', lambda f,d,r: Probe(r).truth(0))}

@pytest.mark.parametrize('entry', BOMBS)
def test_a_bomb_is_not_decoded(made, run, tmp_path, bomb, entry, capsys):
    into,call = BOMBS[entry]
    d = tmp_path/'scenes'
    if into:
        shutil.copytree(made/'scenes', d)
        (d/into).parent.mkdir(parents=True, exist_ok=True)
        (d/into).with_suffix('.jpg').unlink(missing_ok=True)
        shutil.copy(bomb, d/into)
    reset_peak()
    low = peak_memory()
    with pytest.raises((ValueError, SystemExit)) as e: call(d/into if into else bomb, d, run)
    said = str(e.value)+capsys.readouterr().out
    assert '2,500,000,000 pixels' in said and 'SEGKC_MAX_PIXELS=2500000000' in said and (Path(into).name if into else 'bomb.png') in said
    assert peak_memory()-low<.3 and not (d/'out'/'masks'/'scene_00000.png').exists()
    if not entry.startswith('predict'): assert not (d/'out').exists()

# ---- JupyterLab

def test_jupyterlab_listens_here_only_and_wants_a_token(run, monkeypatch):
    from jupyter_server.serverapp import ServerApp
    asked = []
    @contextmanager
    def started(*words):
        asked.append(words)
        yield SimpleNamespace(wait=lambda: 0, poll=lambda: 0, pid=0)
    monkeypatch.setattr(lab, 'ended_with_us', started)
    with pytest.raises(SystemExit, match='0'): main(['lab', str(run), '--no-browser', '--allow-root'])
    line = next(o for o in (Path(__file__).parents[1]/'Makefile').read_text().splitlines() if 'jupyter lab' in o)
    for args in (asked[0][3:], line.split('jupyter lab ')[1].split()):
        assert not any('token' in o.lower() or 'password' in o.lower() for o in args)
        app = ServerApp()
        app.parse_command_line([o for o in args if o.startswith('--ServerApp')])
        assert app.ip=='127.0.0.1' and len(app.identity_provider_class(parent=app).token)>=32 and not app.allow_remote_access
