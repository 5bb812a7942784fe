"Forecasts: mistakes before anything is trained, the command and its files, and statistics on invented counts"
import json, math, os, shutil
import pytest, torch
from segkc_fastai.cli import main
from segkc_fastai.core.files import read_json, write_json
from segkc_fastai.runs.forecast import INTERVAL_LEVEL, Forecast, resampled

NETS = '--junior test_efficientnet+fpn:32 --senior test_resnet+fpn:32 --random --size 64,96 --bs 4 --probe 2'

def forecast(data, out, more): return main(f'forecast --data {data} --out {out} {more}'.split())

@pytest.fixture
def scenes(drawn_scenes, tmp_path): return shutil.copytree(drawn_scenes, tmp_path/'scenes')

@pytest.mark.parametrize('more, said', [
    ('--labelled 3', 'labelled: 3 images; label at least 4'),
    ('--labelled 24', 'no unlabelled images; add images without masks'),
    ('--labelled 8 --method supervised', 'learns from labelled images only; choose from mean_teacher'),
    ('--labelled 8 --method zzz', "unknown method 'zzz'; choose from"),
    ('--labelled 8 --probe 0', 'probe=0: a forecast follows some images'),
    ('--labelled 8 --method-arg tau=1', "'tau': no method takes it")])
def test_mistakes(scenes, tmp_path, more, said):
    with pytest.raises(SystemExit, match=said): forecast(scenes, tmp_path/'out', more)
    assert not (tmp_path/'out').exists()

def test_no_validation_images(scenes, tmp_path):
    shutil.rmtree(scenes/'val')
    with pytest.raises(SystemExit, match='val'): forecast(scenes, tmp_path/'out', '--labelled 8')
    assert not (tmp_path/'out').exists()

def test_one_class(scenes, tmp_path):
    write_json(scenes/'task.json', read_json(scenes/'task.json') | dict(classes=['all'], palette=[[9,9,9]]))
    with pytest.raises(SystemExit, match="one class, 'all'; add the background"): forecast(scenes, tmp_path/'out', '--labelled 8')

@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid()==0, reason='everything can be written to by root')
def test_folder_that_cannot_be_written(scenes, tmp_path):
    (tmp_path/'locked').mkdir(mode=0o500)
    with pytest.raises(SystemExit, match='locked cannot be written to'): forecast(scenes, tmp_path/'locked'/'out', '--labelled 8')

def test_the_command_writes_its_files_and_resumes(scenes, tmp_path, capsys):
    line = f'--labelled 4 --method mean_teacher --method-arg warmup=0 --seeds 0 --steps 4 {NETS}'
    forecast(scenes, tmp_path/'out', line)
    text,first = capsys.readouterr().out,(tmp_path/'out'/'forecast.json').read_text()
    assert 'epoch' in text and (tmp_path/'out'/'forecast.md').read_text() in text and (tmp_path/'out'/'forecast.png').is_file()
    f = json.loads(first)
    assert f['labelled']==[2,4] and f['unlabelled']==20 and f['val']==4 and f['advice']=='too short to tell' and not f['agreement'] and f['ahead'] is None
    assert len([*(tmp_path/'out'/'4-steps').glob('*/card.md')])==4
    forecast(scenes, tmp_path/'out', line)
    assert 'train_loss' not in capsys.readouterr().out and (tmp_path/'out'/'forecast.json').read_text()==first

def test_a_list_is_halved(scenes, tmp_path):
    names = [f'scene_{i:05}' for i in range(6)]
    (tmp_path/'list.txt').write_text('\n'.join(names))
    forecast(scenes, tmp_path/'out', f'--labelled {tmp_path}/list.txt --method mean_teacher --seeds 0 --steps 1 {NETS}')
    half = (tmp_path/'out'/'1-steps'/'supervised-3-names-seed0'/'labelled.txt').read_text().splitlines()[1:]
    assert half==names[::2]

@pytest.mark.filterwarnings('ignore:group')
def test_whole_groups_may_leave_no_half(scenes, tmp_path):
    with pytest.raises(SystemExit, match='whole groups of [0-9]+ labelled images are those of [0-9]+; label more groups'):
        forecast(scenes, tmp_path/'out', f'--labelled 8 --group ^.{{10}} --method mean_teacher --seeds 0 --steps 1 {NETS}')

def test_too_few_minutes_say_how_many_are_needed(scenes, tmp_path):
    with pytest.raises(SystemExit, match='a forecast needs 600; pass minutes='):
        forecast(scenes, tmp_path/'out', f'--labelled 4 --method mean_teacher --seeds 0 --minutes .001 {NETS}')

def invented(images, better, seed):
    "Counts of two arms on the same images of two classes, which differ in difficulty; the second is right on `better` more pixels"
    g = torch.Generator().manual_seed(seed)
    right = torch.randint(300, 700, (images,1), generator=g)+torch.stack([torch.zeros(images), better+20*torch.randn(images, generator=g)], 1)
    both = torch.stack([right, right], -1) # (images, arms, classes)
    size = torch.full_like(both, 1000)
    return torch.stack([both, size, size], 2).permute(1,0,2,3)[:,None].double()

def interval(counts):
    draws = resampled(counts)[...,-1]
    return (draws[:,1]-draws[:,0]).quantile(torch.tensor([.5-INTERVAL_LEVEL/2,.5+INTERVAL_LEVEL/2]).double())

def test_pairs_find_a_difference_that_single_intervals_hide():
    counts = invented(40, 25., 0)
    low,high = interval(counts)
    alone = resampled(counts)[...,-1].std(0)
    assert 0<low<high and high-low<alone.min()

def test_intervals_hold_what_they_promise():
    "The difference over very many images lies inside in about INTERVAL_LEVEL of the samples"
    at = resampled(invented(20000, 15., 1), 0)[0,:,-1]
    inside = [bool(low<=at[1]-at[0]<=high) for low,high in (interval(invented(50, 15., s)) for s in range(100))]
    assert .78<=sum(inside)/100<=.98

def test_a_class_that_the_ground_truth_lacks_is_left_out_of_every_arm():
    "Promised: A gain compares the same classes. Attacked: Five wrong pixels of a class that no mask shows, or only one of four"
    c = torch.zeros(2, 1, 4, 3, 2).double()
    c[...,0] = 10
    c[0,0,0,1,1] = 5
    assert (resampled(c, 0)[...,-1]==100).all() and (resampled(c)[...,-1]==100).all()
    c[:,:,3,:,1] = 2
    draws = resampled(c)
    assert torch.equal(draws[...,1].isnan()[:,0], draws[...,1].isnan()[:,1]) and (draws[draws[...,1].isnan()][:,-1]==100).all()

@pytest.mark.parametrize('labelled, worth', [([4,8], 8), ([2,5], 7.5), ([3,5], 5*(5/3-1))])
def test_a_doubling_is_twice_the_labels(labelled, worth):
    "Promised: The method is worth as many labels as bring as much. Attacked: Half of five labels; the method brings as much as all labels over half"
    f = Forecast('d', 'segkc', labelled, 95, 10, [0], 600, {}, [[2.,0,4], [3.,1,5]], [3,0,6], dict(supervised=[3.,1,5], segkc=[4.,1,5]), None, [], [], '', '')
    per = 3/math.log2(labelled[1]/labelled[0])
    assert f.worth==pytest.approx(worth) and f'Twice the labels: {per:+.1f} for' in f.markdown()
