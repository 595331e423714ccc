"""What was found on a GPU, as JSON for programs and as tables for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.machine import described
from benchmarks.model_tables import markdown
from benchmarks.protocol import paired, spread
from saga_mm.files import write_file

from .check import Check
from .cores import CALLED, CoreRow
from .nets import COMPILED, NetRow
from .tuning import Trial

JSON, TABLES = 'benchmark_gpu.json', 'benchmark_gpu.md'
# least share of the speed of a copy
SHARES = {'forward': 0.8, 'forward and backward': 0.6}
# of throughput against naive, and against compiled fused softmax, by side of the image
NAIVE_RATIO, FUSED_RATIOS = 1.76, {1280: 1.2, 2048: 3.0}
MEMORY_RATIO = 2.69
EXPLANATION = """\
Medians; variants took turns. Work is recorded in a CUDA graph and played again, so that launches from Python take no
time, unless it says "called". `of a copy`: the time that PyTorch needs to copy as many bytes as the operation must move
(tokens read and written once, states left out), over the time that it took. `GB/s`: those bytes over that time."""


@dataclass
class Report:
    """Everything found so far."""

    machine: dict[str, Any]
    bandwidth: float = 0.0
    checks: list[Check] = field(default_factory=list)
    cores: list[CoreRow] = field(default_factory=list)
    nets: list[NetRow] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether all that ran computed what it should."""
        return all(check.passed for check in self.checks) and not any(row.wrong for row in self.nets)

    def write(self, folder: Path) -> list[Path]:
        """Write both files, each whole or not at all."""
        texts = {JSON: json.dumps(asdict(self), indent=1) + '\n', TABLES: self.as_markdown()}
        for name, text in texts.items():
            write_file(folder / name, text)
        return [folder / name for name in texts]

    def as_markdown(self) -> str:
        """All tables with what they mean, the goals last."""
        parts = ['# Kernels on a GPU', described(self.machine)]
        if self.bandwidth:
            parts.append(f'A large copy: {self.bandwidth / 1e9:.0f} GB/s, read and written.')
        if self.checks:
            parts.append(check_table(self.checks))
        if self.cores:
            parts += [EXPLANATION, *core_tables(self.cores)]
        if self.nets:
            parts.append(net_table(self.nets))
        if self.trials:
            parts.append(trial_table(self.trials))
        if goals := list(all_goals(self.cores, self.nets)):
            parts.append('### Goals\n\n' + '\n'.join(f'- {"yes" if met else "**no**"}: {text}' for text, met in goals))
        return '\n\n'.join(parts) + '\n'


def check_table(checks: Iterable[Check]) -> str:
    """The largest errors of each type, and all that is wrong."""
    checks = list(checks)
    lines = []
    for dtype in dict.fromkeys(check.dtype for check in checks):
        own = [check for check in checks if check.dtype == dtype]
        worst = (max(check.output for check in own), max(check.gradients for check in own))
        verdict = 'right' if all(check.passed for check in own) else 'WRONG'
        lines.append([dtype, str(len(own)), *(f'{error:.1e}' for error in worst), f'{own[0].limit:.0e}', verdict])
    header = ['', 'cases', 'output', 'gradients', 'limit', '']
    text = '### Largest relative error against float64\n\n' + markdown(header, lines)
    wrong = [f'- {check.dtype}, {check.name}: {check.output:.1e}, {check.gradients:.1e}' for check in checks]
    wrong = [line for line, check in zip(wrong, checks) if not check.passed]
    return '\n\n'.join([text, *(['\n'.join(wrong)] if wrong else [])])


def core_tables(rows: Iterable[CoreRow]) -> Iterator[str]:
    """A table of each stage, type and part; a line for each number of tokens."""
    rows = sorted(rows, key=lambda row: (row.stage, row.dtype, row.part))
    for (stage, dtype, part), group in groupby(rows, key=lambda row: (row.stage, row.dtype, row.part)):
        members = list(group)
        rivals = [name for name in dict.fromkeys(row.variant for row in members) if name not in ('kernels', CALLED)]
        lines = []
        for _, own in groupby(members, key=lambda row: row.tokens):
            ways = {row.variant: row for row in own}
            lines.append(_core_line(ways, rivals))
        header = ['tokens', 'kernels us', 'called us', 'GB/s', 'of a copy', *(f'x {name}' for name in rivals)]
        yield f'### {stage[0].upper()}{stage[1:]}, {dtype}, {part}\n\n' + markdown(header, lines)


def _core_line(ways: dict[str, CoreRow], rivals: list[str]) -> list[str]:
    own = ways['kernels']
    if not own.samples:
        return [str(own.tokens), own.skipped or 'not run', *['-'] * (3 + len(rivals))]
    seconds = spread(own.samples).median
    called = ways.get(CALLED)
    return [
        str(own.tokens),
        f'{1e6 * seconds:.1f}',
        f'{1e6 * spread(called.samples).median:.1f}' if called and called.samples else '-',
        f'{own.floor_bytes / seconds / 1e9:.0f}',
        f'{100 * own.copy / seconds:.0f} %',
        *(_times(own, ways.get(name)) for name in rivals),
    ]


def net_table(rows: Iterable[NetRow]) -> str:
    """Throughput and memory of each backbone."""
    lines = []
    for (batch, side), group in groupby(rows, key=lambda row: (row.batch, row.side)):
        ways = {row.variant: row for row in group}
        for row in ways.values():
            peak = '-' if row.peak_bytes is None else f'{row.peak_bytes / 2**20:.0f}'
            if not row.samples:
                lines.append([f'{batch} x {side}', row.variant, row.skipped or 'not run', '-', '-', '-', peak])
                continue
            seconds = spread(row.samples).median
            ratios = [_times(row, ways.get(name)) for name in ('naive softmax', 'fused softmax' + COMPILED)]
            own = [f'{1e3 * seconds:.2f}', f'{batch / seconds:.1f}']
            lines.append([f'{batch} x {side}', row.variant, *own, *ratios, peak])
    header = ['batch x side', '', 'ms', 'images/s', 'x naive', 'x fused compiled', 'peak MiB']
    return '### PVT-Tiny, inference, bfloat16\n\n' + markdown(header, lines)


def trial_table(trials: Iterable[Trial]) -> str:
    """The fastest few tiles of each kernel and type."""
    lines = []
    for (dtype, kernel), group in groupby(trials, key=lambda trial: (trial.dtype, trial.kernel)):
        for trial in sorted(group, key=lambda trial: trial.seconds)[:5]:
            numbers = ', '.join(map(str, trial.tile))
            speed = [f'{1e6 * trial.seconds:.1f}', f'{trial.bandwidth / 1e9:.0f}']
            lines.append([dtype, kernel, f'Tile({numbers})', str(trial.waves), *speed])
    return '### Tiles\n\n' + markdown(['', 'kernel', 'tile', 'waves', 'us', 'GB/s'], lines)


def all_goals(cores: Iterable[CoreRow], nets: Iterable[NetRow]) -> Iterator[tuple[str, bool]]:
    """What the kernels are meant to reach, and whether they did."""
    cores = list(cores)
    for part, least in SHARES.items():
        own = [row for row in cores if row.part == part and row.variant == 'kernels' and row.samples]
        shares = {
            f'{row.stage}, {row.dtype}, {row.tokens} tokens': row.copy / spread(row.samples).median for row in own
        }
        yield from _goal(f'{part}: at least {least:.0%} of the speed of a copy', shares, lambda x, to=least: x >= to)
    ratios = {}
    for labels, group in groupby(cores, key=lambda row: f'{row.part}, {_labels(row)}'):
        ways = {row.variant: row for row in group}
        for name, row in ways.items():
            if name.endswith(COMPILED) and row.samples and ways['kernels'].samples:
                ratio = paired(row.samples, ways['kernels'].samples).median
                ratios[labels] = min(ratio, ratios.get(labels, ratio))
    yield from _goal('faster than compiled PyTorch', ratios, lambda x: x > 1)
    for (batch, side), group in groupby(nets, key=lambda row: (row.batch, row.side)):
        yield from _net_goals(f'{batch} x {side} x {side}', side, {row.variant: row for row in group})


def _net_goals(where: str, side: int, ways: dict[str, NetRow]) -> Iterator[tuple[str, bool]]:
    ours = [ways[name] for name in ('SAGA', 'SAGA' + COMPILED) if name in ways and ways[name].samples]
    goals = [('naive softmax', NAIVE_RATIO), ('fused softmax' + COMPILED, FUSED_RATIOS.get(side))]
    for name, least in goals:
        if least and ours and name in ways and ways[name].samples:
            best = max(paired(ways[name].samples, row.samples).median for row in ours)
            yield f'{where}: SAGA at least {least} x {name}: {best:.2f}', best >= least
    peaks = [ways[name].peak_bytes for name in ('naive softmax', 'SAGA') if name in ways]
    if len(peaks) == 2 and all(peaks):
        ratio = peaks[0] / peaks[1]
        yield (
            f'{where}: memory of naive softmax at least {MEMORY_RATIO} x that of SAGA: {ratio:.2f}',
            ratio >= MEMORY_RATIO,
        )


def _goal(text: str, found: dict[str, float], met: Callable[[float], bool]) -> Iterator[tuple[str, bool]]:
    if found:
        lowest = min(found, key=found.get)
        count = sum(map(met, found.values()))
        yield f'{text}: {count} of {len(found)}, lowest {found[lowest]:.2f} ({lowest})', count == len(found)


def _labels(row: CoreRow) -> str:
    return f'{row.stage}, {row.dtype}, {row.tokens} tokens'


def _times(own: CoreRow | NetRow, other: CoreRow | NetRow | None) -> str:
    if other is None or not other.samples:
        return '-'
    return f'{paired(other.samples, own.samples).median:.2f}'
