"""Launch the kernels: tiles, splits of the tokens, strides, and the sum over splits."""

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import triton
import triton.language as tl

# Float32 is multiplied on the tensor cores as three products of TF32, which keeps about 22 of its 24 bits; 'ieee' keeps
# all and runs into the limit of arithmetic before that of memory, 'tf32' keeps 11.
FLOAT32_PRODUCTS = 'tf32x3'
# programs in flight that keep the memory bus of a multiprocessor busy
WAVES = 2
# the interpreter runs programs one after the other
INTERPRETED_PROCESSORS = 2


class Tile(NamedTuple):
    """Rows of tokens in a tile, warps of a program, and tiles on their way from memory."""

    rows: int
    warps: int
    stages: int


# By kernel and by the wider of the two head sizes, rounded up: for float32 operands, and for operands of 16 bits. They
# are what compiles, for compute capability 9.0, to loads that run ahead, no spilled registers and at most 99 KiB.
TILES: dict[str, dict[int, tuple[Tile, Tile]]] = {
    'write': {
        32: (Tile(32, 4, 3), Tile(64, 4, 4)),
        64: (Tile(32, 4, 3), Tile(64, 4, 3)),
        128: (Tile(16, 8, 2), Tile(32, 8, 3)),
    },
    'write_backward': {
        32: (Tile(32, 4, 2), Tile(64, 4, 3)),
        64: (Tile(16, 4, 1), Tile(32, 4, 3)),
        128: (Tile(16, 8, 1), Tile(16, 8, 2)),
    },
    'read': {
        32: (Tile(64, 4, 3), Tile(128, 4, 3)),
        64: (Tile(64, 4, 3), Tile(128, 4, 3)),
        128: (Tile(16, 8, 2), Tile(64, 8, 2)),
    },
    'read_backward': {
        32: (Tile(32, 4, 2), Tile(64, 4, 3)),
        64: (Tile(16, 4, 2), Tile(64, 4, 2)),
        128: (Tile(16, 8, 1), Tile(32, 8, 2)),
    },
}


class Plan(NamedTuple):
    """Programs for each pair of image and head, and the tokens of each program."""

    splits: int
    chunk: int


def plan(kernel: str, x: torch.Tensor, widths: tuple[int, int], *others: torch.Tensor) -> tuple[Plan, dict]:
    """Split the tokens of ``x``, ``(B, N, heads, d)``, among programs, and choose how products are made.

    Enough programs to fill the device, and none with fewer than two tiles where there are more: each writes a state.
    bfloat16 is multiplied as it is. float16 is as TF32, which keeps its bits and has the range that products need.

    Args:
        kernel: Which of :data:`TILES`.
        x: What the kernel reads.
        widths: The two head sizes.
        others: What it reads besides.

    Returns:
        The plan, and the kernel's constants that follow from it.
    """
    batch, tokens, heads, _ = x.shape
    types = {tensor.dtype for tensor in (x, *others)}
    narrow = types == {torch.bfloat16}
    width = max(32, *(block(size) for size in widths))
    tile = TILES[kernel][width][narrow]
    processors = INTERPRETED_PROCESSORS
    if x.is_cuda:
        processors = torch.cuda.get_device_properties(x.device).multi_processor_count
    splits = _splits(batch * heads, WAVES * processors, most=-(-tokens // (2 * tile.rows)))
    chunk = 16 * -(-tokens // (16 * splits))
    operand, precision = tl.bfloat16 if narrow else tl.float32, 'tf32'
    if width > 64 and not narrow:
        # the parts of larger float32 operands do not fit
        precision = 'ieee'
    elif torch.float32 in types:
        precision = FLOAT32_PRODUCTS
    constants = {
        'KEYS': widths[0],
        'VALUES': widths[1],
        'BK': block(widths[0]),
        'BV': block(widths[1]),
        'ROWS': tile.rows,
        'STAGES': tile.stages,
        'OPERAND': operand,
        # the interpreter cannot multiply bfloat16
        'DOT': operand if x.is_cuda else tl.float32,
        'PRECISION': precision,
        'num_warps': tile.warps,
    }
    return Plan(-(-tokens // chunk), chunk), constants


def _splits(pairs: int, places: int, most: int) -> int:
    """The fewest splits that leave few of the places empty in the last round of programs."""

    def share(splits: int) -> float:
        programs = pairs * splits
        return programs / (-(-programs // places) * places)

    fewest = min(max(1, places // pairs), most)
    choices = range(fewest, min(fewest + 8, most) + 1)
    return next((splits for splits in choices if share(splits) >= 0.9), max(choices, key=share))


def block(size: int) -> int:
    """Channels of a tile that holds ``size`` of them; products take at least 16."""
    return max(16, triton.next_power_of_2(size))


def strided(x: torch.Tensor) -> tuple[torch.Tensor, int, int, int]:
    """``(B, N, heads, d)`` as a kernel takes it: the tensor, its channels side by side, and its other three strides."""
    if x.stride(-1) != 1 and x.shape[-1] > 1:
        x = x.contiguous()
    # a stride over a single item may be any number; 0 is the same number for all sizes of image
    return x, *(0 if size == 1 else stride for size, stride in zip(x.shape[:3], x.stride()))


def on_device(x: torch.Tensor) -> AbstractContextManager:
    """Triton launches on the current device."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


class Partials:
    """States of the splits, ``(splits, B * heads, ...)``, and their sum.

    Args:
        splits: Their number.
        like: Gives the device.
        shape: ``(B, heads, d_k, d_v)``.
    """

    def __init__(self, splits: int, like: torch.Tensor, shape: tuple[int, int, int, int]) -> None:
        self.splits = splits
        many = (splits, *shape)
        self.kv = like.new_empty(many, dtype=torch.float32)
        self.key = like.new_empty(many[:-1], dtype=torch.float32)

    def sum(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``(B, heads, d_k, d_v)`` and ``(B, heads, d_k)``, added in the order of the splits."""
        if self.splits == 1:
            return self.kv[0], self.key[0]
        kv, key = torch.empty_like(self.kv[0]), torch.empty_like(self.key[0])
        items, lanes = (32, 128) if kv.is_cuda else (4096, 4)
        grid = (-(-kv.numel() // items) + -(-key.numel() // items),)
        with on_device(kv):
            add_splits[grid](
                self.kv, self.key, kv, key, self.splits, kv.numel(), key.numel(), ITEMS=items, LANES=lanes, num_warps=4
            )
        return kv, key


@triton.jit(do_not_specialize=['splits'])
def add_splits(kv_parts, key_parts, kv, key, splits, kv_size, key_size, ITEMS: tl.constexpr, LANES: tl.constexpr):
    program = tl.program_id(0)
    kv_programs = (kv_size + ITEMS - 1) // ITEMS
    # the first programs add the maps, the rest the keys
    parts, out, size, item = kv_parts, kv, kv_size, program
    if program >= kv_programs:
        parts, out, size, item = key_parts, key, key_size, program - kv_programs
    items = item * ITEMS + tl.arange(0, ITEMS)
    lanes = tl.arange(0, LANES)
    total = tl.zeros((LANES, ITEMS), tl.float32)
    for first in range(0, splits, LANES):
        split = (first + lanes).to(tl.int64)
        mask = (split[:, None] < splits) & (items[None, :] < size)
        total += tl.load(parts + split[:, None] * size + items[None, :], mask=mask, other=0.0)
    tl.store(out + items, tl.sum(total, 0), mask=items < size)
