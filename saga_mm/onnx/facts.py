"""The metadata of exported ONNX files, written as plain text and checked when it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

KINDS = ('backbone', 'enhancer', 'segmentor', 'detector', 'classifier')
# the key that marks files of saga_mm, with the version as its value, and the keys whose values are JSON
MARK = 'saga_mm'
CODED = ('classes', 'palette', 'pad_divisor', 'resize', 'strength', 'align_corners', 'threshold', 'bytes_per_pixel')
MOST_METADATA = 2**20
MOST_CLASSES, LONGEST_NAME, LARGEST_SIDE, LARGEST_DIVISOR, MOST_PIXEL_BYTES = 10_000, 200, 8192, 1024, 10**7
CROP = 'center_crop'
INTERPOLATIONS = ('nearest', 'bilinear', 'bicubic', 'area', 'lanczos')


@dataclass(frozen=True)
class Facts:
    """What an exported file says of itself, in its metadata.

    Attributes:
        kind: One of :data:`KINDS`.
        version: The version of saga_mm that wrote the file.
        input: What the inputs are, in words.
        output: What the outputs are, in words.
        model: The model: the name of a backbone, the config of an enhancer, the classes of the parts of another model.
        classes: Class names, in the order of their labels.
        palette: An RGB colour for each class.
        pad_divisor: The graph pads the image below and to the right to a multiple of this.
        resize: What the test pipeline does to the size of pictures, as :func:`saga_mm.export.resizing.resize_rule`
            finds it; None where they keep it.
        strength: The strength that is part of an enhancer's graph; None where it is an input.
        align_corners: How the scores of a segmentor are resized.
        threshold: Of a segmentor with one channel: its class is where the sigmoid of the score is larger.
        bytes_per_pixel: Memory that ONNX Runtime took for each pixel on the CPU; 0 if unknown.
        head: Anchors and box coder of a detector, as in its config, in JSON.
        licence: Of the weights.
        data: What the weights were trained on.
    """

    kind: str
    version: str = ''
    input: str = ''
    output: str = ''
    model: str = ''
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    pad_divisor: int = 1
    resize: Mapping[str, Any] | None = None
    strength: float | None = None
    align_corners: bool = False
    threshold: float | None = None
    bytes_per_pixel: int = 0
    head: str = ''
    licence: str = ''
    data: str = ''

    def to_metadata(self) -> dict[str, str]:
        """The metadata of a file; facts that have their default value are left out."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        usual = asdict(Facts(''))
        kept = {key: value for key, value in given.items() if value != usual[key]}
        coded = {key: json.dumps(value) if key in CODED else str(value) for key, value in kept.items()}
        return {MARK: coded.pop('version', ''), **coded}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Facts:
        """The facts in the metadata of a file; unknown keys are ignored.

        Raises:
            ValueError: A fact is missing, or not of the kind or size that an export writes.
        """
        if MARK not in metadata:
            raise ValueError('it was not exported by saga_mm')
        if sum(len(key) + len(value) for key, value in metadata.items()) > MOST_METADATA:
            raise ValueError('its metadata is too long')
        names = {each.name for each in fields(cls)}
        try:
            known = {
                key: json.loads(value) if key in CODED else value for key, value in metadata.items() if key in names
            }
        except (ValueError, RecursionError):
            raise ValueError('its metadata is damaged') from None
        known['version'] = metadata[MARK]
        for key, check in _CHECKS.items():
            if key in known and not check(known[key]):
                raise ValueError(f'its metadata has a wrong {key}')
        if known.get('kind') not in KINDS:
            raise ValueError(f'it is of an unknown kind ({str(known.get("kind"))[:40]})')
        known['classes'] = tuple(known.get('classes', ()))
        known['palette'] = tuple(map(tuple, known.get('palette', ())))
        if len(known['palette']) != len(known['classes']):
            raise ValueError('its metadata has another number of colours than of classes')
        return cls(**known)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def _is_number(value: Any, lowest: float, highest: float) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and lowest <= value <= highest


def _is_count(value: Any, highest: int) -> bool:
    return type(value) is int and 0 <= value <= highest


def _are_classes(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MOST_CLASSES and all(map(_is_text, value))


def _are_colours(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(colour, list) and len(colour) == 3 and all(_is_count(part, 255) for part in colour)
        for colour in value
    )


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def _is_size(value: Any) -> bool:
    return _is_pair(value) and all(_is_count(side, LARGEST_SIDE) and side for side in value)


def _is_resize(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) - {*_SIZES, 'keep_ratio', 'interpolation', 'backend'}:
        return False
    return (
        bool(value.keys() & _SIZES)
        and all(check(value[key]) for key, check in _SIZES.items() if key in value)
        and type(value.get('keep_ratio', False)) is bool
        and value.get('interpolation', 'bilinear') in INTERPOLATIONS
        and value.get('backend', 'cv2') in ('cv2', 'pillow')
    )


_SIZES = {
    'scale': _is_size,
    'scale_factor': lambda value: _is_pair(value) and all(_is_number(factor, 0.01, 16) for factor in value),
    'short_side': lambda value: _is_count(value, LARGEST_SIDE) and value > 0,
    CROP: _is_size,
}
_CHECKS = {
    'version': lambda value: len(value) <= LONGEST_NAME and value.isprintable(),
    'classes': _are_classes,
    'palette': _are_colours,
    'pad_divisor': lambda value: _is_count(value, LARGEST_DIVISOR) and value > 0,
    'resize': _is_resize,
    'strength': lambda value: _is_number(value, 0, 1e6),
    'align_corners': lambda value: type(value) is bool,
    'threshold': lambda value: _is_number(value, 0, 1),
    'bytes_per_pixel': lambda value: _is_count(value, MOST_PIXEL_BYTES),
}
