"Invariants of the reconstruction of SegKC, on pairs of networks with different backbones"
import pytest, torch
from conftest import CNN, SENIOR, SMALL, Gradients, learner, one_step, vit, train
from segkc_fastai.data.loaders import SemiDataLoaders
from segkc_fastai.data.views import cutmix
from segkc_fastai.deploy.predict import Predictor
from segkc_fastai.label.suggest import suggest
from segkc_fastai.methods.segkc import VARIANTS, consultation, segkc
from segkc_fastai.methods.supervised import supervised
from segkc_fastai.models.cohort import Adaptor, Cohort
from segkc_fastai.models.segmenter import Segmenter, count_params, load_segmenter, save_segmenter
from segkc_fastai.train.learner import dual_learner
from segkc_fastai.runs.evaluating import evaluate_run
from segkc_fastai.runs.folder import Run

HIER = 'pvt_v2_b0+segformer:32'
PAIRS = dict(cnn_cnn=(CNN, SENIOR), cnn_hierarchical=(CNN, HIER), vit_cnn=(vit, CNN), cnn_vit=(CNN, vit))

@pytest.mark.parametrize('pair', PAIRS)
def test_each_direction_moves_its_learner_alone(scenes, pair):
    learn = one_step(learner(scenes, *PAIRS[pair], cbs=[Gradients()]))
    m = learn.gradients.moved
    assert set(m)=={'sup','cps_senior','cps_junior','kc_features_senior','kc_features_junior','kc_predictions_senior','kc_predictions_junior'}
    for who,other in (('senior','junior'),('junior','senior')):
        for k in ('cps','kc_features','kc_predictions'): assert m[f'{k}_{who}'][who]>0 and m[f'{k}_{who}'][other]==0
        assert {t for t,o in m.items() if o[f'{who}_to_{other}']>0}=={f'kc_features_{who}'}

def test_the_fused_senior(scenes):
    learn = learner(scenes, method=segkc('C', warmup=0, ramp=0), cbs=[Gradients()])
    plain = learner(scenes)
    x = torch.rand(2,3,64,96)
    for c in (learn.model, plain.model): c.eval()
    with torch.no_grad(): assert torch.equal(learn.model.outputs(x, ['senior'])['senior'].logits, plain.model['senior'](x).logits)
    m = one_step(learn).gradients.moved
    assert m['sup']['junior_into_senior']>0 and m['cps_senior']['junior_into_senior']>0 and m['cps_senior']['junior']==0
    assert m['kc_predictions_junior']['senior']==m['kc_predictions_junior']['junior_into_senior']==0

@pytest.mark.parametrize('variant', VARIANTS)
def test_deployed_junior_is_the_cohorts(scenes, variant):
    learn = learner(scenes, HIER, vit, segkc(variant, warmup=0, ramp=.5))
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 1e-3)
    net,x = learn.deploy(),torch.rand(2,3,60,90)
    with torch.no_grad(): assert torch.equal(net(x).logits, learn.model.eval()(x))
    assert set(net.state_dict())==set(learn.model['junior'].state_dict()) and count_params(net)==count_params(learn.model['junior'])<count_params(learn.model)

@pytest.mark.parametrize('variant', VARIANTS)
def test_adaptors_are_saved_with_the_cohort(scenes, tmp_path, variant):
    run = train(tmp_path/'r', scenes, 'segkc', method_args=dict(variant=variant, warmup=0, ramp=.5), **(SMALL | dict(epochs=1)))
    assert (run.path/'adaptors.safetensors').exists() and 'reconstruction' in (run.path/'card.md').read_text() and Run(run.path).finished
    assert not run.history.filter(like='kc_').isna().any().any() and {'agree','kept','sup','cps_senior'} <= set(run.history)
    net,x = run.network('senior'),torch.rand(1,3,64,96)
    alone = net.cohort['senior'] if variant=='C' else net
    with torch.no_grad(): assert torch.equal(net(x).logits, alone(x).logits)==(variant!='C')
    learn = learner(scenes, method=segkc(variant))
    learn.path = tmp_path
    learn.save('all')
    for p in learn.model.adaptors.parameters(): p.data.fill_(7)
    learn.load('all')
    assert learn.model.adaptors and not any((p==7).any() for p in learn.model.adaptors.parameters())

def test_a_threshold_above_one_keeps_nothing(scenes):
    learn = one_step(learner(scenes, method=segkc(threshold=1.1, paste=False, warmup=0, ramp=0)))
    t = learn.last.terms
    assert t['cps_senior'][0]==t['cps_junior'][0]==0 and learn.last.notes['kept']==0 and t['kc_features_senior'][0]>0

def test_an_empty_box_is_the_identity():
    x,box = torch.rand(4,3,8,8),torch.zeros(4,8,8)>0
    assert torch.equal(cutmix(x, box), x)

def test_parameter_counts():
    for size,m in (('small',24.8),('base',97.5)):
        n = count_params(Segmenter(f'vit_{size}_patch14_dinov2', 'dpt', 21, pretrained=False))/1e6
        assert abs(n-m)<.1, n

@pytest.mark.parametrize('name, patch', [('vit_small_patch14_reg4_dinov2',14), ('vit_small_patch16_dinov3',16), ('eva02_tiny_patch14_224',14)])
def test_plain_transformers_take_any_grid(name, patch):
    net = Segmenter(name, 'dpt', 3, pretrained=False).eval()
    for h,w in ((3,5), (2,2)):
        with torch.no_grad(): o = net(torch.rand(1,3,h*patch-1,w*patch))
        assert o.logits.shape==(1,3,h*patch-1,w*patch) and [f.shape[-2:] for f in o.features]==[(h,w)]*4

def test_a_plain_transformer_loads_weights(tmp_path):
    import timm
    from safetensors.torch import save_file
    small = dict(depth=4, embed_dim=96, num_heads=3)
    m = timm.create_model('vit_tiny_patch16_224', **small)
    save_file(m.state_dict(), tmp_path/'w.safetensors')
    net = Segmenter('vit_tiny_patch16_224', 'dpt', 3, encoder_args=small | dict(pretrained_cfg_overlay=dict(file=str(tmp_path/'w.safetensors'))))
    assert net.pretrained and torch.equal(net.encoder.net.blocks[3].mlp.fc1.weight, m.blocks[3].mlp.fc1.weight)
    save_segmenter(net, tmp_path/'n.safetensors') # without the path that its weights came from
    assert load_segmenter(tmp_path/'n.safetensors')[0].config==net.config and net.config['encoder_args']==small

def test_the_papers_pair_at_518():
    nets = {k:Segmenter(f'vit_{s}_patch14_dinov2', 'dpt', 21, pretrained=False) for k,s in dict(senior='base', junior='small').items()}
    c = Cohort(nets, 'junior', adaptors=[Adaptor(nets, 'senior', 'junior'), Adaptor(nets, 'junior', 'senior')])
    with torch.no_grad(): out = c(torch.rand(1,3,518,518))
    assert out['junior'].logits.shape==(1,21,518,518) and out['senior'].adapted['junior'].shape==(1,384,37,37)
    out = c(torch.rand(1,3,70,70)) # gradients at 518 take half a minute
    sum(o.logits.mean()+sum(a.mean() for a in o.adapted.values()) for o in out.values()).backward()
    assert all(p.grad is not None for p in c.parameters())

@pytest.mark.parametrize('what, words', [
    (lambda d: learner(d, CNN, vit, segkc(stage=7)), ['stage=7','senior has 4 stages']),
    (lambda d: learner(d, CNN, 'maxvit_rmlp_pico_rw_256+fpn:32'), ['senior','does not take crops of size=64,96']),
    (lambda d: supervised()+consultation(), ['consultation needs senior and junior']),
    (lambda d: dual_learner(SemiDataLoaders.from_folder(d, labelled=8, size=(64,96), bs=4, device='cpu'), CNN, method=segkc(), pretrained=False), ['senior',"'segkc' trains it"]),
    (lambda d: dual_learner(SemiDataLoaders.from_folder(d, labelled=8, size=(60,96), bs=4, device='cpu'), CNN, vit(), segkc(), pretrained=False), ['size=60,96','multiples of 16','48,96 or 64,96']),
    (lambda d: Cohort((n := dict(a=vit(), b=vit())), 'b', adaptors=[Adaptor(n, 'a', 'b', fuse=True)]), ["deployed='b'",'cannot stand alone']),
])
def test_mistakes_are_named(scenes, what, words):
    with pytest.raises(ValueError) as e: what(scenes)
    for w in words: assert w in str(e.value), str(e.value)

def test_a_senior_that_reads_the_junior_is_read_with_it(scenes, tmp_path):
    "Variant C, at a size of its own and by suggestions; its file alone is refused, because it would predict something else"
    run = train(tmp_path/'c', scenes, 'segkc', **SMALL, method_args=dict(variant='C', warmup=0.), evaluate='resize')
    assert set(evaluate_run(run, 'test', 'all'))=={'junior','senior'} and len(suggest(run, 3))==3
    with pytest.raises(ValueError, match='senior.safetensors: decodes features of junior, and cannot stand alone; deploy junior'):
        Predictor.load(run.path/'senior.safetensors')
