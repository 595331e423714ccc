"""``saga-mm export``: write a model as an ONNX file."""

from __future__ import annotations

import argparse

from saga_mm.cli.options import add_out, add_overwrite, add_task_options, task_options
from saga_mm.cli.parser import Parser, add_config_values
from saga_mm.cli.required import require_run


def parser() -> Parser:
    """The options."""
    made = Parser(
        'saga-mm export',
        description='Write a model as one ONNX file for images of any height and width, and compare it with PyTorch '
        'under ONNX Runtime first. The metadata of the file says what its inputs and outputs are. It takes a minute or '
        'two.',
    )
    made.add_argument(
        'source',
        metavar='SOURCE',
        help='a backbone (saga_pvt_tiny), weights of a low-light enhancer (base, tiny, lol, lol-tiny or FILE.npz), or '
        'a config of a segmentor, a detector, a classifier or an enhancer',
    )
    made.add_argument(
        'checkpoint', nargs='?', metavar='CHECKPOINT', help='for a config or a backbone: the weights, or a work folder'
    )
    add_out(made, 'PATH', 'the file to write (default: NAME.onnx)')
    made.add_argument('--opset', type=int, default=20, metavar='N', help="of ONNX's operators, 17 to 23 (default: 20)")
    add_task_options(made, 'export')
    add_config_values(made)
    add_overwrite(made)
    return made


def main(args: argparse.Namespace) -> None:
    """Export, and say what was written."""
    require_run(args.source, args.checkpoint)

    from saga_mm.export.checking import CHECKED
    from saga_mm.loading.checkpoint import make_files_safe
    from saga_mm.loading.quiet import silence_noise
    from saga_mm.runs.export import ExportOptions, export

    make_files_safe()
    silence_noise()
    own = task_options(args, 'export')
    shared = {name: value for name, value in vars(args).items() if name not in own}
    made = export(ExportOptions(**shared, task_options=own))
    sizes = ', '.join(f'{each:.1e} at {height}x{width}' for (height, width), each in zip(CHECKED, made.differences))
    print(f'verified under ONNX Runtime, largest relative difference from PyTorch: {sizes}')
    if made.note:
        print(f'note: {made.note}')
    print(f'input   {made.facts.input}')
    print(f'output  {made.facts.output}')
    print(f'wrote {made.path}, {made.facts.kind}, {made.size / 2**20:.2f} MiB, opset {args.opset}')
