"""A checkpoint hook that writes atomically: a killed training leaves every finished checkpoint complete."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine._strategy import DDPStrategy, SingleDeviceStrategy
from mmengine.dist import is_main_process, master_only
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop
from torch import nn

from saga_mm.display.console import say
from saga_mm.engine.late_removal import LateRemoval, WholeWriter
from saga_mm.engine.optimizer_state import check_optimizer_state, check_scheduler_states, parameter_names
from saga_mm.engine.schedule import Position, follow_config, place_in_epochs
from saga_mm.engine.statistics import share_statistics
from saga_mm.engine.update_hook import EPOCH, VALIDATED_AT, changed_settings
from saga_mm.errors import SagaError
from saga_mm.files import remove_leftovers, write_file
from saga_mm.loading.checkpoint import load_checkpoint
from saga_mm.registry import HOOKS

BEST = 'best_'
# of a checkpoint: files that its successor makes superfluous, and whether a signal ended the training there
SUPERSEDED, INTERRUPTED = 'superseded', 'interrupted'
NAMES = 'parameters'
NAMED = 4


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, with other ways to write, to remove and to resume.

    - A file appears when it is complete and on the disk, where mmengine writes in place (and after each new best result
      rewrites the newest checkpoint).
    - What ``max_keep_ckpts`` or ``save_best`` makes superfluous is removed after its successor is complete, where
      mmengine removes it first. Only files of the output folder are removed, whatever a resumed checkpoint names.
    - The states of optimizers and schedulers are compared with the model and the config before they are loaded.
    - Several processes share the running statistics of batch norms before they validate or save, so that a checkpoint
      has the figure of its validation.
    - The epoch in the file is the one that the hook means, where ``FlexibleRunner`` counts one too many after a
      validation and skips an epoch.

    Args: those of ``CheckpointHook``. Storage that is not a local folder, and strategies that write folders, are used
    as mmengine uses them.
    """

    _position: dict | None = None
    _interrupted, _last_iteration = False, -1
    _of_file: dict[str, Any] = {}  # noqa: RUF012  replaced, never changed

    def before_train(self, runner: Any) -> None:
        superfluous = self._take_over_kept(runner)
        super().before_train(runner)
        self._take_over_best(runner)
        if type(self.file_backend) is LocalBackend and _saves_files(runner):
            self.file_backend = LateRemoval(self.out_dir)
            if is_main_process() and os.path.isdir(self.out_dir):
                # no later run writes into the log folder of one that was killed
                for folder in (self.out_dir, *Path(runner.work_dir).glob('*/vis_data')):
                    remove_leftovers(folder)
                self._remove_superseded(runner, superfluous)

    def _remove_superseded(self, runner: Any, steps: list[int]) -> None:
        """Remove what a killed training had no time to remove, if it is that of this folder which is resumed."""
        resumed = os.path.abspath(runner._load_from) if runner._resume and runner._load_from else ''
        if os.path.dirname(resumed) != os.path.abspath(self.out_dir):
            return
        if self.last_ckpt is None and self._is_own_name(os.path.basename(resumed)):
            # a validation that is made up for, with the best result, is written into it
            self.last_ckpt = os.path.join(self.out_dir, os.path.basename(resumed))
        names = self._of_file.get(SUPERSEDED)
        kept = {getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values(), resumed}
        names = [name for name in names if self._is_own_name(name)] if isinstance(names, list) else []
        for name in [*names, *map(self.filename_tmpl.format, steps)]:
            # names come from the file: nothing outside of this folder is removed, and not what is resumed or best
            if (path := os.path.join(os.path.abspath(self.out_dir), name)) not in kept:
                self.file_backend.remove(path)
        self.file_backend.remove_superfluous(set())
        if self._of_file.get(INTERRUPTED) is True and self._is_own_name(os.path.basename(resumed)):
            # when its successor is complete
            self.file_backend.remove(resumed)

    def _is_own_name(self, name: Any) -> bool:
        """Whether a name is one that this hook gives to checkpoints."""
        if not isinstance(name, str):
            return False
        ending = os.path.splitext(self.filename_tmpl)[1]
        step = re.fullmatch(rf'(?:epoch_\d+_)?(?:epoch|iter)_\d+{re.escape(ending)}', name)
        best = name.startswith(BEST) and name.endswith(ending) and os.path.basename(name) == name
        return step is not None or best

    def save_interrupted(self, runner: Any, name: str, position: dict[str, int]) -> str | None:
        """Save where a training is ended between two checkpoints, to be removed when it has gone on to the next.

        Args:
            runner: mmengine's.
            name: Of the file, without its ending.
            position: Epochs and iterations that are done.

        Returns:
            The file to go on from; None where checkpoints are no local files.
        """
        if not isinstance(self.file_backend, LateRemoval):
            return None
        last = getattr(self, 'last_ckpt', None)
        if last is not None and self._last_iteration == position['iter']:
            return last
        self._interrupted = True
        name += os.path.splitext(self.filename_tmpl)[1]
        self._write_checkpoint(runner, name, dict(position))
        return os.path.join(self.out_dir, name)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        if self._position is not None:
            checkpoint['meta'].update(self._position)
        if isinstance(self.file_backend, LateRemoval):
            checkpoint['meta'][SUPERSEDED] = self.file_backend.superfluous()
            checkpoint['meta'][INTERRUPTED] = self._interrupted
        if 'optimizer' in checkpoint and _saves_files(runner):
            checkpoint['meta'][NAMES] = parameter_names(runner.optim_wrapper, runner.model)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        if runner._resume:
            self._of_file = {key: checkpoint['meta'].get(key) for key in (SUPERSEDED, INTERRUPTED)}
        if runner._resume and 'optimizer' in checkpoint and _saves_files(runner):
            names = checkpoint['meta'].get(NAMES)
            check_optimizer_state(runner.optim_wrapper, checkpoint['optimizer'], runner.model, names)
            self._follow_config(runner, checkpoint)

    def _follow_config(self, runner: Any, checkpoint: dict) -> None:
        schedulers, meta = getattr(runner, 'param_schedulers', None), checkpoint['meta']
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            _place(checkpoint, len(runner.train_dataloader))
        position = Position(meta['epoch'], meta['iter'], len(runner.train_dataloader))
        changed = changed_settings(runner, meta)
        changed += follow_config(runner.optim_wrapper, schedulers, checkpoint, position)
        if changed:
            more = f' and {len(changed) - NAMED} more' if len(changed) > NAMED else ''
            say(
                f'the config is not that of the checkpoint: {", ".join(changed[:NAMED])}{more}. The config is followed '
                f'from iteration {meta["iter"] + 1} on'
            )
        check_scheduler_states(schedulers, checkpoint.get('param_schedulers'))

    def _take_over_kept(self, runner: Any) -> list[int]:
        """Of the steps whose files a resumed checkpoint counts, keep as many as are wanted, and give the others."""
        info = runner.message_hub.runtime_info
        if 'keep_ckpt_ids' not in info:
            return []
        ids = info['keep_ckpt_ids']
        ids = [step for step in ids if type(step) is int and step >= 0] if isinstance(ids, (list, tuple)) else []
        count = max(0, len(ids) - self.max_keep_ckpts) if self.max_keep_ckpts > 0 else 0
        runner.message_hub.update_info('keep_ckpt_ids', ids[count:])
        return ids[:count]

    def _take_over_best(self, runner: Any) -> None:
        """Where a resumed checkpoint names its best one, take the file of that name in the output folder, or none."""
        if self.save_best is None:
            return
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = self._own(self.best_ckpt_path)
            found = {'best_ckpt': self.best_ckpt_path}
        else:
            self.best_ckpt_path_dict = {key: self._own(path) for key, path in self.best_ckpt_path_dict.items()}
            found = {f'best_ckpt_{key}': path for key, path in self.best_ckpt_path_dict.items()}
        for key, path in found.items():
            if path is not None:
                runner.message_hub.update_info(key, path)

    def _own(self, path: Any) -> str | None:
        name = os.path.basename(path) if isinstance(path, str) else ''
        if not name.startswith(BEST) or not name.endswith(os.path.splitext(self.filename_tmpl)[1]):
            return None
        own = self.file_backend.join_path(self.out_dir, name)
        return own if self.file_backend.isfile(own) or self.file_backend.isdir(own) else None

    def before_val_epoch(self, runner: Any) -> None:
        share_statistics(_models(runner))

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        named = [key for key in getattr(self, 'key_indicators', ()) if key != 'auto']
        if self.save_best is not None and metrics and (absent := [key for key in named if key not in metrics]):
            raise SagaError(
                f'default_hooks.checkpoint.save_best is {absent[0]!r}, and the evaluation gives {", ".join(metrics)}; '
                "name one of these, or 'auto', and go on with --resume"
            )
        super().after_val_epoch(runner, metrics)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
        share_statistics(_models(runner))
        if not isinstance(self.file_backend, LateRemoval):
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                oldest = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
                self.file_backend.remove(os.path.join(self.out_dir, oldest))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = os.path.join(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._last_iteration = meta['iter']
        self._write_checkpoint(runner, name, meta)

    def _write_checkpoint(self, runner: Any, name: str, meta: dict[str, Any]) -> None:
        # removed files stay until the new one is complete: a kill in between leaves one of them
        with self._safely(runner) as writer:
            writer.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
            if is_main_process():
                write_file(os.path.join(runner.work_dir, 'last_checkpoint'), os.path.join(self.out_dir, name))

    def _save_best_checkpoint(self, runner: Any, metrics: dict) -> None:
        with self._safely(runner) as writer:
            super()._save_best_checkpoint(writer, metrics)

    @master_only
    def _publish_model(self, runner: Any, ckpt_path: str) -> None:
        if not isinstance(self.file_backend, LateRemoval):
            super()._publish_model(runner, ckpt_path)
            return
        checkpoint = {key: part for key, part in load_checkpoint(ckpt_path).items() if key in self.published_keys}
        content = io.BytesIO()
        torch.save(checkpoint, content)
        digest = hashlib.sha256(content.getbuffer()).hexdigest()
        write_file(f'{os.path.splitext(ckpt_path)[0]}-{digest[:8]}.pth', content.getvalue())

    @contextmanager
    def _safely(self, runner: Any) -> Iterator[Any]:
        if not isinstance(self.file_backend, LateRemoval) or isinstance(runner, WholeWriter):
            yield runner
            return
        writer = WholeWriter(self, runner)
        yield writer
        self.file_backend.remove_superfluous(writer.written)


def _place(checkpoint: dict[str, Any], length: int) -> None:
    """Count the iterations of a checkpoint in epochs as they are now."""
    meta, facts = checkpoint['meta'], checkpoint.get('message_hub', {}).get('runtime_info', {})
    done = meta['iter']
    meta['epoch'], meta['iter'] = place_in_epochs(meta['epoch'], done, length, meta.get(EPOCH))
    if facts.get(VALIDATED_AT) == done:
        facts[VALIDATED_AT] = meta['iter']


def _models(runner: Any) -> list[nn.Module]:
    """The model of a training, and averages of its weights, which take its place in validations."""
    averages = (getattr(hook, 'ema_model', None) for hook in runner.hooks)
    return [runner.model, *(average for average in averages if isinstance(average, nn.Module))]


def _saves_files(runner: Any) -> bool:
    """Whether checkpoints are files; DeepSpeed's and others' are folders, written by all ranks."""
    strategy = getattr(runner, 'strategy', None)
    return strategy is None or type(strategy) in (SingleDeviceStrategy, DDPStrategy)
