"Piped output has no progress bars and no irrelevant warnings of other libraries"
import subprocess, sys

PIPED = '''
import sys, timm, torch, warnings
from pathlib import Path
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.models.segmenter import Segmenter
from segkc_fastai.train.learner import dual_learner
data,file = map(Path, sys.argv[1:])
torch.save(timm.create_model('test_resnet').state_dict(), file) # with a classifier, which an encoder lacks
net = Segmenter('test_resnet', 'fpn', 8, width=32, encoder_args=dict(pretrained_cfg_overlay=dict(file=str(file))))
assert net.pretrained and all((v==net.encoder.state_dict()[f'model.{k}']).all() for k,v in torch.load(file).items() if f'model.{k}' in net.encoder.state_dict())
dls = SemiDataLoaders.from_folder(data, labelled=8, size=(64,96), bs=4, device='cpu')
learn = dual_learner(dls, net, 'test_efficientnet+fpn:32', pretrained=False)
learn.fit_one_cycle(3, 1e-3)
learn.validate()
with learn.no_bar(), learn.no_logging(): learn.fit(1)
learn.get_preds()
learn.lr_find(show_plot=False, num_it=4)
learn.fit(1)
warnings.warn('mine', FutureWarning)
'''

def test_a_piped_training_prints_one_line_per_epoch(scenes, tmp_path):
    "Two tables of 3 and 1 epochs with headings, and no warning but the user's own"
    res = subprocess.run([sys.executable, '-c', PIPED, scenes, tmp_path/'w.pth'], capture_output=True, text=True)
    assert res.returncode==0, res.stderr
    lines = res.stdout.splitlines()
    assert max(map(len, lines))<=120 and [o.split()[0] for o in lines]==['In','epoch','0','1','2','In','epoch','0'] and '\r' not in res.stdout
    assert len(res.stderr.splitlines())==1 and 'FutureWarning: mine' in res.stderr
