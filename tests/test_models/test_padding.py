"""Pictures of several sizes in one batch against each picture alone."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from saga_mm.loading.build import build_model
from saga_mm.models.backbones.blocks import DropPath
from saga_mm.models.necks import SAGAFPN, SAGAPyramid
from saga_mm.models.openmmlab.labels import label_by_rows
from saga_mm.models.padding import found_shapes, picture_sizes
from saga_mm.rows import MemoryBudget

TESTS = Path(__file__).parents[1]
SIZES = [(41, 70), (64, 37), (64, 37), (50, 90)]
CASES = [
    *(('PVT', mixer) for mixer in ('saga', 'focused', 'linear', 'softmax', {'type': 'saga', 'sr_ratio': 2})),
    *(('PVTv2', mixer) for mixer in ('saga', 'softmax')),
    *(('RAVLT', mixer) for mixer in ('rala', 'mala', 'softmax', 'saga')),
    *(('Swin', mixer) for mixer in ('saga', 'focused')),
    *(('CSwin', mixer) for mixer in ('softmax', 'saga')),
]


def batch_of(sizes, shape, channels=3, dtype=torch.float64):
    """Random pictures, and the batch of them whose padding is random as well."""
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.randn(1, channels, *size, generator=generator, dtype=dtype) for size in sizes]
    batch = torch.randn(len(sizes), channels, *shape, generator=generator, dtype=dtype)
    for image, picture in zip(batch, pictures):
        image[:, : picture.shape[2], : picture.shape[3]] = picture[0]
    return pictures, batch


def assert_alone(outs, alone, tolerance=1e-12):
    """Each map of a batch holds those of its pictures alone, and zeros beside them."""
    for i, maps in enumerate(alone):
        for out, own in zip(outs, maps, strict=True):
            height, width = own.shape[2:]
            assert (out[i, :, :height, :width] - own[0]).abs().max() <= tolerance * own.abs().max()
            assert not out[i, :, height:].any() and not out[i, :, :, width:].any()


@pytest.mark.parametrize(('host', 'mixer'), CASES, ids=str)
def test_maps_and_gradients_are_those_of_each_picture_alone(small_backbone, host, mixer):
    net = small_backbone(host, [mixer, mixer]).double().train()
    for part in net.modules():
        if isinstance(part, DropPath):
            part.rate = 0.0
        elif isinstance(part, nn.BatchNorm2d):
            part.eval()
    pictures, batch = batch_of(SIZES, (70, 101))
    weights = list(net.parameters())
    outs = net(batch, sizes=SIZES)
    plain = net(batch)
    assert [out.shape for out in outs] == [out.shape for out in plain]
    alone = [net(picture) for picture in pictures]
    assert_alone(outs, alone)
    together = torch.autograd.grad(sum(out.square().sum() for out in outs), weights)
    apart = torch.autograd.grad(sum(out.square().sum() for maps in alone for out in maps), weights)
    for one, other in zip(together, apart, strict=True):
        assert (one - other).norm() <= 1e-9 * other.norm()
    # which the padding changes otherwise
    assert (outs[1][0] - plain[1][0])[:, :1, :1].abs().max() > 1e-6


def test_pictures_that_fill_their_batch_cost_nothing(small_backbone):
    net = small_backbone('PVT', ['saga', 'softmax'])
    images = torch.randn(2, 3, 40, 56)
    assert picture_sizes(images, [(40, 56)] * 2) is None
    with torch.no_grad():
        for out, want in zip(net(images, sizes=[(40, 56)] * 2), net(images), strict=True):
            assert torch.equal(out, want)


def test_windows_stay_as_published(small_backbone):
    images = torch.randn(2, 3, 40, 56)
    net = small_backbone('Swin', ['softmax', 'softmax'])
    with torch.no_grad():
        for out, want in zip(net(images, sizes=[(20, 30), (40, 56)]), net(images), strict=True):
            assert torch.equal(out, want)


def test_batch_norms_that_train_see_the_batch_once(small_backbone):
    net = small_backbone('RAVLT', ['rala', 'softmax']).double()
    pictures, batch = batch_of(SIZES, (70, 101))
    # stage by stage, which only these norms need; without them padding reaches a map through convolutions alone
    for image, size in zip(batch, SIZES):
        image[:, size[0] :], image[:, :, size[1] :] = 0, 0
    with torch.no_grad():
        outs = net._compute(batch, SIZES)
        for i, picture in enumerate(pictures):
            for out, own in zip(outs, net(picture)):
                height, width = own.shape[2:]
                assert not out[i, :, height:].any() and not out[i, :, :, width:].any()
                assert (out[i, :, :height, :width] - own[0]).abs().max() <= 1e-12 * own.abs().max()
    net.train()
    outs = net(batch, sizes=SIZES)
    counts = {part.num_batches_tracked.item() for part in net.modules() if isinstance(part, nn.BatchNorm2d)}
    assert counts == {1}
    assert not outs[1][1, :, :, 5:].any()
    # the mixers do not read what the padding of another picture makes of it
    sum(out.square().sum() for out in outs).backward()
    assert all(weight.grad.isfinite().all() for weight in net.parameters())


@pytest.mark.parametrize('sizes', [[(20, 30)], [(20, 30), (41, 56)], [(0, 30), (40, 56)], [(20,), (40,)]], ids=str)
def test_sizes_that_do_not_fit(small_backbone, sizes):
    with pytest.raises(ValueError, match='must be rows and columns of 2 pictures within'):
        small_backbone('PVT', ['saga'])(torch.randn(2, 3, 40, 56), sizes=sizes)


@pytest.mark.parametrize('attention', ['saga', 'rala', 'softmax'])
@pytest.mark.parametrize('kind', [SAGAPyramid, SAGAFPN])
def test_levels_share_a_state_of_each_picture(kind, attention):
    torch.manual_seed(0)
    options = {'out_channels': 16, 'num_outs': 3} if kind is SAGAFPN else {}
    neck = kind([8, 8, 8], embed_dims=16, num_heads=2, attention=attention, **options).double()
    if kind is SAGAFPN:
        neck.fpn_convs = nn.ModuleList(nn.Identity() for _ in range(3))
        # so that the levels are joined without looking beside a picture
        for conv in neck.lateral_convs:
            conv.conv.bias.data.normal_()
    for parameter in neck.parameters():
        nn.init.normal_(parameter, std=0.3)
    sizes = [(64, 33), (30, 96)]
    maps, alone = [], [[], []]
    for stride in (4, 8, 16):
        shapes = [tuple(-(-side // stride) for side in size) for size in sizes]
        pictures, batch = batch_of(shapes, (64 // stride, 96 // stride), channels=8)
        maps.append(batch)
        for own, picture in zip(alone, pictures):
            own.append(picture)
    outs = neck(maps, sizes=sizes)
    for i, own in enumerate(alone):
        for out, want in zip(outs, neck(own), strict=True):
            height, width = want.shape[2:]
            assert (out[i, :, :height, :width] - want[0]).abs().max() <= 1e-12 * want.abs().max()
    with pytest.raises(ValueError, match='3 sizes were given for maps of 2 pictures'):
        neck(maps, sizes=[(64, 33)] * 3)


def test_shapes_of_padded_maps():
    sizes = [(30, 41), (64, 33)]
    levels = [[tuple(-(-n // stride) for n in size) for size in sizes] for stride in (4, 8, 16, 32, 64)]
    assert found_shapes(sizes, levels, (128, 160)) == [(32, 40), (16, 20), (8, 10), (4, 5), (2, 3)]
    # of one tiny picture, levels of a single token go on doubling
    levels = [[(3, 2)], [(2, 1)], [(1, 1)], [(1, 1)]]
    assert found_shapes([(9, 7)], levels, (64, 64)) == [(16, 16), (8, 8), (4, 4), (2, 2)]
    assert found_shapes([(30, 30)], [[(10, 10)]], (60, 60)) is None


def build(name, **options):
    cfg = Config.fromfile(TESTS / name)
    cfg.merge_from_dict(options)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    for key, weight in model.named_parameters():
        if 'shared.leave' in key:
            nn.init.normal_(weight, std=0.1)
    return model


def step_inputs(sizes):
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]
    samples = []
    for i, size in enumerate(sizes):
        sample = DetDataSample(metainfo=dict(img_id=i, img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0)))
        boxes, labels = torch.tensor([[4.0, 4.0, 24.0, 24.0]]), torch.tensor([0])
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
        samples.append(sample)
    return inputs, samples


GROUP_NORM = {'model.neck.norm_cfg': dict(type='GN', num_groups=4)}


@pytest.mark.parametrize(
    'options', [{}, GROUP_NORM, {'model.neck.type': 'saga_mm.SAGAFPN'}], ids=['FPN', 'GN', 'SAGAFPN']
)
def test_a_detector_of_mmdet_finds_the_same_in_each_picture_alone(options):
    model = build('tiny.py', **options)
    # 33 x 70 is padded alone as well, to multiples of 32
    inputs, samples = step_inputs([(96, 64), (33, 70), (64, 96), (96, 64)])
    with torch.no_grad():
        together = model.test_step(dict(inputs=inputs, data_samples=samples))
        for i, picture in enumerate(inputs):
            _, fresh = step_inputs([tuple(picture.shape[1:])])
            (alone,) = model.test_step(dict(inputs=[picture], data_samples=fresh))
            one, other = together[i].pred_instances, alone.pred_instances
            assert together[i].img_id == i and len(one) == len(other) > 0
            assert torch.allclose(one.scores, other.scores, atol=1e-6)
            assert torch.allclose(one.bboxes, other.bboxes, atol=1e-3)
    # a batch of other images, outside of a model that knows their sizes
    assert picture_sizes(torch.zeros(4, 3, 96, 96)) is None


def test_a_detector_trains_on_the_maps_of_each_picture():
    model = build('tiny.py', **{'model.backbone.drop_path_rate': 0.0, 'model.roi_head.mask_head': None}).train()
    model.roi_head.mask_head = None
    seen = []
    model.rpn_head.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    inputs, samples = step_inputs([(96, 64), (64, 96)])
    model.data_preprocessor.pad_mask = False
    data = model.data_preprocessor(dict(inputs=inputs, data_samples=samples), training=True)
    losses = model(**data, mode='loss')
    sum(part for value in losses.values() for part in (value if isinstance(value, list) else [value])).backward()
    for i, (height, width) in enumerate([(96, 64), (64, 96)]):
        own = model.extract_feat(data['inputs'][i : i + 1, :, :height, :width])
        for out, want in zip(seen[0], own, strict=True):
            height, width = want.shape[2:]
            assert (out[i, :, :height, :width] - want[0]).abs().max() <= 1e-5 * want.abs().max()
    assert all(weight.grad is not None for weight in model.backbone.parameters())


@pytest.mark.parametrize('large', [None, 0], ids=['whole', 'strips'])
def test_a_segmentor_of_mmseg_predicts_without_padding(large):
    from mmseg.structures import SegDataSample

    picture = torch.randint(0, 256, (3, 129, 90), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = []
    for padding in (None, dict(size=(160, 128)), dict(size_divisor=32)):
        model = build('tiny_segmentation.py', **{'model.data_preprocessor.test_cfg': padding})
        assert label_by_rows(model, MemoryBudget(torch.device('cpu'), large=large))
        sample = SegDataSample(metainfo=dict(img_shape=(129, 90), ori_shape=(129, 90)))
        with torch.no_grad():
            labels.append(model.test_step(dict(inputs=[picture], data_samples=[sample]))[0].pred_sem_seg.data)
    assert labels[0].shape == (1, 129, 90) and len(labels[0].unique()) > 1
    assert all(torch.equal(other, labels[0]) for other in labels[1:])
