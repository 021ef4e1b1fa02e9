"""A codebook that follows the running mean of the vectors assigned to each code (van den Oord et
al. 2017, A.1).

Quantise first, then update. The state is (codebook, counts); the sum that other code carries beside
them is codebook * counts by definition, so it cannot fall out of step at initialisation or revival.
Fixed shapes and no host synchronisation: all of it scans and vmaps. Statistics come from the arrays
given and nothing else; where a batch is spread over programs, add up `statistics` across them and
`apply` the sum.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Key, checks, float_type, require
from dgm_jax.quantization.padding import rows_mask, shuffled


class CodebookState(NamedTuple):
    """codebook [K, D]; counts [K], the moving average of the number of vectors a batch assigns to
    each code."""

    codebook: Array
    counts: Array


class CodebookStatistics(NamedTuple):
    """Of one batch: counts n_k [K], and offsets sum_{i: c_i = k} (z_i - e_k) [K, D] from the code
    as it stood."""

    counts: Array
    offsets: Array


def init(codebook: Array, *, count: float = 1.0) -> CodebookState:
    """The state of codebook [K, D], as if each code stood for `count` vectors. At least float32."""
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
    state: CodebookState, z: Array, codes: Array, decay: Array | float = 0.99
) -> CodebookState:
    """One step of the moving average; z [*B, D], codes [*B].

        N_k <- decay N_k + (1 - decay) n_k,
        e_k <- e_k + (1 - decay) sum_{i: c_i = k} (z_i - e_k) / N_k,

    which is m_k <- decay m_k + (1 - decay) sum z_i, e_k = m_k / N_k with m_k = e_k N_k, without its
    cancellation far from the origin. A code that the batch does not use keeps its place bit for bit
    and its count decays; there is nothing for Laplace smoothing to cure. Codes outside [0, K), such
    as -1 for padding, count for nothing.

    decay: in [0, 1], a number or a traced scalar; 0 puts each used code at the mean of its vectors
        (a k-means step).
    No gradient passes. Raises `ConfigError` for shapes that do not fit.
    """
    return apply(state, statistics(state, z, codes), decay)


def statistics(state: CodebookState, z: Array, codes: Array) -> CodebookStatistics:
    """Of z [*B, D] with codes [*B]: segment sums, O(N D), no one-hot. Sums over parts of a batch
    add up."""
    num_codes, dim = state.codebook.shape
    require(
        jnp.shape(z)[-1:] == (dim,) and jnp.shape(z)[:-1] == jnp.shape(codes),
        f"z must be [*B, {dim}] and codes [*B]; got {jnp.shape(z)} and {jnp.shape(codes)}",
    )
    codebook, counts = lax.stop_gradient(state)
    z, codes = lax.stop_gradient((jnp.asarray(z, codebook.dtype), jnp.asarray(codes)))
    z, codes = z.reshape(-1, dim), codes.reshape(-1)
    codes = codes.astype(jnp.promote_types(codes.dtype, jnp.int32))  # K need not fit the given type
    codes = jnp.where((codes >= 0) & (codes < num_codes), codes, num_codes)
    offsets = z - jnp.take(codebook, codes, axis=0, mode="clip")
    return CodebookStatistics(
        counts=jnp.zeros_like(counts).at[codes].add(1, mode="drop"),
        offsets=jnp.zeros_like(codebook).at[codes].add(offsets, mode="drop"),
    )


def apply(
    state: CodebookState, batch: CodebookStatistics, decay: Array | float = 0.99
) -> CodebookState:
    """The step of `update` from the statistics of a batch."""
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
    """Codes whose count is below `threshold` put on random vectors of z [*B, D], all others left
    bit for bit.

    The vectors are drawn without replacement (with more dead codes than vectors they repeat). A
    revived code starts with the count max(threshold, 1), as fresh as one of `init`, so it is not
    dead at once. The number revived is sum(state.counts < threshold). Costs a permutation of the N
    vectors each call, whether a code is dead or not: under vmap a `lax.cond` around it saves
    nothing. Dhariwal et al. (2020), Jukebox, section 3.2 ("random restarts").

    mask: bool[*B], False for vectors that only fill up a batch: the result is that of the others
        alone, bit for bit, and where all do, none is revived.
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
    fresh = rows[order[(jnp.cumsum(dead) - 1) % num]]
    if kept is not None:
        dead &= jnp.any(kept)
    return CodebookState(
        codebook=jnp.where(dead[:, None], fresh, codebook),
        counts=jnp.where(dead, jnp.maximum(jnp.asarray(threshold, counts.dtype), 1), counts),
    )
