"Recipes and the ablation, from the command line, on miniatures in the published layouts"
import io, json
import numpy as np, pandas as pd, pytest
from PIL import Image
from conftest import CNN, SENIOR
from segkc_fastai.cli import main
from segkc_fastai.data.benchmarks import VOC
from segkc_fastai.runs.grid import run_path
from segkc_fastai.runs.folder import Run

NETS = f'--junior {CNN} --senior {SENIOR} --random --bs 2 --epochs 1'

def image(rng, path, size=(70,90)): Image.fromarray(rng.integers(0, 255, (*size,3), dtype=np.uint8)).save(path)

@pytest.fixture
def voc(tmp_path):
    d,rng,names = tmp_path/'VOC2012',np.random.default_rng(0),[f'2007_{i:06}' for i in range(7)]
    for k in ('JPEGImages','SegmentationClass','SegmentationClassAug','ImageSets/Segmentation'): (d/k).mkdir(parents=True)
    for i,n in enumerate(names):
        image(rng, d/'JPEGImages'/f'{n}.jpg', (70,90+i))
        m = Image.fromarray(np.where(rng.random((70,90+i))<.1, 255, rng.integers(0, 21, (70,90+i))).astype(np.uint8))
        m.save(d/'SegmentationClassAug'/f'{n}.png')
        m.putpalette(sum(map(list, VOC.palette), []))
        if i in (0,1,2,6): m.save(d/'SegmentationClass'/f'{n}.png')
    for k,o in dict(train=names[:3], val=names[6:]).items(): (d/'ImageSets'/'Segmentation'/f'{k}.txt').write_text('\n'.join(o))
    (tmp_path/'labeled.txt').write_text('\n'.join(f'JPEGImages/{n}.jpg SegmentationClass/{n}.png' for n in names[:2]))
    return d

def test_pascal(voc, tmp_path):
    out = tmp_path/'run'
    main(f'train --recipe pascal_original --data {voc} --labelled-list {tmp_path}/labeled.txt {NETS} --size 64,64 --out {out}'.split())
    c = Run(out).config
    assert (c.recipe, c.lr, c.lr_ratio, c.schedule, c.evaluate) == ('pascal_original', 2e-4, 40, 'poly', 'resize')
    assert Run(out).facts.images==dict(labelled=2, unlabelled=4, val=1) and c.method_args['threshold']==.95
    assert 'recipe pascal_original' in (out/'card.md').read_text() and (out/'figures'/f'{out.name}-grid.png').exists()
    main(f'eval {out} --split val'.split())
    assert json.loads((out/'eval-val-junior.json').read_text())['images']==1

def test_blended_pascal_uses_the_masks_of_sbd(voc, tmp_path):
    main(f'train --recipe pascal_blended --data {voc} --labelled 4 {NETS} --size 64,64 --out {tmp_path}/run'.split())
    assert Run(tmp_path/'run').facts.images==dict(labelled=4, unlabelled=2, val=1)

def test_cityscapes(tmp_path):
    rng = np.random.default_rng(0)
    for part,n in dict(train=4, val=1).items():
        for k in ('leftImg8bit','gtFine'): (tmp_path/'city'/k/part/'ulm').mkdir(parents=True)
        for i in range(n):
            f = tmp_path/'city'/'{}'/part/'ulm'/f'ulm_{i:06}_000019_{{}}.png'
            image(rng, str(f).format('leftImg8bit','leftImg8bit'), (96,192))
            Image.fromarray(rng.integers(0, 34, (96,192), dtype=np.uint8)).save(str(f).format('gtFine','gtFine_labelIds'))
    main(f'train --recipe cityscapes --data {tmp_path}/city --labelled 2 {NETS} --size 64,64 --out {tmp_path}/run'.split())
    assert Run(tmp_path/'run').config.method_args['criterion']=='ohem'
    main(f'eval {tmp_path}/run --split val'.split())

def test_ablation_resumes(scenes, tmp_path, capsys):
    args = f'ablate --data {scenes} --labelled 8 {NETS} --size 64,96 --seeds 0 --out {tmp_path}/a --method-arg warmup=0'
    main(args.split())
    results,runs = (tmp_path/'a'/'results.csv').read_text(),sorted(o.name for o in (tmp_path/'a').glob('*-seed0'))
    assert runs==[f'{k}-8-seed0' for k in ('cps','cps-features','cps-predictions','labelled-only','segkc','segkc-same-backbone')]
    assert results.count('\n')==7 and (tmp_path/'a'/'a-arms.png').stat().st_size>5000 and '| SegKC |' in (tmp_path/'a'/'table.md').read_text()
    c = Run(run_path(tmp_path/'a', 'SegKC, same backbone', 8, 0)).facts.networks
    assert c['senior']['spec']==c['junior']['spec']
    when = {o:o.stat().st_mtime_ns for o in (tmp_path/'a').glob('*/history.csv')}
    (tmp_path/'a'/'cps-8-seed0'/'card.md').unlink()
    main(args.split())
    again = [o.parent.name for o,t in when.items() if o.stat().st_mtime_ns!=t]
    miou = lambda s: pd.read_csv(io.StringIO(s)).miou.tolist()
    assert again==['cps-8-seed0'] and miou((tmp_path/'a'/'results.csv').read_text())==miou(results)

@pytest.mark.parametrize('name', ['supervised','gta','mkd'])
def test_a_recipe_works_for_other_methods(voc, tmp_path, name):
    main(f'train --recipe pascal_original --data {voc} --labelled 2 --method {name} --junior {CNN}'.split() + ['--senior',SENIOR]*(name=='mkd') + f'--random --bs 2 --epochs 1 --size 64,64 --out {tmp_path}/run'.split())
    c = Run(tmp_path/'run').config
    own = dict(supervised='', gta='threshold warmup features cap', mkd='threshold warmup ramp teacher_weight student_weight')
    assert c.method==name and set(c.method_args)=={*own[name].split()} and (c.senior is None)==(name!='mkd')
    assert c.method_args.get('threshold', 0)==0

def test_an_explicit_senior_is_not_silently_dropped(voc, tmp_path):
    with pytest.raises(SystemExit) as e: main(f'train --recipe pascal_original --data {voc} --labelled 2 --method gta {NETS} --size 64,64 --out {tmp_path}/run'.split())
    assert 'assistant must have the shape of junior' in str(e.value)
