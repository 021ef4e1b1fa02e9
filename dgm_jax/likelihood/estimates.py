"""A ladder of estimates of log p(x) for models with latents, each with its error.

ELBO, importance-weighted, annealed, and on simulated data a sandwich of a lower and an upper bound.
Each rung costs more and is closer to the truth; all are lower bounds in expectation except for the
sandwich's upper side. A model is given by functions of arrays (`Path`); a decoder alone is enough.
x is processed in groups of rows and annealing holds one state per chain, so memory grows with
neither N, samples nor steps. Nats per example.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import (
    Array,
    Key,
    RunningMoments,
    at_least_float32,
    log_mean_exp,
    require,
    widened,
)
from dgm_jax.likelihood import annealing
from dgm_jax.likelihood.annealing import Path, Settings
from dgm_jax.likelihood.importance_sampling import (
    LogProbEstimate,
    chunk_of,
    importance_weighted,
    in_groups,
)
from dgm_jax.objectives import iwae


class Sandwich(NamedTuple):
    """Bounds of log p(x) from both sides.

    lower.log_prob <= log p(x) <= upper.log_prob, both in expectation: their difference bounds the
    error of both.

    Attributes:
        lower: annealed forwards.
        upper: annealed backwards from an exact posterior sample.
    """

    lower: LogProbEstimate
    upper: LogProbEstimate


class Ladder(NamedTuple):
    """The rungs, from loose to tight.

    Attributes:
        elbo: of `evidence_lower_bound`.
        importance_weighted: of `importance_weighted`.
        annealed: of `annealed_importance_sampling`.
        sandwich: of `bidirectional`, the only rung on simulated data; None without those.
    """

    elbo: LogProbEstimate
    importance_weighted: LogProbEstimate
    annealed: LogProbEstimate
    sandwich: Sandwich | None


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


def evidence_lower_bound(
    key: Key,
    path: Path,
    x: Array,
    num_samples: int,
    *,
    batch_size: int = 100,
    samples_at_once: int = 10,
) -> LogProbEstimate:
    """ELBO: the mean of log p(x, z) - log q(z | x) over draws of q (the path's start).

    Args:
        key: a typed key.
        path: its start is q.
        x: [N, ...].
        num_samples: at least 2, for a standard error, and a multiple of samples_at_once (if that is
            smaller).
        batch_size: rows of x that are processed at once.
        samples_at_once: samples held in memory at once.

    Returns:
        The bound for each row, in nats.

    Raises:
        ConfigError: numbers of samples that do not fit, or no rows.

    Example:
        >>> path = from_proposal(
        ...     lambda key, x, n: jnp.zeros((n, len(x), 1)),
        ...     lambda x, z: jnp.sum(z, axis=-1),
        ...     lambda x, z: jnp.sum(z, axis=-1) - 3,
        ... )
        >>> evidence_lower_bound(jax.random.key(0), path, jnp.zeros(2), 4).log_prob.tolist()
        [-3.0, -3.0]
    """
    at_once = chunk_of(num_samples, samples_at_once, least=2)
    draw = _log_weights(path)

    def of_rows(key: Key, rows: Array) -> LogProbEstimate:
        def more(chunk: Array, moments: RunningMoments) -> RunningMoments:
            return moments.merge(draw(jax.random.fold_in(key, chunk), rows, at_once))

        zero = jnp.zeros_like(draw(key, rows, 1)[0])
        empty = RunningMoments(jnp.zeros((), zero.dtype), zero, zero)
        moments = jax.lax.fori_loop(0, num_samples // at_once, more, empty)
        error = jnp.sqrt(moments.squares / (num_samples - 1) / num_samples)
        return LogProbEstimate(moments.mean, error)

    return in_groups(key, of_rows, batch_size, x)


def annealed_importance_sampling(
    key: Key, path: Path, x: Array, settings: Settings = Settings(), *, batch_size: int = 100
) -> LogProbEstimate:
    """log of the mean over chains of the annealed weights (see `annealing`), for each row of x.

    A lower bound in expectation, tight as settings.num_steps grows; step sizes come from a pilot
    run for each row. The cost is num_chains * num_leapfrog * (num_steps + num_knots * num_pilot)
    gradients of log p(x | z) for each row. An `effective_sample_size` (of the chains) near 1 says
    that the estimate is loose and its standard error too small.

    Args:
        key: a typed key.
        path: from the start of the chains to p(x, z).
        x: [N, ...].
        settings: of annealing.
        batch_size: rows of x that are processed at once.

    Returns:
        The estimate for each row, in nats.

    Raises:
        ConfigError: no rows.

    Example:
        >>> path = from_proposal(
        ...     lambda key, x, n: jnp.zeros((n, len(x), 1)),
        ...     lambda x, z: jnp.sum(0 * z, axis=-1),
        ...     lambda x, z: jnp.sum(0 * z, axis=-1) - 3,
        ... )
        >>> settings = Settings(num_steps=2, num_chains=2, num_leapfrog=1, num_knots=1, num_pilot=1)
        >>> estimate = annealed_importance_sampling(jax.random.key(0), path, jnp.zeros(1), settings)
        >>> print(f"{estimate.log_prob[0]:.4f}")
        -3.0000
    """

    def of_rows(key: Key, rows: Array) -> LogProbEstimate:
        key_pilot, key_run = jax.random.split(key)
        sizes = annealing.tune(key_pilot, path, rows, settings)
        return _over_chains(annealing.forward(key_run, path, rows, sizes, settings))

    return in_groups(key, of_rows, batch_size, x)


def bidirectional(
    key: Key,
    path: Path,
    x: Array,
    z: Array,
    settings: Settings = Settings(),
    *,
    batch_size: int = 100,
) -> Sandwich:
    """Bidirectional Monte Carlo: annealing forwards, and backwards from exact posterior samples.

    Both directions use the step sizes of one pilot run, which does not see z. All backward chains
    of a row start from its one z: their spread leaves out what another z would change;
    `average(...).data_error` includes it. Grosse et al. 2015; 2016.

    Args:
        key: a typed key.
        path: from the start of the chains to p(x, z).
        x: [N, ...].
        z: [N, *E], the latents that x was simulated with, z ~ p(z), x ~ p(x | z): then z is a draw
            of p(z | x). For data that the model did not generate there is no such draw and no upper
            bound.
        settings: of annealing.
        batch_size: rows of x that are processed at once.

    Returns:
        Both bounds for each row, in nats.

    Raises:
        ConfigError: x and z have different numbers of rows, or none.

    Example:
        >>> path = from_proposal(
        ...     lambda key, x, n: jnp.zeros((n, len(x), 1)),
        ...     lambda x, z: jnp.sum(0 * z, axis=-1),
        ...     lambda x, z: jnp.sum(0 * z, axis=-1) - 3,
        ... )
        >>> settings = Settings(num_steps=2, num_chains=2, num_leapfrog=1, num_knots=1, num_pilot=1)
        >>> z = jnp.zeros((1, 1))
        >>> lower, upper = bidirectional(jax.random.key(0), path, jnp.zeros(1), z, settings)
        >>> print(f"{lower.log_prob[0]:.4f} {upper.log_prob[0]:.4f}")
        -3.0000 -3.0000
    """
    require(
        x.shape[:1] == z.shape[:1],
        f"x and z must have as many rows; got {x.shape[:1]} and {z.shape[:1]}",
    )

    def of_rows(key: Key, rows: Array, exact: Array) -> Sandwich:
        key_pilot, key_forward, key_reverse = jax.random.split(key, 3)
        sizes = annealing.tune(key_pilot, path, rows, settings)
        lower = _over_chains(annealing.forward(key_forward, path, rows, sizes, settings))
        chains = jnp.broadcast_to(exact, (settings.num_chains, *exact.shape))
        backward = annealing.reverse(key_reverse, path, rows, chains, sizes, settings)
        upper = _over_chains(backward._replace(log_weights=-backward.log_weights))
        return Sandwich(lower, upper._replace(log_prob=-upper.log_prob))

    return in_groups(key, of_rows, batch_size, x, z)


def ladder(
    key: Key,
    path: Path,
    x: Array,
    *,
    num_samples: int = 1000,
    settings: Settings = Settings(),
    batch_size: int = 100,
    samples_at_once: int = 10,
    annealing_path: Path | None = None,
    simulated: tuple[Array, Array] | None = None,
) -> Ladder:
    """ELBO, importance-weighted bound and annealed estimate of log p(x), in one call.

    Args:
        key: a typed key.
        path: its start is the proposal of the first two rungs: `from_proposal` for an encoder,
            `from_prior` for a decoder.
        x: [N, ...].
        num_samples: for each of the first two rungs.
        settings: of annealing.
        batch_size: rows of x that are processed at once.
        samples_at_once: samples held in memory at once.
        annealing_path: another start for annealing, such as the prior.
        simulated: (x, z) drawn from the model, for the sandwich.

    Returns:
        The rungs for each row of x, in nats.

    Raises:
        ConfigError: as the functions of the rungs do.

    Example:
        >>> path = from_proposal(
        ...     lambda key, x, n: jnp.zeros((n, len(x), 1)),
        ...     lambda x, z: jnp.sum(0 * z, axis=-1),
        ...     lambda x, z: jnp.sum(0 * z, axis=-1) - 3,
        ... )
        >>> settings = Settings(num_steps=2, num_chains=2, num_leapfrog=1, num_knots=1, num_pilot=1)
        >>> rungs = ladder(
        ...     jax.random.key(0), path, jnp.zeros(1), num_samples=2, settings=settings
        ... )
        >>> print(f"{rungs.elbo.log_prob[0]:.4f} {rungs.annealed.log_prob[0]:.4f}")
        -3.0000 -3.0000
    """
    key_elbo, key_weights, key_annealed, key_sandwich = jax.random.split(key, 4)
    anneal = path if annealing_path is None else annealing_path
    chunks = {"batch_size": batch_size, "samples_at_once": samples_at_once}
    sandwich = None
    if simulated is not None:
        sandwich = bidirectional(key_sandwich, anneal, *simulated, settings, batch_size=batch_size)
    return Ladder(
        elbo=evidence_lower_bound(key_elbo, path, x, num_samples, **chunks),
        importance_weighted=importance_weighted(
            key_weights, _log_weights(path), x, num_samples, **chunks
        ),
        annealed=annealed_importance_sampling(
            key_annealed, anneal, x, settings, batch_size=batch_size
        ),
        sandwich=sandwich,
    )


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


def _log_weights(path: Path) -> Callable[[Key, Array, int], Array]:
    """log p(x, z) - log q(z | x) at fresh draws of the path's start q."""
    return lambda key, x, n: path.log_ratio(x, path.sample(key, x, n))


def _over_chains(annealed: annealing.Annealed) -> LogProbEstimate:
    return LogProbEstimate(*log_mean_exp(annealed.log_weights, axis=0), annealed.acceptance)
