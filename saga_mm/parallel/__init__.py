"""One image over many devices: bands of rows, one a process."""

from .bands import BandRows, Bands
from .mesh import Mesh, check_agreement, make_mesh, start_processes
from .plan import plan_bands, unit_of
from .runner import BandRunner, BandTrainer, gather_map

__all__ = [
    'BandRows',
    'BandRunner',
    'BandTrainer',
    'Bands',
    'Mesh',
    'check_agreement',
    'gather_map',
    'make_mesh',
    'plan_bands',
    'start_processes',
    'unit_of',
]
