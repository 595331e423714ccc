"""A stage of a pyramid, which runs a large map in chunks of rows."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from saga_mm.models.padding import Size, by_size, coarser, trains_batch_norm
from saga_mm.ops import Grid, ceil_div, map_to_tokens, number_bytes, tokens_to_map
from saga_mm.rows import AppliedRows, LocalStep, MemoryRows, Part, RowRunner, Rows, RowStep

from .chunks import chunk_bytes, overrides_forward


class Stage(nn.Module):
    """From a map to a coarser map: embedding, position, blocks, norm.

    In inference, a large map is run in chunks of rows, so that what is wide inside a block never exists for all of it,
    unless :func:`~saga_mm.models.backbones.chunks.whole_reason` says why it must be run whole.

    The map that it returns may be a view of tokens, channels last, which the embedding of the next stage reads fastest.

    Args:
        embed: Makes tokens of a map: ``(B, C, H, W)`` to tokens and their grid.
        blocks: Modules from tokens and grid to tokens.
        position: From a grid to what is added to the tokens, or None.
        norm: Applied to the tokens that leave the stage, or None.
        with_cp: Recompute each block in the backward pass instead of keeping its activations.

    Attributes:
        class_token: The class token that starts in this stage, ``(1, 1, C)``; None in any other stage.
    """

    def __init__(
        self,
        embed: nn.Module,
        blocks: Sequence[nn.Module],
        position: nn.Module | None = None,
        norm: nn.Module | None = None,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.embed = embed
        self.position = position
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.with_cp = with_cp
        self.class_token: nn.Parameter | None = None

    @property
    def steps(self) -> list[RowStep]:
        """The stage without its norm, as steps that run one after the other.

        Raises:
            ValueError: If a part lacks what a row step needs, or has a forward of its own, which rows would not call.
        """
        if unfit := self.unfit:
            raise ValueError(unfit)

        def enter(x: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, Grid]:
            return self.enter(tokens_to_map(x, grid), grid)

        modules = [self.embed] if self.position is None else [self.embed, self.position]
        # a batch norm that trains takes its statistics from all rows, so it is a step with a state of its own
        if trains_batch_norm(self.embed):
            embed = [*self.embed.steps, *([] if self.position is None else [self._position_step()])]
        else:
            floats = self.embed.peak_floats_per_token
            embed = [LocalStep(enter, floats, self.embed.stride, self.embed.reach, modules, 'embed')]
        return [*embed, *(step for block in self.blocks for step in block.steps)]

    def _position_step(self) -> RowStep:
        return LocalStep(lambda x, grid: (self._add_position(x, grid), grid), 4.0, label='position')

    @property
    def unfit(self) -> str | None:
        """The part that runs on whole maps only, and why, as a sentence; None if all parts run by rows."""
        fit = all(hasattr(self.embed, name) for name in ('stride', 'reach', 'peak_floats_per_token'))
        for part in [block for block in self.blocks if not hasattr(block, 'steps')] + [self.embed] * (not fit):
            return f'{type(part).__name__} does not run in strips: see PatchEmbed and MixerBlock for what it takes'
        for part in self.modules():
            if overrides_forward(part):
                return (
                    f'{type(part).__name__} does not run in strips: it has a forward of its own, which rows do not call'
                )
        return None

    def enter(self, x: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, Grid]:
        """Tokens of a strip ``(B, C, rows, W)`` of the map, at ``grid``, with their position."""
        x, piece = self.embed(x)
        if grid.rows == grid.height:
            grid = piece
        else:
            # the embedding takes the strip for a whole map: count its rows in the coarser map of the whole image
            stride = self.embed.stride
            start = grid.start // stride
            grid = Grid(ceil_div(grid.height, stride), piece.width, start, start + piece.height)
        return self._add_position(x, grid), grid

    def _add_position(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        return x if self.position is None else x + self.position(grid)

    def forward(self, x: torch.Tensor, sizes: Sequence[Size] | None = None) -> torch.Tensor:
        """The coarser map of a map ``(B, C, H, W)``.

        Args:
            x: The map.
            sizes: Rows and columns of each picture in a padded map, beside which the coarser map is zero; None for
                whole maps. Batch norms of the embedding that train see the padding, as those of the published code do.
        """
        if sizes is not None:
            return self._by_size(x, sizes)
        chunk = chunk_bytes(self, x)
        if chunk == math.inf or self.unfit:
            return self._whole(x)
        # whole images as long as they fit into a chunk, else rows of one image after the other
        # an image that fits is not cut, so that few calls are made for many small images
        images = int(chunk / Part(self.steps, *x.shape[2:]).whole_bytes(1, number_bytes(x.dtype)))
        return self._whole(x) if images >= len(x) else self._in_chunks(x, images, chunk)

    def _in_chunks(self, x: torch.Tensor, images: int, chunk: float) -> torch.Tensor:
        out = None
        for i in range(0, len(x), max(images, 1)):
            part = x[i : i + max(images, 1)]
            part = self._whole(part) if images else self._in_rows(part, chunk)
            if len(part) == len(x):
                return part
            if out is None:
                out = part.new_empty(len(x), *part.shape[1:])
            out[i : i + len(part)] = part
        return out

    def _in_rows(self, x: torch.Tensor, chunk: float) -> torch.Tensor:
        runner = RowRunner(chunk=chunk, number=number_bytes(x.dtype))
        rows = runner.run(self.steps, MemoryRows(x.permute(0, 2, 3, 1)))
        return runner.gather(self.normed(rows))

    def normed(self, rows: Rows) -> Rows:
        """The map that leaves the stage, from the map that its steps make."""
        return rows if self.norm is None else AppliedRows(rows, self.norm)

    def _by_size(self, x: torch.Tensor, sizes: Sequence[Size]) -> torch.Tensor:
        stride = self.embed.stride
        (shape,), inner = coarser([tuple(x.shape[2:])], stride), coarser(sizes, stride)
        if not trains_batch_norm(self.embed):
            return by_size(lambda maps: [self(*maps)], [x], [sizes], [shape])[0]
        # the embedding sees the padded batch in one call, as its batch norms need all of it; the blocks see each size
        tokens, grid = self.embed(x)

        def mix(maps: list[torch.Tensor]) -> list[torch.Tensor]:
            return [self._whole(map_to_tokens(maps[0]), Grid.whole(*maps[0].shape[2:]))]

        return by_size(mix, [tokens_to_map(tokens, grid)], [inner], [shape])[0]

    def _whole(self, x: torch.Tensor, grid: Grid | None = None) -> torch.Tensor:
        """The map that leaves the stage, from the map that enters it, or from embedded tokens at ``grid``."""
        # one name for all, so that no map outlives its use
        if grid is None:
            x, grid = self.embed(x)
        x = self._add_position(x, grid)
        for block in self.blocks:
            x = self._run_block(block, x, grid)
        if self.norm is not None:
            x = self.norm(x)
        return tokens_to_map(x, grid)

    def _run_block(self, block: Callable[..., torch.Tensor], x: torch.Tensor, grid: Grid) -> torch.Tensor:
        if self.with_cp and self.training and torch.is_grad_enabled():
            return checkpoint(block, x, grid, use_reentrant=False)
        return block(x, grid)

    def add_class_token(self) -> None:
        """Have a class token from this stage on; see :meth:`PyramidBackbone.add_class_token`."""
        self.class_token = nn.Parameter(torch.zeros(1, 1, self.blocks[0].norm1.weight.numel()))
        nn.init.trunc_normal_(self.class_token, std=0.02)

    def forward_with_token(
        self, x: torch.Tensor, token: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The coarser map of a map ``(B, C, H, W)``, run whole, and the class token ``(B, 1, C)``.

        Args:
            x: The map.
            token: The class token of the stage before; None if there was none.
        """
        if self.class_token is not None:
            token = self.class_token.expand(len(x), -1, -1)
        if token is None:
            return self(x), None
        x, grid = self.embed(x)
        x = torch.cat([token.to(x.dtype), self._add_position(x, grid)], dim=1)
        for block in self.blocks:
            x = self._run_block(block.forward_with_token, x, grid)
        if self.norm is not None:
            x = self.norm(x)
        return tokens_to_map(x[:, 1:], grid), x[:, :1]
