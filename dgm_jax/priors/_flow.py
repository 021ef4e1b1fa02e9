"""A standard normal distribution pushed through a bijection."""

import functools
from typing import Any

from dgm_jax.core import Array, Bijection, Key, Prior, PyTree, checks, require
from dgm_jax.flows import autoregressive_flow, coupling_flow, invert
from dgm_jax.priors._standard_normal import standard_normal


def flow(bijection: Bijection, dim: int) -> Prior:
    """Push a standard normal distribution through a bijection.

    z = f(e), e ~ N(0, I), with f the forward direction:
    log p(z) = log N(f^-1(z); 0, I) + log|det df^-1/dz|.

    Samples use the forward direction and densities the inverse. For a bijection that is fast in the
    other direction, such as `masked_autoregressive`, pass `invert(bijection)`.

    Args:
        bijection: of vectors [*B, dim].
        dim: length of the latents.

    Returns:
        A prior over z [*B, dim], in nats, with the parameters of the bijection.

    Raises:
        ConfigError: dim is not a positive integer, or the first argument is not a `Bijection`.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows, priors
        >>> double = {"log_scale": jnp.log(jnp.array([2.0])), "shift": jnp.zeros(1)}
        >>> prior = priors.flow(flows.affine(1), 1)
        >>> print(f"{prior.log_prob(double, jnp.zeros(1)):.4f}")  # -log 2 - log(2 pi) / 2
        -1.6121
    """
    checks.whole(dim, "dim")
    require(isinstance(bijection, Bijection), f"bijection must be a Bijection; got {bijection!r}")
    base = standard_normal(dim)

    def sample(params: PyTree, key: Key, n: int) -> Array:
        return bijection.forward_and_log_det(params, base.sample({}, key, n))[0]

    def log_prob(params: PyTree, z: Array) -> Array:
        noise, log_det = bijection.inverse_and_log_det(params, checks.vectors(z, "z", dim))
        return base.log_prob({}, noise) + log_det

    return Prior(bijection.init, sample, log_prob)


def coupling_flow_prior(
    dim: int,
    num_layers: int = 4,
    hidden: tuple[int, ...] = (64, 64),
    kind: str = "affine",
    **options: Any,
) -> Prior:
    """Build a flow prior of couplings, N(0, I) at init.

    It is `flow` through `flows.coupling_flow`: samples and densities both take one pass.

    Args:
        dim: length of the latents, at least 2.
        num_layers: number of couplings.
        hidden: widths of the hidden layers of each coupling's network.
        kind: "affine" or "spline".
        **options: further arguments of the coupling.

    Returns:
        A prior over z [*B, dim], in nats.

    Raises:
        ConfigError: `flows.coupling_flow` refuses an argument.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dgm_jax import priors
        >>> prior = priors.coupling_flow_prior(2, hidden=(8,))
        >>> params = prior.init(jax.random.key(0))
        >>> print(f"{prior.log_prob(params, jnp.zeros(2)):.4f}")  # -log(2 pi)
        -1.8379
    """
    return flow(coupling_flow(dim, num_layers, hidden, kind, **options), dim)


def autoregressive_flow_prior(
    dim: int,
    num_layers: int = 2,
    hidden: tuple[int, ...] = (64, 64),
    *,
    log_scale_bound: float = 3.0,
) -> Prior:
    """Build an autoregressive flow prior, N(0, I) at init.

    It is `flow` through the inverse of `flows.autoregressive_flow`: densities take one pass a
    layer, samples `dim` passes. This is the "AF prior" of Chen et al. 2017, "Variational lossy
    autoencoder", section 3.2, whose ELBO is that of an inverse autoregressive posterior with the
    prior N(0, I).

    Args:
        dim: length of the latents.
        num_layers: number of autoregressive maps.
        hidden: widths of the hidden layers of each map's network.
        log_scale_bound: largest absolute log-scale of a coordinate in one layer, in nats.

    Returns:
        A prior over z [*B, dim], in nats.

    Raises:
        ConfigError: `flows.autoregressive_flow` refuses an argument.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dgm_jax import priors
        >>> prior = priors.autoregressive_flow_prior(2, hidden=(8,))
        >>> params = prior.init(jax.random.key(0))
        >>> print(f"{prior.log_prob(params, jnp.zeros(2)):.4f}")  # -log(2 pi)
        -1.8379
    """
    bijection = autoregressive_flow(dim, num_layers, hidden, log_scale_bound=log_scale_bound)
    return flow(invert(bijection), dim)


spline_flow_prior = functools.partial(coupling_flow_prior, kind="spline")
