"""Quality of an enhancement without a model: the input itself, and the input after a gamma curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from saga_mm.errors import SagaError
from saga_mm.evaluation.enhancement_metric import EnhancementMetric
from saga_mm.registry import METRICS


@METRICS.register_module()
class BaselineMetric(EnhancementMetric):
    """Figures of the input as it is, or brightened by a fixed curve: a model below these has learned nothing.

    They are named ``'input/PSNR'`` or ``'gamma_0.3/PSNR'``.

    Args:
        gamma: Exponent of values in [0, 1]; 1 leaves the input as it is.
        metrics: As of :class:`EnhancementMetric`.
        **kwargs: The same.

    Raises:
        SagaError: The exponent is not above 0.
    """

    def __init__(self, gamma: float = 1.0, metrics: Sequence[str] = ('PSNR', 'SSIM'), **kwargs: Any) -> None:
        if gamma <= 0:
            raise SagaError(f'BaselineMetric: gamma={gamma} must be above 0')
        super().__init__(metrics, **{'prefix': 'input' if gamma == 1 else f'gamma_{gamma:g}', **kwargs})
        self.gamma = gamma

    def process(self, data_batch: dict[str, Any], data_samples: Sequence[dict]) -> None:
        """Measure the images that were packed for the model, in place of what it made of them."""
        images = (image.flip(0).double() / 255 for image in data_batch['inputs'])
        given = [{**sample, 'pred_img': image**self.gamma} for sample, image in zip(data_samples, images, strict=True)]
        super().process(data_batch, given)
