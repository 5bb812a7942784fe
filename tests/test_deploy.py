"The deployed network predicts the same in every format and in bounded memory; reading a folder survives interruptions; no file can run code"
import json, os, pickle, shutil, subprocess, sys, time, zlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
import numpy as np, pytest, torch
from PIL import Image
from torch import nn
from conftest import CNN, SMALL, apart, train
from segkc_fastai.cli import main
from safetensors import SafetensorError
from segkc_fastai.core import tensors
from segkc_fastai.core.files import STATE
from segkc_fastai.core.task import Task, load_task
from segkc_fastai.data.labels import load_mask, open_image, read_mask
from segkc_fastai.data.scenes import render_scene
from segkc_fastai.deploy import hub
from segkc_fastai.deploy.export import Deployed, export
from segkc_fastai.deploy.predict_folder import predict_folder
from segkc_fastai.deploy.predict import Predictor
from segkc_fastai.models.segmenter import save_segmenter, segmenter
from segkc_fastai.runs.training import peak_memory, reset_peak
from segkc_fastai.train.checkpoint import save_state

TASK = Task([f'class {i}' for i in range(8)], name='eight')
JUNIORS = dict(cnn=(CNN, None), segformer=('pvt_v2_b0+segformer:64', dict(depths=(1,1,1,1))), dinov2=('vit_small_patch14_dinov2+dpt:32', dict(depth=4, embed_dim=96, num_heads=3)))
JUNIORS |= dict(vit=('test_vit+dpt:32', None)) # patches of 16 pixels

def junior(path, spec=CNN, args=None, task=TASK):
    torch.manual_seed(0)
    net = segmenter(spec, len(task), pretrained=False, encoder_args=args).eval()
    for k,p in net.named_parameters():
        if 'pos_embed' in k: p.data.normal_() # large enough for its resampling to count
    save_segmenter(net, path, task=task.to_dict(), size=[64,96])
    return net

@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp('net')/'junior.safetensors'
    junior(path)
    return path

@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    "A junior by name: network, weights, ONNX file; created once"
    pytest.importorskip('onnxruntime')
    @cache
    def make(name):
        f = tmp_path_factory.mktemp(name)/'junior.safetensors'
        return junior(f, *JUNIORS[name]),f,export(f)
    return make

def photos(folder, n, size=(64,96)):
    for i in range(n):
        f = folder/('' if i%2 else 'sub')/f'{i:02}.jpg'
        f.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(render_scene(np.random.default_rng(i), size)[0]).save(f)
    return folder

def names(folder): return sorted(o.relative_to(folder).with_suffix('').as_posix() for o in Path(folder).rglob('*.*') if not o.name.startswith('.'))

class Pixels(nn.Module):
    "Logits that depend on single pixels: tiles must equal the whole"
    def __init__(self, k):
        super().__init__()
        self.conv = nn.Conv2d(3, k, 1)
    def forward(self, x): return SimpleNamespace(logits=self.conv(x))

def test_memory_is_bounded():
    torch.manual_seed(0)
    n,k = 4500,12
    a = np.random.default_rng(0).integers(0, 256, (n,n,3), dtype=np.uint8)
    im,p = Image.fromarray(a),Predictor(Pixels(k), Task([f'c{i}' for i in range(k)]), 'cpu')
    reset_peak()
    low = peak_memory()
    o = p.predict(im)
    used = peak_memory()-low
    whole = n*n*k*4/2**30 # of the logits alone, once
    assert used<.3<whole/3, f'{used:.2f} GiB'
    i = np.s_[3000:3010]
    row = p.net(a[i].transpose(2,0,1)[None])
    assert (o.mask[i]==row[0][0]).all() and (o.conf[i]==row[1][0]).all()

def test_odd_sizes(weights):
    p = Predictor.load(weights, 'cpu', tile=128)
    for h,w in ((1,1), (7,300), (129,128), (31,33)):
        o = p.predict(np.zeros((h,w,3), np.uint8))
        assert o.mask.shape==o.conf.shape==(h,w) and o.overlay().shape==(h,w,3)

@pytest.mark.parametrize('name', JUNIORS)
def test_onnx_equals_the_network_at_any_size(name, exported):
    net,f,onnx = exported(name)
    p,q = Predictor.load(f, 'cpu'),Predictor.load(onnx)
    assert q.task==p.task and f'`{JUNIORS[name][0]}`' in Path(f'{onnx}.md').read_text()
    for size in ((1,3,20,33), (2,3,70,130), (1,3,126,126), (3,3,97,64)):
        x = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        with torch.no_grad(): want = Deployed(net)(torch.from_numpy(x)).numpy()
        assert np.abs(q.net.logits(x)-want).max()<1e-4
        assert (q.net(x)[0]==p.net(x)[0]).mean()>.999 and np.abs(q.net(x)[1].astype(int)-p.net(x)[1]).max()<=1

def test_onnx_needs_no_torch(exported, tmp_path):
    _,weights,f = exported('cnn')
    photos(tmp_path/'in', 2)
    code = "import sys\nfor o in ('torch','fastai','timm'): sys.modules[o] = None\nfrom segkc_fastai.cli import main\nmain(sys.argv[1:])"
    subprocess.run([sys.executable, '-c', code, 'predict', f, tmp_path/'in', '--out', tmp_path/'out'], check=True, capture_output=True)
    o = Predictor.load(weights, 'cpu').predict(tmp_path/'in'/'01.jpg')
    assert (np.asarray(load_mask(tmp_path/'out'/'masks'/'01.png'))==o.mask).mean()>.999

def test_torch_program_of_a_transformer(tmp_path):
    net = junior(tmp_path/'junior.safetensors', *JUNIORS['dinov2'])
    g = torch.export.load(export(tmp_path/'junior.safetensors', 'pt2')).module()
    for size in ((1,3,20,33), (2,3,98,130)):
        x = torch.randint(0, 256, size, dtype=torch.uint8)
        with torch.no_grad(): torch.testing.assert_close(g(x), Deployed(net)(x), rtol=0, atol=1e-5)

def test_export_of_a_run(scenes, tmp_path):
    run = train(tmp_path/'run', scenes, 'supervised', **SMALL|dict(epochs=1, senior=None), probe=0)
    card = Path(f"{export(run.path, 'safetensors')}.md").read_text()
    assert 'validation images' in card and '### run' in card and '8 labelled' in card and 'mIoU on val' in card
    (run.path/'config.json').unlink()
    with pytest.raises(SystemExit, match='neither a run folder'): main(['export', str(run.path)])

@pytest.mark.parametrize('name', ['onnx','onnxruntime','onnxscript'])
def test_missing_extra(weights, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit, match=rf"{name}.*: not installed; pip install 'segkc_fastai\[onnx\]'"): main(['export', str(weights), '--out', str(tmp_path/'n.onnx')])
    assert not list(tmp_path.iterdir())

def test_killed_half_way(weights, tmp_path):
    photos(tmp_path/'in', 60)
    args = ['predict', str(weights), str(tmp_path/'in'), '--out', str(tmp_path/'out'), '--confidence', '--device', 'cpu']
    p = apart(main, args)
    there = lambda: names(tmp_path/'out'/'masks') if (tmp_path/'out'/'masks').is_dir() else []
    while len(there())<5 and p.is_alive(): time.sleep(.01)
    p.kill()
    p.join()
    first = {f:f.stat().st_mtime_ns for f in (tmp_path/'out'/'masks').rglob('*.png') if not f.name.startswith('.')}
    assert 5<=len(first)<60
    main(args)
    assert names(tmp_path/'out'/'masks')==names(tmp_path/'out'/'confidence')==names(tmp_path/'in')
    assert all(f.stat().st_mtime_ns==t for f,t in first.items())
    q = Predictor.load(weights, 'cpu')
    for f,o in q.predict(tmp_path/'in'): assert (read_mask(tmp_path/'out'/'masks'/f.relative_to(tmp_path/'in').with_suffix('.png'), load_task(tmp_path/'out'))==o.mask).all()

def test_shards_are_disjoint_and_complete(weights, tmp_path):
    photos(tmp_path/'in', 7)
    for i in range(3): main(f'predict {weights} {tmp_path}/in --out {tmp_path}/{i} --shard {i}/3 --device cpu'.split())
    parts = [names(tmp_path/str(i)/'masks') for i in range(3)]
    assert sorted(sum(parts, []))==names(tmp_path/'in') and [len(o) for o in parts]==[3,2,2]

def png_header(path, w, h):
    "A file of a few bytes whose header claims an image of w × h"
    Image.new('L', (8,8)).save(path)
    b = bytearray(path.read_bytes())
    b[16:24] = w.to_bytes(4, 'big')+h.to_bytes(4, 'big')
    b[29:33] = zlib.crc32(bytes(b[12:29])).to_bytes(4, 'big')
    path.write_bytes(b)

def test_bad_images_are_reported_and_the_others_predicted(weights, tmp_path, capsys):
    d = photos(tmp_path/'in', 3)
    (d/'no.png').write_text('no')
    (d/'cut.jpg').write_bytes((d/'01.jpg').read_bytes()[:900])
    shutil.copy(d/'01.jpg', d/'twice.jpg')
    shutil.copy(d/'01.jpg', d/'twice.jpeg')
    Image.fromarray(np.full((4,4), 40000, np.uint16)).save(d/'deep.png')
    png_header(d/'bomb.png', 50_000, 50_000)
    with pytest.raises(SystemExit) as e: main(f'predict {weights} {d} --out {tmp_path}/out --device cpu'.split())
    said = str(e.value.code)
    for o in ('6 images could not be predicted', 'no.png: not readable', 'cut.jpg: truncated', 'twice.jpg: another image', 'twice.jpeg: another', 'deep.png: more than 8 bits', 'bomb.png: 2,500,000,000 pixels, and at most 268,435,456'): assert o in said
    assert names(tmp_path/'out'/'masks')==['01','sub/00','sub/02']

@pytest.mark.parametrize('args, words', [
    ('predict nope.safetensors in --out out', 'nope.safetensors: no such file'),
    ('predict {w} empty --out out', 'empty: no images'),
    ('predict {w} nowhere --out out', 'nowhere: no such folder'),
    ('predict {w} in --out in/sub', 'no predict.json'),
    ('predict {w} in --out out --tile 8', 'tile=8'),
    ('export {w} --out out.txt', 'out.txt: the name must end in .onnx'),
    ('export {w} --to pt2 --out out.pt2 --int8 in', '--int8: requires --to onnx'),
    ('export in', 'in: neither a run folder nor'),
])
def test_one_line(weights, tmp_path, monkeypatch, args, words):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path/'in', 2)
    (tmp_path/'empty').mkdir()
    with pytest.raises(SystemExit) as e: main(args.format(w=weights).split())
    assert words in str(e.value.code) and '\n' not in str(e.value.code)
    assert sorted(o.name for o in tmp_path.iterdir())==['empty','in']

def test_masks_within_the_folder_are_no_images(weights, tmp_path, monkeypatch):
    "Promised: Predictions are not taken for images. Attacked: Written into the folder that is read"
    there = photos(tmp_path/'x', 3)
    (tmp_path/'link').symlink_to(there)
    (tmp_path/'x2').mkdir()
    monkeypatch.chdir(tmp_path)
    p = Predictor.load(weights, 'cpu')
    assert predict_folder(p, 'x', there/'out', overlay=True)==(3, 0, [])
    for folder,out in (('x','x/out'), (there,'x/../x/out'), ('x2/../x',there/'out'), ('link',there/'out'), ('x','link/out')):
        assert predict_folder(p, folder, out)==(0, 3, []), (folder, out)
    shutil.move('x/out', 'x/earlier')
    assert predict_folder(p, 'link', there/'out')==(3, 0, []) and len(list(p.predict(there)))==3
    with pytest.raises(SystemExit, match='x/out: no images but predicted masks'): main(f'predict {weights} x/out --out x/out --device cpu'.split())

@pytest.mark.parametrize('moved', [False,True])
def test_a_replaced_image_is_predicted_again(weights, tmp_path, moved):
    "Promised: A prediction belongs to the image that is there now. Attacked: An image replaced by one of the same date and size"
    folder,p = photos(tmp_path/'in', 3),Predictor.load(weights, 'cpu')
    f = folder/'01.png'
    rng = np.random.default_rng(0)
    replaced = lambda: Image.fromarray(rng.integers(0, 256, (64,96,3), dtype=np.uint8)).save(f, compress_level=0)
    replaced()
    when,size = f.stat().st_mtime_ns,f.stat().st_size
    (folder/'01.jpg').unlink()
    assert predict_folder(p, folder, folder/'out', confidence=True)==(3, 0, [])
    if moved: folder = Path(shutil.copytree(folder, tmp_path/'copy', copy_function=shutil.copyfile))
    f = folder/'01.png'
    replaced()
    os.utime(f, ns=(when, when))
    assert f.stat().st_size==size and predict_folder(p, folder, folder/'out')==(1, 2, [])
    assert (np.asarray(load_mask(folder/'out'/'masks'/'01.png'))==p.predict(f).mask).all()
    assert predict_folder(p, folder, folder/'out')==(0, 3, []) and predict_folder(p, folder, folder/'out', confidence=True)==(1, 2, [])

def test_corrected_masks_are_kept(weights, tmp_path):
    "Promised: Existing files are kept. Attacked: A mask saved by another program, without the comment"
    folder,p = photos(tmp_path/'in', 2),Predictor.load(weights, 'cpu')
    predict_folder(p, folder, tmp_path/'out')
    mask = sorted((tmp_path/'out'/'masks').iterdir())[0]
    m = load_mask(mask)
    m.paste(3, (0,0,20,20))
    m.save(mask)
    edited = mask.read_bytes()
    Image.new('RGB', (96,64)).save(folder/'new.png')
    done = predict_folder(p, folder, tmp_path/'out')
    assert done[:2]==(1, 1) and [why for _,why in done[2]]==[f'{mask} was changed since; move it away to predict again'] and mask.read_bytes()==edited

def test_masks_of_one_folder_are_not_replaced_by_those_of_another(weights, tmp_path):
    "Promised: Nothing is overwritten. Attacked: The same names in two folders, one output; folders moved; files of earlier versions"
    p,days,out = Predictor.load(weights, 'cpu'),[photos(tmp_path/o, 2) for o in ('day1','day2')],tmp_path/'out'
    assert predict_folder(p, days[0], out)==(2, 0, [])
    with pytest.raises(ValueError, match='out: holds masks of the images in .*day1, not in .*day2; pass .* set "images" in .*predict.json to "../day2"$'): predict_folder(p, days[1], out)
    assert predict_folder(p, days[0], out)==(0, 2, [])
    shutil.move(days[0], tmp_path/'elsewhere')
    file = out/'predict.json'
    file.write_text(file.read_text().replace('../day1', '../elsewhere'))
    assert predict_folder(p, tmp_path/'elsewhere', out)==(0, 2, [])
    file.write_text(json.dumps({k:v for k,v in json.loads(file.read_text()).items() if k!='images'}))
    assert predict_folder(p, days[1], out)==(0, 2, []) and json.loads(file.read_text())['images']=='../day2'

def net_for(larger):
    "A network that fails for images of a height below `larger`, in the form of `OnnxNet`"
    def net(x):
        if x.shape[2]<larger: raise RuntimeError('kernel size\ncannot be larger')
        return x[:,0]//128,x[:,1]
    return net

def test_an_image_that_the_network_cannot_read_does_not_stop_the_others(tmp_path):
    (tmp_path/'w').write_bytes(b'')
    (tmp_path/'in').mkdir()
    for s in (4,20,30): Image.new('RGB', (9,s)).save(tmp_path/'in'/f'{s}.png')
    p = Predictor(net_for(8), TASK, path=tmp_path/'w')
    assert predict_folder(p, tmp_path/'in', tmp_path/'out')==(2, 0, [(tmp_path/'in'/'4.png', 'RuntimeError: kernel size cannot be larger')])
    def full(x): raise RuntimeError('CUDA out of memory. Tried to allocate')
    with pytest.raises(MemoryError, match='out of memory in tiles of 1024 pixels; pass a smaller tile'): predict_folder(Predictor(full, TASK, path=tmp_path/'w'), tmp_path/'in', tmp_path/'out2')

def test_no_picture_of_an_earlier_image_is_left(tmp_path):
    "Promised: Overlay and mask are of the same image. Attacked: An image that changes in a few rows of an uncompressed file, predicted without its overlay"
    (tmp_path/'w').write_bytes(b'')
    (tmp_path/'in').mkdir()
    a = np.random.default_rng(0).integers(128, 255, (256,256,3), dtype=np.uint8)
    image,overlay = tmp_path/'in'/'a.bmp',tmp_path/'out'/'overlay'/'a.jpg'
    def predicted(**kw):
        Image.fromarray(a).save(image)
        return predict_folder(Predictor(net_for(0), TASK, path=tmp_path/'w'), tmp_path/'in', tmp_path/'out', **kw)
    assert predicted(overlay=True)==(1, 0, []) and overlay.exists() and predicted()==(0, 1, []) and overlay.exists()
    a[221:248] = 0
    assert predicted()==(1, 0, []) and not overlay.exists()
    assert (np.asarray(load_mask(tmp_path/'out'/'masks'/'a.png'))==a[...,0]//128).all()

def test_images_in_memory_are_checked_like_files(weights, tmp_path):
    "Promised: Arrays and tensors are predicted like the file. Attacked: Values outside 0…1, NaN, 16 bits, rotated photographs"
    p = Predictor.load(weights, 'cpu')
    turned,f = Image.Exif(),tmp_path/'turned.jpg'
    turned[0x0112] = 6
    Image.fromarray(render_scene(np.random.default_rng(0), (48,96))[0]).save(f, exif=turned)
    assert p.predict(f).mask.shape==(96,48)
    for o in (Image.open(f), Image.open(f).convert('RGB')): assert (p.predict(o).mask==p.predict(f).mask).all()
    Image.fromarray(np.full((64,96), 40000, np.uint16)).save(tmp_path/'deep.png')
    x = torch.from_numpy(np.array(Image.open(f))).permute(2,0,1)
    unit = x/255
    assert (p.predict(unit).mask==p.predict(x).mask).all() and (p.predict(unit.clamp(0, 1)*(1+1e-6)).mask==p.predict(x).mask).all()
    broken = unit.clone()
    broken[0,0,0] = torch.nan
    bad = [Image.open(tmp_path/'deep.png'), Image.new('F', (96,64)), x.float(), (unit-.45)/.22, broken, unit*-1, x.long()+256, x[:,:0], np.asarray(unit)]
    for o in [*bad, [unit, broken], torch.stack([unit, broken])]:
        with pytest.raises(ValueError, match='^image: '): p.predict(o)
    deep = Predictor(p.net, replace(TASK, range=(0,65535)))
    assert (deep.predict(Image.open(tmp_path/'deep.png')).mask==deep.predict(tmp_path/'deep.png').mask).all()

def test_mixed_folders_are_rejected(weights, tmp_path):
    photos(tmp_path/'in', 2)
    save_segmenter(segmenter(CNN.replace('32', '64'), 8, pretrained=False), tmp_path/'other.safetensors', task=TASK.to_dict())
    predict = lambda f,more='': main(f'predict {f} {tmp_path}/in --out {tmp_path}/out --device cpu {more}'.split())
    predict(weights)
    with pytest.raises(SystemExit, match='another network; pass another folder'): predict(tmp_path/'other.safetensors')
    with pytest.raises(SystemExit, match='another tile'): predict(weights, '--tile 512')

def test_masks_are_palette_images(weights, tmp_path):
    predict_folder(Predictor.load(weights, 'cpu'), photos(tmp_path/'in', 1), tmp_path/'out', overlay=True)
    m = load_mask(tmp_path/'out'/'masks'/'sub'/'00.png')
    assert m.mode=='P' and (tmp_path/'out'/'masks'/'sub'/'00.png').read_bytes()[24]==8 # bits a pixel
    assert (np.asarray(m.convert('RGB'))==TASK.paint(np.asarray(m))).all()
    assert open_image(tmp_path/'out'/'overlay'/'sub'/'00.jpg').size==(96,64)

class Payload:
    def __init__(self, path): self.path = path
    def __reduce__(self): return Path.touch,(Path(self.path),)

@pytest.mark.parametrize('name', ['a.pth','a.pt','a.pkl','a.safetensors','a.onnx','a.pt2','a'])
def test_a_pickle_is_rejected_and_does_not_run(name, tmp_path):
    f,ran = tmp_path/name,tmp_path/'ran'
    for write in (lambda: f.write_bytes(pickle.dumps(Payload(ran))), lambda: torch.save(Payload(ran), f)):
        write()
        with pytest.raises(ValueError, match=name): Predictor.load(f)
        assert not ran.exists()
    torch.load(f.rename(tmp_path/'payload'), weights_only=False) # it would have run
    assert ran.exists()

def test_hub_there_and_back(weights, tmp_path, monkeypatch):
    seen = {}
    def upload(self, **kw):
        seen.update(kw)
        shutil.copytree(kw['folder_path'], tmp_path/'remote')
        return 'commit'
    monkeypatch.setattr(hub, 'hub_in_reach', lambda: True)
    monkeypatch.setattr(hub.HfApi, 'create_repo', lambda self, repo_id, **kw: seen.update(kw))
    monkeypatch.setattr(hub.HfApi, 'upload_folder', upload)
    monkeypatch.setattr(hub, 'snapshot_download', lambda repo, **kw: seen.update(kw) or str(tmp_path/'remote'))
    p = Predictor.load(weights, 'cpu')
    assert p.push_to_hub('me/junior', revision='v1')=='commit' and (seen['private'], seen['revision'])==(True, 'v1')
    q = Predictor.from_hub('me/junior', 'v2', device='cpu')
    assert (seen['revision'], seen['local_files_only'], q.task)==('v2', False, p.task)
    assert seen['allow_patterns']==['model.safetensors','config.json','README.md']==sorted((o.name for o in (tmp_path/'remote').iterdir()), key=hub.FILES.index)
    x = np.zeros((40,50,3), np.uint8)
    assert (q.predict(x).mask==p.predict(x).mask).all()

def test_hub_out_of_reach(weights, monkeypatch, tmp_path):
    monkeypatch.setattr(hub, 'hub_in_reach', lambda: False)
    with pytest.raises(OSError, match='cannot be reached, and it was not fetched before'): Predictor.from_hub('me/never-fetched-junior')
    with pytest.raises(OSError, match='cannot be reached; write the files with `hub_folder`'): Predictor.load(weights, 'cpu').push_to_hub('me/junior')

def test_a_full_disk_while_a_network_is_written(tmp_path, monkeypatch):
    "Promised: A network is written completely or not at all. Attacked: A disk that is full, for which safetensors has its own type of error"
    def full(*_, **__): raise SafetensorError('I/O error: No space left on device (os error 28)')
    monkeypatch.setattr(tensors, 'save_file', full)
    with pytest.raises(OSError, match=r'junior.safetensors: cannot be written \(I/O error: No space left on device'): junior(tmp_path/'junior.safetensors')
    assert not list(tmp_path.iterdir())

@pytest.mark.parametrize('umask', [0o022,0o002,0o077])
def test_networks_have_the_permissions_of_other_files(tmp_path, umask):
    "Promised: Files of networks have the permissions that the umask allows. Attacked: Several umasks"
    was = os.umask(umask)
    try:
        junior(tmp_path/'junior.safetensors')
        save_state(tmp_path/'checkpoint', dict(a=torch.zeros(2)))
        (tmp_path/'plain').touch()
    finally: os.umask(was)
    want = (tmp_path/'plain').stat().st_mode
    assert all(o.stat().st_mode==want for o in (tmp_path/'junior.safetensors', tmp_path/'checkpoint'/STATE))
