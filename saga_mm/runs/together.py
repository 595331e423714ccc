"""Predict with several processes: picture by picture in a folder, or one picture in bands."""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.display.progress import progress_meter
from saga_mm.errors import SagaError, shell_text
from saga_mm.files import file_stamp
from saga_mm.parallel import Process, SharedWork, check_agreement, make_mesh, start_processes

if TYPE_CHECKING:
    # its drawings need mmcv, and enhancement does not
    from saga_mm.tasks.prediction import Pictures, Writer


def predict_one(writer: Writer, picture: Path, root: Path) -> dict[str, Any]:
    """The entry of a picture in the list: what was found, or under ``reason`` why it could not be done."""
    name = os.path.relpath(picture, root)
    try:
        return {'file': name, **writer.write(picture)}
    except SagaError as error:
        return {'file': name, 'reason': shell_text(error)}
    except Exception as error:
        # too large for the memory, too thin for the network, ...: the other pictures can still be done
        return {'file': name, 'reason': f'{picture}: {_reason(error)}'}


def _reason(error: Exception) -> str:
    """What to say of an error of a library."""
    text = ' '.join(str(error).split())
    # OpenCV begins with where it was built, and names what it asserts of the sides of a picture
    step = re.search(r"in function '(\w+)'", text) if type(error).__module__ == 'cv2' else None
    if step is not None:
        return f'is too long and thin, or too small, for a step of the config (OpenCV: {step[1]})'
    return text[:200] or type(error).__name__


def predict_together(
    writer: Writer, pictures: Pictures, is_folder: bool, facts: dict[str, str], process: Process
) -> list[dict[str, Any]]:
    """Entries of all pictures, each made by one process; of a single picture, by all of them.

    Args:
        writer: What predicts and writes.
        pictures: All of them.
        is_folder: Whether the user named a folder.
        facts: What has to be the same on all processes, by what users call it.
        process: This one.

    Raises:
        SagaError: The picture cannot be divided, processes disagree, or one of them is lost.
    """
    if not is_folder:
        (picture,) = pictures.files
        start_processes(next(writer.predictor.model.parameters()).device)
        mesh = make_mesh()
        facts = {name: short_text(value) for name, value in facts.items()}
        check_agreement(mesh, {**facts, 'picture': file_facts(picture)})
        writer.share(mesh)
        return [{'file': picture.name, **writer.write(picture)}]
    # with the time of the file: what was done of another picture of this name is no record of this one
    names = {f'{os.path.relpath(path, pictures.root)} {file_stamp(path)}': path for path in pictures.files}
    work = SharedWork(pictures.out, json.dumps(facts))
    meter = progress_meter(len(names), 'predicting', unit=' pictures') if process.is_first else nullcontext(int)
    with meter as show:
        records = work.run(list(names), lambda name: predict_one(writer, names[name], pictures.root), process, show)
    work.finish(process)
    return list(records.values())


def file_facts(path: Path | None) -> str:
    """What tells a file from others without reading it."""
    if path is None:
        return 'none'
    try:
        found = path.stat()
    except OSError:
        return str(path)
    return f'{path.name} of {found.st_size} bytes'


def short_text(value: str) -> str:
    """A text that processes compare; a digest of one that is long."""
    return value if len(value) < 80 else f'one of digest {hashlib.sha256(value.encode()).hexdigest()[:8]}'
