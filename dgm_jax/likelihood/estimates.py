"""A ladder of estimates of log p(x) for models with latents, each with its error.

ELBO, importance-weighted, annealed, and on simulated data a sandwich of a lower and an upper bound.
Each rung costs more and is closer to the truth; all are lower bounds in expectation except for the
sandwich's upper side. A model is given by functions of arrays (`Path`); a decoder alone is enough.
x is processed in groups of rows and annealing holds one state per chain, so memory grows with
neither N, samples nor steps. Nats per example.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import (
    Array,
    Key,
    RunningMoments,
    log_mean_exp,
    require,
)
from dgm_jax.likelihood import annealing
from dgm_jax.likelihood.annealing import Path, Settings
from dgm_jax.likelihood.importance_sampling import (
    LogProbEstimate,
    chunk_of,
    importance_weighted,
    in_groups,
)


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
    key: Key,
    path: Path,
    x: Array,
    settings: Settings = Settings(),
    *,
    batch_size: int = 100,
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

    def of_rows(
        key: Key,
        rows: Array,
        exact: Array,
    ) -> Sandwich:
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


def _log_weights(path: Path) -> Callable[[Key, Array, int], Array]:
    """log p(x, z) - log q(z | x) at fresh draws of the path's start q."""
    return lambda key, x, n: path.log_ratio(x, path.sample(key, x, n))


def _over_chains(annealed: annealing.Annealed) -> LogProbEstimate:
    return LogProbEstimate(*log_mean_exp(annealed.log_weights, axis=0), annealed.acceptance)
