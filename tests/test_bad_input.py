"Each mistake of a user ends in one line that names the file or argument and the remedy, and leaves nothing behind"
import shutil, warnings
import numpy as np, pytest
from PIL import Image
from conftest import CNN, SENIOR
from segkc_fastai.cli import main
from segkc_fastai.data.audit import audit
from segkc_fastai.data.loaders import SemiDataLoaders

ARGS = f'--labelled 8 --junior {CNN} --senior {SENIOR} --epochs 1 --size 64,96 --bs 4 --random'

def png(path, a): Image.fromarray(np.asarray(a, np.uint8)).save(path)

def no_pairs(d): shutil.rmtree(d/'train'/'masks')
def size_mismatch(d): png(sorted((d/'train'/'masks').iterdir())[0], np.zeros((5,7)))
def outside_task(d):
    for f in (d/'train'/'masks').iterdir(): png(f, np.full((64,96), 8))
def ignore_255(d): (d/'task.json').write_text((d/'task.json').read_text().replace('"ignore": []', '"ignore": [255]'))
def all_ignored(d):
    ignore_255(d)
    for f in (d/'train'/'masks').iterdir(): png(f, np.full((64,96), 255))
def truncated(d):
    for f in (d/'train'/'images').iterdir(): f.write_bytes(f.read_bytes()[:700])
def deep(d):
    f = sorted((d/'train'/'images').iterdir())[0]
    Image.fromarray(np.full((64,96), 40000, np.uint16)).save(f.with_suffix('.png'))
    f.unlink()
def no_validation(d): shutil.rmtree(d/'val')
def no_task(d): (d/'task.json').unlink()
def broken_task(d): (d/'task.json').write_text('{"classes": [')

@pytest.mark.parametrize('spoil, args, words', [
    (no_pairs,       '', ['no pairs','train/masks']),
    (size_mismatch,  '--labelled 24', ['7×5','must have the size']),
    (outside_task,   '', ['value 8','off by one','.png']),
    (all_ignored,    '', ['every pixel','"ignore"']),
    (truncated,      '', ['truncated','.jpg','replace or remove']),
    (deep,           '', ['more than 8 bits','.png','8 bits']),
    (no_validation,  '', ['val','no image with a mask']),
    (no_task,        '', ['no task.json','"classes"']),
    (broken_task,    '', ['task.json','JSON']),
    (None, '--junior resnet81', ['resnet81','resnet18']),
    (None, '--junior resnet18+fpm', ["'fpm'",'fpn']),
    (None, '--labelled 99', ['99','24 have masks']),
    (None, '--labelled nope.txt', ['nope.txt','no such file']),
    (None, '--labelled 24', ['unlabelled','none']),
    (None, '--method pcs', ["'pcs'",'supervised, mean_teacher']),
    (None, '--method supervised', ['senior','leave it out']),
    (None, '--method-arg tau=1', ["'tau'",'threshold']),
    (None, '--method-arg weight=-1', ['weight=-1']),
    (None, '--method-arg temperature=0', ['temperature=0','more than 0']),
    (None, '--method-arg stage=9', ['stage=9','senior has 5 stages']),
    (None, '--method-arg variant=D', ["variant='D'",'A, B, C']),
    (None, '--frozen boss', ["frozen='boss'",'senior']),
    (None, '--junior vit_tiny_patch16_224', ["'vit_tiny_patch16_224'",'dpt']),
    (None, '--junior vit_tiny_patch16_224+dpt --size 60,96', ['size=60,96','48,96 or 64,96']),
    (None, '--recipe voc', ["'voc'",'pascal_original']),
    (None, '--recipe pascal_original', ['VOCtrainval','ImageSets']),
    (None, '--recipe cityscapes', ['leftImg8bit','after registering']),
])
def test_one_line(scenes, tmp_path, spoil, args, words):
    if spoil: spoil(scenes)
    out = tmp_path/'runs'/'r'
    with pytest.raises(SystemExit) as e: main(f'train --data {scenes} --out {out} {ARGS} {args}'.split())
    msg = str(e.value)
    assert msg.startswith('segkc: ') and '\n' not in msg
    for w in words: assert w in msg, msg
    assert not out.exists() and not list((tmp_path/'runs').glob('*') if (tmp_path/'runs').exists() else [])

def test_missing_folder_and_used_folder(scenes, tmp_path):
    with pytest.raises(SystemExit, match='nowhere: no such folder'): main(['train','--data','nowhere','--out',str(tmp_path/'r')])
    with pytest.raises(SystemExit, match='not empty'): main(f'train --data {scenes} --out {scenes} {ARGS}'.split())
    assert (scenes/'task.json').exists()
    with pytest.raises(SystemExit, match='no run there'): main(['eval', str(scenes)])
    with pytest.raises(SystemExit, match='needs a text file'): main(['train','--data',str(scenes),'--recipe','pascal_original'])
    with pytest.raises(SystemExit, match='nowhere: no such folder'): main(['ablate','--data','nowhere','--out',str(tmp_path/'a')])

def test_warnings_are_not_repeated_for_every_file(scenes):
    "Promised: A warning is shown once. Attacked: Transparency in all images, and five masks without labels"
    for f in (scenes/'train'/'images').iterdir():
        Image.open(f).convert('RGBA').save(f.with_suffix('.png'))
        f.unlink()
    ignore_255(scenes)
    for f in sorted((scenes/'train'/'masks').iterdir())[:5]: png(f, np.full((64,96), 255))
    with warnings.catch_warnings(record=True, action='default') as w: SemiDataLoaders.from_folder(scenes, labelled=1., size=(64,96))
    said = [str(o.message) for o in w if o.category is not DeprecationWarning]
    assert [o for o in said if 'transparency' in o]==[f'{scenes/"train"/"images"}: transparency (mode RGBA) is dropped']
    assert [o.split(': ')[1] for o in said if 'ignored' in o]==['every pixel is ignored, as in 4 more; such images teach nothing']
    assert len([o for o in audit(scenes).findings if 'transparency' in o.what][0].files)==24

def test_warnings_where_training_can_go_on(scenes, tmp_path):
    (scenes/'train'/'masks'/'scene_00001.png').rename(scenes/'train'/'masks'/'stray.png')
    f = scenes/'train'/'images'/'scene_00002.jpg'
    Image.open(f).convert('RGBA').save(f.with_suffix('.png'))
    f.unlink()
    with pytest.warns() as w: main(f'train --data {scenes} --out {tmp_path/"r"} {ARGS} --size 96,128'.split())
    said = ' '.join(str(o.message) for o in w)
    for words in ('1 mask(s) without image: stray', 'transparency', 'crop is larger'): assert words in said
    assert (tmp_path/'r'/'card.md').exists()
