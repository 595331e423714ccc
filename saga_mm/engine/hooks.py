"""A checkpoint hook under which a kill at any moment leaves every finished checkpoint whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine._strategy import DDPStrategy, SingleDeviceStrategy
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook

from saga_mm.errors import SagaError
from saga_mm.registry import HOOKS

UNFINISHED = '.part'


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` with two orders changed, and one number.

    A file is written beside its final name and renamed once it is on the disk, where mmengine writes in place (and
    after each new best result rewrites the newest checkpoint). What ``max_keep_ckpts`` or ``save_best`` makes
    superfluous is removed after its successor is complete, where mmengine removes it first. The epoch in the file is
    the one that the hook means, where ``FlexibleRunner`` counts one too many after a validation and skips an epoch.

    Args: those of ``CheckpointHook``. Storage that is not a local folder, and strategies that write folders, behave as
    in mmengine.
    """

    _position: dict | None = None

    def before_train(self, runner: Any) -> None:
        super().before_train(runner)
        if type(self.file_backend) is LocalBackend and _saves_files(runner):
            self.file_backend = _LateRemoval()
            if is_main_process() and os.path.isdir(self.out_dir):
                for rest in Path(self.out_dir).glob(f'*{UNFINISHED}'):
                    rest.unlink()

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        if self._position is not None:
            checkpoint['meta'].update(self._position)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
        with self._safely(runner) as writer:
            super()._save_checkpoint_with_step(writer, step, meta)

    def _save_best_checkpoint(self, runner: Any, metrics: dict) -> None:
        with self._safely(runner) as writer:
            super()._save_best_checkpoint(writer, metrics)

    @contextmanager
    def _safely(self, runner: Any) -> Iterator[Any]:
        if not isinstance(self.file_backend, _LateRemoval) or isinstance(runner, _Writer):
            yield runner
            return
        writer = _Writer(self, runner)
        yield writer
        self.file_backend.remove_superfluous(writer.written)


class _LateRemoval(LocalBackend):
    """Local files, of which removed ones stay until their successors are written."""

    def __init__(self) -> None:
        self._superfluous: list[str] = []

    def remove(self, filepath: str | Path) -> None:
        self._superfluous.append(os.path.abspath(filepath))

    def remove_superfluous(self, written: set[str]) -> None:
        for path in self._superfluous:
            if path not in written and os.path.isfile(path):
                os.remove(path)
        self._superfluous.clear()


class _Writer:
    """A runner whose ``save_checkpoint`` writes under another name and renames; in all else the runner itself."""

    def __init__(self, hook: AtomicCheckpointHook, runner: Any) -> None:
        self._hook = hook
        self._runner = runner
        self.written: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, meta: dict, **kwargs: Any) -> None:
        final = os.path.join(out_dir, filename)
        unfinished = final + UNFINISHED
        self._hook._position = {key: meta[key] for key in ('epoch', 'iter')}
        try:
            self._runner.save_checkpoint(out_dir, filename + UNFINISHED, *args, meta=meta, **kwargs)
            if is_main_process():
                _flush(unfinished)
                os.replace(unfinished, final)
                _flush(out_dir)
        except OSError as error:
            if os.path.exists(unfinished):
                os.remove(unfinished)
            raise SagaError(
                f'checkpoint {final}: could not be written ({error.strerror or error}); the earlier ones are whole. '
                'Make room and continue with --resume'
            ) from error
        finally:
            self._hook._position = None
        self.written.add(os.path.abspath(final))


def _saves_files(runner: Any) -> bool:
    """Whether checkpoints are files; DeepSpeed's and others' are folders, written by all ranks."""
    strategy = getattr(runner, 'strategy', None)
    return strategy is None or type(strategy) in (SingleDeviceStrategy, DDPStrategy)


def _flush(path: str) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
