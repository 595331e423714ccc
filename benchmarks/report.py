"""Figures as a table for people, as JSON for programs, and as plots."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.model_tables import markdown
from saga_mm.files import write_file

from .cases import Case, ResultRow
from .machine import described
from .options import Options
from .protocol import Spread, paired, spread
from .subjects import LAYERS

EXPLANATION = """\
Times: all subjects of a size took turns in one process; median (20 % - 80 % quantile) of the runs. `x fused` and the
like: how many times as fast, run by run of the same round, eager against eager and compiled against compiled. Floors:
share of the time that the bytes which must be moved, and the multiply-accumulates, would take at the copy bandwidth and
the rate of a large matrix product measured in the same run. Live: most bytes of activations alive at once, by trace, in
eager mode. Peak: memory at its peak beyond that before the run, in a fresh process."""


@dataclass
class Report:
    """What was found so far.

    Attributes:
        options: What was asked for.
        machine: What it ran on.
        rows: What was measured.
        failed: What is wrong with subjects that are not measured.
        interrupted: Whether the user stopped it.
    """

    options: Options
    machine: dict[str, Any]
    rows: list[ResultRow] = field(default_factory=list)
    failed: dict[Case, str] = field(default_factory=dict)
    interrupted: bool = False

    def write(self, folder: Path) -> list[Path]:
        """Write ``benchmark.json`` and ``benchmark.md``, each whole or not at all."""
        texts = {'benchmark.json': json.dumps(self.as_dict(), indent=1) + '\n', 'benchmark.md': self.as_markdown()}
        for name, text in texts.items():
            write_file(folder / name, text)
        return [folder / name for name in texts]

    def as_dict(self) -> dict[str, Any]:
        """Everything in plain types."""
        options = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self.options).items()}
        failed = [{**asdict(case), 'reason': reason} for case, reason in self.failed.items()]
        rows = []
        for group in _groups(self.rows):
            for row in group:
                found = asdict(row)
                found['seconds'] = spread(row.samples)._asdict() if row.samples else None
                found['faster'] = {to: ratio._asdict() for to, ratio in _ratios(row, group).items() if ratio}
                found['floors'] = floors(row)
                rows.append(found)
        return {
            'machine': self.machine,
            'options': options,
            'interrupted': self.interrupted,
            'failed': failed,
            'rows': rows,
        }

    def as_markdown(self) -> str:
        """Tables with what they mean."""
        options = self.options
        mode = 'forward and backward, training mode' if options.backward else 'inference'
        about = f'{options.layer}, {mode}, batch {options.batch_size}, {options.dtype}, {options.device}.'
        parts = [about[0].upper() + about[1:], described(self.machine)]
        if self.interrupted:
            parts.append('Interrupted: some figures are missing.')
        parts += [f'No figure for {case.part} {case.name}: {reason}.' for case, reason in self.failed.items()]
        if options.trace:
            parts += [trace_tables(self.rows)]
        else:
            parts += [EXPLANATION, *(self.table(group) for group in _groups(self.rows))]
        return '\n\n'.join(parts) + '\n'

    def table(self, rows: Sequence[ResultRow]) -> str:
        """A table of the rows that share part and size, with its ceilings."""
        case, ceilings = rows[0].case, rows[0].ceilings
        title = f'### {case.part or case.layer}, {case.size[0]} x {case.size[1]}'
        references = list(dict.fromkeys(to for row in rows for to in _ratios(row, rows)))
        header = ['', 'ms', 'runs', *(f'x {to}' for to in references), 'of byte floor', 'of arithmetic', 'GMAC']
        header += ['live MiB', *(['with_cp MiB'] if case.backward else []), 'peak MiB']
        lines = [self._line(row, rows, references) for row in rows]
        text = f'{title}\n\n{markdown(header, lines)}'
        if ceilings is not None:
            load = '' if ceilings.load is None else f', load {ceilings.load:.1f}'
            text += (
                f'\n\nCopy {ceilings.bandwidth / 1e9:.1f} GB/s, matrix product {ceilings.rate / 1e9:.1f} GMAC/s{load}.'
            )
        return text

    def _line(self, row: ResultRow, rows: Sequence[ResultRow], references: Sequence[str]) -> list[str]:
        ratios, shares = _ratios(row, rows), floors(row)
        if row.samples:
            time, runs = _spread_text(spread([1e3 * s for s in row.samples])), str(len(row.samples))
        else:
            time, runs = row.skipped or 'not run', '-'
        live = '-' if row.case.compiled else _mib(row.live_bytes)
        return [
            row.case.label,
            time,
            runs,
            *(_spread_text(ratios[to]) if ratios.get(to) else '-' for to in references),
            *(f'{100 * shares[key]:.0f} %' if shares else '-' for key in ('bytes', 'macs')),
            _short(row.macs / 1e9),
            live,
            *(['-' if row.case.compiled else _mib(row.checkpointed_bytes)] if row.case.backward else []),
            _mib(row.peak_bytes),
        ]


def floors(row: ResultRow) -> dict[str, float]:
    """Share of the time that moving the bytes and multiplying would take alone; empty if it was not timed."""
    if not row.samples or row.ceilings is None:
        return {}
    seconds = spread(row.samples).median
    return {
        'bytes': row.floor_bytes / row.ceilings.bandwidth / seconds,
        'macs': row.macs / row.ceilings.rate / seconds,
    }


def trace_tables(rows: Sequence[ResultRow]) -> str:
    """Live bytes of every subject by size: a table for each part, another with ``with_cp``."""
    text = []
    for part, group in groupby(rows, key=lambda row: row.case.part):
        members = list(group)
        kinds = {'live_bytes': 'MiB alive at once, by trace'}
        if any(row.checkpointed_bytes for row in members):
            kinds['checkpointed_bytes'] = 'MiB alive at once with with_cp, by trace'
        names = list(dict.fromkeys(row.case.name for row in members))
        sizes = list(dict.fromkeys(row.case.size for row in members))
        for key, title in kinds.items():
            found = {(row.case.name, row.case.size): _mib(getattr(row, key)) for row in members}
            lines = [(f'{h} x {w}', *(found.get((name, (h, w)), '-') for name in names)) for h, w in sizes]
            text.append(f'### {part or members[0].case.layer}: {title}\n\n{markdown(("size", *names), lines)}')
    return '\n\n'.join(text)


def _groups(rows: Iterable[ResultRow]) -> list[list[ResultRow]]:
    return [list(group) for _, group in groupby(rows, key=lambda row: (row.case.part, row.case.size))]


def _ratios(row: ResultRow, rows: Sequence[ResultRow]) -> dict[str, Spread | None]:
    """How many times as fast a row is as each reference of its kind."""
    ran = [other for other in rows if other.samples and other.case.compiled == row.case.compiled]
    named = {other.case.name: other for other in ran}
    references = [name for name in LAYERS[row.case.layer].references if name in named] or list(named)[:1]
    return {named[name].case.eager.label: paired(named[name].samples, row.samples) for name in references}


def _spread_text(found: Spread) -> str:
    return f'{_short(found.median)} ({_short(found.p20)} - {_short(found.p80)})'


def _short(number: float) -> str:
    """Three digits, and no power of ten."""
    return f'{float(f"{number:.3g}"):g}'


def _mib(size: int | None) -> str:
    return '-' if size is None else f'{size / 2**20:.1f}'
