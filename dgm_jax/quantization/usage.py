"""How much of a codebook is in use: exact counts, of a batch or of an epoch."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy

from dgm_jax.core import Array, DataError, at_least_float32, require


class CodebookUsage(NamedTuple):
    """How many codes of a codebook are used, and how evenly.

    Attributes:
        perplexity: exp of the entropy of the share of each code, in [1, num_used]; 0 where nothing
            was counted.
        num_used: int32, the number of codes that occur.
    """

    perplexity: Array
    num_used: Array


def codebook_usage(
    codes: Array,
    num_codes: int,
    code_shape: tuple[int, ...] = (),
) -> CodebookUsage:
    """Usage of a codebook by a set of codes.

    Bounded by the number of codes given: a batch of N < K vectors has perplexity at most N. For an
    epoch, add up `count_codes` and take `usage_of_counts`.

    Args:
        codes: integers [*B, *code_shape], pooled over *B. Codes outside [0, K), such as -1 for
            padding, are not counted.
        num_codes: K.
        code_shape: of a `core.Quantizer`; `(L,)` for L levels, each with a codebook of its own.

    Returns:
        The usage, [*code_shape] each.

    Raises:
        ConfigError: shapes that do not fit.
        DataError: codes that are not integers.

    Example:
        >>> usage = codebook_usage(jnp.array([0, 0, 3, 3]), 8)
        >>> print(f"{usage.perplexity:.1f} {usage.num_used}")
        2.0 2
    """
    shape = jnp.shape(codes)
    code_shape = tuple(code_shape)
    num_leading = len(shape) - len(code_shape)
    require(shape[num_leading:] == code_shape, f"codes must be [*B, *{code_shape}], got {shape}")
    num_levels = math.prod(code_shape)
    rows = jnp.reshape(codes, (-1, num_levels))
    count_levels = jax.vmap(lambda level: count_codes(level, num_codes), -1)
    counts = count_levels(rows)
    counts = counts.reshape(*code_shape, num_codes)
    return usage_of_counts(counts)


def count_codes(codes: Array, num_codes: int) -> Array:
    """How often each code occurs; counts of several batches add up, below 2^31 each.

    Args:
        codes: integers [*B]; those outside [0, K) are not counted.
        num_codes: K.

    Returns:
        int32[K].

    Raises:
        ConfigError: num_codes below 1.
        DataError: codes that are not integers.

    Example:
        >>> count_codes(jnp.array([0, 2, 2, -1]), 3).tolist()
        [1, 0, 2]
    """
    require(num_codes >= 1, f"num_codes must be at least 1; got {num_codes}")
    codes = jnp.asarray(codes)
    dtype = codes.dtype
    require(jnp.issubdtype(dtype, jnp.integer), f"codes must be integers; got {dtype}", DataError)
    wide = jnp.promote_types(dtype, jnp.int32)  # K need not fit the given type
    codes = codes.astype(wide)
    is_code = (codes >= 0) & (codes < num_codes)
    codes = jnp.where(is_code, codes, num_codes)
    codes = codes.reshape(-1)
    counts = jnp.zeros(num_codes, jnp.int32)
    return counts.at[codes].add(1, mode="drop")


def usage_of_counts(counts: Array) -> CodebookUsage:
    """Usage from counts.

    exp(-sum p log p) is computed as U exp(-sum p log(U p)) with U = num_used, which is exactly U
    for even use at any K; log(p + 1e-5), in public code, reports 40 % less at K = 2^16.

    Args:
        counts: [*B, K], integers or the averages of `codebook_ema`.

    Returns:
        The usage, [*B] each.

    Raises:
        ConfigError: no axis of codes.

    Example:
        >>> print(f"{usage_of_counts(jnp.array([5, 5, 0, 5])).perplexity:.1f}")
        3.0
    """
    counts = _require_counts(counts)
    is_used = counts > 0
    num_used = jnp.sum(is_used, axis=-1, dtype=jnp.int32)
    total = jnp.sum(counts, axis=-1, keepdims=True)
    total = jnp.where(total > 0, total, 1)
    # U p, with 1 for unused codes, since the derivative of 0 log 0 is NaN.
    relative = counts * num_used[..., None] / total
    relative = jnp.where(is_used, relative, 1)
    terms = xlogy(counts / total, relative)
    excess = jnp.sum(terms, axis=-1)
    perplexity = num_used * jnp.exp(-excess)
    return CodebookUsage(perplexity, num_used)


def miller_madow_perplexity(counts: Array) -> Array:
    """Perplexity exp(H + (U - 1) / (2 n)) with a first-order correction of the entropy's bias.

    Miller (1955). U of the K codes occur among n draws. The plain perplexity is too low on average
    by this factor while n is not much larger than K; the correction is poor for n < K.

    Args:
        counts: numbers of independent draws, [*B, K].

    Returns:
        [*B].

    Raises:
        ConfigError: no axis of codes.

    Example:
        >>> print(f"{miller_madow_perplexity(jnp.array([5, 5])):.4f}")  # 2 exp(1 / 20)
        2.1025
    """
    usage = usage_of_counts(counts)
    counts = _require_counts(counts)
    num_draws = jnp.sum(counts, axis=-1)
    correction = (usage.num_used - 1) / (2 * num_draws)
    return usage.perplexity * jnp.exp(correction)


def _require_counts(counts: Array) -> Array:
    shape = jnp.shape(counts)
    require(len(shape) >= 1 and shape[-1] >= 1, f"counts must be [*B, K] with K >= 1; got {shape}")
    counts = jnp.asarray(counts)
    return at_least_float32(counts)
