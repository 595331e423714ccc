"""Make a published checkpoint loadable: python tools/convert_checkpoint.py pvt_tiny.pth checkpoints/pvt_tiny.pth"""

import argparse
import os

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Convert a published PVT, PVTv2, Swin, CSwin, FLatten or RAVLT checkpoint into one that '
        "init_cfg=dict(type='Pretrained', checkpoint='DST') loads."
    )
    parser.add_argument('source', metavar='SRC', help='the published file; nothing in it is executed')
    parser.add_argument('destination', metavar='DST', help='the file to write')
    parser.add_argument(
        '--to',
        metavar='NAME',
        help='the backbone to convert for (default: that of the file); another of the same architecture, such as '
        'saga_pvt_tiny for pvt_tiny, takes over what both have',
    )
    parser.add_argument('--family', help='family of the file, such as flatten_swin (default: recognised by its keys)')
    parser.add_argument('--name', help='backbone of the file, such as swin_tiny (default: recognised by its shapes)')
    parser.add_argument('--ema', action='store_true', help='take averaged weights (model_ema) if there are both kinds')
    parser.add_argument('--force', action='store_true', help='replace DST if it exists')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from saga_mm.loading.convert import convert_file

    conversion = convert_file(**vars(args))
    aim = f', for {conversion.target}' if conversion.target != conversion.source else ''
    left = f', not {" or ".join(conversion.left)}' if conversion.left else ''
    print(f'{os.path.basename(args.source)}: {conversion.source} from {conversion.taken}{left}{aim}')
    print(conversion.table())
    print(f"wrote {args.destination}; load it with init_cfg=dict(type='Pretrained', checkpoint={args.destination!r})")


if __name__ == '__main__':
    run_tool(main)
