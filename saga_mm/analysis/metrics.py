"""Metrics under names that people use, as a line and as a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

AREAS = {'s': 'small', 'm': 'medium', 'l': 'large'}


def metric_name(key: str) -> str:
    """``'coco/bbox_mAP_50'`` as ``'box AP50'``; names of other metrics without their prefix."""
    name = key.rpartition('/')[2]
    known = re.fullmatch(r'(bbox|segm)_mAP(?:_(50|75|s|m|l))?', name)
    if not known:
        return name
    kind = {'bbox': 'box', 'segm': 'mask'}[known[1]]
    part = known[2] or ''
    return f'{kind} AP{part}' if part.isdigit() or not part else f'{kind} AP, {AREAS[part]} objects'


def metric_line(metrics: Mapping[str, Any]) -> str:
    """The headline figures of an evaluation in one line."""
    if not metrics:
        return 'nothing detected yet'
    named = {metric_name(key): value for key, value in metrics.items()}
    headline = {name: value for name, value in named.items() if re.fullmatch(r'(box|mask) AP(50)?', name)}
    return ', '.join(f'{name} {_number(value)}' for name, value in (headline or named).items())


def metric_table(metrics: Mapping[str, Any]) -> str:
    """All figures of an evaluation, one a line, aligned."""
    rows = {metric_name(key): _number(value) for key, value in metrics.items()}
    if not rows:
        return 'no metrics: nothing was detected'
    width = max(len(name) for name in rows)
    return '\n'.join(f'{name:<{width}}  {value:>8}' for name, value in rows.items())


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    # COCO's way of saying that no object is of this size
    return 'none' if value == -1 else f'{value:.4g}' if abs(value) >= 1000 else f'{value:.3f}'
