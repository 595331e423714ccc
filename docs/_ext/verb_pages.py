"""The directive ``verbs``: the options of each verb, from its own parser."""

from __future__ import annotations

import argparse
from textwrap import dedent

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import table

from saga_mm.cli.main import VERBS, module_of


class VerbsDirective(SphinxDirective):
    """A section for each verb: usage, what it does, and a table of its options."""

    def run(self) -> list[nodes.Node]:
        sections = []
        for verb in VERBS:
            module = module_of(verb)
            self.env.note_dependency(module.__file__)
            sections.append(self._section(f'saga-mm {verb}', module.parser()))
        return sections

    def _section(self, name: str, parser: argparse.ArgumentParser) -> nodes.section:
        section = nodes.section(ids=[nodes.make_id(name)], names=[name])
        section += nodes.title('', name)
        section += nodes.paragraph('', parser.description or '')
        # the lines after the first are indented by the word that is left out
        usage = dedent(parser.format_usage().replace('usage: ', ' ' * len('usage: '), 1)).strip()
        section += nodes.literal_block(usage, usage, language='text')
        section += table(['option', 'meaning'], [option_row(parser, action) for action in shown(parser)])
        if parser.epilog:
            section += nodes.paragraph('', parser.epilog)
        return section


def shown(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Options that the help text lists."""
    return [action for action in parser._actions if action.help != argparse.SUPPRESS]


def option_row(parser: argparse.ArgumentParser, action: argparse.Action) -> list[str]:
    """An option as a row: how it is written, and its help text."""
    formatter = parser.formatter_class(parser.prog)
    return [formatter._format_action_invocation(action), formatter._expand_help(action) if action.help else '']


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive('verbs', VerbsDirective)
    return {'parallel_read_safe': True}
