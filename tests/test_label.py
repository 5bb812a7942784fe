"Suggestions of images to label next, from runs of small networks"
import numpy as np, pandas as pd, pytest
from segkc_fastai.cli import main
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.splits import read_names
from segkc_fastai.label.suggest import image_features, image_scores, suggest
from segkc_fastai.runs.config import RunConfig
from segkc_fastai.runs.training import train_run

@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    d = tmp_path_factory.mktemp('label')
    write_scenes(d/'data', n_train=24, n_val=2, n_test=0, size=(32,64))
    small = dict(junior='test_efficientnet+fpn:32', pretrained=False, labelled='8', size=(32,64), bs=4, epochs=1, probe=0, checkpoint=None)
    pair = dict(senior='test_resnet+fpn:32', method='cps', method_args=dict(warmup=0, ramp=0))
    each = dict(pair=pair, teacher=dict(method='mean_teacher', method_args=dict(warmup=0, ramp=0, cap=.9)), one=dict(method='supervised'))
    return {k:train_run(d/k, RunConfig(str(d/'data'), **small | kw)) for k,kw in each.items()}

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
    all_of_them = image_scores(run, pairs).sort_values('score', ascending=False, kind='stable')
    assert list(df.name)==list(all_of_them.name[:4]) and (df.score==df.doubt).all() and df.score.max()<=np.log(2)

def test_scores_do_not_depend_on_the_batch(runs):
    run = runs['pair']
    pairs = run.source().train[:5]
    a,b = (image_scores(run, pairs, bs=n) for n in (1,4))
    pd.testing.assert_frame_equal(a, b, rtol=1e-3)
    assert np.allclose(*(image_features(run, pairs, bs=n) for n in (1,4)), rtol=1e-3, atol=1e-5)

def test_more_than_there_are(runs): assert len(suggest(runs['one'], 100))==16

def test_the_list_can_be_trained_with(runs, tmp_path, capsys):
    run = runs['one']
    main(f'suggest {run.path} --n 3 --out {tmp_path}/next.txt'.split())
    assert 'entropy of junior, because the run has one network' in capsys.readouterr().out
    names = read_names(tmp_path/'next.txt', {p.name for p in run.source().train})
    assert len(names)==3 and set(names)<=unlabelled(run)

def test_nothing_left_to_label(runs, tmp_path):
    run = train_run(tmp_path/'all', RunConfig(str(runs['one'].config.data), junior='test_efficientnet+fpn:32', method='supervised', pretrained=False,
        labelled='24', size=(32,64), bs=4, epochs=1, probe=0, checkpoint=None))
    with pytest.raises(ValueError, match='every image of its training part is labelled'): suggest(run)
