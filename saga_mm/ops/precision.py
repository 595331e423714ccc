"""Keep sums over tokens in at least float32, also under autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.amp.autocast_mode import is_autocast_available


def wide(x: torch.Tensor) -> torch.Tensor:
    """The tensor in at least float32; float64 stays float64."""
    return x if x.dtype == torch.float64 else x.float()


def number_bytes(dtype: torch.dtype) -> int:
    """Bytes of a number in estimates of the memory of row steps.

    3 for half precision: activations take 2 bytes, and sums over tokens are computed in 4.
    """
    return 3 if dtype.itemsize == 2 else dtype.itemsize


def full_precision(device_type: str) -> AbstractContextManager:
    """Switch autocast off for a while: it would round matrix products to half precision.

    Args:
        device_type: As in ``tensor.device.type``.
    """
    # devices without autocast (meta) cannot even switch it off
    return torch.autocast(device_type, enabled=False) if is_autocast_available(device_type) else nullcontext()
