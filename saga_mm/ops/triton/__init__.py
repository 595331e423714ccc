"""Kernels of the gated state in Triton. Importing this package needs no Triton; its modules do."""

from importlib.util import find_spec


def available() -> bool:
    """Whether Triton is installed."""
    return find_spec('triton') is not None
