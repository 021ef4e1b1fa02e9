"""Sums, maxima and minima along one side of an array that are fast on CPU too.

XLA's CPU backend reduces number by number on one thread, and so gradients of biases, the statistics
of batch norm and softmax cost a good part of a step. The same sums as products with ones are 6 to
14 times as fast on two cores of an AMD EPYC with AVX-512 (`python -m benchmarks reductions`,
2026-11-30), with a smaller error, since partial sums are smaller. Maxima and minima are taken by
halves. Other platforms use XLA's own reductions.

A product needs its operands in memory. Use these where they are there anyway (after a convolution
or another product): behind a chain of elementwise operations XLA may compute the chain again for
each of its uses.

| function | value | its transpose |
| --- | --- | --- |
| `total` | [*B, C] -> [C], the sum over all positions | `spread` |
| `spread` | [C] -> [*B, C], the same at every position | `total` |
| `row_total` | [*B, C] -> [*B], the sum along the last axis | a broadcast |
| `cpu_barrier` | x | itself |

All four are linear, so forward and reverse mode work in any order.
"""

import math

import jax
import jax.extend
import jax.numpy as jnp
from jax.interpreters import ad, batching, mlir
from jax.typing import DTypeLike

from dgm_jax.core.types import Array

total_p = jax.extend.core.Primitive("dgm_jax_total")
spread_p = jax.extend.core.Primitive("dgm_jax_spread")
row_total_p = jax.extend.core.Primitive("dgm_jax_row_total")
cpu_barrier_p = jax.extend.core.Primitive("dgm_jax_cpu_barrier")

# Maxima and minima are compared elementwise down to so many numbers a row.
_FEW = 16
# Up to so many numbers a row XLA's CPU backend sums within the loop that makes them.
_SHORT = 32


def total(x: Array) -> Array:
    """Sum over all axes but the last.

    Args:
        x: floating [*B, C].

    Returns:
        [C].
    """
    return total_p.bind(x, lanes=0)


def spread(values: Array, shape: tuple[int, ...]) -> Array:
    """Repeat a number of each channel at all positions.

    Args:
        values: floating [C].
        shape: (*B, C).

    Returns:
        [*B, C].
    """
    return spread_p.bind(values, positions=tuple(shape[:-1]))


def channel_mean(x: Array) -> Array:
    """Compute the mean over all axes but the last.

    Args:
        x: floating [*B, C].

    Returns:
        [C].
    """
    return total(x) / math.prod(x.shape[:-1])


def row_total(x: Array) -> Array:
    """Sum along the last axis.

    Args:
        x: floating [*B, C].

    Returns:
        [*B].
    """
    return row_total_p.bind(x)


def cpu_barrier(x: Array) -> Array:
    """Return x, and its gradient, as arrays that XLA's CPU backend does not reshape.

    It merges a reshape into the sum after it, and sums over two axes more slowly than over the rows
    of a matrix (figures in benchmarks/README.md). On other platforms nothing is done.

    Args:
        x: floating.

    Returns:
        x.
    """
    return cpu_barrier_p.bind(x)


def row_max(x: Array) -> Array:
    """Find the maximum along the last axis.

    Args:
        x: [*B, C].

    Returns:
        [*B]; NaN for a row with a NaN.
    """
    halved = _halved(x, jnp.maximum)
    return jnp.max(halved, axis=-1)


def row_min(x: Array) -> Array:
    """Find the minimum along the last axis.

    Args:
        x: [*B, C].

    Returns:
        [*B]; NaN for a row with a NaN.
    """
    halved = _halved(x, jnp.minimum)
    return jnp.min(halved, axis=-1)


def softmax(x: Array) -> Array:
    """exp(x_i) / sum_j exp(x_j) along the last axis.

    Args:
        x: floating [*B, C]; -inf is a probability of 0, but not in all of a row.

    Returns:
        [*B, C].
    """
    top = jax.lax.stop_gradient(row_max(x))
    unnormalized = jnp.exp(x - top[..., None])
    totals = row_total(unnormalized)
    return unnormalized / totals[..., None]


def _halved(x: Array, better) -> Array:
    size = x.shape[-1]
    while size > _FEW and size % 2 == 0:
        size //= 2
        first = x[..., :size]
        second = x[..., size:]
        x = better(first, second)
    return x


# With the leading axes *L that `vmap` adds: total_p maps [*L, *B, C] to [*L, C], spread_p back.


@total_p.def_abstract_eval
def _total_shape(x, *, lanes):
    shape = (*x.shape[:lanes], x.shape[-1])
    return x.update(shape=shape, weak_type=False)


@spread_p.def_abstract_eval
def _spread_shape(values, *, positions):
    *lanes, channels = values.shape
    shape = (*lanes, *positions, channels)
    return values.update(shape=shape, weak_type=False)


@row_total_p.def_abstract_eval
def _row_total_shape(x):
    return x.update(shape=x.shape[:-1], weak_type=False)


@cpu_barrier_p.def_abstract_eval
def _cpu_barrier_shape(x):
    return x


def _sum(x: Array, *, lanes: int) -> Array:
    positions = range(lanes, x.ndim - 1)
    return jnp.sum(x, tuple(positions))


def _sum_by_products(x: Array, *, lanes: int) -> Array:
    """The sums over the positions of an image by products, then over images."""
    if x.ndim - lanes < 3 or x.size == 0:
        return _sum(x, lanes=lanes)
    images = x.shape[: lanes + 1]
    positions = x.shape[lanes + 1 : -1]
    num_positions = math.prod(positions)
    x = x.reshape(*images, num_positions, x.shape[-1])
    ones = _unknown_ones(num_positions, x.dtype)
    ones = jnp.broadcast_to(ones, (*images, num_positions))
    sums = jnp.einsum("...mn,...m->...n", x, ones, preferred_element_type=_wide(x))
    sums = jnp.sum(sums, lanes)
    return sums.astype(x.dtype)


def _row_sum(x: Array) -> Array:
    return jnp.sum(x, -1)


def _row_sum_by_products(x: Array) -> Array:
    if x.shape[-1] <= _SHORT:
        return _row_sum(x)
    ones = _unknown_ones(x.shape[-1], x.dtype)
    sums = jnp.einsum("...c,c->...", x, ones, preferred_element_type=_wide(x))
    return sums.astype(x.dtype)


def _wide(x: Array) -> DTypeLike:
    return jnp.promote_types(x.dtype, jnp.float32)


def _unknown_ones(number: int, dtype: DTypeLike) -> Array:
    """Ones that XLA does not know to be such: it would make a sum of the product again."""
    ones = jnp.ones((number,), dtype)
    return jax.lax.optimization_barrier(ones)


def _repeat(values: Array, *, positions: tuple[int, ...]) -> Array:
    *lanes, channels = values.shape
    one_position = (1,) * len(positions)
    values = values.reshape(*lanes, *one_position, channels)
    return jnp.broadcast_to(values, (*lanes, *positions, channels))


def _transpose_total(cotangent, x, *, lanes):
    positions = x.aval.shape[lanes:-1]
    return [spread_p.bind(cotangent, positions=tuple(positions))]


def _transpose_spread(cotangent, values, *, positions):
    del positions
    lanes = values.aval.ndim - 1
    return [total_p.bind(cotangent, lanes=lanes)]


def _transpose_row_total(cotangent, x):
    cotangent = cotangent[..., None]
    return [jnp.broadcast_to(cotangent, x.aval.shape)]


def _transpose_cpu_barrier(cotangent, x):
    del x
    return [cpu_barrier_p.bind(cotangent)]


def _batch_total(operands, axes, *, lanes):
    x = _with_lane_first(operands, axes)
    return total_p.bind(x, lanes=lanes + 1), 0


def _batch_spread(operands, axes, *, positions):
    values = _with_lane_first(operands, axes)
    return spread_p.bind(values, positions=positions), 0


def _batch_row_total(operands, axes):
    x = _with_lane_first(operands, axes)
    return row_total_p.bind(x), 0


def _batch_cpu_barrier(operands, axes):
    return cpu_barrier_p.bind(*operands), axes[0]


def _with_lane_first(operands, axes) -> Array:
    """The only operand, with the axis that `vmap` adds as its first."""
    (x,) = operands
    (axis,) = axes
    return jnp.moveaxis(x, axis, 0)


def _define(primitive, transpose, batch, elsewhere, on_cpu) -> None:
    """Registers the rules of a primitive."""
    primitive.def_impl(elsewhere)
    ad.deflinear2(primitive, transpose)
    batching.primitive_batchers[primitive] = batch
    lower = mlir.lower_fun(elsewhere, multiple_results=False)
    mlir.register_lowering(primitive, lower)
    lower_on_cpu = mlir.lower_fun(on_cpu, multiple_results=False)
    mlir.register_lowering(primitive, lower_on_cpu, platform="cpu")


_define(total_p, _transpose_total, _batch_total, _sum, _sum_by_products)
_define(spread_p, _transpose_spread, _batch_spread, _repeat, _repeat)
_define(row_total_p, _transpose_row_total, _batch_row_total, _row_sum, _row_sum_by_products)
_define(
    cpu_barrier_p,
    _transpose_cpu_barrier,
    _batch_cpu_barrier,
    lambda x: x,
    jax.lax.optimization_barrier,
)
