"""Find and read config files, and report mistakes in one line."""

from __future__ import annotations

import ast
import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from saga_mm.errors import ArgumentError, SagaError
from saga_mm.files import user_path
from saga_mm.text_files import require_utf8

if TYPE_CHECKING:
    from mmengine.config import Config


# dicts without a class that would refuse what it does not know, with all that is read of them
KNOWN = {
    'filter_cfg': ('filter_empty_gt', 'min_size'),
    'auto_scale_lr': ('enable', 'base_batch_size'),
    'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
    'mp_cfg': ('mp_start_method', 'opencv_num_threads'),
    'paramwise_cfg': (
        *('custom_keys', 'base_lr', 'base_wd', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult'),
        *('flat_decay_mult', 'dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate'),
        *('layer_decay_rate', 'decay_rate', 'decay_type', 'num_layers'),
    ),
}
# dicts whose keys are names of parameters
NAMED_FREELY = ('custom_keys',)
CONFIG_SUFFIXES = ('.py', '.json', '.yaml', '.yml')


def config_roots() -> list[Path]:
    """Folders in which the configs that come with the package may lie: a checkout's, then the installed package's."""
    package = Path(__file__).resolve().parents[1]
    return [root for root in (package.parent / 'configs', package / 'configs') if root.is_dir()]


def find_config(name: str | os.PathLike[str]) -> Path:
    """The config file meant by ``name``: a path, or a name inside the configs that come with the package.

    Raises:
        SagaError: There is no such file, or it is not of a type that holds configs.
    """
    path = user_path(name)
    relative = Path(*path.parts[1:]) if path.parts[:1] == ('configs',) else path
    candidates = [path, *(root / relative for root in config_roots() if not path.is_absolute())]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        if path.is_dir():
            raise SagaError(f'config {name}: is a folder; name one file in it')
        known = {
            file.name: file.relative_to(root)
            for root in config_roots()
            for file in root.rglob('*.py')
            if '_base_' not in file.parts
        }
        close = difflib.get_close_matches(path.name, known, n=3, cutoff=0.5)
        hint = (
            f'close names: {", ".join(str(known[match]) for match in close)}'
            if close
            else (f'those that come with saga_mm are in {", ".join(map(str, config_roots()))}')
        )
        raise SagaError(f'config {name}: no such file; {hint}')
    if found.suffix not in CONFIG_SUFFIXES:
        raise SagaError(f'config {name}: a config is one of {", ".join(CONFIG_SUFFIXES)}')
    return found


def load_config(path: str | os.PathLike[str], cfg_options: dict[str, Any] | None = None) -> Config:
    """Read a config file and the files it inherits from.

    Args:
        path: The file; a name relative to the ``configs`` folder that comes with the package also works.
        cfg_options: Values to set, by dotted key, as ``--cfg-options`` gives them.

    Raises:
        SagaError: The file is missing or does not run, or an option does not fit; the message names file and line.
    """
    from mmengine.config import Config

    file = find_config(path)
    if file.suffix == '.py':
        require_utf8(file)
    try:
        cfg = Config.fromfile(str(file))
    except Exception as error:
        raise SagaError(_config_error(file, error)) from error
    if cfg_options:
        _require_near(cfg, cfg_options, file)
        try:
            cfg.merge_from_dict(cfg_options)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            reason = error.args[0] if error.args else error
            raise ArgumentError('cfg_options', ' '.join(cfg_options), f'does not fit {file}: {reason}') from error
    return cfg


def _require_near(cfg: Config, options: dict[str, Any], file: Path) -> None:
    """Refuse options with a key that nobody reads: one of the config misspelt, or unknown where all are known."""
    for option in options:
        node, inside = cfg._cfg_dict, ''
        for key in option.split('.'):
            if isinstance(node, (list, tuple)):
                node = node[int(key)] if key.isdecimal() and int(key) < len(node) else None
            elif isinstance(node, Mapping):
                _require_known(node, key, inside, option, file)
                node = node.get(key)
            inside = key
            if node is None or inside in NAMED_FREELY:
                break


def _require_known(node: Mapping[str, Any], key: str, inside: str, option: str, file: Path) -> None:
    known = KNOWN.get(inside)
    # of a part with a type, its class says what it takes
    if key in node or key.startswith('_') or (known and key in known) or 'type' in node:
        return
    close = difflib.get_close_matches(key, {*node, *(known or ())}, n=1, cutoff=0.8 if known else 0.85)
    if close:
        raise ArgumentError('cfg_options', option, f'{file} has no {key}; did you mean {close[0]}?')
    if known:
        raise ArgumentError('cfg_options', option, f'{inside} has no {key}; it takes {", ".join(known)}')


def _config_error(file: Path, error: Exception) -> str:
    culprit, line = _where(error.__traceback__, str(file))
    if isinstance(error, SyntaxError):
        # mmengine words the error by a temporary copy of the file
        try:
            ast.parse(Path(culprit).read_text(encoding='utf-8'))
        except SyntaxError as syntax:
            error, line = syntax, syntax.lineno
            error.args = (f'syntax error: {syntax.msg}',)
    elif isinstance(error, FileNotFoundError) and not os.path.exists(culprit):
        parent = _where(error.__traceback__, str(file), skip=culprit)[0]
        return f'config {parent}: inherits from {os.path.normpath(culprit)}, which does not exist'
    at = f', line {line}' if line else ''
    inherited = '' if os.path.realpath(culprit) == os.path.realpath(file) else f' (inherited by {file})'
    return f'config {os.path.normpath(culprit)}{at}{inherited}: {_reason(error)}'


def _reason(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return str(error.args[0])
    if isinstance(error, RecursionError):
        return 'inherits from itself'
    if isinstance(error, ImportError) and error.__cause__ is not None:
        # mmengine puts the whole sys.path into the outer message
        return f'custom_imports: {error.__cause__.__context__ or error.__cause__}'
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return f'{type(error).__name__}: {" ".join(text.split())}'


def _where(trace: TracebackType | None, default: str, skip: str | None = None) -> tuple[str, int | None]:
    """The innermost config that was being read when an error was raised, and the line if the config's own code ran."""
    culprit, line = default, None
    while trace is not None:
        frame = trace.tb_frame
        named = frame.f_locals.get('filename')
        if frame.f_code.co_name in ('_file2dict', '_parse_lazy_import') and isinstance(named, str) and named != skip:
            culprit, line = named, None
        elif frame.f_code.co_filename == culprit:
            line = trace.tb_lineno
        trace = trace.tb_next
    return culprit, line
