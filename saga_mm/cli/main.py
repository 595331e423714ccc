"""``saga-mm``: one command with a verb for each tool."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from saga_mm.cli.completion import complete
from saga_mm.cli.extras import NEEDS
from saga_mm.cli.run import run_tool
from saga_mm.errors import nearest
from saga_mm.version import __version__

# what each verb does; its module has the name, with _ for -
VERBS = {
    'enhance': 'brighten photographs and videos taken in low light',
    'train': 'train a model',
    'test': 'evaluate a checkpoint',
    'predict': "draw what a model finds on one's own pictures",
    'check-data': 'look at the data of a config',
    'export': 'write a model as an ONNX file',
    'convert': 'make a published checkpoint loadable',
    'publish': 'make a small file of the weights of a trained enhancer',
    'benchmark': 'measure time and memory beside baselines (in a checkout)',
    'flops': 'count the parameters, operations and activations of a model',
    'gates': 'draw where gates open over an image',
    'rank': 'measure the effective rank of attention, layer by layer',
    'report': 'print what a training reached, and draw its curves',
    'demo': 'open a page in the browser to try models on',
    'doctor': 'say what is installed, what is in use and what is missing',
}
FIRST = {
    'saga-mm enhance': 'brighten a sample photograph',
    'saga-mm train saga_maskrcnn.py': 'train a detector on pictures that are made for it',
}
USAGE = 'usage: saga-mm VERB [OPTIONS]'


def main(argv: Sequence[str] | None = None) -> None:
    """Run what a command line says and exit with its status."""
    complete(VERBS, lambda verb: module_of(verb).parser())
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ['help']:
        # help VERB is VERB --help
        words = [*words[1:2], '--help']
    verb = words[0] if words else '--help'
    if verb in ('-h', '--help'):
        print(_help())
    elif verb in ('-V', '--version'):
        print(f'saga-mm {__version__}')
    elif verb in VERBS:
        run_verb(verb, words[1:], f'saga-mm {verb}')
    else:
        what, known = ('option', ('--help', '--version')) if verb.startswith('-') else ('verb', VERBS)
        print(f'error: {verb}: no such {what}; {nearest(verb, known)}saga-mm --help lists all', file=sys.stderr)
        sys.exit(2)


def run_verb(verb: str, argv: Sequence[str] | None = None, program: str | None = None) -> None:
    """Run one verb and exit with its status.

    Args:
        verb: One of :data:`VERBS`.
        argv: Its options; None for those of the process.
        program: How the user calls it; None for the name of the file that runs.
    """
    # threads that spin while they wait take the cores from other programs; read when torch is loaded
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    # a process that waits in vain reports one line
    os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')
    module = module_of(verb)
    interrupted = getattr(module, 'INTERRUPTED', 'Interrupted.')
    run_tool(lambda: _run(module, argv, program), interrupted, NEEDS.get(verb, ()))


def module_of(verb: str) -> ModuleType:
    """The module of a verb: ``parser()`` gives its parser, ``main(args)`` does what was parsed."""
    return import_module(f'saga_mm.cli.{verb.replace("-", "_")}')


def _run(module: ModuleType, argv: Sequence[str] | None, program: str | None) -> None:
    parser: argparse.ArgumentParser = module.parser()
    parser.prog = program or f'python tools/{os.path.basename(sys.argv[0])}'
    words = sys.argv[1:] if argv is None else argv
    # options may stand between names, of which one may be left out
    args = parser.parse_intermixed_args(words)
    status = module.main(args)
    if status:
        sys.exit(status)


def _help() -> str:
    more = 'saga-mm VERB --help says more; saga-mm --version says which version this is.'
    return f'{USAGE}\n\n{_columns(VERBS)}\n\nfor a start:\n{_columns(FIRST)}\n\n{more}'


def _columns(rows: dict[str, str]) -> str:
    width = max(map(len, rows))
    return '\n'.join(f'  {left:<{width}}  {right}' for left, right in rows.items())
