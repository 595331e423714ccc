"""Models as folders of ``config.json``, ``model.safetensors`` and a model card, as on Hugging Face."""

from .model_folder import load, save

__all__ = ['load', 'save']
