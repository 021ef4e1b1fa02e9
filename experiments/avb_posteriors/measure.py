"""Approximations of one posterior that is known up to its constant: two Gaussian families and an
implicit sampler.

All three maximise a bound on the log-normaliser of an unnormalised log-density log f(z), f = Z p,
without any data:

    log Z - KL(q || p) = E_q [log f(z) - log q(z)].

The families are those of `models.posterior_families`. What is reported of the sampler owes nothing
to its critic: see `evaluate_family`.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Key, lookup, require
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
    """By quadrature: log Z in nats, mean and standard deviation of the quantities [D]."""

    log_normaliser: Array | np.ndarray
    mean: Array | np.ndarray
    sd: Array | np.ndarray


def split_arm(name: str) -> tuple[str, str]:
    """("torus", "avb") of "torus/avb"; ConfigError for names that do not exist."""
    posterior, slash, family = name.partition("/")
    require(bool(slash), f"an arm is POSTERIOR/FAMILY, such as torus/avb; got {name!r}")
    lookup(POSTERIORS, posterior, "posterior")
    lookup(FAMILIES, family, "family")
    return posterior, family


@functools.cache
def truth(posterior: str) -> Truth:
    """Normaliser and moments by the midpoint rule over the plane of the first two quantities, in
    double precision.

    Call it from the host, outside of compiled code.
    """
    target = POSTERIORS[posterior]
    with jax.enable_x64(True):
        plane = centers(GRID)
        log_f = target.plane_log_density(plane)
        log_normaliser = jax.nn.logsumexp(log_f) + math.log(GRID.area)
        share = jnp.exp(log_f - jax.nn.logsumexp(log_f))
        mean, variance = target.given_plane(plane)
        first = jnp.concatenate([plane, mean], axis=-1)
        second = jnp.square(first) + jnp.concatenate([0 * plane, variance], axis=-1)
        mean = share @ first
        found = Truth(log_normaliser, mean, jnp.sqrt(share @ second - jnp.square(mean)))
        return Truth(*(np.asarray(value, np.float32) for value in found))


def evaluate_family(
    key: Key, family: Family, target: Unnormalized, params, exact: Truth
) -> dict[str, Array]:
    """What the experiment explains; NUM_DRAWS draws of q, in parts.

    plane_kl: `histogram_kl` of the first two quantities. kl: for Gaussians in the plane by
        quadrature over GRID, in
    more dimensions log Z - elbo; for the sampler in the plane plane_kl, in more dimensions there is
    none.
    elbo: mean of log f - log q over the draws; for the sampler in the plane with the entropy of the
    histogram.
    """

    def part(key):
        z = family.draw(key, params, PART)
        log_f = target.log_density(z)
        log_q = jnp.zeros(PART) if family.log_prob is None else family.log_prob(params, z)
        found = target.quantities(z)
        away = (found - exact.mean) / exact.sd
        of_critic = (
            jnp.zeros(())
            if family.critic_kl is None
            else family.critic_kl(jax.random.fold_in(key, 1), params)
        )
        sums = (
            jnp.mean(log_f - log_q),
            jnp.mean(away, axis=0),
            jnp.mean(jnp.square(away), axis=0),
            of_critic,
        )
        return counts(found[:, :2], BINS), sums, found[: SHOWN * PART // NUM_DRAWS, :2]

    found, sums, shown = jax.lax.map(part, jax.random.split(key, NUM_DRAWS // PART))
    bound, first, second, of_critic = (jnp.mean(each, axis=0) for each in sums)
    found = jnp.sum(found, axis=0)
    ratio = jnp.sqrt(second - jnp.square(first))
    plane = histogram_kl(
        found, lambda at: target.plane_log_density(at) - exact.log_normaliser, BINS, NUM_DRAWS
    )
    table = {
        "plane_kl": plane.kl,
        "outside": plane.outside,
        "mean_error": jnp.max(jnp.abs(first)),
        "smallest_sd_ratio": jnp.min(ratio),
        "largest_sd_ratio": jnp.max(ratio),
        "z": shown.reshape(-1, 2),
    }
    if family.critic_kl is not None:
        table["critic_kl"] = of_critic + exact.log_normaliser
        if target.size > 2:
            return table
        bound = bound - histogram_kl(found, lambda at: jnp.zeros(at.shape[0]), BINS, NUM_DRAWS).kl
        kl = plane.kl
    elif target.size == 2:
        log_p = target.log_density(centers(GRID)) - exact.log_normaliser
        log_prob = cast(Callable, family.log_prob)  # whoever has no critic's divergence has it
        kl = divergences.kl_on_grid(log_prob(params, centers(GRID)), log_p, GRID.area)
    else:
        kl = exact.log_normaliser - bound
    return table | {"kl": kl, "elbo": bound, "bound_gap": exact.log_normaliser - bound}
