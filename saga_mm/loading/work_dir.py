"""Choose a checkpoint of a folder: the newest to resume from, or the best to use."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import keep, load_checkpoint
from saga_mm.loading.named_files import require_checkpoint

NEEDED = ('meta', 'message_hub', 'optimizer')
ATTEMPTS = 5
# the largest figure of an evaluation, and number of a step
LARGEST, MOST_STEPS = 1e30, 2**40
INSTEAD = 'resume from an iter_ or epoch_ file, or start anew from its weights with --cfg-options load_from='


def load_training_state(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint from which training can continue.

    Raises:
        SagaError: The file cannot be read, or holds weights alone, as ``best_*.pth`` does.
    """
    checkpoint = load_checkpoint(path)
    lacking = [key for key in NEEDED if not isinstance(checkpoint.get(key), dict)]
    if not lacking:
        lacking = [key for key in ('epoch', 'iter') if key not in checkpoint['meta']]
    if lacking:
        raise SagaError(
            f'checkpoint {path}: training cannot continue from it, since it holds no {lacking[0]} (best_*.pth files do '
            f'not); {INSTEAD}{path}'
        )
    wrong = _wrong_fields(checkpoint)
    if wrong:
        raise SagaError(
            f'checkpoint {path}: training cannot continue from it, since its {wrong} is not what mmengine writes; '
            f'{INSTEAD}{path}'
        )
    return checkpoint


def _wrong_fields(checkpoint: dict[str, Any]) -> str | None:
    """The first of the facts of a run that is of another kind than the run needs."""
    meta, hub = checkpoint['meta'], checkpoint['message_hub']
    for key in ('epoch', 'iter'):
        if type(meta[key]) is not int or not 0 <= meta[key] < MOST_STEPS:
            return f'meta.{key} ({str(meta[key])[:40]})'
    seed = meta.get('seed')
    if seed is not None and not (isinstance(seed, int) and 0 <= seed < 2**32):
        return 'meta.seed'
    for key in ('log_scalars', 'runtime_info', 'resumed_keys'):
        if not isinstance(hub.setdefault(key, {}), dict) or not all(isinstance(name, str) for name in hub[key]):
            return f'message_hub.{key}'
    # a log without an entry has no mean, and what is kept was kept before
    hub['log_scalars'] = {name: log for name, log in hub['log_scalars'].items() if _has_entries(log)}
    hub['resumed_keys'] = {name: kept for name, kept in hub['resumed_keys'].items() if kept is True}
    for key, value in hub['runtime_info'].items():
        if str(key).startswith('best_score') and not _is_figure(value):
            return f'message_hub.runtime_info.{key}'
    schedulers = checkpoint.get('param_schedulers', [])
    if isinstance(schedulers, dict):
        schedulers = [scheduler for each in schedulers.values() if isinstance(each, list) for scheduler in each]
    if not isinstance(schedulers, list) or not all(isinstance(scheduler, dict) for scheduler in schedulers):
        return 'param_schedulers'
    return None


def _is_figure(value: Any) -> bool:
    if isinstance(value, (float, np.floating)) and math.isinf(value):
        return True
    return isinstance(value, (int, float, np.number)) and bool(abs(value) < LARGEST)


def _has_entries(log: Any) -> bool:
    from mmengine.logging import HistoryBuffer

    return isinstance(log, HistoryBuffer) and len(log.data[0]) > 0


def stay_inside(checkpoint: dict[str, Any], work_dir: str | Path) -> None:
    """Have the paths of best checkpoints in a training's state lead to files of their names in a folder.

    A hook removes such a file when there is a better one, and may not be ours.
    """
    info = checkpoint['message_hub']['runtime_info']
    for key in [key for key in info if str(key).startswith('best_ckpt')]:
        name = Path(info[key]).name if isinstance(info[key], str) else ''
        if name.startswith('best_') and name.endswith('.pth'):
            info[key] = str(Path(work_dir, name))
        else:
            del info[key]


def find_newest(work_dir: str | Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint in a folder that can be read and continued from.

    Args:
        work_dir: The work folder of a training; if its checkpoints went elsewhere, ``last_checkpoint`` says where.

    Returns:
        The file, or None if the folder has no checkpoint; and, for each newer file that is broken, the reason.

    Raises:
        SagaError: There are checkpoints, but none can be continued from.
    """
    files = _candidates(Path(work_dir))
    broken: list[str] = []
    for file in files:
        try:
            load_training_state(file)
        except SagaError as error:
            broken.append(str(error))
        else:
            return file, broken
    if broken:
        raise SagaError(f'--resume: no checkpoint in {work_dir} can be continued from; the newest: {broken[0]}')
    return None, []


def find_best(path: str | Path) -> Path:
    """A checkpoint file as it is; of a training's folder, the best checkpoint in it, or else the newest.

    What is found in a folder is read at once and kept for :func:`load_checkpoint`.

    Raises:
        SagaError: There is no such file, or the folder has no checkpoint.
    """
    path = require_checkpoint(path)
    if not path.is_dir():
        return path
    for _ in range(ATTEMPTS):
        best = max(path.glob('best_*.pth'), key=_time, default=None)
        found = best or _newest_weights(path)
        if found is None:
            raise SagaError(
                f'checkpoint {path}: the folder holds no checkpoint; train there first, or name a .pth file'
            )
        try:
            keep(found, load_checkpoint(found))
            return found
        except SagaError as error:
            failure = error
            # a training that goes on in the folder has replaced the file by a better one
            if found.exists():
                break
    raise failure


def _newest_weights(folder: Path) -> Path | None:
    """The newest file of weights in a folder, whether or not a training can continue from it.

    Raises:
        SagaError: There are some, and none can be read.
    """
    files = _candidates(folder) or sorted(folder.glob('*.pth'), key=_time, reverse=True)
    failures: list[SagaError] = []
    for file in files:
        try:
            keep(file, load_checkpoint(file))
            return file
        except SagaError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return None


def _candidates(work_dir: Path) -> list[Path]:
    found = _steps(work_dir)
    pointer = work_dir / 'last_checkpoint'
    if not found and pointer.is_file():
        # out_dir of the checkpoint hook may be elsewhere; that of a copied folder is the one that it was copied from
        named = pointer.read_text(encoding='utf-8', errors='replace').strip()
        found = _steps(Path(named).resolve().parent) if named else []
    return sorted(found, key=lambda path: (_step(path), _time(path)), reverse=True)


def newest_in(work_dir: str | Path) -> Path | None:
    """The checkpoint of the last step in a folder, or where it says, read or not; None without one."""
    return next(iter(_candidates(Path(work_dir))), None)


def _steps(folder: Path) -> list[Path]:
    return [path for path in folder.glob('*.pth') if _step(path) is not None]


def _time(path: Path) -> float:
    """When a file was written; 0 if it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0


def _step(path: Path) -> tuple[int, int] | None:
    """The epoch or iteration in a file's name, and the iteration beyond a complete epoch."""
    if path.name.startswith('best_'):
        return None
    within = re.search(r'epoch_(\d+)_iter_(\d+)\.pth$', path.name)
    if within:
        return int(within[1]), int(within[2])
    number = re.search(r'(\d+)\.pth$', path.name)
    return (int(number[1]), 0) if number else None
