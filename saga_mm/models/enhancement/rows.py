"""Maps of the enhancer that are computed when their rows are read."""

import torch
from torch import nn

from saga_mm.ops import map_to_tokens
from saga_mm.rows import TORCH, Engine, Rows, Span


class UpsampledRows(Rows):
    """A map after a layer that enlarges each token by itself, computed when rows are asked for.

    Args:
        rows: The map.
        layer: Its ``enlarge`` makes the larger map, not cropped.
        size: ``(H, W)`` of the whole larger map.
        factor: Rows that the layer makes of one.
        engine: Where the layer runs.
    """

    def __init__(
        self, rows: Rows, layer: nn.Module, size: tuple[int, int], factor: int, engine: Engine = TORCH
    ) -> None:
        super().__init__(rows.batch, *size)
        self.rows, self.layer, self.factor, self.engine = rows, layer, factor, engine

    def plane(self, start: int, stop: int) -> torch.Tensor:
        first = start // self.factor
        plane = self.rows.plane(first, -(-stop // self.factor))
        plane = self.engine.apply(self.layer.enlarge, [self.layer], plane)
        return plane[:, :, start - first * self.factor : stop - first * self.factor, : self.width]

    def read(self, start: int, stop: int) -> torch.Tensor:
        return map_to_tokens(self.plane(start, stop))

    def sources(self, start: int, stop: int) -> list[Span]:
        return [Span(self.rows, start // self.factor, -(-stop // self.factor))]
