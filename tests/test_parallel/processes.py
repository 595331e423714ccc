"""Runs checks on 2, 3 and 4 processes, forked from one that has imported everything: ``processes.py FOLDER``."""

import json
import os
import sys
import traceback
from pathlib import Path

import torch
import torch._dynamo
import torch.distributed as dist
from mmseg.utils import register_all_modules

sys.path.insert(0, str(Path(__file__).parent))

from band_checks import CHECKS, LAST
from data_checks import CHECKS as DATA_CHECKS
from train_checks import CHECKS as TRAIN_CHECKS

from saga_mm.parallel import make_mesh

CHECKS.update(TRAIN_CHECKS | DATA_CHECKS)
WORLDS = (2, 3, 4)
PATIENCE = 20


def run(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', store=dist.FileStore(str(folder / f'store{world}'), world), rank=rank, world_size=world
    )
    mesh, outcomes = make_mesh(timeout=PATIENCE), {}
    for name, check in [*CHECKS.items(), *LAST.items()]:
        torch.manual_seed(0)
        try:
            check(mesh)
            outcomes[name] = None
        except BaseException:
            outcomes[name] = traceback.format_exc()
        (folder / f'{world}-{rank}.json').write_text(json.dumps(outcomes))


def main() -> None:
    folder = Path(sys.argv[1])
    # each process would import it, and torch._dynamo, by itself; nothing is computed before they are forked
    register_all_modules()
    for world in WORLDS:
        children = []
        for rank in range(world):
            child = os.fork()
            if not child:
                try:
                    run(rank, world, folder)
                finally:
                    os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)


if __name__ == '__main__':
    main()
