"""Enhancers of the benchmark."""

import pytest
import torch

from benchmarks.nets import enhancer
from saga_mm.errors import SagaError
from saga_mm.models.attention import TokenMixer


@pytest.mark.parametrize(('name', 'most'), [('saga_unet', 2.0e6), ('saga_unet_tiny', 0.3e6), ('retinexformer', 1.7e6)])
def test_each_goes_from_images_to_images(name, most):
    model, image = enhancer(name), torch.rand(1, 3, 22, 35)
    assert not model.training and sum(p.numel() for p in model.parameters()) <= most
    with torch.inference_mode():
        assert model(image).shape == image.shape


def test_attention_may_be_exchanged():
    linear, rank = enhancer('saga_unet:linear').backbone, enhancer('saga_unet_tiny:saga:gate_rank=2').backbone
    assert {type(m).__name__ for m in linear.modules() if isinstance(m, TokenMixer)} == {'LinearAttention'}
    assert {m.gates.rank for m in rank.modules() if isinstance(m, TokenMixer)} == {2}


@pytest.mark.parametrize('name', ['saga_unet:', 'saga_unet:absent', 'retinexformer:linear', 'saga_unet:saga:absent=1'])
def test_attention_that_does_not_fit_is_named(name):
    with pytest.raises(SagaError, match=f'--only {name}: '):
        enhancer(name)
