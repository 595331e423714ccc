"""Runs checks on 1, 2, 3 and 4 processes, forked from one that has imported everything: ``processes.py FOLDER``."""

import json
import os
import runpy
import sys
import traceback
from importlib import import_module
from pathlib import Path

import torch
import torch._dynamo
import torch.distributed as dist
from mmseg.utils import register_all_modules

sys.path.insert(0, str(Path(__file__).parent))

import band_checks  # noqa: F401
import data_checks  # noqa: F401
import train_checks  # noqa: F401
from process_checks import CHECKS, LAST, WORLDS, names_of

from saga_mm.parallel import Mesh, make_mesh

PATIENCE = 20
# what a single process does of itself; the first of them before others are forked, which then need not import for it
# (and not those with gradients: PyTorch's threads for them do not live on in a forked process)
ALONE = [
    'a_picture_written_together',
    'counted_bytes_are_sent',
    'segmentors',
    'enhancers',
    'gradients_of_padded_pictures',
    'gradients_of_segmentors',
    'gradients_of_enhancers',
]
FIRST = 4


def run(names: list[str], mesh: Mesh, path: Path, outcomes: dict[str, str | None]) -> None:
    for name in names:
        torch.manual_seed(0)
        try:
            (CHECKS | LAST)[name](mesh)
            outcomes[name] = None
        except BaseException:
            outcomes[name] = traceback.format_exc()
        path.write_text(json.dumps(outcomes))


def start(rank: int, world: int, folder: Path) -> int:
    """Fork one process."""
    child = os.fork()
    if child:
        return child
    try:
        store = dist.FileStore(str(folder / f'store{world}'), world)
        dist.init_process_group('gloo', store=store, rank=rank, world_size=world)
        run(names_of(world), make_mesh(timeout=PATIENCE), folder / f'{world}-{rank}.json', {})
    finally:
        os._exit(0)


def main() -> None:
    folder, outcomes = Path(sys.argv[1]), {}
    # no threads before processes are forked
    torch.set_num_threads(1)
    # each process would import it, and torch._dynamo, by itself
    register_all_modules()
    import_module('mmdet.models.necks')
    run(ALONE[:FIRST], Mesh(), folder / '1-0.json', outcomes)
    runpy.run_path(str(Path(__file__).parents[1] / 'quick_runners.py'))['keep_what_is_loaded']()
    for world in WORLDS:
        for child in [start(rank, world, folder) for rank in range(world)]:
            os.waitpid(child, 0)
    run(ALONE[FIRST:], Mesh(), folder / '1-0.json', outcomes)


if __name__ == '__main__':
    main()
