"""One image over several processes, in bands of rows; many files over several processes."""

from .band_plan import plan_bands, unit_of
from .band_runner import BandRunner, BandTrainer, gather_map
from .bands import BandRows, Bands
from .claims import SharedWork
from .detection import detector_maps
from .enhancer_losses import enhancer_losses
from .gradients import sum_gradients
from .mesh import Mesh, check_agreement, gather_objects, make_mesh, start_processes
from .process import Process, this_process
from .segmentor_losses import segmentor_losses

__all__ = [
    'BandRows',
    'BandRunner',
    'BandTrainer',
    'Bands',
    'Mesh',
    'Process',
    'SharedWork',
    'check_agreement',
    'detector_maps',
    'enhancer_losses',
    'gather_map',
    'gather_objects',
    'make_mesh',
    'plan_bands',
    'segmentor_losses',
    'start_processes',
    'sum_gradients',
    'this_process',
    'unit_of',
]
