"""Operations of the kernels on a tile of tokens ``(rows, channels)`` in float32: load, map, gate, store."""

import triton
import triton.language as tl

# Codes that the kernels are compiled for. A gate that is not there has code 0.
MAPS = {'identity': 0, 'relu': 1, 'elu+1': 2}
GATES = {'identity': 1, 'sigmoid': 2}


@triton.jit
def load_tile(first, stride, rows, channels, left, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Rows of ``WIDTH`` channels behind ``first``, of which ``left`` are there; zeros elsewhere."""
    mask = rows[:, None] < left
    if WIDTH < BLOCK:
        mask = mask & (channels[None, :] < WIDTH)
    return tl.load(first + rows[:, None] * stride + channels[None, :], mask=mask, other=0.0).to(tl.float32)


@triton.jit
def store_tile(first, stride, rows, channels, left, tile, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """The reverse of :func:`load_tile`."""
    mask = rows[:, None] < left
    if WIDTH < BLOCK:
        mask = mask & (channels[None, :] < WIDTH)
    tl.store(first + rows[:, None] * stride + channels[None, :], tile.to(first.dtype.element_ty), mask=mask)


@triton.jit
def load_map(first, keys, values, KEYS: tl.constexpr, VALUES: tl.constexpr):
    """A state's ``KEYS x VALUES`` map, which is contiguous."""
    mask = (keys[:, None] < KEYS) & (values[None, :] < VALUES)
    return tl.load(first + keys[:, None] * VALUES + values[None, :], mask=mask, other=0.0)


@triton.jit
def store_map(first, keys, values, tile, KEYS: tl.constexpr, VALUES: tl.constexpr):
    """The reverse of :func:`load_map`."""
    mask = (keys[:, None] < KEYS) & (values[None, :] < VALUES)
    tl.store(first + keys[:, None] * VALUES + values[None, :], tile, mask=mask)


@triton.jit
def mapped(x, MAP: tl.constexpr):
    """The feature map; NaN stays NaN."""
    if MAP == 1:
        x = tl.where(x < 0, 0.0, x)
    if MAP == 2:
        x = tl.where(x > 0, x + 1, tl.exp(x))
    return x


@triton.jit
def map_slope(x, grad, MAP: tl.constexpr):
    """Gradient of what is stored, from the mapped ``x`` and its gradient."""
    if MAP == 1:
        grad = tl.where(x > 0, grad, 0.0)
    if MAP == 2:
        # below 0 the map is its own derivative
        grad = grad * tl.minimum(x, 1.0)
    return grad


@triton.jit
def gate_of(x, GATE: tl.constexpr):
    """The gate of what is stored: itself, or its sigmoid."""
    if GATE == 2:
        x = 1.0 / (1.0 + tl.exp(-x))
    return x


@triton.jit
def gate_slope(gate, grad, GATE: tl.constexpr):
    """Gradient of what is stored, from the gate and its gradient."""
    if GATE == 2:
        grad = grad * gate * (1.0 - gate)
    return grad


@triton.jit
def product(left, right, total, OPERAND: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """``total + left right``: operands rounded to ``OPERAND``, multiplied as ``DOT``, summed in float32."""
    return tl.dot(left.to(OPERAND).to(DOT), right.to(OPERAND).to(DOT), total, input_precision=PRECISION)
