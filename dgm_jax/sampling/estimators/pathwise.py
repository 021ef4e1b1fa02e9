"""Biased estimators of low variance that send the objective's derivative through a soft draw.

All need a differentiable objective; its derivative is taken at the hard draw (straight-through
kinds) or at a relaxed point (`gumbel_softmax`).

Each is a function from logits to points (`POINTS`) that can be differentiated: the objective's
derivative at the points, taken back to the logits, is the estimate. So `expectation` needs one
derivative of the objective for the logits and for what the objective closes over.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, checks, require
from dgm_jax.sampling._straight_through import straight_through as hard_with_soft_derivative
from dgm_jax.sampling.estimators.estimate import (
    Estimate,
    Estimator,
    Objective,
    draw_one_hot,
    draw_perturbed,
    evaluate,
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
    points = lambda logits: _straight_through_points(key, logits, num_samples=num_samples)
    return _estimate(objective, points, logits)


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
    points = lambda logits: _relaxed_points(
        key, logits, temperature=temperature, num_samples=num_samples
    )
    return _estimate(objective, points, logits)


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
    points = lambda logits: _straight_through_relaxed_points(
        key, logits, temperature=temperature, num_samples=num_samples
    )
    return _estimate(objective, points, logits)


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
    points = lambda logits: _rao_points(
        key,
        logits,
        temperature=temperature,
        num_conditional=num_conditional,
        num_samples=num_samples,
    )
    return _estimate(objective, points, logits)


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
    points = lambda logits: _reinmax_points(
        key, logits, temperature=temperature, num_samples=num_samples
    )
    return _estimate(objective, points, logits)


def _estimate(objective: Objective, points: Callable[[Array], Array], logits: Array) -> Estimate:
    """The mean of the objective over points [n, *E, K], and its derivative in the logits."""

    def mean_of(logits: Array) -> Array:
        return jnp.mean(evaluate(objective, points(logits)))

    return Estimate(*jax.value_and_grad(mean_of)(prepare(logits)))


def _straight_through_points(key: Key, logits: Array, *, num_samples: int = 1) -> Array:
    x = draw_one_hot(key, logits, num_samples)
    p = jax.nn.softmax(logits, axis=-1)
    return hard_with_soft_derivative(x, jnp.broadcast_to(p, x.shape))


def _relaxed_points(
    key: Key, logits: Array, *, temperature: Array | float = 1.0, num_samples: int = 1
) -> Array:
    z = draw_perturbed(key, logits, num_samples)
    return jax.nn.softmax(tempered(z, temperature), axis=-1)


def _straight_through_relaxed_points(
    key: Key, logits: Array, *, temperature: Array | float = 1.0, num_samples: int = 1
) -> Array:
    z = draw_perturbed(key, logits, num_samples)
    y = jax.nn.softmax(tempered(z, temperature), axis=-1)
    return hard_with_soft_derivative(one_hot_argmax(z), y)


def _rao_points(
    key: Key,
    logits: Array,
    *,
    temperature: Array | float = 1.0,
    num_conditional: int = 10,
    num_samples: int = 1,
) -> Array:
    require(num_conditional >= 1, f"num_conditional must be at least 1, got {num_conditional}")
    checks.positive(temperature, "temperature")
    key_hard, key_conditional = jax.random.split(key)
    x = draw_one_hot(key_hard, logits, num_samples)
    shape = (num_conditional, *x.shape)
    index = jnp.broadcast_to(jnp.argmax(x, axis=-1), shape[:-1])
    means = jnp.broadcast_to(logits, shape)
    z = conditional_perturbed_logits(key_conditional, jax.lax.stop_gradient(means), index)
    y = jax.nn.softmax(tempered(hard_with_soft_derivative(z, means), temperature), axis=-1)
    return hard_with_soft_derivative(x, jnp.mean(y, axis=0))


def _reinmax_points(
    key: Key, logits: Array, *, temperature: Array | float = 1.0, num_samples: int = 1
) -> Array:
    known = jax.lax.stop_gradient(logits)
    p = jax.nn.softmax(known, axis=-1)
    q = jax.nn.softmax(tempered(known, temperature), axis=-1)
    x = draw_one_hot(key, known, num_samples)
    # Linear in the logits: only its derivative counts, and both matrices are symmetric.
    soft = 2 * softmax_pullback((x + q) / 2, logits) - softmax_pullback(p, logits) / 2
    return hard_with_soft_derivative(x, soft)


# Estimator -> (key, logits [*E, K] that are finite, **options) -> points [n, *E, K].
POINTS: dict[Estimator, Callable[..., Array]] = {
    straight_through: _straight_through_points,
    gumbel_softmax: _relaxed_points,
    straight_through_gumbel_softmax: _straight_through_relaxed_points,
    gumbel_rao: _rao_points,
    reinmax: _reinmax_points,
}
