"""One photograph enhanced by several processes, from file to file: each reads and computes the rows of its band."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from saga_mm.display.before_after import BeforeAfter
from saga_mm.display.progress import progress_meter
from saga_mm.errors import SagaError
from saga_mm.files import Draft, write_error
from saga_mm.images.inputs import Job
from saga_mm.images.notes import write_world_file
from saga_mm.images.photo import PhotoRows
from saga_mm.images.photo_writer import LUMA, open_photo_writer
from saga_mm.models.enhancement.finish import Finish
from saga_mm.parallel import Mesh, check_agreement, gather_objects, make_mesh, start_processes
from saga_mm.rows import watch_rows
from saga_mm.tasks.enhancement.bands import enhance_bands
from saga_mm.tasks.enhancement.inferencer import LowLightInferencer

# bytes of bands that are joined at a time, and the part of the work before the first row is written
JOINED, MODEL_SHARE = 2**24, 0.8


def enhance_shared(
    inferencer: LowLightInferencer, job: Job, finish: Finish, compared: Path | None, facts: dict[str, str]
) -> str:
    """As :func:`~saga_mm.tasks.enhancement.photographs.enhance_photo`, by all processes together.

    Bands lie beside the target until the first process has joined them.

    Args:
        inferencer: What enhances, the same on all processes.
        job: The photograph.
        finish: What becomes of the answer.
        compared: Where before and after go, side by side.
        facts: What has to be the same on all processes, by what users call it.

    Returns:
        Its size, and what the file does not hold of the photograph, for the screen; of the first process.

    Raises:
        SagaError: It cannot be done in bands, processes disagree, or one is lost.
    """
    if not isinstance(inferencer.model, nn.Module):
        raise SagaError('an exported enhancer does a picture in one piece; start one process, or name a folder')
    start_processes(inferencer.device)
    mesh = make_mesh()
    check_agreement(mesh, facts)
    lost = ''
    with PhotoRows(job.source) as photo:
        part = Draft(job.target)
        # 16 bits hold what any file of 8 or 16 is rounded from
        kind = np.dtype(np.float32 if photo.kind.depth == 32 else np.uint16)
        try:
            _write_band(inferencer, photo, finish, mesh, part.temporary, kind)
            parts = gather_objects(mesh, part.temporary)
            if mesh.index == 0:
                lost = _join(photo, parts, kind, job.target, compared, bool(finish.strength))
            # bands stay until the first process has read them
            gather_objects(mesh, None)
        except OSError as error:
            raise write_error(job.target, error) from error
        finally:
            part.discard()
        return f'{photo.width} x {photo.height}{lost and f"; {lost}"}'


def _write_band(
    inferencer: LowLightInferencer, photo: PhotoRows, finish: Finish, mesh: Mesh, file: Path, kind: np.dtype
) -> None:
    budget = inferencer.budget
    memory = int(budget.allowed) if budget.is_given else None
    first, height = None, -(-photo.height // mesh.bands)
    meter = progress_meter(height, file.name) if mesh.index == 0 else nullcontext(int)
    with file.open('wb') as out, meter as show, watch_rows(lambda share: show(MODEL_SHARE * share * height)):
        for start, rows in enhance_bands(inferencer.model, photo, mesh, finish, memory, file.parent):
            first = start if first is None else first
            out.write(np.ascontiguousarray(_stored(rows, kind)).data)
            show(MODEL_SHARE * height + (1 - MODEL_SHARE) * (start + len(rows) - first))


def _stored(rows: np.ndarray, kind: np.dtype) -> np.ndarray:
    if kind.kind == 'f':
        return rows.astype(kind)
    highest = np.float32(np.iinfo(kind).max)
    return (np.clip(np.nan_to_num(rows), 0, 1) * highest).round().astype(kind)


def _join(
    photo: PhotoRows, parts: list[Path], kind: np.dtype, target: Path, compared: Path | None, changed: bool
) -> str:
    """Write the photograph of the bands; what its file does not hold, in a few words."""
    sheet = BeforeAfter(photo.height, photo.width) if compared is not None else None
    grey = changed and photo.is_grey
    row_bytes = 3 * photo.width * kind.itemsize
    size, start = max(JOINED // row_bytes, 1) * row_bytes, 0
    highest = np.float32(1 if kind.kind == 'f' else np.iinfo(kind).max)
    with open_photo_writer(target, photo) as writer:
        for part in parts:
            with part.open('rb') as file:
                while data := file.read(size):
                    rows: Any = np.frombuffer(data, kind).reshape(-1, photo.width, 3).astype(np.float32) / highest
                    if grey:
                        rows = (rows @ LUMA)[..., None].repeat(3, axis=2)
                    writer.write(rows)
                    if sheet is not None:
                        sheet.add(photo.read(start, start + len(rows)), rows)
                    start += len(rows)
    if sheet is not None:
        # a profile of grey says nothing of colours
        sheet.save(compared, b'' if photo.kind.gray else photo.kind.icc)
    # a TIFF file says itself where a map lies
    if photo.kind.notes.geo and writer.kind.format != 'TIFF':
        write_world_file(target, photo.kind.notes.geo)
    return writer.lost
