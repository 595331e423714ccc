"""Import path of :class:`Segmenter` for scripts that use it; new code imports it from :mod:`saga_mm.apis`."""

from saga_mm.tasks.segmentation.segmenter import Segmenter

__all__ = ['Segmenter']
