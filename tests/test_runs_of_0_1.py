"Runs of version 0.1, whose config.json has the first format, open in every reader and resume"
import json, shutil
from pathlib import Path
import pytest
from segkc_fastai.cli import main
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.runs.config import FORMAT
from segkc_fastai.runs.folder import Run, run_results
from segkc_fastai.runs.run_card import card, compare_cards
from segkc_fastai.train.probe import Probe
from segkc_fastai.view.results import all_figures

OLD = Path(__file__).parent/'runs_of_0_1'

@pytest.fixture(scope='module')
def old(tmp_path_factory):
    "Copies of both runs, and the scenes they were trained on"
    d = tmp_path_factory.mktemp('old')
    write_scenes(d/'scenes', n_train=24, n_val=4, n_test=4)
    for k in ('finished','stopped'):
        shutil.copytree(OLD/k, d/k)
        c = json.loads((d/k/'config.json').read_text())
        assert c['format']==1<FORMAT
        (d/k/'config.json').write_text(json.dumps(c | dict(data=str(d/'scenes'))))
    return d

def test_every_reader(old, tmp_path, capsys):
    run = Run(old/'finished')
    assert run.source().task==run.task and set(run.networks())=={'senior','junior'} and run.report().miou>0
    assert Probe(run).records==[(0,4),(1,8)] and run_results(run)['last']['epoch']==2
    assert 'test_efficientnet+segformer:16' in card(run) and '| finished | segkc |' in compare_cards([run, Run(old/'stopped')])
    main(f'card {old}/finished {old}/stopped'.split())
    assert 'cannot be compared with' in capsys.readouterr().out
    files,left = all_figures([run.path, old/'stopped'], tmp_path)
    assert len(files)>=10, left
    main(f'eval {old}/finished --split val'.split())
    main(f'predict {old}/finished {old}/scenes/test/images --out {tmp_path}/masks --device cpu'.split())
    assert len(list((tmp_path/'masks').rglob('*.png')))==4

def test_the_stopped_run_resumes(old):
    first = Run(old/'stopped').history
    main(f'train --resume {old}/stopped'.split())
    run = Run(old/'stopped')
    assert run.finished and len(run.history)==2 and run.history.iloc[0].equals(first.iloc[0])
    assert json.loads((run.path/'config.json').read_text())['format']==1, 'a resumed run keeps its config'
    with pytest.raises(SystemExit) as e: main(f'train --resume {old}/stopped'.split())
    assert 'this run is finished after 2 epochs' in str(e.value)
