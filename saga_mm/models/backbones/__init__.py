"""Host architectures, one a file. Each takes ``attention=``."""

from .pvt import PVT

__all__ = ['PVT']
