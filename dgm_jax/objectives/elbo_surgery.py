"""What the KL term of the ELBO is made of: mutual information, and the distance of the aggregated
posterior to the prior.

With the n data points as an index and q(z) = 1/n sum_j q(z | x_j) (Hoffman and Johnson 2016, "ELBO
surgery"),

    1/n sum_i KL(q(z | x_i) || p(z)) = I(i; z) + KL(q(z) || p(z)),    0 <= I(i; z) <= log n.

The second term is zero for one prior only, p = q. It splits further (Chen et al. 2018, "Isolating
sources of disentanglement", eq. 2): KL(q || p) = total correlation KL(q || prod_d q_d) + sum_d
KL(q_d || p_d) where p factorises.

All in nats, averages over the data; every function is differentiable. An estimate of the mutual
information above `mutual_information_bound` is wrong. Estimates of log q(z) from a batch are in
`aggregate_density`.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32, checks, log_mean_exp, require, widened
from dgm_jax.objectives import divergences
from dgm_jax.objectives.aggregate_density import (
    log_densities,
    minibatch_stratified,
    minibatch_weighted,
)

__all__ = [
    "ActiveUnits",
    "Surgery",
    "SurgeryTerms",
    "Term",
    "active_units",
    "decompose",
    "decompose_aggregate",
    "decompose_gaussian",
    "decompose_on_grid",
    "minibatch_stratified",
    "minibatch_weighted",
    "mutual_information_bound",
]


class Surgery(NamedTuple):
    """average_kl = mutual_information + marginal_kl, scalars in nats."""

    average_kl: Array
    mutual_information: Array
    marginal_kl: Array


class Term(NamedTuple):
    """A mean over the data and its standard error, std / sqrt(N) of the figures per data point: the
    error of taking these points and draws for all. The posteriors that make up q(z) count as
    given."""

    mean: Array
    standard_error: Array


class SurgeryTerms(NamedTuple):
    """Every part of the ELBO; those whose input was not given are None.

    reconstruction - average_kl is the ELBO; average_kl = mutual_information + marginal_kl; and for
    a prior that factorises marginal_kl = total_correlation + sum over d of dimension_kl, whose
    `mean` is [D].
    """

    reconstruction: Term | None
    average_kl: Term
    mutual_information: Term
    marginal_kl: Term
    total_correlation: Term | None
    dimension_kl: Term | None


class ActiveUnits(NamedTuple):
    """variance [D] of the posterior means over the data; active bool[D]; count int32[]."""

    variance: Array
    active: Array
    count: Array


def decompose(log_q: Array, log_prior: Array) -> Surgery:
    """The surgery from all posteriors at all draws; one draw z_i ~ q(. | x_i) for each of N data
    points.

    log_q: [N, N] with log_q[i, j] = log q(z_i | x_j). log_prior: [N] with log p(z_i).

    average_kl = mean_i(log q(z_i | x_i) - log p(z_i)), mutual_information = mean_i(log q(z_i | x_i)
    - log q(z_i)) and marginal_kl = mean_i(log q(z_i) - log p(z_i)), unbiased where the N points are
      the whole data set. They add up to
    rounding. The estimated information is at most log N for every draw; it and the marginal KL can
    come out below zero. Raises ConfigError for shapes that do not fit.
    """
    shape, other = jnp.shape(log_q), jnp.shape(log_prior)
    require(
        len(shape) == 2 and shape[0] == shape[1] >= 1 and other == shape[:1],
        f"log_q must be [N, N] and log_prior [N]; got {shape} and {other}",
    )
    log_q, log_prior = widened(log_q, log_prior)
    own = jnp.diagonal(log_q)
    log_aggregate = log_mean_exp(log_q, axis=1).value
    return Surgery(
        jnp.mean(own - log_prior),
        jnp.mean(own - log_aggregate),
        jnp.mean(log_aggregate - log_prior),
    )


def decompose_on_grid(log_q: Array, log_prior: Array, spacing: float) -> Surgery:
    """The surgery by quadrature, for latents of one or two dimensions: no draws, and no error but
    the grid's.

    log_q: [N, G], log q(z_g | x_i) on a uniform grid (flattened); log_prior: [G]; spacing: length
        or area of a cell.
    As in `divergences`, the grid must hold the mass of all densities.
    """
    shape, other = jnp.shape(log_q), jnp.shape(log_prior)
    require(
        len(shape) == 2 and other == shape[1:],
        f"log_q must be [N, G] and log_prior [G]; got {shape} and {other}",
    )
    log_aggregate = log_mean_exp(log_q, axis=0).value
    return Surgery(
        jnp.mean(divergences.kl_on_grid(log_q, log_prior, spacing)),
        jnp.mean(divergences.kl_on_grid(log_q, log_aggregate, spacing)),
        divergences.kl_on_grid(log_aggregate, log_prior, spacing),
    )


def decompose_gaussian(
    z: Array,
    loc: Array,
    scale: Array,
    log_prior: Array,
    *,
    log_likelihood: Array | None = None,
    log_prior_by_dimension: Array | None = None,
    chunk_size: int = 256,
) -> SurgeryTerms:
    """All terms for diagonal Gaussian posteriors N(loc_i, diag(scale_i)^2), summed over all N data
    points.

    z: [*S, N, D] with z[..., i, :] ~ q(. | x_i); further leading axes are further draws, averaged
        for each point.
    loc, scale: [N, D]. log_prior: [*S, N], log p(z). log_likelihood: [*S, N], log p(x_i | z), adds
        the reconstruction.
    log_prior_by_dimension: [*S, N, D], log p(z_d) of a prior that factorises, adds `dimension_kl`.
    chunk_size: as many draws meet as many posteriors at once: [chunk, chunk, D] numbers, the work
        is O(N^2 D).

    Raises ConfigError for shapes that do not fit.
    """
    own, joint, by_dimension = log_densities(z, loc, scale, chunk_size)
    by_name = {"log_prior": log_prior, "log_likelihood": log_likelihood}
    for name, given in (*by_name.items(), ("log_prior_by_dimension", log_prior_by_dimension)):
        wanted = jnp.shape(z) if name == "log_prior_by_dimension" else jnp.shape(z)[:-1]
        require(
            given is None or given.shape == wanted,
            f"{name} must be {wanted}; got {getattr(given, 'shape', None)}",
        )
    return SurgeryTerms(
        reconstruction=None if log_likelihood is None else _term(log_likelihood),
        average_kl=_term(own - log_prior),
        mutual_information=_term(own - joint),
        marginal_kl=_term(joint - log_prior),
        total_correlation=_term(joint - jnp.sum(by_dimension, axis=-1)),
        dimension_kl=(
            None
            if log_prior_by_dimension is None
            else _term(by_dimension - log_prior_by_dimension, axis=-2)
        ),
    )


def decompose_aggregate(log_q: Array, log_aggregate: Array, log_prior: Array) -> SurgeryTerms:
    """The terms from densities of draws z_i ~ q(. | x_i), one for each of N data points, [N] each.

    log_q: log q(z_i | x_i). log_aggregate: log q(z_i) = log 1/N sum_j q(z_i | x_j). log_prior: log
        p(z_i).

    Raises ConfigError for shapes that do not fit.
    """
    shapes = [jnp.shape(a) for a in (log_q, log_aggregate, log_prior)]
    require(
        len(set(shapes)) == 1 and len(shapes[0]) == 1,
        f"log_q, log_aggregate and log_prior must be [N]; got {shapes}",
    )
    return SurgeryTerms(
        reconstruction=None,
        average_kl=_term(log_q - log_prior),
        mutual_information=_term(log_q - log_aggregate),
        marginal_kl=_term(log_aggregate - log_prior),
        total_correlation=None,
        dimension_kl=None,
    )


def mutual_information_bound(num_points: int) -> float:
    """log n, the largest mutual information between n data points and anything: reached where
    posteriors are disjoint."""
    require(num_points >= 1, f"num_points must be at least 1; got {num_points}")
    return math.log(num_points)


def active_units(loc: Array, threshold: float = 0.01) -> ActiveUnits:
    """Latent dimensions whose posterior mean moves with x: Var_x(E_q[z_d]) > threshold.

    loc: [N, D], the means E_q(z | x_i)[z]. Burda, Grosse and Salakhutdinov 2016, with threshold
        .01.
    """
    shape = jnp.shape(loc)
    require(len(shape) == 2 and shape[0] >= 2, f"loc must be [N, D] with N at least 2; got {shape}")
    checks.not_negative(threshold, "threshold")
    loc = at_least_float32(loc)
    variance = jnp.var(loc, axis=0, ddof=1)
    active = variance > threshold
    return ActiveUnits(variance, active, jnp.sum(active, dtype=jnp.int32))


def _term(values: Array, axis: int = -1) -> Term:
    """Mean over everything but the event, the standard error over the data axis after the draws
    were averaged."""
    per_point = jnp.mean(at_least_float32(values), axis=tuple(range(values.ndim + axis)))
    num = per_point.shape[0]
    error = (
        jnp.std(per_point, axis=0, ddof=1) / math.sqrt(num)
        if num > 1
        else jnp.full_like(per_point[0], jnp.inf)
    )
    return Term(jnp.mean(per_point, axis=0), error)
