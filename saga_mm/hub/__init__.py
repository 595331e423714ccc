"""Models as folders of ``config.json``, ``model.safetensors`` and a model card, as on Hugging Face."""

from .model_folder import load, save
from .whole_models import read_trained

__all__ = ['load', 'read_trained', 'save']
