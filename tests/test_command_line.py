"Options, defaults and help of every command come from the functions behind it and from `RunConfig`; no default is repeated"
import os, resource, subprocess, sys
from dataclasses import MISSING, fields
from importlib import import_module
from inspect import Parameter, signature
from operator import attrgetter
from pathlib import Path
from typing import Literal, get_args, get_origin
import pytest
from segkc_fastai.cli import COMMANDS, main, parser
from segkc_fastai.core.commands import options, outline
from segkc_fastai.core.kinds import fits
from segkc_fastai.runs.config import RunConfig
from segkc_fastai.runs.recipes import RECIPES

FUNCTIONS = sorted({s for c in COMMANDS.values() for s in c.sources if isinstance(s, str)})
SETTINGS = {f.name:f.default for f in fields(RunConfig) if f.default is not MISSING}

def real(where):
    module,_,name = where.partition(':')
    return attrgetter(name)(import_module(f'segkc_fastai.{module}'))

def given(line): return vars(parser().parse_args(line.split()))

def shown(line, capsys):
    with pytest.raises(SystemExit) as e: parser().parse_args(line.split())
    assert e.value.code==0
    return capsys.readouterr().out

def words(text): return ' '.join(text.split())

# ---- defaults

@pytest.mark.parametrize('where', FUNCTIONS)
def test_an_outline_has_the_signature_of_the_function(where):
    read,found = dict(signature(outline(where)).parameters),signature(real(where)).parameters
    read.pop('cls', None)
    assert list(read)==list(found)
    for k,p in read.items():
        if p.default is not ...: assert p.default==found[k].default and p.kind==found[k].kind, k

def least(name):
    "The shortest command line that a command accepts"
    c,needed = COMMANDS[name],{k:o for k,o in COMMANDS[name].options.items() if o.default is Parameter.empty}
    word = lambda o: get_args(o.base)[0] if get_origin(o.base) is Literal else 'x'
    front,rest = [k for k in c.positional if k in needed],[k for k in needed if k not in c.positional]
    return ' '.join([name, *(word(needed[k]) for k in front), *(f'{c.flags(k)[0]} {word(needed[k])}' for k in rest)]),set(needed)

@pytest.mark.parametrize('name', COMMANDS)
def test_the_parser_has_no_defaults(name):
    line,needed = least(name)
    assert set(given(line))=={'command', *needed}

def test_an_option_declared_by_a_command_has_no_second_default():
    for k,c in COMMANDS.items():
        theirs = {n for s in c.sources for n in options(s)}
        for n,o in options(c.f).items():
            if o.docment and o.default is not Parameter.empty: assert n not in theirs and o.default in (None, False), (k, n)

def test_a_setting_has_one_default():
    "Functions of the library that take the same setting have the same default"
    loaders = 'data.loaders:SemiDataLoaders'
    for where in [*FUNCTIONS, f'{loaders}.from_folder', f'{loaders}.from_lists', 'data.splits:hold_out', 'runs.grid:run_grid']:
        for n,p in signature(real(where)).parameters.items():
            plain = p.default is Parameter.empty or p.default is None
            if n in SETTINGS and not plain: assert p.default==SETTINGS[n], (where, n)

@pytest.mark.parametrize('name', ['train','compare','ablate'])
def test_help_shows_the_defaults_of_the_settings(name, capsys):
    text = words(shown(f'{name} --help', capsys))
    plain = [o.default for k,o in COMMANDS[name].options.items() if k in SETTINGS and type(o.default) in (str,int,float)]
    for o in plain: assert f'(default: {o:g})' in text if isinstance(o, float) else f'(default: {o})' in text
    assert '(default: 320,320)' in text and '(default: 0.001)' in text and 'None' not in text and '`' not in text

def test_choices_are_those_of_the_library():
    choices = lambda name,k: get_args(COMMANDS[name].options[k].base)
    from segkc_fastai.data.download import DOWNLOADS
    from segkc_fastai.deploy.export import _FORMATS
    from segkc_fastai.evaluate.inference import MODES
    assert choices('get', 'name')==tuple(DOWNLOADS) and choices('eval', 'mode')==choices('train', 'evaluate')==MODES
    assert set(choices('export', 'to'))=={*_FORMATS, 'safetensors'}

@pytest.mark.parametrize('name', COMMANDS)
def test_every_option_has_a_help_text(name):
    for k,o in COMMANDS[name].options.items():
        assert o.docment, k
        known = isinstance(o.default, (str,int,float,tuple)) and (k, o.default)!=('labelled', '1/8') # in a grid of several
        assert not known or fits(o.default, o.hint), (k, o.default)

# ---- help

def test_settings_are_grouped_in_the_order_of_a_run(capsys):
    heads = lambda text: [o[:-1] for o in text.splitlines() if o.endswith(':') and not o.startswith(' ')]
    groups = ['options','Data','Networks','Method','Schedule','Machine','Run','example']
    for name in ('train','compare','ablate'): assert heads(shown(f'{name} --help', capsys))==groups
    assert heads(shown('eval --help', capsys))==['positional arguments','options','example']
    text = shown('compare --help', capsys)
    at = lambda o: text.index(f'\n  {o} ')
    assert at('--frozen')<at('--methods')<at('--method-arg') and at('--schedule')<at('--seeds')<at('--precision')
    assert '--seed N' not in text and '--sync-bn' not in text

@pytest.mark.parametrize('name', COMMANDS)
def test_the_example_of_a_command_is_accepted(name, capsys):
    text = shown(f'{name} --help', capsys)
    assert text.rstrip().endswith(f'example:\n  {COMMANDS[name].example}')
    assert given(COMMANDS[name].example.removeprefix('segkc '))['command']==name
    assert text.startswith(f'usage: segkc {name} ') and COMMANDS[name].f.__doc__.partition(';')[0] in words(shown('--help', capsys))

BLOCKED = """import sys
for o in ('torch','fastai','timm','pandas','torchvision','matplotlib'): sys.modules[o] = None
from segkc_fastai.cli import COMMANDS, main
run,data,free = sys.argv[1:]
wrong = f'''

train
train --zzz
train --epochs 0
train --resume x --random
train --resume x
train --resume {run}
train --from x --labelled 8
train --data x
train --data x --recipe zzz
train --data {data} --method pcs
train --data {data} --method-arg tau=1
train --data {data} --labelled 99
train --data {data} --labelled x.txt
train --data {data} --layout zzz
train --data {data} --out {data}
compare --data x
compare --data x --split zzz
compare --data {data} --methods cps,pcs
compare --data {data} --method-arg tau=1
compare --data {data} --labelled 8,99
ablate --data x
ablate --data {data} --method-arg tau=1
forecast --data x
forecast --data {data} --method pcs
forecast --data {data} --method supervised
forecast --data {data} --labelled 3
forecast --data {data} --labelled 8 --minutes 0
forecast --data {data} --labelled 8 --out {data}/task.json
eval x
eval {run} --member boss
eval {run} --data x
card x
suggest x
suggest {run} --out a.csv
suggest {run}
check-labels --data x
check-labels --data {data} --folds 1
check-labels --data {data} --labelled 2
figures x
figures {run} --formats gif
lab x
lab --runs x
label x
label {run} x.txt
predict x {data} --out {free}
predict {run} x --out {free}
predict {run} {data} --out {data}
export x
export {run} --out a.pt
export {run} --int8 x
audit x
audit {data} --layout zzz
import x {free}
export-labels x {data} a.json
split x --out {free}
split {data} --labelled 99 --out {free}
get zzz
get cityscapes {free}
get voc {run}/card.md
demo --out {data}'''.splitlines()
for line in ['--help', *(f'{k} --help' for k in COMMANDS), *wrong]:
    try: main(line.split())
    except SystemExit as e:
        if 'import of' not in str(e): continue
    sys.exit(f'{line}: did not exit')
"""

def test_help_and_wrong_arguments_need_nothing_slow(drawn_scenes, tmp_path):
    run = Path(__file__).parent/'runs_of_0_1'/'finished'
    r = subprocess.run([sys.executable, '-W', 'ignore', '-c', BLOCKED, run, drawn_scenes, tmp_path/'free'], capture_output=True, text=True, cwd=tmp_path)
    assert r.returncode==0, r.stdout[-1000:]+r.stderr[-2000:]
    assert not (tmp_path/'free').exists()

@pytest.mark.parametrize('line', ['--help','train --help','compare --help','train --epochs 0'])
def test_help_is_quick(line):
    "Limits processor time, since the machine may be busy"
    spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    before = spent()
    env = os.environ | dict(OMP_NUM_THREADS='1')
    r = subprocess.run([sys.executable, '-m', 'segkc_fastai.cli', *line.split()], capture_output=True, text=True, env=env)
    assert 'segkc' in r.stdout+r.stderr and spent()-before<1, spent()-before
    if line=='--help': assert 'demo' in r.stdout and 'train' in r.stdout

# ---- values

@pytest.mark.parametrize('line, want', [
    ('train --labelled-list a.txt', dict(labelled='a.txt')),
    ('train --random --sync-bn', dict(pretrained=False, sync_bn=True)),
    ('train --frozen senior junior --bs 4', dict(frozen=('senior','junior'), bs=4)),
    ('train --method-arg ramp=.5 --method-arg cutmix=False --strong p_blur=0', dict(method_args=dict(ramp=.5, cutmix=False), strong=dict(p_blur=0))),
    ('train --size 64x96 --scale 0.75,1.5 --checkpoint none --lr-ratio 40', dict(size=(64,96), scale=(.75,1.5), checkpoint=None, lr_ratio=40.)),
    ('compare --data d --labelled 1/16,1/8 --seeds 0,1 --methods cps,segkc', dict(data='d', labelled=('1/16','1/8'), seeds=(0,1), methods=('cps','segkc'))),
    ('compare --data d --seeds 0 1 2 --published', dict(data='d', seeds=(0,1,2), published=True)),
    ('lab', {}), ('lab r --no-browser', dict(run='r', browser=False)),
    ('figures a,b c --formats png,pdf', dict(runs=['a,b','c'], formats=('png','pdf'))),
    ('figures --formats png c', dict(runs=['c'], formats=('png',))),
    ('eval r --scales 0.75,1 --mode sliding --flip', dict(run='r', scales=(.75,1.), mode='sliding', flip=True)),
    ('predict n f --out o --shard 3/4', dict(path='n', folder='f', out='o', shard=(3,4))),
    ('audit d --json f --size 64,96', dict(path='d', json='f', size=(64,96))),
    ('export r --int8 d --dynamic', dict(path='r', int8='d', dynamic=True)),
    ('get voc', dict(name='voc')),
])
def test_values_of_options(line, want): assert given(line)==dict(want, command=line.split()[0])

@pytest.mark.parametrize('line, said', [
    ('train --epochs 0', "--epochs: '0': must be a whole number of at least 1"),
    ('train --size 32', "--size: '32': must be height,width in pixels"),
    ('train --lr nan', "--lr: 'nan': must be a number above 0"),
    ('train --method-arg x', "--method-arg: 'x': must be NAME=VALUE"),
    ('predict n f --out o --shard 4/4', "--shard: '4/4': must be i/n with i from 0 to n-1, such as 0/4"),
    ('compare --data d --seeds -1', '--seeds'), ('train --precision fp8', 'fp32'), ('audit', 'FOLDER'), ('split d', '--out'), ('compare', '--data'),
])
def test_an_error_names_the_option_and_the_value(line, said, capsys):
    with pytest.raises(SystemExit, match='2'): given(line)
    assert said in capsys.readouterr().err.splitlines()[-1]

@pytest.mark.parametrize('other', ['--epochs 3', '--random', '--method-arg a=1', '--data d', '--out o', '--seed 0'])
def test_resume_excludes_all_other_options(other):
    with pytest.raises(SystemExit, match=f'^segkc: {other.split()[0]}: not allowed with --resume'): main(f'train --resume x {other}'.split())

def test_a_recipe_is_a_set_of_settings():
    from segkc_fastai.runs.settings import stated
    for k,cls in RECIPES.items():
        c = stated(dict(data='d', recipe=k, labelled='1/4', epochs=3, method_args=dict(ramp=.5)))
        assert (c.recipe, c.labelled, c.epochs, c.bs, c.method_args)==(k, '1/4', 3, cls.bs, cls('d').method_args | dict(ramp=.5))
