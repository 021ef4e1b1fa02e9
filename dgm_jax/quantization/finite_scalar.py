"""Finite scalar quantization: each coordinate is rounded to one of L_i levels.

Mentzer et al. 2023, arXiv:2309.15505. Levels of section 4 of the paper: [8, 6, 5] for about 2^8
codes, [8, 5, 5, 5] for 2^10, [7, 5, 5, 5, 5] for 2^12, [8, 8, 8, 6, 5] for 2^14,
[8, 8, 8, 5, 5, 5] for 2^16. There is no codebook to learn, and no loss besides the reconstruction.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from dgm_jax.core import Array, at_least_float32, require
from dgm_jax.quantization.vector import check_codes
from dgm_jax.sampling import straight_through

# tanh is stretched by 1 + EPSILON so that the outermost levels are reached; 1 - EPSILON would make
# L = 2 NaN.
EPSILON = 1e-3

Levels = Sequence[int] | np.ndarray


class FiniteScalar(NamedTuple):
    """Values and codes of a finite scalar quantizer.

    Attributes:
        quantized: [*B, d] in [-1, 1], with the gradient of `bound` / (L // 2).
        codes: int32[*B] in [0, prod L).
    """

    quantized: Array
    codes: Array


def finite_scalar_quantize(z: Array, levels: Levels) -> FiniteScalar:
    """round(bound(z)) / (L // 2), straight through the rounding.

    The values of coordinate i are (j - L_i // 2) / (L_i // 2) for j = 0 .. L_i - 1.

    Args:
        z: floating [*B, d].
        levels: d integers of at least 2.

    Returns:
        Values, at least float32, and codes.

    Raises:
        ConfigError: a width that differs from the levels, integer z, or more than 2^31 - 1 codes.

    Example:
        >>> result = finite_scalar_quantize(jnp.array([[0.1, -9.0]]), [3, 5])
        >>> result.quantized.tolist(), result.codes.tolist()  # 1 + 3 * 0
        ([[0.0, -1.0]], [1])
    """
    levels = require_levels(levels)
    bounded = bound(z, levels)
    dtype = bounded.dtype
    half = levels // 2
    rounded = jnp.round(bounded)
    whole = jnp.clip(rounded, -half, levels - 1 - half)
    whole = whole.astype(jnp.int32)
    scale = (1 / half).astype(dtype)
    values = whole.astype(dtype) * scale  # by way of integers, which have no -0
    quantized = straight_through(values, bounded * scale)
    codes = _pack(whole + half, levels)
    return FiniteScalar(quantized, codes)


def bound(z: Array, levels: Levels) -> Array:
    """h tanh(z + s) - o, which rounding maps to L values; bound(0) = 0.

    h = (L - 1)(1 + epsilon) / 2, o = 1/2 for even L and 0 for odd, s = arctanh(o / h). The paper
    and its notebook print s = tan(o / h), for which bound(0) is not 0; the author's correction is
    arctanh. With L = 2 the two values meet at z = -s = -3.8.

    Args:
        z: floating [*B, d].
        levels: d integers of at least 2.

    Returns:
        [*B, d], at least float32.

    Raises:
        ConfigError: a width that differs from the levels, or integer z.

    Example:
        >>> print(f"{finite_scalar.bound(jnp.array([99.0]), [3])[0]:.4f}")  # 1 + epsilon
        1.0010
    """
    levels = require_levels(levels)
    shape = jnp.shape(z)
    require(
        shape[-1:] == levels.shape,
        f"z must be [*B, {len(levels)}], one coordinate a level; got {shape}",
    )
    z = jnp.asarray(z)
    dtype = z.dtype
    require(jnp.issubdtype(dtype, jnp.floating), f"z must be floating; got {dtype}")
    z = at_least_float32(z)
    height = (levels - 1) * (1 + EPSILON) / 2
    is_even = levels % 2 == 0
    offset = np.where(is_even, 0.5, 0.0)
    shift = np.arctanh(offset / height)
    height = height.astype(z.dtype)
    offset = offset.astype(z.dtype)
    shift = shift.astype(z.dtype)
    bounded = height * jnp.tanh(z + shift) - offset
    return cast(Array, bounded)  # to NumPy's stubs it is NumPy's


def values_to_codes(quantized: Array, levels: Levels) -> Array:
    """Codes of values as `finite_scalar_quantize` returns them; the first coordinate runs fastest.

    Args:
        quantized: values [*B, d].
        levels: d integers of at least 2.

    Returns:
        int32[*B].

    Raises:
        ConfigError: a width that differs from the levels.

    Example:
        >>> finite_scalar.values_to_codes(jnp.array([0.0, -1.0]), [3, 5]).item()
        1
    """
    levels = require_levels(levels)
    shape = jnp.shape(quantized)
    require(shape[-1:] == levels.shape, f"values must be [*B, {len(levels)}]; got {shape}")
    half = levels // 2
    quantized = jnp.asarray(quantized)
    quantized = at_least_float32(quantized)
    scale = half.astype(quantized.dtype)
    whole = jnp.round(quantized * scale)
    whole = whole.astype(jnp.int32)
    return _pack(whole + half, levels)


def codes_to_values(
    codes: Array,
    levels: Levels,
    dtype: DTypeLike = jnp.float32,
) -> Array:
    """Values of codes, bit for bit what `finite_scalar_quantize` returned.

    Args:
        codes: integers [*B]. In a compiled program those outside [0, prod L) give the values of
            some other code.
        levels: d integers of at least 2.
        dtype: of the values.

    Returns:
        [*B, d].

    Raises:
        DataError: codes that are not integers, or concrete ones outside [0, prod L).

    Example:
        >>> finite_scalar.codes_to_values(jnp.array(1), [3, 5]).tolist()
        [0.0, -1.0]
    """
    levels = require_levels(levels)
    num_codes = math.prod(levels.tolist())
    check_codes(codes, num_codes)
    codes = jnp.asarray(codes, jnp.int32)
    quotients = codes[..., None] // _place_values(levels)
    digits = quotients % levels
    half = levels // 2
    whole = (digits - half).astype(dtype)
    scale = (1 / half).astype(dtype)
    return whole * scale


def _place_values(levels: np.ndarray) -> np.ndarray:
    """1, L_1, L_1 L_2, ...: what a step of each coordinate adds to the code."""
    products = np.cumprod(levels[:-1], dtype=np.int64)
    place_values = np.concatenate([[1], products])
    return place_values.astype(np.int32)


def _pack(digits: Array, levels: np.ndarray) -> Array:
    # In int32 throughout: bfloat16 merges codes from 256 on, float32 from 2^24.
    values = digits * _place_values(levels)
    return jnp.sum(values, axis=-1, dtype=jnp.int32)


def require_levels(levels: Levels) -> np.ndarray:
    """Check the levels of a finite scalar quantizer.

    Args:
        levels: d integers of at least 2.

    Returns:
        int32[d].

    Raises:
        ConfigError: other values, or more than 2^31 - 1 codes.

    Example:
        >>> finite_scalar.require_levels([8, 6, 5]).tolist()
        [8, 6, 5]
    """
    array = np.asarray(levels)
    has_integers = array.ndim == 1 and array.size >= 1 and np.issubdtype(array.dtype, np.integer)
    require(
        has_integers and bool((array >= 2).all()),
        f"levels must be integers of at least 2, one for each coordinate; got {levels}",
    )
    total = math.prod(array.tolist())
    require(total < 2**31, f"levels make {total} codes; codes are int32, so at most 2^31 - 1")
    return array.astype(np.int32)
