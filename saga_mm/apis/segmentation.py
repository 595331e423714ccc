"""The place of :class:`Segmenter` that scripts know; it is exported by :mod:`saga_mm.apis` as well."""

from saga_mm.tasks.segmentation.segmenter import Segmenter

__all__ = ['Segmenter']
