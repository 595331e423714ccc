"""``python -m campaign --only memory --seed 1 --count 20``: run the attacks, print what came of them."""

from __future__ import annotations

import argparse
import importlib
import os
import random
import sys
import tempfile
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
    options = parser.parse_args()
    # one thread, so that processes can be forked at any time; and the same sums in each run
    os.environ.update(OMP_NUM_THREADS='1', OMP_WAIT_POLICY='passive', MPLBACKEND='Agg')
    with tempfile.TemporaryDirectory(prefix='campaign-') as made:
        folder = options.folder or Path(made)
        os.environ.setdefault('SAGA_MM_CACHE', str(folder.resolve() / 'cache'))
        sys.exit(attack(folder.resolve(), options.only, options.seed, options.count, options.out))


def attack(folder: Path, modules: tuple[str, ...], seed: int, count: int | None, out: Path) -> int:
    """Run modules, print the table and what went wrong, after Ctrl-C too.

    Returns:
        1 if anything went wrong.
    """
    from campaign.preload import import_all
    from campaign.tally import Tally
    from campaign.world import World

    import_all()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    tally, world = Tally(out), World(folder / 'world')
    tally.say('making what is attacked')
    world.make()
    try:
        for name in modules:
            place = folder / name / str(os.getpid())
            place.mkdir(parents=True)
            tally.say(name)
            module = importlib.import_module(f'campaign.{name}')
            module.attack(world, place, tally, random.Random(f'{name} {seed}'), count or module.COUNT)
    except KeyboardInterrupt:
        tally.say('interrupted')
    print(tally.table())
    for case in tally.failures:
        print(': '.join(case))
    return int(bool(tally.failures))


if __name__ == '__main__':
    main()
