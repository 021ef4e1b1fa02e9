"""A hard value on the way forward, a soft gradient on the way back."""

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, require
from dgm_jax.sampling.gumbel import perturbed_logits, tempered


def straight_through(hard: Array, soft: Array) -> Array:
    """`hard` bit for bit, with the derivative of `soft`: d out / d soft = 1, d out / d hard = 0.

    It equals `stop_gradient(hard) + (soft - stop_gradient(soft))` in exact arithmetic
    and is a rule of differentiation rather than a sum, so that negative zeros, subnormal
    numbers and infinities come through too (`soft + stop_gradient(hard - soft)` rounds).
    Shapes must be equal. A floating `hard` keeps its dtype; an integer or boolean one is
    cast to that of `soft`. Bengio et al. (2013), arXiv:1308.3432.
    """
    hard, soft = jnp.asarray(hard), jnp.asarray(soft)
    require(
        hard.shape == soft.shape,
        f"hard and soft must have one shape, got {hard.shape} and {soft.shape}",
    )
    require(jnp.issubdtype(soft.dtype, jnp.floating), f"soft must be floating, got {soft.dtype}")
    if not jnp.issubdtype(hard.dtype, jnp.floating):
        hard = hard.astype(soft.dtype)
    return _straight_through(hard, soft)


@jax.custom_jvp
def _straight_through(hard, soft):
    del soft
    return hard


@_straight_through.defjvp
def _straight_through_jvp(primals, tangents):
    hard, soft = primals
    return _straight_through(hard, soft), tangents[1].astype(hard.dtype)


def straight_through_gumbel_softmax(
    key: Key, logits: Array, temperature, *, mode: str = "low"
) -> Array:
    """One-hot draws from softmax(logits[*B, K]) with the gradient of `gumbel_softmax` at the same
    noise.

    The one in each row stands where `gumbel_max` with the same key puts it. At least
    float32[*B, K]. Jang et al. (2017), section 2.2, "Straight-Through Gumbel-Softmax".
    """
    z = perturbed_logits(key, logits, mode)
    soft = jax.nn.softmax(tempered(z, temperature), axis=-1)
    return straight_through(
        jax.nn.one_hot(jnp.argmax(z, axis=-1), z.shape[-1], dtype=soft.dtype), soft
    )
