"""One image over several processes, by counting: bytes that are sent, memory of a process, a model of scaling.

``python -m benchmarks.bands`` computes nothing: tensors have shapes and no content. What is sent is counted at the
collectives, and memory as the most bytes of activations that are alive at once. Both are the same on any machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.analysis import measure_cost
from saga_mm.loading.stack import require_stack
from saga_mm.models.backbones import create_backbone
from saga_mm.models.openmmlab import ResizedRows, feature_rows, head_rows
from saga_mm.parallel import BandRunner, Bands, BandTrainer
from saga_mm.parallel.counting import CountingMesh, count_bytes
from saga_mm.rows import ImageRows, MemoryRows

MIB = 2**20
BACKBONE, CONFIG = 'saga_pvt_tiny', 'configs/saga_upernet.py'
CLASSES_OF_LABELS = 255


class Inference(nn.Module):
    """A backbone in strips over the band of one process, with its maps in memory; a single band is one process."""

    def __init__(self, net: nn.Module, side: int, index: int, bands: int) -> None:
        super().__init__()
        self.net, self.side, self.mesh = net, side, CountingMesh(index, bands)

    def forward(self, seed: torch.Tensor) -> list[torch.Tensor]:
        image = ImageRows(lambda start, stop: seed.new_empty(1, 3, stop - start, self.side), self.side, self.side)
        runner = BandRunner(Bands(self.mesh, self.side, 32))
        maps = self.net.forward_rows(image, runner)
        return [rows.read(rows_of(runner, rows)[0], rows_of(runner, rows)[0] + 1) for rows in maps]


class Training(nn.Module):
    """The losses of a segmentor for one image over the band of one process; a single band is the model itself."""

    def __init__(self, model: nn.Module, side: int, index: int, bands: int) -> None:
        super().__init__()
        self.model, self.side, self.index, self.bands = model, side, index, bands

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [self.loss(scores) for scores in (self.whole if self.bands == 1 else self.banded)(images)]

    def heads(self) -> list[nn.Module]:
        """The head that decides, and the one that helps to train."""
        return [self.model.decode_head, *([self.model.auxiliary_head] if self.model.with_auxiliary_head else [])]

    def whole(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Scores of all rows."""
        maps = self.model.extract_feat(images)
        return [F.interpolate(head(maps), (self.side, self.side), mode='bilinear') for head in self.heads()]

    def banded(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Scores of the rows of this band."""
        trainer = BandTrainer(Bands(CountingMesh(self.index, self.bands), self.side, 32))
        maps = feature_rows(self.model, MemoryRows(images.permute(0, 2, 3, 1)), trainer)
        scores = []
        for head in self.heads():
            rows = ResizedRows(head_rows(head, maps, trainer), (self.side, self.side))
            trainer.prepare(rows)
            scores.append(rows.plane(*rows_of(trainer, rows)))
        return scores

    def loss(self, scores: torch.Tensor) -> torch.Tensor:
        """Of labels that are all to be ignored."""
        labels = torch.full((1, *scores.shape[2:]), CLASSES_OF_LABELS, device=scores.device)
        return F.cross_entropy(scores, labels, ignore_index=CLASSES_OF_LABELS, reduction='sum')


def rows_of(runner: BandRunner, rows: ResizedRows) -> tuple[int, int]:
    """The rows of a map that a process holds."""
    return runner.bands.own(rows.height)


def inference_bytes(side: int, bands: int) -> int:
    """Activations of the busiest process."""
    net = create_backbone(BACKBONE)
    seed = torch.empty(1, device='meta')
    return busiest(bands, lambda index: measure_cost(Inference(net, side, index, bands), seed).peak_bytes)


def build_segmentor() -> nn.Module:
    """The segmentor of :data:`CONFIG`."""
    from mmengine.config import Config
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS
    from mmseg.utils import register_all_modules

    require_stack()
    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(Config.fromfile(CONFIG).model)


def training_bytes(side: int, bands: int) -> int:
    """Activations of the busiest process, forward and backward."""
    model = build_segmentor()
    images = torch.empty(1, 3, side, side, device='meta')

    def cost(index: int) -> int:
        return measure_cost(Training(model, side, index, bands), images, training=True).peak_bytes

    return busiest(bands, cost)


def busiest(bands: int, cost: Callable[[int], int]) -> int:
    """Of all processes: the first, the last and one between them, to which the others are alike."""
    return max(cost(index) for index in {0, bands // 2, bands - 1})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--speed', type=float, default=20e12, help='multiplications a second of a device')
    parser.add_argument('--network', type=float, default=25e9, help='bytes a second between devices')
    parser.add_argument('--latency', type=float, default=30e-6, help='seconds of one exchange')
    args = parser.parse_args()
    print(f'{BACKBONE}, bytes that all processes send for one image')
    for side, bands in ((16384, 4), (16384, 16), (8192, 4), (1280, 4)):
        net = create_backbone(BACKBONE)
        count = count_bytes(net, net.forward_rows, (side, side), bands)
        sent = count.states + count.halos
        print(
            f'{side:6} {bands:3} bands: states {count.states / MIB:.1f} MiB, halos {count.halos / MIB:.1f} MiB, '
            f'{sent / count.maps:.2%} of the maps of all layers, {sent / count.outputs:.2%} of the four that come out'
        )
    print('most bytes of activations alive in a process, 1 and 4 bands')
    for name, cost, side in (('inference', inference_bytes, 4096), (f'training {CONFIG}', training_bytes, 1024)):
        one, four = cost(side, 1), cost(side, 4)
        print(f'{name}, {side}: {one / MIB:.0f} MiB, {four / MIB:.0f} MiB: {four / one:.3f}')
    print(f't(n) = MACs / (n * {args.speed:.3g}) + bytes(n) / {args.network:.3g} + calls * {args.latency:.3g}')
    for side in (1280, 8192, 32768):
        macs = measure_cost(create_backbone(BACKBONE), torch.empty(1, 3, side, side, device='meta')).macs
        for bands in (1, 4, 16, 64):
            if bands > side // 32:
                continue
            net = create_backbone(BACKBONE)
            count = count_bytes(net, net.forward_rows, (side, side), bands)
            alone = macs / args.speed
            seconds = alone / bands + count.most / args.network + count.calls * args.latency
            print(f'{side:6} {bands:3} bands: {1000 * seconds:9.2f} ms, efficiency {alone / bands / seconds:.2f}')


if __name__ == '__main__':
    main()
