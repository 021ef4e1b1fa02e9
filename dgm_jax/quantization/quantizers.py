"""The functions of this package behind one contract, `core.Quantizer`, and a registry of them.

    moving_average  one codebook that follows the mean of its vectors (van den Oord et al. 2017,
                    A.1)
    codebook_loss   one codebook trained by gradient (the same, eq. 3), also for cosine codes
    finite_scalar   each coordinate rounded, no codebook (Mentzer et al. 2023)
    residual        L codebooks, each on what those before it left over (Zeghidour et al. 2021)
    product         the vector in L parts, each with a codebook of its own (Jegou et al. 2011)

A codebook starts with standard normal rows, or, with `start="kmeans"`, at the centers of the
vectors given to `init(key, z)`, such as the encoder's output for a first batch: `vqvae` takes the
images, a `networks.Quantize` layer uses the input of its `init`. In a batch with padding, `init`
and `update` take a mask, and give what they would give for the other vectors alone.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from dgm_jax import core
from dgm_jax.core import Array, Key, PyTree, Quantized, Quantizer, Registry
from dgm_jax.quantization._several_codebooks import product_quantizer, residual_quantizer
from dgm_jax.quantization.clustering import kmeans
from dgm_jax.quantization.codebooks import (
    Codebooks,
    averaged,
    require_sizes,
    trained,
    unchanged,
)
from dgm_jax.quantization.finite_scalar import (
    codes_to_values,
    finite_scalar_quantize,
    require_levels,
)
from dgm_jax.quantization.vector import GRADIENTS, unit, vector_lookup, vector_quantize


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

    def quantize(
        params: PyTree,
        state: PyTree,
        z: Array,
    ) -> Quantized:
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


def _one_codebook(
    num_codes: int, width: int, gradient: str, cosine: bool, search: dict[str, Any]
) -> Codebooks:
    require_sizes(num_codes=num_codes, width=width)
    core.lookup(GRADIENTS, gradient, "gradient of a quantizer")

    def quantize(z: Array, book: Array) -> Quantized:
        return vector_quantize(z, book, gradient=gradient, cosine=cosine, **search)

    def cluster(key: Key, z: Array, mask: Array | None) -> Array:
        return kmeans(key, unit(z, cosine), num_codes, mask=mask, **search).codebook

    return Codebooks(
        width=width,
        shape=(num_codes, width),
        quantize=quantize,
        lookup=lambda book, codes: vector_lookup(unit(book, cosine), codes),
        followed=lambda z, book, codes: z,
        cluster=cluster,
    )
