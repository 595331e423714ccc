"""How much memory the computation on a chunk takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# tensors of a chunk stay below the 32 MiB from which glibc maps, and so faults in, new memory for each of them
_CPU_BYTES = 32 * 2**20
_ACCELERATOR_BYTES = 512 * 2**20
_GIVEN: ContextVar[float | None] = ContextVar('bytes of a chunk', default=None)


def bytes_of_chunks(device: str = 'cpu') -> float:
    """Bytes that the computation on a chunk may take, on a type of devices such as ``'cuda'``."""
    given = _GIVEN.get()
    if given is not None:
        return given
    return _CPU_BYTES if device == 'cpu' else _ACCELERATOR_BYTES


@contextmanager
def limit_chunks(size: float) -> Iterator[None]:
    """Limit the computation on a chunk to about ``size`` bytes inside this context, on every device.

    Args:
        size: Bytes. Where even one row takes more, chunks are single rows.
    """
    token = _GIVEN.set(size)
    try:
        yield
    finally:
        _GIVEN.reset(token)
