"""Build what a config describes, and report mistakes in it in one line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from dis import get_instructions
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any

from torch import nn

from saga_mm.errors import SagaError

if TYPE_CHECKING:
    from mmengine.config import Config

MISTAKES = (TypeError, ValueError, KeyError, AssertionError, NotImplementedError, FileNotFoundError)


def build_model(cfg: Config) -> nn.Module:
    """Build the model of a config, on the CPU and without pretrained weights, to look at it.

    Raises:
        SagaError: The config names a part or an option that does not exist, or values that a part refuses.
    """
    from mmengine.registry import MODELS, DefaultScope

    if cfg.get('model') is None:
        raise SagaError(f'config {cfg.filename}: has no model; name a config that defines one')
    model = cfg.model.copy()
    if 'data_preprocessor' in cfg:
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with config_mistakes(cfg), DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        return MODELS.build(model)


def swallowed_options(cfg: Config) -> Iterator[tuple[str, str]]:
    """Options in models and evaluators of a config that their classes accept and ignore.

    Yields:
        Where it stands, such as ``'test_evaluator.iou_metric'``, and what is wrong.
    """
    from mmengine.registry import METRICS, MODELS, TASK_UTILS, DefaultScope

    places = {'model': (MODELS, TASK_UTILS), 'val_evaluator': (METRICS,), 'test_evaluator': (METRICS,)}
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        for section, registries in places.items():
            for path, part in _parts(cfg.get(section), section):
                classes = (_find(registry, part['type']) for registry in registries if isinstance(part['type'], str))
                cls = next((found for found in classes if found is not None), None)
                if cls is None or not _swallows(cls):
                    continue
                known = _options(cls)
                for key in part:
                    if key not in known and not str(key).startswith('_') and key != 'type':
                        yield f'{path}.{key}', f'{cls.__name__} has no option {key!r}{_closest(key, known)}'


def _find(registry: Any, kind: str) -> Callable | None:
    """The class of a name, in the registry of the scope that is the default."""
    with registry.switch_scope_and_registry(None) as own:
        return own.get(kind)


def _parts(node: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(node, Mapping):
        if 'type' in node:
            yield path, node
        for key, value in node.items():
            yield from _parts(value, f'{path}.{key}')
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _parts(value, f'{path}.{index}')


@cache
def _swallows(cls: Callable) -> bool:
    """Whether a class takes any options at all, and does not look at those that it does not know."""
    for base in inspect.getmro(cls) if inspect.isclass(cls) else (cls,):
        function = vars(base).get('__init__') if inspect.isclass(base) else base
        if function is None or not hasattr(function, '__code__'):
            continue
        rest = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.VAR_KEYWORD]
        if not rest:
            return False
        # the constructor ignores an argument that none of its instructions loads
        if not any(step.argval == rest[0] and step.opname.startswith('LOAD') for step in get_instructions(function)):
            return True
    return False


def check_optimizer(cfg: Config) -> None:
    """Refuse an optimizer that does not exist. The error of mmengine does not name it."""
    from mmengine.registry import OPTIMIZERS, DefaultScope

    kind = (cfg.optim_wrapper.get('optimizer') or {}).get('type')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
            near = _closest(kind, _registered(OPTIMIZERS, kind))
            raise SagaError(f'config {cfg.filename}: optim_wrapper.optimizer: there is no {kind!r}{near}')


@contextmanager
def config_mistakes(cfg: Config) -> Iterator[None]:
    """Turn an error raised while a part of ``cfg`` is built into a :class:`SagaError` that names part and key."""
    try:
        yield
    except MISTAKES as error:
        part = _part_being_built(error.__traceback__)
        if part is None:
            raise
        raise SagaError(f'config {cfg.filename or ""}: {_describe(cfg, part, error)}') from error


def _part_being_built(trace: TracebackType | None) -> dict[str, Any] | None:
    """The local names of mmengine's innermost ``build_from_cfg`` on the way to an error."""
    part = None
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_name == 'build_from_cfg' and 'mmengine' in code.co_filename:
            part = trace.tb_frame.f_locals
        trace = trace.tb_next
    return part


def _describe(cfg: Config, part: dict[str, Any], error: Exception) -> str:
    options = part.get('cfg') or {}
    kind = options.get('type') if isinstance(options, Mapping) else None
    cls = part.get('obj_cls')
    text = ' '.join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    if kind is None:
        return f'a part has no type: {dict(options)}'
    place = ' or '.join(_paths(cfg, kind, options)) or 'a part'
    if cls is None:
        return f'{place}: there is no {kind!r}{_closest(kind, _registered(part["registry"], kind))}'
    name = getattr(cls, '__name__', str(cls))
    unknown = re.search(r"unexpected keyword argument '(\w+)'", text)
    if unknown and unknown[1] in options:
        return f'{place}: {name} has no option {unknown[1]!r}{_closest(unknown[1], _options(cls))}'
    missing = re.search(r'missing \d+ required (?:positional|keyword-only) arguments?: (.+)', text)
    if missing:
        return f'{place}: {name} needs {missing[1]}'
    return f'{place}: {name}: {text or type(error).__name__}'


def _paths(cfg: Config, kind: Any, options: Mapping[str, Any]) -> list[str]:
    """Where in a config a part of this type with these options stands."""
    found: list[str] = []

    def search(node: Any, path: str) -> None:
        if isinstance(node, Mapping):
            if node.get('type') == kind and all(options.get(key) == value for key, value in node.items()):
                found.append(path)
            for key, value in node.items():
                search(value, f'{path}.{key}' if path else str(key))
        elif isinstance(node, (list, tuple)):
            for index, value in enumerate(node):
                search(value, f'{path}.{index}')

    search(cfg._cfg_dict.to_dict(), '')
    return found[:2]


def _options(cls: Callable) -> list[str]:
    """What a class takes, through its parents as far as each hands on what it does not know."""
    names: list[str] = []
    for base in inspect.getmro(cls) if inspect.isclass(cls) else (cls,):
        function = vars(base).get('__init__') if inspect.isclass(base) else base
        if function is None:
            continue
        parameters = inspect.signature(function).parameters.values()
        named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        names += [name for name in named if name != 'self']
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(dict.fromkeys(names))


def _registered(registry: Any, kind: str) -> list[str]:
    """Names that could have been meant: those of the scope that ``kind`` gives, or all within reach."""
    scope, dot, _ = kind.rpartition('.')
    if dot:
        child = registry.root.children.get(scope)
        return [f'{scope}.{name}' for name in child.module_dict] if child else []
    names: list[str] = []
    while registry is not None:
        names += list(registry.module_dict)
        registry = registry.parent
    return names


def _closest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f'; did you mean {" or ".join(close)}?'
    return f'; it has {", ".join(known)}' if 0 < len(known) <= 30 else ''
