"""Keep in checkpoints what the next update of the weights depends on beside weights and optimizer."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from saga_mm.display.console import say
from saga_mm.models.names import without_wrappers

GRADIENTS, SETTINGS = 'gradients', 'settings'
# iterations whose gradients are not applied yet, and those of an epoch
PENDING, EPOCH = 'pending', 'epoch_length'
# the iteration whose weights were validated
VALIDATED_AT = 'validated'
COUNTS, BATCH = 'accumulative_counts', 'pictures a step'


class UpdateHook(Hook):
    """Keeps the gradients that are accumulated and not yet applied, and takes them over at a resume.

    Those of several processes differ until they are applied, and are not kept.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._kept: Any = None
        self._left = 0

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if 'optimizer' not in checkpoint:
            return
        checkpoint['meta'][SETTINGS] = update_settings(runner)
        checkpoint['meta'][EPOCH] = len(runner.train_dataloader)
        checkpoint['meta'][PENDING] = pending = _pending(runner.optim_wrapper)
        if pending and get_world_size() == 1:
            found = {name: parameter.grad for name, parameter in _parameters(runner.model).items()}
            checkpoint[GRADIENTS] = {name: grad.cpu() for name, grad in found.items() if grad is not None}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if not runner._resume:
            return
        kept, left = checkpoint.pop(GRADIENTS, None), checkpoint['meta'].get(PENDING)
        self._left = left if type(left) is int else 0
        # an accumulation of another length or of other batches begins anew
        changed = changed_settings(runner, checkpoint['meta'])
        self._kept = None if any(name in text for text in changed for name in (COUNTS, BATCH)) else kept

    def before_train(self, runner: Any) -> None:
        if self._left and not _take_gradients(self._kept, _parameters(runner.model)):
            say(
                f'warning: the gradients of the last {self._left} iteration{"s" * (self._left > 1)} were not applied '
                'yet, and the checkpoint has none that fit; they are lost'
            )
        self._kept, self._left = None, 0


def _pending(wrapper: Any) -> int:
    parts = [part for part in _parts(wrapper).values() if not part.should_update()]
    return max((part._inner_count % part._accumulative_counts for part in parts), default=0)


def _take_gradients(kept: Any, parameters: dict[str, nn.Parameter]) -> bool:
    """Set the gradients of parameters, if all that a file holds fit them."""
    if not isinstance(kept, dict) or not kept or get_world_size() > 1:
        return False
    for name, grad in kept.items():
        own = parameters.get(name)
        if own is None or not isinstance(grad, Tensor) or grad.shape != own.shape or grad.dtype != own.dtype:
            return False
    for name, grad in kept.items():
        parameters[name].grad = torch.empty_like(parameters[name]).copy_(grad)
    return True


def update_settings(runner: Any) -> dict[str, str]:
    """What updates depend on that is neither in the optimizer nor in its schedule, by names for messages."""
    loader = runner.train_dataloader
    batch = getattr(loader, 'batch_size', None) or getattr(getattr(loader, 'batch_sampler', None), 'batch_size', None)
    found = {}
    for name, part in _parts(runner.optim_wrapper).items():
        clip = part.clip_grad_kwargs
        kind = type(part).__name__
        precision = getattr(part, 'cast_dtype', None)
        found[f'{name}{COUNTS}'] = str(part._accumulative_counts)
        found[f'{name}clip_grad'] = str({part.grad_name: dict(sorted(clip.items()))} if clip else None)
        found[f'{name}optim_wrapper'] = f'{kind} ({precision})' if precision else kind
    if batch is not None:
        found[BATCH] = str(batch * get_world_size())
    if hasattr(loader.dataset, '__len__'):
        found['training pictures'] = str(len(loader.dataset))
    return found


def changed_settings(runner: Any, meta: dict[str, Any]) -> list[str]:
    """What of :func:`update_settings` is not as in the checkpoint that ``meta`` is of."""
    before = meta.get(SETTINGS)
    if not isinstance(before, dict):
        return []
    own = update_settings(runner)
    return [
        f'{name} {value} instead of {str(before[name])[:80]}'
        for name, value in own.items()
        if name in before and before[name] != value
    ]


def _parts(wrapper: Any) -> dict[str, OptimWrapper]:
    """mmengine's wrappers of optimizers, each with the beginning of its settings' names."""
    if hasattr(wrapper, 'optim_wrappers'):
        return {f'{name}.': part for name, part in wrapper.optim_wrappers.items()}
    return {'': wrapper} if isinstance(wrapper, OptimWrapper) else {}


def _parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    model = model.module if is_model_wrapper(model) else model
    return without_wrappers(dict(model.named_parameters()))
