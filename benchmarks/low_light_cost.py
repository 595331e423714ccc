"""What enhancers of low light take: seconds and resident memory in fresh processes, beside the traced cost."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from saga_mm.analysis.cost import measure_cost
from saga_mm.analysis.subjects import parse_mixer
from saga_mm.display.progress import progress_bar
from saga_mm.errors import SagaError
from saga_mm.rows.device_memory import peak_bytes, release_memory, used_bytes

from .processes import run_fresh
from .retinexformer import Retinexformer

Size = tuple[int, int]
# sides of the first image of a process, in pixels, and the least time to measure, in seconds
WARM_UP, LEAST = 64, 1.0


def _saga(arch: str, attention: str | dict[str, Any] = 'saga') -> nn.Module:
    from saga_mm.models.enhancement import LowLightEnhancer

    return LowLightEnhancer({'type': 'saga_mm.SAGAUNet', 'arch': arch, 'attention': attention}, losses=())


# the leader first; each is a module from images to images
BUILDERS: dict[str, Callable[[], nn.Module]] = {
    'retinexformer': Retinexformer,
    'saga_unet': partial(_saga, 'base'),
    'saga_unet_tiny': partial(_saga, 'tiny'),
}


@dataclass
class Row:
    """One model at one size.

    Attributes:
        model: Its name.
        size: ``(H, W)`` in pixels.
        parameters: Numbers in its parameters.
        macs: Multiply-accumulates, traced.
        live_bytes: Most bytes of activations alive at once, traced.
        seconds: Time of one image, one number from each process.
        peak_bytes: Resident memory at its peak beyond what there was before the image, from each process.
    """

    model: str
    size: Size
    parameters: int
    macs: int
    live_bytes: int
    seconds: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)


def build(name: str, flag: str = '--models') -> nn.Module:
    """A model in evaluation mode with random weights, from ``(B, 3, H, W)`` in [0, 1] to the same shape.

    Args:
        name: One of :data:`BUILDERS`, perhaps with another attention, as in ``saga_unet:linear``.
        flag: The option that a user gave it by.

    Raises:
        SagaError: There is no model of that name, or it has not that attention.
    """
    model, colon, mixer = name.partition(':')
    if model not in BUILDERS or name.endswith(':'):
        raise SagaError(f'{flag} {name}: is none of {", ".join(BUILDERS)}')
    torch.manual_seed(0)
    try:
        return BUILDERS[model](**({'attention': parse_mixer(mixer, flag)} if colon else {})).eval()
    except (ValueError, TypeError, KeyError) as error:
        raise SagaError(f'{flag} {name}: {error}') from error


def parse_sizes(text: str, squares: bool = False) -> list[Size]:
    """``(H, W)`` of each size in a list such as ``400x608,1280x1280``.

    Args:
        text: The list.
        squares: A number alone is the side of a square.

    Raises:
        SagaError: A part is no size.
    """
    sizes = []
    for part in text.split(','):
        match = re.fullmatch(r'\s*(\d+)\s*(?:x\s*(\d+)\s*)?', part.lower())
        if match is None or not (match[2] or squares) or 0 in (size := (int(match[1]), int(match[2] or match[1]))):
            hint = '; one number is a square' if squares else ''
            raise SagaError(f'--sizes {part}: is no size; write height x width in pixels, for example 400x608{hint}')
        sizes.append(size)
    return list(dict.fromkeys(sizes))


def measure(
    models: Sequence[str], sizes: Sequence[Size], repeats: int = 3, keep: Callable[[list[Row]], object] = list
) -> list[Row]:
    """Trace every model at every size, then run them one after the other, and all of that again, ``repeats`` times.

    Each run is a process of its own on the CPU, batch 1, float32. What else goes on in the machine so falls on all
    models alike.

    Args:
        models: Names.
        sizes: Of the image.
        repeats: Runs of each model at each size.
        keep: Called after each run with all rows, so that an interruption need not lose them.

    Returns:
        A row for each size and model, in the order given.

    Raises:
        SagaError: A name or number is wrong, or a model does not run at a size.
    """
    if repeats < 1:
        raise SagaError(f'--repeats {repeats}: must be at least 1')
    nets = {name: build(name) for name in models}
    rows = [_trace(name, net, size) for size in sizes for name, net in nets.items()]
    jobs = [row for size in sizes for _ in range(repeats) for row in rows if row.size == size]
    for row in progress_bar(jobs, len(jobs), 'measuring', unit=' runs'):
        seconds, peak = run_process(row.model, row.size)
        row.seconds.append(seconds)
        row.peak_bytes.append(peak)
        keep(rows)
    return rows


def _trace(name: str, net: nn.Module, size: Size) -> Row:
    cost = measure_cost(net, torch.empty(1, 3, *size, device='meta'))
    return Row(name, size, cost.parameters, cost.macs, cost.peak_bytes)


def run_process(name: str, size: Size) -> tuple[float, int]:
    """Seconds and peak bytes of :func:`run_here` in a fresh process that sees no GPU.

    Raises:
        SagaError: It failed, for example for lack of memory.
    """
    code = f'from {__name__} import run_here; run_here({name!r}, {size!r})'
    found = run_fresh(code, f'{name} at {size[0]} x {size[1]}')
    return found['seconds'], found['peak_bytes']


def run_here(name: str, size: Size) -> None:
    """Run a model in this process and print what it took, as JSON.

    A small image comes first, so that libraries are loaded and threads started. The next, at full size, gives the peak
    of resident memory beyond what there was before it; the median of those that follow is the time.
    """
    model = build(name)
    image = 0.2 * torch.rand(1, 3, *size)
    times: list[float] = []
    with torch.inference_mode():
        model(image[..., :WARM_UP, :WARM_UP])
        release_memory()
        before = used_bytes(image.device)
        model(image)
        peak = max(0, peak_bytes() - before)
        while sum(times) < LEAST:
            start = time.perf_counter()
            model(image)
            times.append(time.perf_counter() - start)
    print(json.dumps({'seconds': statistics.median(times), 'peak_bytes': peak}))
