"""What the KL term of the ELBO consists of: mutual information, and a KL of the aggregate.

With the n data points as an index and q(z) = 1/n sum_j q(z | x_j), the aggregated posterior
(Hoffman and Johnson 2016, "ELBO surgery"),

    1/n sum_i KL(q(z | x_i) || p(z)) = I(i; z) + KL(q(z) || p(z)),    0 <= I(i; z) <= log n.

The second term is zero for one prior only, p = q. It splits further (Chen et al. 2018, "Isolating
sources of disentanglement", eq. 2): KL(q || p) = total correlation KL(q || prod_d q_d) +
sum_d KL(q_d || p_d) where p factorizes.

All in nats, averages over the data; every function is differentiable. An estimate of the mutual
information above `mutual_information_bound` is wrong. Estimates of log q(z) from a batch are in
`aggregate_density`.
"""

import math

import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32, checks, log_mean_exp, require, widened
from dgm_jax.objectives import divergences
from dgm_jax.objectives._surgery_terms import ActiveUnits, Surgery, SurgeryTerms, Term
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


def decompose(log_q: Array, log_prior: Array) -> Surgery:
    """The surgery from one draw z_i ~ q(. | x_i) for each of N data points.

    average_kl = mean_i(log q(z_i | x_i) - log p(z_i)),
    mutual_information = mean_i(log q(z_i | x_i) - log q(z_i)) and
    marginal_kl = mean_i(log q(z_i) - log p(z_i)), unbiased where the N points are the whole data
    set. They add up to rounding. The estimated information is at most log N for every draw; it and
    the marginal KL can come out below zero.

    Args:
        log_q: [N, N] with log_q[i, j] = log q(z_i | x_j).
        log_prior: [N] with log p(z_i).

    Returns:
        The three terms, scalars in nats.

    Raises:
        ConfigError: shapes that do not fit.

    Example:
        >>> disjoint = jnp.where(jnp.eye(2, dtype=bool), 0.0, -jnp.inf)
        >>> surgery = elbo_surgery.decompose(disjoint, jnp.zeros(2))
        >>> print(f"{surgery.mutual_information:.4f}")  # log 2
        0.6931
    """
    shape = jnp.shape(log_q)
    prior_shape = jnp.shape(log_prior)
    require(
        len(shape) == 2 and shape[0] == shape[1] >= 1 and prior_shape == shape[:1],
        f"log_q must be [N, N] and log_prior [N]; got {shape} and {prior_shape}",
    )
    log_q, log_prior = widened(log_q, log_prior)
    log_posterior = jnp.diagonal(log_q)
    log_aggregate = log_mean_exp(log_q, axis=1).value
    return Surgery(
        average_kl=jnp.mean(log_posterior - log_prior),
        mutual_information=jnp.mean(log_posterior - log_aggregate),
        marginal_kl=jnp.mean(log_aggregate - log_prior),
    )


def decompose_on_grid(
    log_q: Array,
    log_prior: Array,
    spacing: float,
) -> Surgery:
    """The surgery by quadrature, for latents of one or two dimensions: no error but the grid's.

    As in `divergences`, the grid must hold the mass of all densities.

    Args:
        log_q: [N, G], log q(z_g | x_i) on a uniform grid (flattened).
        log_prior: [G].
        spacing: length or area of a grid cell.

    Returns:
        The three terms, scalars in nats.

    Raises:
        ConfigError: shapes that do not fit, or a spacing that is not positive.

    Example:
        >>> log_q = jnp.array([[0.0, -jnp.inf], [-jnp.inf, 0.0]])  # on two cells of length 1
        >>> surgery = elbo_surgery.decompose_on_grid(log_q, jnp.log(jnp.array([0.5, 0.5])), 1.0)
        >>> print(f"{surgery.average_kl:.4f} {surgery.mutual_information:.4f}")  # log 2
        0.6931 0.6931
    """
    shape = jnp.shape(log_q)
    prior_shape = jnp.shape(log_prior)
    require(
        len(shape) == 2 and prior_shape == shape[1:],
        f"log_q must be [N, G] and log_prior [G]; got {shape} and {prior_shape}",
    )
    log_aggregate = log_mean_exp(log_q, axis=0).value
    return Surgery(
        average_kl=jnp.mean(divergences.kl_on_grid(log_q, log_prior, spacing)),
        mutual_information=jnp.mean(divergences.kl_on_grid(log_q, log_aggregate, spacing)),
        marginal_kl=divergences.kl_on_grid(log_aggregate, log_prior, spacing),
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
    """All terms for diagonal Gaussian posteriors N(loc_i, diag(scale_i)^2) of N data points.

    The work is O(N^2 D): matrix products for the joint density, with a bounded error (at most 1e-3
    nats a point), and N^2 D exponentials for the total correlation and `dimension_kl`, which a
    compiled program leaves out where neither is used.

    Args:
        z: [*S, N, D] with z[..., i, :] ~ q(. | x_i); the leading axes are further draws, averaged
            for each point.
        loc: [N, D].
        scale: standard deviations [N, D].
        log_prior: log p(z), [*S, N].
        log_likelihood: log p(x_i | z), [*S, N]; adds the reconstruction.
        log_prior_by_dimension: log p(z_d) of a prior that factorizes, [*S, N, D]; adds
            `dimension_kl`.
        chunk_size: number of draws, and of posteriors, in a tile
            (`densities.aggregate.log_prob`).

    Returns:
        The terms, in nats, with their standard errors.

    Raises:
        ConfigError: shapes that do not fit.

    Example:
        >>> log_prior = jnp.array([-1.0, -1.0])
        >>> z = jnp.array([[0.0], [100.0]])  # each at the mean of its posterior
        >>> terms = elbo_surgery.decompose_gaussian(z, z, jnp.ones((2, 1)), log_prior)
        >>> print(f"{terms.mutual_information.mean:.4f}")  # disjoint posteriors: log 2
        0.6931
    """
    log_posterior, log_aggregate, by_dimension = log_densities(z, loc, scale, chunk_size)
    shape = jnp.shape(z)
    expected_shapes = {
        "log_prior": (log_prior, shape[:-1]),
        "log_likelihood": (log_likelihood, shape[:-1]),
        "log_prior_by_dimension": (log_prior_by_dimension, shape),
    }
    for name, (values, expected) in expected_shapes.items():
        require(
            values is None or values.shape == expected,
            f"{name} must be {expected}; got {getattr(values, 'shape', None)}",
        )
    dimension_kl = None
    if log_prior_by_dimension is not None:
        dimension_kl = _term(by_dimension - log_prior_by_dimension, axis=-2)
    return SurgeryTerms(
        reconstruction=None if log_likelihood is None else _term(log_likelihood),
        average_kl=_term(log_posterior - log_prior),
        mutual_information=_term(log_posterior - log_aggregate),
        marginal_kl=_term(log_aggregate - log_prior),
        total_correlation=_term(log_aggregate - jnp.sum(by_dimension, axis=-1)),
        dimension_kl=dimension_kl,
    )


def decompose_aggregate(
    log_q: Array,
    log_aggregate: Array,
    log_prior: Array,
) -> SurgeryTerms:
    """The terms from densities at one draw z_i ~ q(. | x_i) for each of N data points.

    Args:
        log_q: log q(z_i | x_i), [N].
        log_aggregate: log q(z_i) = log 1/N sum_j q(z_i | x_j), [N].
        log_prior: log p(z_i), [N].

    Returns:
        The terms, in nats, with their standard errors.

    Raises:
        ConfigError: shapes that do not fit.

    Example:
        >>> terms = elbo_surgery.decompose_aggregate(jnp.zeros(2), -jnp.ones(2), jnp.full(2, -3.0))
        >>> terms.mutual_information.mean.item(), terms.marginal_kl.mean.item()
        (1.0, 2.0)
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
    """log n, the largest mutual information between n data points and anything.

    It is reached where the posteriors are disjoint.

    Args:
        num_points: n, at least 1.

    Returns:
        Nats.

    Raises:
        ConfigError: num_points below 1.

    Example:
        >>> print(f"{elbo_surgery.mutual_information_bound(2):.4f}")
        0.6931
    """
    require(num_points >= 1, f"num_points must be at least 1; got {num_points}")
    return math.log(num_points)


def active_units(loc: Array, threshold: float = 0.01) -> ActiveUnits:
    """Latent dimensions whose posterior mean varies with x: Var_x(E_q[z_d]) > threshold.

    Burda, Grosse and Salakhutdinov 2016, with threshold .01.

    Args:
        loc: [N, D], the means E_q(z | x_i)[z], with N at least 2.
        threshold: in squared units of z, not negative.

    Returns:
        Variance and activity by dimension, and the number of active dimensions.

    Raises:
        ConfigError: another shape, or a negative threshold.

    Example:
        >>> elbo_surgery.active_units(jnp.array([[0.0, 1.0], [0.0, -1.0]])).active.tolist()
        [False, True]
    """
    shape = jnp.shape(loc)
    require(len(shape) == 2 and shape[0] >= 2, f"loc must be [N, D] with N at least 2; got {shape}")
    checks.not_negative(threshold, "threshold")
    loc = at_least_float32(loc)
    variance = jnp.var(loc, axis=0, ddof=1)
    active = variance > threshold
    return ActiveUnits(variance, active, jnp.sum(active, dtype=jnp.int32))


def _term(values: Array, axis: int = -1) -> Term:
    """The mean over the data axis, and over the axes of draws before it, with its error.

    The standard error is that over the data, after the draws were averaged.
    """
    per_point = jnp.mean(at_least_float32(values), axis=tuple(range(values.ndim + axis)))
    num = per_point.shape[0]
    if num > 1:
        error = jnp.std(per_point, axis=0, ddof=1) / math.sqrt(num)
    else:
        error = jnp.full_like(per_point[0], jnp.inf)
    return Term(jnp.mean(per_point, axis=0), error)
