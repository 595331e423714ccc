"""Check ONNX files of saga_mm before ONNX Runtime is given them.

An ONNX file is a program of tensor operations. A file from others can therefore take time and memory, but the
checks here make sure that it reads no other file: no tensor data outside the file, no operators beyond the standard.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saga_mm.errors import SagaError
from saga_mm.onnx.facts import MARK, Facts

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from onnx import ModelProto

SUFFIX = '.onnx'
OPSETS = range(17, 24)
IMAGE, STRENGTH, BRIGHTNESS = 'image', 'strength', 'brightness'
ENHANCED, LABELS, SCORES, PROBABILITIES = 'enhanced', 'labels', 'scores', 'probabilities'
# what is said to whoever names more than the file
SELF_CONTAINED = 'has its weights and options in it; name neither a checkpoint nor values of a config'
# protobuf itself ends at 2 GiB; the largest model of the package takes a fifth of a GiB
MOST_BYTES, MOST_PARTS = 2**30, 2_000_000
# types of weights by ONNX's numbers: float32, float16, float64
FLOATS = {1: '<f4', 10: '<f2', 11: '<f8'}


class OnnxFile(NamedTuple):
    """A file that was read and checked.

    Attributes:
        content: The model, as ONNX Runtime takes it.
        facts: What the file says of itself.
        opset: The version of its operators.
        inputs: Names of its inputs.
        outputs: Names of its outputs.
    """

    content: bytes
    facts: Facts
    opset: int
    inputs: frozenset[str]
    outputs: tuple[str, ...]


def is_onnx(name: str | os.PathLike[str]) -> bool:
    """Whether a name is that of an ONNX file."""
    return Path(name).suffix.lower() == SUFFIX


def read_onnx(path: str | os.PathLike[str], kind: str | None = None) -> OnnxFile:
    """Read an exported file and check it; nothing of it is run.

    Args:
        path: The file.
        kind: The kind of model that is needed; None for any.

    Raises:
        SagaError: There is no such file, it is damaged, not of saga_mm, of another kind, of an opset that is not
            supported, or refers to data in other files; or onnx is not installed.
    """
    file = Path(path).expanduser()
    require_libraries('onnx', purpose='reading an ONNX file')
    proto = _parse(path, file)
    facts = _facts(path, proto)
    if kind is not None and facts.kind != kind:
        raise SagaError(f'{path}: is of kind {facts.kind}, and a file of kind {kind} is needed here')
    opset = _require_plain(path, proto)
    _require_numbers(path, proto)
    given = {value.name for value in proto.graph.input}
    chosen = {STRENGTH} if facts.kind == 'enhancer' and facts.strength is None else set()
    # of models with an exposure
    expected = {IMAGE} | chosen | (chosen and given & {BRIGHTNESS})
    outputs = tuple(value.name for value in proto.graph.output)
    known = {'enhancer': [(ENHANCED,)], 'segmentor': [(LABELS,), (SCORES,)], 'classifier': [(PROBABILITIES,)]}
    if given != expected or outputs not in known.get(facts.kind, [outputs]):
        raise SagaError(f'{path}: is not read, since its inputs and outputs are not those of an exported {facts.kind}')
    # what is run is what was checked, and not other bytes that parse to the same
    proto.producer_name = MARK
    return OnnxFile(proto.SerializeToString(), facts, opset, frozenset(given), outputs)


def kind_of(path: str | os.PathLike[str]) -> str:
    """The kind of model in an exported file, of :data:`saga_mm.onnx.facts.KINDS`.

    Raises:
        SagaError: There is no such file, it is damaged or not of saga_mm, or onnx is not installed.
    """
    require_libraries('onnx', purpose='reading an ONNX file')
    return _facts(path, _parse(path, Path(path).expanduser())).kind


def require_libraries(*names: str, purpose: str) -> None:
    """Require optional libraries.

    Raises:
        SagaError: One is missing.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise SagaError(f'{purpose} needs {" and ".join(missing)}: pip install {" ".join(missing)}')


def _facts(path: str | os.PathLike[str], proto: ModelProto) -> Facts:
    try:
        return Facts.from_metadata({entry.key: entry.value for entry in proto.metadata_props})
    except ValueError as error:
        raise SagaError(f'{path}: is not read, since {error}') from error


def _parse(path: str | os.PathLike[str], file: Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    if file.is_dir():
        raise SagaError(f'{path}: is a folder; name one {SUFFIX} file in it')
    if not file.is_file():
        raise SagaError(f'{path}: no such file')
    if file.stat().st_size > MOST_BYTES:
        raise SagaError(f'{path}: is not read, since it is larger than {MOST_BYTES >> 20} MiB')
    try:
        # not more than was looked at, should the file grow meanwhile
        with file.open('rb') as stream:
            proto = onnx.ModelProto.FromString(stream.read(MOST_BYTES))
    except OSError as error:
        raise SagaError(f'{path}: could not be read ({error.strerror})') from error
    except (DecodeError, ValueError, RuntimeError) as error:
        raise SagaError(f'{path}: is damaged, incomplete or not an ONNX file at all') from error
    if not proto.graph.node:
        raise SagaError(f'{path}: is damaged, incomplete or not an ONNX file at all')
    return proto


def _require_plain(path: str | os.PathLike[str], proto: ModelProto) -> int:
    """The opset of a model without functions, foreign operators and data outside the file.

    Raises:
        SagaError: The model is another.
    """
    import onnx

    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    # ONNX's own operators have either name
    opset = opsets.pop('', opsets.pop('ai.onnx', None))
    if opset not in OPSETS:
        raise SagaError(f'{path}: is of opset {opset}, and those from {OPSETS[0]} to {OPSETS[-1]} are read')
    if opsets or proto.functions or proto.training_info:
        raise SagaError(f'{path}: is refused, since it uses operators beyond the ONNX standard, which no export does')
    for part in _messages(path, proto):
        if isinstance(part, onnx.TensorProto) and (part.external_data or part.data_location):
            raise SagaError(f'{path}: is refused, since it refers to data in other files, which no export does')
        if isinstance(part, onnx.NodeProto) and part.domain not in ('', 'ai.onnx'):
            raise SagaError(f'{path}: is refused, since it uses operators of {part.domain!r}, which no export does')
    return opset


def _require_numbers(path: str | os.PathLike[str], proto: ModelProto) -> None:
    """Refuse weights that hold NaN, whose answers would be black."""
    for tensor in proto.graph.initializer:
        kind = FLOATS.get(tensor.data_type)
        if kind is None:
            continue
        size = np.dtype(kind).itemsize
        # whole numbers of what is there: what is too short is refused by ONNX Runtime
        values = np.frombuffer(tensor.raw_data[: len(tensor.raw_data) // size * size], kind)
        if np.isnan(values).any() or np.isnan(tensor.float_data or [0]).any():
            raise SagaError(f'{path}: {tensor.name[:80]} holds NaN, as a training that diverged leaves them')


def _messages(path: str | os.PathLike[str], root: Message) -> Iterator[Message]:
    """All messages within a message, graphs within nodes too."""
    # a list and not recursion: a file may nest graphs deeper than Python's stack
    waiting, count = [root], 0
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting.extend([value] if hasattr(value, 'ListFields') else value)
        count += 1
        if count + len(waiting) > MOST_PARTS:
            raise SagaError(f'{path}: is not read, since it has more parts than any export')
