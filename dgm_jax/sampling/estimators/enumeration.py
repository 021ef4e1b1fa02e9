"""The exact gradient, by enumeration of every configuration."""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Key, require
from dgm_jax.sampling.estimators.estimate import Estimate, Objective, evaluate, prepare, scale_rows


def exact(
    key: Key, objective: Objective, logits: Array, *, max_configurations: int = 65_536
) -> Estimate:
    """sum_x p(x) f(x), and its gradient sum_x p(x) (f(x) - E f) (x - p). No noise; the key is not
    used.

    Cost: one evaluation of the objective on all K^|E| configurations at once. Raises
    `ConfigError` where there are more than `max_configurations`. Configurations of
    probability zero do not count, whatever the objective is there.
    """
    del key
    logits = prepare(logits)
    num_variables, num_classes = int(np.prod(logits.shape[:-1])), logits.shape[-1]
    total = num_classes**num_variables
    require(
        total <= max_configurations,
        f"{num_classes}^{num_variables} = {total} configurations are more than "
        f"max_configurations={max_configurations}",
    )
    codes = np.stack(
        np.unravel_index(np.arange(total), (num_classes,) * num_variables or (1,)), axis=-1
    )
    x = jax.nn.one_hot(codes.reshape(total, *logits.shape[:-1]), num_classes, dtype=logits.dtype)
    axes = tuple(range(1, x.ndim))
    weights = jnp.exp(jnp.sum(x * jax.nn.log_softmax(logits, axis=-1), axis=axes))
    values = jnp.where(weights > 0, evaluate(objective, x), 0)
    value = jnp.sum(weights * values)
    score = x - jax.nn.softmax(logits, axis=-1)
    return Estimate(value, jnp.sum(scale_rows(weights * (values - value), score), axis=0))
