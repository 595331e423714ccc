"""Training with an image over several processes: losses and all gradients of one process."""

from collections.abc import Callable, Iterable
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import torch
from band_checks import (
    BN,
    FPN,
    GN,
    HOSTS,
    PVT_CFG,
    PYRAMID,
    RAVLT_CFG,
    SEMANTIC,
    UNET,
    UPER,
    image_rows,
    shared,
    shares_of,
    some,
)
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models import build_segmentor
from mmseg.structures import SegDataSample
from process_checks import check, refused
from torch import nn

from saga_mm.engine.statistics import share_statistics
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.parallel import (
    Bands,
    BandTrainer,
    Mesh,
    detector_maps,
    enhancer_losses,
    gather_map,
    segmentor_losses,
    sum_gradients,
)
from saga_mm.registry import MODELS

AUX = dict(
    type='FCNHead', in_channels=24, channels=8, in_index=2, num_convs=1, concat_input=True, num_classes=5, norm_cfg=BN,
    dropout_ratio=0.2, loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4),
)  # fmt: skip
WEIGHTED = dict(type='CrossEntropyLoss', class_weight=[1.0, 2.0, 0.5, 1.0, 3.0])
SEGMENTORS = {
    'upernet': (dict(PVT_CFG, drop_path_rate=0.3), PYRAMID, dict(UPER, dropout_ratio=0.1), AUX),
    'upernet-bn': (RAVLT_CFG, None, dict(UPER, norm_cfg=BN, loss_decode=WEIGHTED), None),
    'semantic-fpn': (PVT_CFG, dict(FPN, type='FPN', norm_cfg=GN), SEMANTIC, [AUX_ := dict(AUX, in_channels=8), AUX_]),
}

EXPOSURE = dict(type='saga_mm.Exposure')
HOSTS_AND_MIXERS = [
    ('Swin', 'softmax'),
    ('CSwin', 'softmax'),
    ('CSwin', 'mala'),
    ('PVT', 'focused'),
    ('PVT', 'softmax'),
]


def shaken(net: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in net.double().train().parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net


def take_gradients(net: nn.Module) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    return found


class Case(NamedTuple):
    """Losses of a model that is run whole, and of one that is run in bands; both are summed and differentiated."""

    name: str
    net: nn.Module
    whole: Callable[[], dict]
    banded: Callable[[], dict]


def expected_of(case: Case) -> tuple[dict, dict, dict]:
    """Losses, gradients and running statistics of the whole model, which is left as it was."""
    before = {name: value.clone() for name, value in case.net.named_buffers()}
    torch.manual_seed(1)
    losses = case.whole()
    sum(loss.sum() for name, loss in losses.items() if 'loss' in name).backward()
    moved = {name: value.clone() for name, value in case.net.named_buffers()}
    for name, value in case.net.named_buffers():
        value.copy_(before[name])
    return {name: loss.detach() for name, loss in losses.items()}, take_gradients(case.net), moved


def compare(mesh: Mesh, cases: list[Case]) -> None:
    """Losses, accuracy, gradients and running statistics of both, from the same seed."""
    for case, expected in zip(cases, shared(mesh, cases, expected_of)):
        try:
            compare_one(mesh, case, *expected)
        except Exception as error:
            raise AssertionError(case.name) from error


def compare_one(mesh: Mesh, case: Case, expected: dict, gradients: dict, moved: dict) -> None:
    torch.manual_seed(1)
    losses = case.banded()
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        assert torch.allclose(loss, expected[name].to(loss), rtol=1e-9 if 'loss' in name else 1e-5), name
    sum(loss.sum() for name, loss in losses.items() if 'loss' in name).backward()
    sum_gradients(case.net.parameters(), mesh)
    found = take_gradients(case.net)
    assert found.keys() == gradients.keys()
    most = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert (found[name] - gradient).abs().max() <= 1e-9 * max(float(gradient.abs().max()), 1e-3 * most), name
    for name, value in case.net.named_buffers():
        assert torch.allclose(value.double(), moved[name].double(), rtol=1e-9, atol=1e-12), name


@check()
def gradients_of_segmentors(mesh: Mesh) -> None:
    height, cases = 141, []
    for number, (name, (backbone, neck, head, aux)) in enumerate(some(mesh, list(SEGMENTORS.items()))):
        cfg = dict(type='EncoderDecoder', backbone=backbone, neck=neck, decode_head=head, auxiliary_head=aux)
        model = shaken(build_segmentor(dict(cfg, test_cfg=ConfigDict(mode='whole'))))
        images, labels = torch.randn(2, 3, height, 50, dtype=torch.float64), torch.randint(0, 5, (2, height, 50))
        labels[:, 60:100, 5:30] = 255
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
        recompute = (number + mesh.bands) % 2 == 0
        trainer = BandTrainer(Bands(mesh, height, 32, shares_of(mesh)), recompute)
        banded = partial(segmentor_losses, model, images, labels, trainer)
        cases.append(Case(name, model, partial(model.loss, images, samples), banded))
    compare(mesh, cases)


@check()
def gradients_of_enhancers(mesh: Mesh) -> None:
    images, targets = torch.rand(2, 3, 75, 42, dtype=torch.float64), torch.rand(2, 3, 75, 42, dtype=torch.float64)
    near = [dict(type='saga_mm.CharbonnierLoss'), dict(type='saga_mm.CharbonnierLoss', eps=0.1, loss_weight=0.2)]
    far, cases = [near[0], dict(type='saga_mm.SSIMLoss')], []
    samples = [SegDataSample(metainfo={}) for _ in targets]
    for sample, target in zip(samples, targets):
        sample.set_field(target, 'gt_img')
    for attention, losses in some(mesh, [('saga', near), ('rala', far), (dict(type='softmax', sr_ratio=2), near)]):
        model = shaken(LowLightEnhancer(dict(UNET, attention=attention), losses=losses, exposure=EXPOSURE))
        trainer = BandTrainer(Bands(mesh, 80, 8, shares_of(mesh)))
        banded = partial(enhancer_losses, model, images, targets, trainer)
        cases.append(Case(str(attention), model, partial(model, images, samples, 'loss'), banded))
    compare(mesh, cases)


def in_sines(maps: Iterable[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f'loss{i}': out.sin().mean() for i, out in enumerate(maps)}


@check()
def gradients_of_hosts(mesh: Mesh) -> None:
    x, cases = torch.randn(1, 3, 75, 41, dtype=torch.float64), []
    for host, attention in some(mesh, HOSTS_AND_MIXERS):
        net = shaken(HOSTS[host](attention=attention, out_indices=(0, 1), drop_path_rate=0.0))
        trainer = BandTrainer(Bands(mesh, 75, 8, shares_of(mesh)))

        def banded(net=net, trainer=trainer) -> dict:
            outs = in_sines(gather_map(rows, trainer) for rows in net.forward_rows(image_rows(x), trainer))
            return {name: in_part(loss, mesh) for name, loss in outs.items()}

        cases.append(Case(f'{host} with {attention}', net, lambda net=net: in_sines(net(x)), banded))
    compare(mesh, cases)


@check()
def maps_of_detectors(mesh: Mesh) -> None:
    from mmdet.models.necks import FPN as DetectionFPN

    x, cases = torch.randn(1, 3, 141, 60, dtype=torch.float64), []
    options = dict(in_channels=[8, 16, 24, 32], out_channels=8, num_outs=5)
    for extra in some(mesh, [False, 'on_output']):
        backbone = MODELS.build(dict(PVT_CFG, drop_path_rate=0.0))
        net = shaken(nn.ModuleDict({'backbone': backbone, 'neck': DetectionFPN(**options, add_extra_convs=extra)}))
        trainer = BandTrainer(Bands(mesh, 141, 32, shares_of(mesh)))

        def banded(net=net, trainer=trainer) -> dict:
            model = SimpleNamespace(backbone=net['backbone'], neck=net['neck'])
            outs = in_sines(detector_maps(model, x, trainer))
            return {name: in_part(loss, mesh) for name, loss in outs.items()}

        cases.append(Case(str(extra), net, lambda net=net: in_sines(net['neck'](net['backbone'](x))), banded))
    compare(mesh, cases)


@check(1, 2, 4)
def gradients_of_padded_pictures(mesh: Mesh) -> None:
    """Pictures of several sizes in a batch: as in ordinary training, where they are run by size."""
    cfg = dict(type='EncoderDecoder', backbone=dict(PVT_CFG, drop_path_rate=0.0), decode_head=UPER)
    model = shaken(build_segmentor(dict(cfg, neck=PYRAMID, test_cfg=ConfigDict(mode='whole'))))
    images, labels = torch.randn(3, 3, 141, 50, dtype=torch.float64), torch.randint(0, 5, (3, 141, 50))
    # the last has too few rows for four bands
    sizes = [(141, 50), (130, 41), (70, 50)]
    for i, (height, width) in enumerate(sizes):
        images[i, :, height:], images[i, :, :, width:] = 0, 0
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    for sample, size in zip(samples, sizes):
        sample.set_metainfo({'img_shape': size})
    trainer = BandTrainer(Bands(mesh, 141, 32, shares_of(mesh)))
    banded = partial(segmentor_losses, model, images, labels, trainer, sizes)
    compare(mesh, [Case('padded', model, partial(model, images, samples, mode='loss'), banded)])


def in_part(loss: torch.Tensor, mesh: Mesh) -> torch.Tensor:
    """What every process computes of whole maps, each counts in part."""
    return loss / mesh.bands + (loss * (1 - 1 / mesh.bands)).detach()


@check(2)
def losses_that_need_whole_images_are_refused(mesh: Mesh) -> None:
    head = dict(UPER, loss_decode=dict(type='DiceLoss'))
    model = build_segmentor(dict(type='EncoderDecoder', backbone=PVT_CFG, decode_head=head)).double().train()
    images, labels = torch.randn(2, 3, 128, 32, dtype=torch.float64), torch.randint(0, 5, (2, 128, 32))
    trainer = BandTrainer(Bands(mesh, 128, 32))
    refused('loss DiceLoss is no mean over pixels', lambda: segmentor_losses(model, images, labels, trainer))


@check(3)
def statistics_of_batch_norms_are_shared(mesh: Mesh) -> None:
    """Each process has the mean; equal values stay equal to the bit."""
    models = [nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), nn.BatchNorm1d(5, track_running_stats=False)]
    norm = models[0][1]
    norm.running_mean.fill_(0.1)
    norm.running_var.copy_(torch.arange(4.0) + mesh.index)
    weight = norm.weight.detach() + mesh.index
    norm.weight.data.copy_(weight)
    share_statistics(models)
    assert torch.equal(norm.running_mean, torch.full((4,), 0.1))
    assert torch.equal(norm.running_var, torch.arange(4.0) + 1)
    assert torch.equal(norm.weight, weight)
