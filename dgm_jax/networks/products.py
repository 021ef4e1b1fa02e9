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
import operator
from functools import partial, reduce
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from dgm_jax.core import Array


class Shifts(NamedTuple):
    """Static description of a stack of shifts along one axis: S[t, i] = x[s i + d_t], zero outside
    x."""

    offsets: tuple[int, ...]  # d_t
    stride: int
    size: int  # of x along the axis
    length: int  # range of i


class _Side(NamedTuple):
    """One spatial axis of one product: taps of the kernel, where x is read, where results go."""

    taps: slice  # of the kernel axis
    reads: Shifts  # of x, one per tap on the input side; one residue of the axis on the output side
    writes: Shifts  # of the output, such that output = its transpose applied to the results


def _window(x: Array, offset: int, stride: int, length: int, axis: int) -> Array:
    """x[stride i + offset] for i < length along an axis, zero where that is outside."""
    size = x.shape[axis]
    start = max(0, -(offset // stride))
    stop = min(length, (size - 1 - offset) // stride + 1)

    def zeros(n):
        return jnp.zeros(x.shape[:axis] + (n,) + x.shape[axis + 1 :], x.dtype)

    if start >= stop:
        return zeros(length)
    first = stride * start + offset
    inner = jax.lax.slice_in_dim(x, first, first + stride * (stop - start - 1) + 1, stride, axis)
    pieces = [zeros(start)] * (start > 0) + [inner] + [zeros(length - stop)] * (stop < length)
    return pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces, axis)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def stack_shifts(x: Array, shifts: Shifts, axis: int) -> Array:
    """[..., size, ...] -> [T, ..., length, ...]: shifted copies of x along an axis."""
    return jnp.stack(
        [_window(x, offset, shifts.stride, shifts.length, axis) for offset in shifts.offsets]
    )


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def sum_shifts(z: Array, shifts: Shifts, axis: int) -> Array:
    """[T, ..., length, ...] -> [..., size, ...], the transpose of `stack_shifts`: add each copy
    where it was read."""
    stride, length = shifts.stride, -(-shifts.size // shifts.stride)
    residues = []
    for residue in range(stride):
        terms = [
            _window(z[t], (residue - offset) // stride, 1, length, axis)
            for t, offset in enumerate(shifts.offsets)
            if (residue - offset) % stride == 0
        ]
        zero = jnp.zeros(z.shape[1 : axis + 1] + (length,) + z.shape[axis + 2 :], z.dtype)
        residues.append(sum(terms[1:], terms[0]) if terms else zero)
    if stride == 1:
        return residues[0]
    spread = jnp.stack(residues, axis + 1).reshape(
        z.shape[1 : axis + 1] + (stride * length,) + z.shape[axis + 2 :]
    )
    return jax.lax.slice_in_dim(spread, 0, shifts.size, axis=axis)


stack_shifts.defvjp(
    lambda x, shifts, axis: (stack_shifts(x, shifts, axis), None),
    lambda s, axis, _, d: (sum_shifts(d, s, axis),),
)
sum_shifts.defvjp(
    lambda z, shifts, axis: (sum_shifts(z, shifts, axis), None),
    lambda s, axis, _, d: (stack_shifts(d, s, axis),),
)


def _stack_image(x: Array, rows: Shifts, columns: Shifts) -> Array:
    """[C, H, W, B] -> [Tx Ty C, h w B]."""
    # custom_vjp hides the type
    stacked = cast(Array, stack_shifts(stack_shifts(x, rows, 1), columns, 3))
    return stacked.reshape(-1, rows.length * columns.length * x.shape[-1])


def _sum_image(z: Array, rows: Shifts, columns: Shifts, batch: int) -> Array:
    """[Tx Ty C, h w B] -> [C, H, W, B], the transpose of `_stack_image`."""
    z = z.reshape(len(columns.offsets), len(rows.offsets), -1, rows.length, columns.length, batch)
    return sum_shifts(sum_shifts(z, columns, 3), rows, 1)


@jax.custom_vjp
def product(w: Array, x: Array) -> Array:
    """The matrix product [N, K] x [K, M] for long M, with a backward pass that XLA's CPU runs
    fast."""
    return w @ x


def _product_backward(operands, d):
    w, x = operands
    # The longer operand first, and a transposed weight in memory: both reach faster product
    # kernels.
    dw = (x @ d.T).T if x.shape[0] >= d.shape[0] else d @ x.T
    return dw, jax.lax.optimization_barrier(w.T) @ d


product.defvjp(lambda w, x: (product(w, x), (w, x)), _product_backward)


def _input_side(size, taps, stride, before, out):
    """All taps of an axis on the input side: one product for every row (column) of the output."""
    reads = Shifts(tuple(tap - before for tap in range(taps)), stride, size, out)
    return [_Side(slice(None), reads, Shifts((0,), 1, out, out))]


def _output_side(size, taps, stride, before, out):
    """All taps of an axis on the output side: one product for each residue of the input modulo the
    stride."""
    sides = []
    for residue in range(stride):
        first = (residue + before) % stride
        chosen = range(first, taps, stride)
        length = -(-(size - residue) // stride)
        if chosen and length > 0:
            # output[i] takes tap u of row s i + u - before = s (i + (u - before - residue) / s) +
            # residue
            writes = Shifts(
                tuple(-((tap - before - residue) // stride) for tap in chosen), 1, out, length
            )
            sides.append(
                _Side(slice(first, None, stride), Shifts((residue,), stride, size, length), writes)
            )
    return sides


def _plan(size, kernel_shape, stride, before, out) -> list[tuple[_Side, _Side]]:
    """The products of a convolution as pairs (row side, column side), on the sides that copy
    least."""
    height, width, inputs, outputs = kernel_shape
    # Numbers written for each position of the result: stacked inputs, and results to be summed.
    cost = {
        (_output_side, _input_side): stride * width * inputs + height * outputs,
        (_input_side, _input_side): height * width * inputs,
        (_output_side, _output_side): stride * stride * inputs + height * width * outputs,
    }
    rows, columns = min(cost, key=cost.__getitem__)
    return list(
        itertools.product(
            rows(size[0], height, stride, before[0], out[0]),
            columns(size[1], width, stride, before[1], out[1]),
        )
    )


def _matrix(w: Array, row: _Side, column: _Side) -> Array:
    """The taps of one product of a kernel [kh, kw, C, N] as a matrix [(writes, N), (reads, C)]."""
    w = w[row.taps, column.taps]
    rows, columns = ((len(side.writes.offsets), len(side.reads.offsets)) for side in (row, column))
    w = w.reshape(*rows, *columns, *w.shape[2:]).transpose(2, 0, 5, 3, 1, 4)
    return w.reshape(rows[0] * columns[0] * w.shape[2], -1)


def conv(x: Array, w: Array, stride: int, padding: tuple[tuple[int, int], ...]) -> Array:
    """Cross-correlation y[n, i, j, b] = sum_{u, v, c} w[u, v, c, n] x[c, s i + u - p, s j + v - q,
    b].

    x: [C, H, W, B]; w: [kh, kw, C, N]; padding: ((p, p_after), (q, q_after)). Returns [N, H', W',
        B].
    """
    size, batch = x.shape[1:3], x.shape[-1]
    out = tuple(
        (n + sum(p) - k) // stride + 1 for n, p, k in zip(size, padding, w.shape[:2], strict=True)
    )

    def result(row, column):
        found = product(_matrix(w, row, column), _stack_image(x, row.reads, column.reads))
        return _sum_image(found, row.writes, column.writes, batch)

    sides = _plan(size, w.shape, stride, (padding[0][0], padding[1][0]), out)
    return reduce(operator.add, itertools.starmap(result, sides))


def conv_adjoint(y: Array, w: Array, stride: int, padding: tuple, size: tuple[int, int]) -> Array:
    """The exact transpose of `conv` as a map of x: [N, H', W', B] -> [C, *size, B], with the same w
    [kh, kw, C, N].

    <conv(x, w), y> = <x, conv_adjoint(y, w)>; this is what other libraries call a transposed
    convolution.
    """

    def result(row, column):
        found = product(_matrix(w, row, column).T, _stack_image(y, row.writes, column.writes))
        return _sum_image(found, row.reads, column.reads, y.shape[-1])

    sides = _plan(size, w.shape, stride, (padding[0][0], padding[1][0]), y.shape[1:3])
    return reduce(operator.add, itertools.starmap(result, sides))
