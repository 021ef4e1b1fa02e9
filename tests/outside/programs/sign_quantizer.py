"""A quantizer of one's own: the signs of z as bits (Yu et al. 2024, "Language model beats
diffusion", lookup-free quantization)."""

import jax
import jax.numpy as jnp

from dgm_jax.core import Quantized, Quantizer
from dgm_jax.sampling import straight_through


def sign_quantizer(num_bits: int) -> Quantizer:
    """Codes 0..2^D - 1 of vectors of D numbers, whose values are -1 and 1; nothing is trained."""
    powers = 2 ** jnp.arange(num_bits)

    def quantize(params, state, z):
        signs = jnp.where(z > 0, 1.0, -1.0)
        codes = jnp.sum((z > 0) * powers, axis=-1).astype(jnp.int32)
        distance = jnp.sum(jnp.square(z - jax.lax.stop_gradient(signs)), axis=-1)
        return Quantized(straight_through(signs, z), codes, jnp.zeros_like(distance), distance)

    def lookup(params, state, codes):
        return jnp.where(codes[..., None] // powers % 2 == 1, 1.0, -1.0)

    return Quantizer(
        width=num_bits,
        num_codes=2**num_bits,
        code_shape=(),
        init=lambda key, z=None: ({}, {}),
        quantize=quantize,
        lookup=lookup,
        update=lambda key, state, z, quantized: (state, {}),
    )
