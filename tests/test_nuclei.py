"Nuclei of the 2018 Data Science Bowl: fetched from a server that breaks off, united, divided, checked and read; real microscopy is trained on if it is available"
import http.server, os, shutil, threading, warnings, zipfile
from pathlib import Path
import numpy as np, pytest
from PIL import Image
from conftest import SMALL, train
from segkc_fastai.cli import main
from segkc_fastai.data import download as dl
from segkc_fastai.data.audit import audit
from segkc_fastai.data.benchmarks import NUCLEI, load_source, write_nuclei
from segkc_fastai.data.labels import read_image, read_mask
from segkc_fastai.data.sources import count_classes
from segkc_fastai.runs.evaluating import evaluate_run

REAL = Path(os.environ.get('SEGKC_NUCLEI', Path(__file__).parents[2]/'shared'/'data'/'nuclei'))
PARTS = dict(train=['a3','b3','c0','e0'], val=['b1'], test=['b2','c1','c3'])
NAMES = sorted(sum(PARTS.values(), []))

def picture(i): return np.random.default_rng(i).integers(0, 255, (24,24,3), dtype=np.uint8)

def nuclei(i):
    "Two or three nuclei, the first two of which overlap"
    masks = np.zeros((2+i%2,24,24), bool)
    masks[0,2:10,3:11] = masks[1,8:14,9:12+i] = True
    if i%2: masks[2,20:,:5] = True
    return masks

@pytest.fixture
def stage1(tmp_path):
    "The published tree in miniature"
    top = tmp_path/'made'/'stage1_train'
    for i,n in enumerate(NAMES):
        for k in ('images','masks'): (top/n/k).mkdir(parents=True)
        Image.fromarray(np.dstack([picture(i), np.full((24,24), 255, np.uint8)])).save(top/n/'images'/f'{n}.png')
        for j,m in enumerate(nuclei(i)): Image.fromarray(np.uint8(m)*255).save(top/n/'masks'/f'{n}_{j}.png')
    return top

@pytest.fixture
def site(stage1, monkeypatch):
    "Server of the archive that breaks off its first answer: the ranges requested from it"
    with zipfile.ZipFile(stage1.parent/'a.zip', 'w') as z:
        for f in sorted(stage1.rglob('*.png')): z.write(f, f.relative_to(stage1))
    body,asked = (stage1.parent/'a.zip').read_bytes(),[]
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            rng = self.headers.get('Range')
            start,end = int(rng[6:-1]) if rng else 0,len(body) if asked else len(body)//2
            asked.append((self.path, rng))
            self.send_response(206 if rng else 200)
            if rng: self.send_header('Content-Range', f'bytes {start}-{len(body)-1}/{len(body)}')
            self.send_header('Content-Length', len(body)-start)
            self.end_headers()
            self.wfile.write(body[start:end])
        def log_message(self, *args): pass
    s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    monkeypatch.setattr(dl, '_SITES', dict.fromkeys(dl._SITES, f'http://127.0.0.1:{s.server_port}'))
    yield asked,len(body)
    s.shutdown()
    s.server_close()

def test_an_interrupted_download_resumes(site, tmp_path, capsys):
    (asked,n),d = site,tmp_path/'data'
    with pytest.raises(SystemExit, match='the connection broke .* run the same command again to resume'): main(['get','nuclei',str(d)])
    assert not (d/'nuclei').exists() and (d/'stage1_train.zip.part').stat().st_size==n//2
    main(['get','nuclei',str(d)])
    assert asked==[('/stage1_train.zip', None), ('/stage1_train.zip', f'bytes={n//2}-')]
    assert f'Ready: --data {d/"nuclei"}' in capsys.readouterr().out
    assert sorted(o.name for o in d.iterdir())==['nuclei','stage1_train','stage1_train.zip','stage1_train.zip.unpacked']
    shutil.rmtree(d/'stage1_train')
    for o in d.glob('*.zip*'): o.unlink()
    assert len(load_source(dl.download('nuclei', d)).train)==4 and len(asked)==2 # nothing but the result is needed

def test_every_part_pixel_by_pixel(stage1, tmp_path):
    assert write_nuclei(stage1, tmp_path/'nuclei')==len(NAMES)
    with warnings.catch_warnings(action='error'): # of transparency, for example
        src = load_source(tmp_path/'nuclei')
        assert {k:[o.name for o in src.part(k)] for k in PARTS}==PARTS and not src.extra
        assert (src.task, src.layout)==(NUCLEI, 'folder')
        for p in src.train+src.val+src.test:
            i = NAMES.index(p.name)
            assert (np.asarray(read_image(p.image))==picture(i)).all() and (read_mask(p.mask, NUCLEI)==nuclei(i).any(0)).all()
        n = sum(int(nuclei(NAMES.index(o)).any(0).sum()) for o in PARTS['train'])
        assert count_classes(src.train, NUCLEI).tolist()==[4*24*24-n, n]
    assert Image.open(src.train[0].mask).getpalette()[:6]==sum(map(list, NUCLEI.palette), [])

def test_the_audit_finds_nothing(stage1, tmp_path):
    write_nuclei(stage1, tmp_path/'nuclei')
    a = audit(tmp_path/'nuclei', labelled=2, size=(24,24))
    assert a.ok and {o.level for o in a.findings}<={'note'} and {k:len(o) for k,o in a.parts.items()}==dict(labelled=2, unlabelled=2, val=1, test=3)

def test_the_part_depends_on_the_name_only(stage1, tmp_path):
    "Corrected masks leave out some images; the others remain in their parts"
    shutil.rmtree(stage1/'c0')
    write_nuclei(stage1.parent, tmp_path/'nuclei')
    src = load_source(tmp_path/'nuclei')
    assert {k:[o.name for o in src.part(k)] for k in PARTS}==PARTS|dict(train=['a3','b3','e0'])

def test_writing_can_be_interrupted(stage1, tmp_path):
    out,bad = tmp_path/'nuclei',stage1/'c1'/'masks'/'c1_0.png'
    whole = bad.read_bytes()
    bad.write_bytes(whole[:50])
    with pytest.raises(ValueError, match='c1_0.png: truncated or damaged .*; replace or remove it'): write_nuclei(stage1, out)
    first = {f:f.stat().st_mtime_ns for f in out.rglob('*.png')}
    assert {f.stem for f in first}=={'a3','b1','b2','b3','c0'} and not list(out.rglob('*.part')) and not (out/'task.json').exists()
    bad.write_bytes(whole)
    write_nuclei(stage1, out)
    assert all(f.stat().st_mtime_ns==t for f,t in first.items()) and len(list(out.rglob('*.png')))==2*len(NAMES)

def no_masks(d): shutil.rmtree(d/'b1'/'masks')
def empty_masks(d): [f.unlink() for f in (d/'b1'/'masks').iterdir()]
def other_size(d): Image.new('L', (20,24)).save(d/'b1'/'masks'/'b1_1.png')
def cut_image(d): (f := d/'b1'/'images'/'b1.png').write_bytes(f.read_bytes()[:200])
def text(d): (d/'b1'/'masks'/'b1_0.png').write_text('no image')
def no_image(d): (d/'b1'/'images'/'b1.png').unlink()
def nothing(d): shutil.rmtree(d)

@pytest.mark.parametrize('spoil, words', [(no_masks, 'b1/masks: no .*png in this folder; get stage1_train.zip'), (empty_masks, 'b1/masks: no .*png in this folder; get stage1_train.zip'),
    (other_size, 'b1_1.png: 20×24 pixels, but .*b1.png has 24×24; masks must have the size of their image'), (cut_image, 'b1.png: truncated or damaged .*replace or remove it'),
    (text, 'b1_0.png: not readable as a mask .*replace or remove it'), (no_image, 'b1.png: no such image; it was moved'), (nothing, 'stage1_train: no .*images in this folder; get stage1_train.zip')])
def test_the_message_names_the_file(stage1, tmp_path, spoil, words):
    spoil(stage1)
    with pytest.raises((ValueError, FileNotFoundError), match=words): write_nuclei(stage1, tmp_path/'nuclei')
    assert not (tmp_path/'nuclei'/'task.json').exists() and not list(tmp_path.rglob('*b1.png.*'))

def test_real_microscopy(tmp_path):
    "One short epoch on an eighth of real images of several sizes, then evaluation on test"
    if not (REAL/'task.json').is_file(): pytest.skip(f'no nuclei at {REAL}; set SEGKC_NUCLEI to their folder')
    for d in (Path(part, k) for part in PARTS for k in ('images','masks')):
        (tmp_path/d).mkdir(parents=True)
        for f in sorted((REAL/d).iterdir())[::8]: shutil.copy(f, tmp_path/d)
    shutil.copy(REAL/'task.json', tmp_path)
    run = train(tmp_path/'r', tmp_path, **SMALL|dict(senior=None, method='supervised', labelled=13, epochs=1, size=(64,64)))
    rep = evaluate_run(run, 'test')
    assert rep.images==len(run.source().test)==26 and 5<rep.miou<100 and run.facts.images==dict(labelled=13, unlabelled=39, val=7)
