"""Convert published checkpoints to files that this package's backbones load."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saga_mm.display.table import format_table
from saga_mm.errors import SagaError
from saga_mm.files import user_path, write_file
from saga_mm.loading.published_file import MODULES, Published, read_published, recognise, skeleton, to_ours, unused
from saga_mm.loading.weight_match import Match
from saga_mm.models.backbones.named import VARIANTS
from saga_mm.ops import Grid, resize_table
from saga_mm.version import __version__

TABLES = ('position.table', 'key_table', 'relative_position_bias_table')
COMPUTED = ('relative_position_index', 'attn_mask', 'RoPE.angle')
CLASSIFIER = ('head', 'proj', 'norm', 'cls_token')
COUNTERS = 'num_batches_tracked'
NAMED = 3


@dataclass
class Conversion:
    """What became of the weights of a published file.

    Attributes:
        source: The published backbone.
        target: The backbone that the result is for.
        taken: Under which of the file's keys the weights were.
        left: Other keys of the file with weights of the same model.
        state: The weights, by our names.
        matched: Names taken over as they are.
        resized: Position tables fitted to the target's size, with the two sizes.
        dropped: Names of what was left out, by reason.
        fresh: Names that the target initialises itself.
    """

    source: str
    target: str
    taken: str
    left: list[str] = field(default_factory=list)
    state: dict[str, Tensor] = field(default_factory=dict)
    matched: list[str] = field(default_factory=list)
    resized: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)

    def drop(self, reason: str, names: Iterable[str]) -> None:
        for name in names:
            self.dropped.setdefault(reason, []).append(name)

    def table(self) -> str:
        """A short table of all this."""
        rows: list[tuple[str, int, str]] = [('matched', len(self.matched), '')]
        sizes: dict[str, list[str]] = {}
        for name, size in self.resized.items():
            sizes.setdefault(size, []).append(name)
        rows += [('resized', len(names), f'{size}, bilinearly: {_gist(names)}') for size, names in sizes.items()]
        rows += [('dropped', len(names), f'{reason}: {_gist(names)}') for reason, names in self.dropped.items()]
        rows.append(('left fresh', len(self.fresh), _gist(self.fresh)))
        return format_table(('weights', 'count', 'which'), rows)


def convert_file(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    to: str | None = None,
    family: str | None = None,
    name: str | None = None,
    ema: bool = False,
    overwrite: bool = False,
    attention: str | None = None,
) -> Conversion:
    """Convert a published checkpoint into one for ``init_cfg=dict(type='Pretrained', checkpoint=destination)``.

    Args:
        source: The published file; see :func:`saga_mm.loading.published_file.read_published`.
        destination: The file to write. It appears when it is complete.
        to: The backbone that the result is for, one of :func:`saga_mm.list_backbones`; that of the file if not given.
            One of the same architecture with another attention takes over all that both have, as a warm start.
        family: Family of the file, such as ``'flatten_swin'``, instead of recognising it.
        name: Backbone of the file, such as ``'flatten_swin_tiny'``, instead of recognising it.
        ema: Take averaged weights rather than plain ones if there are both.
        overwrite: Replace an existing destination.
        attention: Attention of the backbone that the result is for, in place of its own. Projections are taken over;
            what else it has, such as gates, which start open, is left to its initialisation.

    Returns:
        What was done; ``meta`` in the file says the same.

    Raises:
        SagaError: The source cannot be read or lacks weights, or the destination cannot be written.
    """
    path = user_path(destination)
    _check_destination(user_path(source), path, overwrite)
    published = read_published(source, ema)
    source_name = recognise(published, family, name)
    conversion = convert(published, source_name, to, forced=name is not None, attention=attention)
    meta = {
        'variant': conversion.target,
        'attention': attention,
        'source': Path(source).name,
        'source_variant': conversion.source,
        'source_key': conversion.taken,
        'resized': conversion.resized,
        'dropped': conversion.dropped,
        'fresh': conversion.fresh,
        'saga_mm': __version__,
    }
    write_file(path, partial(torch.save, {'meta': meta, 'state_dict': conversion.state}))
    return conversion


def convert(
    published: Published, source: str, to: str | None = None, forced: bool = False, attention: str | None = None
) -> Conversion:
    """Fit the weights of a published file to a backbone.

    Args:
        published: The file.
        source: The backbone that it is of.
        to: The backbone that the result is for; ``source`` if not given.
        forced: Whether the user said what the file is; unknown weights in its blocks are then dropped.
        attention: As of :func:`convert_file`.

    Raises:
        SagaError: ``to`` is unknown or of another architecture, or weights are missing, unknown or of another shape.
    """
    target = to or source
    _check_target(source, target)
    theirs, wanted = skeleton(source).state_dict(), skeleton(target, attention).state_dict()
    ours = to_ours(published, source)
    result = Conversion(source, target, published.taken, published.left)
    problems = Match(matched=result.matched)
    # where a file has one of the two parameters of a norm, it must have the other
    norms = {name.rpartition('.')[0] for name in ours if name.startswith('out_norms.')}
    for name, weight in wanted.items():
        value = ours.get(name)
        if value is not None and name.endswith(TABLES):
            value = _fit_table(published.path, name, value, weight.shape, result)
        if value is not None and value.shape == weight.shape:
            result.state[name] = value.to(weight.dtype, copy=True).contiguous()
            if name not in result.resized:
                result.matched.append(name)
        elif name.endswith(COUNTERS) and value is None:
            result.state[name] = torch.zeros(weight.shape, dtype=weight.dtype)
        elif not _required(name, theirs, weight, norms, source):
            result.fresh.append(name)
        elif value is None:
            problems.missing.append(name)
        else:
            problems.reshaped.append(f'{name} {tuple(value.shape)}, not {tuple(weight.shape)}')
    left = [name for name in ours if name not in result.state]
    unknown = [name for name in left if name not in theirs]
    # a weight inside a block that is unknown changes what the block computes: the file is of something else
    problems.unexpected += [name for name in unknown if '.blocks.' in name and not forced]
    if not problems.complete:
        raise SagaError(f'checkpoint {published.path}: is no {source} that {target} could take over: {problems}')
    result.drop('of a neck or head', published.outside)
    for key in unused(published, source):
        part = key.split('.')[0]
        known = 'computed, not learned' if key.endswith(COMPUTED) else 'of the classifier' if part in CLASSIFIER else ''
        result.drop(known or f'no place in {source}', [key])
    result.drop(f'no place in {source}', unknown)
    result.drop(f'only in {source}', [name for name in left if name in theirs])
    return result


def _check_target(source: str, target: str) -> None:
    if target not in VARIANTS:
        raise SagaError(f'--to {target}: no such backbone; tools/get_flops.py and list_backbones() know their names')
    if MODULES[source] is not MODULES[target] or _arch(source) != _arch(target):
        same = [name for name in VARIANTS if MODULES[name] is MODULES[source] and _arch(name) == _arch(source)]
        raise SagaError(f'--to {target}: the file is of {source}, which fits only {", ".join(same)}')


def _arch(name: str) -> Mapping[str, Any]:
    return MODULES[name].ARCHS[VARIANTS[name]['arch']]


def _required(name: str, theirs: Mapping[str, Tensor], weight: Tensor, norms: set[str], source: str) -> bool:
    """Whether the published backbone has this weight in this form, so that its file must hold it."""
    module = name.rpartition('.')[0]
    if name.startswith('out_norms.'):
        # a classifier of Swin or CSwin has one, that of the last output; one of RAVLT has none
        last = name.startswith(f'out_norms.{len(_arch(source)["depths"]) - 1}.')
        return module in norms or (last and not norms and VARIANTS[source]['type'] != 'RAVLT')
    return name in theirs and (name.endswith(TABLES) or theirs[name].shape == weight.shape)


def _fit_table(path: str, name: str, table: Tensor, shape: torch.Size, result: Conversion) -> Tensor:
    """A position table of ``(1, h * w, C)`` or ``(h * w, C)`` in the target's size, as the modules resize it."""
    # published detectors of PVT keep the position of a class token that they do not have
    if table.ndim == 3 and math.isqrt(table.shape[1]) ** 2 == table.shape[1] - 1:
        table = table[:, 1:]
    if table.ndim != len(shape) or table.shape[-1] != shape[-1] or table.shape == shape:
        return table
    side, wanted = math.isqrt(table.shape[-2]), math.isqrt(shape[-2])
    if side**2 != table.shape[-2]:
        raise SagaError(f'checkpoint {path}: {name} has {table.shape[-2]} positions, which is no square map')
    result.resized[name] = f'{side} x {side} to {wanted} x {wanted}'
    return resize_table(table.float().reshape(1, side**2, -1), (side, side), Grid.whole(wanted, wanted)).reshape(shape)


def _gist(names: Iterable[str]) -> str:
    """Names with their numbers left out, each once, the first few."""
    kinds = list(dict.fromkeys(re.sub(r'(?<=\.)\d+(?=\.)', '*', name) for name in names))
    more = f', and {len(kinds) - NAMED} more' if len(kinds) > NAMED else ''
    return ', '.join(kinds[:NAMED]) + more


def _check_destination(source: Path, path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise SagaError(f'{path}: is a folder; name the file to write')
    if not path.exists():
        return
    if source.exists() and path.samefile(source):
        raise SagaError(f'{path}: is the source itself; name another file to write')
    if not overwrite:
        raise SagaError(f'{path}: exists already; --overwrite replaces it')
