import re
import sys
from argparse import Namespace
from types import ModuleType

import pytest
import torch

from saga_mm import create_backbone
from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import load_checkpoint
from saga_mm.loading.convert import convert, convert_file
from saga_mm.loading.published_file import FAMILIES, Published, read_published, recognise, skeleton
from saga_mm.runs.prepare import check_pretrained

CASES = {
    'pvt_tiny': ('pvt_tiny', 'bare'),
    'flatten_pvt_tiny': ('flatten_pvt_tiny', 'model'),
    'pvt_v2_b0': ('pvt_v2_b0', 'state_dict'),
    'flatten_pvt_v2_b0': ('flatten_pvt_v2_b0', 'model_ema'),
    'flatten_swin_t': ('flatten_swin_tiny', 'model'),
    'flatten_cswin_t': ('flatten_cswin_tiny', 'state_dict'),
    'ravlt_t': ('ravlt_tiny', 'model_ema'),
    'glta_det_t': ('ravlt_tiny', 'detector'),
}


@pytest.fixture
def config_node(monkeypatch):
    """What a yacs node is to pickle: a dict of that name, with attributes."""
    module = ModuleType('yacs.config')
    module.CfgNode = type('CfgNode', (dict,), {'__module__': 'yacs.config'})
    monkeypatch.setitem(sys.modules, 'yacs', ModuleType('yacs'))
    monkeypatch.setitem(sys.modules, 'yacs.config', module)
    node = module.CfgNode(MODEL=module.CfgNode(TYPE='swin', DEPTHS=[2, 2, 6, 2]), AMP=True)
    node.__dict__.update({'__immutable__': True, '__deprecated_keys__': set(), '__renamed_keys__': {}})
    return node


@pytest.fixture
def save(tmp_path, monkeypatch, config_node):
    """Write weights as a published file, in one of the layouts."""

    def write(state, layout='model'):
        detector = {f'module.backbone.{key}': value for key, value in state.items()}
        saved = {
            'bare': state,
            'model': {'model': state, 'optimizer': {'state': {}}, 'epoch': 299, 'config': config_node},
            'state_dict': {'state_dict': {f'module.{key}': value for key, value in state.items()}, 'epoch': 3},
            'model_ema': {'model_ema': state, 'args': Namespace(model='RAVLT_T', lr=1e-3, dist=None)},
            'detector': {'state_dict': {**detector, 'module.neck.conv.weight': torch.ones(1)}, 'meta': {'epoch': 12}},
        }
        torch.save(saved[layout], tmp_path / 'published.pth')
        monkeypatch.delitem(sys.modules, 'yacs.config', raising=False)
        return tmp_path / 'published.pth'

    return write


@pytest.fixture
def small(golden):
    """The smallest case's published weights."""
    return golden('pvt_v2_b0').state


@pytest.fixture(scope='module')
def pvt_tiny(golden):
    """The published weights of PVT-T, which no test changes."""
    return golden('pvt_tiny').state


def with_constants(case):
    """The case's weights and the buffers that a real file holds besides."""
    state = case.state
    return {t['key']: state.get(t['key'], torch.zeros(t['shape'])) for t in case.manifest['tensors']}


@pytest.mark.usefixtures('without_first_weights')
@pytest.mark.parametrize('case_name', CASES)
def test_converted_weights_give_the_published_outputs(case_name, golden, save, tmp_path, capsys):
    case, (name, layout) = golden(case_name), CASES[case_name]
    done = convert_file(save(with_constants(case), layout), tmp_path / 'new' / 'ours.pth')
    assert done.source == done.target == name and not done.resized
    init = {'type': 'Pretrained', 'checkpoint': str(tmp_path / 'new' / 'ours.pth')}
    net = create_backbone(name, out_indices=(0, 1, 2, 3) if 'ravlt' in name else (3,), init_cfg=init).eval()
    check_pretrained(net)
    if case_name != 'ravlt_t':
        # complete: nothing to tell
        assert not capsys.readouterr().out
    net.init_weights()
    # of PVT, a class token takes part in the last stage
    left_out = ('stage4', 'logits') if case.has_class_token else ()
    errors = case.errors(net, [name for name in case.outputs if name not in left_out])
    assert len(errors) == {'pvt_tiny': 3, 'glta_det_t': 4}.get(case_name, 5)
    assert max(errors.values()) < 1e-5, errors


def published_swin(name):
    """A published Swin's weights: the classifier's norm and head, fused projections."""
    state, ours = {}, {}
    for key, value in skeleton(name).state_dict().items():
        # rows that differ are enough
        ours[key] = torch.randn(len(value), *[1] * (value.ndim - 1)).expand(value.shape)
    for key, value in ours.items():
        if '.attn.kv.' in key or key.startswith(('out_norms.0', 'out_norms.1', 'out_norms.2')):
            continue
        if '.attn.q.' in key:
            value = torch.cat([value, ours[key.replace('.q.', '.kv.')]])
        key = key.replace('.attn.q.', '.attn.qkv.').replace('stages.0.embed', 'patch_embed')
        key = re.sub(r'stages\.(\d)\.embed', lambda match: f'layers.{int(match[1]) - 1}.downsample', key)
        state[key.replace('out_norms.3', 'norm').replace('stages.', 'layers.')] = value
    return ours, {**state, 'head.weight': torch.randn(1000, 768)}


def test_pvt_warms_up_saga(pvt_tiny, save, tmp_path, capsys):
    done = convert_file(save(pvt_tiny), tmp_path / 'a.pth', to='saga_pvt_tiny')
    assert {re.search(r'attn\.(\w+)\.', name)[1] for name in done.fresh} == {'gates', 'local'}
    assert all('.attn.sr.' in name or '.attn.norm.' in name for name in done.dropped['only in pvt_tiny'])
    assert len(done.matched) + len(done.fresh) == len(skeleton('saga_pvt_tiny').state_dict())
    torch.manual_seed(0)
    net = create_backbone('saga_pvt_tiny', init_cfg={'type': 'Pretrained', 'checkpoint': str(tmp_path / 'a.pth')})
    before = net.stages[2].blocks[1].attn.gates.proj[0].weight.clone()
    check_pretrained(net)
    assert 'missing' in capsys.readouterr().out
    net.init_weights()
    mixer = net.stages[2].blocks[1].attn
    assert torch.equal(mixer.kv.weight, pvt_tiny['block3.1.attn.kv.weight'])
    assert torch.equal(net.stages[3].position.table, pvt_tiny['pos_embed4'][:, 1:])
    assert torch.equal(mixer.gates.proj[0].weight, before) and (mixer.gates.proj[0].bias == 2).all()


def test_swin_warms_up_saga():
    ours, state = published_swin('swin_tiny')
    published = Published('swin.pth', 'model', [], state, [])
    assert recognise(published) == 'swin_tiny'
    done = convert(published, 'swin_tiny', 'saga_swin_tiny')
    kinds = {re.sub(r'\d', '*', name) for name in done.fresh}
    assert kinds == {
        *(f'stages.*.blocks.*.attn.{part}.{leaf}' for part in ('gates.proj.*', 'local') for leaf in ('weight', 'bias')),
        'out_norms.*.weight',
        'out_norms.*.bias',
    }
    assert len(done.dropped['only in swin_tiny']) == 4
    assert all(torch.equal(ours[name], value) for name, value in done.state.items())
    assert 'out_norms.3.weight' in done.state and 'stages.2.blocks.1.attn.relative_position_bias_table' in done.state


def test_window_tables_are_resized():
    ours, state = published_swin('swin_base')
    done = convert(Published('swin.pth', 'model', [], state, []), 'swin_base', 'swin_base_384')
    assert len(done.resized) == 24 and set(done.resized.values()) == {'13 x 13 to 23 x 23'}
    name = 'stages.2.blocks.1.attn.relative_position_bias_table'
    plane = ours[name].T.reshape(1, 16, 13, 13)
    wanted = torch.nn.functional.interpolate(plane, (23, 23), mode='bilinear')
    assert torch.allclose(done.state[name], wanted.reshape(16, 529).T)


def test_position_tables_of_another_size_give_the_same_features(golden, save, tmp_path):
    state = golden('flatten_pvt_v2_b0').state
    torch.manual_seed(0)
    for key, value in state.items():
        if key.endswith('positional_encoding'):
            state[key] = torch.randn(1, 4 * value.shape[1], value.shape[2])
    done = convert_file(save(state), tmp_path / 'a.pth')
    assert done.target == 'flatten_pvt_v2_b0' and len(done.resized) == 8
    assert '112 x 112 to 56 x 56, bilinearly' in done.table()
    nets = [create_backbone('flatten_pvt_v2_b0', pretrain_img_size=size).eval() for size in (224, 448)]
    nets[0].load_state_dict(done.state)
    nets[1].load_state_dict({**done.state, **{name: tables(state)[name] for name in done.resized}})
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(nets[0](image)[-1], nets[1](image)[-1], atol=1e-5)


def tables(state):
    """Key tables by our names."""
    found = {}
    for key, value in state.items():
        if match := re.fullmatch(r'block(\d)\.(\d)\.attn\.positional_encoding', key):
            found[f'stages.{int(match[1]) - 1}.blocks.{match[2]}.attn.key_table'] = value
    return found


def test_a_detector_without_class_token_keeps_its_position(pvt_tiny, save, tmp_path):
    state = {key: value for key, value in pvt_tiny.items() if key != 'cls_token'}
    done = convert_file(save(state, 'detector'), tmp_path / 'a.pth')
    assert torch.equal(done.state['stages.3.position.table'], state['pos_embed4'][:, 1:]) and not done.resized
    assert done.dropped['of a neck or head'] == ['neck.conv.weight']


def test_averaged_weights_on_request(small, tmp_path):
    torch.save({'model': small, 'model_ema': {key: 2 * v for key, v in small.items()}}, tmp_path / 'a.pth')
    plain = convert_file(tmp_path / 'a.pth', tmp_path / 'b.pth')
    averaged = convert_file(tmp_path / 'a.pth', tmp_path / 'b.pth', ema=True, overwrite=True)
    assert (plain.taken, plain.left, averaged.taken, averaged.left) == ('model', ['model_ema'], 'model_ema', ['model'])
    name = 'stages.0.embed.proj.weight'
    assert torch.equal(averaged.state[name], 2 * plain.state[name])
    assert load_checkpoint(tmp_path / 'b.pth')['meta']['source_key'] == 'model_ema'


def test_averaged_weights_beside_a_lone_number(small, tmp_path):
    torch.save({'state_dict_ema': small, 'max_accuracy': torch.tensor(71.1)}, tmp_path / 'a.pth')
    assert read_published(tmp_path / 'a.pth').state.keys() == small.keys()


@pytest.mark.parametrize('name', [name for names in FAMILIES.values() for name in names if 'swin' not in name])
def test_recognises_every_variant_by_names_and_shapes(name):
    state = {}
    for key, value in skeleton(name).state_dict().items():
        key = re.sub(r'stages\.(\d)', lambda match: f'stages.{int(match[1]) + 1}', key)
        key = re.sub(r'stages\.(\d)\.position\.table', r'pos_embed\1', key)
        key = re.sub(r'stages\.(\d)\.embed', r'patch_embed\1', key)
        key = re.sub(r'stages\.(\d)\.blocks', r'block\1', key)
        key = re.sub(r'stages\.(\d)\.norm', r'norm\1', key)
        key = key.replace('key_table', 'positional_encoding').replace('.local.', '.dwc.')
        key = key.replace('.mlp.dwconv.', '.mlp.dwconv.dwconv.')
        state[key] = value
    if 'ravlt' in name or 'vit' in name:
        state = (published_ravlt if 'ravlt' in name else published_vit)(name)
    assert recognise(Published('a.pth', 'model', [], state, [])) == name


def published_ravlt(name):
    ours, state = skeleton(name).state_dict(), {}
    for key, value in ours.items():
        if match := re.fullmatch(r'(stages\.\d\.blocks\.\d+\.)attn\.q\.(\w+)', key):
            parts = [ours[f'{match[1]}attn.{part}.{match[2]}'] for part in ('q', 'kv', 'gate')]
            key, value = f'{match[1]}attn.qkvo.{match[2]}', torch.cat(parts)
        elif re.search(r'attn\.(kv|gate)\.', key):
            continue
        key = key.replace('stages.0.embed', 'patch_embed')
        key = re.sub(r'\.(norm[12])\.', r'.\1.norm.', key)
        state[re.sub(r'^stages\.(\d)\.blocks', r'layers.\1.blocks', key)] = value
    return state


def test_swin_variants_differ_by_their_tables():
    for name in ('swin_small', 'swin_base', 'swin_base_384'):
        assert recognise(Published('a.pth', 'model', [], published_swin(name)[1], [])) == name


def test_family_and_name_are_taken_at_their_word(small, save):
    published = read_published(save(small))
    assert recognise(published, family='pvt_v2') == recognise(published, name='pvt_v2_b0') == 'pvt_v2_b0'
    with pytest.raises(SagaError, match='is no pvt_v2_b1'):
        convert(published, recognise(published, name='pvt_v2_b1'))
    published.state['block1.0.attn.magic'] = torch.ones(3)
    with pytest.raises(SagaError, match='1 unexpected'):
        convert(published, 'pvt_v2_b0')
    assert convert(published, 'pvt_v2_b0', forced=True).dropped['no place in pvt_v2_b0'] == [
        'stages.0.blocks.0.attn.magic'
    ]


def test_a_missing_weight_is_an_error(small, save, tmp_path):
    del small['block3.1.attn.kv.bias']
    with pytest.raises(SagaError, match=r'1 missing \(stages\.2\.blocks\.1\.attn\.kv\.bias\)'):
        convert_file(save(small), tmp_path / 'a.pth')
    assert not (tmp_path / 'a.pth').exists()


def test_a_swin_without_its_norm_is_an_error():
    state = {key: value for key, value in published_swin('swin_tiny')[1].items() if not key.startswith('norm.')}
    with pytest.raises(SagaError, match=r'2 missing \(out_norms\.3'):
        convert(Published('a.pth', 'model', [], state, []), 'swin_tiny')


@pytest.mark.parametrize('attention', ['saga', 'rala', 'linear', 'focused'])
def test_softmax_warms_up_any_linear_mixer(attention, pvt_tiny, save, tmp_path):
    done = convert_file(save(pvt_tiny), tmp_path / 'a.pth', attention=attention)
    parts = {re.search(r'attn\.(\w+)', name)[1] for name in done.fresh}
    # what a mixer has of its own; none of the projections
    own = {'saga': {'gates', 'local'}, 'linear': set(), 'focused': {'key_table', 'local', 'scale'}}
    assert parts == own.get(attention, {'gate', 'lepe'})
    net = skeleton('pvt_tiny', attention)
    state = torch.load(tmp_path / 'a.pth')['state_dict']
    missing, unexpected = net.load_state_dict(state, strict=False, assign=True)
    assert not unexpected and set(missing) == set(done.fresh)
    assert torch.equal(net.stages[2].blocks[1].attn.kv.weight, pvt_tiny['block3.1.attn.kv.weight'])


def test_windows_warm_up_a_linear_mixer_in_two_stages(save, tmp_path):
    _, state = published_swin('swin_tiny')
    done = convert_file(save(state), tmp_path / 'a.pth', attention='rala')
    assert {name[:8] for name in done.fresh if '.attn.' in name} == {'stages.0', 'stages.1'}
    with torch.device('meta'):
        net = create_backbone('swin_tiny', attention=['rala', 'rala', 'softmax', 'softmax'])
    state = torch.load(tmp_path / 'a.pth')['state_dict']
    missing, unexpected = net.load_state_dict(state, strict=False, assign=True)
    assert not unexpected and set(missing) == set(done.fresh)


def test_an_unknown_mixer_is_named(small, save, tmp_path):
    with pytest.raises(
        SagaError, match=r"--attention sagaa: unknown attention 'sagaa'; did you mean saga\? choose one of"
    ):
        convert_file(save(small), tmp_path / 'a.pth', attention='sagaa')


def published_vit(name):
    """A published DeiT's weights, zeros, with class token and head."""
    state = {}
    for key, value in skeleton(name).state_dict().items():
        key = re.sub(r'^stages\.(\d+)\.blocks\.0', r'blocks.\1', key).replace('stages.0.embed', 'patch_embed')
        if '.attn.kv.' in key:
            continue
        shape = (3 * len(value), *value.shape[1:]) if '.attn.q.' in key else value.shape
        if key.endswith(('position.table', 'key_table')):
            shape = (1, 197, shape[2])
            key = key.replace('stages.0.position.table', 'pos_embed').replace('key_table', 'positional_encoding')
        key = key.replace('.attn.q.', '.attn.qkv.').replace('.local.', '.dwc.').replace('out_norms.11.', 'norm.')
        state[key] = torch.zeros(1).expand(shape)
    dims = state['pos_embed'].shape[2]
    return {**state, 'cls_token': torch.zeros(1, 1, dims), 'head.weight': torch.zeros(1, 1).expand(1000, dims)}


@pytest.mark.parametrize('name', ['vit_tiny', 'flatten_vit_tiny'])
def test_a_published_deit_is_converted(name, save, tmp_path):
    done = convert_file(save(published_vit(name)), tmp_path / 'a.pth')
    assert done.source == name and not done.fresh and not done.resized
    assert sorted(done.dropped['of the classifier']) == ['cls_token', 'head.weight']
