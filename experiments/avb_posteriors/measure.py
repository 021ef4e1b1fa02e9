"""Measures of approximations of one posterior that is known up to its constant.

Two Gaussian families and an implicit sampler. All three maximize a bound on the log-normalizer of
an unnormalized log-density log f(z), f = Z p, without any data:

    log Z - KL(q || p) = E_q [log f(z) - log q(z)].

The families are those of `models.posterior_families`. The sampler is measured independently of its
critic: see `evaluate_family`.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Key, Params, lookup, require
from dgm_jax.densities.posteriors import POSTERIORS, Unnormalized
from dgm_jax.evaluation.histogram import Cells, centers, counts, histogram_kl
from dgm_jax.models.posterior_families import Family
from dgm_jax.objectives import divergences

FAMILIES = ("mean_field", "full_rank", "avb")
GRID = Cells(-6.0, 6.0, 600)  # of the quadratures over the plane
BINS = Cells(-6.0, 6.0, 200)  # of the histograms, bins of .06
NUM_DRAWS = 400_000  # for histograms and moments
PART = 5_000  # draws at a time
SHOWN = 2_000


class Truth(NamedTuple):
    """Exact values of a posterior, by quadrature.

    Attributes:
        log_normalizer: log Z in nats.
        mean: mean of the quantities [D].
        sd: standard deviation of the quantities [D].
    """

    log_normalizer: Array | np.ndarray
    mean: Array | np.ndarray
    sd: Array | np.ndarray


def split_arm(name: str) -> tuple[str, str]:
    """Split an arm's name, such as "torus/avb", into posterior and family.

    Args:
        name: of the arm.

    Returns:
        The two names.

    Raises:
        ConfigError: for names that do not exist.
    """
    posterior, slash, family = name.partition("/")
    require(bool(slash), f"an arm is POSTERIOR/FAMILY, such as torus/avb; got {name!r}")
    lookup(POSTERIORS, posterior, "posterior")
    lookup(FAMILIES, family, "family")
    return posterior, family


@functools.cache
def truth(posterior: str) -> Truth:
    """Compute normalizer and moments of a posterior by quadrature, in double precision.

    By the midpoint rule over the plane of the first two quantities. Call it outside of compiled
    code.

    Args:
        posterior: its name.

    Returns:
        The exact values.
    """
    target = POSTERIORS[posterior]
    with jax.enable_x64(True):
        plane = centers(GRID)
        log_f = target.plane_log_density(plane)
        log_normalizer = jax.nn.logsumexp(log_f) + math.log(GRID.area)
        share = jnp.exp(log_f - jax.nn.logsumexp(log_f))
        mean, variance = target.given_plane(plane)
        first = jnp.concatenate([plane, mean], axis=-1)
        second = jnp.square(first) + jnp.concatenate([0 * plane, variance], axis=-1)
        mean = share @ first
        sd = jnp.sqrt(share @ second - jnp.square(mean))
        exact = Truth(log_normalizer, mean, sd)
        return Truth(*(np.asarray(value, np.float32) for value in exact))


class _Draws(NamedTuple):
    """Means over draws of q, in standard deviations of the exact posterior where it says so.

    Attributes:
        in_bins: the counts of the first two quantities in BINS.
        bound: mean of log f - log q.
        error: mean error of the quantities [D], in standard deviations.
        squared_error: mean square of that error [D].
        critic_kl: the critic's estimate of its divergence; 0 without a critic.
        shown: some draws of the first two quantities.
    """

    in_bins: Array
    bound: Array
    error: Array
    squared_error: Array
    critic_kl: Array
    shown: Array


def _draw_part(
    key: Key, family: Family, target: Unnormalized, params: Params, exact: Truth
) -> _Draws:
    """`_Draws` of PART draws."""
    z = family.draw(key, params, PART)
    log_f = target.log_density(z)
    log_q = jnp.zeros(PART) if family.log_prob is None else family.log_prob(params, z)
    quantities = target.quantities(z)
    error = (quantities - exact.mean) / exact.sd
    critic_kl = jnp.zeros(())
    if family.critic_kl is not None:
        critic_kl = family.critic_kl(jax.random.fold_in(key, 1), params)
    return _Draws(
        in_bins=counts(quantities[:, :2], BINS),
        bound=jnp.mean(log_f - log_q),
        error=jnp.mean(error, axis=0),
        squared_error=jnp.mean(jnp.square(error), axis=0),
        critic_kl=critic_kl,
        shown=quantities[: SHOWN * PART // NUM_DRAWS, :2],
    )


def evaluate_family(
    key: Key, family: Family, target: Unnormalized, params: Params, exact: Truth
) -> dict[str, Array]:
    """Measure a fitted family by NUM_DRAWS draws, made in parts.

    plane_kl is `histogram_kl` of the first two quantities. kl is, for Gaussians, a quadrature over
    GRID in the plane and log Z - elbo in more dimensions; for the sampler it is plane_kl in the
    plane and absent in more dimensions. elbo is the mean of log f - log q over the draws; for the
    sampler in the plane with the entropy of the histogram.

    Args:
        key: random key of the draws.
        family: the family.
        target: the posterior.
        params: the fitted parameters.
        exact: the exact values of the posterior.

    Returns:
        Metrics by name, and draws "z".
    """
    draw_part = functools.partial(
        _draw_part, family=family, target=target, params=params, exact=exact
    )
    parts = jax.lax.map(draw_part, jax.random.split(key, NUM_DRAWS // PART))
    in_bins = jnp.sum(parts.in_bins, axis=0)
    bound = jnp.mean(parts.bound, axis=0)
    first = jnp.mean(parts.error, axis=0)
    second = jnp.mean(parts.squared_error, axis=0)
    ratio = jnp.sqrt(second - jnp.square(first))
    plane = histogram_kl(
        in_bins, lambda x: target.plane_log_density(x) - exact.log_normalizer, BINS, NUM_DRAWS
    )
    table = {
        "plane_kl": plane.kl,
        "outside": plane.outside,
        "mean_error": jnp.max(jnp.abs(first)),
        "smallest_sd_ratio": jnp.min(ratio),
        "largest_sd_ratio": jnp.max(ratio),
        "z": parts.shown.reshape(-1, 2),
    }
    if family.critic_kl is not None:
        table["critic_kl"] = jnp.mean(parts.critic_kl, axis=0) + exact.log_normalizer
        if target.size > 2:
            return table
        negative_entropy = histogram_kl(in_bins, lambda x: jnp.zeros(x.shape[0]), BINS, NUM_DRAWS)
        bound = bound - negative_entropy.kl
        kl = plane.kl
    elif target.size == 2:
        log_p = target.log_density(centers(GRID)) - exact.log_normalizer
        log_prob = cast(Callable, family.log_prob)  # a family without a critic has a density
        kl = divergences.kl_on_grid(log_prob(params, centers(GRID)), log_p, GRID.area)
    else:
        kl = exact.log_normalizer - bound
    return table | {"kl": kl, "elbo": bound, "bound_gap": exact.log_normalizer - bound}
