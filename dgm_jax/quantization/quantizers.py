"""The functions of this room behind one contract, `core.Quantizer`, and a registry of them.

    moving_average  one codebook that follows the mean of its vectors (van den Oord et al. 2017,
                    A.1)
    codebook_loss   one codebook trained by gradient (the same, eq. 3), also for cosine codes
    finite_scalar   each coordinate rounded, no codebook (Mentzer et al. 2023)
    residual        L codebooks, each on what those before it left over (Zeghidour et al. 2021)
    product         the vector in L parts, each with a codebook of its own (Jegou et al. 2011)

A codebook starts with standard normal rows, or, with `start="kmeans"`, on the centres of the
vectors that `init(key, z)` is given, such as the encoder's output for a first batch: `vqvae` takes
the images, a `networks.Quantize` layer uses the input of its `init`. Where vectors only fill up a
batch, `init` and `update` take a mask of the others, and give what these alone would give.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dgm_jax import core
from dgm_jax.core import Array, Key, Quantized, Quantizer, Registry, at_least_float32, require
from dgm_jax.quantization.clustering import kmeans
from dgm_jax.quantization.codebooks import Codebooks, averaged, by_level, trained, unchanged
from dgm_jax.quantization.finite_scalar import (
    codes_to_values,
    finite_scalar_quantize,
    require_levels,
)
from dgm_jax.quantization.padding import rows_mask
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
    **search,
) -> Quantizer:
    """One codebook [K, D] that follows the moving average of its vectors (`codebook_ema`).

    Args:
      num_codes: K.
      width: D.
      decay: of the moving average, in [0, 1]; may be a traced number.
      threshold: codes with fewer vectors a batch, on average, are put on random vectors of the
        batch (metric `revived`, how many); 0 for never.
      gradient: how d loss / d quantized reaches z, a name of `GRADIENTS`.
      start: "normal" or "kmeans".
      **search: options of `nearest_code`.

    Returns:
      The quantizer. Its state is a `CodebookState`; nothing is trained by gradient.

    Raises:
      ConfigError: a size below 1, a decay outside [0, 1], a negative threshold, an unknown name.
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
    **search,
) -> Quantizer:
    """One codebook [K, D] that minimises |sg(z) - e|^2; arguments as above.

    cosine: vectors and codes of unit length, as in `vector_quantize`.

    The codebook is the parameter, there is no state, and `update` does nothing.
    """
    books = _one_codebook(num_codes, width, gradient, cosine, search)
    return trained(books, start)


def finite_scalar_quantizer(levels: Sequence[int] | np.ndarray) -> Quantizer:
    """Each of D coordinates rounded to one of its levels; D = len(levels), K = prod(levels).

    One code a vector in [0, K), no codebook, and both losses zero. levels, and what is raised, as
    in `finite_scalar_quantize`.
    """
    levels = tuple(require_levels(levels).tolist())

    def quantize(params, state, z):
        del params, state
        quantized, codes = finite_scalar_quantize(z, levels)
        zeros = jnp.zeros(codes.shape, quantized.dtype)
        return Quantized(quantized, codes, zeros, zeros)

    return Quantizer(
        width=len(levels),
        num_codes=math.prod(levels),
        code_shape=(),
        init=lambda key, z=None, *, mask=None: ({}, {}),
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
    **search,
) -> Quantizer:
    """L = num_levels codebooks [L, K, D]; level l quantizes what the levels before it left over.

    Codes and losses are [*B, L]. Other arguments as in `moving_average_quantizer`, for every level
    alike; `decay=None` trains the codebooks by the codebook loss (then threshold has no effect).
    """
    _require_sizes(num_codes=num_codes, width=width, num_levels=num_levels)
    core.lookup(GRADIENTS, gradient, "gradient of a quantiser")

    def followed(z, books, codes):
        chosen = jax.vmap(gather)(books, by_level(codes))
        rows = z.reshape(-1, width).astype(chosen.dtype)
        return lax.scan(lambda residual, values: (residual - values, residual), rows, chosen)[1]

    def cluster(key, z, mask):
        kept = rows_mask(mask, z.shape)

        def level(residual, key):
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
    **search,
) -> Quantizer:
    """The vector in L = num_heads parts of width D / L, each with a codebook of [L, K, D / L].

    Codes and losses are [*B, L]. Other arguments as in `residual_quantizer`; `cosine` makes each
    part of unit length, and needs `decay=None`.
    """
    _require_sizes(num_codes=num_codes, width=width, num_heads=num_heads)
    core.lookup(GRADIENTS, gradient, "gradient of a quantiser")
    require(width % num_heads == 0, f"width must be a multiple of {num_heads} heads, got {width}")
    require(
        not cosine or decay is None,
        "cosine codes need codebooks trained by the codebook loss (decay=None): the mean of unit"
        " vectors is not of unit length",
    )
    books = Codebooks(
        width=width,
        shape=(num_heads, num_codes, width // num_heads),
        quantize=lambda z, books: multi_head_quantize(
            z, books, gradient=gradient, cosine=cosine, **search
        ),
        lookup=lambda books, codes: multi_head_lookup(_unit(books, cosine), codes),
        followed=lambda z, books, codes: _heads(z, num_heads),
        cluster=lambda key, z, mask: _cluster(
            key, _unit(_heads(z, num_heads), cosine), num_codes, rows_mask(mask, z.shape), search
        ),
    )
    return _either(books, decay, threshold, start)


QUANTIZERS = Registry(
    "quantizer",
    {
        "moving_average": moving_average_quantizer,
        "codebook_loss": codebook_loss_quantizer,
        "finite_scalar": finite_scalar_quantizer,
        "residual": residual_quantizer,
        "product": product_quantizer,
    },
)


def _one_codebook(num_codes, width, gradient, cosine, search) -> Codebooks:
    _require_sizes(num_codes=num_codes, width=width)
    core.lookup(GRADIENTS, gradient, "gradient of a quantiser")
    return Codebooks(
        width=width,
        shape=(num_codes, width),
        quantize=lambda z, book: vector_quantize(
            z, book, gradient=gradient, cosine=cosine, **search
        ),
        lookup=lambda book, codes: vector_lookup(_unit(book, cosine), codes),
        followed=lambda z, book, codes: z,
        cluster=lambda key, z, mask: (
            kmeans(key, _unit(z, cosine), num_codes, mask=mask, **search).codebook
        ),
    )


def _heads(z: Array, num_heads: int) -> Array:
    """[H, N, D / H] of z [*B, D]."""
    return jnp.moveaxis(z.reshape(-1, num_heads, z.shape[-1] // num_heads), 1, 0)


def _cluster(key: Key, parts: Array, num_codes: int, kept: Array | None, search) -> Array:
    """Codebooks [H, K, d] by k-means of each of parts [H, N, d]; kept: bool[N] or None."""

    def head(key_and_part):
        key, part = key_and_part
        return kmeans(key, part, num_codes, mask=kept, **search).codebook

    return lax.map(head, (jax.random.split(key, len(parts)), parts))


def _either(books: Codebooks, decay, threshold, start) -> Quantizer:
    if decay is None:
        return trained(books, start)
    return averaged(books, decay, threshold, start)


def _unit(x: Array, cosine: bool) -> Array:
    return l2_normalize(x) if cosine else x


def _require_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        require(size >= 1, f"{name} of a quantizer must be at least 1, got {size}")
