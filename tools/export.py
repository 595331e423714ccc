"""Write a model as an ONNX file: python tools/export.py base -o enhancer.onnx"""

import argparse

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(
        description='Write a model as one ONNX file for images of any height and width, and compare it with PyTorch '
        'under ONNX Runtime first. The metadata of the file says what its inputs and outputs are. It takes a minute or '
        'two.'
    )
    parser.add_argument(
        'source',
        metavar='SOURCE',
        help='a backbone (saga_pvt_tiny), weights of a low-light enhancer (base, tiny, photos or FILE.npz), or a '
        'config of a segmentor, a detector or an enhancer',
    )
    parser.add_argument(
        'checkpoint', nargs='?', metavar='CHECKPOINT', help='for a config or a backbone: the weights, or a work folder'
    )
    parser.add_argument('-o', '--out', metavar='PATH', help='the file to write (default: NAME.onnx)')
    parser.add_argument(
        '--opset', type=int, default=20, metavar='N', help="of ONNX's operators, 17 to 23 (default: 20)"
    )
    parser.add_argument(
        '--output',
        choices=('labels', 'scores'),
        help='of a segmentor: labels at the size of the image (default), or class scores at the resolution of the head',
    )
    parser.add_argument(
        '--strength', type=float, metavar='S', help='of an enhancer: a constant of the file instead of an input'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='values of the config to change'
    )
    parser.add_argument('--force', action='store_true', help='replace the file if it exists')
    # options may stand between the two names
    return parser.parse_intermixed_args()


def main() -> None:
    args = parse_args()

    from saga_mm.cli.export import ExportOptions, export
    from saga_mm.export.checking import CHECKED
    from saga_mm.loading.checkpoint import make_files_safe
    from saga_mm.loading.quiet import silence_noise

    make_files_safe()
    silence_noise()
    made = export(ExportOptions(**vars(args)))
    sizes = ', '.join(f'{each:.1e} at {height}x{width}' for (height, width), each in zip(CHECKED, made.differences))
    print(f'verified under ONNX Runtime, largest relative difference from PyTorch: {sizes}')
    if made.note:
        print(f'note: {made.note}')
    print(f'input   {made.facts.input}')
    print(f'output  {made.facts.output}')
    print(f'wrote {made.path}, {made.facts.kind}, {made.size / 2**20:.2f} MiB, opset {args.opset}')


if __name__ == '__main__':
    run_tool(main)
