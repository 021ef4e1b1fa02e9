"""Quantizers with several codebooks: residual levels, and parts of a vector."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax import core
from dgm_jax.core import Array, Key, Quantized, Quantizer, at_least_float32, require
from dgm_jax.quantization.clustering import kmeans
from dgm_jax.quantization.codebooks import Codebooks, by_level, either, require_sizes
from dgm_jax.quantization.padding import rows_mask
from dgm_jax.quantization.product import multi_head_lookup, multi_head_quantize
from dgm_jax.quantization.residual import residual_lookup, residual_quantize
from dgm_jax.quantization.vector import GRADIENTS, gather, unit


def residual_quantizer(
    num_codes: int,
    width: int,
    num_levels: int,
    *,
    decay: Array | float | None = 0.99,
    threshold: float = 0.05,
    gradient: str = "straight_through",
    start: str = "normal",
    **search: Any,
) -> Quantizer:
    """L codebooks; each level quantizes what the levels before it left over.

    Args:
        num_codes: K, of every level.
        width: D.
        num_levels: L.
        decay: of the moving average, in [0, 1]; None trains the codebooks by the codebook loss
            (then threshold has no effect).
        threshold: of revival, as in `moving_average_quantizer`.
        gradient: how d loss / d quantized reaches z, a name of `GRADIENTS`.
        start: "normal" or "kmeans".
        **search: options of `nearest_code`.

    Returns:
        The quantizer, with codebooks [L, K, D] and codes and losses [*B, L].

    Raises:
        ConfigError: a size below 1, a known decay outside [0, 1], a negative threshold, or an
            unknown name.

    Example:
        >>> quantizer = residual_quantizer(8, 2, num_levels=3)
        >>> quantizer.init(jax.random.key(0))[1].codebook.shape
        (3, 8, 2)
    """
    require_sizes(num_codes=num_codes, width=width, num_levels=num_levels)
    core.lookup(GRADIENTS, gradient, "gradient of a quantizer")

    def followed(
        z: Array,
        books: Array,
        codes: Array,
    ) -> Array:
        # Level l follows the residuals that it was given: z without the codes of the levels before.
        chosen = jax.vmap(gather)(books, by_level(codes))
        rows = z.reshape(-1, width).astype(chosen.dtype)
        return lax.scan(lambda residual, values: (residual - values, residual), rows, chosen)[1]

    def cluster(key: Key, z: Array, mask: Array | None) -> Array:
        kept = rows_mask(mask, z.shape)

        def level(residual: Array, key: Key) -> tuple[Array, Array]:
            book, codes, _ = kmeans(key, residual, num_codes, mask=kept, **search)
            return residual - gather(book, jnp.maximum(codes, 0)), book

        rows = at_least_float32(z.reshape(-1, width))
        return lax.scan(level, rows, jax.random.split(key, num_levels))[1]

    books = Codebooks(
        width=width,
        shape=(num_levels, num_codes, width),
        quantize=lambda z, books: residual_quantize(z, books, gradient=gradient, **search),
        lookup=residual_lookup,
        followed=followed,
        cluster=cluster,
    )
    return either(books, decay, threshold, start)


def product_quantizer(
    num_codes: int,
    width: int,
    num_heads: int,
    *,
    decay: Array | float | None = 0.99,
    threshold: float = 0.05,
    gradient: str = "straight_through",
    cosine: bool = False,
    start: str = "normal",
    **search: Any,
) -> Quantizer:
    """The vector in L parts of width D / L, each with a codebook of its own.

    Args:
        num_codes: K, of every part.
        width: D.
        num_heads: L, a divisor of D.
        decay: of the moving average, in [0, 1]; None trains the codebooks by the codebook loss
            (then threshold has no effect).
        threshold: of revival, as in `moving_average_quantizer`.
        gradient: how d loss / d quantized reaches z, a name of `GRADIENTS`.
        cosine: use parts of unit length; needs `decay=None`.
        start: "normal" or "kmeans".
        **search: options of `nearest_code`.

    Returns:
        The quantizer, with codebooks [L, K, D / L] and codes and losses [*B, L].

    Raises:
        ConfigError: sizes that do not fit, a known decay outside [0, 1], a negative threshold,
            cosine codes with a moving average, or an unknown name.

    Example:
        >>> quantizer = product_quantizer(8, 4, num_heads=2)
        >>> quantizer.init(jax.random.key(0))[1].codebook.shape
        (2, 8, 2)
    """
    require_sizes(num_codes=num_codes, width=width, num_heads=num_heads)
    core.lookup(GRADIENTS, gradient, "gradient of a quantizer")
    require(width % num_heads == 0, f"width must be a multiple of {num_heads} heads, got {width}")
    require(
        not cosine or decay is None,
        "cosine codes need codebooks trained by the codebook loss (decay=None): the mean of unit"
        " vectors is not of unit length",
    )

    def quantize(z: Array, books: Array) -> Quantized:
        return multi_head_quantize(z, books, gradient=gradient, cosine=cosine, **search)

    def cluster(key: Key, z: Array, mask: Array | None) -> Array:
        parts = unit(_heads(z, num_heads), cosine)
        return _cluster(key, parts, num_codes, rows_mask(mask, z.shape), search)

    books = Codebooks(
        width=width,
        shape=(num_heads, num_codes, width // num_heads),
        quantize=quantize,
        lookup=lambda books, codes: multi_head_lookup(unit(books, cosine), codes),
        followed=lambda z, books, codes: _heads(z, num_heads),
        cluster=cluster,
    )
    return either(books, decay, threshold, start)


def _heads(z: Array, num_heads: int) -> Array:
    """[H, N, D / H] of z [*B, D]."""
    return jnp.moveaxis(z.reshape(-1, num_heads, z.shape[-1] // num_heads), 1, 0)


def _cluster(
    key: Key,
    parts: Array,
    num_codes: int,
    kept: Array | None,
    search: dict[str, Any],
) -> Array:
    """Codebooks [H, K, d] by k-means of each of parts [H, N, d]; kept is bool[N] or None."""

    def head(key_and_part: tuple[Key, Array]) -> Array:
        key, part = key_and_part
        return kmeans(key, part, num_codes, mask=kept, **search).codebook

    return lax.map(head, (jax.random.split(key, len(parts)), parts))
