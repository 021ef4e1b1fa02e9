"""Codebooks as a `core.Quantizer`: trained by gradient, or by moving averages.

`quantizers` says which codebooks there are and how each is used; this module says how they move.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax import core
from dgm_jax.core import (
    Array,
    ConfigError,
    Key,
    Metrics,
    PyTree,
    Quantized,
    Quantizer,
    checks,
    require,
)
from dgm_jax.quantization import codebook_ema
from dgm_jax.quantization.padding import rows_mask

STARTS = ("normal", "kmeans")


class Codebooks(NamedTuple):
    """How codebooks of one shape are used, independent of how they are trained.

    Attributes:
        width: D of the vectors.
        shape: (K, D), or (L, K, d) for L codebooks.
        quantize: `(z, books) -> Quantized`.
        lookup: `(books, codes) -> [*B, D]`.
        followed: `(z, books, codes) -> [L, N, d]`, the vectors that each codebook represents; for
            one codebook z itself.
        cluster: `(key, z, mask) -> books` by k-means; mask is bool[*B], False for padding, or None.
    """

    width: int
    shape: tuple[int, ...]
    quantize: Callable[[Array, Array], Quantized]
    lookup: Callable[[Array, Array], Array]
    followed: Callable[[Array, Array, Array], Array]
    cluster: Callable[[Key, Array, Array | None], Array]


def trained(books: Codebooks, start: str) -> Quantizer:
    """A quantizer whose codebooks are parameters.

    Args:
        books: the codebooks.
        start: "normal" or "kmeans".

    Returns:
        A quantizer without state.

    Raises:
        ConfigError: an unknown start.
    """
    _require_start(start)
    return Quantizer(
        width=books.width,
        num_codes=books.shape[-2],
        code_shape=books.shape[:-2],
        init=lambda key, z=None, *, mask=None: (_first(books, start, key, z, mask), {}),
        quantize=lambda params, state, z: books.quantize(z, params),
        lookup=lambda params, state, codes: books.lookup(params, codes),
        update=unchanged,
    )


def averaged(
    books: Codebooks,
    decay: Array | float,
    threshold: float,
    start: str,
) -> Quantizer:
    """A quantizer whose codebooks are moving averages, one `CodebookState` for all levels.

    Args:
        books: the codebooks.
        decay: of the moving average, in [0, 1].
        threshold: codes with fewer vectors a batch, on average, are revived; 0 for never.
        start: "normal" or "kmeans".

    Returns:
        A quantizer without parameters.

    Raises:
        ConfigError: an unknown start, or a known number out of range.
    """
    _require_start(start)
    checks.share(decay, "decay")
    checks.not_negative(threshold, "threshold")
    move = functools.partial(_move, decay=decay, threshold=threshold)
    return Quantizer(
        width=books.width,
        num_codes=books.shape[-2],
        code_shape=books.shape[:-2],
        init=functools.partial(_init_averages, books, threshold, start),
        quantize=functools.partial(_quantize_by_averages, books),
        lookup=lambda params, state, codes: books.lookup(state.codebook, codes),
        update=functools.partial(_update_averages, books, threshold, move),
    )


def _init_averages(
    books: Codebooks,
    threshold: float,
    start: str,
    key: Key,
    z: Array | None = None,
    *,
    mask: Array | None = None,
) -> tuple[PyTree, PyTree]:
    """The `init` of codebooks that are moving averages."""
    # At the threshold of revival: a code that the first batch does not use is moved at once to one
    # of its vectors.
    begin = lambda book: codebook_ema.init(book, count=threshold or 1.0)
    first = _first(books, start, key, z, mask)
    return {}, jax.vmap(begin)(first) if books.shape[:-2] else begin(first)


def _quantize_by_averages(
    books: Codebooks, params: PyTree, state: codebook_ema.CodebookState, z: Array
) -> Quantized:
    """The `quantize` of codebooks that are moving averages: no gradient moves them."""
    del params
    quantized = books.quantize(z, state.codebook)
    return quantized._replace(codebook_loss=jnp.zeros_like(quantized.codebook_loss))


def _update_averages(
    books: Codebooks,
    threshold: float,
    move: Callable[..., tuple[codebook_ema.CodebookState, Array]],
    key: Key,
    state: codebook_ema.CodebookState,
    z: Array,
    quantized: Quantized,
    *,
    mask: Array | None = None,
) -> tuple[PyTree, Metrics]:
    """The `update` of codebooks that are moving averages; `move` is a step of one codebook."""
    z, codes = lax.stop_gradient((z, quantized.codes))
    kept = rows_mask(mask, jnp.shape(z))
    vectors = books.followed(z, state.codebook, codes)
    levels = books.shape[:-2]
    if levels:
        keys = jax.random.split(key, levels[0])
        moves = jax.vmap(move, in_axes=(0, 0, 0, 0, None))
        state, dead = moves(keys, state, vectors, by_level(codes), kept)
    else:
        rows = vectors.reshape(-1, vectors.shape[-1])
        state, dead = move(key, state, rows, codes.reshape(-1), kept)
    if threshold == 0:
        return state, {}
    return state, {"revived": jnp.sum(dead).astype(state.counts.dtype)}


def _move(
    key: Key,
    state: codebook_ema.CodebookState,
    z: Array,
    codes: Array,
    kept: Array | None,
    *,
    decay: Array | float,
    threshold: float,
) -> tuple[codebook_ema.CodebookState, Array]:
    """One step of the moving average, with revival; also returns how many codes were dead.

    kept is bool[N], False for padding among z [N, D] and codes [N], or None.
    """
    if kept is not None:
        codes = jnp.where(kept, codes, -1)
    state = codebook_ema.update(state, z, codes, decay)
    dead = jnp.sum(state.counts < threshold)
    if threshold == 0:
        return state, dead
    if kept is not None:
        dead = jnp.where(jnp.any(kept), dead, 0)
    return codebook_ema.revive(key, state, z, threshold, mask=kept), dead


def _first(
    books: Codebooks,
    start: str,
    key: Key,
    z: Array | None,
    mask: Array | None,
) -> Array:
    """The codebooks before any training."""
    if start == "normal":
        return core.normal(key, books.shape)
    if z is None:
        raise ConfigError("a codebook that starts by k-means needs vectors: init(key, z)")
    require(z.shape[-1:] == (books.width,), f"z must be [*B, {books.width}], got {z.shape}")
    return books.cluster(key, z, mask)


def by_level(codes: Array) -> Array:
    """Codes with the level as the first axis.

    Args:
        codes: [*B, L].

    Returns:
        [L, N], where N is the product of *B.
    """
    return jnp.moveaxis(codes.reshape(-1, codes.shape[-1]), -1, 0)


def unchanged(
    key: Key,
    state: PyTree,
    z: Array,
    quantized: Quantized,
    *,
    mask: Array | None = None,
) -> tuple[PyTree, Metrics]:
    """The `update` of a quantizer whose state, if any, stays as it is.

    Args:
        key: not used, as all of these but `state`.
        state: of the quantizer.
        z: vectors.
        quantized: what they became.
        mask: which vectors count.

    Returns:
        The same state, and no metrics.
    """
    del key, z, quantized, mask
    return state, {}


def _require_start(start: str) -> None:
    require(start in STARTS, f"start of a codebook must be one of {list(STARTS)}, got {start!r}")


def either(
    books: Codebooks,
    decay: Array | float | None,
    threshold: float,
    start: str,
) -> Quantizer:
    """Codebooks that follow a moving average, or, without a decay, are trained by gradient.

    Args:
        books: shape and lookup of the codebooks.
        decay: of the moving average; None for training by gradient.
        threshold: the count below which a code is dead and restarted.
        start: how the codebooks start, one of `STARTS`.

    Returns:
        The quantizer.
    """
    if decay is None:
        return trained(books, start)
    return averaged(books, decay, threshold, start)


def require_sizes(**sizes: int) -> None:
    """`ConfigError` unless all sizes, given by name, are at least 1."""
    for name, size in sizes.items():
        require(size >= 1, f"{name} of a quantizer must be at least 1, got {size}")
