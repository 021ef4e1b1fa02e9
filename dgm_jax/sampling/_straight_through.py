"""A hard value in the forward pass, a soft gradient in the backward pass."""

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, require
from dgm_jax.sampling.gumbel import perturbed_logits, tempered


def straight_through(hard: Array, soft: Array) -> Array:
    """`hard` bit for bit, with the derivative of `soft`: d out / d soft = 1, d out / d hard = 0.

    In exact arithmetic it equals `stop_gradient(hard) + (soft - stop_gradient(soft))`. It is a
    differentiation rule rather than a sum, so negative zeros, subnormal numbers and infinities
    survive too (`soft + stop_gradient(hard - soft)` rounds). Bengio et al. (2013), arXiv:1308.3432.

    Args:
        hard: the value, of any shape. An integer or boolean one is cast to the dtype of `soft`.
        soft: floating, of the same shape.

    Returns:
        Array of that shape, in the dtype of `hard` if that is floating.

    Raises:
        ConfigError: different shapes, or a `soft` that is not floating.

    Example:
        >>> jax.grad(lambda p: straight_through(jnp.round(p), p) ** 2)(0.7).item()  # 2 round(.7)
        2.0
    """
    hard = jnp.asarray(hard)
    soft = jnp.asarray(soft)
    require(
        hard.shape == soft.shape,
        f"hard and soft must have one shape, got {hard.shape} and {soft.shape}",
    )
    require(jnp.issubdtype(soft.dtype, jnp.floating), f"soft must be floating, got {soft.dtype}")
    if not jnp.issubdtype(hard.dtype, jnp.floating):
        hard = hard.astype(soft.dtype)
    return _straight_through(hard, soft)


@jax.custom_jvp
def _straight_through(hard: Array, soft: Array) -> Array:
    del soft
    return hard


@_straight_through.defjvp
def _straight_through_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    hard, soft = primals
    return _straight_through(hard, soft), tangents[1].astype(hard.dtype)


def straight_through_gumbel_softmax(
    key: Key,
    logits: Array,
    temperature: Array | float,
    *,
    mode: str = "low",
) -> Array:
    """One-hot draws from softmax(logits) with the gradient of `gumbel_softmax` at the same noise.

    The one of each row is at the class that `gumbel_max` with the same key draws. Jang et al.
    (2017), section 2.2, "Straight-Through Gumbel-Softmax".

    Args:
        key: a typed key.
        logits: [*B, K].
        temperature: positive, a scalar or an array that broadcasts against [*B, K].
        mode: of the noise, see `gumbel_noise`.

    Returns:
        One-hot vectors [*B, K], at least float32.

    Raises:
        ConfigError: probabilities in place of logits, or a known temperature that is not positive.

    Example:
        >>> draw = straight_through_gumbel_softmax(jax.random.key(0), jnp.array([0.0, 30.0]), 0.5)
        >>> draw.tolist()
        [0.0, 1.0]
    """
    z = perturbed_logits(key, logits, mode)
    soft = jax.nn.softmax(tempered(z, temperature), axis=-1)
    hard = jax.nn.one_hot(jnp.argmax(z, axis=-1), z.shape[-1], dtype=soft.dtype)
    return straight_through(hard, soft)
