"""``saga-mm demo``: a web page on this machine to try models on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec

from saga_mm.cli.extras import cure
from saga_mm.cli.parser import Parser
from saga_mm.errors import SagaError


def parser() -> Parser:
    """What is known without the page; it has options of its own."""
    return Parser(
        'saga-mm demo',
        usage='saga-mm demo [OPTIONS]',
        description='Open a page in the browser: enhance, detect and segment pictures, and look inside a model. '
        'Nothing leaves this computer. Where gradio is installed, --help lists the options of the page.',
        add_help=False,
    )


def pass_on(words: Sequence[str]) -> argparse.Namespace:
    """All words are for the page."""
    return argparse.Namespace(words=list(words))


def main(args: argparse.Namespace) -> None:
    """Open the page."""
    if find_spec('gradio') is None:
        if {'-h', '--help'} & set(args.words):
            print(parser().format_help())
            return
        raise SagaError(f'demo: needs gradio, which is not installed: {cure(["gradio"])}')

    from saga_mm.pages.app import main as open_page

    open_page(args.words)
