"""``saga-mm benchmark``: time and memory beside baselines, in a checkout."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from saga_mm.cli.parser import Parser
from saga_mm.errors import SagaError

INTERRUPTED = 'Interrupted; what was measured is written.'
# options that go with `video`; the others are refused
VIDEO = ('layer', 'sizes', 'device', 'only', 'repeats', 'threads', 'out')
# options of one layer, and what --trace runs nothing of
ONE_LAYER = {'stages': 'op', 'backbones': 'backbone'}
TIMED = ('compile', 'repeats', 'min_seconds', 'threads', 'memory')


def parser() -> Parser:
    """The options."""
    made = Parser(
        'saga-mm benchmark',
        description='Check results, then measure time and peak memory, beside baselines.',
        epilog='Ctrl-C writes what was measured so far. The exit status is 1 if a subject computes a wrong result.',
    )
    made.add_argument('layer', choices=('op', 'backbone', 'model', 'enhancer', 'video'), help='what to measure')
    made.add_argument('--sizes', default='', metavar='N|HxW,...', help='image sizes in pixels, such as 640,480x1280')
    made.add_argument('--batch-size', type=int, default=1, metavar='N', help='images in a batch (default: 1)')
    made.add_argument('--dtype', default='float32', help='float32 (default), bfloat16 or float16')
    made.add_argument('--device', default='cpu', help='cpu (default) or cuda')
    made.add_argument('--backward', action='store_true', help='measure forward and backward in training mode')
    made.add_argument('--compile', action='store_true', help='measure compiled variants beside eager ones')
    made.add_argument(
        '--only',
        default='',
        metavar='A,B,...',
        help='subjects; an attention may have options: a:key=value; of video: weights, by name or file (default: tiny)',
    )
    made.add_argument(
        '--backbones',
        default='pvt_tiny',
        metavar='A,B,...',
        help='backbones (default: pvt_tiny)',
    )
    made.add_old('--hosts', '--backbones')
    made.add_argument('--stages', default='1,3', metavar='N,...', help="op: PVT's stages (default: 1,3)")
    made.add_argument(
        '--repeats', type=int, default=5, metavar='N', help='smallest number of runs (default: 5); for video, of frames'
    )
    made.add_argument('--min-seconds', type=float, default=2.0, metavar='S', help='shortest time for each (default: 2)')
    made.add_argument('--threads', type=int, metavar='N', help="threads of the CPU (default: PyTorch's own choice)")
    made.add_argument('--no-memory', dest='memory', action='store_false', help='do not measure peaks of memory')
    made.add_argument('--trace', action='store_true', help='trace live bytes and run nothing, for any size')
    made.add_argument('-o', '--out', type=Path, metavar='DIR', help='results (default: work_dirs/benchmark/LAYER)')
    return made


def main(args: argparse.Namespace) -> int:
    """Measure; the status says whether all computed what they should."""
    if find_spec('benchmarks') is None:
        raise SagaError('benchmark: needs a checkout of saga_mm, whose folder benchmarks/ is not in the package')
    unused = [name for name in vars(args) if not _is_used(name, args)]
    given = [name for name in unused if getattr(args, name) != parser().get_default(name)]
    if given:
        option = 'no-memory' if given[0] == 'memory' else given[0].replace('_', '-')
        mode = '--trace' if args.trace and args.layer != 'video' and given[0] in TIMED else args.layer
        raise SagaError(f'--{option}: does not go with {mode}; leave it out')
    if args.layer == 'video':
        _measure_video(args)
        return 0

    from benchmarks.options import Options
    from benchmarks.run import run

    return run(Options(**vars(args)))


def _is_used(name: str, args: argparse.Namespace) -> bool:
    if args.layer == 'video':
        return name in VIDEO
    return ONE_LAYER.get(name, args.layer) == args.layer and not (args.trace and name in TIMED)


def _measure_video(args: argparse.Namespace) -> None:
    from benchmarks.options import parse_sizes
    from benchmarks.video_report import report_video

    size, *others = parse_sizes(args.sizes or '720x1280')
    if others:
        raise SagaError(f'--sizes {args.sizes}: video is measured at one size')
    out = args.out or Path('work_dirs/benchmark/video')
    report_video(size, args.repeats, args.only or 'tiny', args.device, out, args.threads)
