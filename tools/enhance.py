"""Brighten photographs taken in low light: python tools/enhance.py photo.jpg"""

import argparse
import sys

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    from saga_mm.cli.options import add_engine_options

    parser = argparse.ArgumentParser(
        description='Brighten photographs and videos taken in low light: photo.jpg becomes photo_enhanced.jpg. Format, '
        'quality, bit depth, transparency, EXIF and colour profile stay as they are; of a video, size, frame rate and '
        'sound.'
    )
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='INPUT',
        help="pictures, videos, folders (with the folders in them), patterns ('*.jpg'), or the number of a camera, "
        'which is recorded to -o until Ctrl-C',
    )
    parser.add_argument('-o', '--out', metavar='PATH', help='the file, or the folder for several, to write')
    parser.add_argument(
        '--strength',
        type=float,
        default=1.0,
        help='0 leaves a picture as it is, more than 1 brightens more (default: 1)',
    )
    parser.add_argument(
        '--brightness',
        default='auto',
        metavar='MEAN',
        help='mean luminance that the result shall have, between 0 and 1, or auto: what the model finds right '
        '(default: auto)',
    )
    parser.add_argument('--match', metavar='PICTURE', help='a picture to be as bright as, in place of --brightness')
    parser.add_argument(
        '--denoise',
        type=float,
        default=1.0,
        help='1 for a smooth result, 0 to keep the detail and the noise of the picture (default: 1)',
    )
    parser.add_argument(
        '--compare', action='store_true', help='write NAME_compare.jpg as well: before and after, side by side'
    )
    parser.add_argument(
        '--weights',
        default='base',
        metavar='NAME',
        help='base, tiny (fast, for videos), photos (free of research terms), or a file of your own, one of '
        'tools/export.py too (default: base)',
    )
    add_engine_options(parser)
    parser.add_argument('--device', help='cpu, cuda:1, ... (default: a GPU if there is one)')
    parser.add_argument(
        '--max-memory',
        metavar='SIZE',
        help='what the program may take, such as 2GB; what needs more is done in strips, with the same result '
        '(default: half of the memory that is free)',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace files that exist')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from saga_mm.tasks.enhancement.photographs import EnhanceOptions, enhance

    sys.exit(1 if enhance(EnhanceOptions(**vars(args))) else 0)


if __name__ == '__main__':
    run_tool(main, interrupted='Interrupted; what was complete by then is there.')
