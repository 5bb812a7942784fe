"What several tests share: small scenes, small networks, and the reference vectors where they lie beside the repository"
import os
from pathlib import Path
import numpy as np, pytest

GOLDEN = Path(os.environ.get('SEGKC_GOLDEN', Path(__file__).parents[2]/'shared'/'golden'))
SMALL = dict(junior='mobilenetv4_conv_small+fpn:32', senior='resnet18+fpn:32', labelled=8, epochs=2, size=(64,96), bs=4, pretrained=False, device='cpu')

@pytest.fixture
def golden():
    "Reads a file of reference vectors; skips where there is none"
    def read(name):
        path = GOLDEN/f'{name}.npz'
        if not path.is_file(): pytest.skip(f'no reference vectors at {path}; set SEGKC_GOLDEN to their folder')
        return dict(np.load(path))
    return read

@pytest.fixture
def scenes(tmp_path):
    from segkc_fastai.data.scenes import write_scenes
    return write_scenes(tmp_path/'scenes', n_train=24, n_val=4, n_test=4)
