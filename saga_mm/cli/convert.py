"""``saga-mm convert``: convert a published checkpoint to this package's names."""

from __future__ import annotations

import argparse
import os

from saga_mm.cli.options import add_destination, add_overwrite, destination_of
from saga_mm.cli.parser import Parser
from saga_mm.loading.named_files import require_checkpoint_file


def parser() -> Parser:
    """The options."""
    made = Parser(
        'saga-mm convert',
        description='Convert a published PVT, PVTv2, Swin, CSwin, DeiT, FLatten or RAVLT checkpoint into one that '
        "init_cfg=dict(type='Pretrained', checkpoint='DST') loads.",
    )
    made.add_argument('source', metavar='SRC', help='the published file; nothing in it is executed')
    add_destination(made, 'the file to write')
    made.add_argument(
        '--to',
        metavar='NAME',
        help='the backbone to convert for (default: that of the file); another of the same architecture, such as '
        'saga_pvt_tiny for pvt_tiny, takes over what both have',
    )
    made.add_argument(
        '--attention',
        metavar='NAME',
        help='attention of the backbone to convert for, such as saga: projections are taken over, gates start open; '
        'in Swin, CSwin and RAVLT in the first two stages',
    )
    made.add_argument('--family', help='family of the file, such as flatten_swin (default: recognised by its keys)')
    made.add_argument('--name', help='backbone of the file, such as swin_tiny (default: recognised by its shapes)')
    made.add_argument('--ema', action='store_true', help='take averaged weights (model_ema) if there are both kinds')
    add_overwrite(made)
    return made


def main(args: argparse.Namespace) -> None:
    """Convert, and say what was taken."""
    # before what takes seconds to import
    out = destination_of(args)
    require_checkpoint_file(args.source)

    from saga_mm.loading.convert import convert_file

    conversion = convert_file(
        args.source,
        out,
        to=args.to,
        family=args.family,
        name=args.name,
        ema=args.ema,
        overwrite=args.overwrite,
        attention=args.attention,
    )
    changed = conversion.target != conversion.source or args.attention
    aim = f', for {conversion.target}' if changed else ''
    aim += f' with {args.attention}' if args.attention else ''
    left = f', not {" or ".join(conversion.left)}' if conversion.left else ''
    print(f'{os.path.basename(args.source)}: {conversion.source} from {conversion.taken}{left}{aim}')
    print(conversion.table())
    print(f"wrote {out}; load it with init_cfg=dict(type='Pretrained', checkpoint={out!r})")
