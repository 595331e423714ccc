"""A low-light enhancer as an ONNX file for images of any size, its answers held against PyTorch's."""

from __future__ import annotations

import copy
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.files import Draft
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.weights import find_weights, load_weights, read_weights
from saga_mm.version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

SUFFIX = '.onnx'
OPSET, OPSETS = 20, range(18, 24)
IMAGE, STRENGTH, ANSWER = 'image', 'strength', 'enhanced'
LAYOUT = {
    'input': 'image: float32 RGB in [0, 1], NCHW, one image of any height and width; strength: float32, 1 if left out',
    'output': 'enhanced: float32 RGB in [0, 1], NCHW, of the size of the image',
}
# of the header of weights, what the file says as well
TOLD = ('licence', 'data')
NEEDED, RUNTIME = ('onnx', 'onnxscript'), 'onnxruntime'
CHECKED = ((96, 136), (75, 61), (160, 40))
TOLERANCE = 1e-4


class EnhancerGraph(nn.Module):
    """What a file computes: :meth:`LowLightEnhancer.enhance` with the strength as a tensor.

    Args:
        model: The model.
    """

    def __init__(self, model: LowLightEnhancer) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
        return torch.lerp(image, self.model(image), strength).clamp(0, 1)


class Exported(NamedTuple):
    """What was written.

    Attributes:
        path: The file.
        size: Its bytes.
        difference: The largest from PyTorch's answers, which are in [0, 1]; None where ONNX Runtime is not installed.
    """

    path: Path
    size: int
    difference: float | None


def export_weights(
    weights: str | os.PathLike[str],
    destination: str | os.PathLike[str] | None = None,
    opset: int = OPSET,
    force: bool = False,
) -> Exported:
    """Write weights of the enhancer as an ONNX file, with what their header says of them.

    Args:
        weights: As of :func:`load_weights`.
        destination: The file to write; by default the name of the weights, in the folder at hand.
        opset: As of :func:`export_onnx`.
        force: Replace an existing destination.

    Raises:
        SagaError: There are no such weights, or as of :func:`export_onnx`.
    """
    source = find_weights(weights)
    path = Path(destination or f'{source.stem}{SUFFIX}').expanduser()
    if path.exists() and not force:
        raise SagaError(f'{path}: exists already; --force replaces it')
    header = read_weights(source).header
    facts = {'model': json.dumps(header['model']), **{key: str(header[key]) for key in TOLD if header.get(key)}}
    return export_onnx(load_weights(source), path, facts, opset)


def export_onnx(
    model: LowLightEnhancer,
    path: str | os.PathLike[str],
    facts: Mapping[str, str] | None = None,
    opset: int = OPSET,
) -> Exported:
    """Write a model as one ONNX file with dynamic height and width, once its answers are those of PyTorch.

    The file takes ``image`` ``(1, 3, H, W)`` and, if wanted, the scalar ``strength``, and gives ``enhanced``; see
    :data:`LAYOUT`, which is in its metadata beside ``version``. It runs the whole image at once.

    Args:
        model: The model, which stays as it is.
        path: The file, ``NAME.onnx``; one that exists is replaced.
        facts: More for the metadata, such as ``model`` and ``licence``.
        opset: The version of ONNX's operators, one of :data:`OPSETS`.

    Raises:
        SagaError: A library is missing, there is no such opset, the model has a part that ONNX cannot express, the
            answers differ by more than :data:`TOLERANCE`, or the file cannot be written.
    """
    path = Path(path).expanduser()
    if path.suffix != SUFFIX:
        raise SagaError(f'{path}: name the file to write {path.stem}{SUFFIX}')
    if path.is_dir():
        raise SagaError(f'{path}: is a folder; name the file to write')
    if opset not in OPSETS:
        raise SagaError(f'--opset {opset}: choose one from {OPSETS[0]} to {OPSETS[-1]}')
    _require(*NEEDED)
    model = copy.deepcopy(model).cpu().float().eval()
    # created first: what follows takes a minute
    with Draft(path) as draft:
        proto = onnx_model(model, {'version': __version__, **LAYOUT, **(facts or {})}, opset)
        content = proto.SerializeToString()
        difference = _checked(path, content, model) if _installed(RUNTIME) else None
        draft.temporary.write_bytes(content)
    return Exported(path, len(content), difference)


def largest_difference(file: str | os.PathLike[str] | bytes, model: LowLightEnhancer) -> float:
    """The largest difference between a file's answers under ONNX Runtime and its model's, at the sizes :data:`CHECKED`.

    Args:
        file: The file, or its content.
        model: The model, float32, on the CPU, in evaluation mode.

    Raises:
        SagaError: ONNX Runtime cannot run the file at such a size.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # an error is said once, below
    options.log_severity_level = 4
    file = file if isinstance(file, bytes) else os.fspath(file)
    session = onnxruntime.InferenceSession(file, options, providers=['CPUExecutionProvider'])
    differences, generator = [], torch.Generator().manual_seed(0)
    for height, width in CHECKED:
        image = torch.rand(1, 3, height, width, generator=generator)
        try:
            answer = torch.from_numpy(session.run([ANSWER], {IMAGE: image.numpy()})[0])
        except Exception as error:
            # the errors of ONNX Runtime have no class in common
            reason = str(error).splitlines()[0]
            raise SagaError(f'ONNX Runtime fails on an image of {height}x{width} ({reason})') from error
        differences.append((answer - model.enhance(image)).abs().max().item())
    return max(differences)


def onnx_model(model: LowLightEnhancer, facts: Mapping[str, str], opset: int = OPSET) -> ModelProto:
    """The graph and weights of a model, with facts as its metadata.

    Raises:
        SagaError: The model has a part that ONNX cannot express.
    """
    import onnx

    # sides that padding changes, so that none is taken for a constant
    image = torch.zeros(1, 3, *(blocks * model.pad_divisor - 1 for blocks in (5, 6)))
    try:
        with torch.no_grad(), _silence():
            program = torch.onnx.export(
                EnhancerGraph(model).eval(),
                (image, torch.ones(())),
                input_names=[IMAGE, STRENGTH],
                output_names=[ANSWER],
                dynamic_shapes=({2: 'height', 3: 'width'}, {}),
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise SagaError(f'this {type(model.backbone).__name__} cannot be expressed in ONNX ({reason})') from error
    proto = program.model_proto
    # notes of the exporter, with the paths of the code that it has read
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del part.metadata_props[:]
    # an input that has a value may be left out
    proto.graph.initializer.append(onnx.numpy_helper.from_array(torch.ones(()).numpy(), STRENGTH))
    onnx.helper.set_model_props(proto, dict(facts))
    onnx.checker.check_model(proto)
    return proto


def _checked(path: Path, content: bytes, model: LowLightEnhancer) -> float:
    difference = largest_difference(content, model)
    if not difference <= TOLERANCE:
        raise SagaError(
            f'{path}: not written, since its answers differ from those of PyTorch by {difference:.2g}, more than '
            f'{TOLERANCE:g}: a part of this model is not exported as it is'
        )
    return difference


@contextmanager
def _silence() -> Iterator[None]:
    """Without what the exporter tells its developers."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _require(*names: str) -> None:
    missing = [name for name in names if not _installed(name)]
    if missing:
        raise SagaError(f'ONNX export needs {" and ".join(missing)}: pip install {" ".join(missing)}')
