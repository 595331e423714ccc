"""``saga-mm doctor``: report what is installed, in use and missing."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from saga_mm.cli.extras import NEEDS, PARTS, cure, missing
from saga_mm.cli.options import add_data_options, add_work_dir, own_data_of
from saga_mm.cli.parser import Parser
from saga_mm.cli.required import require_model
from saga_mm.errors import SagaError


def parser() -> Parser:
    """The options."""
    made = Parser(
        'saga-mm doctor',
        description='Print versions, the OpenMMLab stack, operators, engines, GPU, memory and caches, and the '
        'libraries that each verb lacks. With --data, check the data of a config instead, as check-data does.',
    )
    made.add_argument('--data', metavar='CONFIG', help='check this data instead; exit status 1: it has problems')
    add_work_dir(made)
    add_data_options(made, training=True)
    return made


def main(args: argparse.Namespace) -> int:
    """Print; of data, 1 if something is wrong with it."""
    own = own_data_of(args)
    if args.data is not None:
        require_model(args.data)

        from saga_mm.runs.check_data import CheckOptions, check_data

        return 0 if check_data(CheckOptions(args.data, args.cfg_options, args.work_dir, own_data=own)) else 1
    given = own.given(own.paths) or (args.work_dir and '--work-dir') or (args.cfg_options and '--cfg-options')
    if given:
        raise SagaError(f'{given}: goes with --data CONFIG, which looks at data')

    from saga_mm.runs.doctor import look

    for title, text in look().items():
        print(f'{title:<10}  {text}')
    print()
    for verb, names in NEEDS.items():
        print(f'{verb:<10}  {_state(names)}')
    # measured with what a checkout has beside the package
    print(f'benchmark   {"ready" if find_spec("benchmarks") else "needs a checkout of saga_mm"}')
    for part, (verb, name) in PARTS.items():
        if missing((name,)):
            print(f'{part} ({verb}): {_state((name,))}')
    return 0


def _state(names: tuple[str, ...]) -> str:
    lacking = missing(names)
    if not lacking:
        return 'ready'
    return f'lacks {", ".join(lacking)}: {cure(lacking)}'
