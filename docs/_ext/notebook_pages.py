"""Notebooks as pages: text as Markdown, code as blocks, and the text that a cell printed below it."""

from __future__ import annotations

import json

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx


def to_markdown(text: str) -> str:
    """The Markdown page of a notebook's JSON."""
    parts = []
    for cell in json.loads(text)['cells']:
        source = ''.join(cell['source'])
        parts.append(source if cell['cell_type'] == 'markdown' else f'```python\n{source}\n```')
        for output in cell.get('outputs', []):
            printed = ''.join(output.get('text') or output.get('data', {}).get('text/plain', ''))
            if printed:
                parts.append(f'```text\n{printed.rstrip()}\n```')
    return '\n\n'.join(parts) + '\n'


class NotebookParser(MystParser):
    """Parses the Markdown of a notebook."""

    supported = ('notebook',)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        super().parse(to_markdown(inputstring), document)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_source_parser(NotebookParser)
    return {'parallel_read_safe': True}
