"""ViT as a host: shapes, sizes, class token, strips, published keys."""

import pytest
import torch

from saga_mm import create_backbone
from saga_mm.models.backbones import PVT, PVTv2, ViT
from saga_mm.models.backbones.vit import published_state
from saga_mm.rows import MemoryRows, RowRunner

SMALL = {'embed_dims': (16,), 'depths': (3,), 'num_heads': (2,), 'mlp_ratios': (2,)}


@pytest.mark.parametrize('attention', ['saga', 'focused', 'softmax', 'rala', 'mala', 'linear'])
@pytest.mark.parametrize('class_token', [False, True])
def test_maps_of_any_size(attention, class_token):
    net = ViT(SMALL, attention, patch_size=8, out_indices=(0, -1), pretrain_img_size=32, class_token=class_token)
    outs = net(torch.randn(2, 3, 33, 50))
    assert [out.shape for out in outs] == [(2, 16, 5, 7)] * 2 and all(out.is_contiguous() for out in outs)
    sum(out.square().mean() for out in outs).backward()
    assert all(p.grad is not None for name, p in net.named_parameters() if '.q.' in name)


@pytest.mark.parametrize('attention', ['saga', 'rala', 'softmax', ['window', 'saga', 'focused']])
def test_strips_give_the_same_map(attention):
    net = ViT(SMALL, attention, patch_size=8, out_indices=(1, 2), pretrain_img_size=32).eval()
    image = torch.randn(1, 3, 75, 41)
    with torch.no_grad():
        whole = net(image)
    runner = RowRunner(chunk=4096)
    rows = net.forward_rows(MemoryRows(image.permute(0, 2, 3, 1)), runner)
    for one, other in zip(whole, rows, strict=True):
        torch.testing.assert_close(runner.gather(other), one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('name', 'published'), [('vit_tiny', 5_717_416), ('vit_small', 22_050_664), ('vit_base', 86_567_656)]
)
def test_parameter_counts_of_deit(name, published):
    with torch.device('meta'):
        net = create_backbone(name, class_token=True)
    dims = net.embed_dims[0]
    # the class token's position is part of it
    assert sum(p.numel() for p in net.parameters()) + dims + 1000 * (dims + 1) == published


def test_parameter_count_of_flatten_deit_is_published_to_one_digit():
    with torch.device('meta'):
        net = create_backbone('flatten_vit_tiny', class_token=True)
    count = sum(p.numel() for p in net.parameters()) + 192 + 1000 * 193
    # 6.1 million, truncated; the class token has no row in our key tables
    assert int(count / 1e5) == 61 and count + 12 * 192 == 6_193_576


def test_published_names_and_class_token():
    net = ViT({**SMALL, 'depths': (2,)}, 'softmax', patch_size=8, pretrain_img_size=16, class_token=True)
    state = {
        'cls_token': torch.randn(1, 1, 16),
        'pos_embed': torch.randn(1, 5, 16),
        'patch_embed.proj.weight': torch.randn(16, 3, 8, 8),
        'patch_embed.proj.bias': torch.randn(16),
        'norm.weight': torch.randn(16),
        'norm.bias': torch.randn(16),
        'head.weight': torch.randn(10, 16),
    }
    shapes = {'norm1': (16,), 'attn.qkv': (48, 16), 'attn.proj': (16, 16), 'norm2': (16,), 'mlp.fc1': (32, 16)}
    for i in range(2):
        for part, shape in {**shapes, 'mlp.fc2': (16, 32)}.items():
            state[f'blocks.{i}.{part}.weight'] = torch.randn(shape)
            state[f'blocks.{i}.{part}.bias'] = torch.randn(shape[0])
    missing, unexpected = net.load_state_dict(published_state(state), strict=False)
    assert missing == ['stages.0.class_token'] and not unexpected
    assert torch.equal(net.stages[0].position.table, state['pos_embed'][:, 1:])
    assert torch.equal(net.stages[1].blocks[0].attn.kv.weight, state['blocks.1.attn.qkv.weight'][16:])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'arch': 'huge'}, "unknown arch 'huge'; choose one of tiny, small, base"),
        ({'arch': {'depths': (3,)}}, 'arch lacks embed_dims, mlp_ratios, num_heads'),
        ({'attention': ['saga']}, 'attention lists 1 entries for 3 stages'),
        ({'out_indices': (3,)}, 'must name some of the stages 0 to 2'),
        ({'attention': 'window', 'class_token': True}, 'WindowAttention does not take a class token'),
        ({'attention': ['saga', 'saga', 'window'], 'class_token': True}, 'WindowAttention does not take a class token'),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ViT(**{'arch': SMALL, **options})


@pytest.mark.parametrize(
    ('backbone', 'options', 'message'),
    [
        (PVTv2, {}, 'ConvFeedForward looks at neighbours, and a class token has none'),
        (PVT, {'out_indices': (0, 2)}, r'out_indices=\(0, 2\) end before its stage, 3'),
    ],
)
def test_class_token_that_a_backbone_cannot_have(backbone, options, message):
    with pytest.raises(ValueError, match=f'class_token=True: {message}'):
        backbone(class_token=True, **options)


@pytest.mark.parametrize('net', [ViT(SMALL, class_token=True), PVT('tiny', class_token=True)], ids=['ViT', 'PVT'])
def test_strips_with_a_class_token_are_refused(net):
    with pytest.raises(ValueError, match='does not run in strips with its class token: class_token=False'):
        net.eval().forward_rows(MemoryRows(torch.randn(1, 32, 32, 3)), RowRunner())
