"""What is made of estimates of log p(x): averages, comparisons, less bias."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32, require, widened
from dgm_jax.likelihood.importance_sampling import LogProbEstimate
from dgm_jax.objectives import iwae


class Average(NamedTuple):
    """A mean of log p(x) over examples, with its two errors.

    Attributes:
        mean: in nats.
        data_error: its standard error as an estimate for other data of the same kind.
        monte_carlo_error: Monte Carlo error alone, conditional on the examples.
    """

    mean: Array
    data_error: Array
    monte_carlo_error: Array


class Overstated(NamedTuple):
    """Whether a bound exceeds an independent estimate.

    Attributes:
        excess: mean of bound - independent estimate, in nats.
        z_score: the excess in standard errors.
        flag: whether z_score is above the limit.
    """

    excess: Array
    z_score: Array
    flag: Array


def jackknife(log_weights: Array) -> Array:
    """S L_S - (S - 1) mean_i L_{S, without i}, with L the importance-weighted bound.

    Removes the bound's bias of order 1 / S (Nowozin 2018, "Debiasing evidence approximations",
    JVI-1). Not a bound: it can exceed log p(x), and varies more.

    Args:
        log_weights: [S, *B] with S at least 2, in nats.

    Returns:
        Nats [*B].

    Raises:
        ConfigError: fewer than two samples.

    Example:
        >>> print(f"{jackknife(jnp.full(3, -2.0)):.4f}")  # equal weights have no bias
        -2.0000
    """
    shape = jnp.shape(log_weights)
    require(
        jnp.ndim(log_weights) >= 1 and shape[0] >= 2,
        f"log_weights must be [S, *B] with S at least 2; got {shape}",
    )
    num = shape[0]
    log_weights = at_least_float32(log_weights)
    # Subtract a common level first: S times the logarithms would keep the digits of the level only.
    level = jax.lax.stop_gradient(jnp.max(log_weights, axis=0))
    level = jnp.where(jnp.isfinite(level), level, 0.0)
    log_weights = log_weights - level
    # Sums without one entry, from the sums before and after it: a difference would cancel.
    nothing = jnp.full((1, *shape[1:]), -jnp.inf, log_weights.dtype)
    before = jnp.concatenate([nothing, jax.lax.cumlogsumexp(log_weights[:-1], axis=0)])
    after = jnp.concatenate([jax.lax.cumlogsumexp(log_weights[1:], axis=0, reverse=True), nothing])
    without = jnp.logaddexp(before, after) - math.log(num - 1)
    return level + num * iwae.bound(log_weights) - (num - 1) * jnp.mean(without, axis=0)


def average(estimate: LogProbEstimate) -> Average:
    """Average over examples, with the errors from the data and from the estimator kept apart.

    Args:
        estimate: of N examples.

    Returns:
        The mean and both errors, scalars in nats.

    Example:
        >>> result = average(LogProbEstimate(jnp.array([-4.0, -2.0]), jnp.array([3.0, 4.0])))
        >>> result.mean.item(), result.monte_carlo_error.item()
        (-3.0, 2.5)
    """
    values = at_least_float32(estimate.log_prob)
    num = values.shape[0]
    if num > 1:
        data_error = jnp.std(values, ddof=1) / math.sqrt(num)
    else:
        data_error = jnp.full_like(values[0], jnp.inf)
    error = jnp.linalg.norm(at_least_float32(estimate.standard_error)) / num
    return Average(jnp.mean(values), data_error, error)


def overstated(
    bound: Array,
    independent: LogProbEstimate,
    *,
    standard_error: Array | None = None,
    limit: float = 3.0,
) -> Overstated:
    """Whether a claimed bound on log p(x) exceeds an independent estimate by more than its error.

    On average over x. A flag says that one of the two is wrong: a critic that underfits, or an
    annealed estimate far from log p(x) (see its effective sample size, or `bidirectional`).

    Args:
        bound: [N], in nats, from a critic for instance; one draw of it is enough.
        independent: estimate for the same examples.
        standard_error: [N], of the bound, combined with the independent estimate's own; without it
            the error is that of the mean of the N differences, which is larger where the gap itself
            differs between examples, and needs N at least 2.
        limit: in standard errors.

    Returns:
        Excess, z-score and flag, scalars.

    Raises:
        ConfigError: shapes that do not fit, or one example without a `standard_error`.

    Example:
        >>> independent = LogProbEstimate(jnp.array([-3.0, -3.0]), jnp.zeros(2))
        >>> result = overstated(jnp.array([-1.0, -1.0]), independent, standard_error=jnp.ones(2))
        >>> print(f"{result.excess:.4f} {result.z_score:.4f}")  # 2 / (sqrt 2 / 2)
        2.0000 2.8284
    """
    shapes = (jnp.shape(bound), jnp.shape(independent.log_prob))
    require(
        shapes[0] == shapes[1] and len(shapes[0]) == 1,
        f"bound and estimate must both be [N]; got {shapes}",
    )
    num = shapes[0][0]
    require(
        standard_error is not None or num >= 2, "one example needs the standard_error of its bound"
    )
    bound, log_prob = widened(bound, independent.log_prob)
    difference = bound - log_prob
    excess = jnp.mean(difference)
    if standard_error is None:
        error = jnp.std(difference, ddof=1) / math.sqrt(num)
    else:
        variance = jnp.square(standard_error) + jnp.square(independent.standard_error)
        error = jnp.sqrt(jnp.sum(variance)) / num
    score = excess / jnp.maximum(error, jnp.finfo(error.dtype).tiny)
    return Overstated(excess, score, score > limit)
