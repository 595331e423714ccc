"""The directive ``verbs``: the options of each tool, from its own parser."""

from __future__ import annotations

import argparse
from pathlib import Path
from runpy import run_path
from unittest.mock import patch

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import table

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


class _Parser(Exception):
    """Carries the parser out of a tool that is about to parse."""


def parser_of(tool: Path) -> argparse.ArgumentParser:
    """The parser of a tool."""

    def give(parser: argparse.ArgumentParser, *args: object, **options: object) -> None:
        raise _Parser(parser)

    with patch.object(argparse.ArgumentParser, 'parse_known_args', give):
        try:
            run_path(str(tool))['parse_args']()
        except _Parser as found:
            parser = found.args[0]
            parser.prog = f'python tools/{tool.name}'
            return parser
    raise ValueError(f'{tool}: does not parse options')


class VerbsDirective(SphinxDirective):
    """A section for each tool: usage, what it does, and a table of its options."""

    def run(self) -> list[nodes.Node]:
        sections = []
        for tool in sorted(TOOLS.glob('*.py')):
            self.env.note_dependency(str(tool))
            if 'def parse_args' in tool.read_text():
                sections.append(self._section(tool.name, parser_of(tool)))
        return sections

    def _section(self, name: str, parser: argparse.ArgumentParser) -> nodes.section:
        section = nodes.section(ids=[nodes.make_id(name)], names=[name])
        section += nodes.title('', name)
        section += nodes.paragraph('', parser.description or '')
        usage = parser.format_usage().removeprefix('usage: ').strip()
        section += nodes.literal_block(usage, usage, language='text')
        section += table(['option', 'meaning'], [option_row(parser, action) for action in parser._actions])
        if parser.epilog:
            section += nodes.paragraph('', parser.epilog)
        return section


def option_row(parser: argparse.ArgumentParser, action: argparse.Action) -> list[str]:
    """An option as a row: how it is written, and its help text."""
    formatter = parser.formatter_class(parser.prog)
    return [formatter._format_action_invocation(action), formatter._expand_help(action) if action.help else '']


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive('verbs', VerbsDirective)
    return {'parallel_read_safe': True}
