"""One image over several processes, in bands of rows; many files over several processes."""

from .band_plan import plan_bands, unit_in_training, unit_of
from .band_runner import BandRunner, BandTrainer, gather_map
from .bands import BandRows, Bands
from .claims import SharedWork
from .detection import detector_losses, detector_maps, detector_parts
from .enhancer_losses import enhancer_losses
from .gradients import sum_gradients
from .joining import join_processes, make_mesh, start_processes
from .mesh import Mesh, check_agreement, gather_objects, loss_named
from .process import Process, take_slurm, this_process
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
    'detector_losses',
    'detector_maps',
    'detector_parts',
    'enhancer_losses',
    'gather_map',
    'gather_objects',
    'join_processes',
    'loss_named',
    'make_mesh',
    'plan_bands',
    'segmentor_losses',
    'start_processes',
    'sum_gradients',
    'take_slurm',
    'this_process',
    'unit_in_training',
    'unit_of',
]
