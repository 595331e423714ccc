"""One state for all levels of a pyramid: each level writes it, and each reads it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from saga_mm.foundation import BaseModule
from saga_mm.models.attention import CrossWindowAttention, build_attention
from saga_mm.models.init import init_weights
from saga_mm.models.padding import Size, by_size, level_sizes
from saga_mm.models.stack_padding import watch_stack
from saga_mm.ops import Grid, map_to_tokens, tokens_to_map
from saga_mm.rows import RowRunner, Rows, RowStep, crop_rows


class SharedState(BaseModule):
    """Global attention over the maps of a pyramid, added to them.

    The tokens of each level are normed, projected to common channels and told their level; then all levels write one
    state, weighed by their numbers of tokens as if they were one set, and the tokens of each level read it. With SAGA
    or another linear attention that costs as little as attention within each level::

        t_i = norm_i(x_i) W_i + e_i,   S = merge_i(write(t_i)),   y_i = x_i + read(t_i, S) U_i

    ``U_i`` starts at zero, so that at first nothing changes.

    Args:
        in_channels: Channels of each level.
        embed_dims: Common channels, in which the levels attend.
        num_heads: Heads; must divide ``embed_dims``.
        attention: As of a backbone: a name or a dict with ``type`` and its options. Windows have no state
            that levels could share.
        init_cfg: Initialisation config of mmengine.

    Raises:
        ValueError: If an argument is unknown or does not fit.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        embed_dims: int = 128,
        num_heads: int = 4,
        attention: str | dict = 'saga',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        watch_stack()
        listed = isinstance(in_channels, Sequence) and all(isinstance(n, int) and n > 0 for n in in_channels)
        if not listed or not in_channels:
            raise ValueError(f'in_channels must list the channels of one level at least, got {in_channels!r}')
        self.in_channels, self.embed_dims = tuple(in_channels), embed_dims
        # of its own for each level: maps of a backbone and of an FPN differ in scale by level
        self.norms = nn.ModuleList(nn.LayerNorm(channels, eps=1e-6) for channels in in_channels)
        self.enter = nn.ModuleList(nn.Linear(channels, embed_dims) for channels in in_channels)
        self.attn = build_attention(attention, embed_dims, num_heads)
        # stripes do write a state, but one of columns of a single map, which those of another size do not join
        if not self.attn.sweeps or isinstance(self.attn, CrossWindowAttention):
            raise ValueError(f'attention={attention!r} has no state for levels to share; choose another, such as saga')
        self.leave = nn.ModuleList(nn.Linear(embed_dims, channels) for channels in in_channels)
        for module in (self.norms, self.enter):
            module.apply(init_weights)
        # the bias of its projection distinguishes the tokens of a level from those of other levels
        for layer in self.enter:
            nn.init.trunc_normal_(layer.bias, std=0.02)
        for layer in self.leave:
            # a pretrained detector answers at first as without this neck
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def sweeps(self) -> int:
        """How often all tokens of all levels must be written before any can be read."""
        return self.attn.sweeps

    @property
    def halo(self) -> int:
        """Rows that :meth:`read` needs beyond each edge of a strip."""
        return self.attn.halo

    def write(self, x: torch.Tensor, grid: Grid, level: int, state: Any = None) -> Any:
        """State of the tokens ``x``, ``(B, N, in_channels[level])``, that stand at ``grid`` of a level.

        In a second sweep, ``state`` is the merged state of the first.
        """
        return self.attn.write(self._embed(x, level), grid, state)

    def merge(self, states: Sequence[Any]) -> Any:
        """State of all tokens behind ``states``, of any levels."""
        return self.attn.merge(states)

    def read(self, x: torch.Tensor, grid: Grid, level: int, state: Any) -> torch.Tensor:
        """The tokens ``x``, ``(B, N, in_channels[level])``, that stand at ``grid``, with what the state answers."""
        return x + self._answer(self._embed(x, level), grid, level, state)

    def forward(self, inputs: Sequence[torch.Tensor], sizes: Sequence[Size] | None = None) -> list[torch.Tensor]:
        """Maps ``(B, in_channels[i], H_i, W_i)`` of any sizes, to maps of the same shapes.

        Args:
            inputs: The maps.
            sizes: Rows and columns of each picture in pixels, as of :func:`~saga_mm.models.padding.level_sizes`: maps
                of a padded batch are those of each picture alone, and zero beside it. None as of the backbones.

        Raises:
            ValueError: If there are not as many maps as ``in_channels``, or their channels are others, or ``sizes``
                do not fit them.
        """
        check_maps(inputs, self.in_channels)
        inside = level_sizes(inputs, sizes)
        if inside is not None:
            return list(by_size(self._shared, inputs, inside, [tuple(x.shape[2:]) for x in inputs]))
        return self._shared(inputs)

    def _shared(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        grids = [Grid.whole(*x.shape[2:]) for x in inputs]
        # once: each sweep and the reading need the same tokens
        tokens = [self._embed(map_to_tokens(x), level) for level, x in enumerate(inputs)]
        state = None
        for _ in range(self.sweeps):
            state = self.merge([self.attn.write(x, grid, state) for x, grid in zip(tokens, grids)])
        outs = []
        for level, (plane, grid) in enumerate(zip(inputs, grids)):
            mixed = tokens_to_map(self._answer(tokens[level], grid, level, state), grid)
            # some compiled operators downstream read memory as if it were plain NCHW
            outs.append((plane + mixed).contiguous())
        return outs

    def forward_rows(self, maps: Sequence[Rows], runner: RowRunner) -> list[Rows]:
        """As :meth:`forward`, in strips of rows."""
        return runner.share([LevelStep(self, level) for level in range(len(self.in_channels))], maps)

    def _embed(self, x: torch.Tensor, level: int) -> torch.Tensor:
        return self.enter[level](self.norms[level](x))

    def _answer(self, tokens: torch.Tensor, grid: Grid, level: int, state: Any) -> torch.Tensor:
        return self.leave[level](self.attn.read(tokens, grid, state))


def check_maps(inputs: Sequence[torch.Tensor], in_channels: Sequence[int]) -> None:
    """Refuse maps that a neck was not built for.

    Raises:
        ValueError: If there are not as many maps as ``in_channels``, or their channels are others.
    """
    if len(inputs) != len(in_channels):
        raise ValueError(f'{len(inputs)} maps were given where in_channels names {len(in_channels)}')
    channels = [x.shape[1] for x in inputs]
    if channels != list(in_channels):
        raise ValueError(f'maps of {channels} channels were given where in_channels says {list(in_channels)}')


class LevelStep(RowStep):
    """One level of a shared state, as a step over rows."""

    def __init__(self, neck: SharedState, level: int) -> None:
        self.neck, self.level = neck, level
        self.sweeps, self.halo, self.row_multiple = neck.sweeps, neck.halo, neck.attn.row_multiple
        self.peak_floats_per_token = neck.attn.peak_floats_per_channel * neck.embed_dims + 3 * neck.in_channels[level]
        self.state_floats_per_token = neck.attn.state_floats_per_channel * neck.embed_dims
        self.label = f'level {level}'

    @property
    def step_modules(self) -> Sequence[nn.Module]:
        parts = (self.neck.enter, self.neck.norms, self.neck.leave)
        return [*(part[self.level] for part in parts), self.neck.attn]

    def write(self, x: torch.Tensor, grid: Grid, state: Any = None) -> Any:
        return self.neck.write(x, grid, self.level, state)

    def merge(self, states: Sequence[Any]) -> Any:
        return self.neck.merge(states)

    def read(self, x: torch.Tensor, grid: Grid, state: Any, keep: Grid) -> torch.Tensor:
        return crop_rows(self.neck.read(x, grid, self.level, state), grid, keep)
