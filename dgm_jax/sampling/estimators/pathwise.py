"""Biased estimators of low variance that send the objective's derivative through a soft draw.

All need the objective to be differentiable; its derivative is taken at the hard draw
(straight-through kinds) or at a relaxed point (`gumbel_softmax`).
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
    key: Key, objective: Objective, logits: Array, *, num_samples: int = 1
) -> Estimate:
    """(dp/dlogits)^T f'(x): the derivative at the hard draw, sent through softmax. Biased.

    Exact for affine objectives only. Bengio et al. (2013); the form for categorical
    variables as in Liu et al. (2023), section 2. Cost: num_samples derivatives.
    """
    logits = prepare(logits)
    values, slope = evaluate_with_gradient(objective, draw_one_hot(key, logits, num_samples))
    return Estimate(
        jnp.mean(values), softmax_pullback(jax.nn.softmax(logits, axis=-1), jnp.mean(slope, axis=0))
    )


def gumbel_softmax(
    key: Key, objective: Objective, logits: Array, *, temperature=1.0, num_samples: int = 1
) -> Estimate:
    """(dy/dlogits)^T f'(y) at the relaxed point y = softmax((logits + G) / temperature). Biased.

    The exact gradient of E[f(y)], which tends to E[f(x)] as the temperature goes to
    zero, while the variance grows without bound. `value` is the relaxed f(y), biased as well.
    Jang et al. (2017), eq. 2; Maddison et al. (2017). Cost: num_samples derivatives.
    """
    y = jax.nn.softmax(
        tempered(draw_perturbed(key, prepare(logits), num_samples), temperature), axis=-1
    )
    values, slope = evaluate_with_gradient(objective, y)
    return Estimate(jnp.mean(values), jnp.mean(softmax_pullback(y, slope), axis=0) / temperature)


def straight_through_gumbel_softmax(
    key: Key, objective: Objective, logits: Array, *, temperature=1.0, num_samples: int = 1
) -> Estimate:
    """(dy/dlogits)^T f'(x): derivative at the hard draw, sent through the relaxed point of the same
    noise. Biased.

    Jang et al. (2017), section 2.2. Cost: num_samples derivatives.
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
    temperature=1.0,
    num_conditional: int = 10,
    num_samples: int = 1,
) -> Estimate:
    """`straight_through_gumbel_softmax` averaged over the noise given the hard draw. Biased, by the
    same amount.

    For each hard draw x, the mean of (dy/dlogits)^T f'(x) over `num_conditional` (the
    paper's K) draws of z from p(z | x), each differentiated as z = logits + noise. More of
    them lower the variance and leave the mean. Paulus et al. (2021), section 3. Cost:
    num_samples derivatives, whatever num_conditional is.
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
    return Estimate(
        jnp.mean(values), jnp.mean(softmax_pullback(y, slope), axis=(0, 1)) / temperature
    )


def reinmax(
    key: Key, objective: Objective, logits: Array, *, temperature=1.0, num_samples: int = 1
) -> Estimate:
    """2 J((x + q) / 2) f'(x) - 1/2 J(p) f'(x), with J(p) = diag(p) - p p^T. Biased, of second
    order.

    q = softmax(logits / temperature). At temperature 1 the estimator is exact in the mean
    for quadratic objectives. Liu et al. (2023), algorithm 2. Cost: num_samples derivatives.
    """
    logits = prepare(logits)
    p = jax.nn.softmax(logits, axis=-1)
    q = jax.nn.softmax(tempered(logits, temperature), axis=-1)
    x = draw_one_hot(key, logits, num_samples)
    values, slope = evaluate_with_gradient(objective, x)
    gradient = 2 * softmax_pullback((x + q) / 2, slope) - softmax_pullback(p, slope) / 2
    return Estimate(jnp.mean(values), jnp.mean(gradient, axis=0))
