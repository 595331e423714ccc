from types import SimpleNamespace

import pytest
import torch
from torch import nn

from saga_mm.engine.one_value import OneValueHook


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()).train()


def test_one_picture_trains_and_is_predicted_alike(capsys):
    model, hook = net(), OneValueHook()
    picture = torch.rand(1, 3, 5, 5)
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        model(picture)
    runner = SimpleNamespace(model=model)
    hook.before_train_epoch(runner)
    out = model(picture)
    out.sum().backward()
    assert model[1].weight.grad is not None and model[2].weight.grad is not None and model[2].training
    model(picture)
    assert capsys.readouterr().out.count('train_dataloader.batch_size') == 1
    hook.before_val(runner)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model)
    assert torch.equal(model.eval()(picture), out)


def test_larger_batches_are_as_ever():
    pictures = torch.rand(2, 3, 5, 5)
    plain, watched, hook = net(), net(), OneValueHook()
    hook.before_train_epoch(SimpleNamespace(model=watched))
    assert torch.equal(plain(pictures), watched(pictures))
    assert torch.equal(plain[2].running_var, watched[2].running_var)
    watched(pictures[:1])
    assert torch.equal(plain[2].running_var, watched[2].running_var)
