"""Export a model as the command line asks."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from saga_mm.errors import ArgumentError, SagaError, nearest
from saga_mm.export import write_graph
from saga_mm.export.graphs import BackboneGraph, EnhancerGraph
from saga_mm.export.subject import ExportSubject, with_facts
from saga_mm.files import Draft, user_path
from saga_mm.loading.checkpoint import load_state
from saga_mm.loading.config import find_config, load_config
from saga_mm.loading.stack import require_stack_for
from saga_mm.loading.weight_match import check_match
from saga_mm.loading.work_dir import find_best
from saga_mm.models.backbones.named import create_backbone, list_backbones
from saga_mm.models.enhancement.weight_files import load_weights, read_weights
from saga_mm.onnx.facts import Facts
from saga_mm.onnx.file import OPSETS, SUFFIX, require_libraries
from saga_mm.shipped import SUFFIX as WEIGHTS
from saga_mm.shipped import find_weights, shipped_weights
from saga_mm.tasks import start_verb

LIBRARIES = ('onnx', 'onnxscript', 'onnxruntime')


@dataclass
class ExportOptions:
    """The command line of an export.

    Attributes:
        source: A backbone's name, weights of an enhancer (a name or a file), or a config file.
        checkpoint: The weights for a config or a backbone, or a work folder, of which the best are taken.
        out: The file to write; by default it has the name of the source and lies in the folder at hand.
        opset: The version of ONNX's operators.
        task_options: What only some tasks have, by name: ``result`` of a segmentor, ``strength`` of an enhancer.
        cfg_options: Values of the config to change, by dotted key.
        overwrite: Replace an existing file.
    """

    source: str
    checkpoint: str | None = None
    out: str | None = None
    opset: int = 20
    task_options: dict[str, Any] = field(default_factory=dict)
    cfg_options: dict[str, Any] | None = None
    overwrite: bool = False


class Exported(NamedTuple):
    """What was written.

    Attributes:
        path: The file.
        size: Its bytes.
        facts: What the file says of itself.
        differences: From PyTorch's answers, at each size of :data:`saga_mm.export.checking.CHECKED`.
        note: What the user should know; empty if there is nothing.
    """

    path: Path
    size: int
    facts: Facts
    differences: tuple[float, ...]
    note: str


def export(options: ExportOptions) -> Exported:
    """Write a model as one ONNX file with dynamic height and width, once its answers are those of PyTorch.

    Args:
        options: What to export, and how.

    Raises:
        SagaError: A library is missing, an option is not in order, the model cannot be loaded or has a part without a
            form in ONNX, the answers differ, or the file cannot be written.
    """
    path = _destination(options)
    require_libraries(*LIBRARIES, purpose='ONNX export')
    # created first: what follows takes a minute
    with Draft(path) as draft:
        subject = find_subject(options)
        try:
            content, facts, differences = write_graph(subject.graph, subject.facts, options.opset)
        except ArgumentError:
            raise
        except SagaError as error:
            raise SagaError(f'{path}: not written: {error}') from error
        draft.temporary.write_bytes(content)
    return Exported(path, len(content), facts, differences, subject.note)


def find_subject(options: ExportOptions) -> ExportSubject:
    """Load what is to be exported.

    Raises:
        SagaError: There is nothing of this name, an option is for another kind, or config and checkpoint are not in
            order or do not fit each other.
    """
    if options.source in list_backbones():
        _refuse(options, 'result', 'strength', 'cfg_options', kind='backbone')
        return _backbone(options)
    if Path(options.source).suffix == WEIGHTS or options.source in shipped_weights():
        _refuse(options, 'result', 'checkpoint', 'cfg_options', kind='weights of an enhancer')
        return _enhancer(options)
    return _configured(options)


def _refuse(options: ExportOptions, *names: str, kind: str) -> None:
    for name in names:
        if getattr(options, name, options.task_options.get(name)) is not None:
            given = 'a checkpoint' if name == 'checkpoint' else f'--{name.replace("_", "-")}'
            raise SagaError(f'{given}: is not for {kind}, which {options.source} is')


def _backbone(options: ExportOptions) -> ExportSubject:
    model, note = create_backbone(options.source), 'the weights are random: no checkpoint was given'
    if options.checkpoint is not None:
        path, note = find_best(options.checkpoint), ''
        state = load_state(path)
        # of a whole model, the part that is exported
        within = {name.removeprefix('backbone.'): state[name] for name in state if name.startswith('backbone.')}
        check_match(model, within or state, path)
        model.load_state_dict(within or state)
    return with_facts(BackboneGraph(model), note, model=options.source)


def _enhancer(options: ExportOptions) -> ExportSubject:
    source, strength = find_weights(options.source), options.task_options.get('strength')
    header = read_weights(source).header
    said = {key: str(header[key]) for key in ('licence', 'data') if header.get(key)}
    graph = EnhancerGraph(load_weights(source), strength)
    return with_facts(graph, model=json.dumps(header['model']), strength=strength, **said)


def _configured(options: ExportOptions) -> ExportSubject:
    try:
        find_config(options.source)
    except SagaError as error:
        known = shipped_weights()
        hint = nearest(options.source, [*list_backbones(), *known], '. Did you mean {}?')
        raise SagaError(
            f'{error}. Nor is it the name of a backbone, or weights ({", ".join(known)}, or FILE.npz){hint}'
        ) from error
    if options.checkpoint is None:
        raise SagaError(f'config {options.source}: name its checkpoint as well')
    cfg = load_config(options.source, options.cfg_options)
    require_stack_for(cfg)
    return start_verb(cfg, 'export', options.task_options).subject(cfg, find_best(options.checkpoint))


def _destination(options: ExportOptions) -> Path:
    path = user_path(options.out or f'{Path(options.source).stem}{SUFFIX}')
    if path.suffix != SUFFIX:
        raise SagaError(f'{path}: name the file to write {path.stem}{SUFFIX}')
    if path.is_dir():
        raise SagaError(f'{path}: is a folder; name the file to write')
    if path.exists() and not options.overwrite:
        raise SagaError(f'{path}: exists already; --overwrite replaces it')
    if options.opset not in OPSETS:
        raise ArgumentError('opset', options.opset, f'choose one from {OPSETS[0]} to {OPSETS[-1]}')
    strength = options.task_options.get('strength')
    if strength is not None and not (math.isfinite(strength) and strength >= 0):
        raise ArgumentError('strength', strength, 'must be a number from 0 on; 1 is the usual')
    return path
