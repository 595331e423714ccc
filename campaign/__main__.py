"""``python -m campaign --only memory --seed 1 --count 20``: run the attacks, print what came of them."""

from __future__ import annotations

import argparse
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

MODULES = ('kills', 'distributed', 'disk', 'payloads', 'malformed', 'concurrent', 'memory')


def main() -> None:
    """Run the modules that the command line names. Status 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog='python -m campaign', description=sys.modules['campaign'].__doc__)
    parser.add_argument(
        '--only', nargs='+', choices=MODULES, default=MODULES, metavar='MODULE', help=', '.join(MODULES)
    )
    parser.add_argument('--seed', type=int, default=0, help='of all that is drawn (default: 0)')
    parser.add_argument('--count', type=int, help='cases of each module (default: as many as it was made for)')
    parser.add_argument('--folder', type=Path, help='where to work; what is made first is kept there for the next time')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/campaign/cases.json'), help='all cases, one a line')
    parser.add_argument('--minutes', type=float, help='begin nothing new after so many; --resume does what is left')
    parser.add_argument('--resume', action='store_true', help='go on with what --out has, and repeat what went wrong')
    options = parser.parse_args()
    # one thread, so that processes can be forked at any time; and the same sums in each run
    os.environ.update(OMP_NUM_THREADS='1', OMP_WAIT_POLICY='passive', MPLBACKEND='Agg')
    with tempfile.TemporaryDirectory(prefix='campaign-') as made:
        folder = (options.folder or Path(made)).resolve()
        os.environ.setdefault('SAGA_MM_CACHE', str(folder / 'cache'))
        sys.exit(attack(folder, options))


def attack(folder: Path, options: argparse.Namespace) -> int:
    """Run modules, print the table and what went wrong, after Ctrl-C too.

    Returns:
        1 if anything went wrong, 3 if ``--minutes`` left something out.
    """
    from campaign.preload import import_all
    from campaign.process import end_all
    from campaign.tally import Tally
    from campaign.world import World
    from saga_mm.errors import SagaError

    import_all()
    tally, world = Tally(options.out, options.seed, options.minutes), World(folder / 'world')
    try:
        tally.begin({'seed': options.seed, 'count': options.count}, options.resume)
    except SagaError as error:
        sys.exit(f'python -m campaign: {error}')
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        tally.say('making what is attacked')
        world.make()
        for name in options.only:
            started = time.monotonic()
            place, bad = folder / name / str(os.getpid()), len(tally.failures)
            place.mkdir(parents=True)
            tally.say(name)
            module = importlib.import_module(f'campaign.{name}')
            drawn = random.Random(f'{name} {options.seed}')
            try:
                module.attack(world, place, tally, drawn, options.count or module.COUNT)
            finally:
                tally.took(name, time.monotonic() - started)
            if len(tally.failures) == bad:
                shutil.rmtree(place, ignore_errors=True)
    except KeyboardInterrupt:
        tally.say('interrupted')
    finally:
        end_all()
    print(tally.table())
    for case in tally.failures:
        print(': '.join(case))
    if tally.is_stopped:
        tally.say('there was no time for all; --resume does what is left')
    return 1 if tally.failures else 3 * tally.is_stopped


if __name__ == '__main__':
    main()
