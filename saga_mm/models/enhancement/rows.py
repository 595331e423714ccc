"""Maps of the trunk and the head for enhancement over rows."""

from collections.abc import Callable

import torch

from saga_mm.ops import Rows, map_to_tokens


class UpsampledRows(Rows):
    """A map after a layer that enlarges each token by itself, computed when rows are asked for; no gradients.

    Args:
        rows: The map.
        layer: From a map and a size to the larger map, cropped to that size.
        size: ``(H, W)`` of the whole larger map.
        factor: Rows that the layer makes of one.
    """

    def __init__(self, rows: Rows, layer: Callable[..., torch.Tensor], size: tuple[int, int], factor: int) -> None:
        super().__init__(rows.batch, *size)
        self.rows, self.layer, self.factor = rows, layer, factor

    @torch.no_grad()
    def plane(self, start: int, stop: int) -> torch.Tensor:
        first = start // self.factor
        plane = self.rows.plane(first, -(-stop // self.factor))
        plane = self.layer(plane, (plane.shape[2] * self.factor, self.width))
        return plane[:, :, start - first * self.factor : stop - first * self.factor]

    def read(self, start: int, stop: int) -> torch.Tensor:
        return map_to_tokens(self.plane(start, stop))
