"""The expectation of a function of discrete variables, as a scalar to differentiate."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, by_name, checks
from dgm_jax.sampling.estimators.estimate import Estimator, Objective, evaluate, prepare
from dgm_jax.sampling.estimators.pathwise import POINTS
from dgm_jax.sampling.estimators.registry import ESTIMATORS
from dgm_jax.sampling.gumbel import as_logits


def expectation(
    estimator: Estimator | str,
    key: Key,
    objective: Objective,
    logits: Array,
    **options: Any,
) -> Array:
    """E[objective] as a scalar to differentiate, with the estimator's value and gradient.

    Its derivative with respect to the logits is the estimate's gradient. With respect to anything
    else that the objective closes over, it is the derivative of the estimate's value (the mean
    derivative over the points where the objective was evaluated). `jax.vmap` over (key, logits)
    handles a batch of encoder outputs.

    Args:
        estimator: a name of `ESTIMATORS`, or a function like its entries.
        key: a typed key.
        objective: `[*B, *E, K] -> [*B]`.
        logits: [*E, K].
        **options: of the estimator.

    Returns:
        A scalar, in the unit of the objective.

    Raises:
        ConfigError: an unknown name, several keys, or what the estimator refuses.

    Example:
        >>> from dgm_jax.sampling.estimators import expectation
        >>> f = lambda x: x @ jnp.array([1.0, 3.0])
        >>> loss = lambda logits: expectation("exact", jax.random.key(0), f, logits)
        >>> print(np.round(jax.grad(loss)(jnp.zeros(2)), 2))
        [-0.5  0.5]
    """
    function = by_name(ESTIMATORS, estimator, "gradient estimator", Callable)
    logits = as_logits(logits)
    key = checks.one_key(key)
    for known, points_of in POINTS.items():
        if function is known:
            points = points_of(key, prepare(logits), **options)
            return jnp.mean(evaluate(objective, points))
    estimate = function(key, objective, jax.lax.stop_gradient(logits), **options)
    # The product adds exactly zero to the value and the gradient to the derivative.
    unmasked = jnp.where(jnp.isneginf(logits), 0, logits)
    slope = jax.lax.stop_gradient(estimate.gradient)
    return estimate.value + jnp.sum(slope * (unmasked - jax.lax.stop_gradient(unmasked)))
