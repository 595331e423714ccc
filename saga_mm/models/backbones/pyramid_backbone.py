"""The base class of all backbones: stages, outputs, freezing, one attention or one for each stage."""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

import torch
from torch import nn

from saga_mm.foundation import BaseModule
from saga_mm.models.attention import TokenMixer, build_attention
from saga_mm.models.padding import Size, by_size, coarser, picture_sizes, reads_padding, trains_batch_norm
from saga_mm.models.saved_folders import Savable
from saga_mm.models.stack_padding import watch_stack
from saga_mm.ops import contiguous_map
from saga_mm.rows import AppliedRows, MemoryRows, Part, RowRunner, Rows

from .chunks import chunk_bytes, engine_for, run_on

Attention = str | dict | type[TokenMixer] | Sequence[str | dict | type[TokenMixer]]


class PyramidBackbone(Savable, BaseModule):
    """Stages one after the other, some of whose maps are returned.

    A backbone builds its stages into ``self.stages`` and then calls :meth:`freeze`.

    Args:
        embed_dims: Channels of each stage.
        attention: One for all stages, or a list with one for each; see :func:`resolve_attention`.
        out_indices: Stages whose maps are returned.
        frozen_stages: -1 freezes nothing, 0 the first embedding, n the first n stages.
        init_cfg: Initialisation config of mmengine.

    Attributes:
        softmax: The attention that ``attention='softmax'`` selects in this backbone.
        class_token: Whether a class token takes part in some of the stages.

    Raises:
        ValueError: If an argument does not fit the number of stages.
    """

    kind = 'backbone'
    softmax: str = 'softmax'
    class_token: bool = False

    def __init__(
        self,
        embed_dims: Sequence[int],
        attention: Attention,
        out_indices: Sequence[int],
        frozen_stages: int,
        init_cfg: dict | list[dict] | None,
    ) -> None:
        super().__init__(init_cfg)
        count = len(embed_dims)
        self.embed_dims = tuple(embed_dims)
        self.mixers = [attention] * count if isinstance(attention, str | dict | type) else list(attention)
        if len(self.mixers) != count:
            raise ValueError(f'attention lists {len(self.mixers)} entries for {count} stages')
        if not out_indices or not set(out_indices) <= set(range(count)):
            raise ValueError(f'out_indices={tuple(out_indices)} must name some of the stages 0 to {count - 1}')
        if not -1 <= frozen_stages <= count:
            raise ValueError(f'frozen_stages={frozen_stages} must be between -1 and {count}')
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.stages = nn.ModuleList()
        self.out_norms = nn.ModuleDict()
        # mmdet and mmseg know how large each picture of a padded batch is, and do not tell the backbone
        watch_stack()

    def build_mixer(self, stage: int, num_heads: int, **offers: Any) -> TokenMixer:
        """The attention of a stage's block. Of ``offers`` it is given what its class ``takes``."""
        return build_attention(self.mixers[stage], self.embed_dims[stage], num_heads, self.softmax, **offers)

    def add_out_norms(self, eps: float) -> None:
        """Give each output a LayerNorm over its channels that the next stage does not see."""
        for i in sorted(self.out_indices):
            self.out_norms[str(i)] = nn.LayerNorm(self.embed_dims[i], eps=eps)

    def add_class_token(self, stage: int) -> None:
        """Have a class token from a stage on.

        Raises:
            ValueError: If a block from there on does not take it, or no map is returned of these stages.
        """
        if max(self.out_indices) < stage:
            raise ValueError(f'class_token=True: out_indices={self.out_indices} end before its stage, {stage}')
        for block in (block for later in self.stages[stage:] for block in later.blocks):
            if not block.attn.takes_class_token:
                raise ValueError(f'class_token=True: {type(block.attn).__name__} does not take a class token')
            if block.feed_forward.halo:
                kind = type(block.feed_forward).__name__
                raise ValueError(f'class_token=True: {kind} looks at neighbours, and a class token has none')
        self.class_token = True
        self.stages[stage].add_class_token()

    def forward(self, x: torch.Tensor, sizes: Sequence[Size] | None = None) -> tuple[torch.Tensor, ...]:
        """Maps ``(B, embed_dims[i], ceil(H / stride), ceil(W / stride))`` of an image batch ``(B, 3, H, W)``.

        One for each of ``out_indices``, in ascending order, contiguous: some compiled operators downstream read memory
        as if all maps were.

        Args:
            x: The images, padded below and to the right to one size.
            sizes: Rows and columns of each picture, in pixels: maps are those of the picture alone, and zero beside
                it. None for what the data samples say in a model of mmdet or mmseg, and whole images elsewhere.
                Attention within windows alone sees the padding, as published.

        Raises:
            ValueError: If ``sizes`` do not fit the batch.
        """
        sizes = picture_sizes(x, sizes)
        known = all(hasattr(stage.embed, 'stride') for stage in self.stages)
        if sizes is None or not known or not reads_padding(self):
            return self._run(x)
        # statistics of a batch norm are of all pictures: its embedding sees the batch, the blocks each size
        if trains_batch_norm(self):
            return self._compute(x, sizes)
        strides = list(accumulate((stage.embed.stride for stage in self.stages), mul))
        shapes = [coarser([tuple(x.shape[2:])], strides[i])[0] for i in sorted(self.out_indices)]
        return by_size(lambda pictures: self._run(*pictures), [x], [sizes], shapes)

    def forward_token(self, x: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """The maps of an image batch ``(B, 3, H, W)``, as of :meth:`forward`, and the class token ``(B, C)``."""
        maps, token = self._compute_with_token(x)
        return maps, token.squeeze(1)

    def _run(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.class_token:
            return self._compute_with_token(x)[0]
        engine = engine_for(self, x)
        if engine is None:
            return self._compute(x)
        # a graph of the whole model is the fastest, and takes memory for all of the image at once
        whole = max(part.whole_bytes(len(x)) for part in self.parts(*x.shape[2:]))
        if whole <= engine.whole_bytes:
            outs = run_on(engine, [self], self._compute, x)
            return outs if isinstance(outs, tuple) else (outs,)
        if engine.strip_engine.name == 'torch':
            return self._compute(x)
        runner = RowRunner(chunk=engine.chunk, engine=engine)
        outs = self.forward_rows(MemoryRows(x.permute(0, 2, 3, 1)), runner)
        # each map of tokens goes when it was copied
        return tuple(runner.gather(outs.pop(0)) for _ in range(len(outs)))

    def _compute(self, x: torch.Tensor, sizes: Sequence[Size] | None = None) -> tuple[torch.Tensor, ...]:
        outs = []
        for i, stage in enumerate(self.stages[: max(self.out_indices) + 1]):
            if sizes is None:
                x = stage(x)
            else:
                x = stage(x, sizes)
                sizes = coarser(sizes, stage.embed.stride)
            if i in self.out_indices:
                outs.append(self._normed(x, self.out_norms[str(i)], sizes) if self.out_norms else x)
        # the next stage has read its tokens by now, so that no map exists twice while stages run
        for i in range(len(outs)):
            outs[i] = contiguous_map(outs[i])
        return tuple(outs)

    def _compute_with_token(self, x: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        outs, token, last = [], None, max(self.out_indices)
        for i, stage in enumerate(self.stages[: last + 1]):
            x, token = stage.forward_with_token(x, token)
            if i in self.out_indices:
                outs.append(contiguous_map(self._normed(x, self.out_norms[str(i)]) if self.out_norms else x))
        return tuple(outs), self.out_norms[str(last)](token) if self.out_norms else token

    def _normed(self, x: torch.Tensor, norm: nn.Module, sizes: Sequence[Size] | None = None) -> torch.Tensor:
        if sizes is not None:
            return by_size(lambda maps: [self._normed(*maps, norm)], [x], [sizes], [tuple(x.shape[2:])])[0]
        channels_last = x.permute(0, 2, 3, 1)
        # of all norms, since a hook on one of them shall see a whole map
        chunk = chunk_bytes(self.out_norms, x)
        # a graph for images of any size has no bytes to compare
        if chunk < math.inf and x.nbytes > chunk:
            return RowRunner().gather(AppliedRows(MemoryRows(channels_last), norm))
        return norm(channels_last).permute(0, 3, 1, 2)

    def parts(self, height: int, width: int) -> list[Part]:
        """The stages' steps, for an image of this size; see :func:`saga_mm.rows.plan_runner`."""
        parts = []
        for stage in self.stages[: max(self.out_indices) + 1]:
            parts.append(Part(stage.steps, height, width))
            height, width = (-(-side // stage.embed.stride) for side in (height, width))
        return parts

    def forward_rows(self, image: Rows, runner: RowRunner) -> list[Rows]:
        """As :meth:`forward`, in strips of rows: the same maps, to be asked for rows.

        Args:
            image: The image batch; rows are asked for in order, some of them twice.
            runner: Made by :func:`saga_mm.rows.plan_runner` of :meth:`parts`.

        Raises:
            ValueError: If the model is not in evaluation mode, where all layers work row by row, or has a class token.
        """
        if self.training and not runner.trains:
            raise ValueError('in strips a model runs in evaluation mode alone; call eval() first')
        if self.class_token:
            raise ValueError(f'{type(self).__name__} does not run in strips with its class token: class_token=False')
        outs, x = [], image
        with runner.gradients():
            for i, stage in enumerate(self.stages[: max(self.out_indices) + 1]):
                x = stage.normed(runner.run(stage.steps, x))
                if i in self.out_indices:
                    outs.append(AppliedRows(x, self.out_norms[str(i)]) if self.out_norms else x)
        return outs

    @property
    def num_layers(self) -> int:
        """Blocks of all stages; one more than the deepest of them is the layer of whatever follows."""
        return sum(len(stage.blocks) for stage in self.stages)

    def layer_of(self, name: str) -> int:
        """How deep a parameter stands, for learning rates that decay by layer.

        Args:
            name: As in ``named_parameters()`` of the backbone.

        Returns:
            0 for the first embedding, 1 to ``num_layers`` for the blocks in order. A later embedding goes with the
            block behind it, a stage's norm with the block before it, and a norm of an output is layer
            ``num_layers + 1``, as a neck or head would be.
        """
        kind, *parts = name.split('.')
        if kind != 'stages':
            return self.num_layers + 1
        stage, part = int(parts[0]), parts[1]
        before = sum(len(earlier.blocks) for earlier in self.stages[:stage])
        if part == 'blocks':
            return before + int(parts[2]) + 1
        if part == 'norm':
            return before + len(self.stages[stage].blocks)
        return before + 1 if stage else 0

    def train(self, mode: bool = True) -> 'PyramidBackbone':
        """Switch between training and evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        # loops call train() before every epoch, which reaches what is frozen as well
        self.freeze()
        return self

    def freeze(self) -> None:
        """Freeze what ``frozen_stages`` says."""
        frozen = list(self.stages[: max(self.frozen_stages, 0)])
        if self.frozen_stages == 0:
            frozen = [self.stages[0].embed]
        for module in frozen:
            module.eval()
            module.requires_grad_(False)


def resolve_arch(arch: str | Mapping, archs: Mapping[str, Mapping]) -> Mapping:
    """The numbers behind ``arch=``: a name of ``archs``, or a mapping with the keys that those have.

    Raises:
        ValueError: If the name is unknown, a key is missing, or lists differ in length.
    """
    if isinstance(arch, str):
        if arch not in archs:
            raise ValueError(f'unknown arch {arch!r}; choose one of {", ".join(archs)}, or give a dict')
        return archs[arch]
    model = next(iter(archs.values()))
    if missing := sorted(set(model) - set(arch)):
        raise ValueError(f'arch lacks {", ".join(missing)}')
    lengths = {key: len(arch[key]) for key, value in model.items() if isinstance(value, tuple)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f'arch needs one number a stage in every list, got lengths {lengths}')
    return arch


def drop_path_rates(largest: float, depths: Sequence[int]) -> list[list[float]]:
    """Rates of stochastic depth that grow linearly from 0 over all blocks, by stage."""
    last = max(sum(depths) - 1, 1)
    rates = iter([largest * i / last for i in range(last + 1)])
    return [[next(rates) for _ in range(depth)] for depth in depths]
