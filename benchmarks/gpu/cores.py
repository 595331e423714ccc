"""Writing and reading a state at the shapes of PVT's stages: kernels beside PyTorch, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.protocol import take_turns, timer
from benchmarks.steps import forget_compiled
from saga_mm.analysis.parts import first_line
from saga_mm.ops import fused, linear_attention

from .timing import copy_seconds, recorded, warm

# heads of 64 channels
STAGES = {'stage 1': 1, 'stage 3': 5}
HEAD_DIM = 64
TOKENS = (4096, 16384, 65536, 262144, 1048576)
DTYPES = (torch.bfloat16, torch.float32)
REPEATS, MIN_SECONDS = 15, 0.02
# tensors of the tokens' size that must be read or written, gates included
PASSES = {'write': 4, 'read': 2, 'forward': 6, 'forward and backward': 17}
# beyond this, launches take no share of the time, and recordings would keep too much memory
MOST_RECORDED_BYTES = 2**32
CALLED = 'kernels, called'


@dataclass
class CoreRow:
    """Seconds of one way to compute a part; ``copy`` is what it takes to copy as many bytes as it must move.

    Work is recorded and played again where it is small; what ends in "called" is launched from Python each time.
    """

    stage: str
    part: str
    dtype: str
    tokens: int
    variant: str
    floor_bytes: int
    copy: float
    samples: list[float] = field(default_factory=list)
    skipped: str = ''


def measure_cores(
    device: str = 'cuda',
    tokens: Sequence[int] = TOKENS,
    head_dim: int = HEAD_DIM,
    compiled: bool = True,
    repeats: int = REPEATS,
    say: Callable[[str], Any] = print,
) -> Iterator[list[CoreRow]]:
    """Rows of one stage, type, part and number of tokens at a time; variants took turns.

    Args:
        device: ``'cuda'``, or ``'cpu'`` to try it.
        tokens: Numbers of tokens of one image.
        head_dim: Channels of a head.
        compiled: Measure PyTorch under ``torch.compile``, too; compiled once for all numbers of tokens.
        repeats: Least number of runs of each.
        say: Told what comes next.
    """
    for stage, heads in STAGES.items():
        for dtype in DTYPES:
            ways = _ways(dtype, compiled)
            for count in tokens:
                inputs = _draw(count, heads, head_dim, dtype, device)
                for part, passes in PASSES.items():
                    say(f'{stage}, {part}, {dtype}, {count} tokens')
                    size = passes * inputs[0].numel() * inputs[0].element_size()
                    yield _measure(part, inputs, ways, size, device, repeats, (stage, part, _name(dtype), count))


def _measure(
    part: str,
    inputs: list[torch.Tensor],
    ways: dict[str, Callable],
    size: int,
    device: str,
    repeats: int,
    labels: tuple[str, str, str, int],
) -> list[CoreRow]:
    copy = copy_seconds(size, device)
    rows, runs = [], {}
    for variant, run in _runs(part, inputs, ways).items():
        row = CoreRow(*labels, variant, size, copy)
        rows.append(row)
        try:
            called = variant == CALLED or size > MOST_RECORDED_BYTES
            runs[variant] = warm(run) if called else recorded(run, device)
        # out of memory, or what a compiler cannot do: the others are still measured
        except Exception as error:
            row.skipped = first_line(error)
    seconds = timer(device)
    timed = {variant: lambda run=run: seconds(run) for variant, run in runs.items()}
    take_turns(timed, {row.variant: row.samples for row in rows}, repeats, MIN_SECONDS)
    return rows


def _runs(part: str, inputs: list[torch.Tensor], ways: dict[str, Callable]) -> dict[str, Callable[[], Any]]:
    q, k, v, a, b = inputs
    if part == 'write':
        return {'kernels': lambda: _without_gradients(fused.write, k, v, a, b, gate_act='sigmoid')}
    if part == 'read':
        state = _without_gradients(fused.write, k, v, a, b, gate_act='sigmoid')
        return {'kernels': lambda: _without_gradients(fused.read, q, *state)}
    if part == 'forward':
        return {name: lambda way=way: _without_gradients(way, *inputs) for name, way in ways.items()}
    cotangent = torch.randn_like(q.detach())
    return {name: lambda way=way: torch.autograd.grad(way(*inputs), inputs, cotangent) for name, way in ways.items()}


@torch.no_grad()
def _without_gradients(function: Callable, *args: torch.Tensor, **options: Any) -> Any:
    return function(*args, **options)


def _ways(dtype: torch.dtype, compiled: bool) -> dict[str, Callable]:
    """Functions of queries, keys, values and the logits of both gates."""
    plain = {'plain': _plain}
    if dtype != torch.float32:
        plain['direct'] = _direct
    ways = {'kernels': _kernels, CALLED: _kernels, **plain}
    if compiled:
        forget_compiled()
        ways |= {f'{name} compiled': torch.compile(way) for name, way in plain.items()}
    return ways


def _kernels(q, k, v, a, b) -> torch.Tensor:
    return fused.read(q, *fused.write(k, v, a, b, gate_act='sigmoid'))


def _plain(q, k, v, a, b) -> torch.Tensor:
    """The plain operations of this package, which sum in float32."""
    # kernels take no functions
    return linear_attention(q, k, v, a.sigmoid(), b.sigmoid(), feature_map=F.relu)


def _direct(q, k, v, a, b) -> torch.Tensor:
    """The equation in the type of the inputs throughout."""
    q, k = q.relu().transpose(1, 2), k.relu()
    seen = k.mean(1).unsqueeze(-1)
    state = (k * a.sigmoid()).permute(0, 2, 3, 1) @ (v * b.sigmoid() / k.shape[1]).transpose(1, 2)
    return (q @ state / (q @ seen + 1e-6)).transpose(1, 2)


def _draw(tokens: int, heads: int, head_dim: int, dtype: torch.dtype, device: str) -> list[torch.Tensor]:
    """Queries, keys, values and logits of gates as projections leave them: the last two pairs are interleaved."""
    drawn = []
    for parts in (1, 2, 2):
        joint = torch.randn(1, tokens, parts * heads * head_dim, device=device, dtype=dtype)
        for x in joint.chunk(parts, dim=-1):
            x = x.unflatten(-1, (heads, head_dim)).requires_grad_()
            # compiled once for all numbers of tokens
            torch._dynamo.maybe_mark_dynamic(x, 1)
            drawn.append(x)
    return drawn


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')
