"""``saga-mm gates``: draw SAGA's gates over an image."""

from __future__ import annotations

import argparse
from pathlib import Path

from saga_mm.cli.options import add_out
from saga_mm.cli.parser import Parser, add_size
from saga_mm.cli.required import require_pictures, require_run


def parser() -> Parser:
    """The options."""
    made = Parser('saga-mm gates', description='Draw where the gates of each stage open over an image.')
    made.add_argument('model', help='config file, or name of a backbone such as saga_pvt_tiny')
    made.add_argument('checkpoint', nargs='?', help='the weights, a .pth file; random ones without')
    made.add_argument('image', help='the picture')
    add_size(made, 'run at this size (default: at most 640 pixels a side)')
    add_out(made, 'DIR', 'for IMAGE_gates.png (default: work_dirs/gates/MODEL)', type=Path)
    return made


def main(args: argparse.Namespace) -> None:
    """Draw."""
    require_pictures(args.image)
    require_run(args.model, args.checkpoint)

    from saga_mm.analysis.gate_maps import report_gates

    report_gates(args.model, args.checkpoint, args.image, args.size and tuple(args.size), args.out)
