"""What several processes do together, against one process: each check runs on all of them with the same seed.

What one process computes for comparison is computed once: each process does some cases, and tells the others.
"""

import functools
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmseg.models import build_segmentor
from mmseg.utils import register_all_modules
from PIL import Image
from process_checks import check, check_last, refused
from torch import nn

from saga_mm.images.inputs import Job
from saga_mm.images.photo import PhotoRows
from saga_mm.models.backbones import PVT, RAVLT, CSwin, PVTv2, Swin
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.finish import Finish
from saga_mm.models.openmmlab import segment_rows
from saga_mm.parallel import BandRunner, Bands, Mesh, check_agreement, gather_objects
from saga_mm.parallel.counting import count_bytes
from saga_mm.rows import ImageRows, MemoryBudget, RowRunner, Storage
from saga_mm.tasks.enhancement.bands import enhance_bands
from saga_mm.tasks.enhancement.photographs import enhance_photo
from saga_mm.tasks.enhancement.shared_photo import enhance_shared
from saga_mm.tasks.enhancement.strips import enhance_strips
from saga_mm.tasks.prediction import Pictures
from saga_mm.tasks.segmentation.bands import segment_bands
from saga_mm.tasks.segmentation.prediction import SegmentationWriter
from saga_mm.tasks.segmentation.strips import segment_strips

WIDTHS = {'embed_dims': (8, 16), 'depths': (2, 1), 'num_heads': (1, 2)}
PVT_ARCH = {**WIDTHS, 'mlp_ratios': (4, 2), 'sr_ratios': (4, 2)}
RAVLT_ARCH = {**WIDTHS, 'mlp_ratios': (2, 2), 'layer_scales': (1.0, 0.5)}
HOSTS = {
    'PVT': functools.partial(PVT, PVT_ARCH, pretrain_img_size=64),
    'PVTv2': functools.partial(PVTv2, PVT_ARCH),
    'RAVLT': functools.partial(RAVLT, RAVLT_ARCH),
    'Swin': functools.partial(Swin, WIDTHS, window_size=3),
    'CSwin': functools.partial(CSwin, WIDTHS, stripe_widths=(2, 0)),
}
MIXERS = ['linear', 'saga', 'focused', 'rala', 'mala', 'softmax']
OPTIONS = [
    {'type': 'saga', 'gate_source': 'kv', 'gate_rank': 2, 'gate_shared': True},
    {'type': 'saga', 'feature_map': 'focused', 'normalizer': 'gated', 'local_kernel': 7},
    {'type': 'saga', 'local_shared': True, 'key_table': (3, 4)},
    {'type': 'saga', 'sr_ratio': 2, 'key_table': (3, 4)},
    {'type': 'saga', 'sr_ratio': 3, 'local_kernel': 5},
    {'type': 'focused', 'lepe_kernel': 3, 'sr_ratio': 2},
    {'type': 'softmax', 'sr_ratio': 3},
    {'type': 'window', 'window_size': 4, 'shift': 2, 'borders': 'mmdet'},
    {'type': 'cross_window', 'stripe_width': 3},
    ['saga', 'rope_softmax'],
]
ARCH = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2))
PVT_CFG = dict(type='saga_mm.PVT', arch=dict(ARCH, mlp_ratios=(4, 2, 2, 2), sr_ratios=(8, 4, 2, 1)), attention='saga')
RAVLT_CFG = dict(type='saga_mm.RAVLT', arch=dict(ARCH, mlp_ratios=(2,) * 4, layer_scales=(1.0,) * 4))
GN, BN = dict(type='GN', num_groups=4), dict(type='BN')
HEAD = dict(channels=8, num_classes=5, in_index=[0, 1, 2, 3], dropout_ratio=0.0, align_corners=False)
UPER = dict(HEAD, type='UPerHead', in_channels=[8, 16, 24, 32], pool_scales=(1, 2, 3, 6), norm_cfg=GN)
SEMANTIC = dict(HEAD, type='FPNHead', in_channels=[8] * 4, feature_strides=[4, 8, 16, 32], norm_cfg=BN)
FPN = dict(in_channels=[8, 16, 24, 32], out_channels=8, num_outs=4)
PYRAMID = dict(type='saga_mm.SAGAPyramid', in_channels=[8, 16, 24, 32], embed_dims=16, num_heads=2)
SEGMENTORS = {
    'uper-corners': (PVT_CFG, None, dict(UPER, norm_cfg=BN, align_corners=True)),
    'uper-rala-pyramid': (RAVLT_CFG, dict(PYRAMID, attention='rala'), UPER),
    'semantic-saga-fpn': (PVT_CFG, dict(FPN, type='saga_mm.SAGAFPN', embed_dims=16, num_heads=2), SEMANTIC),
    'semantic-fpn': (PVT_CFG, dict(FPN, type='FPN', norm_cfg=GN), SEMANTIC),
}
UNET = dict(
    type='saga_mm.SAGAUNet', arch=dict(embed_dims=(8, 8, 16), depths=(1, 1, 1), num_heads=(0, 1, 2), mlp_ratio=2)
)


def lively(net: nn.Module) -> nn.Module:
    """Every branch counts, those that start at zero too."""
    torch.manual_seed(0)
    for key, value in net.double().eval().state_dict().items():
        if value.is_floating_point():
            mean = 1.0 if 'norm' in key and key.endswith('weight') else 0.0
            nn.init.normal_(value, mean=mean, std=0.2)
        if 'running_var' in key:
            value.abs_().add_(0.5)
    return net


def image_rows(x: torch.Tensor) -> ImageRows:
    return ImageRows(lambda start, stop: x[:, :, start:stop], *x.shape[2:], batch=len(x))


def some(mesh: Mesh, cases: list) -> list:
    """Of all cases those for this number of processes: half of them for three, a quarter for two and for four."""
    if mesh.bands == 3:
        return [case for i, case in enumerate(cases) if i % 4 in (0, 3)]
    return cases[mesh.bands % 3 :: 4]


def shared(mesh: Mesh, cases: list, compute: Callable[[Any], Any]) -> list:
    """What ``compute`` gives for each case, each computed by one process."""
    own = {i: compute(case) for i, case in enumerate(cases) if i % mesh.bands == mesh.index}
    told = gather_objects(mesh, own)
    return [told[i % mesh.bands][i] for i in range(len(cases))]


def shares_of(mesh: Mesh) -> list[float]:
    return [1.0, 3.0, 2.0, 1.5][: mesh.bands]


@torch.no_grad()
def compare_backbones(mesh: Mesh, x: torch.Tensor, nets: dict[str, nn.Module], runners: list[BandRunner]) -> None:
    wholes = shared(mesh, list(nets.values()), lambda net: net(x))
    for (name, net), runner, whole in zip(nets.items(), runners, wholes, strict=True):
        try:
            for rows, expected in zip(net.forward_rows(image_rows(x), runner), whole, strict=True):
                runner.prepare(rows)
                start, stop = runner.bands.own(rows.height)
                assert 0 < stop - start < rows.height
                out, least = rows.plane(start, stop), 1e-9 * float(expected.abs().max())
                assert (out - expected[:, :, start:stop]).abs().max() <= least
                assert torch.allclose(runner.gather(rows), expected, rtol=1e-9, atol=least)
        except Exception as error:
            raise AssertionError(name) from error


@check()
def all_hosts_and_mixers(mesh: Mesh) -> None:
    x = torch.randn(1, 3, 75, 41, dtype=torch.float64)
    cases = some(mesh, list(product(HOSTS, MIXERS)))
    nets = {f'{host} with {mixer}': lively(HOSTS[host](attention=mixer, out_indices=(0, 1))) for host, mixer in cases}
    even, uneven = Bands(mesh, 75, 8), Bands(mesh, 75, 8, shares_of(mesh))
    runners = [
        BandRunner(uneven if number % 2 else even, RowRunner(Storage(0 if number % 2 else 1e9), rows=3))
        for number in range(len(cases))
    ]
    compare_backbones(mesh, x, nets, runners)


@check()
def options_of_mixers(mesh: Mesh) -> None:
    x, bands = torch.randn(2, 3, 120, 22, dtype=torch.float64), Bands(mesh, 120, 8, shares_of(mesh))
    nets = {str(mixer): lively(HOSTS['PVTv2'](attention=mixer, out_indices=(0, 1))) for mixer in some(mesh, OPTIONS)}
    compare_backbones(mesh, x, nets, [BandRunner(bands, RowRunner(rows=2)) for _ in nets])


@check()
def a_band_lower_than_the_halo(mesh: Mesh) -> None:
    net = lively(HOSTS['RAVLT'](attention='saga', out_indices=(0, 1)))
    # one row of the coarse map each: the halo reaches beyond the neighbour
    x = torch.randn(1, 3, 8 * mesh.bands, 17, dtype=torch.float64)
    compare_backbones(mesh, x, {'RAVLT': net}, [BandRunner(Bands(mesh, 8 * mesh.bands, 8))])


@functools.cache
def segmentor(name: str) -> nn.Module:
    register_all_modules()
    backbone, neck, head = SEGMENTORS[name]
    pre = dict(type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True)
    cfg = dict(type='EncoderDecoder', data_preprocessor=pre, backbone=backbone, neck=neck, decode_head=head)
    cfg['test_cfg'] = ConfigDict(mode='whole')
    return lively(build_segmentor(dict(cfg, test_cfg=ConfigDict(mode='whole'))))


@check()
def segmentors(mesh: Mesh) -> None:
    x, names = torch.randn(1, 3, 141, 75, dtype=torch.float64), some(mesh, list(SEGMENTORS))
    models = [segmentor(name) for name in names]
    with torch.no_grad():
        wholes = shared(mesh, models, lambda model: model.decode_head(model.extract_feat(x)))
    for name, model, whole in zip(names, models, wholes):
        with torch.no_grad():
            runner = BandRunner(Bands(mesh, 141, 32, shares_of(mesh)), RowRunner(Storage(2e4), rows=3))
            scores = segment_rows(model, image_rows(x), runner)
            runner.prepare(scores)
            start, stop = runner.bands.own(scores.height)
            out, expected = scores.plane(start, stop), whole[:, :, start:stop]
        assert (out - expected).abs().max() <= 1e-9 * whole.abs().max(), name


@check(2, 3)
def labels_of_a_picture(mesh: Mesh) -> None:
    model = segmentor('semantic-saga-fpn').float()
    image = np.random.default_rng(0).integers(0, 256, (141, 118, 3), dtype=np.uint8)
    bgr = torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))
    whole = model.test_step({'inputs': [bgr], 'data_samples': None})[0].pred_sem_seg.data[0].numpy()
    found = list(segment_bands(model, image, mesh))
    start = found[0][0]
    labels = np.concatenate([rows for _, rows in found])
    assert labels.dtype == np.uint8 and len(np.unique(whole)) > 2
    assert (labels == whole[start : start + len(labels)]).mean() > 0.999
    rows = torch.tensor(float(len(labels)))
    assert mesh.total(rows, 'test') == 141
    model.double()


@check(1, 4)
def a_picture_written_together(mesh: Mesh) -> None:
    model = segmentor('semantic-saga-fpn').float()
    palette = [[i, i, i] for i in range(5)]
    predictor = SimpleNamespace(
        model=model,
        budget=MemoryBudget.of(model),
        classes=tuple('abcde'),
        metainfo={'palette': palette, 'classes': tuple('abcde')},
        keeps_size=True,
        exported=None,
    )
    with tempfile.TemporaryDirectory() as own:
        folder = Path(gather_objects(mesh, own)[0])
        picture = folder / 'picture.png'
        if mesh.index == 0:
            image = np.random.default_rng(0).integers(0, 256, (141, 118, 3), dtype=np.uint8)
            Image.fromarray(image).save(picture)
        gather_objects(mesh, None)
        writer = SegmentationWriter(predictor, Pictures([picture], folder, folder / 'out'), own_size=True)
        writer.share(mesh)
        entry = writer.write(picture)
        if mesh.index == 0:
            assert abs(sum(entry['shares'].values()) - 1) < 1e-3 and (folder / 'out' / entry['drawn']).is_file()
            found = np.asarray(Image.open(folder / 'out' / entry['map']))
            whole = np.concatenate(list(segment_strips(model, image)))
            assert found.shape == (141, 118) and (found == whole).mean() > 0.999
            assert not list((folder / 'out').rglob('.saga_mm*'))
        gather_objects(mesh, None)
    model.double()


@check()
def counted_bytes_are_sent(mesh: Mesh) -> None:
    net, x = HOSTS['PVT'](attention='saga', out_indices=(0, 1)).eval(), torch.randn(1, 3, 96, 40)
    before, calls = mesh.sent.copy(), mesh.calls
    with torch.no_grad():
        net.forward_rows(image_rows(x), BandRunner(Bands(mesh, 96, 8)))
    waited, sent = mesh.calls - calls, {what: mesh.sent[what] - before[what] for what in ('state', 'halo')}
    halos = mesh.total(torch.tensor([float(sent['halo'])]), 'test')
    # each process counts what all of them send: one is enough
    own = count_bytes(net, net.forward_rows, (96, 40), mesh.bands, unit=8) if mesh.index == 0 else None
    count = gather_objects(mesh, own)[0]
    assert (sent['state'] * mesh.bands, int(halos), waited) == (count.states, count.halos, count.calls)


class Float:
    """An image in memory, RGB in [0, 1]."""

    def __init__(self, image: np.ndarray) -> None:
        self.image, (self.height, self.width) = image, image.shape[:2]

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.image[start:stop]


@check()
def enhancers(mesh: Mesh) -> None:
    image = np.random.default_rng(0).random((75, 53, 3))
    several = dict(
        backbone=PVT_CFG, head=dict(in_channels=[8, 16, 24, 32], strides=[4, 8, 16, 32], channels=8), pad_divisor=32
    )
    exposed = dict(backbone=UNET, exposure=dict(type='saga_mm.Exposure'), edges='replicate')
    for cfg in some(mesh, [several, exposed, dict(backbone=dict(UNET, attention='rala')), dict(backbone=UNET)]):
        model = lively(LowLightEnhancer(**cfg))
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
        for finish in (Finish(0.8), *([Finish(1.0, 0.65, 0.7)] if cfg is exposed else [])):
            whole = model.enhance(pixels, *finish)[0].permute(1, 2, 0).numpy()
            found = list(enhance_bands(model, Float(image), mesh, finish))
            answer, start = np.concatenate([rows for _, rows in found]), found[0][0]
            assert np.abs(answer - whole[start : start + len(answer)]).max() < 1e-9


@check(2, 3)
def a_photograph_enhanced_together(mesh: Mesh) -> None:
    model = lively(LowLightEnhancer(backbone=UNET, exposure=dict(type='saga_mm.Exposure'))).float()
    budget = MemoryBudget.of(model)

    def strips(photo: PhotoRows, finish: Finish, folder: Path, held: int) -> Iterator[np.ndarray]:
        return enhance_strips(model, photo, finish, budget, folder, held)

    inferencer = SimpleNamespace(model=model, device='cpu', budget=budget, strips=strips)
    with tempfile.TemporaryDirectory() as own:
        folder = Path(gather_objects(mesh, own)[0])
        for name, channels in (('coloured.png', 3), ('grey.jpg', 1)):
            source, target = folder / name, folder / f'bright-{name}'
            if mesh.index == 0:
                pixels = np.random.default_rng(0).integers(0, 128, (75, 53, channels), dtype=np.uint8)
                Image.fromarray(pixels.squeeze()).save(source)
            gather_objects(mesh, None)
            job = Job(source, target, 'photo')
            size = enhance_shared(inferencer, job, Finish(0.9), folder / 'compared.jpg', {'picture': name})
            if mesh.index == 0:
                assert size == '53 x 75' and (folder / 'compared.jpg').is_file()
                enhance_photo(inferencer, source, folder / f'alone-{name}', Finish(0.9))
                found, alone = (np.asarray(Image.open(folder / f'{who}-{name}'), int) for who in ('bright', 'alone'))
                assert np.abs(found - alone).max() <= 1 and (found == alone).mean() > 0.999
                assert not list(folder.rglob('.saga_mm*'))
            gather_objects(mesh, None)


@check()
def what_no_band_can_hold_is_refused(mesh: Mesh) -> None:
    refused(
        f'{mesh.bands} bands are too many for an image of 33 rows, .* at most 1 processes', lambda: Bands(mesh, 33, 64)
    )
    bands = Bands(mesh, 64, 8)
    refused('too many for a map of 16 rows that is cut at multiples of 16', lambda: bands.of(16, 16))


@check()
def who_was_told_something_else(mesh: Mesh) -> None:
    check_agreement(mesh, {'version': '1', 'config': 'a'})
    told = {'version': '1', 'config': 'b' if mesh.index == 1 else 'a'}
    refused('disagree about the config: process 0 has a, process 1 has b', lambda: check_agreement(mesh, told))


@check_last
def a_neighbour_dies(mesh: Mesh) -> None:
    if mesh.index == 1:
        return
    refused('waits for a process that has ended', lambda: mesh.total(torch.ones(3), 'test'))
