"""Plain aligned tables."""

from collections.abc import Iterable, Sequence

from saga_mm.display.metrics import number, pad, text_width


def format_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A plain aligned table."""
    cells = [list(map(str, header)), *[[number(c) if isinstance(c, float) else str(c) for c in row] for row in rows]]
    widths = [max(map(text_width, column)) for column in zip(*cells, strict=True)]
    lines = ['  '.join(map(pad, row, widths)).rstrip() for row in cells]
    return '\n'.join([lines[0], '-' * text_width(lines[0]), *lines[1:]])
