"""Gradient estimators on a problem whose gradient is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Key, lookup
from dgm_jax.sampling.estimators import ESTIMATORS, HAS_TEMPERATURE


def toy_gradient(key: Key, name: str, target, probability, temperature=None) -> Array:
    """One estimate of d/dl E[(b - target)^2] for b ~ Bernoulli(sigmoid(l)) with sigmoid(l) =
    probability: a scalar.

    The problem of Tucker et al. 2017, section 5.1 (target .45), and Grathwohl et al. 2018, section
    4.1 (.499). Exact value: (1 - 2 target) probability (1 - probability).
    """
    logits = jnp.stack(
        [jnp.zeros_like(probability), jnp.log(probability) - jnp.log1p(-probability)]
    )
    options = {} if temperature is None else {"temperature": temperature}
    estimator = lookup(ESTIMATORS, name, "gradient estimator")
    return estimator(key, lambda x: (x[..., 1] - target) ** 2, logits, **options).gradient[1]


def evaluations(name: str) -> int:
    """Points at which one estimate asks for the objective (or for its derivative there), counted
    while tracing."""
    seen = []

    def objective(x):
        seen.append(int(np.prod(x.shape[:-1])))
        return x[..., 1]

    jax.eval_shape(lambda key: ESTIMATORS[name](key, objective, jnp.zeros(2)), jax.random.key(0))
    return sum(seen)


def cells_of(
    name: str, probabilities: tuple[float, ...], temperatures: tuple[float, ...]
) -> list[tuple]:
    """(probability, temperature) of every cell; one cell a probability where the estimator has no
    temperature."""
    return [
        (p, t)
        for p in probabilities
        for t in (temperatures if name in HAS_TEMPERATURE else (None,))
    ]


def estimate(name: str, target, cells: list[tuple], key: Key) -> Array:
    """One estimate of the gradient in each of the cells, all from the same key: [cells]."""
    probability = jnp.array([p for p, _ in cells], jnp.float32)
    one = functools.partial(toy_gradient, key, name, target)
    if cells[0][1] is None:
        return jax.vmap(one)(probability)
    return jax.vmap(one)(probability, jnp.array([t for _, t in cells], jnp.float32))
