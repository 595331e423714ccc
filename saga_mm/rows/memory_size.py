"""Read sizes of memory as users write them."""

from __future__ import annotations

import re

from saga_mm.errors import ArgumentError

UNITS = {'': 1, 'k': 2**10, 'm': 2**20, 'g': 2**30, 't': 2**40}


def memory_size(size: str | int | None) -> int | None:
    """Bytes in a size such as ``4GB``, ``512M`` or ``1.5 GiB``, in units of powers of 1024; numbers stay as they are.

    Raises:
        SagaError: It is no size.
    """
    if size is None or (isinstance(size, int) and size > 0):
        return size
    match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*', str(size).lower())
    if match is None or float(match[1]) == 0:
        raise ArgumentError('max_memory', size, 'is no size; write for example 4GB or 800MB')
    return int(float(match[1]) * UNITS[match[2]])
