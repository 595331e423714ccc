"""Maps of SAGA's gates over an image, drawn and as figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from saga_mm.display.fonts import plot_text
from saga_mm.display.table import format_table
from saga_mm.errors import SagaError
from saga_mm.files import make_folder, write_image
from saga_mm.images.pictures import read_picture
from saga_mm.models.attention import SAGAAttention
from saga_mm.ops import Grid, fused_kernels

from .subjects import as_batch, build_backbone, check_size, load_matching, mixers_of, model_stem, read_backbone_weights

KINDS = ('key', 'value', 'product')
TITLES = ('key gate', 'value gate', 'product of the two')


@dataclass(frozen=True)
class LayerGates:
    """The gates of one layer on one image, means over channels, heads and outer products.

    Attributes:
        layer: ``'3.2'`` is the second block of stage 3.
        key: ``(h, w)``, or None where the keys are not gated.
        value: ``(h, w)``, or None where the values are not gated.
        product: ``(h, w)``: the mean of all entries of a token's gate ``a^T b`` on its ``k^T v``.
    """

    layer: str
    key: torch.Tensor | None
    value: torch.Tensor | None
    product: torch.Tensor

    @property
    def stage(self) -> str:
        return self.layer.partition('.')[0]

    def maps(self) -> dict[str, torch.Tensor | None]:
        """The three maps by the names in :data:`KINDS`."""
        return {kind: getattr(self, kind) for kind in KINDS}


def collect_gates(net: nn.Module, image: torch.Tensor) -> list[LayerGates]:
    """The gates of all gated layers of a backbone on one image, ``(1, 3, H, W)``.

    Raises:
        SagaError: No layer has gates.
    """
    mixers = {layer: mixer for layer, mixer in mixers_of(net).items() if _gated(mixer)}
    if not mixers:
        kinds = ', '.join(sorted({type(mixer).__name__ for mixer in mixers_of(net).values()}))
        raise SagaError(f'the model has no gates to show: its attention is {kinds}; only SAGA with gates has them')
    found: list[LayerGates] = []
    grids: dict[str, Grid] = {}

    def place(layer: str) -> Any:
        return lambda mixer, args: grids.update({layer: args[1]})

    def watch(layer: str) -> Any:
        def hook(module: nn.Module, args: Any, terms: Sequence[tuple]) -> None:
            grid, ratio = grids[layer], mixers[layer].sr_ratio
            found.append(_summarise(layer, terms, (-(-grid.height // ratio), -(-grid.width // ratio))))

        return hook

    handles = [mixer.register_forward_pre_hook(place(layer)) for layer, mixer in mixers.items()]
    handles += [mixer.gates.register_forward_hook(watch(layer)) for layer, mixer in mixers.items()]
    try:
        # kernels are given logits instead
        with torch.no_grad(), fused_kernels(False):
            net(image)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _gated(mixer: nn.Module) -> bool:
    return isinstance(mixer, SAGAAttention) and bool(mixer.gates.sides)


def _summarise(
    layer: str, terms: Sequence[tuple[torch.Tensor | None, torch.Tensor | None]], size: tuple[int, int]
) -> LayerGates:
    sides = []
    for gates in zip(*terms, strict=True):
        # (terms, N, heads), one term for each outer product
        means = [gate[0].mean(-1) for gate in gates if gate is not None]
        sides.append(torch.stack(means).float() if means else None)
    known = [side for side in sides if side is not None]
    product = torch.stack(known).prod(0)
    maps = [None if each is None else each.mean((0, 2)).view(size) for each in (*sides, product)]
    return LayerGates(layer, *maps)


def gate_rows(gates: Sequence[LayerGates]) -> list[tuple[str, ...]]:
    """For each layer, the mean of each map and the values that 5% and 95% of its tokens stay below."""
    rows = []
    for each in gates:
        cells = []
        for values in each.maps().values():
            if values is None:
                cells.append('not gated')
                continue
            low, high = torch.quantile(values.double().flatten(), torch.tensor((0.05, 0.95), dtype=torch.float64))
            cells.append(f'{values.mean():.4f} ({low:.4f} to {high:.4f})')
        rows.append((each.layer, *cells))
    return rows


def stage_maps(gates: Sequence[LayerGates]) -> dict[str, dict[str, torch.Tensor | None]]:
    """Means over the layers of each stage, by stage and by the names in :data:`KINDS`."""
    stages: dict[str, list[LayerGates]] = {}
    for each in gates:
        stages.setdefault(each.stage, []).append(each)
    return {
        stage: {kind: _mean([layer.maps()[kind] for layer in layers]) for kind in KINDS}
        for stage, layers in stages.items()
    }


def _mean(maps: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    known = [each for each in maps if each is not None]
    return torch.stack(known).mean(0) if known else None


def plot_gates(gates: Sequence[LayerGates], picture: np.ndarray, path: Path, title: str) -> Path:
    """Draw the gates of each stage over a picture, ``(H, W, 3)`` uint8, into an image file."""
    from matplotlib.figure import Figure

    stages = stage_maps(gates)
    height, width = picture.shape[:2]
    tall = min(max(3.4 * height / width, 1.2), 6.0)
    figure = Figure(figsize=(3 * 4.2, len(stages) * (tall + 0.5) + 0.5), layout='constrained')
    figure.suptitle(plot_text(title), fontsize=11)
    axes = figure.subplots(len(stages), 3, squeeze=False)
    # grey, so that colour means the gate alone
    grey = picture.mean(-1)
    for row, (stage, maps) in enumerate(stages.items()):
        for column, values in enumerate(maps.values()):
            plot = axes[row, column]
            plot.set(xticks=[], yticks=[])
            if row == 0:
                plot.set_title(TITLES[column], fontsize=11)
            if column == 0:
                side = ' x '.join(map(str, maps['product'].shape))
                plot.set_ylabel(f'stage {stage}\n{side} tokens', fontsize=11)
            plot.imshow(grey, cmap='gray', vmin=-80, vmax=335, extent=(0, width, height, 0))
            if values is None:
                plot.text(width / 2, height / 2, 'not gated', ha='center', va='center', fontsize=11)
                continue
            low, high = np.quantile(values.numpy(), (0.02, 0.98))
            heat = plot.imshow(
                values, cmap='viridis', vmin=low, vmax=max(high, low + 1e-6), alpha=0.6, extent=(0, width, height, 0)
            )
            bar = figure.colorbar(heat, ax=plot, shrink=0.9, extend='both')
            bar.solids.set_alpha(1)
            bar.ax.tick_params(labelsize=8)
            bar.ax.ticklabel_format(useOffset=False)
    write_image(path, figure.savefig, dpi=110)
    return path


def report_gates(
    model: str,
    checkpoint: str | None,
    image: str,
    size: tuple[int, int] | None = None,
    out: Path | None = None,
) -> list[LayerGates]:
    """Print how far the gates of each layer open on a picture, and draw where, into ``IMAGE_gates.png``.

    Args:
        model: A config file, or a backbone's name.
        checkpoint: Its weights, or None for random ones.
        image: The picture.
        size: ``(H, W)`` that it is squeezed to; by default its own, made smaller to 640 pixels at the longer side.
        out: Folder of the drawing; ``work_dirs/gates/MODEL`` by default.

    Raises:
        SagaError: Something in the input is wrong, or the model has no gates.
    """
    if not Path(image).is_file():
        raise SagaError(f'{image}: no such picture')
    picture = read_picture(image)
    check_size(size or (1, 1))
    longer = max(picture.shape[:2])
    scaled = tuple(max(1, round(side * min(1, 640 / longer))) for side in picture.shape[:2])
    net = build_backbone(model)
    note = load_matching(net, read_backbone_weights(checkpoint), checkpoint) if checkpoint else None
    gates = collect_gates(net, as_batch(picture, size or scaled))
    print(format_table(('layer', *(f'{title}: mean (5% to 95%)' for title in TITLES)), gate_rows(gates)))
    print(
        '\nmeans over channels and heads; the percentages are of the tokens; each panel has a colour scale of its own'
    )
    print(
        f'weights: {note}'
        if note
        else 'NOTE: there is no checkpoint. The weights are RANDOM, and the gates say nothing.'
    )
    folder = make_folder(out or Path('work_dirs', 'gates', model_stem(model)))
    title = f'{model_stem(model)}, {Path(checkpoint).name if checkpoint else "random weights"}, {Path(image).name}'
    print(f'drawn: {plot_gates(gates, picture, folder / f"{Path(image).stem}_gates.png", title)}')
    return gates
