"""Maps between layers, in memory or in scratch files that are read and written by rows."""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from saga_mm.ops.grid import Grid, tokens_to_map

from .engine import TORCH, Engine


class Span(NamedTuple):
    """Rows ``[start, stop)`` of a map."""

    rows: Rows
    start: int
    stop: int


class Rows:
    """A map ``(B, H, W, C)`` that is asked for by rows.

    Attributes:
        batch: Images B.
        height: Rows H.
        width: Columns W.
    """

    def __init__(self, batch: int, height: int, width: int) -> None:
        self.batch, self.height, self.width = batch, height, width

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Rows ``[start, stop)`` as tokens ``(B, (stop - start) * W, C)``; perhaps a view, so not to be changed."""
        raise NotImplementedError

    def plane(self, start: int, stop: int) -> torch.Tensor:
        """Rows ``[start, stop)`` as a map ``(B, C, stop - start, W)``."""
        return tokens_to_map(self.read(start, stop), self.grid(start, stop))

    def sources(self, start: int, stop: int) -> list[Span]:
        """The rows of other maps that rows ``[start, stop)`` are computed of; none for a map that is kept."""
        return []

    def grid(self, start: int, stop: int) -> Grid:
        """Where the tokens of rows ``[start, stop)`` stand."""
        return Grid(self.height, self.width, start, stop)


class ImageRows(Rows):
    """Rows of an image, from whatever can give some of them.

    Args:
        read: Gives rows ``[start, stop)`` as ``(B, C, stop - start, W)``, normalised as the model wants them.
        height: Rows of the image.
        width: Columns of the image.
        batch: Images.
    """

    def __init__(self, read: Callable[[int, int], torch.Tensor], height: int, width: int, batch: int = 1) -> None:
        super().__init__(batch, height, width)
        self._read = read

    def read(self, start: int, stop: int) -> torch.Tensor:
        return self._read(start, stop).permute(0, 2, 3, 1).flatten(1, 2)


class AppliedRows(Rows):
    """A map after a function of each token, such as a norm, which is computed when rows are asked for.

    Args:
        rows: The map.
        function: From tokens ``(B, N, C)`` to tokens.
        modules: The modules that it computes with; with none, it is left to PyTorch.
        engine: Where it runs.
    """

    def __init__(
        self,
        rows: Rows,
        function: Callable[[torch.Tensor], torch.Tensor],
        modules: Sequence[nn.Module] = (),
        engine: Engine = TORCH,
    ) -> None:
        super().__init__(rows.batch, rows.height, rows.width)
        self.rows, self.function, self.step_modules, self.engine = rows, function, modules, engine

    def read(self, start: int, stop: int) -> torch.Tensor:
        return self.engine.apply(self.function, self.step_modules, self.rows.read(start, stop))

    def sources(self, start: int, stop: int) -> list[Span]:
        return [Span(self.rows, start, stop)]


class MemoryRows(Rows):
    """A map in a tensor ``(B, H, W, C)`` of any strides."""

    def __init__(self, tensor: torch.Tensor) -> None:
        super().__init__(*tensor.shape[:3])
        self.tensor = tensor

    def read(self, start: int, stop: int) -> torch.Tensor:
        return self.tensor[:, start:stop].flatten(1, 2)

    def write(self, start: int, tokens: torch.Tensor) -> None:
        """Put tokens ``(B, N, C)`` of whole rows where row ``start`` begins."""
        rows = tokens.unflatten(1, (-1, self.width))
        self.tensor[:, start : start + rows.shape[1]] = rows

    def holds(self, tokens: torch.Tensor) -> bool:
        """Whether tokens ``(B, N, C)`` are of the map's C and type."""
        return (tokens.shape[2], tokens.dtype) == (self.tensor.shape[3], self.tensor.dtype)


class FileRows(Rows):
    """A map in a file without a name, which disappears when the program ends, however it ends.

    Plain reads and writes: pages of a mapped file would count as memory of the program.

    Args:
        like: Tokens ``(B, N, C)`` whose type, device, B and C the map has.
        height: Rows of the map.
        width: Columns of the map.
        folder: Where the file is; None for the system's folder for temporary files.

    Raises:
        OSError: There is not enough space on the disk.
    """

    def __init__(self, like: torch.Tensor, height: int, width: int, folder: str | Path | None = None) -> None:
        super().__init__(like.shape[0], height, width)
        self.channels, self.dtype, self.device = like.shape[2], like.dtype, like.device
        self.row_bytes = width * self.channels * like.element_size()
        folder = str(folder or tempfile.gettempdir())
        size = self.batch * height * self.row_bytes
        # the file grows as it is written, so a full disk would show only in the middle of a run
        if shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, f'no space for a scratch file of {size / 2**30:.1f} GiB', folder)
        self.file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115
        # gives the space on the disk back as soon as no step reads the map any more
        weakref.finalize(self, self.file.close)

    def read(self, start: int, stop: int) -> torch.Tensor:
        tokens = torch.empty(self.batch, (stop - start) * self.width, self.channels, dtype=self.dtype)
        for i, image in enumerate(tokens):
            self._move(os.preadv, image, i, start)
        return tokens.to(self.device)

    def write(self, start: int, tokens: torch.Tensor) -> None:
        """Put tokens ``(B, N, C)`` of whole rows where row ``start`` begins."""
        for i, image in enumerate(tokens.cpu()):
            self._move(os.pwritev, image.contiguous(), i, start)

    def holds(self, tokens: torch.Tensor) -> bool:
        """Whether tokens ``(B, N, C)`` are of the map's C and type."""
        return (tokens.shape[2], tokens.dtype) == (self.channels, self.dtype)

    def _move(self, call: Callable[..., int], image: torch.Tensor, index: int, start: int) -> None:
        # bytes, and no copy: NumPy has no bfloat16
        data = memoryview(image.view(torch.uint8).numpy()).cast('B')
        at = (index * self.height + start) * self.row_bytes
        while data:
            # one call moves at most 2 GiB
            moved = call(self.file.fileno(), [data], at)
            if not moved:
                raise OSError(errno.EIO, 'a scratch file is shorter than what was written to it')
            data, at = data[moved:], at + moved


class Storage:
    """Keeps maps in memory as long as they fit, and the others in scratch files.

    Args:
        memory: Bytes of maps that may be in memory at once.
        folder: Where scratch files are; None for the system's folder for temporary files.

    Attributes:
        filed: Bytes of all maps that went to scratch files so far.
        held: Bytes of the maps that are in memory now.
    """

    def __init__(self, memory: float = math.inf, folder: str | Path | None = None) -> None:
        self.free, self.folder, self.filed, self.held = memory, folder, 0, 0

    def new(self, like: torch.Tensor, height: int, width: int) -> MemoryRows | FileRows:
        """A map without content, of the type, device, B and C of the tokens ``like``, ``(B, N, C)``."""
        shape = (like.shape[0], height, width, like.shape[2])
        size = math.prod(shape) * like.element_size()
        if size > self.free:
            self.filed += size
            return FileRows(like, height, width, self.folder)
        rows = MemoryRows(like.new_empty(shape))
        self.free, self.held = self.free - size, self.held + size
        # the memory counts as free again as soon as no step reads the map any more
        weakref.finalize(rows, self._give_back, size)
        return rows

    def _give_back(self, size: int) -> None:
        self.free, self.held = self.free + size, self.held - size
