"""Triton kernels of the gated state. Importing this package does not import Triton; its modules do."""

from importlib.util import find_spec

_FOUND = find_spec('triton') is not None


def available() -> bool:
    """Whether Triton is installed."""
    return _FOUND
