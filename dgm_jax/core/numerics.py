"""Floating types, and sums with little rounding."""

import itertools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from dgm_jax.core.types import Array

# Up to this many terms a product is one sum, beyond it a sum of several; see `product_parts`.
_WHOLE_SUM = 64


def float_type(*values: ArrayLike | DTypeLike) -> jnp.dtype:
    """The common floating type of values, at least float32.

    Args:
        *values: arrays, numbers or dtypes.

    Returns:
        The dtype to which JAX promotes them together with float32.

    Example:
        >>> core.float_type(jnp.ones(2, jnp.bfloat16), 1.0)
        dtype('float32')
    """
    return jnp.promote_types(jnp.result_type(*values), jnp.float32)


def at_least_float32(x: ArrayLike) -> Array:
    """Convert to an array of at least float32; wider floating types stay.

    Args:
        x: array or number.

    Returns:
        An array of the same shape.

    Example:
        >>> core.at_least_float32(jnp.ones(2, jnp.bfloat16)).dtype
        dtype('float32')
    """
    return jnp.asarray(x, float_type(x))


def widened(*values: ArrayLike) -> tuple[Array, ...]:
    """Convert values to their common floating type, at least float32.

    Args:
        *values: arrays or numbers.

    Returns:
        One array for each value, of unchanged shape.

    Example:
        >>> [x.dtype.name for x in core.widened(jnp.ones(2, jnp.float16), 1)]
        ['float32', 'float32']
    """
    dtype = float_type(*values)
    return tuple(jnp.asarray(value, dtype) for value in values)


@jax.custom_jvp
def exp_remainder(u: Array) -> Array:
    """e^u - 1 - u, elementwise, without cancellation near 0.

    Never negative. For |u| < 1/2 its series is summed; elsewhere the terms do not cancel. The
    derivative is expm1(u).

    Args:
        u: of any shape.

    Returns:
        Array of the same shape, in at least float32.

    Example:
        >>> print(f"{core.exp_remainder(jnp.float32(1e-4)):.4e}")  # about u^2 / 2
        5.0002e-09
    """
    u = at_least_float32(u)
    near = jnp.abs(u) < 0.5
    small = jnp.where(near, u, 0)
    # Horner's scheme for sum_{n >= 2} u^(n - 2) / n!, from the last term to the first; the 15th
    # is below float64's rounding for |u| < 1/2.
    series = jnp.zeros_like(u)
    for n in range(15, 1, -1):
        series = series * small + 1 / math.factorial(n)
    return jnp.where(near, series * jnp.square(small), jnp.expm1(u) - u)


@exp_remainder.defjvp
def _exp_remainder_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (u,) = primals
    (tangent,) = tangents
    return exp_remainder(u), jnp.expm1(at_least_float32(u)) * tangent


def compensated_add(
    total: Array,
    lost: Array,
    term: Array,
) -> tuple[Array, Array]:
    """One step of Kahan's compensated sum.

    Args:
        total: the sum so far.
        lost: what the last addition rounded away, 0 at first.
        term: what is added.

    Returns:
        The new total, and what this addition rounded away.

    Example:
        >>> total, lost = core.compensated_add(jnp.float32(1e8), jnp.float32(0), jnp.float32(1))
        >>> float(total), float(lost)  # the 1 is not lost: it is carried to the next addition
        (100000000.0, -1.0)
    """
    term = term - lost
    new = total + term
    return new, jnp.where(jnp.isfinite(new), (new - total) - term, 0)


def product_parts(num_terms: int) -> list[slice]:
    """Cut a long inner product into sums whose rounding errors stay small.

    A sequential sum of n terms of one sign is off by about sqrt(n) random roundings; m partial sums
    of n / m terms each by about sqrt(n / m) / sqrt(m) of them, which is sqrt(64) for every n at
    m = ceil(sqrt(n / 64)) (N. J. Higham and T. Mary 2019, "A new approach to probabilistic rounding
    error analysis"). So eight times the machine epsilon of the sum of all sizes bounds the error in
    whatever order a device sums a product, and the parts are few: 1 up to 64 terms, 4 at 784, 6 at
    2,048.

    Args:
        num_terms: n, at least 1.

    Returns:
        The slices, of similar length, in order.

    Example:
        >>> core.product_parts(128)
        [slice(0, 64, None), slice(64, 128, None)]
    """
    count = math.ceil(math.sqrt(num_terms / _WHOLE_SUM))
    borders = [num_terms * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(borders)]
