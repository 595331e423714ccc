"""Tables of text as nodes."""

from docutils import nodes


def table(head: list[str], rows: list[list[str]]) -> nodes.table:
    """A table whose first column is code."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    top, body = nodes.thead(), nodes.tbody()
    top += _row([nodes.paragraph('', text) for text in head])
    for name, *texts in rows:
        body += _row([nodes.paragraph('', '', nodes.literal('', name)), *(nodes.paragraph('', text) for text in texts)])
    group += [top, body]
    whole = nodes.table()
    whole += group
    return whole


def _row(cells: list[nodes.Node]) -> nodes.row:
    row = nodes.row()
    row += [nodes.entry('', cell) for cell in cells]
    return row
