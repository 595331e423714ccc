"""What a user names to be exported: a backbone, weights of an enhancer, or a config with its checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from saga_mm.errors import ArgumentError, SagaError
from saga_mm.loading.checkpoint import load_checkpoint, load_state, state_of
from saga_mm.loading.weights import check_match
from saga_mm.loading.work_dir import find_best
from saga_mm.models.backbones.named import create_backbone, list_backbones
from saga_mm.models.enhancement.weights import SUFFIX as WEIGHTS
from saga_mm.models.enhancement.weights import (
    build_enhancer,
    enhancer_config,
    find_weights,
    load_weights,
    read_weights,
    shipped_weights,
)
from saga_mm.onnx.facts import Facts
from saga_mm.onnx.file import LABELS, SCORES
from saga_mm.version import __version__

from .graphs import BackboneGraph, EnhancerGraph, ExportGraph
from .resizing import resize_rule
from .stack_graphs import DetectorGraph, SegmentorGraph

if TYPE_CHECKING:
    from mmengine.config import Config

# of a low-light training's checkpoint: what a model does not need to run
TRAINING = ('losses.', 'data_preprocessor.')


@dataclass
class ExportOptions:
    """The command line of an export.

    Attributes:
        source: A backbone's name, weights of an enhancer (a name or a file), or a config file.
        checkpoint: The weights for a config or a backbone, or a work folder, of which the best are taken.
        out: The file to write; by default it has the name of the source and lies in the folder at hand.
        opset: The version of ONNX's operators.
        output: Of a segmentor: ``'labels'`` or ``'scores'``; None for labels.
        strength: Of an enhancer: a constant instead of an input.
        cfg_options: Values of the config to change, by dotted key.
        force: Replace an existing file.
    """

    source: str
    checkpoint: str | None = None
    out: str | None = None
    opset: int = 20
    output: str | None = None
    strength: float | None = None
    cfg_options: dict[str, Any] | None = None
    force: bool = False


class ExportSubject(NamedTuple):
    """What is exported.

    Attributes:
        graph: What the file computes.
        facts: What the file says of it.
        note: What the user should know, such as that weights are random; empty if there is nothing.
    """

    graph: ExportGraph
    facts: Facts
    note: str = ''


def find_subject(options: ExportOptions) -> ExportSubject:
    """Load what is to be exported.

    Raises:
        SagaError: There is nothing of this name, an option is for another kind, or config and checkpoint are not in
            order or do not fit each other.
    """
    if options.source in list_backbones():
        _refuse(options, 'output', 'strength', 'cfg_options', kind='backbone')
        return _backbone(options)
    if Path(options.source).suffix == WEIGHTS or options.source in shipped_weights():
        _refuse(options, 'output', 'checkpoint', 'cfg_options', kind='weights of an enhancer')
        return _enhancer(options)
    return _configured(options)


def _refuse(options: ExportOptions, *names: str, kind: str) -> None:
    for name in names:
        if getattr(options, name) is not None:
            given = 'a checkpoint' if name == 'checkpoint' else f'--{name.replace("_", "-")}'
            raise SagaError(f'{given}: is not for {kind}, which {options.source} is')


def _backbone(options: ExportOptions) -> ExportSubject:
    model, note = create_backbone(options.source), 'the weights are random: no checkpoint was given'
    if options.checkpoint is not None:
        path, note = find_best(options.checkpoint), ''
        state = load_state(path)
        within = {name.removeprefix('backbone.'): state[name] for name in state if name.startswith('backbone.')}
        check_match(model, within or state, path)
        model.load_state_dict(within or state)
    return _subject(BackboneGraph(model), note, model=options.source)


def _enhancer(options: ExportOptions) -> ExportSubject:
    source = find_weights(options.source)
    header = read_weights(source).header
    said = {key: str(header[key]) for key in ('licence', 'data') if header.get(key)}
    graph = EnhancerGraph(load_weights(source), options.strength)
    return _subject(graph, model=json.dumps(header['model']), strength=options.strength, **said)


def _configured(options: ExportOptions) -> ExportSubject:
    from saga_mm.loading.config import find_config, load_config
    from saga_mm.loading.stack import require_stack_for
    from saga_mm.tasks.task import task_of

    try:
        find_config(options.source)
    except SagaError as error:
        known = ', '.join(shipped_weights())
        raise SagaError(
            f'{error}. Nor is it a backbone of list_backbones(), or weights ({known}, or FILE.npz)'
        ) from error
    if options.checkpoint is None:
        raise SagaError(f'config {options.source}: name its checkpoint as well')
    cfg = load_config(options.source, options.cfg_options)
    if str((cfg.get('model') or {}).get('type', '')).rpartition('.')[2] == 'LowLightEnhancer':
        _refuse(options, 'output', kind='a low-light enhancer')
        return _trained_enhancer(options, cfg)
    require_stack_for(cfg)
    package = task_of(cfg).package
    kinds = {'mmseg': _segmentor, 'mmdet': _detector}
    if package not in kinds:
        raise SagaError(f'config {options.source}: is for {package}; segmentors, detectors and enhancers are exported')
    return kinds[package](options)


def _trained_enhancer(options: ExportOptions, cfg: Config) -> ExportSubject:
    config = enhancer_config(cfg.model)
    model, path = build_enhancer(config), find_best(options.checkpoint)
    loaded = state_of(load_checkpoint(path))
    state = {name: value for name, value in loaded.items() if not name.startswith(TRAINING)}
    check_match(model, state, path)
    model.load_state_dict(state)
    graph = EnhancerGraph(model, options.strength)
    return _subject(graph, model=json.dumps(config), strength=options.strength)


def _segmentor(options: ExportOptions) -> ExportSubject:
    from saga_mm.tasks.segmentation.segmenter import Segmenter

    _refuse(options, 'strength', kind='a segmentor')
    wanted = options.output or LABELS
    if wanted not in (LABELS, SCORES):
        raise ArgumentError('output', wanted, f'choose {LABELS} or {SCORES}')
    segmenter = Segmenter(options.source, find_best(options.checkpoint), 'cpu', options.cfg_options)
    graph = SegmentorGraph(segmenter.model, wanted)
    if graph.classes not in (1, len(segmenter.classes)):
        raise SagaError(
            f'config {options.source}: names {len(segmenter.classes)} classes; its head has {graph.classes} channels'
        )
    more = {'align_corners': graph.align_corners, 'threshold': graph.threshold}
    return _subject(graph, **_stack_facts(segmenter), **more)


def _detector(options: ExportOptions) -> ExportSubject:
    from saga_mm.tasks.detection.detector import Detector

    _refuse(options, 'strength', 'output', kind='a detector')
    detector = Detector(options.source, find_best(options.checkpoint), 'cpu', options.cfg_options)
    graph = DetectorGraph(detector.model)
    head = detector.cfg.model.get(graph.head_name) or {}
    parts = ('type', 'anchor_generator', 'bbox_coder', 'strides', 'regress_ranges', 'prior_generator')
    decoding = {key: head[key] for key in parts if key in head}
    return _subject(graph, head=json.dumps(decoding, default=_plain), **_stack_facts(detector))


def _stack_facts(predictor: Any) -> dict[str, Any]:
    """Facts of a model of the stack: what it is, its classes, and the size of the images that it is given."""
    parts = [type(predictor.model), type(predictor.model.backbone)]
    return {
        'model': ', '.join(part.__name__ for part in parts),
        'classes': predictor.classes,
        'palette': tuple(tuple(map(int, colour)) for colour in predictor.metainfo['palette']),
        'resize': resize_rule(predictor.cfg),
    }


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _subject(graph: ExportGraph, note: str = '', **facts: Any) -> ExportSubject:
    required = {'kind': graph.kind, 'version': __version__, 'input': graph.input, 'output': graph.output}
    made = Facts(**required, pad_divisor=graph.pad_divisor, **facts)
    try:
        # what the reader would refuse is found out before the work
        Facts.from_metadata(made.to_metadata())
    except ValueError as error:
        raise SagaError(f'the file would not be read again, since {error}') from error
    return ExportSubject(graph, made, note)
