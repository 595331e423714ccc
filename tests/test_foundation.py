"""The classes that stand for mmengine's where it is not installed."""

import pytest
import torch
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.foundation import PlainModel, PlainModule, PlainRegistry


@pytest.fixture
def registry() -> PlainRegistry:
    registry = PlainRegistry(['saga_mm.version'])

    @registry.register_module()
    class Doubled(nn.Module):
        def __init__(self, factor: int = 2) -> None:
            super().__init__()
            self.factor = factor

    registry.register_module(['Tripled', 'tripled'])(Doubled)
    return registry


def test_names_with_and_without_the_package(registry):
    assert registry.get('saga_mm.Doubled') is registry.get('Doubled') is registry.get('tripled')
    assert registry.get('Quadrupled') is None
    assert registry.build({'type': 'saga_mm.Doubled', 'factor': 3}).factor == 3
    assert registry.build({'type': registry.get('Tripled')}).factor == 2


def test_types_of_other_packages_need_mmengine(registry):
    with pytest.raises(SagaError, match=r"type 'mmdet.ResNet' is none of saga_mm.*pip install mmengine"):
        registry.build({'type': 'mmdet.ResNet'})


def test_initialisation():
    class Ones(PlainModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

        def init_weights(self) -> None:
            nn.init.ones_(self.weight)

    model = PlainModel({'type': 'LowLightPreprocessor'})
    model.layers = nn.Sequential(PlainModule(), nn.ReLU())
    model.child = Ones()
    model.init_weights()
    assert model.child.weight.tolist() == [1, 1] and model.data_preprocessor['type'] == 'LowLightPreprocessor'
    with pytest.raises(SagaError, match='initialisation by a config needs mmengine'):
        PlainModel(init_cfg={'type': 'Pretrained', 'checkpoint': 'x.pth'})
