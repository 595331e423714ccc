"""Write a low-light enhancer as an ONNX file: python tools/export_onnx.py -o enhancer.onnx"""

import argparse

from saga_mm.engine.cli import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write the weights of a low-light enhancer as one ONNX file for images of any height and width. '
        'Inputs: image, (1, 3, H, W) float32 RGB in [0, 1], and strength, a number that may be left out. '
        'Where onnxruntime is installed, the file is compared with PyTorch first. It takes a minute or two.'
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        '--variant', default='base', metavar='NAME', help='of the weights that come with saga_mm (default: base)'
    )
    source.add_argument('--weights', metavar='FILE', help='weights of your own, from tools/publish_weights.py')
    parser.add_argument('-o', '--out', metavar='PATH', help='the file to write (default: the name of the weights)')
    parser.add_argument('--opset', type=int, metavar='N', help="version of ONNX's operators, 18 to 23 (default: 20)")
    parser.add_argument('--force', action='store_true', help='replace the file if it exists')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from saga_mm.engine.export import CHECKED, OPSET, export_weights

    opset = OPSET if args.opset is None else args.opset
    made = export_weights(args.weights or args.variant, args.out, opset, args.force)
    if made.difference is None:
        print('not verified: onnxruntime is not installed (pip install onnxruntime)')
    else:
        sizes = ', '.join(f'{height}x{width}' for height, width in CHECKED)
        print(f'verified under ONNX Runtime at {sizes}: at most {made.difference:.1e} from PyTorch')
    print(f'wrote {made.path}, {made.size / 2**20:.2f} MiB, opset {opset}')


if __name__ == '__main__':
    run_tool(main)
