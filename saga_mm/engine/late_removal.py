"""Checkpoints that are written whole, and removed when their successors are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend

from saga_mm.errors import SagaError
from saga_mm.files import Draft


class LateRemoval(LocalBackend):
    """A backend for local files that removes a file only when its successor is written.

    Nothing but files that lie directly in one folder is ever removed.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = os.path.abspath(folder)
        self._superfluous: list[str] = []

    def remove(self, filepath: str | Path) -> None:
        path = os.path.abspath(filepath)
        if os.path.dirname(path) == self._folder:
            self._superfluous.append(path)

    def rmtree(self, dir_path: str | Path) -> None:
        """Folders are not removed: none of them is a checkpoint of ours."""

    def superfluous(self) -> list[str]:
        """The names of files that are removed when their successors are written."""
        return [os.path.basename(path) for path in self._superfluous]

    def remove_superfluous(self, written: set[str]) -> None:
        for path in self._superfluous:
            if path not in written and os.path.isfile(path) and is_main_process():
                os.remove(path)
        self._superfluous.clear()


class WholeWriter:
    """A runner whose ``save_checkpoint`` writes complete files or none. It passes everything else on to the runner."""

    def __init__(self, hook: Any, runner: Any) -> None:
        self._hook = hook
        self._runner = runner
        self.written: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, meta: dict, **kwargs: Any) -> None:
        final = os.path.join(out_dir, filename)
        self._hook._position = {key: meta[key] for key in ('epoch', 'iter')}
        try:
            # all processes come here, since divided parameters are gathered from them; one writes
            if is_main_process():
                with Draft(final) as draft:
                    self._runner.save_checkpoint(out_dir, draft.temporary.name, *args, meta=meta, **kwargs)
            else:
                self._runner.save_checkpoint(out_dir, filename, *args, meta=meta, **kwargs)
        except SagaError as error:
            raise SagaError(
                f'checkpoint {error}; the earlier ones are whole. Make room and continue with --resume'
            ) from error
        finally:
            self._hook._position = None
        self.written.add(os.path.abspath(final))
