"Suggestions of images to label next, from runs of small networks"
import errno, shutil
from contextlib import contextmanager
from dataclasses import replace
import matplotlib.pyplot as plt, numpy as np, pandas as pd, pytest
from PIL import Image
from segkc_fastai.cli import main
from segkc_fastai.core.files import read_json, write_json
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.splits import read_names
from segkc_fastai.label import features
from segkc_fastai.label.features import all_images, run_images
from segkc_fastai.label.suggest import Doubt, doubt_maps, image_features, region_boxes, score_rows, suggest
from segkc_fastai.runs.config import RunConfig, write_config
from segkc_fastai.runs.folder import Run
from segkc_fastai.runs.training import train_run
from segkc_fastai.view.labelling import log_mask
from segkc_fastai.view.suggestions import suggestion_figure

@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    d = tmp_path_factory.mktemp('label')
    write_scenes(d/'data', n_train=24, n_val=2, n_test=0, size=(32,64))
    small = dict(junior='test_efficientnet+fpn:32', pretrained=False, labelled='8', size=(32,64), bs=4, epochs=1, probe=0, checkpoint=None)
    pair = dict(senior='test_resnet+fpn:32', method='cps', method_args=dict(warmup=0, ramp=0))
    each = dict(pair=pair, teacher=dict(method='mean_teacher', method_args=dict(warmup=0, ramp=0, cap=.9)), one=dict(method='supervised'))
    return {k:train_run(d/k, RunConfig(str(d/'data'), **small | kw)) for k,kw in each.items()}

def scores(run, pairs, regions=False, **kwargs): return pd.DataFrame(score_rows(doubt_maps(run, pairs, **kwargs), run.task, regions))
def unlabelled(run): return {o.strip() for o in (run.path/'unlabelled.txt').read_text().splitlines() if o[:1]!='#'}

@pytest.mark.parametrize('name', ['pair','teacher','one'])
@pytest.mark.parametrize('by', ['disagreement','entropy','margin','random'])
def test_suggestions_are_unlabelled_images(runs, name, by):
    df = suggest(runs[name], 5, by)
    assert len(set(df.name))==5 and set(df.name)<=unlabelled(runs[name])
    if by!='random': assert (df.score>0).all() and np.isfinite(df[['doubt','rarity','score']].to_numpy()).all()

def test_without_coverage_the_highest_scores_come_first(runs):
    run = runs['pair']
    df = suggest(run, 4, rarity=False, coverage=False)
    pairs = [p for p in run.source().train if p.name in unlabelled(run)]
    all_of_them = scores(run, pairs).sort_values('score', ascending=False, kind='stable')
    assert list(df.name)==list(all_of_them.name[:4]) and (df.score==df.doubt).all() and df.score.max()<=np.log(2)

def test_scores_do_not_depend_on_the_batch(runs):
    run = runs['pair']
    pairs = run.source().train[:5]
    a,b = (scores(run, pairs, bs=n) for n in (1,4))
    pd.testing.assert_frame_equal(a, b, rtol=1e-3)
    assert np.allclose(*(image_features(run, pairs, bs=n) for n in (1,4)), rtol=1e-3, atol=1e-5)

def test_more_than_there_are(runs): assert len(suggest(runs['one'], 100))==16

def test_the_list_can_be_trained_with(runs, tmp_path, capsys):
    run = runs['one']
    main(f'suggest {run.path} --n 3 --out {tmp_path}/next.txt'.split())
    assert 'entropy of junior, because the run has one network' in capsys.readouterr().out
    names = read_names(tmp_path/'next.txt', {p.name for p in run.source().train})
    assert len(names)==3 and set(names)<=unlabelled(run)

def test_images_that_were_labelled_since_are_not_suggested_again(runs, tmp_path):
    run,data = Run(shutil.copytree(runs['one'].path, tmp_path/'run')),shutil.copytree(runs['one'].config.data, tmp_path/'data')
    write_config(run.path, replace(run.config, data=str(data)), run.facts)
    run,first = Run(run.path),set(suggest(run, 3).name)
    for o in first: log_mask(run.path, o, 5.)
    assert len(second := set(suggest(Run(run.path), 3).name))==3 and not first&second

def test_images_of_a_held_out_group_stay_out(tmp_path):
    "Promised: `Run.source` has the images of the training. Attacked: A group of which a part was held out"
    write_scenes(tmp_path/'data', n_train=12, n_val=0, n_test=0, size=(32,64))
    for d in ('images','masks'):
        for i,f in enumerate(sorted((tmp_path/'data'/'train'/d).iterdir())):
            f.rename(f.with_name(f'street{i//3}_{i%3}{f.suffix}'))
            if d=='masks' and i%3==2: f.with_name(f'street{i//3}_{i%3}{f.suffix}').unlink()
    config = RunConfig(str(tmp_path/'data'), junior='test_efficientnet+fpn:32', pretrained=False, labelled='1/1', val='2', group='^[^_]+',
        method='supervised', size=(32,64), bs=2, epochs=1, probe=0, checkpoint=None)
    run = train_run(tmp_path/'run', config)
    held = {p.name.split('_')[0] for p in run.source().val}
    assert {p.name for p in run_images(run)['unlabelled']}==unlabelled(run) and not any(p.name.split('_')[0] in held for p in run.source().extra)

def test_a_map_of_a_run_in_a_folder_that_is_only_read(runs, monkeypatch):
    @contextmanager
    def refuse(path, **kw):
        raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        yield
    monkeypatch.setattr(features, 'replacing', refuse)
    assert len(all_images(runs['pair'])[0])==26 and not (runs['pair'].path/'features.npz').exists()

def test_nothing_left_to_label(runs, tmp_path):
    run = train_run(tmp_path/'all', RunConfig(str(runs['one'].config.data), junior='test_efficientnet+fpn:32', method='supervised', pretrained=False,
        labelled='24', size=(32,64), bs=4, epochs=1, probe=0, checkpoint=None))
    with pytest.raises(ValueError, match='every image of its training set is labelled'): suggest(run)

@pytest.mark.parametrize('size', [(240,320), (32,64), (101,99), (500,30), (30,500)])
def test_regions_tile_the_image(size):
    seen = np.zeros(size, int)
    boxes = region_boxes(*size)
    for x0,y0,x1,y1 in boxes: seen[y0:y1,x0:x1] += 1
    assert (seen==1).all() and 8<=len(boxes)<=12

@pytest.mark.parametrize('name', ['pair','one'])
@pytest.mark.parametrize('by', ['disagreement','random'])
def test_suggested_regions(runs, name, by):
    df = suggest(runs[name], 12, by, regions=True)
    assert len(df)==12 and not df.duplicated(['name','box']).any() and set(df.name)<=unlabelled(runs[name])
    assert set(df.box)<=set(region_boxes(32, 64))

def test_the_region_of_the_highest_score_comes_first(runs, monkeypatch):
    "Doubt in one box of one image, and elsewhere a little"
    run = runs['pair']
    here = sorted(unlabelled(run))[3]
    def maps(*args):
        for m in doubt_maps(*args):
            d = m.doubt*0+.01
            if m.pair.name==here: d[16:32,26:38] = .5 # the third box of the second row
            yield Doubt(m.pair, d, m.rarity*0+1, *m[3:])
    monkeypatch.setattr('segkc_fastai.label.suggest.doubt_maps', maps)
    df = suggest(run, 3, regions=True, coverage=False)
    assert (df.name[0],df.box[0])==(here,(26,16,38,32)) and df.score[0]>5*df.score[1]

def test_scores_of_regions_add_up_to_those_of_the_image(runs):
    run = runs['pair']
    pairs = run.source().train[:2]
    whole,parts = (scores(run, pairs, regions=o) for o in (False,True))
    area = parts.box.map(lambda o: (o[2]-o[0])*(o[3]-o[1]))
    assert np.allclose((parts.score*area).groupby(parts.name).sum()/(32*64), whole.set_index('name').score, rtol=1e-4)

def test_more_regions_than_there_are(runs): assert len(suggest(runs['one'], 999, regions=True, coverage=False))==16*len(region_boxes(32, 64))

def test_list_table_and_picture_of_regions(runs, tmp_path, capsys):
    run = runs['pair']
    main(f'suggest {run.path} --n 5 --regions --out {tmp_path}/next.txt'.split())
    assert 'next.png' in capsys.readouterr().out
    df = pd.read_csv(tmp_path/'next.csv')
    names = read_names(tmp_path/'next.txt', {p.name for p in run.source().train})
    boxes = {tuple(map(int, o.split(','))) for o in df.box}
    assert len(df)==5 and list(dict.fromkeys(df.name))==names and boxes<=set(region_boxes(32, 64))
    assert Image.open(tmp_path/'next.png').size[0]>600

def test_a_region_alone_can_be_labelled(runs, tmp_path):
    "A mask whose other pixels are 255 trains"
    data = write_scenes(tmp_path/'data', n_train=6, n_val=1, n_test=0, size=(32,64))
    task = read_json(data/'task.json')
    write_json(data/'task.json', task | dict(ignore=[255]))
    for f in (data/'train'/'masks').iterdir():
        mask = np.array(Image.open(f))
        x0,y0,x1,y1 = region_boxes(32, 64)[7]
        some = np.full_like(mask, 255)
        some[y0:y1,x0:x1] = mask[y0:y1,x0:x1]
        Image.fromarray(some).save(f)
    run = train_run(tmp_path/'run', replace(runs['one'].config, data=str(data), labelled='4', bs=2))
    assert np.isfinite(run.history.junior_miou.iloc[-1])

@pytest.mark.parametrize('regions', [False,True])
def test_one_panel_per_suggestion(runs, regions):
    for by in ('disagreement','random'):
        df = suggest(runs['pair'], 7, by, regions=regions)
        fig = suggestion_figure(df, runs['pair'], by)
        assert len(fig.axes)==7 and [len(ax.patches) for ax in fig.axes]==[int(regions)]*7
        plt.close(fig)

def test_names_are_not_read_as_formulas(runs):
    df = suggest(runs['one'], 1).assign(name='$a_')
    assert suggestion_figure(df, runs['one']).axes[0].get_title().startswith('1. $a_')

def test_messages(runs, tmp_path):
    with pytest.raises(SystemExit, match='--out: must end in .txt'): main(f'suggest {runs["one"].path} --out {tmp_path}/next.csv'.split())
    with pytest.raises(SystemExit, match='no run there'): main(f'suggest {tmp_path} --regions'.split())
    with pytest.raises(SystemExit, match='2'): main(f'suggest {runs["one"].path} --n 0'.split())
