"TensorBoard and Weights & Biases get terms, metrics, IoU per class and pictures, and the training is the same"
import numpy as np, pytest, torch, wandb
from conftest import learner
from segkc_fastai.train.probe import ProbeRecorder
from segkc_fastai.train.tracking import trackers
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    for k,v in dict(MODE='offline', DIR=str(tmp_path), SILENT='true').items(): monkeypatch.setenv(f'WANDB_{k}', v)

def test_a_tracked_training_is_the_same(scenes, tmp_path, monkeypatch):
    plain = learner(scenes)
    with plain.no_bar(), plain.no_logging(): plain.fit(1, cbs=ProbeRecorder(tmp_path/'a', n=2))
    tracked,logged = learner(scenes),[] # the same seed again
    cbs = [ProbeRecorder(tmp_path/'b', n=2), *trackers('run', tmp_path/'events', 'project')]
    log = wandb.log # replaced by `wandb.init`
    monkeypatch.setattr(wandb, 'log', lambda d: (logged.append(d), log(d))[1])
    with tracked.no_bar(), tracked.no_logging(): tracked.fit(1, cbs=cbs)
    for a,b in zip(plain.model.parameters(), tracked.model.parameters()): assert torch.equal(a, b)
    found = EventAccumulator(str(tmp_path/'events')).Reload()
    want = {'train_loss','sup','cps_senior','kc_features_junior','junior_miou','iou/senior/road','iou/junior/road'}
    assert want<=set(found.Tags()['scalars']) and len(found.Tags()['images'])==2
    last = {k:v for d in logged for k,v in d.items()}
    assert want<=set(last) and sum(isinstance(v, wandb.Image) for v in last.values())==2
    assert np.isclose(found.Scalars('iou/junior/road')[-1].value, last['iou/junior/road'], equal_nan=True)
    assert wandb.run is None and list((tmp_path/'wandb').glob('offline-run-*'))
