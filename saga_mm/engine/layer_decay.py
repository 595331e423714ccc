"""Learning rates that decay by layer, for fine-tuning a pretrained backbone."""

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from saga_mm.models.backbones.pyramid_backbone import PyramidBackbone
from saga_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's default constructor, with rates multiplied by ``layer_decay_rate ** layers_above``.

    ``layers_above`` counts the blocks between a parameter of the backbone and its output, as
    :meth:`PyramidBackbone.layer_of` says; it is 0 for necks, heads and the norms of the outputs. Every backbone has it.

    All other options of ``paramwise_cfg`` (``norm_decay_mult``, ``bias_decay_mult``, ``flat_decay_mult``,
    ``custom_keys``, ...) mean what they mean in mmengine. Parameters with equal settings share a group.

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper; ``optimizer`` must set ``lr``.
        paramwise_cfg: ``layer_decay_rate`` in (0, 1], and mmengine's options.

    Raises:
        ValueError: If the rate is missing or out of range, ``lr`` is missing, or the model has no backbone of ours.

    Examples:
        optim_wrapper = dict(
            optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
            constructor='saga_mm.LayerDecayOptimWrapperConstructor',
            paramwise_cfg=dict(layer_decay_rate=0.7, norm_decay_mult=0.0))
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        self.rate = self.paramwise_cfg.get('layer_decay_rate')
        if not isinstance(self.rate, int | float) or not 0 < self.rate <= 1:
            raise ValueError(f'paramwise_cfg.layer_decay_rate must be in (0, 1], got {self.rate!r}')
        if self.base_lr is None:
            raise ValueError('optimizer.lr must be set for rates that decay by layer')

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs: Any) -> None:
        """Add the groups of ``module`` to ``params``; called for the model, and by mmengine for each part of it."""
        super().add_params(params, module, prefix, **kwargs)
        # mmengine calls this for each part of the model too; behind the call for the whole, all groups are there
        if not prefix:
            params[:] = self._decayed(params, module)

    def _decayed(self, groups: list[dict], model: nn.Module) -> list[dict]:
        above = _layers_above(model)
        merged: dict[tuple, dict] = {}
        for group in groups:
            # mmengine makes a group of each parameter; hundreds of groups would slow down every step of the optimizer
            (parameter,) = group['params']
            scale = self.rate ** above.get(id(parameter), 0)
            settings = {key: value for key, value in group.items() if key != 'params'}
            settings['lr'] = settings.get('lr', self.base_lr) * scale
            key = tuple(sorted(settings.items()))
            merged.setdefault(key, {'params': [], **settings})['params'].append(parameter)
        return list(merged.values())


def _layers_above(model: nn.Module) -> dict[int, int]:
    backbones = [module for module in model.modules() if isinstance(module, PyramidBackbone)]
    if not backbones:
        raise ValueError('the model has no backbone of saga_mm, whose layers the learning rates could follow')
    return {
        id(parameter): backbone.num_layers + 1 - backbone.layer_of(name)
        for backbone in backbones
        for name, parameter in backbone.named_parameters()
    }
