"""A number of each channel at all positions of images, and sums over the positions.

XLA's CPU backend sums over all axes but the last number by number, on one thread: the gradient of a
bias and the statistics of batch norm took a sixth of an image GAN's step. A product with ones for
each image, then the sum over images, is the same sum in another order. On two cores with AVX-512 it
is 7 to 14 times as fast, with a smaller error, since partial sums are smaller
(benchmarks/README.md). Other platforms use XLA's own sum.

`spread` and `total` are linear and each other's transpose, so that the gradient of one is the
other, to any order.
"""

import math

import jax
import jax.extend
import jax.numpy as jnp
from jax.interpreters import ad, batching, mlir
from jax.typing import DTypeLike

from dgm_jax.core import Array

total_p = jax.extend.core.Primitive("dgm_jax_total")
spread_p = jax.extend.core.Primitive("dgm_jax_spread")


def spread(values: Array, shape: tuple[int, ...]) -> Array:
    """Repeat the number of each channel at all positions.

    Args:
        values: [C].
        shape: (*B, C).

    Returns:
        [*B, C].
    """
    return spread_p.bind(values, positions=tuple(shape[:-1]))


def total(x: Array) -> Array:
    """Sum over all positions, for each channel.

    Args:
        x: floating [*B, C].

    Returns:
        [C].
    """
    return total_p.bind(x, lanes=0)


def mean(x: Array) -> Array:
    """Compute the mean over all positions, for each channel.

    Args:
        x: floating [*B, C].

    Returns:
        [C].
    """
    return total(x) / math.prod(x.shape[:-1])


# With the leading axes *L that `vmap` adds: total_p maps [*L, *B, C] to [*L, C], spread_p back.


@total_p.def_abstract_eval
def _total_shape(x, *, lanes):
    return x.update(shape=(*x.shape[:lanes], x.shape[-1]), weak_type=False)


@spread_p.def_abstract_eval
def _spread_shape(values, *, positions):
    *lanes, channels = values.shape
    return values.update(shape=(*lanes, *positions, channels), weak_type=False)


def _sum(x: Array, *, lanes: int) -> Array:
    return jnp.sum(x, tuple(range(lanes, x.ndim - 1)))


def _sum_by_products(x: Array, *, lanes: int) -> Array:
    """The sums over the positions of an image by products, then over images."""
    if x.ndim - lanes < 3 or x.size == 0:
        return _sum(x, lanes=lanes)
    images = x.shape[: lanes + 1]
    positions = math.prod(x.shape[lanes + 1 : -1])
    x = x.reshape(*images, positions, x.shape[-1])
    ones = jnp.broadcast_to(_unknown_ones(positions, x.dtype), (*images, positions))
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    sums = jnp.einsum("...mn,...m->...n", x, ones, preferred_element_type=dtype)
    return jnp.sum(sums, lanes).astype(x.dtype)


def _unknown_ones(number: int, dtype: DTypeLike) -> Array:
    """Ones that XLA does not know to be such: it would make a sum of the product again."""
    return jax.lax.optimization_barrier(jnp.ones((number,), dtype))


def _repeat(values: Array, *, positions: tuple[int, ...]) -> Array:
    *lanes, channels = values.shape
    values = values.reshape(*lanes, *(1 for _ in positions), channels)
    return jnp.broadcast_to(values, (*lanes, *positions, channels))


total_p.def_impl(jax.jit(_sum_by_products, static_argnames="lanes"))
spread_p.def_impl(_repeat)
mlir.register_lowering(total_p, mlir.lower_fun(_sum, multiple_results=False))
mlir.register_lowering(
    total_p, mlir.lower_fun(_sum_by_products, multiple_results=False), platform="cpu"
)
mlir.register_lowering(spread_p, mlir.lower_fun(_repeat, multiple_results=False))


def _transpose_total(cotangent, x, *, lanes):
    return [spread_p.bind(cotangent, positions=tuple(x.aval.shape[lanes:-1]))]


def _transpose_spread(cotangent, values, *, positions):
    del positions
    return [total_p.bind(cotangent, lanes=values.aval.ndim - 1)]


def _batch_total(operands, axes, *, lanes):
    return total_p.bind(jnp.moveaxis(operands[0], axes[0], 0), lanes=lanes + 1), 0


def _batch_spread(operands, axes, *, positions):
    return spread_p.bind(jnp.moveaxis(operands[0], axes[0], 0), positions=positions), 0


ad.deflinear2(total_p, _transpose_total)
ad.deflinear2(spread_p, _transpose_spread)
batching.primitive_batchers[total_p] = _batch_total
batching.primitive_batchers[spread_p] = _batch_spread
