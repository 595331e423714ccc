"""Keep sums over tokens in at least float32, also under autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.amp.autocast_mode import is_autocast_available


def wide(x: torch.Tensor) -> torch.Tensor:
    """The tensor in at least float32; float64 stays float64."""
    return x if x.dtype == torch.float64 else x.float()


def number_bytes(dtype: torch.dtype) -> int:
    """Bytes of a number while row steps run on this type, on the safe side.

    Of half precision that is 3: activations have 2 bytes, but what is summed over tokens is widened to 4.
    """
    return 3 if dtype.itemsize == 2 else dtype.itemsize


def full_precision(device_type: str) -> AbstractContextManager:
    """Switch autocast off for a while: it would round matrix products to half precision.

    Args:
        device_type: As in ``tensor.device.type``.
    """
    # devices without autocast (meta) cannot even switch it off
    return torch.autocast(device_type, enabled=False) if is_autocast_available(device_type) else nullcontext()
