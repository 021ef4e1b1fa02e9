"""k-means for a first codebook: Lloyd's iterations with fixed shapes, which compile and vmap."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax import core
from dgm_jax.core import Array, Key, at_least_float32, require
from dgm_jax.quantization import codebook_ema
from dgm_jax.quantization.nearest import nearest_code
from dgm_jax.quantization.padding import real_first, rows_mask, shuffled
from dgm_jax.quantization.vector import gather


class KMeans(NamedTuple):
    """A clustering of N vectors.

    Attributes:
        codebook: [K, D], the centers.
        codes: int32[*B], the nearest code of each vector.
        inertia: sum_i |z_i - codebook[codes_i]|^2.
    """

    codebook: Array
    codes: Array
    inertia: Array


def kmeans(
    key: Key,
    z: Array,
    num_codes: int,
    num_iterations: int = 10,
    *,
    start: str = "random",
    codebook: Array | None = None,
    mask: Array | None = None,
    **search: Any,
) -> KMeans:
    """Lloyd's algorithm: assign, move each code to the mean of its vectors, repeat.

    A cluster without vectors keeps its position. At least float32; no gradient passes. Run it once,
    before a training program.

    Args:
        key: a typed key.
        z: [*B, D], N vectors in all.
        num_codes: K, at most N.
        num_iterations: of Lloyd's algorithm.
        start: "random", K vectors of z without replacement, or "plus_plus", each next vector drawn
            with probability proportional to its squared distance from those already chosen (Arthur
            & Vassilvitskii 2007; K sequential steps).
        codebook: [K, D] to start from, in place of `start`.
        mask: bool[*B], False for padding: such vectors start no cluster and are not counted, and
            their codes are -1. If fewer others than codes are left, those start several.
        **search: options of `nearest_code`.

    Returns:
        The clustering.

    Raises:
        ConfigError: fewer vectors than codes, shapes that do not fit, or an unknown start.

    Example:
        >>> z = jnp.array([[0.0], [2.0], [10.0], [12.0]])
        >>> result = kmeans(jax.random.key(0), z, 2, codebook=jnp.array([[0.0], [9.0]]))
        >>> result.codebook.tolist(), result.inertia.item()
        ([[1.0], [11.0]], 4.0)
    """
    shape = jnp.shape(z)
    require(len(shape) >= 2, f"z must be [*B, D] with at least two axes; got {shape}")
    rows = lax.stop_gradient(jnp.asarray(z))
    rows = rows.reshape(-1, shape[-1])
    rows = at_least_float32(rows)
    kept = rows_mask(mask, shape)
    require(
        1 <= num_codes <= len(rows),
        f"num_codes must lie in [1, {len(rows)}], the number of vectors; got {num_codes}",
    )
    require(num_iterations >= 0, f"num_iterations must not be negative; got {num_iterations}")
    if codebook is None:
        choose = core.lookup(STARTS, start, "start of k-means")
        codebook = choose(key, rows, num_codes, kept)
    wanted = (num_codes, shape[-1])
    require(jnp.shape(codebook) == wanted, f"codebook must be {wanted}; got {jnp.shape(codebook)}")

    def assign(codebook: Array) -> Array:
        codes = nearest_code(rows, codebook, **search)
        if kept is None:
            return codes
        return jnp.where(kept, codes, -1)

    # A moving average without memory puts each code at the mean of its vectors.
    def iterate(_: Array, state: codebook_ema.CodebookState) -> codebook_ema.CodebookState:
        codes = assign(state.codebook)
        return codebook_ema.update(state, rows, codes, decay=0.0)

    state = lax.fori_loop(0, num_iterations, iterate, codebook_ema.init(codebook))
    centers = state.codebook
    codes = assign(centers)
    inertia = _inertia(rows, centers, codes, kept)
    return KMeans(centers, codes.reshape(shape[:-1]), inertia)


def _inertia(rows: Array, codebook: Array, codes: Array, kept: Array | None) -> Array:
    """Sum of squared distances to the codes, of the vectors that are not padding."""
    chosen = gather(codebook, jnp.maximum(codes, 0))
    squares = jnp.square(rows - chosen)
    if kept is not None:
        squares = jnp.where(kept[:, None], squares, 0)
    return jnp.sum(squares)


def _random(key: Key, rows: Array, num_codes: int, kept: Array | None) -> Array:
    order, num = shuffled(key, len(rows), kept)
    if kept is None:
        first = order[:num_codes]
    else:
        first = order[jnp.arange(num_codes) % num]
    return rows[first]


def _plus_plus(key: Key, rows: Array, num_codes: int, kept: Array | None) -> Array:
    key_first, key_next = jax.random.split(key)
    order, num = real_first(len(rows), kept)
    first_index = jax.random.randint(key_first, (), 0, num)
    first = rows[order[first_index]]
    last = order[num - 1]  # drawn where all squared distances are zero
    dtype = rows.dtype
    if kept is None:
        counted = jnp.ones(len(rows), dtype)
    else:
        counted = kept.astype(dtype)

    def squared_distances(row: Array) -> Array:
        differences = rows - row
        return jnp.sum(jnp.square(differences), axis=1)

    def choose(squares: Array, uniform: Array) -> tuple[Array, Array]:
        squares = squares * counted
        # Inversion of the cumulative distribution: row i with probability squares_i / sum.
        sums = jnp.cumsum(squares)
        threshold = uniform * sums[-1]
        index = jnp.searchsorted(sums, threshold, side="right")
        index = jnp.clip(index, 0, last)
        row = rows[index]
        squares = jnp.minimum(squares, squared_distances(row))
        return squares, row

    squares = squared_distances(first)
    uniforms = core.uniform(key_next, (num_codes - 1,), dtype)
    _, others = lax.scan(choose, squares, uniforms)
    return jnp.concatenate([first[None], others])


STARTS = {"random": _random, "plus_plus": _plus_plus}
