"""Penalties on the gradient of a critic with respect to its input.

A critic is any function `x[B, ...] -> [B]`; it returns logits, never probabilities. Each penalty
takes the gradient of one example at a time (`vmap` of `grad`, where the critic sees a batch of
one), so it is a mean over examples whatever the batch: invariant to order and to duplication, and
the norm runs over all axes of one example. A critic that mixes the examples of its batch (batch
normalization) has no such gradient; it would be evaluated here on batches of one.

All return a scalar, the mean over the batch, without a weight: the loss adds `weight * penalty`.
Nothing is detached: the player that owns the critic differentiates with respect to the critic only.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, at_least_float32, float_type, normal, require, uniform

Critic = Callable[[Array], Array]


def gradient_penalty(
    critic: Critic,
    real: Array,
    fake: Array,
    key: Key,
    *,
    target: float = 1.0,
    one_sided: bool = False,
) -> Array:
    """E (||grad critic(x)|| - target)^2 at x = u real + (1 - u) fake, u ~ U[0, 1) for each example.

    Gulrajani et al. 2017, "Improved training of Wasserstein GANs", eq. 3 without its weight (10
    there). Correct at a vanishing gradient: the value is target^2 and the derivative zero, with no
    constant added under the root.

    Args:
        critic: `x[B, ...] -> [B]`.
        real: [B, ...].
        fake: [B, ...], the same shape.
        key: draws the B interpolation weights.
        target: norm of the gradient; 0.0 gives the zero-centered form.
        one_sided: square max(0, ||grad|| - target), so that only steep critics pay.

    Returns:
        A scalar, in squared logits per unit of x.

    Raises:
        ConfigError: empty or integer examples, different shapes, or a critic of another shape.

    Example:
        >>> slope_3 = lambda x: 3 * x[:, 0]
        >>> x = jnp.zeros((2, 1))
        >>> gan.gradient_penalty(slope_3, x, x, jax.random.key(0)).item()  # (3 - 1)^2
        4.0
    """
    real = _floating(real)
    fake = _floating(fake)
    require(
        real.shape == fake.shape,
        f"interpolation pairs each real example with a fake one; got real {real.shape} and fake"
        f" {fake.shape}",
    )
    dtype = jnp.result_type(real, fake)
    weight = uniform(key, (real.shape[0],), float_type(dtype))
    weight = weight.astype(dtype).reshape((-1,) + (1,) * (real.ndim - 1))
    return _norm_penalty(critic, weight * real + (1 - weight) * fake, target, one_sided)


def dragan_penalty(
    critic: Critic,
    real: Array,
    key: Key,
    *,
    scale: float = 0.5,
    target: float = 1.0,
    one_sided: bool = False,
) -> Array:
    """E (||grad critic(x + scale n)|| - target)^2 at real x, n ~ N(0, I): smooth around the data.

    Kodali et al. 2017, "On convergence and stability of GANs", with their covariance c I equal to
    scale^2 I, and without their weight. Programs called DRAGAN differ in the noise: many add
    u std(batch) / 2 with u ~ U[0, 1) (not centered, and tied to the batch), then move a random part
    of the way there. Here the noise is centered, Gaussian, in the unit of the data, and independent
    of the batch.

    Args:
        critic: `x[B, ...] -> [B]`.
        real: [B, ...].
        key: draws the noise.
        scale: standard deviation of the noise, in the unit of `real`.
        target: norm of the gradient.
        one_sided: square max(0, ||grad|| - target), so that only steep critics pay.

    Returns:
        A scalar, in squared logits per unit of x.

    Raises:
        ConfigError: empty or integer examples, or a critic of another shape.

    Example:
        >>> slope_3 = lambda x: 3 * x[:, 0]
        >>> gan.dragan_penalty(slope_3, jnp.zeros((2, 1)), jax.random.key(0)).item()  # (3 - 1)^2
        4.0
    """
    real = _floating(real)
    noise = normal(key, real.shape, float_type(real.dtype)).astype(real.dtype)
    return _norm_penalty(critic, real + scale * noise, target, one_sided)


def r1_penalty(critic: Critic, real: Array) -> Array:
    """E ||grad critic(x)||^2 / 2 at real x; the loss adds `gamma * r1_penalty(...)`.

    The half is inside (Mescheder et al. 2018, "Which training methods for GANs do actually
    converge?", eq. 9: gamma / 2 E ||grad||^2). Code that leaves it out needs half the gamma for the
    same penalty.

    Args:
        critic: `x[B, ...] -> [B]`.
        real: [B, ...].

    Returns:
        A scalar, in squared logits per unit of x.

    Raises:
        ConfigError: empty or integer examples, or a critic of another shape.

    Example:
        >>> gan.r1_penalty(lambda x: 3 * x[:, 0], jnp.zeros((2, 1))).item()  # 9 / 2
        4.5
    """
    return jnp.mean(_squared_norms(critic, _floating(real))) / 2


def r2_penalty(critic: Critic, fake: Array) -> Array:
    """E ||grad critic(x)||^2 / 2 at fake x: R1 on the generator's samples.

    Mescheder et al. 2018, eq. 10.

    Args:
        critic: `x[B, ...] -> [B]`.
        fake: [B, ...].

    Returns:
        A scalar, in squared logits per unit of x.

    Raises:
        ConfigError: empty or integer examples, or a critic of another shape.

    Example:
        >>> gan.r2_penalty(lambda x: 3 * x[:, 0], jnp.zeros((2, 1))).item()  # 9 / 2
        4.5
    """
    return jnp.mean(_squared_norms(critic, _floating(fake))) / 2


def _norm_penalty(critic: Critic, x: Array, target: float, one_sided: bool) -> Array:
    squared = _squared_norms(critic, x)
    # The derivative of a square root is infinite at 0: there, take it elsewhere and discard it.
    positive = squared > 0
    norm = jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
    excess = norm - target
    return jnp.mean(jnp.square(jnp.maximum(excess, 0.0) if one_sided else excess))


def _squared_norms(critic: Critic, x: Array) -> Array:
    """||d critic / d x_i||^2 of each example, at least in float32; [B, ...] -> [B]."""

    def of_example(example: Array) -> Array:
        logits = critic(example[None])
        require(
            logits.shape == (1,),
            f"a critic maps [B, ...] to [B]; for B = 1 it returned shape {logits.shape}",
        )
        return logits[0]

    gradients = jax.vmap(jax.grad(of_example))(x)
    gradients = at_least_float32(gradients)
    return jnp.sum(jnp.square(gradients), axis=tuple(range(1, x.ndim)))


def _floating(x: Array) -> Array:
    x = jnp.asarray(x)
    require(
        x.ndim > 0 and x.size > 0 and jnp.issubdtype(x.dtype, jnp.floating),
        "a gradient penalty needs a non-empty batch [B, ...] of floats; got"
        f" {x.dtype}{list(x.shape)}",
    )
    return x
