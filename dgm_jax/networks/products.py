"""Convolutions on CPU as shifted copies and matrix products, in the layout [C, H, W, B].

XLA's CPU convolutions are slow in their backward passes, more so inside `scan`, and
turn into grouped convolutions under `vmap` over kernels. Here a convolution is

    stack of shifted copies of x  ->  one matrix product  ->  sum of shifted results,

so it stays what it is inside a loop and under seeds. With the batch last, a shift moves
contiguous runs of B numbers and the reshape to a matrix is free.

Each spatial axis of the kernel is put on one of two sides. On the *input* side its taps
are stacked into the contracted dimension; on the *output* side the product yields a
result per tap, and these are shifted and added (for stride s one product per residue of
the row or column modulo s, so nothing is multiplied in vain). `_plan` picks the sides
that copy least.

Reverse mode only (custom_vjp), to any order; for forward mode use the "lax" backend of
`networks.convolution`.
"""

import itertools
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array


class _Shifts(NamedTuple):
    """Static description of a stack of shifts: S[t, c, i, j, b] = x[c, s i + dy_t, s j + dx_t, b], zero outside."""

    offsets: tuple[tuple[int, int], ...]  # (dy_t, dx_t)
    stride: int
    size: tuple[int, int]  # (H, W) of x
    grid: tuple[int, int]  # range of (i, j)


class _Side(NamedTuple):
    """One spatial axis of one product: taps of the kernel, where x is read, where results go."""

    taps: slice  # of the kernel axis
    reads: tuple[int, ...]  # input side: offset per tap; output side: the residue
    shifts: tuple[int, ...]  # output[i] takes result[i + shift]
    length: int  # rows (columns) of the product


def _window(x: Array, offset: int, stride: int, length: int, axis: int) -> Array:
    """x[stride i + offset] for i < length along an axis, zero where that is outside."""
    size = x.shape[axis]
    start = max(0, -(offset // stride))
    stop = min(length, (size - 1 - offset) // stride + 1)
    if start >= stop:
        return jnp.zeros(x.shape[:axis] + (length,) + x.shape[axis + 1 :], x.dtype)
    first = stride * start + offset
    inner = jax.lax.slice_in_dim(x, first, first + stride * (stop - start - 1) + 1, stride, axis)
    zeros = [jnp.zeros(x.shape[:axis] + (n,) + x.shape[axis + 1 :], x.dtype) for n in (start, length - stop)]
    pieces = [piece for piece in (zeros[0], inner, zeros[1]) if piece.shape[axis]]
    return pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces, axis)


def _shift(x: Array, offsets: tuple[int, int], stride: int, grid: tuple[int, int]) -> Array:
    return _window(_window(x, offsets[0], stride, grid[0], 1), offsets[1], stride, grid[1], 2)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def stack_shifts(x: Array, shifts: _Shifts) -> Array:
    """[C, H, W, B] -> [T, C, h, w, B], the shifted copies of x."""
    return jnp.stack([_shift(x, offset, shifts.stride, shifts.grid) for offset in shifts.offsets])


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def sum_shifts(z: Array, shifts: _Shifts) -> Array:
    """[T, C, h, w, B] -> [C, H, W, B], the transpose of `stack_shifts`: add each slice where it was read."""
    stride, (height, width) = shifts.stride, shifts.size
    rows = [_sum_residue(z, shifts, row, column) for row, column in itertools.product(range(stride), repeat=2)]
    if stride == 1:
        return rows[0]
    channels, h, w, batch = rows[0].shape
    spread = jnp.stack(rows).reshape(stride, stride, channels, h, w, batch).transpose(2, 3, 0, 4, 1, 5)
    return spread.reshape(channels, stride * h, stride * w, batch)[:, :height, :width]


def _sum_residue(z, shifts, row, column):
    """The rows and columns of the sum that are congruent to (row, column) modulo the stride."""
    stride = shifts.stride
    grid = tuple(-(-n // stride) for n in shifts.size)
    terms = [
        _shift(z[t], ((row - dy) // stride, (column - dx) // stride), 1, grid)
        for t, (dy, dx) in enumerate(shifts.offsets)
        if (row - dy) % stride == 0 and (column - dx) % stride == 0
    ]
    return sum(terms[1:], terms[0]) if terms else jnp.zeros((z.shape[1], *grid, z.shape[-1]), z.dtype)


stack_shifts.defvjp(lambda x, shifts: (stack_shifts(x, shifts), None), lambda s, _, d: (sum_shifts(d, s),))
sum_shifts.defvjp(lambda z, shifts: (sum_shifts(z, shifts), None), lambda s, _, d: (stack_shifts(d, s),))


@jax.custom_vjp
def product(w: Array, x: Array) -> Array:
    """The matrix product [N, K] x [K, M] for long M, with a backward pass that XLA's CPU runs fast."""
    return w @ x


def _product_backward(operands, d):
    w, x = operands
    # The longer operand first, and a transposed weight in memory: both reach faster product kernels.
    dw = (x @ d.T).T if x.shape[0] >= d.shape[0] else d @ x.T
    return dw, jax.lax.optimization_barrier(w.T) @ d


product.defvjp(lambda w, x: (product(w, x), (w, x)), _product_backward)


def _input_side(size, taps, stride, before, out):
    return [_Side(slice(None), tuple(tap - before for tap in range(taps)), (0,), out)]


def _output_side(size, taps, stride, before, out):
    sides = []
    for residue in range(stride):
        first = (residue + before) % stride
        chosen = range(first, taps, stride)
        length = -(-(size - residue) // stride)
        if chosen and length > 0:
            shifts = tuple((tap - before - residue) // stride for tap in chosen)
            sides.append(_Side(slice(first, None, stride), (residue,), shifts, length))
    return sides


def _plan(size, kernel_shape, stride, padding, out):
    """The products of a convolution as pairs (row side, column side), on the sides that copy least."""
    height, width, inputs, outputs = kernel_shape
    # Numbers written for each position of the result: stacked inputs, and results to be summed.
    cost = {
        (_input_side, _input_side): height * width * inputs,
        (_output_side, _input_side): stride * width * inputs + height * outputs,
        (_output_side, _output_side): stride * stride * inputs + height * width * outputs,
    }
    rows, columns = min(cost, key=cost.get)
    return list(
        itertools.product(
            rows(size[0], height, stride, padding[0], out[0]), columns(size[1], width, stride, padding[1], out[1])
        )
    )


def _matrix(w: Array, row: _Side, column: _Side) -> Array:
    """The taps of one product of a kernel [kh, kw, C, N] as a matrix [(shifts, N), (reads, C)]."""
    w = w[row.taps, column.taps]
    inputs, outputs = w.shape[2:]
    w = w.reshape(len(row.shifts), len(row.reads), len(column.shifts), len(column.reads), inputs, outputs)
    w = w.transpose(0, 2, 5, 1, 3, 4)
    return w.reshape(len(row.shifts) * len(column.shifts) * outputs, -1)


def _steps(row: _Side, column: _Side, stride, size, out):
    """What one product reads and what becomes of its result, as two stacks of shifts."""
    grid = (row.length, column.length)
    reads = _Shifts(tuple(itertools.product(row.reads, column.reads)), stride, size, grid)
    shifts = tuple((-dy, -dx) for dy, dx in itertools.product(row.shifts, column.shifts))
    return reads, _Shifts(shifts, 1, out, grid)


def conv(x: Array, w: Array, stride: int, padding: tuple[tuple[int, int], tuple[int, int]]) -> Array:
    """Cross-correlation y[n, i, j, b] = sum_{u, v, c} w[u, v, c, n] x[c, s i + u - p, s j + v - q, b].

    x: [C, H, W, B]; w: [kh, kw, C, N]; padding: ((p, p_after), (q, q_after)). Returns [N, H', W', B].
    """
    outputs, batch = w.shape[-1], x.shape[-1]
    out = tuple((n + sum(p) - k) // stride + 1 for n, p, k in zip(x.shape[1:3], padding, w.shape))
    before = (padding[0][0], padding[1][0])
    total = None
    for row, column in _plan(x.shape[1:3], w.shape, stride, before, out):
        reads, writes = _steps(row, column, stride, x.shape[1:3], out)
        stacked = stack_shifts(x, reads).reshape(-1, row.length * column.length * batch)
        result = product(_matrix(w, row, column), stacked)
        result = sum_shifts(result.reshape(len(writes.offsets), outputs, *writes.grid, batch), writes)
        total = result if total is None else total + result
    return total


def conv_adjoint(y: Array, w: Array, stride: int, padding: tuple, size: tuple[int, int]) -> Array:
    """The exact transpose of `conv` as a map of x: [N, H', W', B] -> [C, *size, B], with the same w [kh, kw, C, N].

    <conv(x, w), y> = <x, conv_adjoint(y, w)>; this is what other libraries call a transposed convolution.
    """
    inputs, batch, out = w.shape[2], y.shape[-1], y.shape[1:3]
    before = (padding[0][0], padding[1][0])
    total = None
    for row, column in _plan(size, w.shape, stride, before, out):
        reads, writes = _steps(row, column, stride, size, out)
        stacked = stack_shifts(y, writes).reshape(-1, row.length * column.length * batch)
        result = product(_matrix(w, row, column).T, stacked)
        result = sum_shifts(result.reshape(len(reads.offsets), inputs, *reads.grid, batch), reads)
        total = result if total is None else total + result
    return total
