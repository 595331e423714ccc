"""Readable names of metrics, as a line and as a table."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from numbers import Real
from typing import Any

AREAS = {'s': 'small', 'm': 'medium', 'l': 'large'}
# mmseg gives these in percent
MEANS = r'aAcc|m(?:IoU|Acc|Dice|Fscore|Precision|Recall)'
# of enhanced images, and of what needs no model, in brackets
QUALITY = r'(?:PSNR|SSIM)(?:_\w+)?(?: \(.+\))?'
ERRORS = r'(?:MAE|LPIPS|NIQE)(?: \(.+\))?'
# of classification, in percent
TOPS = r'top\d+'
HEADLINES = rf'(?:box|mask) AP(?:50)?|PSNR(?: \(.+\))?|SSIM|{TOPS}'


def metric_name(key: str) -> str:
    """``'coco/bbox_mAP_50'`` as ``'box AP50'``, ``'input/PSNR'`` as ``'PSNR (input)'``; others without prefix."""
    baseline = re.search(r'(?:^|/)(input|gamma_[\d.]+)/(\w+)$', key)
    if baseline:
        return f'{baseline[2]} ({baseline[1].replace("_", " ")})'
    name = re.sub(r'^[\w.]+/', '', key)
    known = re.fullmatch(r'(bbox|segm)_mAP(?:_(50|75|s|m|l))?', name)
    if not known:
        return name
    kind = {'bbox': 'box', 'segm': 'mask'}[known[1]]
    part = known[2] or ''
    return f'{kind} AP{part}' if part.isdigit() or not part else f'{kind} AP, {AREAS[part]} objects'


def is_metric(key: str) -> bool:
    """Whether a logged value is a figure of an evaluation, and none for a single class."""
    return 'mAP' in key or re.fullmatch(f'{MEANS}|{QUALITY}|{ERRORS}|{TOPS}', metric_name(key)) is not None


def is_error(key: str) -> bool:
    """Whether a figure is the better the lower it is."""
    return re.fullmatch(ERRORS, metric_name(key)) is not None


def metric_line(metrics: Mapping[str, Any]) -> str:
    """The headline figures of an evaluation in one line."""
    if not metrics:
        return 'nothing detected yet'
    named = {metric_name(key): value for key, value in metrics.items()}
    headline = {name: value for name, value in named.items() if re.fullmatch(HEADLINES, name)}
    return ', '.join(f'{name} {_figure(name, value)}' for name, value in (headline or named).items())


def metric_table(metrics: Mapping[str, Any]) -> str:
    """All figures of an evaluation, one a line, aligned."""
    rows = {metric_name(key): _figure(metric_name(key), value) for key, value in metrics.items()}
    if not rows:
        return 'no metrics: nothing was detected'
    width = max(map(text_width, rows))
    return '\n'.join(f'{pad(name, width)}  {value:>8}' for name, value in rows.items())


def text_width(text: str) -> int:
    """How many columns a text takes on a terminal: letters of East Asia take two, marks above and below none."""
    wide = sum(unicodedata.east_asian_width(letter) in 'WF' for letter in text)
    return len(text) + wide - sum(unicodedata.category(letter) in ('Mn', 'Me', 'Cf') for letter in text)


def pad(text: str, width: int) -> str:
    """A text with spaces up to ``width`` columns of a terminal."""
    return text + ' ' * (width - text_width(text))


def number(value: Any) -> str:
    """A figure as it is printed."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    # COCO's and mmseg's ways of saying that there is nothing of this kind
    if value == -1 or math.isnan(value):
        return 'none'
    return f'{value:.4g}' if abs(value) >= 1000 else f'{value:.2f}' if abs(value) >= 10 else f'{value:.3f}'


def _figure(name: str, value: Any) -> str:
    percent = re.fullmatch(rf'IoU .*|{MEANS}', name) and isinstance(value, Real) and not math.isnan(value)
    return f'{value:.2f}' if percent else number(value)
