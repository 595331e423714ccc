"""A picture before and after, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from saga_mm.files import write_image

from .fonts import pillow_font

# pixels of the longest side, beyond which both are reduced
LONGEST = 4096
NARROWEST, GAP = 120, 4
LABELS = ('before', 'after')


class BeforeAfter:
    """Gathers both pictures from top to bottom, labels them, and saves them as one.

    Args:
        height: Rows of each.
        width: Columns of each.
        longest: Pixels of the longest side in what is saved; larger pictures are reduced by a whole number.

    Attributes:
        held_bytes: What the pictures will take in memory.
    """

    def __init__(self, height: int, width: int, longest: int = LONGEST) -> None:
        self.step = -(-max(height, width) // longest)
        self.halves = tuple(np.empty((-(-height // self.step), -(-width // self.step), 3), np.uint8) for _ in LABELS)
        # the picture and its copy in the encoder
        self.held_bytes = 5 * self.halves[0].nbytes
        self._waiting: list[np.ndarray] = []
        self._height, self._done = height, 0

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """The next rows of both, ``(rows, W, 3)``, RGB in [0, 1]."""
        self._waiting.append(np.concatenate([before, after], axis=2))
        rows = sum(map(len, self._waiting))
        last = self._done * self.step + rows >= self._height
        if rows < self.step and not last:
            return
        both = np.concatenate(self._waiting)
        whole = rows if last else rows // self.step * self.step
        self._waiting = [both[whole:]]
        both = _reduced(both[:whole], self.step)
        for half, part in zip(self.halves, np.split(both, 2, axis=2)):
            half[self._done : self._done + len(both)] = (part.clip(0, 1) * 255).round()
        self._done += len(both)

    def drawn(self) -> Image.Image:
        """Both side by side, each with its name above."""
        column, size, top = _layout(self.halves[0].shape[1])
        canvas = Image.new('RGB', (2 * column + GAP, top + len(self.halves[0])), 'white')
        draw, font = ImageDraw.Draw(canvas), pillow_font(''.join(LABELS), size)
        for i, (half, label) in enumerate(zip(self.halves, LABELS)):
            left = i * (column + GAP)
            canvas.paste(Image.fromarray(half), (left, top))
            draw.text((left + size // 2, size // 8), label, fill='black', font=font)
        return canvas

    def save(self, path: Path, icc: bytes = b'') -> None:
        """Save as JPEG, with the colour profile of the pictures.

        Raises:
            SagaError: It cannot be written.
        """
        write_image(path, self.drawn().save, quality=92, subsampling='4:4:4', icc_profile=icc or None)


def sheet_size(height: int, width: int, longest: int = LONGEST) -> tuple[int, int]:
    """Height and width of what :class:`BeforeAfter` draws of pictures of a size."""
    step = -(-max(height, width) // longest)
    column, _, top = _layout(-(-width // step))
    return top - (-height // step), 2 * column + GAP


def _layout(width: int) -> tuple[int, int, int]:
    """Width of a half, size of letters, and rows above, for halves of a width."""
    column = max(width, NARROWEST)
    size = min(48, max(12, column // 24))
    return column, size, round(1.6 * size)


def _reduced(rows: np.ndarray, step: int) -> np.ndarray:
    """Means of squares of ``step`` pixels; those at the end may be smaller."""
    for axis in (0, 1) if step > 1 else ():
        starts = np.arange(0, rows.shape[axis], step)
        counts = np.diff(np.append(starts, rows.shape[axis])).astype(np.float32)
        sums = np.add.reduceat(rows, starts, axis=axis)
        rows = sums / counts.reshape([-1 if i == axis else 1 for i in range(3)])
    return rows
