"""A codebook that follows the moving average of the vectors assigned to each code.

van den Oord et al. 2017, A.1. Quantize first, then update. The state is (codebook, counts); the sum
that other code carries as well is codebook * counts by definition, so it cannot get out of step at
initialization or revival. Fixed shapes and no host synchronization: all of it works under scan and
vmap. Statistics come from the given arrays only; where a batch is spread over programs, add up
`statistics` across them and `apply` the sum.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Key, checks, float_type, require
from dgm_jax.quantization.padding import rows_mask, shuffled


class CodebookState(NamedTuple):
    """A codebook that follows its vectors.

    Attributes:
        codebook: [K, D].
        counts: [K], the moving average of the number of vectors a batch assigns to each code.
    """

    codebook: Array
    counts: Array


class CodebookStatistics(NamedTuple):
    """What an update needs of one batch.

    Attributes:
        counts: n_k, [K].
        offsets: sum_{i: c_i = k} (z_i - e_k), [K, D], from the code before the update.
    """

    counts: Array
    offsets: Array


def init(codebook: Array, *, count: float = 1.0) -> CodebookState:
    """The initial state, as if each code had been assigned `count` vectors.

    Args:
        codebook: [K, D].
        count: positive.

    Returns:
        The state, at least float32.

    Raises:
        ConfigError: another shape, or a known count that is not positive.

    Example:
        >>> codebook_ema.init(jnp.zeros((2, 1))).counts.tolist()
        [1.0, 1.0]
    """
    shape = jnp.shape(codebook)
    require(
        len(shape) == 2 and min(shape) >= 1,
        f"codebook must be [K, D] with K >= 1 and D >= 1; got {shape}",
    )
    checks.positive(count, "count")
    codebook = jnp.asarray(codebook)
    dtype = float_type(codebook.dtype)
    return CodebookState(codebook.astype(dtype), jnp.full(shape[:1], count, dtype))


def update(
    state: CodebookState,
    z: Array,
    codes: Array,
    decay: Array | float = 0.99,
) -> CodebookState:
    """One step of the moving average.

        N_k <- decay N_k + (1 - decay) n_k,
        e_k <- e_k + (1 - decay) sum_{i: c_i = k} (z_i - e_k) / N_k,

    which is m_k <- decay m_k + (1 - decay) sum z_i, e_k = m_k / N_k with m_k = e_k N_k, without its
    cancellation far from the origin. A code that the batch does not use stays the same bit for bit
    and its count decays, so Laplace smoothing is not needed. No gradient passes.

    Args:
        state: before the update.
        z: [*B, D].
        codes: integers [*B]; those outside [0, K), such as -1 for padding, are not counted.
        decay: in [0, 1], a number or a traced scalar; 0 puts each used code at the mean of its
            vectors (a k-means step).

    Returns:
        The new state.

    Raises:
        ConfigError: shapes that do not fit, or a known decay out of range.

    Example:
        >>> state = codebook_ema.init(jnp.zeros((1, 1)))
        >>> z = jnp.array([[1.0], [3.0]])
        >>> codebook_ema.update(state, z, jnp.array([0, 0]), decay=0.0).codebook.tolist()
        [[2.0]]
    """
    return apply(state, statistics(state, z, codes), decay)


def statistics(
    state: CodebookState,
    z: Array,
    codes: Array,
) -> CodebookStatistics:
    """What `update` needs of a batch; the sums of parts of a batch add up.

    Segment sums, O(N D), without a one-hot matrix.

    Args:
        state: before the update.
        z: [*B, D].
        codes: integers [*B].

    Returns:
        The statistics.

    Raises:
        ConfigError: shapes that do not fit.

    Example:
        >>> state = codebook_ema.init(jnp.ones((1, 1)))
        >>> z = jnp.array([[1.0], [3.0]])
        >>> codebook_ema.statistics(state, z, jnp.array([0, 0])).offsets.tolist()
        [[2.0]]
    """
    num_codes, dim = state.codebook.shape
    require(
        jnp.shape(z)[-1:] == (dim,) and jnp.shape(z)[:-1] == jnp.shape(codes),
        f"z must be [*B, {dim}] and codes [*B]; got {jnp.shape(z)} and {jnp.shape(codes)}",
    )
    codebook, counts = lax.stop_gradient(state)
    z, codes = lax.stop_gradient((jnp.asarray(z, codebook.dtype), jnp.asarray(codes)))
    z = z.reshape(-1, dim)
    codes = codes.reshape(-1)
    codes = codes.astype(jnp.promote_types(codes.dtype, jnp.int32))  # K need not fit the given type
    codes = jnp.where((codes >= 0) & (codes < num_codes), codes, num_codes)
    offsets = z - jnp.take(codebook, codes, axis=0, mode="clip")
    return CodebookStatistics(
        counts=jnp.zeros_like(counts).at[codes].add(1, mode="drop"),
        offsets=jnp.zeros_like(codebook).at[codes].add(offsets, mode="drop"),
    )


def apply(
    state: CodebookState,
    batch: CodebookStatistics,
    decay: Array | float = 0.99,
) -> CodebookState:
    """The step of `update` from the statistics of a batch.

    Args:
        state: before the update.
        batch: its statistics.
        decay: in [0, 1].

    Returns:
        The new state.

    Raises:
        ConfigError: a known decay out of range.

    Example:
        >>> state = codebook_ema.init(jnp.zeros((1, 1)))
        >>> batch = codebook_ema.CodebookStatistics(jnp.array([2.0]), jnp.array([[4.0]]))
        >>> codebook_ema.apply(state, batch, decay=0.0).codebook.tolist()
        [[2.0]]
    """
    checks.share(decay, "decay")
    codebook, counts = lax.stop_gradient(state)
    decay = jnp.asarray(decay, counts.dtype)
    counts = decay * counts + (1 - decay) * batch.counts
    moves = ((batch.counts > 0) & (counts > 0))[:, None]
    step = (1 - decay) * batch.offsets / jnp.where(moves, counts[:, None], 1)
    return CodebookState(jnp.where(moves, codebook + step, codebook), counts)


def revive(
    key: Key,
    state: CodebookState,
    z: Array,
    threshold: Array | float,
    *,
    mask: Array | None = None,
) -> CodebookState:
    """Move codes whose count is below a threshold to random vectors; leave the others bit for bit.

    The vectors are drawn without replacement (with more dead codes than vectors they repeat). A
    revived code starts with the count max(threshold, 1), like one of `init`, so it is not dead at
    once. The number revived is sum(state.counts < threshold). Costs a permutation of the N vectors
    each call, whether a code is dead or not: under vmap a `lax.cond` around it saves nothing.
    Dhariwal et al. (2020), Jukebox, section 3.2 ("random restarts").

    Args:
        key: a typed key.
        state: before the revival.
        z: [*B, D].
        threshold: in vectors a batch.
        mask: bool[*B], False for padding: the result is that of the other vectors alone, bit for
            bit, and if all are padding, no code is revived.

    Returns:
        The new state.

    Raises:
        ConfigError: no vectors, or shapes that do not fit.

    Example:
        >>> state = codebook_ema.CodebookState(jnp.zeros((2, 1)), jnp.array([5.0, 0.0]))
        >>> codebook_ema.revive(jax.random.key(0), state, jnp.ones((3, 1)), 0.5).codebook.tolist()
        [[0.0], [1.0]]
    """
    num_codes, dim = state.codebook.shape
    shape = jnp.shape(z)
    require(
        len(shape) >= 2 and shape[-1] == dim and 0 not in shape,
        f"z must be [*B, {dim}], not empty; got {shape}",
    )
    kept = rows_mask(mask, shape)
    codebook, counts = lax.stop_gradient(state)
    rows = lax.stop_gradient(jnp.asarray(z, codebook.dtype)).reshape(-1, dim)
    dead = counts < threshold
    order, num = shuffled(key, len(rows), kept)
    # The i-th dead code takes the i-th vector of the random order.
    fresh = rows[order[(jnp.cumsum(dead) - 1) % num]]
    if kept is not None:
        dead &= jnp.any(kept)
    return CodebookState(
        codebook=jnp.where(dead[:, None], fresh, codebook),
        counts=jnp.where(dead, jnp.maximum(jnp.asarray(threshold, counts.dtype), 1), counts),
    )
