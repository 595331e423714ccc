"""Import path of :func:`segment_strips` for scripts that use it; new code imports it from :mod:`saga_mm.apis`."""

from saga_mm.tasks.segmentation.strips import segment_strips

__all__ = ['segment_strips']
