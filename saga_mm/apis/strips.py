"""The place of :func:`segment_strips` that scripts know; it is exported by :mod:`saga_mm.apis` as well."""

from saga_mm.tasks.segmentation.strips import segment_strips

__all__ = ['segment_strips']
