"""Densities known up to a constant, with which approximate posteriors are compared. Nats.

Two shapes in the plane and one Bayesian model, from the notebook to Mescheder, Nowozin and Geiger
2017 ("Adversarial variational Bayes", section 5.2, and the public `Stan-example.ipynb`):

| name | log-density, up to a constant |
| --- | --- |
| `rosenbrock_posterior` | -(a - 1)^2 - (b^2 - a)^2: a banana; a given b ~ N((1 + b^2) / 2, 1/4) |
| `torus` | -(a^2 + b^2 - 2)^2: a ring of radius sqrt 2 |
| `eight_schools` | log p(y, mu, log tau, eta), with its constants: tau > 0 by its logarithm |
| `eight_schools_signed` | log p(y, mu, tau, eta), tau ~ N(0, 1), as in the notebook: two modes |

Eight schools, non-centered, with the notebook's scaled data (not Rubin's):

    y_j ~ N(mu + tau eta_j, sigma_j^2),  mu, eta_j ~ N(0, 1),  tau ~ N(0, 1) or its absolute value.

(tau, eta) -> (-tau, -eta) leaves the likelihood unchanged, so with tau ~ N(0, 1) the posterior has
two mirrored modes. Here tau > 0 means tau ~ half-normal, 2 N(tau; 0, 1), in the coordinate log tau
with the Jacobian tau. Both have the same evidence p(y). Given (mu, tau) the eta_j are independent
Gaussians, and y_j ~ N(mu, sigma_j^2 + tau^2): so every moment and the evidence are integrals over a
plane.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32, require
from dgm_jax.densities import gaussian

EFFECTS = (2.8, 0.8, -0.3, 0.7, -0.1, 0.1, 1.8, 1.2)  # y
STANDARD_ERRORS = (0.8, 0.5, 0.8, 0.6, 0.5, 0.6, 0.5, 0.4)  # sigma


class Unnormalized(NamedTuple):
    """A density of D numbers z without its constant, and what is known about it.

    Attributes:
        size: D.
        log_density: `z [*B, D] -> [*B]`, nats.
        quantities: `z -> [*B, D]`, the numbers to report (tau in place of log tau).
        plane_log_density: the first two quantities `[*B, 2] -> [*B]`, their marginal with the same
            constant; -inf where they are impossible.
        given_plane: the first two quantities [*B, 2] -> mean and variance of the others,
            [*B, D - 2] each.
    """

    size: int
    log_density: Callable[[Array], Array]
    quantities: Callable[[Array], Array]
    plane_log_density: Callable[[Array], Array]
    given_plane: Callable[[Array], tuple[Array, Array]]


def rosenbrock_posterior(z: Array) -> Array:
    """-(a - 1)^2 - (b^2 - a)^2 for z = (a, b).

    Args:
        z: [*B, 2].

    Returns:
        Nats [*B], up to a constant.

    Raises:
        ConfigError: another last axis.

    Example:
        >>> posteriors.rosenbrock_posterior(jnp.array([2.0, 1.0])).item()
        -2.0
    """
    a, rest = _split(z, 2)
    b = rest[..., 0]
    from_one = jnp.square(a - 1)
    from_parabola = jnp.square(jnp.square(b) - a)
    return -from_one - from_parabola


def torus(z: Array) -> Array:
    """-(|z|^2 - 2)^2, with the integral pi^(3/2) erfc(-2) / 2, as |z|^2 is uniform in area.

    Args:
        z: [*B, 2].

    Returns:
        Nats [*B], up to a constant.

    Raises:
        ConfigError: another last axis.

    Example:
        >>> posteriors.torus(jnp.array([1.0, 2.0])).item()
        -9.0
    """
    a, rest = _split(z, 2)
    b = rest[..., 0]
    squared_radius = jnp.square(a) + jnp.square(b)
    return -jnp.square(squared_radius - 2)


def eight_schools(z: Array, signed: bool = False) -> Array:
    """log p(y, z) of eight schools, with all constants.

    Args:
        z: [*B, 10], (mu, log tau, eta), or with `signed` (mu, tau, eta).
        signed: tau ~ N(0, 1) instead of its absolute value.

    Returns:
        Nats [*B].

    Raises:
        ConfigError: another last axis.

    Example:
        >>> signed = posteriors.eight_schools(jnp.zeros(10).at[1].set(1.0), signed=True)
        >>> positive = posteriors.eight_schools(jnp.zeros(10))  # log tau = 0: twice the density
        >>> print(f"{positive - signed:.4f}")
        0.6931
    """
    mu, rest = _split(z, 2 + len(EFFECTS))
    eta = rest[..., 1:]
    tau, log_prior_tau = _log_prior_tau(rest[..., 0], signed)
    effects = mu[..., None] + tau[..., None] * eta
    standard_errors = jnp.array(STANDARD_ERRORS)
    log_likelihood = _log_likelihood(effects, standard_errors)
    log_prior_mu = _log_standard_normal(mu)
    log_prior_eta = jnp.sum(_log_standard_normal(eta), axis=-1)
    log_prior = log_prior_tau + log_prior_mu + log_prior_eta
    return log_likelihood + log_prior


def eight_schools_quantities(z: Array, signed: bool = False) -> Array:
    """(mu, tau, eta) of z.

    Args:
        z: [*B, 10], (mu, log tau, eta), or with `signed` (mu, tau, eta).
        signed: which of the two.

    Returns:
        [*B, 10].

    Example:
        >>> posteriors.eight_schools_quantities(jnp.zeros(10))[:3].tolist()
        [0.0, 1.0, 0.0]
    """
    if signed:
        return z
    mu = z[..., :1]
    tau = jnp.exp(z[..., 1:2])
    eta = z[..., 2:]
    return jnp.concatenate([mu, tau, eta], axis=-1)


def eight_schools_plane(plane: Array, signed: bool = False) -> Array:
    """log p(y, mu, tau), with eta integrated out and tau itself as coordinate.

    Args:
        plane: (mu, tau), [*B, 2].
        signed: tau ~ N(0, 1) instead of its absolute value.

    Returns:
        Nats [*B]; -inf for tau <= 0 if not signed.

    Raises:
        ConfigError: another last axis.

    Example:
        >>> posteriors.eight_schools_plane(jnp.array([0.0, -1.0])).item()
        -inf
    """
    mu, rest = _split(plane, 2)
    tau = rest[..., 0]
    standard_errors = jnp.array(STANDARD_ERRORS)
    variance = jnp.square(standard_errors) + jnp.square(rest)
    scale = jnp.sqrt(variance)
    log_likelihood = _log_likelihood(mu[..., None], scale)
    log_prior_mu = _log_standard_normal(mu)
    log_prior_tau = _log_standard_normal(tau)
    total = log_likelihood + log_prior_mu + log_prior_tau
    if signed:
        return total
    return jnp.where(tau > 0, total + math.log(2), -jnp.inf)


def eight_schools_given_plane(plane: Array) -> tuple[Array, Array]:
    """Mean tau (y - mu) / (sigma^2 + tau^2) and variance sigma^2 / (sigma^2 + tau^2) of eta.

    Args:
        plane: (mu, tau), [*B, 2].

    Returns:
        Mean and variance, [*B, 8] each.

    Raises:
        ConfigError: another last axis.

    Example:
        >>> mean, variance = posteriors.eight_schools_given_plane(jnp.zeros(2))  # the prior of eta
        >>> mean[0].item(), variance[0].item()
        (0.0, 1.0)
    """
    mu, tau = _split(plane, 2)
    standard_errors = jnp.array(STANDARD_ERRORS)
    squares = jnp.square(standard_errors)
    total = squares + jnp.square(tau)
    residuals = jnp.array(EFFECTS) - mu[..., None]
    mean = tau * residuals / total
    variance = squares / total
    return mean, variance


def _log_likelihood(mean: Array, scale: Array) -> Array:
    """log p(y) of eight independent Gaussians, [*B]."""
    effects = jnp.array(EFFECTS)
    log_probs = gaussian.log_prob(effects, mean, scale)
    return jnp.sum(log_probs, axis=-1)


def _log_standard_normal(x: Array) -> Array:
    return gaussian.log_prob(x, 0.0, 1.0)


def _log_prior_tau(coordinate: Array, signed: bool) -> tuple[Array, Array]:
    """tau, and the log-density of its coordinate."""
    if signed:
        return coordinate, _log_standard_normal(coordinate)
    tau = jnp.exp(coordinate)
    log_half_normal = math.log(2) + _log_standard_normal(tau)
    return tau, log_half_normal + coordinate


def _split(z: Array, size: int) -> tuple[Array, Array]:
    """The first coordinate [*B] and the others [*B, size - 1]."""
    shape = jnp.shape(z)
    require(
        len(shape) >= 1 and shape[-1] == size,
        f"the last axis must have {size} coordinates; got {shape}",
    )
    z = at_least_float32(z)
    return z[..., 0], z[..., 1:]


def _in_the_plane(log_density: Callable[[Array], Array]) -> Unnormalized:
    """A density of two numbers: all of it is in the plane, and nothing is left to be given."""
    return Unnormalized(
        size=2,
        log_density=log_density,
        quantities=lambda z: z,
        plane_log_density=log_density,
        given_plane=lambda plane: (plane[..., 2:], plane[..., 2:]),
    )


def _schools(signed: bool) -> Unnormalized:
    return Unnormalized(
        size=2 + len(EFFECTS),
        log_density=functools.partial(eight_schools, signed=signed),
        quantities=functools.partial(eight_schools_quantities, signed=signed),
        plane_log_density=functools.partial(eight_schools_plane, signed=signed),
        given_plane=eight_schools_given_plane,
    )


POSTERIORS = {
    "rosenbrock": _in_the_plane(rosenbrock_posterior),
    "torus": _in_the_plane(torus),
    "eight_schools": _schools(signed=False),
    "eight_schools_signed": _schools(signed=True),
}
