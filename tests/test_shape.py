"The notebooks keep the shape of a text: short cells, each definition with its example, prose between them"
import importlib.util
from pathlib import Path
import pytest

spec = importlib.util.spec_from_file_location('shape', Path(__file__).resolve().parents[1]/'.ci'/'shape.py')
shape = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shape)

BOUNDS = {'lines an exported cell, median':(0,9), 'longest exported cell':(0,40), 'assertions an exported line':(.15,9),
    'definitions with an example, %':(70,100), 'words of prose an exported line':(2.5,4), 'lines over 120 characters, %':(0,2), 'lines over 160 characters':(0,0)}

@pytest.fixture(scope='module')
def measures(): return shape.total(shape.notebooks()).measures()

@pytest.mark.parametrize('name', BOUNDS)
def test_bound(measures, name):
    low,high = BOUNDS[name]
    assert low<=measures[name]<=high, f'{name}: {measures[name]:.3g}, expected {low} to {high}; `make shape` prints all measures'

def write(tmp_path, *cells):
    "A notebook of these cells; those that begin with # and a space are prose"
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
    import nbformat
    nb = new_notebook(cells=[new_markdown_cell(o) if o.startswith('# ') else new_code_cell(o) for o in cells])
    nbformat.write(nb, tmp_path/'a.ipynb')
    return shape.shape(tmp_path/'a.ipynb').measures()

def test_measures(tmp_path):
    f,g = '#| export\ndef f():\n    return 1\n\n','#| export\ndef g(): return 2'
    m = write(tmp_path, '# three words here', f, 'test_eq(f(), 1)\nassert f()', g, '#| export\nK = 3', 'with expect_fail(): g(1)', '#| export\ndef h(): pass')
    assert m['exported cells']==4 and m['exported lines']==5 and m['longest exported cell']==2
    assert m['assertions an exported line']==3/5 and m['words of prose an exported line']==4/5
    assert m['definitions with an example, %']==pytest.approx(200/3) # h has none

def test_width(tmp_path):
    m = write(tmp_path, '#| export\nx = 1\n'+'y'*130, 'z'*170, '%magic\n!ls')
    assert m['lines over 120 characters, %']==40 and m['lines over 160 characters']==1
