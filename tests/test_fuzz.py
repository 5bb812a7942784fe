"Malformed images, masks, lists, JSON and command lines: every command works, or ends with one line that states cause and remedy, and leaves no files behind"
import json, os, shutil, warnings, zlib
import numpy as np, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from conftest import CNN
from segkc_fastai.cli import main
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.view import lab

pytestmark = pytest.mark.usefixtures('blank')
NETS = f'--method supervised --junior {CNN} --random --epochs 1 --size 32,32 --bs 2 --probe 0'
fuzz = lambda n: settings(derandomize=True, max_examples=n, deadline=None, database=None, suppress_health_check=list(HealthCheck))

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "Scenes, a list, and a run on them"
    d = tmp_path_factory.mktemp('fuzz')
    write_scenes(d/'scenes', n_train=6, n_val=2, n_test=2)
    (d/'list.txt').write_text('scene_00000\nscene_00001\n')
    main(f'train --data {d}/scenes --labelled {d}/list.txt --out {d}/run {NETS}'.split())
    return d

def linked(a, b):
    "Copy a file; weights are linked, since they are replaced and never modified"
    return os.link(a, b) if a.endswith('.safetensors') else shutil.copy2(a, b)

@pytest.fixture(scope='module')
def fresh(made, tmp_path_factory):
    "Makes a fresh copy of scenes, list and run"
    top = tmp_path_factory.mktemp('copies')
    def make(what=('scenes','list.txt','run')):
        d = top/'w'
        shutil.rmtree(d, ignore_errors=True)
        d.mkdir()
        for k in what: shutil.copytree(made/k, d/k, copy_function=linked) if (made/k).is_dir() else shutil.copy(made/k, d/k)
        return d
    return make

@pytest.fixture(autouse=True)
def no_server(monkeypatch): monkeypatch.setattr(lab, '_serve', lambda *args: 0)

def remove(f): shutil.rmtree(f) if f.is_dir() else f.unlink(missing_ok=True)

def seen(d):
    "Every file below a folder, with size and time"
    return {str(f):(f.lstat().st_size, None if f.is_symlink() or not f.is_file() else f.lstat().st_mtime_ns) for f in d.rglob('*')}

def attempt(d, line, capsys):
    "Run a command in `d`; False if it failed properly"
    capsys.readouterr()
    before = seen(d)
    line = [o.replace('{d}', str(d)) for o in (line.split() if isinstance(line, str) else line)]
    with warnings.catch_warnings(action='ignore'):
        try: main(line)
        except SystemExit as e: said = e.code
        else: said = None
    if not said: return True
    out,err = capsys.readouterr()
    if said==1: # the audit lists the problems
        assert line[0]=='audit' and 'Training would fail' in out, (line, out[-300:])
        return False
    if said==2: # argparse
        assert err.splitlines()[-1].startswith('segkc') and 'error: ' in err.splitlines()[-1], err
    else:
        first,*rest = said.split('\n')
        assert first.startswith('segkc: ') and 20<len(first)<1200, said
        if line[0]=='predict' and 'images could not be predicted' in first:
            assert not [o for o in d.rglob('*.part')] and all(': ' in o for o in rest)
            return False
        assert not rest, said
    assert seen(d)==before, (line, said, set(seen(d))^set(before))
    return False

DATA = ['audit {d}/scenes --labelled 1/1 --json {d}/out', 'split {d}/scenes --labelled 1/1 --out {d}/out', 'eval {d}/run --data {d}/scenes', 'predict {d}/run {d}/scenes/test/images --out {d}/out --device cpu',
    f'train --data {{d}}/scenes --labelled 1/1 --out {{d}}/out {NETS}']

# ---- images and masks

def firsts(d, kind): return [sorted((d/'scenes'/o/kind).iterdir())[0] for o in ('train','val','test')]

def png(f, a, mode=None, **kw):
    f.unlink()
    Image.fromarray(a, mode).save(f.with_suffix('.png'), **kw) if mode else Image.fromarray(a).save(f.with_suffix('.png'), **kw)

def binary(f): png(f, np.uint8(np.arange(64*96).reshape(64,96)%2*255))
def off_by_one(f): png(f, np.full((64,96), 8, np.uint8))
def coloured(f): png(f, np.full((64,96,3), 7, np.uint8))
def with_alpha(f): png(f, np.full((64,96,4), 7, np.uint8))
def two_channels(f): png(f, np.zeros((64,96,2), np.uint8))
def deep(f): png(f, np.full((64,96), 40000, np.uint16))
def floats(f):
    f.unlink()
    Image.fromarray(np.full((64,96), np.nan, np.float32)).save(f.with_suffix('.tif'))
def small(f): png(f, np.zeros((5,7), np.uint8))
def dot(f): png(f, np.zeros((1,1), np.uint8))
def line(f): png(f, np.zeros((1,5000), np.uint8))
def bits(f): Image.fromarray(np.zeros((64,96), bool)).save(f.with_suffix('.png'))
def palette(f): Image.open(f).convert('RGB').convert('P').save(f.with_suffix('.png'))
def cmyk(f):
    im = Image.open(f).convert('CMYK')
    f.unlink()
    im.save(f.with_suffix('.jpg'))
def animated(f):
    im = Image.open(f).convert('RGB')
    f.unlink()
    im.save(f.with_suffix('.webp'), save_all=True, append_images=[im, im], duration=9)
def sideways(f):
    im,e = Image.open(f).convert('RGB'),Image.Exif()
    e[0x0112] = 6
    f.unlink()
    im.save(f.with_suffix('.jpg'), exif=e)
def odd_exif(f):
    im,e = Image.open(f).convert('RGB'),Image.Exif()
    e[0x0112] = 99
    f.unlink()
    im.save(f.with_suffix('.jpg'), exif=e)
def empty(f): f.write_bytes(b'')
def text(f): f.write_text('this is no picture\n')
def truncated(f): f.write_bytes(f.read_bytes()[:len(f.read_bytes())//2])
def nulls(f): f.write_bytes(bytes(1000))
def middle(f):
    b = bytearray(f.read_bytes())
    b[len(b)//3:len(b)//2] = bytes(len(b)//2-len(b)//3)
    f.write_bytes(b)
def pickled(f): f.write_bytes(b'\x80\x04cposix\nsystem\n(S"false"\ntR.')
def svg(f): f.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="99999999" height="9999999"/>')
def html(f): f.write_text('<!DOCTYPE html><title>403</title>')
def gone(f): f.unlink()
def folder(f):
    f.unlink()
    f.mkdir()
def loop(f):
    f.unlink()
    f.symlink_to(f)
def dangling(f):
    f.unlink()
    f.symlink_to('nowhere.png')
def endless(f):
    f.unlink()
    f.symlink_to('/dev/null')
def unreadable(f): f.chmod(0)
def twice(f): shutil.copy(f, f.with_suffix('.tiff'))
def upper(f): f.rename(f.with_suffix(f.suffix.upper()))
def spaced(f): f.rename(f.with_stem('ein Bild\twith ümläut 图像 %20 \'"'))
def latin(f): os.rename(f, os.fsencode(f.parent)+b'/caf\xe9'+f.suffix.encode())
def newline(f): f.rename(f.with_stem('two\nlines'))
def dashed(f): f.rename(f.with_stem('--out'))
def hidden(f): f.rename(f.with_stem('.hidden'))
def wide(f):
    Image.new('L', (8,8)).save(p := f.with_suffix('.png'))
    b = bytearray(p.read_bytes())
    b[16:24] = (50_000).to_bytes(4, 'big')*2
    b[29:33] = zlib.crc32(bytes(b[12:29])).to_bytes(4, 'big')
    if p!=f: f.unlink()
    p.write_bytes(b)
def nothing_wide(f):
    wide(f)
    p = f.with_suffix('.png')
    b = bytearray(p.read_bytes())
    b[16:24] = bytes(8)
    b[29:33] = zlib.crc32(bytes(b[12:29])).to_bytes(4, 'big')
    p.write_bytes(b)

FILES = [binary, off_by_one, coloured, with_alpha, two_channels, deep, floats, small, dot, line, bits, palette, cmyk, animated, sideways, odd_exif, empty, text,
    truncated, nulls, middle, pickled, svg, html, gone, folder, loop, dangling, endless, unreadable, twice, upper,
    spaced, latin, newline, dashed, hidden, wide, nothing_wide]

@pytest.mark.parametrize('kind', ['images','masks'])
@pytest.mark.parametrize('spoil', FILES, ids=lambda f: f.__name__)
def test_files(fresh, capsys, kind, spoil):
    d = fresh()
    for f in firsts(d, kind): spoil(f)
    went = []
    for line in DATA[:4 if kind=='images' else 3]:
        went.append(attempt(d, line, capsys))
        remove(d/'out')
    if not went[0]: assert not attempt(d, DATA[4], capsys) # the audit had found the problem
    elif spoil in (spaced, animated): assert attempt(d, DATA[4], capsys)

@pytest.mark.parametrize('kind', ['images','masks'])
@pytest.mark.parametrize('spoil', FILES, ids=lambda f: f.__name__)
def test_imported_files(fresh, kind, spoil):
    "One bad file is left out and named; the others are imported, or nothing is"
    d = fresh(('scenes',))
    for f in firsts(d, kind): spoil(f)
    with warnings.catch_warnings(action='ignore'):
        try: main(f'import {d}/scenes {d}/out'.split())
        except SystemExit as e: assert str(e.code).startswith('segkc: ')
    assert not (d/'out').exists() or (d/'out'/'task.json').is_file() and (d/'out'/'import.md').is_file()
    assert not list(d.glob('.out*'))

@fuzz(20)
@given(st.binary(max_size=60), st.sampled_from(['', '\x89PNG\r\n\x1a\n', 'II*\0', 'RIFF\0\0\0\0WEBP', '\xff\xd8\xff']), st.sampled_from(['images','masks']), st.sampled_from(['.png','.tif','.webp','.jpg']))
def test_bytes(fresh, capsys_of, data, head, kind, ending):
    d = fresh(('scenes',))
    for f in firsts(d, kind):
        f.unlink()
        f.with_suffix(ending).write_bytes(head.encode('latin-1')+data)
    for line in DATA[:2]: assert not attempt(d, line, capsys_of), line

@pytest.fixture
def capsys_of(capsys): return capsys

# ---- lists

LISTS = ['', 'scene_00002\nscene_00003 '+'x'*3000, '\n\n', '# nothing', 'scene_00099', '../scene_00000', '/etc/passwd', 'scene_00000\0', 'scene_00000\nscene_00099', 'nan', 'inf\n-inf', '1e999', '9'*5000, 'scene 00000', '--out', 'scene_00000.jpg.png.exe',
    '{"a": 1}', '<html>', 'scene_00000;rm -rf /', '$(touch x)', '%s%n', '..', '.', '/', '\\', 'C:\\x', '\ufeff', '\u2028', '# list 99: newer\nscene_00000']
GOOD_LISTS = ['scene_00000\r\nscene_00001\r\n', '\ufeffscene_00000', 'train/images/scene_00000.jpg train/masks/scene_00000.png', ' scene_00000 ', 'scene_00000\n'*50, 'scene_00002\nscene_00003', '# comment\n\nscene_00001']

def with_list(d, text, kind, line, capsys):
    (d/'odd.txt').write_bytes(text if isinstance(text, bytes) else text.encode())
    return attempt(d, line+f' --{kind} {{d}}/odd.txt', capsys)

@pytest.mark.parametrize('text', [*LISTS, b'caf\xe9', b'\xff\xfes\0c\0', bytes(range(256))], ids=lambda o: str(o)[:12].encode('unicode_escape').decode())
def test_lists(fresh, capsys, text):
    for line,kind in (('split {d}/scenes --out {d}/out','labelled'), ('split {d}/scenes --out {d}/out','val'), ('audit {d}/scenes --json {d}/out','labelled'), (f'train --data {{d}}/scenes --out {{d}}/out {NETS}','labelled')):
        assert not with_list(fresh(('scenes',)), text, kind, line, capsys)
    line = ['compare','--data','{d}/scenes','--out','{d}/out','--methods','supervised','--seeds','0','--labelled','{d}/odd.txt', *NETS.split()[2:-2]]
    assert not attempt(d := fresh(('scenes',)), line, capsys) and not (d/'out').exists() # the list does not exist

@pytest.mark.parametrize('text', GOOD_LISTS)
def test_lists_that_are_fine(fresh, capsys, text):
    assert with_list(fresh(('scenes',)), text, 'labelled', 'split {d}/scenes --out {d}/out', capsys)

@fuzz(20)
@given(st.text(max_size=60) | st.lists(st.sampled_from(['scene_00000','scene_00001','scene_0000x','','#','..','/',' '])).map('\n'.join))
def test_any_list(fresh, capsys_of, text):
    with_list(fresh(('scenes',)), text.encode('utf-8', 'surrogatepass'), 'labelled', 'split {d}/scenes --out {d}/out', capsys_of)

# ---- JSON

VALUES = st.recursive(st.none() | st.booleans() | st.integers(-1, 300) | st.sampled_from([10**30, -10**30]) | st.floats() | st.text(max_size=4)
    | st.sampled_from(['index','rgb','sky']),
    lambda o: st.lists(o, max_size=4) | st.dictionaries(st.sampled_from(['0','1','255','x']), o, max_size=3), max_leaves=8)
TASKS = ['', '{', '[]', 'null', '"sky"', '3', '{}', '{"classes": []}', '{"classes": "sky"}', '{"classes": null}', '{"classes": {"a": 1}}', '{"classes": ["a", "a"]}', '{"classes": ["a"], "palette": [[0]]}',
    '{"classes": ["a"], "palette": [[0, 0, 999]]}', '{"classes": ["a"], "palette": [[0, 0, NaN]]}', '{"classes": ["a"], "ignore": 255}', '{"classes": ["a"], "ignore": [1e999]}', '{"classes": ["a"], "ignore": [99999]}',
    '{"classes": ["a"], "ignore": [-1]}', '{"classes": ["a"], "masks": {"x": 0}}', '{"classes": ["a"], "masks": {"0": 9}}', '{"classes": ["a"], "masks": {"-1": 0}}', '{"classes": ["a"], "masks": []}', '{"classes": ["a"], "masks": "RGB"}',
    '{"classes": ["a"], "name": []}', '{"classes": ["a"], "pallete": []}', '{"format": 2, "classes": ["a"]}', '['*100000, '{"classes": ["a"], "ignore": ['+'9'*5000+']}', '{"classes": ["a"]}{', '{"classes": %s}'%json.dumps(list(map(str, range(300))))]

@pytest.mark.parametrize('text', [*TASKS, b'\xff\xfe{', b'{"classes": ["caf\xe9"]}', b'\0'*100], ids=lambda o: str(o)[:24])
def test_tasks(fresh, capsys, text):
    d = fresh()
    (d/'scenes'/'task.json').write_bytes(text if isinstance(text, bytes) else text.encode())
    for line in (*DATA[:3], DATA[4]):
        assert not attempt(d, line, capsys), line
        remove(d/'out')

@fuzz(30)
@given(st.dictionaries(st.sampled_from(['classes','palette','ignore','masks','name']), VALUES) | VALUES)
def test_any_task(fresh, capsys_of, o):
    d = fresh(('scenes',))
    (d/'scenes'/'task.json').write_text(json.dumps(o))
    for line in DATA[:2]: attempt(d, line, capsys_of)

RUN = ['eval {d}/run --data {d}/scenes', 'card {d}/run', 'figures {d}/run --out {d}/out', 'lab {d}/run --no-browser', 'predict {d}/run {d}/scenes/test/images --out {d}/out --device cpu', 'export {d}/run --to safetensors --out {d}/out.safetensors',
    'train --resume {d}/run']
BROKEN = {'config.json':['', '{', '[]', '{}', 'null', '{"format": 2}', '{"format": 4}', *('{"format": %d, "settings": {"data": "x"}, "facts": {"deployed": "../../x"}}'%n for n in (2, 3)), '{"deployed": "../../x"}', '{"deployed": 3}', '{"deployed": "boss"}', '{"format": "x", "deployed": "junior"}', '\0', '{"deployed": "junior", "networks": []}']}

@pytest.mark.parametrize('text', BROKEN['config.json'])
def test_configs(fresh, capsys, text):
    d = fresh()
    (d/'run'/'config.json').write_text(text)
    for line in RUN:
        if attempt(d, line, capsys): assert line.startswith(('lab','figures')) or '"junior"' in text and line.startswith(('predict','export')), line # these need only the name
        for o in ('out','out.safetensors','out.safetensors.md'): remove(d/o)

CONCERNS = {'config.json':RUN, 'history.csv':[RUN[i] for i in (1,2,6)], 'junior.safetensors':[RUN[i] for i in (0,4,5)], 'card.json':[RUN[i] for i in (1,6)], 'card.md':[RUN[i] for i in (1,6)]}

@pytest.mark.parametrize('file', CONCERNS)
@pytest.mark.parametrize('spoil', [empty, text, truncated, nulls, gone, folder, loop, dangling], ids=lambda f: f.__name__)
def test_files_of_a_run(fresh, capsys, file, spoil):
    d = fresh()
    f = d/'run'/file
    f.write_bytes((b := f.read_bytes(), f.unlink())[0]) # no longer linked to the other copies
    spoil(f)
    for line in CONCERNS[file]:
        attempt(d, line, capsys)
        for o in ('out','out.safetensors','out.safetensors.md'): remove(d/o)

# ---- command lines

LINES = '''
|nonsense|train|train --data|train --data {d}/nowhere|train --data {d}/list.txt|train --data {d}/scenes --out {d}/run|train --data {d}/scenes --out {d}/list.txt|train --data {d}/scenes --size 3,4|train --data {d}/scenes --size 32
train --data {d}/scenes --size 99999,99999|train --data {d}/scenes --size a,b|train --data {d}/scenes --size -32,-32|train --data {d}/scenes --epochs 0|train --data {d}/scenes --epochs -1|train --data {d}/scenes --epochs 1e9
train --data {d}/scenes --epochs 99999999999999999999|train --data {d}/scenes --bs 0|train --data {d}/scenes --bs ²|train --data {d}/scenes --lr nan|train --data {d}/scenes --lr inf|train --data {d}/scenes --lr -1|train --data {d}/scenes --lr 0
train --data {d}/scenes --clip nan|train --data {d}/scenes --seed -1|train --data {d}/scenes --seed x|train --data {d}/scenes --probe -1|train --data {d}/scenes --accumulate 0|train --data {d}/scenes --labelled 0|train --data {d}/scenes --labelled -1
train --data {d}/scenes --labelled 1/0|train --data {d}/scenes --labelled 1e999999999|train --data {d}/scenes --labelled nan|train --data {d}/scenes --labelled inf|train --data {d}/scenes --labelled 99|train --data {d}/scenes --labelled {d}
train --data {d}/scenes --labelled {d}/nowhere.txt|train --data {d}/scenes --group (|train --data {d}/scenes --group zzz|train --data {d}/scenes --layout zzz|train --data {d}/scenes --method zzz|train --data {d}/scenes --junior zzz
train --data {d}/scenes --junior resnet18+zzz|train --data {d}/scenes --junior resnet18+fpn:0|train --data {d}/scenes --junior resnet18+fpn:99999999|train --data {d}/scenes --junior ../../x|train --data {d}/scenes --senior hf-hub:me/x
train --data {d}/scenes --method-arg x|train --data {d}/scenes --method-arg x=1|train --data {d}/scenes --method cps --method-arg threshold=nan --senior resnet18|train --data {d}/scenes --method cps --senior resnet18 --method-arg weight=[]|train --data {d}/scenes --precision fp8
train --data {d}/scenes --frozen zzz|train --data {d}/scenes --recipe zzz|train --data {d}/scenes --val 0.5|train --resume {d}/nowhere|train --resume {d}/run|train --resume {d}/scenes|train --resume {d}/run --epochs 3|train --data {d}/scenes --zzz
split {d}/scenes|split {d}/scenes --out {d}/list.txt|split {d}/list.txt --out {d}/out|split {d}/scenes --out {d}/out --labelled x|split {d}/scenes --out {d}/out --seed -3|split {d}/scenes --out {d}/out --val 0.5|split {d}/scenes --out /proc/nowhere/x
audit|audit {d}/nowhere|audit {d}/list.txt|audit {d}/scenes --json {d}|audit {d}/scenes --json {d}/list.txt/x|audit {d}/scenes --size 0,0|audit {d}/scenes --labelled 99|audit {d}/scenes --group [|audit {d}/run
eval {d}/nowhere|eval {d}/scenes|eval {d}/run --data {d}/nowhere|eval {d}/run --split zzz|eval {d}/run --member boss|eval {d}/run --member ../../x|eval {d}/run --scales nan|eval {d}/run --scales 0|eval {d}/run --scales x|eval {d}/run --scales 1,,2|eval {d}/run --bs 0
eval {d}/run --mode zzz|card|card {d}/nowhere|card {d}/run {d}/scenes|card {d}/list.txt|figures {d}/nowhere|figures {d}/run --formats exe|figures {d}/run {d}/run|figures {d}/run --formats ,|figures {d}/run --out {d}/list.txt/x|lab {d}/nowhere|lab {d}/scenes
lab --runs {d}/nowhere|lab --runs {d}/scenes|predict {d}/run|predict {d}/nowhere {d}/scenes --out {d}/out|predict {d}/run {d}/nowhere --out {d}/out|predict {d}/run {d}/list.txt --out {d}/out|predict {d}/list.txt {d}/scenes --out {d}/out
predict {d}/run {d}/scenes/test/images --out {d}/scenes|predict {d}/run {d}/scenes/test/images --out {d}/list.txt|predict {d}/run {d}/scenes/test/images --out {d}/out --tile 3|predict {d}/run {d}/scenes/test/images --out {d}/out --workers 0
predict {d}/run {d}/scenes/test/images --out {d}/out --shard 3/2|predict {d}/run {d}/scenes/test/images --out {d}/out --shard -1/2|predict {d}/run {d}/scenes/test/images --out {d}/out --device zzz|predict {d}/run {d}/scenes/test/images --out {d}/out --device cuda:99
predict {d}/scenes {d}/scenes/test/images --out {d}/out|export {d}/nowhere|export {d}/run --to zzz|export {d}/run --out {d}/out.txt|export {d}/run --to safetensors --out {d}/list.txt/x.safetensors|export {d}/scenes|export {d}/list.txt|export {d}/run --images {d}/nowhere
export {d}/run --int8 {d}/nowhere|export {d}/run --to safetensors --int8 {d}/scenes|compare --data {d}/nowhere --out {d}/out|compare --data {d}/scenes --out {d}/list.txt|compare --data {d}/scenes --out {d}/out --methods zzz|compare --data {d}/scenes --out {d}/out --seeds x
compare --data {d}/scenes --out {d}/out --seeds -1|compare --data {d}/scenes --out {d}/out --methods supervised --labelled 99|compare --data {d}/scenes --out {d}/out --split zzz|compare --data {d}/scenes --out {d}/out --methods supervised --seeds 0,0
ablate --data {d}/nowhere --out {d}/out|get zzz {d}/out|get cityscapes {d}/out|get voc {d}/list.txt
'''
LINES = [o.replace('train --data {d}/scenes', f'train --data {{d}}/scenes {NETS}') for o in LINES.strip().replace('\n', '|').split('|')] # fails fast, and for the intended reason

def test_command_lines(fresh, capsys, monkeypatch):
    monkeypatch.chdir(d := fresh())
    went = [line for line in LINES if attempt(d, line, capsys)]
    assert not went

@fuzz(30)
@given(st.sampled_from(['train','split','audit','eval','card','figures','predict','export','compare']), st.lists(st.sampled_from(['{d}/scenes','{d}/run','{d}/list.txt','{d}/nowhere','--out','--labelled','--seed','--size','1','x','-1','--','','\0','é']), max_size=5))
def test_any_command_line(fresh, capsys_of, command, words):
    d = fresh()
    if command in ('train','compare'): words = [*words, '--epochs', '0']
    attempt(d, [command, *words], capsys_of)
