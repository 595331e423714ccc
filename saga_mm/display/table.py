"""Plain aligned tables."""

from collections.abc import Iterable, Sequence

from saga_mm.display.metrics import number


def format_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A plain aligned table."""
    cells = [list(map(str, header)), *[[number(c) if isinstance(c, float) else str(c) for c in row] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ['  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return '\n'.join([lines[0], '-' * len(lines[0]), *lines[1:]])
