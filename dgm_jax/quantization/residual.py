"""Residual quantization: each level quantizes what the levels before it left over.

Zeghidour et al. 2021.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Quantized, float_type, require
from dgm_jax.quantization.nearest import nearest_code, require_vectors
from dgm_jax.quantization.vector import check_codes, code_losses, gather, join


def residual_quantize(
    z: Array,
    codebooks: Array,
    *,
    gradient: str = "straight_through",
    **search: Any,
) -> Quantized:
    """q = sum_l e_l with e_l the nearest row of codebooks[l] to r_l = z - e_0 - ... - e_{l-1}.

    The losses are |sg(r_l) - e_l|^2 and |r_l - sg(e_l)|^2, where r_l carries the gradient of z and
    none of the codebooks. The gradient of `quantized` joins the whole q to z, so it is the identity
    for "straight_through".

    Args:
        z: [*B, D].
        codebooks: [L, K, D].
        gradient: how d loss / d quantized reaches z, a name of `GRADIENTS`.
        **search: options of `nearest_code`.

    Returns:
        Values [*B, D], codes and losses [*B, L].

    Raises:
        ConfigError: shapes that do not fit, or an unknown gradient.

    Example:
        >>> codebooks = jnp.array([[[0.0], [10.0]], [[0.0], [1.0]]])
        >>> result = residual_quantize(jnp.array([[11.25]]), codebooks)
        >>> result.quantized.tolist(), result.codes.tolist()
        ([[11.0]], [[1, 1]])
    """
    _require_codebooks(codebooks)
    require_vectors(z, codebooks[0])
    codebooks = jnp.asarray(codebooks)
    dtype = float_type(z, codebooks)

    def level(
        carry: tuple[Array, Array], codebook: Array
    ) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
        residual, total = carry
        codes = nearest_code(residual, codebook, **search)
        chosen = gather(codebook, codes)
        fixed = lax.stop_gradient(chosen)
        return (residual - fixed, total + fixed), (codes, *code_losses(residual, chosen))

    z = jnp.asarray(z)
    start = (z.astype(dtype), jnp.zeros(z.shape, codebooks.dtype))
    (_, total), by_level = lax.scan(level, start, codebooks)
    codes, codebook_loss, commitment_loss = (jnp.moveaxis(x, 0, -1) for x in by_level)
    return Quantized(join(z, total, gradient), codes, codebook_loss, commitment_loss)


def residual_lookup(codebooks: Array, codes: Array) -> Array:
    """sum_l codebooks[l][codes[..., l]], added from the first level on as `residual_quantize` does.

    Args:
        codebooks: [L, K, D].
        codes: integers [*B, l] with l <= L, which decode the first l levels; inside a compiled
            program the vector of a code out of range is NaN.

    Returns:
        [*B, D].

    Raises:
        ConfigError: shapes that do not fit.
        DataError: codes that are not integers, or concrete ones out of range.

    Example:
        >>> codebooks = jnp.array([[[0.0], [10.0]], [[0.0], [1.0]]])
        >>> residual_lookup(codebooks, jnp.array([1, 1])).tolist()
        [11.0]
    """
    num_levels = _require_codebooks(codebooks)
    shape = jnp.shape(codes)
    require(
        jnp.ndim(codes) >= 1 and 1 <= shape[-1] <= num_levels,
        f"codes must be [*B, l], 1 <= l <= {num_levels}; got {shape}",
    )
    check_codes(codes, jnp.shape(codebooks)[1])
    codebooks = jnp.asarray(codebooks)[: shape[-1]]
    chosen = jax.vmap(gather)(codebooks, jnp.moveaxis(jnp.asarray(codes), -1, 0))
    start = jnp.zeros(chosen.shape[1:], chosen.dtype)
    return lax.scan(lambda total, level: (total + level, None), start, chosen)[0]


def _require_codebooks(codebooks: Array) -> int:
    """The number of levels L."""
    shape = jnp.shape(codebooks)
    require(
        len(shape) == 3 and min(shape) >= 1,
        f"codebooks must be [L, K, D], all at least 1; got {shape}",
    )
    return shape[0]
