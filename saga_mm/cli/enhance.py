"""``saga-mm enhance``: brighten photographs and videos."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from saga_mm.cli.options import add_device, add_engine_options, add_out, add_overwrite
from saga_mm.cli.parser import Parser
from saga_mm.cli.required import any_there, require_weights
from saga_mm.display.console import is_speaker
from saga_mm.display.outcome import print_failed, print_outcome
from saga_mm.errors import SagaError
from saga_mm.files import user_path

INTERRUPTED = 'Interrupted; what was complete by then is there.'
SAMPLE = files('saga_mm') / 'samples' / 'night.jpg'


def parser() -> Parser:
    """The options."""
    made = Parser(
        'saga-mm enhance',
        description='Brighten photographs and videos taken in low light: photo.jpg becomes photo_enhanced.jpg. Format, '
        'quality, bit depth, transparency, EXIF and colour profile stay as they are; of a video, size, frame rate and '
        'sound. Without an input, a photograph that comes with the package is enhanced.',
    )
    made.add_argument(
        'inputs',
        nargs='*',
        metavar='INPUT',
        help="pictures, videos, folders (with the folders in them), or patterns ('*.jpg')",
    )
    add_out(made, 'PATH', 'the file, or the folder for several, to write')
    made.add_argument(
        '--strength',
        type=float,
        default=1.0,
        help='0 leaves a picture as it is, more than 1 brightens more (default: 1)',
    )
    made.add_argument(
        '--brightness',
        default='auto',
        metavar='MEAN',
        help='mean luminance of the result, between 0 and 1, or auto for what the model predicts (default: auto)',
    )
    made.add_argument('--match', metavar='PICTURE', help='a picture to be as bright as, in place of --brightness')
    made.add_argument(
        '--denoise',
        type=float,
        default=1.0,
        help='1 for a smooth result, 0 to keep the detail and the noise of the picture (default: 1)',
    )
    made.add_argument(
        '--compare', action='store_true', help='write NAME_compare.jpg as well: before and after, side by side'
    )
    made.add_argument(
        '--weights',
        default='base',
        metavar='NAME',
        help='base, tiny (fast, for videos), lol and lol-tiny (trained on LOL-v1: for research only), or a file: '
        'weights, or an ONNX file of saga-mm export (default: base)',
    )
    add_engine_options(made)
    add_device(made)
    made.add_argument(
        '--max-memory',
        metavar='SIZE',
        help='memory limit, such as 2GB; images that need more run in strips, with the same result '
        '(default: half of the free memory)',
    )
    add_overwrite(made)
    return made


def main(args: argparse.Namespace) -> int:
    """Enhance; 1 if something could not be done."""
    require_weights(args.weights)
    if args.match is not None and not user_path(args.match).exists():
        raise SagaError(f'--match {args.match}: no such picture')
    if args.inputs and not any_there(args.inputs):
        return _refuse(args.inputs)

    from saga_mm.runs.enhance import EnhanceOptions, enhance

    if args.inputs:
        return 1 if enhance(EnhanceOptions(**vars(args))) else 0
    given = {**vars(args), 'out': args.out or 'night_enhanced.jpg', 'compare': True, 'overwrite': True}
    with as_file(SAMPLE) as sample:
        failed = enhance(EnhanceOptions(**{**given, 'inputs': [str(sample)]}))
    if not failed:
        out = Path(given['out'])
        print(f'the sample photograph, enhanced: {out.resolve()}')
        print(f'before and after: {out.resolve().with_name("night_compare.jpg")}')
        print('your own: saga-mm enhance PHOTO.jpg')
    return 1 if failed else 0


def _refuse(inputs: Sequence[str]) -> int:
    """Report missing inputs as :func:`saga_mm.runs.enhance.enhance` does, without importing torch."""
    from saga_mm.images.inputs import find_jobs

    reasons = [str(error) for error in find_jobs(inputs).refused]
    if is_speaker():
        for reason in reasons:
            print_failed(reason)
        print_outcome(0, 0, reasons)
    return 1
