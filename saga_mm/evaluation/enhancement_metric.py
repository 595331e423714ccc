"""Metrics of low-light enhancement, each convention under its own name."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from saga_mm.errors import SagaError
from saga_mm.evaluation.niqe import load_niqe, niqe
from saga_mm.evaluation.quality import gt_mean, luma, mae, psnr, quantize, ssim
from saga_mm.files import write_file
from saga_mm.registry import METRICS

Measure = Callable[[torch.Tensor, torch.Tensor], float]


def _on_luma(measure: Measure) -> Measure:
    return lambda pred, target: measure(luma(pred), luma(target))


def _at_gt_mean(measure: Measure) -> Measure:
    return lambda pred, target: measure(gt_mean(pred, target), target)


PAIRED: dict[str, Measure] = {
    'PSNR': psnr,
    'SSIM': ssim,
    'MAE': mae,
    'PSNR_Y': _on_luma(psnr),
    'SSIM_Y': _on_luma(ssim),
    'PSNR_GTmean': _at_gt_mean(psnr),
    'SSIM_GTmean': _at_gt_mean(ssim),
}
NAMES = (*PAIRED, 'LPIPS', 'NIQE')
# the trunk of LPIPS, as torchvision would fetch it
ALEXNET = 'https://download.pytorch.org/models/alexnet-owt-7be5be79.pth'


@METRICS.register_module()
class EnhancementMetric(BaseMetric):
    """Quality of enhanced images, each measured by itself, then averaged.

    The prediction is rounded to 8 bits first, as a file would keep it. What can be asked for:

    - ``'PSNR'`` (dB), ``'SSIM'`` (Gaussian window of 11 pixels, sigma 1.5, mean of the colours) and ``'MAE'``
      (in [0, 1]), on RGB;
    - ``'PSNR_Y'`` and ``'SSIM_Y'``, on BT.601 luma;
    - ``'PSNR_GTmean'`` and ``'SSIM_GTmean'``, on the prediction scaled to the ground truth's mean grey value. They use
      the answer, and do not compare with the plain figures;
    - ``'LPIPS'`` (AlexNet), by the library lpips where it and its weights are installed; nothing is downloaded;
    - ``'NIQE'``, which needs no ground truth.

    Args:
        metrics: Which, of the names above.
        niqe_params: For NIQE: an ``.npz`` with the statistics of good photographs, as
            :func:`saga_mm.evaluation.niqe.load_niqe` reads it.
        out_file: Where the figures of each image go, a ``.csv`` or ``.json`` file; nowhere unless given.
        collect_device: As in mmengine.
        prefix: As in mmengine.
        collect_dir: As in mmengine.

    Raises:
        SagaError: If a name is unknown, or something that a metric needs is missing.
    """

    def __init__(
        self,
        metrics: Sequence[str] = ('PSNR', 'SSIM', 'MAE', 'PSNR_Y', 'SSIM_Y'),
        niqe_params: str | Path | None = None,
        out_file: str | Path | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix, collect_dir)
        self.metrics = (metrics,) if isinstance(metrics, str) else tuple(metrics)
        unknown = [name for name in self.metrics if name not in NAMES]
        if unknown or not self.metrics:
            raise SagaError(f'EnhancementMetric: metrics={list(self.metrics)}: choose from {", ".join(NAMES)}')
        if out_file is not None and Path(out_file).suffix not in ('.csv', '.json'):
            raise SagaError(f'EnhancementMetric: out_file={str(out_file)!r} ends neither in .csv nor in .json')
        if 'NIQE' in self.metrics and niqe_params is None:
            raise SagaError('EnhancementMetric: NIQE needs niqe_params, an .npz file; fit_niqe_folder makes one')
        self.out_file = out_file
        self.natural = load_niqe(niqe_params) if 'NIQE' in self.metrics else None
        self.paired = {name: PAIRED[name] for name in self.metrics if name in PAIRED}
        if 'LPIPS' in self.metrics:
            self.paired['LPIPS'] = _load_lpips()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Measure the images of a batch.

        Args:
            data_batch: Not looked at.
            data_samples: With ``pred_img`` and, unless NIQE alone is asked for, ``gt_img``: ``(3, H, W)`` RGB in
                [0, 1]; ``img_path`` names the image.

        Raises:
            SagaError: If an image has no ground truth, or one of another size, or is too small for a metric.
        """
        for sample in data_samples:
            path = str(sample.get('img_path') or f'image {len(self.results) + 1}')
            try:
                self.results.append({'image': path, **self._measure(sample)})
            except ValueError as error:
                raise SagaError(f'{path}: {error}') from error

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Means over all images; the figures of each are written where ``out_file`` says.

        Raises:
            SagaError: If there are no images, or the file cannot be written.
        """
        if not results:
            raise SagaError('EnhancementMetric: no image was measured; is the data set of the evaluation empty?')
        if self.out_file is not None:
            _write(results, Path(self.out_file))
        return {name: sum(row[name] for row in results) / len(results) for name in self.metrics}

    def _measure(self, sample: dict) -> dict[str, float]:
        pred = quantize(sample['pred_img'])
        figures = {}
        if self.paired:
            if sample.get('gt_img') is None:
                raise ValueError(
                    f"{', '.join(self.paired)} need a ground truth; without one only metrics=['NIQE'] can do"
                )
            target = quantize(sample['gt_img']).to(pred.device)
            figures = {name: measure(pred, target) for name, measure in self.paired.items()}
        if self.natural is not None:
            figures['NIQE'] = niqe(pred, self.natural)
        return {name: figures[name] for name in self.metrics}


def _load_lpips() -> Measure:
    """LPIPS of two images, if the library and the weights of its trunk are on this machine."""
    try:
        from lpips import LPIPS
    except ImportError as error:
        raise SagaError(f'EnhancementMetric: LPIPS needs the library lpips ({error}): pip install lpips') from error
    weights = Path(torch.hub.get_dir(), 'checkpoints', ALEXNET.rsplit('/', 1)[1])
    if not weights.is_file():
        raise SagaError(f'EnhancementMetric: LPIPS needs {weights}, and nothing is downloaded here; it is {ALEXNET}')
    network = LPIPS(net='alex', verbose=False).eval()

    @torch.no_grad()
    def measure(pred: torch.Tensor, target: torch.Tensor) -> float:
        pred, target = (image[None].float() for image in (pred, target))
        return network.to(pred.device)(pred, target, normalize=True).item()

    return measure


def _write(rows: list[dict[str, Any]], path: Path) -> None:
    if path.suffix == '.json':
        # JSON has no infinity, which the PSNR of equal images is
        figures = [{name: None if value == math.inf else value for name, value in row.items()} for row in rows]
        write_file(path, json.dumps(figures, indent=1, ensure_ascii=False))
        return
    text = io.StringIO(newline='')
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_file(path, text.getvalue())
