"""Product quantization: the vector in H parts with a codebook each (Jegou et al. 2011)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Quantized, require
from dgm_jax.quantization.nearest import nearest_code
from dgm_jax.quantization.vector import (
    check_codes,
    gather,
    l2_normalize,
    quantize_with_codes,
)


def multi_head_quantize(
    z: Array,
    codebooks: Array,
    *,
    gradient: str = "straight_through",
    cosine: bool = False,
    **search: Any,
) -> Quantized:
    """`vector_quantize` of each of H parts of a vector with its own codebook.

    Args:
        z: [*B, H D].
        codebooks: [H, K, D].
        gradient: how d loss / d quantized reaches z, a name of `GRADIENTS`.
        cosine: use vectors and codes of unit length, part by part.
        **search: options of `nearest_code`.

    Returns:
        quantized [*B, H D]; codes and losses [*B, H], one for each head (the losses add up over
        heads to those of the whole vector).

    Raises:
        ConfigError: shapes that do not fit, or an unknown gradient.

    Example:
        >>> codebooks = jnp.array([[[0.0], [1.0]], [[10.0], [20.0]]])
        >>> multi_head_quantize(jnp.array([[0.9, 12.0]]), codebooks).codes.tolist()
        [[1, 0]]
    """
    num_heads, dim = _require_codebooks(codebooks)
    shape = jnp.shape(z)
    require(
        len(shape) >= 1 and shape[-1] == num_heads * dim,
        f"z must be [*B, {num_heads * dim}], {num_heads} heads of width {dim}; got {shape}",
    )
    parts = jnp.moveaxis(jnp.reshape(z, (*shape[:-1], num_heads, dim)), -2, 0)
    if cosine:
        parts = l2_normalize(parts)
        codebooks = l2_normalize(codebooks)
    # One head after the other: a batched product over heads is slower on the CPU and holds H tiles.
    codes = lax.map(
        lambda head: nearest_code(*head, **search), (lax.stop_gradient(parts), codebooks)
    )
    by_head = jax.vmap(lambda *head: quantize_with_codes(*head, gradient=gradient))(
        parts, codebooks, codes
    )
    return Quantized(
        quantized=jnp.moveaxis(by_head.quantized, 0, -2).reshape(shape),
        codes=jnp.moveaxis(codes, 0, -1),
        codebook_loss=jnp.moveaxis(by_head.codebook_loss, 0, -1),
        commitment_loss=jnp.moveaxis(by_head.commitment_loss, 0, -1),
    )


def multi_head_lookup(codebooks: Array, codes: Array) -> Array:
    """The vectors of codes of several heads.

    Args:
        codebooks: [H, K, D].
        codes: integers [*B, H]; inside a compiled program the part of a code out of range is NaN.

    Returns:
        [*B, H D].

    Raises:
        ConfigError: shapes that do not fit.
        DataError: codes that are not integers, or concrete ones out of range.

    Example:
        >>> codebooks = jnp.array([[[0.0], [1.0]], [[10.0], [20.0]]])
        >>> multi_head_lookup(codebooks, jnp.array([1, 0])).tolist()
        [1.0, 10.0]
    """
    num_heads, dim = _require_codebooks(codebooks)
    shape = jnp.shape(codes)
    require(
        len(shape) >= 1 and shape[-1] == num_heads,
        f"codes must be [*B, {num_heads}], one a head; got {shape}",
    )
    check_codes(codes, jnp.shape(codebooks)[1])
    parts = jax.vmap(gather, in_axes=(0, -1), out_axes=-2)(
        jnp.asarray(codebooks), jnp.asarray(codes)
    )
    return parts.reshape(*shape[:-1], num_heads * dim)


def _require_codebooks(codebooks: Array) -> tuple[int, int]:
    """The number of heads H and the width D of a part."""
    shape = jnp.shape(codebooks)
    require(
        len(shape) == 3 and min(shape) >= 1,
        f"codebooks must be [H, K, D], all at least 1; got {shape}",
    )
    return shape[0], shape[2]
