"""Tables of all models: parity with the published ones, parameters beside theirs, half precision."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from saga_mm.analysis.subjects import check_size
from saga_mm.display.progress import progress_bar
from saga_mm.errors import SagaError
from saga_mm.files import write_file
from saga_mm.models.attention import TokenMixer, build_attention
from saga_mm.models.backbones import create_backbone, list_backbones
from saga_mm.ops import Grid

from .parity import LIMIT, measure_parity

# parameters of the classifiers of 1000 classes that the published code of each family builds
PUBLISHED: dict[str, int] = {
    'pvt_tiny': 13_229_288,
    'pvt_v2_b0': 3_666_760,
    'flatten_pvt_tiny': 12_150_504,
    'flatten_pvt_small': 21_670_248,
    'flatten_pvt_medium': 37_242_216,
    'flatten_pvt_large': 50_649_192,
    'flatten_pvt_v2_b0': 3_594_824,
    'flatten_pvt_v2_b1': 12_931_240,
    'flatten_pvt_v2_b2': 22_548_264,
    'flatten_pvt_v2_b3': 38_273_832,
    'flatten_pvt_v2_b4': 51_836_968,
    'flatten_swin_tiny': 29_192_384,
    'flatten_swin_small': 50_510_288,
    'flatten_swin_base': 88_972_488,
    'flatten_swin_base_384': 91_433_928,
    'flatten_cswin_tiny': 21_201_768,
    'flatten_cswin_small': 35_451_752,
    'flatten_cswin_base': 74_867_032,
    'flatten_cswin_base_384': 78_369_112,
    'ravlt_tiny': 14_897_768,
    'ravlt_small': 25_591_208,
    'ravlt_base': 48_241_288,
    'ravlt_large': 95_242_440,
}
CLASSES = 1000
# mixers of stages 3 and 4 cost the square of the tokens; they run at the stride of stage 3, four times stage 1's
MIXERS: dict[str, tuple[dict, int]] = {
    'saga': ({}, 1),
    'focused': ({}, 1),
    'rala': ({}, 1),
    'linear': ({}, 1),
    'mala': ({}, 1),
    'softmax': ({'sr_ratio': 8}, 1),
    'window': ({'shift': 3}, 1),
    'cross_window': ({'stripe_width': 1}, 1),
    'rope_softmax': ({}, 4),
}
DIMS, HEADS = 64, 2
INPUTS = ('8x', 'negative')
HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class HalfResult:
    """One mixer on one kind of tokens in one type; ``error`` is None if the output is not finite."""

    mixer: str
    tokens: tuple[int, int]
    kind: str
    dtype: torch.dtype
    error: float | None


def count_parameters(name: str) -> tuple[int, int]:
    """Parameters of a backbone as it is built, and of the classifier of 1000 classes that the published code makes.

    The classifier reads the last output alone, so norms of the others are not its own. PVT adds a class token with a
    position and a norm (FLatten-PVT stores the norm as well, and never calls it), RAVLT a projection and its norm.
    """
    with torch.device('meta'):
        net = create_backbone(name)
    backbone = sum(p.numel() for p in net.parameters())
    dims = net.embed_dims[-1]
    own = backbone + CLASSES * (dims + 1)
    norms = {stage: sum(p.numel() for p in norm.parameters()) for stage, norm in net.out_norms.items()}
    kind = type(net).__name__
    if kind == 'PVT':
        own += 2 * dims + (2 * dims if name.startswith('pvt_') else 0)
    elif kind == 'RAVLT':
        own = backbone - sum(norms.values()) + (dims + 1) * 1024 + 2 * 1024 + CLASSES * 1025
    else:
        last = str(len(net.embed_dims) - 1)
        own -= sum(count for stage, count in norms.items() if stage != last)
    return backbone, own


def measure_half(name: str, size: tuple[int, int], dims: int = DIMS, heads: int = HEADS) -> Iterator[HalfResult]:
    """Run a mixer in half precision on its hardest inputs.

    Queries, keys and values are the tokens themselves: unit normal ones 8 times as large, or such as have negative
    channels alone in every other token. The error is relative to float32 with the same (rounded) weights and tokens.

    Args:
        name: One of :data:`MIXERS`.
        size: ``(H, W)`` of the map, in tokens; mixers of late stages get a part of it.
        dims: Channels.
        heads: Heads.
    """
    options, stride = MIXERS[name]
    height, width = (-(-side // stride) for side in size)
    grid = Grid.whole(height, width)
    for kind in INPUTS:
        torch.manual_seed(0)
        x = torch.randn(1, height * width, dims)
        if kind == '8x':
            x *= 8
        else:
            x[:, ::2] = -x[:, ::2].abs()
        for dtype in HALVES:
            half = x.to(dtype)
            mixer = _straight(build_attention({'type': name, **options}, dims, heads)).to(dtype)
            with torch.no_grad():
                out = mixer(half, grid).float()
                exact = mixer.float()(half.float(), grid)
            finite = bool(out.isfinite().all())
            error = ((out - exact).norm() / exact.norm()).item() if finite else None
            yield HalfResult(name, (height, width), kind, dtype, error)


def _straight(mixer: TokenMixer) -> TokenMixer:
    """A mixer of attention alone, in evaluation mode: nothing is projected, local branches are shut."""
    with torch.no_grad():
        for layer in ('q', 'kv', 'proj'):
            weight = getattr(mixer, layer).weight
            weight.copy_(torch.eye(weight.shape[1]).repeat(weight.shape[0] // weight.shape[1], 1))
        if isinstance(getattr(mixer, 'gate', None), nn.Linear):
            nn.init.normal_(mixer.gate.weight, std=mixer.gate.in_features**-0.5)
        for layer in mixer.modules():
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
    return mixer.eval()


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def parity_table(folder: str | Path, progress: bool = False) -> str:
    """Golden case by case, the largest relative L2 error over the stored outputs, in float32."""
    rows = []
    for case in measure_parity(folder, progress):
        error = 'did not load' if case.error is None else f'{case.error:.1e}'
        passed = 'yes' if case.error is not None and case.error <= LIMIT else 'NO'
        rows.append((case.case, case.backbone, error, case.worst, passed, case.note))
    return markdown(('case', 'backbone', 'worst error', 'output', f'<= {LIMIT:g}', 'note'), rows)


def parameter_table(names: Sequence[str] | None = None, progress: bool = False) -> str:
    """Parameters of every backbone, and with the published classifier beside the published number."""
    names = list(names or list_backbones())
    rows = []
    for name in progress_bar(names, len(names), 'parameters', enabled=progress, delay=2.0, unit=' models'):
        backbone, classifier = count_parameters(name)
        published = PUBLISHED.get(name)
        theirs = (
            ('', '', '') if published is None else (f'{classifier:,}', f'{published:,}', f'{classifier - published:+,}')
        )
        rows.append((name, f'{backbone:,}', *theirs))
        gc.collect()
    return markdown(('backbone', 'parameters', 'with a 1000-class head', 'published', 'difference'), rows)


def half_table(size: tuple[int, int] = (200, 336), progress: bool = False, **options: int) -> str:
    """Each mixer in float16 and bfloat16: whether it stays finite, and how close to float32."""
    check_size(size)
    rows = []
    for name in progress_bar(MIXERS, len(MIXERS), 'half precision', enabled=progress, delay=2.0, unit=' attentions'):
        results = list(measure_half(name, size, **options))
        for kind in INPUTS:
            cells = ['not finite' if r.error is None else f'{r.error:.1e}' for r in results if r.kind == kind]
            rows.append((name, ' x '.join(map(str, results[0].tokens)), kind, *cells))
    return markdown(('attention', 'tokens', 'input', 'float16', 'bfloat16'), rows)


def report_models(golden: str | Path, size: tuple[int, int], only: Sequence[str] = (), out: Path | None = None) -> str:
    """Print the three tables as Markdown, or some of them, and write them into a file if one is named.

    Raises:
        SagaError: There is no golden case, or a figure is not what it should be; that is raised last of all.
    """
    tables: dict[str, tuple[str, str, Callable[[], str]]] = {
        'parity': (
            '## Parity with the published models',
            'Largest relative L2 error over the stored outputs of each golden case, float32.',
            lambda: parity_table(golden, progress=True),
        ),
        'parameters': (
            '## Parameters',
            'As `create_backbone(name)` builds it, and with the parts of the published classifier.',
            lambda: parameter_table(progress=True),
        ),
        'half': (
            '## Half precision',
            'Relative L2 error against float32 with the same rounded weights and tokens; every output is finite unless '
            f'said otherwise. {DIMS} channels, {HEADS} heads; no projections, local branches shut. 8x: normal tokens 8 '
            'times unit size; negative: every other token has negative channels alone.',
            lambda: half_table(size, progress=True),
        ),
    }
    parts = []
    for name, (title, text, table) in tables.items():
        if not only or name in only:
            parts.append(f'{title}\n\n{text}\n\n{table()}\n')
            print(parts[-1], flush=True)
    report = '\n'.join(parts)
    if out is not None:
        write_file(out, report)
    if '| NO |' in report or 'not finite |' in report:
        raise SagaError('some figures are not what they should be: see NO and "not finite" in the tables')
    return report
