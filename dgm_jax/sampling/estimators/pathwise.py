"""Biased estimators of low variance that send the objective's derivative through a soft draw.

All need a differentiable objective; its derivative is taken at the hard draw (straight-through
kinds) or at a relaxed point (`gumbel_softmax`).
"""

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, checks, require
from dgm_jax.sampling.estimators.estimate import (
    Estimate,
    Objective,
    draw_one_hot,
    draw_perturbed,
    evaluate_with_gradient,
    one_hot_argmax,
    prepare,
    softmax_pullback,
)
from dgm_jax.sampling.gumbel import conditional_perturbed_logits, tempered


def straight_through(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    num_samples: int = 1,
) -> Estimate:
    """Straight-through: (dp/dlogits)^T f'(x), the derivative at the hard draw. Biased.

    Exact for affine objectives only. Bengio et al. (2013); the form for categorical variables as in
    Liu et al. (2023), section 2. Cost: num_samples derivatives.

    Args:
        key: a typed key.
        objective: f, `[*B, *E, K] -> [*B]`, differentiable.
        logits: [*E, K].
        num_samples: number of draws.

    Returns:
        The estimate.

    Raises:
        ConfigError: num_samples below 1, or an objective of another shape.

    Example:
        >>> affine = lambda x: x @ jnp.array([1.0, 3.0])  # the gradient is +-(3 - 1) / 4
        >>> estimators.straight_through(jax.random.key(0), affine, jnp.zeros(2)).gradient.tolist()
        [-0.5, 0.5]
    """
    logits = prepare(logits)
    values, slope = evaluate_with_gradient(objective, draw_one_hot(key, logits, num_samples))
    p = jax.nn.softmax(logits, axis=-1)
    return Estimate(jnp.mean(values), softmax_pullback(p, jnp.mean(slope, axis=0)))


def gumbel_softmax(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    temperature: Array | float = 1.0,
    num_samples: int = 1,
) -> Estimate:
    """Gumbel-softmax: (dy/dlogits)^T f'(y) at y = softmax((logits + G) / temperature). Biased.

    The exact gradient of E[f(y)], which tends to E[f(x)] as the temperature goes to zero, while the
    variance grows without bound. `value` is the relaxed f(y), biased as well. Jang et al. (2017),
    eq. 2; Maddison et al. (2017). Cost: num_samples derivatives.

    Args:
        key: a typed key.
        objective: f, `[*B, *E, K] -> [*B]`, differentiable on the simplex.
        logits: [*E, K].
        temperature: of the relaxation, positive.
        num_samples: number of draws.

    Returns:
        The estimate.

    Raises:
        ConfigError: num_samples below 1, a known temperature that is not positive, or an objective
            of another shape.

    Example:
        >>> total = lambda x: x.sum(-1)  # 1 on the simplex: its gradient is zero
        >>> estimate = estimators.gumbel_softmax(jax.random.key(0), total, jnp.zeros(2))
        >>> bool(jnp.all(jnp.abs(estimate.gradient) < 1e-6))
        True
    """
    z = draw_perturbed(key, prepare(logits), num_samples)
    y = jax.nn.softmax(tempered(z, temperature), axis=-1)
    values, slope = evaluate_with_gradient(objective, y)
    return Estimate(jnp.mean(values), jnp.mean(softmax_pullback(y, slope), axis=0) / temperature)


def straight_through_gumbel_softmax(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    temperature: Array | float = 1.0,
    num_samples: int = 1,
) -> Estimate:
    """Straight-through Gumbel-softmax: (dy/dlogits)^T f'(x), x hard and y relaxed. Biased.

    The derivative at the hard draw is sent through the relaxed point of the same noise. Jang et al.
    (2017), section 2.2. Cost: num_samples derivatives.

    Args:
        key: a typed key.
        objective: f, `[*B, *E, K] -> [*B]`, differentiable.
        logits: [*E, K].
        temperature: of the relaxation, positive.
        num_samples: number of draws.

    Returns:
        The estimate.

    Raises:
        ConfigError: num_samples below 1, a known temperature that is not positive, or an objective
            of another shape.

    Example:
        >>> total = lambda x: x.sum(-1)  # 1 on the simplex: its gradient is zero
        >>> estimate = estimators.straight_through_gumbel_softmax(
        ...     jax.random.key(0), total, jnp.zeros(2)
        ... )
        >>> bool(jnp.all(jnp.abs(estimate.gradient) < 1e-6))
        True
    """
    z = draw_perturbed(key, prepare(logits), num_samples)
    y = jax.nn.softmax(tempered(z, temperature), axis=-1)
    values, slope = evaluate_with_gradient(objective, one_hot_argmax(z))
    return Estimate(jnp.mean(values), jnp.mean(softmax_pullback(y, slope), axis=0) / temperature)


def gumbel_rao(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    temperature: Array | float = 1.0,
    num_conditional: int = 10,
    num_samples: int = 1,
) -> Estimate:
    """Gumbel-Rao: `straight_through_gumbel_softmax` averaged over the noise given the hard draw.

    Biased by the same amount. For each hard draw x, the mean of (dy/dlogits)^T f'(x) over
    `num_conditional` (the paper's K) draws of z from p(z | x), each differentiated as z = logits +
    noise. More of them lower the variance and leave the mean. Paulus et al. (2021), section 3.
    Cost: num_samples derivatives, whatever num_conditional is.

    Args:
        key: a typed key.
        objective: f, `[*B, *E, K] -> [*B]`, differentiable.
        logits: [*E, K].
        temperature: of the relaxation, positive.
        num_conditional: relaxed draws for each hard one.
        num_samples: number of hard draws.

    Returns:
        The estimate.

    Raises:
        ConfigError: a number of draws below 1, a known temperature that is not positive, or an
            objective of another shape.

    Example:
        >>> total = lambda x: x.sum(-1)  # 1 on the simplex: its gradient is zero
        >>> estimate = estimators.gumbel_rao(jax.random.key(0), total, jnp.zeros(2))
        >>> bool(jnp.all(jnp.abs(estimate.gradient) < 1e-6))
        True
    """
    require(num_conditional >= 1, f"num_conditional must be at least 1, got {num_conditional}")
    checks.positive(temperature, "temperature")
    logits = prepare(logits)
    key_hard, key_conditional = jax.random.split(key)
    x = draw_one_hot(key_hard, logits, num_samples)
    values, slope = evaluate_with_gradient(objective, x)
    shape = (num_conditional, *x.shape)
    index = jnp.broadcast_to(jnp.argmax(x, axis=-1), shape[:-1])
    z = conditional_perturbed_logits(key_conditional, jnp.broadcast_to(logits, shape), index)
    y = jax.nn.softmax(tempered(z, temperature), axis=-1)
    gradient = jnp.mean(softmax_pullback(y, slope), axis=(0, 1)) / temperature
    return Estimate(jnp.mean(values), gradient)


def reinmax(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    temperature: Array | float = 1.0,
    num_samples: int = 1,
) -> Estimate:
    """ReinMax: 2 J((x + q) / 2) f'(x) - 1/2 J(p) f'(x), with J(p) = diag(p) - p p^T. Biased.

    q = softmax(logits / temperature). It is accurate to second order: at temperature 1 its mean is
    exact for quadratic objectives. Liu et al. (2023), algorithm 2. Cost: num_samples derivatives.

    Args:
        key: a typed key.
        objective: f, `[*B, *E, K] -> [*B]`, differentiable.
        logits: [*E, K].
        temperature: of q, positive.
        num_samples: number of draws.

    Returns:
        The estimate.

    Raises:
        ConfigError: num_samples below 1, a known temperature that is not positive, or an objective
            of another shape.

    Example:
        >>> total = lambda x: x.sum(-1)  # 1 on the simplex: its gradient is zero
        >>> estimators.reinmax(jax.random.key(0), total, jnp.zeros(2)).gradient.tolist()
        [0.0, 0.0]
    """
    logits = prepare(logits)
    p = jax.nn.softmax(logits, axis=-1)
    q = jax.nn.softmax(tempered(logits, temperature), axis=-1)
    x = draw_one_hot(key, logits, num_samples)
    values, slope = evaluate_with_gradient(objective, x)
    gradient = 2 * softmax_pullback((x + q) / 2, slope) - softmax_pullback(p, slope) / 2
    return Estimate(jnp.mean(values), jnp.mean(gradient, axis=0))
