"""``saga-mm rank``: measure the effective rank of attention, layer by layer."""

from __future__ import annotations

import argparse
from pathlib import Path

from saga_mm.cli.options import add_out
from saga_mm.cli.parser import Parser, add_size
from saga_mm.cli.required import any_there, require_model, require_pictures


def parser() -> Parser:
    """The options."""
    made = Parser(
        'saga-mm rank',
        description='Measure the effective rank of the KV state and of the output of each layer.',
        epilog='Softmax attention keeps no KV state: for it, only the rank of the output is given.',
    )
    made.add_argument('model', help='config file, or name of a backbone such as saga_pvt_tiny')
    made.add_argument(
        'files', nargs='+', metavar='FILE', help='weights (.pth) if there are some, then pictures or folders of them'
    )
    made.add_argument(
        '--attention',
        metavar='A,B,...',
        help="attentions to compare in this backbone, such as saga,saga:gates=none,softmax (default: the model's)",
    )
    made.add_old('--mixers', '--attention')
    add_size(made, 'image size (default: 224 224)', default=(224, 224))
    made.add_argument(
        '--share',
        type=float,
        default=0.9,
        help='share of the energy, the sum of squared singular values (default: 0.9)',
    )
    add_out(made, 'DIR', 'for ranks.png and .json (default: work_dirs/rank/MODEL)', type=Path)
    return made


def main(args: argparse.Namespace) -> None:
    """Measure, print and draw."""
    require_model(args.model)
    # one of several that is missing stops nothing
    if not any_there(args.files):
        require_pictures(args.files[-1])

    from saga_mm.analysis.rank_report import report_ranks

    report_ranks(args.model, args.files, args.attention, tuple(args.size), args.share, args.out)
