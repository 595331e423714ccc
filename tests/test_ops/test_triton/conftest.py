"""How far a kernel may be from the same in float64."""

from collections.abc import Callable

import pytest
import torch

# Relative, in the norm of a whole tensor. Three products of TF32 stand for one of float32 on a GPU, and the interpreter
# cuts bfloat16 where a GPU rounds it.
LIMITS = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


@pytest.fixture
def assert_near() -> Callable[[torch.Tensor, torch.Tensor, torch.dtype], None]:
    """Hold what a kernel made of inputs of a type against the truth."""

    def check(found: torch.Tensor, truth: torch.Tensor, dtype: torch.dtype) -> None:
        assert found.shape == truth.shape
        assert torch.isfinite(found).all()
        error = (found.cpu().double() - truth.cpu().double()).norm() / truth.double().norm().clamp_min(1e-30).cpu()
        assert error < LIMITS[dtype]

    return check
