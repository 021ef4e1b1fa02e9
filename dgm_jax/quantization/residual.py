"""Residual quantisation: each level quantises what the levels before it left over (Zeghidour et al.
2021)."""

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Quantized, float_type, require
from dgm_jax.quantization.nearest import nearest_code, require_vectors
from dgm_jax.quantization.vector import check_codes, code_losses, gather, join


def residual_quantize(
    z: Array, codebooks: Array, *, gradient: str = "straight_through", **search
) -> Quantized:
    """q = sum_l e_l with e_l the nearest row of codebooks[l] to r_l = z - e_0 - ... - e_{l-1}.

    z [*B, D], codebooks [L, K, D]; quantized [*B, D], codes [*B, L], losses [*B, L]:
    |sg(r_l) - e_l|^2 and |r_l - sg(e_l)|^2, where r_l carries the gradient of z and none of the
    codebooks. The gradient of `quantized` joins the whole q to z, so it is the identity for
    "straight_through". search: options of `nearest_code`. Raises `ConfigError` for shapes
    that do not fit.
    """
    _require_codebooks(codebooks)
    require_vectors(z, codebooks[0])
    codebooks = jnp.asarray(codebooks)
    dtype = float_type(z, codebooks)

    def level(carry, codebook):
        residual, total = carry
        codes = nearest_code(residual, codebook, **search)
        chosen = gather(codebook, codes)
        fixed = lax.stop_gradient(chosen)
        return (residual - fixed, total + fixed), (codes, *code_losses(residual, chosen))

    z = jnp.asarray(z)
    start = z.astype(dtype), jnp.zeros(z.shape, codebooks.dtype)
    (_, total), found = lax.scan(level, start, codebooks)
    codes, codebook_loss, commitment_loss = (jnp.moveaxis(x, 0, -1) for x in found)
    return Quantized(join(z, total, gradient), codes, codebook_loss, commitment_loss)


def residual_lookup(codebooks: Array, codes: Array) -> Array:
    """sum_l codebooks[l][codes[..., l]]: [*B, D], added from the first level on as
    `residual_quantize` does.

    codes [*B, l] with l <= L decode the first l levels. Codes out of range as in `lookup`.
    """
    num_levels = _require_codebooks(codebooks)
    shape = jnp.shape(codes)
    require(
        jnp.ndim(codes) >= 1 and 1 <= shape[-1] <= num_levels,
        f"codes must be [*B, l], 1 <= l <= {num_levels}; got {shape}",
    )
    check_codes(codes, jnp.shape(codebooks)[1])
    codebooks, codes = jnp.asarray(codebooks)[: shape[-1]], jnp.moveaxis(jnp.asarray(codes), -1, 0)
    chosen = jax.vmap(gather)(codebooks, codes)
    start = jnp.zeros(chosen.shape[1:], chosen.dtype)
    return lax.scan(lambda total, level: (total + level, None), start, chosen)[0]


def _require_codebooks(codebooks: Array) -> int:
    shape = jnp.shape(codebooks)
    require(
        len(shape) == 3 and min(shape) >= 1,
        f"codebooks must be [L, K, D], all at least 1; got {shape}",
    )
    return shape[0]
