"""SAGAPyramid: levels that attend to each other through one shared state, and keep their shapes."""

from collections.abc import Sequence

import torch

from saga_mm.models.padding import Size
from saga_mm.registry import MODELS

from .shared_state import SharedState


@MODELS.register_module()
class SAGAPyramid(SharedState):
    """Global attention across the levels of a backbone, for heads with a pyramid of their own, such as UPerHead.

    Channels and strides stay as they are; at initialisation the maps do as well. See :class:`SharedState` for the
    arithmetic and the arguments.
    """

    def forward(self, inputs: Sequence[torch.Tensor], sizes: Sequence[Size] | None = None) -> tuple[torch.Tensor, ...]:
        """Maps ``(B, in_channels[i], H_i, W_i)`` of any sizes, to maps of the same shapes; as of the base class."""
        return tuple(super().forward(inputs, sizes))
