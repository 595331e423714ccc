"""Detect cuts between scenes of a video."""

import torch
import torch.nn.functional as F

CELLS = 12
# the change between two frames, as a share of their brightness, that makes a cut
CHANGE = 0.3
# and how many times larger it must be than what is usual, in a video full of noise or motion
TIMES = 3.0
# the share of the newest change in what is usual
SHARE = 0.1


class CutDetector:
    """Tells the first frame of each scene, from the brightness of the cells of a coarse grid.

    The change from frame to frame is the mean absolute difference of the cells over their mean, so that it means the
    same in the dark. Noise is averaged away in a cell, and a camera that moves changes little from frame to frame.

    Args:
        change: The least change that is a cut.
        times: How many times the usual change it must be as well.
    """

    def __init__(self, change: float = CHANGE, times: float = TIMES) -> None:
        self.change, self.times = change, times
        self._last: torch.Tensor | None = None
        self._usual = 0.0

    def __call__(self, frame: torch.Tensor) -> bool:
        """Whether a frame ``(1, 3, H, W)`` begins another scene than that of the frame before; the first does not."""
        last, self._last = self._last, thumbnail(frame)
        if last is None:
            return False
        change = change_between(last, self._last)
        if change > max(self.change, self.times * self._usual):
            self._usual = 0.0
            return True
        self._usual += SHARE * (change - self._usual) if self._usual else change
        return False


def thumbnail(frame: torch.Tensor) -> torch.Tensor:
    """Mean brightness of the cells of a grid over a frame ``(1, 3, H, W)``."""
    return F.adaptive_avg_pool2d(frame, CELLS).mean(1)


def change_between(first: torch.Tensor, second: torch.Tensor) -> float:
    """Mean absolute difference of two thumbnails over their mean: 0 for the same, 2 for light and darkness."""
    return 2 * float((first - second).abs().sum()) / max(float((first + second).sum()), 1e-6)
