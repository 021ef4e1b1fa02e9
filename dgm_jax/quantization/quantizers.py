"""The functions of this package behind one contract, `core.Quantizer`, and a registry of them.

    moving_average  one codebook that follows the mean of its vectors (van den Oord et al. 2017,
                    A.1)
    codebook_loss   one codebook trained by gradient (the same, eq. 3), also for cosine codes
    finite_scalar   each coordinate rounded, no codebook (Mentzer et al. 2023)
    residual        L codebooks, each on what those before it left over (Zeghidour et al. 2021)
    product         the vector in L parts, each with a codebook of its own (Jegou et al. 2011)

A codebook starts with standard normal rows, or, with `start="kmeans"`, at the centers of the
vectors given to `init(key, z)`, such as the encoder's output for a first batch: `vqvae` takes the
images, a `networks.Quantize` layer uses the input of its `init`.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dgm_jax import core
from dgm_jax.core import Array, Key, PyTree, Quantized, Quantizer, at_least_float32, require
from dgm_jax.quantization.clustering import kmeans
from dgm_jax.quantization.codebooks import Codebooks, averaged, by_level, trained, unchanged
from dgm_jax.quantization.finite_scalar import (
    codes_to_values,
    finite_scalar_quantize,
    require_levels,
)
from dgm_jax.quantization.product import multi_head_lookup, multi_head_quantize
from dgm_jax.quantization.residual import residual_lookup, residual_quantize
from dgm_jax.quantization.vector import (
    GRADIENTS,
    gather,
    l2_normalize,
    vector_lookup,
    vector_quantize,
)


def moving_average_quantizer(
    num_codes: int,
    width: int,
    *,
    decay: Array | float = 0.99,
    threshold: float = 0.05,
    gradient: str = "straight_through",
    start: str = "normal",
    **search: Any,
) -> Quantizer:
    """One codebook that follows the moving average of its vectors (`codebook_ema`).

    Args:
        num_codes: K.
        width: D.
        decay: of the moving average, in [0, 1]; may be traced.
        threshold: codes with fewer vectors a batch, on average, are moved to random vectors of the
            batch (metric `revived`, how many); 0 for never.
        gradient: how d loss / d quantized reaches z, a name of `GRADIENTS`.
        start: "normal" or "kmeans".
        **search: options of `nearest_code`.

    Returns:
        The quantizer. Its state is a `CodebookState`; nothing is trained by gradient.

    Raises:
        ConfigError: a size below 1, a known decay outside [0, 1], a negative threshold, or an
            unknown name.

    Example:
        >>> quantizer = moving_average_quantizer(8, 2)
        >>> params, state = quantizer.init(jax.random.key(0))
        >>> state.codebook.shape, params
        ((8, 2), {})
    """
    books = _one_codebook(num_codes, width, gradient, False, search)
    return averaged(books, decay, threshold, start)


def codebook_loss_quantizer(
    num_codes: int,
    width: int,
    *,
    gradient: str = "straight_through",
    cosine: bool = False,
    start: str = "normal",
    **search: Any,
) -> Quantizer:
    """One codebook that minimizes |sg(z) - e|^2 by gradient.

    Args:
        num_codes: K.
        width: D.
        gradient: how d loss / d quantized reaches z, a name of `GRADIENTS`.
        cosine: use vectors and codes of unit length, as in `vector_quantize`.
        start: "normal" or "kmeans".
        **search: options of `nearest_code`.

    Returns:
        The quantizer. The codebook [K, D] is its parameter; it has no state.

    Raises:
        ConfigError: a size below 1, or an unknown name.

    Example:
        >>> quantizer = codebook_loss_quantizer(8, 2)
        >>> params, state = quantizer.init(jax.random.key(0))
        >>> params.shape, state
        ((8, 2), {})
    """
    books = _one_codebook(num_codes, width, gradient, cosine, search)
    return trained(books, start)


def finite_scalar_quantizer(levels: Sequence[int] | np.ndarray) -> Quantizer:
    """Each of D coordinates rounded to one of its levels; no codebook, and both losses zero.

    Args:
        levels: D integers of at least 2, see `finite_scalar`.

    Returns:
        The quantizer, with D = len(levels) and one code per vector in [0, K), K = prod(levels).

    Raises:
        ConfigError: other levels, or more than 2^31 - 1 codes.

    Example:
        >>> quantizer = finite_scalar_quantizer([8, 6, 5])
        >>> quantizer.width, quantizer.num_codes
        (3, 240)
    """
    levels = tuple(require_levels(levels).tolist())

    def quantize(params: PyTree, state: PyTree, z: Array) -> Quantized:
        del params, state
        quantized, codes = finite_scalar_quantize(z, levels)
        zeros = jnp.zeros(codes.shape, quantized.dtype)
        return Quantized(quantized, codes, zeros, zeros)

    return Quantizer(
        width=len(levels),
        num_codes=math.prod(levels),
        code_shape=(),
        init=lambda key, z=None: ({}, {}),
        quantize=quantize,
        lookup=lambda params, state, codes: codes_to_values(codes, levels),
        update=unchanged,
    )


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
    _require_sizes(num_codes=num_codes, width=width, num_levels=num_levels)
    core.lookup(GRADIENTS, gradient, "gradient of a quantiser")

    def followed(z: Array, books: Array, codes: Array) -> Array:
        # Level l follows the residuals that it was given: z without the codes of the levels before.
        chosen = jax.vmap(gather)(books, by_level(codes))
        rows = z.reshape(-1, width).astype(chosen.dtype)
        return lax.scan(lambda residual, values: (residual - values, residual), rows, chosen)[1]

    def cluster(key: Key, z: Array) -> Array:
        def level(residual: Array, key: Key) -> tuple[Array, Array]:
            book, codes, _ = kmeans(key, residual, num_codes, **search)
            return residual - gather(book, codes), book

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
    return _either(books, decay, threshold, start)


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
    _require_sizes(num_codes=num_codes, width=width, num_heads=num_heads)
    core.lookup(GRADIENTS, gradient, "gradient of a quantiser")
    require(width % num_heads == 0, f"width must be a multiple of {num_heads} heads, got {width}")
    require(
        not cosine or decay is None,
        "cosine codes need codebooks trained by the codebook loss (decay=None): the mean of unit"
        " vectors is not of unit length",
    )

    def quantize(z: Array, books: Array) -> Quantized:
        return multi_head_quantize(z, books, gradient=gradient, cosine=cosine, **search)

    def cluster(key: Key, z: Array) -> Array:
        return _cluster(key, _unit(_heads(z, num_heads), cosine), num_codes, search)

    books = Codebooks(
        width=width,
        shape=(num_heads, num_codes, width // num_heads),
        quantize=quantize,
        lookup=lambda books, codes: multi_head_lookup(_unit(books, cosine), codes),
        followed=lambda z, books, codes: _heads(z, num_heads),
        cluster=cluster,
    )
    return _either(books, decay, threshold, start)


QUANTIZERS = {
    "moving_average": moving_average_quantizer,
    "codebook_loss": codebook_loss_quantizer,
    "finite_scalar": finite_scalar_quantizer,
    "residual": residual_quantizer,
    "product": product_quantizer,
}


def _one_codebook(
    num_codes: int, width: int, gradient: str, cosine: bool, search: dict[str, Any]
) -> Codebooks:
    _require_sizes(num_codes=num_codes, width=width)
    core.lookup(GRADIENTS, gradient, "gradient of a quantiser")

    def quantize(z: Array, book: Array) -> Quantized:
        return vector_quantize(z, book, gradient=gradient, cosine=cosine, **search)

    return Codebooks(
        width=width,
        shape=(num_codes, width),
        quantize=quantize,
        lookup=lambda book, codes: vector_lookup(_unit(book, cosine), codes),
        followed=lambda z, book, codes: z,
        cluster=lambda key, z: kmeans(key, _unit(z, cosine), num_codes, **search).codebook,
    )


def _heads(z: Array, num_heads: int) -> Array:
    """[H, N, D / H] of z [*B, D]."""
    return jnp.moveaxis(z.reshape(-1, num_heads, z.shape[-1] // num_heads), 1, 0)


def _cluster(key: Key, parts: Array, num_codes: int, search: dict[str, Any]) -> Array:
    """Codebooks [H, K, d] by k-means of each of parts [H, N, d]."""

    def head(key_and_part: tuple[Key, Array]) -> Array:
        key, part = key_and_part
        return kmeans(key, part, num_codes, **search).codebook

    return lax.map(head, (jax.random.split(key, len(parts)), parts))


def _either(
    books: Codebooks, decay: Array | float | None, threshold: float, start: str
) -> Quantizer:
    """Codebooks that follow a moving average, or, without a decay, that are trained by gradient."""
    if decay is None:
        return trained(books, start)
    return averaged(books, decay, threshold, start)


def _unit(x: Array, cosine: bool) -> Array:
    return l2_normalize(x) if cosine else x


def _require_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        require(size >= 1, f"{name} of a quantizer must be at least 1, got {size}")
