"""Product quantisation: the vector in H parts, each with a codebook of its own (Jegou et al.
2011)."""

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
    **search,
) -> Quantized:
    """`vector_quantize` of each of the H parts of z [*B, H D] with its own codebook of codebooks
    [H, K, D].

    quantized [*B, H D]; codes and losses [*B, H], one for each head (they add up over heads to
    those of the whole vector). Options as in `vector_quantize`. Raises `ConfigError` for shapes
    that do not fit.
    """
    num_heads, dim = _require_codebooks(codebooks)
    shape = jnp.shape(z)
    require(
        len(shape) >= 1 and shape[-1] == num_heads * dim,
        f"z must be [*B, {num_heads * dim}], {num_heads} heads of width {dim}; got {shape}",
    )
    parts = jnp.moveaxis(jnp.reshape(z, (*shape[:-1], num_heads, dim)), -2, 0)
    if cosine:
        parts, codebooks = l2_normalize(parts), l2_normalize(codebooks)
    # One head after the other: a batched product over heads is slower on the CPU and holds H tiles.
    codes = lax.map(
        lambda head: nearest_code(*head, **search), (lax.stop_gradient(parts), codebooks)
    )
    found = jax.vmap(lambda *head: quantize_with_codes(*head, gradient=gradient))(
        parts, codebooks, codes
    )
    *_, codebook_loss, commitment_loss = (jnp.moveaxis(x, 0, -1) for x in found[1:])
    quantized = jnp.moveaxis(found.quantized, 0, -2).reshape(shape)
    return Quantized(quantized, jnp.moveaxis(codes, 0, -1), codebook_loss, commitment_loss)


def multi_head_lookup(codebooks: Array, codes: Array) -> Array:
    """[*B, H D] from codebooks [H, K, D] and codes [*B, H]; codes out of range as in `lookup`."""
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
    shape = jnp.shape(codebooks)
    require(
        len(shape) == 3 and min(shape) >= 1,
        f"codebooks must be [H, K, D], all at least 1; got {shape}",
    )
    return shape[0], shape[2]
