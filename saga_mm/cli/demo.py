"""``saga-mm demo``: a web page on this machine to try models on."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from saga_mm.cli.extras import cure
from saga_mm.cli.parser import Parser
from saga_mm.cli.required import require_run
from saga_mm.errors import SagaError

# as saga_mm.pages.app has them, which needs torch
HOST, PORT = '127.0.0.1', 7860


def parser() -> Parser:
    """The options."""
    made = Parser(
        'saga-mm demo',
        description='Open a page in the browser that enhances, detects, segments and shows the gates of a model. '
        'Nothing leaves this computer.',
        epilog='The command line and not the page names models, because a config file is Python code that runs.',
    )
    model = ('CONFIG', 'CHECKPOINT')
    made.add_argument('--detect', nargs=2, metavar=model, help='a detector, for the tab Detect')
    made.add_argument('--segment', nargs=2, metavar=model, help='a segmentor, for the tab Segment')
    made.add_argument(
        '--look', nargs='+', metavar='MODEL', help='a config or name of a backbone [CHECKPOINT], for Look inside'
    )
    made.add_argument('--device', help='where models run, such as cuda:0 (default: a GPU if there is one)')
    made.add_argument('--host', default=HOST, help=f'the address to listen on (default: {HOST}, this machine alone)')
    made.add_argument('--port', type=int, default=PORT, help=f'where it listens (default: {PORT})')
    made.add_argument('--no-browser', action='store_true', help='print the address, and open no browser')
    return made


def main(args: argparse.Namespace) -> None:
    """Open the page, once all that it is to offer is there.

    Raises:
        SagaError: gradio is not installed, or a config, a checkpoint or a backbone is missing.
    """
    if args.look and len(args.look) > 2:
        raise SagaError(f'--look {" ".join(args.look)}: takes a config or a name, and perhaps a checkpoint')
    if find_spec('gradio') is None:
        raise SagaError(f'demo: needs gradio, which is not installed: {cure(["gradio"])}')

    for config, checkpoint in filter(None, (args.detect, args.segment)):
        require_run(config, checkpoint)
    if args.look:
        require_run(args.look[0], *(args.look[1:] or [None]))

    from saga_mm.pages.answers import Models
    from saga_mm.pages.app import open_page

    chosen = (None if value is None else tuple(value) for value in (args.detect, args.segment, args.look))
    models = Models(*chosen, args.device)
    models.check()
    open_page(models, args.host, args.port, not args.no_browser)
