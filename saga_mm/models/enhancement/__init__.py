"""Low-light enhancement: trunk, head, losses and the model that joins them."""

from .enhancement_head import EnhancementHead
from .enhancer import LowLightEnhancer, LowLightPreprocessor
from .exposure import Exposure
from .losses import *  # noqa: F403
from .saga_unet import SAGAUNet

__all__ = ['EnhancementHead', 'Exposure', 'LowLightEnhancer', 'LowLightPreprocessor', 'SAGAUNet']
