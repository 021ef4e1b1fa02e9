"""A ladder of estimates of log p(x) for models with latents, each with its error: ELBO,
importance-weighted, annealed, and on simulated data a sandwich of a lower and an upper bound.

Each rung needs more work and is nearer to the truth; all are lower bounds in expectation but the
sandwich's upper side. A model is given by functions of arrays (`Path`), a decoder alone will do. x
is worked on in groups of rows and annealing holds one state per chain, so memory grows with neither
N, samples nor steps. Nats per example.
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
    """lower.log_prob <= log p(x) <= upper.log_prob, both in expectation: their difference bounds
    the error of both."""

    lower: LogProbEstimate
    upper: LogProbEstimate


class Ladder(NamedTuple):
    """The rungs, from loose to tight; sandwich is None without simulated data, of which it is the
    only rung."""

    elbo: LogProbEstimate
    importance_weighted: LogProbEstimate
    annealed: LogProbEstimate
    sandwich: Sandwich | None


class Average(NamedTuple):
    """mean over examples. data_error: its standard error as an estimate for other data of the kind.
    monte_carlo_error: the part of it that more draws or chains would remove; the examples being
        given."""

    mean: Array
    data_error: Array
    monte_carlo_error: Array


class Overstated(NamedTuple):
    """excess: mean of bound - independent estimate, nats. z_score: in standard errors. flag:
    z_score above the limit."""

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
    """Mean of log p(x, z) - log q(z | x) over num_samples draws of q (the path's start), for each
    row of x.

    num_samples: at least 2, for a standard error, and a multiple of samples_at_once (if that is
        smaller).
    """
    at_once = chunk_of(num_samples, samples_at_once, least=2)
    draw = _log_weights(path)

    def of_rows(key, rows):
        def more(chunk, moments):
            return moments.merge(draw(jax.random.fold_in(key, chunk), rows, at_once))

        zero = jnp.zeros_like(draw(key, rows, 1)[0])
        empty = RunningMoments(jnp.zeros((), zero.dtype), zero, zero)
        found = jax.lax.fori_loop(0, num_samples // at_once, more, empty)
        return LogProbEstimate(
            found.mean, jnp.sqrt(found.squares / (num_samples - 1) / num_samples)
        )

    return in_groups(key, of_rows, batch_size, x)


def annealed_importance_sampling(
    key: Key, path: Path, x: Array, settings: Settings = Settings(), *, batch_size: int = 100
) -> LogProbEstimate:
    """log of the mean over chains of the annealed weights (see `annealing`), for each row of x [N,
    ...].

    A lower bound in expectation, tight as settings.num_steps grows; step sizes come from a pilot
    run for each row. The cost is num_chains * num_leapfrog * (num_steps + num_knots * num_pilot)
    gradients of log p(x | z) for each row. `effective_sample_size`, of the chains, near 1 says that
    the estimate is loose and its standard error too small.
    """

    def of_rows(key, rows):
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
    """Bidirectional Monte Carlo: annealing forwards, and backwards from exact posterior samples;
    per row of x [N, ...].

    z: [N, *E], the latents that x was simulated with, z ~ p(z), x ~ p(x | z): then z is a draw of
        p(z | x). For data
    that the model did not make there is no such draw and no upper bound (Grosse et al. 2015; 2016).

    Both directions use the step sizes of one pilot, which does not see z. All backward chains of a
    row start from its one z: their spread leaves out what another z would change, and
    `average(...).data_error` does not.
    """
    require(
        x.shape[:1] == z.shape[:1],
        f"x and z must have as many rows; got {x.shape[:1]} and {z.shape[:1]}",
    )

    def of_rows(key, rows, exact):
        key_pilot, key_forward, key_reverse = jax.random.split(key, 3)
        sizes = annealing.tune(key_pilot, path, rows, settings)
        lower = _over_chains(annealing.forward(key_forward, path, rows, sizes, settings))
        chains = jnp.broadcast_to(exact, (settings.num_chains, *exact.shape))
        found = annealing.reverse(key_reverse, path, rows, chains, sizes, settings)
        upper = _over_chains(found._replace(log_weights=-found.log_weights))
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
    """ELBO, importance-weighted bound and annealed estimate of log p(x) for each row of x, in one
    call.

    path: its start is the proposal of the first two rungs: `from_proposal` for an encoder,
        `from_prior` for a decoder.
    annealing_path: another start for annealing, say the prior. simulated: (x, z) drawn from the
        model, for the
    sandwich. num_samples: for each of the first two rungs.
    """
    key_elbo, key_weights, key_annealed, key_sandwich = jax.random.split(key, 4)
    anneal = path if annealing_path is None else annealing_path
    chunks = {"batch_size": batch_size, "samples_at_once": samples_at_once}
    return Ladder(
        evidence_lower_bound(key_elbo, path, x, num_samples, **chunks),
        importance_weighted(key_weights, _log_weights(path), x, num_samples, **chunks),
        annealed_importance_sampling(key_annealed, anneal, x, settings, batch_size=batch_size),
        (
            None
            if simulated is None
            else bidirectional(key_sandwich, anneal, *simulated, settings, batch_size=batch_size)
        ),
    )


def jackknife(log_weights: Array) -> Array:
    """S L_S - (S - 1) mean_i L_{S, without i}, L the importance-weighted bound: [S, *B] -> [*B],
    nats.

    Removes the bound's bias of order 1 / S (Nowozin 2018, "Debiasing evidence approximations",
    JVI-1). Not a bound: it can exceed log p(x), and varies more.
    """
    shape = jnp.shape(log_weights)
    require(
        jnp.ndim(log_weights) >= 1 and shape[0] >= 2,
        f"log_weights must be [S, *B] with S at least 2; got {shape}",
    )
    num = shape[0]
    log_weights = at_least_float32(log_weights)
    # S times the logarithms themselves would leave the digits of their common level only.
    level = jax.lax.stop_gradient(jnp.max(log_weights, axis=0))
    level = jnp.where(jnp.isfinite(level), level, 0.0)
    log_weights = log_weights - level
    nothing = jnp.full((1, *shape[1:]), -jnp.inf, log_weights.dtype)
    before = jnp.concatenate([nothing, jax.lax.cumlogsumexp(log_weights[:-1], axis=0)])
    after = jnp.concatenate([jax.lax.cumlogsumexp(log_weights[1:], axis=0, reverse=True), nothing])
    without = jnp.logaddexp(before, after) - math.log(num - 1)
    return level + num * iwae.bound(log_weights) - (num - 1) * jnp.mean(without, axis=0)


def average(estimate: LogProbEstimate) -> Average:
    """Over examples, with the error from the choice of data and the error from the estimator kept
    apart."""
    values = at_least_float32(estimate.log_prob)
    num = values.shape[0]
    data_error = (
        jnp.std(values, ddof=1) / math.sqrt(num) if num > 1 else jnp.full_like(values[0], jnp.inf)
    )
    error = jnp.linalg.norm(at_least_float32(estimate.standard_error)) / num
    return Average(jnp.mean(values), data_error, error)


def overstated(
    bound: Array,
    independent: LogProbEstimate,
    *,
    standard_error: Array | None = None,
    limit: float = 3.0,
) -> Overstated:
    """Whether a claimed bound on log p(x) exceeds an independent estimate by more than its error,
    on average over x.

    bound: [N], from a critic, say; one draw of it is enough. independent: of the same examples. A
        flag says that one of
    the two is wrong: a critic that underfits, or an annealed estimate far from log p(x) (see its
    effective sample size, or `bidirectional`).
    standard_error: [N], of the bound, put together with the independent estimate's own; without it
    the error is that of the mean of the N differences, which is larger where the gap itself differs
    between examples, and needs N at least 2.
    """
    shapes = jnp.shape(bound), jnp.shape(independent.log_prob)
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
        error = (
            jnp.sqrt(jnp.sum(jnp.square(standard_error) + jnp.square(independent.standard_error)))
            / num
        )
    score = excess / jnp.maximum(error, jnp.finfo(error.dtype).tiny)
    return Overstated(excess, score, score > limit)


def _log_weights(path: Path) -> Callable:
    return lambda key, x, n: path.log_ratio(x, path.sample(key, x, n))


def _over_chains(found: annealing.Annealed) -> LogProbEstimate:
    return LogProbEstimate(*log_mean_exp(found.log_weights, axis=0), found.acceptance)
