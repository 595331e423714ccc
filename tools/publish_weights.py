"""Make weights for tools/enhance.py of a training: python tools/publish_weights.py CONFIG work_dirs/NAME weights.npz"""

import argparse

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write the weights of a trained low-light enhancer as a small file of plain numbers, which '
        'tools/enhance.py --weights and saga_mm.apis.LowLightInferencer load. Averaged weights (EMA) are taken where '
        'the training kept them.'
    )
    parser.add_argument('config', help='the config of the training, or its name inside configs/')
    parser.add_argument('checkpoint', help='a .pth file, or a work folder for the best in it')
    parser.add_argument('destination', metavar='DST', help='the file to write, NAME.npz')
    parser.add_argument('--licence', default='', metavar='TEXT', help='licence of the weights, kept in the file')
    parser.add_argument('--data', default='', metavar='TEXT', help='what they were trained on, kept in the file')
    parser.add_argument('--full', action='store_true', help='keep float32 (default: float16, half as large)')
    parser.add_argument('--force', action='store_true', help='replace DST if it exists')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from saga_mm.cli.publish import publish_weights

    made = publish_weights(**vars(args))
    print(f'{made.checkpoint}: {made.parameters / 1e6:.2f} M parameters')
    print(f'stored as {"float32" if args.full else "float16"}, they change an answer by up to {made.change:.3f} of 255')
    print(f'wrote {args.destination}, {made.size / 2**20:.2f} MiB; use it with tools/enhance.py --weights')


if __name__ == '__main__':
    run_tool(main)
