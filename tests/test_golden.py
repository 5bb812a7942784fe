"The losses and the metric reproduce vectors computed by the official releases"
from types import SimpleNamespace
import pytest, torch
from segkc_fastai.data.views import cutmix
from segkc_fastai.evaluate.inference import sliding
from segkc_fastai.methods.gta import assistant_loss
from segkc_fastai.methods.losses import OHEM, pseudo_label_loss
from segkc_fastai.methods.mkd import ClassCovariance, augmented, on_loss_grid, strength_at
from segkc_fastai.methods.step import pseudo_label
from segkc_fastai.train.metrics import Confusion

VALUE,GRAD = dict(rtol=1e-5, atol=1e-7),dict(rtol=1e-4, atol=1e-8)

def tensors(d): return {k:torch.from_numpy(v) if v.ndim else v.item() for k,v in d.items()}

def close(a, b, rtol, atol): torch.testing.assert_close(torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64), rtol=rtol, atol=atol)

def test_cps(golden):
    g = tensors(golden('cps_loss'))
    a,b = (g[f'logits_{i}'].requires_grad_() for i in (1,2))
    one = torch.ones(a[:,0].shape, dtype=torch.bool)
    p,q = (pseudo_label(z.detach(), one) for z in (a,b))
    loss = pseudo_label_loss(a, q.label, q.confidence, q.valid) + pseudo_label_loss(b, p.label, p.confidence, p.valid)
    loss.backward()
    close(loss.detach(), g['loss'], **VALUE)
    for z,k in ((a,'grad_1'), (b,'grad_2')): close(z.grad, g[k], **GRAD)

def test_masked_pseudo_label(golden):
    g = tensors(golden('masked_pseudo_label_loss'))
    p = pseudo_label(g['weak_logits'], ~g['padding'])
    label,conf,valid = (cutmix(o, g['box']) for o in (p.label, p.confidence, p.valid))
    assert (label==g['mixed_label']).all() and (~valid==g['mixed_padding']).all()
    close(conf, g['mixed_confidence'], **VALUE)
    close(pseudo_label_loss(g['strong_logits'], label, conf, valid, g['threshold']), g['loss'], **VALUE)

def test_gta_assistant(golden):
    g = tensors(golden('gta_assistant_loss'))
    z,conf = g['logits'].requires_grad_(),g['teacher_logits'].softmax(1).max(1)[0]
    loss = assistant_loss(z, g['target'], conf, conf>0, 1-g['percent_kept']/100) # the release counts ignored pixels among the least confident
    loss.backward()
    close(loss.detach(), g['loss'], **VALUE)
    close(z.grad, g['grad'], **GRAD)

def test_mkd_class_covariance(golden):
    g = tensors(golden('mkd_class_covariance'))
    c = ClassCovariance(7, 6)
    for i in range(3):
        c.update(g[f'features_{i}'], g[f'labels_{i}'])
        for k in ('covariance','mean','amount'): close(getattr(c, k), g[f'{k}_{i}'], rtol=1e-5, atol=1e-6)

def test_mkd(golden):
    g = tensors(golden('mkd_loss'))
    names = ('student1','student2','teacher1','teacher2')
    cov = {k:ClassCovariance(7, 6) for k in names}
    unlabelled,all_ = torch.ones(2,12,10)>0,torch.ones(3,12,10)
    for i in (0,1):
        z = {k:g[f'logits_{k}'].clone().requires_grad_(k.startswith('student')) for k in names}
        strength = strength_at(g[f'step_{i}']/g['total_steps'], 1.5)
        outs,grid,_ = on_loss_grid({k:SimpleNamespace(coarse=z[k], embedding=g[f'features_{k}']) for k in names}, [(24,20)]*4)
        assert grid==(12,10)
        zs = {k:augmented(*outs[k], g['gt'], unlabelled, g[f'weight_{k}'], cov[k], strength) for k in names}
        learn = lambda a,b: pseudo_label_loss(zs[a], zs[b].argmax(1), all_, all_>0)
        loss = 1.5*(learn('student1','teacher2')+learn('student2','teacher1')) + learn('student1','student2')+learn('student2','student1')
        close(strength, g[f'ratio_{i}'][0], **VALUE)
        close(loss.detach(), g[f'loss_{i}'], **VALUE)
    loss.backward()
    for k in names[:2]: close(z[k].grad, g[f'grad_{k}'], **GRAD)
    for k in names: close(cov[k].covariance, g[f'covariance_{k}'], rtol=1e-5, atol=1e-6)

@pytest.mark.parametrize('case', 'abc')
def test_ohem(golden, case):
    "Promised: Hard pixels are those of the release. Attacked: Input and output of its code"
    g = tensors(golden('ohem_loss'))
    least = min(g[f'min_kept_{case}']/g['target'].numel(), 1)
    close(OHEM(g['thresh'], least)(g['logits'], g['target']), g[f'loss_{case}'], **VALUE)

def test_miou(golden):
    g = tensors(golden('miou'))
    c = Confusion(g['num_classes'])
    c.update(g['prediction'], g['target'])
    m = c.matrix
    assert (m.diag()==g['intersection']).all() and (m.sum(0)+m.sum(1)-m.diag()==g['union']).all()
    close(100*c.iou, g['iou'], **VALUE)
    close(100*c.miou, g['miou'], **VALUE)

def test_sliding_window(golden):
    g = tensors(golden('sliding_window'))
    f = lambda x: torch.nn.functional.conv2d(x, g['weight'], g['bias'], padding=2)
    p = sliding(f, g['image'], (g['window'],)*2)
    close(p, g['summed_probabilities'], **VALUE)
    assert (p.argmax(1)==g['prediction']).all()
