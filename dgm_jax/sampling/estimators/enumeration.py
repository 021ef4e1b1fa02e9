"""The exact gradient, by enumeration of all configurations."""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Key, require
from dgm_jax.sampling.estimators.estimate import Estimate, Objective, evaluate, prepare, scale_rows


def exact(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    max_configurations: int = 65_536,
) -> Estimate:
    """E f = sum_x p(x) f(x) and its gradient sum_x p(x) (f(x) - E f) (x - p), without noise.

    Configurations of probability zero do not count, whatever the objective is there. Cost: one
    evaluation of the objective on all K^|E| configurations at once.

    Args:
        key: not used.
        objective: f, `[*B, *E, K] -> [*B]`.
        logits: [*E, K].
        max_configurations: largest number of configurations to enumerate.

    Returns:
        The exact value and gradient.

    Raises:
        ConfigError: more configurations than `max_configurations`.

    Example:
        >>> f = lambda x: x @ jnp.array([1.0, 3.0])
        >>> estimate = estimators.exact(jax.random.key(0), f, jnp.zeros(2))
        >>> print(f"{estimate.value:.2f}", np.round(estimate.gradient, 2))
        2.00 [-0.5  0.5]
    """
    del key
    logits = prepare(logits)
    num_variables = int(np.prod(logits.shape[:-1]))
    num_classes = logits.shape[-1]
    total = num_classes**num_variables
    require(
        total <= max_configurations,
        f"{num_classes}^{num_variables} = {total} configurations are more than "
        f"max_configurations={max_configurations}",
    )
    digits = np.unravel_index(np.arange(total), (num_classes,) * num_variables or (1,))
    codes = np.stack(digits, axis=-1).reshape(total, *logits.shape[:-1])
    x = jax.nn.one_hot(codes, num_classes, dtype=logits.dtype)
    axes = tuple(range(1, x.ndim))
    weights = jnp.exp(jnp.sum(x * jax.nn.log_softmax(logits, axis=-1), axis=axes))
    values = jnp.where(weights > 0, evaluate(objective, x), 0)
    value = jnp.sum(weights * values)
    score = x - jax.nn.softmax(logits, axis=-1)
    return Estimate(value, jnp.sum(scale_rows(weights * (values - value), score), axis=0))
