"""``saga-mm flops``: parameters, operations and activations of a model."""

from __future__ import annotations

import argparse

from saga_mm.cli.parser import Parser, add_config_values, add_size
from saga_mm.cli.required import require_model


def parser() -> Parser:
    """The options."""
    made = Parser(
        'saga-mm flops',
        description="Print a model's parameters, multiply-accumulates (MACs) and peak live activations at a size, "
        'without running it.',
    )
    made.add_argument('model', help='config file, or name of a backbone such as saga_pvt_tiny')
    add_size(
        made,
        'image size in pixels (default: 800 1280; 512 2048 for a segmentor, 224 224 for a classifier or backbone)',
    )
    made.add_old('--shape', '--size')
    made.add_argument('--batch-size', type=int, default=1, metavar='N', help='images at once (default: 1)')
    made.add_argument('--training', action='store_true', help='count the backward pass and what is kept for it')
    made.add_argument('--json', action='store_true', help='print JSON, with exact MACs and bytes')
    add_config_values(made)
    return made


def main(args: argparse.Namespace) -> None:
    """Count, and print."""
    require_model(args.model)

    from saga_mm.analysis.flops import report_flops

    report_flops(args.model, args.size, args.batch_size, args.training, args.json, args.cfg_options or {})
