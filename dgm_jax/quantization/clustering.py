"""k-means for a first codebook: Lloyd's iterations with fixed shapes, which compile and vmap."""

from typing import NamedTuple

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
    """codebook [K, D]; codes int32[N], the nearest code of each vector; inertia, sum_i |z_i -
    codebook[codes_i]|^2."""

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
    **search,
) -> KMeans:
    """Lloyd's algorithm on z [*B, D] (N vectors in all): assign, move each code to the mean of its
    vectors, repeat.

    start: "random", K vectors of z without replacement, or "plus_plus", each next vector drawn with
        probability proportional to its squared distance from those already chosen (Arthur &
        Vassilvitskii 2007; K sequential steps).
    codebook: [K, D] to start from, in place of `start`.
    mask: bool[*B], False for vectors that only fill up: they start no cluster and count for
        nothing, their codes are -1. With fewer others than codes, those start several.
    search: options of `nearest_code`.

    A cluster without vectors keeps its place. At least float32; no gradient passes. Run it once,
    ahead of a training program. Raises `ConfigError` for fewer vectors than codes.
    """
    shape = jnp.shape(z)
    require(len(shape) >= 2, f"z must be [*B, D] with at least two axes; got {shape}")
    rows = lax.stop_gradient(jnp.asarray(z)).reshape(-1, shape[-1])
    rows = at_least_float32(rows)
    kept = rows_mask(mask, shape)
    require(
        1 <= num_codes <= len(rows),
        f"num_codes must lie in [1, {len(rows)}], the number of vectors; got {num_codes}",
    )
    require(num_iterations >= 0, f"num_iterations must not be negative; got {num_iterations}")
    if codebook is None:
        codebook = core.lookup(STARTS, start, "start of k-means")(key, rows, num_codes, kept)
    wanted = num_codes, shape[-1]
    require(jnp.shape(codebook) == wanted, f"codebook must be {wanted}; got {jnp.shape(codebook)}")

    def assign(codebook):
        codes = nearest_code(rows, codebook, **search)
        return codes if kept is None else jnp.where(kept, codes, -1)

    def iterate(_, state):
        return codebook_ema.update(state, rows, assign(state.codebook), decay=0.0)

    centres = lax.fori_loop(0, num_iterations, iterate, codebook_ema.init(codebook)).codebook
    codes = assign(centres)
    squares = jnp.square(rows - gather(centres, jnp.maximum(codes, 0)))
    inertia = jnp.sum(squares if kept is None else jnp.where(kept[:, None], squares, 0))
    return KMeans(centres, codes.reshape(shape[:-1]), inertia)


def _random(key: Key, rows: Array, num_codes: int, kept: Array | None) -> Array:
    order, num = shuffled(key, len(rows), kept)
    return rows[order[:num_codes] if kept is None else order[jnp.arange(num_codes) % num]]


def _plus_plus(key: Key, rows: Array, num_codes: int, kept: Array | None) -> Array:
    key_first, key_next = jax.random.split(key)
    order, num = real_first(len(rows), kept)
    first = rows[order[jax.random.randint(key_first, (), 0, num)]]
    last = order[num - 1]  # where all squares are zero
    counted = jnp.ones(len(rows), rows.dtype) if kept is None else kept.astype(rows.dtype)

    def choose(squares, uniform):
        squares = squares * counted
        total = jnp.cumsum(squares)
        row = rows[jnp.clip(jnp.searchsorted(total, uniform * total[-1], side="right"), 0, last)]
        return jnp.minimum(squares, jnp.sum(jnp.square(rows - row), axis=1)), row

    squares = jnp.sum(jnp.square(rows - first), axis=1)
    _, others = lax.scan(choose, squares, core.uniform(key_next, (num_codes - 1,), rows.dtype))
    return jnp.concatenate([first[None], others])


STARTS = {"random": _random, "plus_plus": _plus_plus}
