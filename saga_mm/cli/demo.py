"""``saga-mm demo``: a page in the browser to try models on."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from saga_mm.cli.parser import Parser
from saga_mm.errors import SagaError


def parser() -> Parser:
    """The options."""
    made = Parser(
        'saga-mm demo',
        description='Open a page in the browser: enhance, detect and segment pictures, and look inside a model. '
        'Nothing leaves this computer.',
        add_help=False,
    )
    made.add_argument('-h', '--help', action='store_true', help='show the options of the page and exit')
    made.add_argument('options', nargs=argparse.REMAINDER, metavar='OPTIONS', help='options of the page')
    return made


def main(args: argparse.Namespace) -> None:
    """Open the page."""
    if find_spec('gradio') is None:
        raise SagaError("demo: needs gradio, which is not installed; pip install 'saga-mm[page]'")

    from saga_mm.pages.app import main as open_page

    open_page(['--help'] if args.help else args.options)
