"""The base class of a task's evaluation, in a training or by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.display.drawing import read_rgb
from saga_mm.errors import SagaError

if TYPE_CHECKING:
    import torch
    from mmengine.config import Config
    from torch import nn

    from saga_mm.parallel import Mesh


class Evaluation:
    """What an evaluation computes, writes and draws; classes take the options that ``test`` has for their task."""

    def prepare_model(self, model: nn.Module) -> None:
        """Change, for this run, how a model predicts."""

    def losses_in_bands(self, model: nn.Module, mesh: Mesh) -> Callable[[torch.Tensor, Sequence[Any]], dict[str, Any]]:
        """What computes losses as ``model.loss`` does, from images that are divided among processes, and data samples.

        Args:
            model: The model.
            mesh: The processes. All of a replica are given the same images.

        Raises:
            SagaError: The model cannot be divided.
        """
        raise SagaError('--bands: models of this task train on whole images; leave it out')

    def set_up(self, cfg: Config, out: Path | None) -> None:
        """Set a config's evaluators: figures as they are printed, results written at ``out``.

        Raises:
            SagaError: The task writes no file of this kind.
        """
        raise NotImplementedError

    def results(self, out: Path) -> list[str]:
        """Names of what was written beside ``out``."""
        raise NotImplementedError

    def image_of(self, sample: Any, inputs: Any) -> Any:
        """The ``(H, W, 3)`` RGB image that a data sample is of; ``inputs`` is what was packed for the model."""
        return read_rgb(sample.img_path)

    def draw(self, visualizer: Any, sample: Any, image: Any, path: Path) -> None:
        """Draw what was found on an ``(H, W, 3)`` RGB image beside the ground truth."""
        raise NotImplementedError
