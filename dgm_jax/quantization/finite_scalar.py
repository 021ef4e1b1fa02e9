"""Finite scalar quantisation (Mentzer et al. 2023, arXiv:2309.15505): each coordinate is rounded to
L_i levels.

Levels of section 4 of the paper: [8, 6, 5] for about 2^8 codes, [8, 5, 5, 5] for 2^10, [7, 5, 5, 5,
5] for 2^12, [8, 8, 8, 6, 5] for 2^14, [8, 8, 8, 5, 5, 5] for 2^16. There is no codebook to learn,
and no loss beside the reconstruction.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, at_least_float32, require
from dgm_jax.quantization.vector import check_codes
from dgm_jax.sampling import straight_through

# tanh is stretched by 1 + EPSILON so that the outermost levels are reached; 1 - EPSILON makes L = 2
# NaN.
EPSILON = 1e-3


class FiniteScalar(NamedTuple):
    """quantized [*B, d] in [-1, 1], with the gradient of `bound` / (L // 2); codes int32[*B] in [0,
    prod L)."""

    quantized: Array
    codes: Array


def finite_scalar_quantize(z: Array, levels: Sequence[int] | np.ndarray) -> FiniteScalar:
    """round(bound(z)) / (L // 2), straight through the rounding; z [*B, d], levels d integers of at
    least 2.

    The values of coordinate i are (j - L_i // 2) / (L_i // 2) for j = 0 .. L_i - 1. At least
    float32. Raises `ConfigError` for a width that differs from the levels, or more than 2^31 - 1
    codes.
    """
    levels = require_levels(levels)
    bounded = bound(z, levels)
    half = levels // 2
    whole = jnp.clip(jnp.round(bounded), -half, levels - 1 - half).astype(jnp.int32)
    scale = (1 / half).astype(bounded.dtype)
    values = whole.astype(bounded.dtype) * scale  # by way of integers, which have no -0
    return FiniteScalar(straight_through(values, bounded * scale), _pack(whole + half, levels))


def bound(z: Array, levels: Sequence[int] | np.ndarray) -> Array:
    """h tanh(z + s) - o, with h = (L - 1)(1 + epsilon) / 2, o = 1/2 for even L and 0 for odd, s =
    arctanh(o / h).

    Then bound(0) = 0 and rounding gives L values. The paper and its notebook print s = tan(o / h),
    for which bound(0) is not 0; the author's correction is arctanh. With L = 2 the two values meet
    at z = -s = -3.8.
    """
    levels = require_levels(levels)
    require(
        jnp.shape(z)[-1:] == levels.shape,
        f"z must be [*B, {len(levels)}], one coordinate a level; got {jnp.shape(z)}",
    )
    z = jnp.asarray(z)
    require(jnp.issubdtype(z.dtype, jnp.floating), f"z must be floating; got {z.dtype}")
    z = at_least_float32(z)
    height = (levels - 1) * (1 + EPSILON) / 2
    offset = np.where(levels % 2 == 0, 0.5, 0.0)
    shift = np.arctanh(offset / height)
    height, offset, shift = (x.astype(z.dtype) for x in (height, offset, shift))
    return cast(Array, height * jnp.tanh(z + shift) - offset)  # to numpy's stubs it is numpy's


def values_to_codes(quantized: Array, levels: Sequence[int] | np.ndarray) -> Array:
    """int32[*B] from values [*B, d] as `finite_scalar_quantize` gives them; the first coordinate
    runs fastest."""
    levels = require_levels(levels)
    require(
        jnp.shape(quantized)[-1:] == levels.shape,
        f"values must be [*B, {len(levels)}]; got {jnp.shape(quantized)}",
    )
    half = levels // 2
    quantized = jnp.asarray(quantized)
    quantized = at_least_float32(quantized)
    return _pack(
        jnp.round(quantized * half.astype(quantized.dtype)).astype(jnp.int32) + half, levels
    )


def codes_to_values(codes: Array, levels: Sequence[int] | np.ndarray, dtype=jnp.float32) -> Array:
    """[*B, d] from codes [*B], bit for bit what `finite_scalar_quantize` returned.

    Raises `DataError` for concrete codes outside [0, prod L); in a compiled program these give
    values of some code.
    """
    levels = require_levels(levels)
    check_codes(codes, math.prod(levels.tolist()))
    half = levels // 2
    digits = jnp.asarray(codes, jnp.int32)[..., None] // _places(levels) % levels
    return (digits - half).astype(dtype) * (1 / half).astype(dtype)


def _places(levels: np.ndarray) -> np.ndarray:
    return np.concatenate([[1], np.cumprod(levels[:-1], dtype=np.int64)]).astype(np.int32)


def _pack(digits: Array, levels: np.ndarray) -> Array:
    # In int32 throughout: bfloat16 merges codes from 256 on, float32 from 2^24.
    return jnp.sum(digits * _places(levels), axis=-1, dtype=jnp.int32)


def require_levels(levels: Sequence[int] | np.ndarray) -> np.ndarray:
    """int32[d]; `ConfigError` unless integers of at least 2 that make at most 2^31 - 1 codes."""
    found = np.asarray(levels)
    require(
        found.ndim == 1
        and found.size >= 1
        and np.issubdtype(found.dtype, np.integer)
        and bool((found >= 2).all()),
        f"levels must be integers of at least 2, one for each coordinate; got {levels}",
    )
    total = math.prod(found.tolist())
    require(total < 2**31, f"levels make {total} codes; codes are int32, so at most 2^31 - 1")
    return found.astype(np.int32)
