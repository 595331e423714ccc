"""The operations of RandAugment, on ``(H, W, 3)`` uint8 BGR pictures.

Which there are, and how strong each is at most, are those of the recipe of DeiT and its successors that is known as
``rand-m9-mstd0.5-inc1``: all grow stronger with the magnitude.
"""

from collections.abc import Callable

import mmcv
import numpy as np

# what is uncovered by turning and moving: ImageNet's mean, BGR
FILL = (104, 116, 124)

Operation = Callable[[np.ndarray, float, int], np.ndarray]


def _enhance(change: Callable[..., np.ndarray]) -> Operation:
    """More or less of a quality of the picture: a factor from 0.1 to 1.9."""
    return lambda image, strength, sign: change(image, 1 + sign * 0.9 * strength)


def _solarize_add(image: np.ndarray, strength: float) -> np.ndarray:
    brighter = np.minimum(image.astype(np.int16) + int(110 * strength), 255).astype(np.uint8)
    return np.where(image < 128, brighter, image)


def _shear(direction: str) -> Operation:
    return lambda image, strength, sign: mmcv.imshear(image, sign * 0.3 * strength, direction, border_value=FILL)


def _translate(direction: str, side: int) -> Operation:
    def move(image: np.ndarray, strength: float, sign: int) -> np.ndarray:
        return mmcv.imtranslate(image, sign * 0.45 * strength * image.shape[side], direction, border_value=FILL)

    return move


OPERATIONS: dict[str, Operation] = {
    'auto_contrast': lambda image, strength, sign: mmcv.auto_contrast(image),
    'equalize': lambda image, strength, sign: mmcv.imequalize(image),
    'invert': lambda image, strength, sign: mmcv.iminvert(image),
    'rotate': lambda image, strength, sign: mmcv.imrotate(image, sign * 30 * strength, border_value=FILL),
    'posterize': lambda image, strength, sign: mmcv.posterize(image, max(4 - int(4 * strength), 1)),
    'solarize': lambda image, strength, sign: mmcv.solarize(image, 256 - int(256 * strength)),
    'solarize_add': lambda image, strength, sign: _solarize_add(image, strength),
    'color': _enhance(mmcv.adjust_color),
    'contrast': _enhance(mmcv.adjust_contrast),
    'brightness': _enhance(mmcv.adjust_brightness),
    'sharpness': _enhance(mmcv.adjust_sharpness),
    'shear_x': _shear('horizontal'),
    'shear_y': _shear('vertical'),
    'translate_x': _translate('horizontal', 1),
    'translate_y': _translate('vertical', 0),
}


def apply_operation(image: np.ndarray, name: str, strength: float, sign: int) -> np.ndarray:
    """A picture after one of :data:`OPERATIONS`.

    Args:
        image: The picture.
        name: The operation.
        strength: From 0, which leaves most of them without effect, to 1.
        sign: 1 or -1, for operations that have two directions.
    """
    return OPERATIONS[name](image, strength, sign).astype(np.uint8, copy=False)
