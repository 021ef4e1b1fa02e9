"""A standard normal pushed through a bijection."""

import functools

from dgm_jax.core import Bijection, Prior, checks, require
from dgm_jax.flows import autoregressive_flow, coupling_flow, invert
from dgm_jax.priors._standard_normal import standard_normal


def flow(bijection: Bijection, dim: int) -> Prior:
    """z = f(e), e ~ N(0, I), with f the forward direction: log p(z) = log N(f^-1(z); 0, I) +
    log|det df^-1/dz|.

    So samples take the forward direction and densities the inverse. A bijection that is quick the
    other way, such as `masked_autoregressive`, goes in as `invert(bijection)`. params: those of the
    bijection. Nats.
    """
    checks.whole(dim, "dim")
    require(isinstance(bijection, Bijection), f"bijection must be a Bijection; got {bijection!r}")
    base = standard_normal(dim)

    def sample(params, key, n):
        return bijection.forward_and_log_det(params, base.sample({}, key, n))[0]

    def log_prob(params, z):
        noise, log_det = bijection.inverse_and_log_det(params, checks.vectors(z, "z", dim))
        return base.log_prob({}, noise) + log_det

    return Prior(bijection.init, sample, log_prob)


def coupling_flow_prior(
    dim: int,
    num_layers: int = 4,
    hidden: tuple[int, ...] = (64, 64),
    kind: str = "affine",
    **options,
) -> Prior:
    """`flow` through `flows.coupling_flow`: samples and densities both in one pass. N(0, I) at
    init."""
    return flow(coupling_flow(dim, num_layers, hidden, kind, **options), dim)


def autoregressive_flow_prior(
    dim: int,
    num_layers: int = 2,
    hidden: tuple[int, ...] = (64, 64),
    *,
    log_scale_bound: float = 3.0,
) -> Prior:
    """`flow` through the inverse of `flows.autoregressive_flow`: densities in one pass a layer,
    samples in `dim`.

    The "AF prior" of Chen et al. 2017, "Variational lossy autoencoder", section 3.2, whose ELBO is
    that of an inverse autoregressive posterior with the prior N(0, I). N(0, I) at init.
    """
    return flow(
        invert(autoregressive_flow(dim, num_layers, hidden, log_scale_bound=log_scale_bound)), dim
    )


spline_flow_prior = functools.partial(coupling_flow_prior, kind="spline")
