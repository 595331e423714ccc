"""Which layers a shortcut may compute from their weights."""

import pytest
import torch
from torch import nn

from saga_mm.models.attention.token_mixer import project_values
from saga_mm.models.watched import has_hook, is_plain, replaced_forward

HOOKS = {
    'forward': lambda layer: layer.register_forward_hook(lambda *_: None),
    'forward with keywords': lambda layer: layer.register_forward_hook(lambda *_: None, with_kwargs=True),
    'before forward': lambda layer: layer.register_forward_pre_hook(lambda *_: None),
    'backward': lambda layer: layer.register_full_backward_hook(lambda *_: None),
    'before backward': lambda layer: layer.register_full_backward_pre_hook(lambda *_: None),
}


class Doubled(nn.Linear):
    """Stands for layers that adapt or quantise a linear one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize('register', HOOKS.values(), ids=HOOKS)
def test_hooks_of_every_kind(register):
    layer = nn.Linear(2, 2)
    assert is_plain(layer, nn.Linear) and not has_hook(layer)
    handle = register(layer)
    assert has_hook(layer) and not is_plain(layer, nn.Linear)
    handle.remove()
    assert is_plain(layer, nn.Linear)


def test_other_classes_and_forwards():
    layer = nn.Linear(2, 2)
    layer.forward = layer.forward
    assert replaced_forward(layer) and not is_plain(layer, nn.Linear)
    assert not is_plain(Doubled(2, 2), nn.Linear) and not is_plain(nn.Conv2d(2, 2, 1), nn.Linear)
    assert not is_plain(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), nn.Linear)


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('how', ['plain', 'adapted', *HOOKS])
def test_values_are_those_of_a_call(how, bias):
    layer, x = (Doubled if how == 'adapted' else nn.Linear)(4, 8, bias=bias), torch.randn(2, 5, 4)
    called = []
    if how in HOOKS:
        HOOKS[how](layer)
    handle = layer.register_forward_hook(lambda *_: called.append(1)) if how == 'forward' else None
    torch.testing.assert_close(project_values(layer, x), layer(x)[..., 4:])
    assert handle is None or len(called) == 2
