"""The expectation of a function of discrete variables, as a scalar to differentiate."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, by_name, checks
from dgm_jax.sampling.estimators.estimate import Estimator, Objective
from dgm_jax.sampling.estimators.registry import ESTIMATORS
from dgm_jax.sampling.gumbel import as_logits


def expectation(
    estimator: Estimator | str, key: Key, objective: Objective, logits: Array, **options
) -> Array:
    """E[objective] as a scalar to differentiate: its value is the estimate's, and so is its
    gradient in the logits.

    estimator: a name of `ESTIMATORS`, or a function as these are.

    With respect to anything else that the objective closes over, the derivative is that of
    the estimate's value (the mean derivative over the points where the objective was
    evaluated). `jax.vmap` over (key, logits) gives a batch of encoders' outputs.

    Example: `jax.grad(lambda params:
        expectation("rebar", key, f, encode(params)))(params)`.
    """
    function = by_name(ESTIMATORS, estimator, "gradient estimator", Callable)
    logits = as_logits(logits)
    estimate = function(checks.one_key(key), objective, jax.lax.stop_gradient(logits), **options)
    free = jnp.where(jnp.isneginf(logits), 0, logits)
    slope = jax.lax.stop_gradient(estimate.gradient)
    return estimate.value + jnp.sum(slope * (free - jax.lax.stop_gradient(free)))
