"""How well wrong labels are found: `python tests/label_noise.py` puts errors into a fifth of the labelled masks, looks for
them, and writes nbs/results/label_errors.csv. Runs are in runs/label_noise, where an interrupted benchmark resumes. It takes
about half an hour on one core. Names of SETS as arguments compute these alone, and keep the other rows.

The folder with nuclei is $SEGKC_DATA, or shared/data beside the repository. cleanlab, whose licence is the AGPL, is compared if
it can be imported, and is no dependency. Thresholds were chosen on scenes with seed 3, which is not reported.

A region is right if at least half of its pixels were changed by an error, and no region before it was right about the same error.
Precision at k is the share of right regions among the first k, with k the number of errors; recall at 2k is the share of
errors that the first 2k regions find, also of each kind. An image is right if its mask was changed."""
import json, os, shutil, sys, warnings
from dataclasses import replace
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, pandas as pd
from PIL import Image
from scipy import ndimage
from segkc_fastai.core.files import replacing
from segkc_fastai.data.benchmarks import load_source
from segkc_fastai.data.drawing import CAR, PEDESTRIAN, POLE, TREE
from segkc_fastai.data.labels import read_image, read_mask
from segkc_fastai.data.scenes import write_scenes
from segkc_fastai.data.splits import split_source
from segkc_fastai.evaluate.inference import image_probabilities
from segkc_fastai.label.errors import LEAST, READINGS, SMALLEST, label_errors, suspicion
from segkc_fastai.runs.folder import Run
from segkc_fastai.runs.recipes import recipe
from segkc_fastai.view.figures import grid, save_figure
from segkc_fastai.view.overlay import overlay
from studies import DATA, ROOT
try: from cleanlab.segmentation.filter import find_label_issues
except ImportError: find_label_issues = None
else: from cleanlab.segmentation.rank import get_label_quality_scores

RUNS = Path('runs')/'label_noise' # relative, because settings name the lists of labelled images
FILE = ROOT/'nbs'/'results'/'label_errors.csv'
LOOKED = ROOT/'nbs'/'results'/'label_errors_looked.csv'
IMAGES,LABELLED,SHARE,BY,AREA = 300,240,.2,6,60 # all images, labelled ones, share with an error, pixels of a shift, smallest object
SETS = ('scenes',0),('scenes',1),('nuclei',0)
OBJECTS = dict(scenes=(TREE,CAR,POLE,PEDESTRIAN), nuclei=(1,))
KINDS = dict(scenes=('flip','drop','add','shift'), nuclei=('drop','add','shift')) # with two classes, a flip is a drop

# ---- errors

def objects(mask, classes):
    "Class and place, (H,W) bool, of the objects of a mask that are neither tiny nor large"
    found = [(k,parts==i) for k in classes for parts,n in [ndimage.label(mask==k)] for i in range(1, n+1)]
    return [(k,o) for k,o in found if AREA<=o.sum()<mask.size/8]

def moved(o, dy, dx):
    "A place moved by some pixels; what leaves the image is lost"
    return ndimage.shift(o, (dy,dx), order=0)

def around(mask, o):
    "The most frequent class beside an object"
    return np.bincount(mask[ndimage.binary_dilation(o, iterations=3) & ~o]).argmax()

def place(r, o, mask, classes):
    "An object moved to a place without one, or None"
    for _ in range(50):
        ys,xs = np.nonzero(o)
        to = r.integers(0, mask.shape[0]-np.ptp(ys)),r.integers(0, mask.shape[1]-np.ptp(xs))
        new = moved(o, to[0]-ys.min(), to[1]-xs.min())
        if new.sum()==o.sum() and not np.isin(mask[new], classes).any(): return new

def wrong(r, mask, kind, classes):
    "A copy of a mask with an error, or None if it has no object for it"
    found,new = objects(mask, classes),mask.copy()
    if not found: return None
    k,o = found[r.integers(len(found))]
    if kind=='flip': new[o] = r.choice([c for c in classes if c!=k])
    if kind in ('drop','shift'): new[o] = around(mask, o)
    to = place(r, o, mask, classes) if kind=='add' else moved(o, *[(0,BY),(0,-BY),(BY,0),(-BY,0)][r.integers(4)])
    if kind in ('add','shift') and to is not None: new[to] = k
    return new if (new!=mask).sum()>=AREA/2 else None

def originals(name, seed, path):
    "Some images of a data set with their masks, in a folder of their own"
    if name=='scenes': return write_scenes(path, n_train=IMAGES, n_val=8, n_test=0, size=(96,144), seed=seed)
    src = load_source(DATA/name)
    for part,n in dict(train=IMAGES, val=8).items():
        for i in np.random.default_rng(seed).permutation(len(src.part(part)))[:n]:
            for k in ('image','mask'):
                (path/part/f'{k}s').mkdir(parents=True, exist_ok=True)
                shutil.copy(getattr(src.part(part)[i], k), path/part/f'{k}s')
    shutil.copy(DATA/name/'task.json', path)
    return path

def spoilt(name, seed):
    "Folder of a data set with errors, which `errors.json` lists: name → kind; the original is beside it"
    top = RUNS/f'{name}-seed{seed}'
    if (top/'data'/'errors.json').is_file(): return top/'data'
    shutil.rmtree(top/'data', ignore_errors=True)
    shutil.copytree(originals(name, seed, top/'clean'), top/'data')
    src,r,done = load_source(top/'data'),np.random.default_rng(seed),{}
    labelled,kinds = split_source(src, LABELLED, seed).labelled,KINDS[name]
    for i in r.permutation(len(labelled)):
        if len(done)==round(SHARE*LABELLED): break
        kind,p = kinds[len(done)%len(kinds)],labelled[i]
        new = wrong(r, read_mask(p.mask, src.task), kind, OBJECTS[name])
        if new is None: continue
        Image.fromarray(new).save(p.mask)
        done[p.name] = kind
    (top/'data'/'errors.json').write_text(json.dumps(done))
    return top/'data'

def settings(name, data, seed):
    "Short trainings, 40 steps an epoch; without features in common, the networks err more independently"
    how = dict(scenes=dict(size=(64,96), epochs=15, lr=3e-3), nuclei=dict(size=(96,96), epochs=10))[name]
    config = recipe(dict(scenes='demo').get(name, name))(str(data))
    return replace(config, method='cps', method_args=dict(warmup=.5), labelled=str(LABELLED), seed=seed, checkpoint=None, **how)

# ---- rankings: score and place, (H,W) bool, of the regions of each image

def judged(run, pairs):
    "Name, probabilities (K,H,W) of junior and senior, and label of images"
    nets = {k:run.network(k) for k in ('junior','senior')}
    for o in pairs:
        ps = image_probabilities(nets, read_image(o.image), run.config, **READINGS)
        yield o.name,{k:p.numpy() for k,p in ps.items()},read_mask(o.mask, run.task)

def regions(where, other, score):
    "Connected places with the same other class that are not tiny, with the score of each"
    for k in np.unique(other[where]):
        parts,n = ndimage.label(where & (other==k))
        for i in range(1, n+1):
            if (o := parts==i).sum()>=SMALLEST: yield float(score(o)),o

def cross_entropy(p, label): return -np.log(np.take_along_axis(p, label[None].astype(int), 0)[0].clip(1e-7))

def ours(images, df, by_margin=False):
    "The regions of `label_errors`; an image is as bad as its worst"
    for name,ps,label in images:
        other,margin,_ = suspicion(list(ps.values()), label)
        found = []
        for r in df[df.name==name].itertuples():
            x0,y0,x1,y1 = r.box
            o = np.zeros(label.shape, bool)
            o[y0:y1,x0:x1] = True
            o &= (other==r.number)!=(label==r.number) if r.kind=='shifted object' else (margin>=LEAST) & (other==r.number)
            found.append((margin[o].sum()/label.size if by_margin else r.score, o))
        yield name,max((v for v,_ in found), default=0),found

def margins(images, df):
    "The same regions by the share of the image × the smaller margin"
    return ours(images, df, True)

def loss(images, df, area=0):
    "Where the junior's labels differ, by mean cross entropy; images by that of all pixels"
    for name,ps,label in images:
        p,ce = ps['junior'],cross_entropy(ps['junior'], label)
        yield name,ce.mean(),list(regions(p.argmax(0)!=label, p.argmax(0), lambda o: ce[o].mean()*o.sum()**area))

def large_loss(images, df):
    "The same by cross entropy × root of the area"
    return loss(images, df, .5)

def cleanlab(images, df):
    "The pixels that cleanlab lists for the junior, by the sum of one less their quality; images by its score. Sizes differ, so it sees one column"
    column = lambda of: np.concatenate([of(ps['junior'], label) for _,ps,label in images], -1)[None,...,None]
    labels,p = column(lambda p,label: label.ravel().astype(int)),column(lambda p,label: p.reshape(len(p), -1).astype(np.float64))
    issues,at = find_label_issues(labels, p, verbose=False).ravel(),0
    for name,ps,label in images:
        p,own = ps['junior'],issues[at:at+label.size].reshape(label.shape)
        at += label.size
        bad,quality = (o[0] for o in get_label_quality_scores(label[None].astype(int), p[None].astype(np.float64), verbose=False))
        yield name,-bad,list(regions(own, p.argmax(0), lambda o: (1-quality[o]).sum()/label.size))

RANKINGS = {'ours':ours, 'ours, by margin and area':margins, 'loss':loss, 'loss × root of area':large_loss} | (dict(cleanlab=cleanlab) if find_label_issues else {})

# ---- measures

def found_by(ranked, n):
    "The images whose errors the first `n` pairs of image and truth find"
    return {name for name,right in ranked[:n] if right}

def is_right(changed, name, o):
    "Was at least half of a region changed by an error? `changed` is name → (H,W) bool of the masks with an error"
    return name in changed and bool(changed[name][o].mean()>=.5)

def measures(found, changed, kinds):
    "Columns of the table in %; `changed` as for `is_right`, `kinds` is name → kind"
    k = len(changed)
    rows = sorted([(-s, name, is_right(changed, name, o)) for name,_,os in found for s,o in os])
    images = sorted([(-s, name, name in changed) for name,s,_ in found])
    by_region,by_image = ([o[1:] for o in rs] for rs in (rows, images))
    at = lambda ranked, n, of: round(100*len(found_by(ranked, n))/of, 1)
    res = {'regions':len(rows), 'precision at 10':at(by_region, 10, 10), 'precision at k':at(by_region, k, k), 'recall at 2k':at(by_region, 2*k, k)}
    for o in ('flip','drop','add','shift'):
        own = {n for n,v in kinds.items() if v==o}
        res[o] = round(100*len(found_by(by_region, 2*k) & own)/len(own), 1) if own else None
    return res | {'images: precision at k':at(by_image, k, k), 'images: recall at 2k':at(by_image, 2*k, k)}

def held(run, labelled):
    "The labelled images that a fold was not trained on"
    taken = {o.name for o in split_source(run.source(), run.config.labelled).labelled}
    return [o for k,o in labelled.items() if k not in taken]

class Checked:
    "A set with errors after `label_errors`"
    def __init__(self, name, seed):
        self.name,self.seed = name,seed
        data,top = spoilt(name, seed),RUNS/f'{name}-seed{seed}'
        self.kinds = json.loads((data/'errors.json').read_text()) # name → kind of error
        self.df,src = label_errors(settings(name, data, seed), top/'check', device='cpu'),load_source(data)
        self.task,self.df['number'] = src.task,self.df.other.map(src.task.classes.index)
        self.labelled = {o.name:o for o in split_source(src, LABELLED, seed).labelled}
        self.clean = {o.name:read_mask(o.mask, src.task) for o in load_source(top/'clean').train if o.name in self.kinds}
        self.changed = {k:read_mask(self.labelled[k].mask, src.task)!=o for k,o in self.clean.items()} # where errors are, (H,W) bool
        runs = [Run(top/'check'/f'fold-{i}') for i in range(3)]
        self.images = [o for run in runs for o in judged(run, held(run, self.labelled))]

def rows(c):
    "A row of the table for each ranking"
    for how,f in RANKINGS.items():
        yield dict(data=c.name, seed=c.seed, ranking=how, errors=len(c.changed)) | measures(list(f(c.images, c.df)), c.changed, c.kinds)

def window(box, shape, size=(64,96)):
    "Slices of a window of a size that has the box in the middle, moved into the image"
    starts = [min(max((a+b-n)//2, 0), max(full-n, 0)) for a,b,n,full in zip(box[1::-1], box[:1:-1], size, shape)]
    return tuple(slice(o, o+n) for o,n in zip(starts, size))

def draw(c, n=6):
    "The first regions: image, label, what the junior says, and the label before errors were put in"
    said,shown = {k:ps['junior'].argmax(0) for k,ps,_ in c.images},[]
    for r in c.df[:n].itertuples():
        label,im = read_mask(r.mask, c.task),np.array(read_image(r.image))
        at = window(r.box, label.shape)
        shown.append([im[at], *(overlay(im, o, c.task)[at] for o in (label, said[r.name], c.clean.get(r.name, label)))])
    save_figure(grid(shown, ['image','label','networks','before'], [*c.df.kind[:n]], 5.5), ROOT/'nbs'/'images'/f'label_errors_{c.name}.png')

# ---- the regions that no error explains

def unexplained(c):
    "Those of the first k regions of which less than half was changed, with the verdicts so far"
    df,right = c.df[:len(c.changed)],{}
    for name,_,found in ours(c.images, df):
        for i,(_,o) in zip(df.index[df.name==name], found): right[i] = is_right(c.changed, name, o)
    df = df[~df.index.map(right).astype(bool)].assign(place=lambda t: t.index+1, box=lambda t: [' '.join(map(str, o)) for o in t.box])
    old = pd.read_csv(LOOKED) if LOOKED.exists() else pd.DataFrame(columns=['name','box','verdict','seen'])
    return df[['place','name','kind','box']].merge(old[['name','box','verdict','seen']], how='left')

def draw_unexplained(c, df):
    "Each region twice, with stretched contrast: the image alone, and with the outlines of the label and of the junior"
    labels = {k:(ps['junior'].argmax(0),label) for k,ps,label in c.images}
    fig,axs = plt.subplots(-(-len(df)//3), 6, figsize=(11,2.1*-(-len(df)//3)), layout='constrained')
    for ax in axs.flat: ax.axis('off')
    for r,pair in zip(df.fillna('').itertuples(), axs.reshape(-1, 2)):
        box = [int(o) for o in r.box.split()]
        n = max(64, box[2]-box[0]+24, box[3]-box[1]+24)
        at = window(box, labels[r.name][1].shape, (n,n))
        im = np.array(read_image(c.labelled[r.name].image))[at].astype(float)
        low,high = np.percentile(im, (1,99.5))
        for ax in pair: ax.imshow(((im-low)/(high-low)).clip(0, 1))
        for ax,text in zip(pair, (f'{r.place}: {r.kind}',r.verdict)): ax.set_title(text, fontsize=8, loc='left')
        for o,color in zip(labels[r.name], ('deepskyblue','orange')): pair[1].contour(o[at]==1, [.5], colors=color, linewidths=1)
    save_figure(fig, ROOT/'nbs'/'images'/'label_errors_looked.png')

if __name__=='__main__':
    warnings.filterwarnings('ignore')
    os.chdir(ROOT)
    todo = [o for o in SETS if not sys.argv[1:] or o[0] in sys.argv[1:]]
    done = []
    for c in (Checked(*o) for o in todo):
        done += rows(c)
        if c.seed==0: draw(c)
        if c.name=='nuclei':
            with replacing(LOOKED) as f: (looked := unexplained(c)).to_csv(f, index=False)
            draw_unexplained(c, looked)
    df = pd.DataFrame(done)
    if FILE.exists():
        old = pd.read_csv(FILE)
        df = pd.concat([old[[o not in todo for o in zip(old.data, old.seed)]], df], ignore_index=True)
    with replacing(FILE) as f: df.to_csv(f, index=False)
