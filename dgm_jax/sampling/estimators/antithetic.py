"""Antithetic pairs of draws (DisARM): binary variables, and categorical ones by stick breaking."""

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, require, uniform
from dgm_jax.sampling.estimators.estimate import Estimate, Objective, evaluate, prepare


def disarm(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    num_samples: int = 1,
) -> Estimate:
    """DisARM: (f(x) - f(x~)) (s - s~) sigmoid(|phi|) / 2 over an antithetic pair. Unbiased.

    A category is drawn by breaking a stick: for i = 1..K-1, s_i ~ Bernoulli(sigmoid(phi_i)) with
    phi_i = logits_i - logsumexp(logits_{i+1..K}), and x is the first i with s_i = 1, or K. The pair
    is s_i = [u_i < sigmoid(phi_i)], s~_i = [1 - u_i < sigmoid(phi_i)]; the gradient in phi is
    carried to the logits by the chain rule. Terms of the sticks after the end of both draws have
    mean zero given the rest and are left out. K = 2 is the binary estimator of Dong et al. (2020),
    section 3, also found by Yin et al. (2020); stick breaking is DisARM-SB of Dong et al. (2021).
    The distribution of the estimate, but not its mean, depends on the order of the categories.
    Cost: 2 num_samples values of the objective.

    Args:
        key: a typed key.
        objective: f, `[*B, *E, K] -> [*B]`.
        logits: [*E, K].
        num_samples: number of antithetic pairs.

    Returns:
        The estimate; unbiased for every K.

    Raises:
        ConfigError: num_samples below 1, or an objective of another shape.

    Example:
        >>> constant = lambda x: jnp.ones(x.shape[:1])  # its gradient is zero
        >>> estimators.disarm(jax.random.key(0), constant, jnp.zeros(3)).gradient.tolist()
        [0.0, 0.0, 0.0]
    """
    require(num_samples >= 1, f"num_samples must be at least 1, got {num_samples}")
    logits = prepare(logits)
    phi, pullback = jax.vjp(_stick_logits, logits)
    dtype = phi.dtype
    shape = (num_samples, *phi.shape)
    u = uniform(key, shape, dtype)
    probability = jax.nn.sigmoid(phi)
    # [2, num_samples, *E, K - 1]: both draws of each pair.
    first = u < probability
    second = 1 - u < probability
    sticks = jnp.stack([first, second])
    # A last stick that always breaks makes K the category of draws without a broken stick.
    *draws, num_sticks = sticks.shape
    last_stick = jnp.ones((*draws, 1), bool)
    ended = jnp.concatenate([sticks, last_stick], axis=-1)
    index = jnp.argmax(ended, axis=-1)
    x = jax.nn.one_hot(index, logits.shape[-1], dtype=logits.dtype)
    x = x.reshape(-1, *logits.shape)
    values = evaluate(objective, x)
    values = values.reshape(2, num_samples)
    difference = values[0] - values[1]
    ones = (1,) * phi.ndim
    difference = difference.reshape(num_samples, *ones)
    sign = first.astype(dtype) - second.astype(dtype)
    # Sticks after the end of both draws are left out.
    position = jnp.arange(num_sticks)
    last_index = jnp.max(index, axis=0)
    counts = position <= last_index[..., None]
    larger = jax.nn.sigmoid(jnp.abs(phi))
    by_stick = difference * sign * larger / 2
    by_stick = jnp.where(counts, by_stick, 0)
    (gradient,) = pullback(jnp.mean(by_stick, axis=0))
    value = jnp.mean(values)
    return Estimate(value, gradient)


def _stick_logits(logits: Array) -> Array:
    """phi[..., K-1]: log-odds of stopping at a category, given that none before it was taken."""
    tails = jax.lax.cumlogsumexp(logits, axis=logits.ndim - 1, reverse=True)
    return logits[..., :-1] - tails[..., 1:]
