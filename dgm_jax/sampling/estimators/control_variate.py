"""Score-function estimators with a control variate made of the objective's derivative.

MuProp, REBAR and RELAX.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key
from dgm_jax.sampling.estimators.estimate import (
    Estimate,
    Objective,
    draw_one_hot,
    draw_perturbed,
    evaluate,
    evaluate_with_gradient,
    one_hot_argmax,
    prepare,
    scale_rows,
    softmax_pullback,
)
from dgm_jax.sampling.gumbel import tempered


def muprop(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    num_samples: int = 1,
) -> Estimate:
    """MuProp: mean of [f(x) - f(p) - f'(p).(x - p)] (x - p), plus (dp/dlogits)^T f'(p). Unbiased.

    The control variate is the first-order expansion of the objective at the mean p of x, whose own
    gradient is known in closed form; for an affine objective no variance is left. Gu et al. (2016),
    section 3. Cost: num_samples values and one derivative, at p.

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
        >>> estimators.muprop(jax.random.key(0), affine, jnp.zeros(2)).gradient.tolist()
        [-0.5, 0.5]
    """
    logits = prepare(logits)
    p = jax.nn.softmax(logits, axis=-1)
    at_mean, slope = evaluate_with_gradient(objective, p[None])
    x = draw_one_hot(key, logits, num_samples)
    values = evaluate(objective, x)
    residual = values - _first_order(at_mean, slope, x - p)
    return Estimate(
        jnp.mean(values),
        jnp.mean(scale_rows(residual, x - p), axis=0) + softmax_pullback(p, slope[0]),
    )


def rebar(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    temperature: Array | float = 1.0,
    scale: Array | float = 1.0,
    num_samples: int = 1,
) -> Estimate:
    """REBAR: RELAX with the control variate c(z) = scale * f(softmax(z / temperature)). Unbiased.

    Tucker et al. (2017), section 3, for categorical variables. Cost: num_samples values, and as
    many derivatives at relaxed points.

    Args:
        key: a typed key.
        objective: f, `[*B, *E, K] -> [*B]`, differentiable.
        logits: [*E, K].
        temperature: of the relaxation, positive. It and `scale` may be traced: the derivative of
            sum(gradient**2) with respect to them is an unbiased estimate of the derivative of the
            variance, which is how both are tuned.
        scale: of the control variate.
        num_samples: number of draws.

    Returns:
        The estimate.

    Raises:
        ConfigError: num_samples below 1, a known temperature that is not positive, or an objective
            of another shape.

    Example:
        >>> constant = lambda x: jnp.ones(x.shape[:1])  # its gradient is zero
        >>> estimators.rebar(jax.random.key(0), constant, jnp.zeros(2)).gradient.tolist()
        [0.0, 0.0]
    """

    def control(z: Array) -> Array:
        return scale * evaluate(objective, jax.nn.softmax(tempered(z, temperature), axis=-1))

    return _with_control(key, objective, control, logits, num_samples)


def relax(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    control: Callable[[Array], Array] | None = None,
    temperature: Array | float = 1.0,
    num_samples: int = 1,
) -> Estimate:
    """RELAX: mean of [f(x) - c(z)] (x - p) + dc(z)/dlogits - dc(z~)/dlogits. Unbiased for every c.

    z = logits + Gumbel noise, x = one-hot argmax z, z~ ~ p(z | x). Grathwohl et al. (2018), section
    3.1. Cost: num_samples values and derivatives of c; the default c needs one derivative of the
    objective, at p.

    Args:
        key: a typed key.
        objective: f, `[*B, *E, K] -> [*B]`.
        logits: [*E, K].
        control: c, `z[n, *E, K] -> [n]`. It may hold parameters (a network): the derivative of
            sum(gradient**2) with respect to them trains it. None for a fixed one, the objective's
            first-order expansion at p taken at the relaxed point:
            c(z) = f(p) + f'(p).(softmax(z / temperature) - p).
        temperature: of the default control, positive.
        num_samples: number of draws.

    Returns:
        The estimate.

    Raises:
        ConfigError: num_samples below 1, a known temperature that is not positive, or an objective
            or control of another shape.

    Example:
        >>> constant = lambda x: jnp.ones(x.shape[:1])  # its gradient is zero
        >>> estimators.relax(jax.random.key(0), constant, jnp.zeros(2)).gradient.tolist()
        [0.0, 0.0]
    """
    if control is None:
        p = jax.lax.stop_gradient(jax.nn.softmax(prepare(logits), axis=-1))
        at_mean, slope = evaluate_with_gradient(objective, p[None])

        def first_order(z: Array) -> Array:
            relaxed = jax.nn.softmax(tempered(z, temperature), axis=-1)
            return _first_order(at_mean, slope, relaxed - p)

        control = first_order

    return _with_control(key, objective, control, logits, num_samples)


def _first_order(value: Array, slope: Array, step: Array) -> Array:
    """f(p) + f'(p).step for value [1], slope [1, *E, K] and steps [n, *E, K]."""
    return value + jnp.sum(slope * step, axis=tuple(range(1, step.ndim)))


def _with_control(
    key: Key,
    objective: Objective,
    control: Callable[[Array], Array],
    logits: Array,
    num_samples: int,
) -> Estimate:
    """`relax`, with the noise of z~ chosen such that z~ equals z.

    z given x is z_b = logsumexp(logits) + G_b for the winner b and z_k = -log(exp(-logits_k - G_k)
    + exp(-z_b)) for the others. At fixed noise, with r_k = exp(z_k - z_b), differentiation gives
    dz_k / dlogits = (1 - r_k) e_k + r_k p, for the winner too (r_b = 1). With u = c'(z) the two
    pathwise terms are u and (1 - r) u + p (r.u), and their difference is r u - p (r.u): no second
    draw, no second derivative of the control, and no logarithm that could lose digits. The coupling
    changes no expectation, since z~ enters each term with its own distribution.
    """
    logits = prepare(logits)
    p = jax.nn.softmax(logits, axis=-1)
    z = draw_perturbed(key, logits, num_samples)
    x = one_hot_argmax(z)
    values = evaluate(objective, x)
    controls, slope = evaluate_with_gradient(control, z)
    weighted = jnp.exp(z - jnp.max(z, axis=-1, keepdims=True)) * slope  # r u
    pathwise = weighted - p * jnp.sum(weighted, axis=-1, keepdims=True)
    score_term = scale_rows(values - controls, x - p)
    return Estimate(jnp.mean(values), jnp.mean(score_term + pathwise, axis=0))
