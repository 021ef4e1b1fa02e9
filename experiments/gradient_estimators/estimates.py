"""Gradient estimators on a problem whose gradient is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Key, lookup
from dgm_jax.sampling.estimators import ESTIMATORS, HAS_TEMPERATURE


def toy_gradient(
    key: Key,
    name: str,
    target: float | Array,
    probability: Array,
    temperature: Array | None = None,
) -> Array:
    """Estimate d/dl E[(b - target)^2] once, for b ~ Bernoulli(sigmoid(l)).

    The problem of Tucker et al. 2017, section 5.1 (target .45), and Grathwohl et al. 2018, section
    4.1 (.499). Exact value: (1 - 2 target) probability (1 - probability).

    Args:
        key: random key.
        name: of the estimator.
        target: of b.
        probability: sigmoid(l), a scalar.
        temperature: of the estimator; None for its default.

    Returns:
        A scalar.

    Raises:
        ConfigError: for an unknown estimator.
    """
    logits = jnp.stack(
        [jnp.zeros_like(probability), jnp.log(probability) - jnp.log1p(-probability)]
    )
    options = {} if temperature is None else {"temperature": temperature}
    estimator = lookup(ESTIMATORS, name, "gradient estimator")
    return estimator(key, lambda x: (x[..., 1] - target) ** 2, logits, **options).gradient[1]


def evaluations(name: str) -> int:
    """Count the points at which one estimate evaluates the objective (or its derivative).

    Args:
        name: of the estimator.

    Returns:
        Their number, counted while tracing.
    """
    counts = []

    def objective(x):
        counts.append(int(np.prod(x.shape[:-1])))
        return x[..., 1]

    jax.eval_shape(lambda key: ESTIMATORS[name](key, objective, jnp.zeros(2)), jax.random.key(0))
    return sum(counts)


def cells_of(
    name: str, probabilities: tuple[float, ...], temperatures: tuple[float, ...]
) -> list[tuple]:
    """List the cells of an estimator; one per probability if it has no temperature.

    Args:
        name: of the estimator.
        probabilities: values to combine.
        temperatures: values to combine.

    Returns:
        (probability, temperature or None) of every cell.
    """
    values = temperatures if name in HAS_TEMPERATURE else (None,)
    return [(p, t) for p in probabilities for t in values]


def estimate(name: str, target: float | Array, cells: list[tuple], key: Key) -> Array:
    """Estimate the gradient once in each cell, all from the same key.

    Args:
        name: of the estimator.
        target: of the problem.
        cells: as `cells_of` lists them.
        key: random key.

    Returns:
        [cells].
    """
    probability = jnp.array([p for p, _ in cells], jnp.float32)
    gradient = functools.partial(toy_gradient, key, name, target)
    if cells[0][1] is None:
        return jax.vmap(gradient)(probability)
    temperature = jnp.array([t for _, t in cells], jnp.float32)
    return jax.vmap(gradient)(probability, temperature)
