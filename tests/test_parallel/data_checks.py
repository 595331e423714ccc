"""Training and evaluation with images divided among processes, against one process."""

import copy

import torch
from band_checks import PVT_CFG, UPER
from mmengine.config import ConfigDict
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric
from mmengine.structures import PixelData
from mmseg.models import build_segmentor
from mmseg.structures import SegDataSample
from process_checks import check
from torch.nn.parallel import DistributedDataParallel

from saga_mm.parallel import Mesh

ITERATIONS, BATCH = 4, 12


def total(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    return sum(loss for name, loss in losses.items() if 'loss' in name)


@check(4)
def losses_of_one_process_with_the_whole_batch(mesh: Mesh) -> None:
    cfg = dict(type='EncoderDecoder', backbone=dict(PVT_CFG, drop_path_rate=0.0), decode_head=UPER)
    model = build_segmentor(dict(cfg, test_cfg=ConfigDict(mode='whole'))).double().train()
    twin = copy.deepcopy(model)
    parallel = DistributedDataParallel(twin, process_group=mesh.group)
    steps = [torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9) for net in (model, twin)]
    own = slice(mesh.index * BATCH // mesh.bands, (mesh.index + 1) * BATCH // mesh.bands)
    for iteration in range(ITERATIONS):
        images, labels = torch.randn(BATCH, 3, 32, 32, dtype=torch.float64), torch.randint(0, 5, (BATCH, 1, 32, 32))
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
        whole = total(model(images, samples, mode='loss'))
        part = total(parallel(images[own], samples[own], mode='loss'))
        for step, loss in zip(steps, (whole, part)):
            step.zero_grad()
            loss.backward()
            step.step()
        mean = mesh.total(part.detach(), 'test') / mesh.bands
        apart = abs(float(mean) - float(whole)) / float(whole)
        assert apart <= 1e-9, (iteration, apart)


class Seen(BaseMetric):
    """Which images were evaluated."""

    def process(self, data_batch: object, data_samples: list[int]) -> None:
        self.results += data_samples

    def compute_metrics(self, results: list[int]) -> dict:
        return {'seen': results}


@check()
def every_image_is_evaluated_once(mesh: Mesh) -> None:
    # a number that no number of processes divides
    images = list(range(7))
    metric = Seen()
    for index in DefaultSampler(images, shuffle=False):
        metric.process(None, [index])
    assert metric.evaluate(len(images))['seen'] == images
