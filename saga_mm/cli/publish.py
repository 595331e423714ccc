"""``saga-mm publish``: write the weights of a trained enhancer as a small file."""

from __future__ import annotations

import argparse

from saga_mm.cli.options import add_destination, add_overwrite, destination_of
from saga_mm.cli.parser import Parser
from saga_mm.cli.required import require_run


def parser() -> Parser:
    """The options."""
    made = Parser(
        'saga-mm publish',
        description='Write the weights of a trained low-light enhancer as a small file of plain numbers, which '
        'saga-mm enhance --weights and saga_mm.apis.LowLightInferencer load. Averaged weights (EMA) are taken where '
        'the training kept them.',
    )
    made.add_argument('config', help='the config of the training, or its name inside configs/')
    made.add_argument('checkpoint', help='a .pth file, or a work folder for the best in it')
    add_destination(made, 'the file to write, NAME.npz')
    made.add_argument('--licence', default='', metavar='TEXT', help='licence of the weights, kept in the file')
    made.add_argument('--trained-on', default='', metavar='TEXT', help='data of the training, kept in the file')
    made.add_old('--data', '--trained-on')
    made.add_argument('--full', action='store_true', help='keep float32 (default: float16, half as large)')
    add_overwrite(made)
    return made


def main(args: argparse.Namespace) -> None:
    """Publish, and say what was written."""
    # before what takes seconds to import
    out = destination_of(args)
    require_run(args.config, args.checkpoint)

    from saga_mm.runs.publish import publish_weights

    made = publish_weights(
        args.config,
        args.checkpoint,
        out,
        licence=args.licence,
        data=args.trained_on,
        full=args.full,
        overwrite=args.overwrite,
    )
    print(f'{made.checkpoint}: {made.parameters / 1e6:.2f} M parameters')
    print(f'stored as {"float32" if args.full else "float16"}, they change an answer by up to {made.change:.3f} of 255')
    print(f'wrote {out}, {made.size / 2**20:.2f} MiB; use it with saga-mm enhance --weights')
