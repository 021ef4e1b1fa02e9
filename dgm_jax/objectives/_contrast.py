"""The Gaussian of adaptive contrast (Mescheder, Nowozin and Geiger 2017, section 3.3)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax import sampling
from dgm_jax.core import Array, Key, at_least_float32, checks, require
from dgm_jax.densities import gaussian


class Contrast(NamedTuple):
    """r(z | x) = N(loc, diag(scale)^2) with the posterior's own moments.

    The same scale is used to normalize z and in the density.

    Attributes:
        loc: [*B, D].
        scale: standard deviations [*B, D].
    """

    loc: Array
    scale: Array


def moments(samples: Array, epsilon: float = 1e-6) -> Contrast:
    """r(z | x) from draws of the posterior, without gradient.

    scale = sqrt(variance + epsilon), the variance divided by S - 1. Epsilon enters here and nowhere
    else: r is the Gaussian with *this* scale, and the decomposition of `adaptive_kl` holds for any
    r. (Other programs normalize with sqrt(variance + epsilon) and use log(variance) in the density:
    wrong by log(1 + epsilon / variance) / 2 per dimension.)

    Args:
        samples: draws [S, *B, D] with S >= 2.
        epsilon: added to the variance, in squared units of z, not negative.

    Returns:
        A `Contrast` with loc and scale [*B, D].

    Raises:
        ConfigError: fewer than two draws, or a negative epsilon.

    Example:
        >>> samples = jnp.array([[0.0], [2.0]])
        >>> contrast = adversarial_variational_bayes.moments(samples, epsilon=0.0)
        >>> print(f"{contrast.loc[0]:.4f} {contrast.scale[0]:.4f}")  # sqrt 2
        1.0000 1.4142
    """
    shape = jnp.shape(samples)
    require(
        len(shape) >= 2 and shape[0] >= 2,
        f"samples must be [S, *B, D] with S at least 2 draws; got {shape}",
    )
    checks.not_negative(epsilon, "epsilon")
    samples = jax.lax.stop_gradient(at_least_float32(samples))
    return Contrast(jnp.mean(samples, axis=0), jnp.sqrt(jnp.var(samples, axis=0, ddof=1) + epsilon))


def normalize(z: Array, contrast: Contrast) -> Array:
    """(z - loc) / scale: what the critic sees of z under adaptive contrast; r becomes N(0, I).

    Args:
        z: [*S, *B, D].
        contrast: loc and scale [*B, D], taken as constants.

    Returns:
        [*S, *B, D].

    Example:
        >>> contrast = adversarial_variational_bayes.Contrast(jnp.array([1.0]), jnp.array([2.0]))
        >>> adversarial_variational_bayes.normalize(jnp.array([5.0]), contrast).tolist()
        [2.0]
    """
    contrast = jax.lax.stop_gradient(contrast)
    return (z - contrast.loc) / contrast.scale


def contrast_log_prob(z: Array, contrast: Contrast) -> Array:
    """log r(z | x), summed over D; the gradient flows through z only.

    Args:
        z: [*S, *B, D].
        contrast: loc and scale [*B, D].

    Returns:
        Nats [*S, *B].

    Example:
        >>> contrast = adversarial_variational_bayes.Contrast(jnp.zeros(2), jnp.ones(2))
        >>> value = adversarial_variational_bayes.contrast_log_prob(jnp.zeros(2), contrast)
        >>> print(f"{value:.4f}")  # -log(2 pi)
        -1.8379
    """
    return jnp.sum(gaussian.log_prob(z, *jax.lax.stop_gradient(contrast)), axis=-1)


def contrast_sample(
    key: Key,
    contrast: Contrast,
    num_samples: int,
) -> Array:
    """Draws of r(z | x), without gradient.

    Args:
        key: a typed key.
        contrast: loc and scale [*B, D].
        num_samples: S, at least 1.

    Returns:
        [S, *B, D].

    Raises:
        ConfigError: num_samples below 1.

    Example:
        >>> contrast = adversarial_variational_bayes.Contrast(jnp.ones(2), jnp.zeros(2))
        >>> adversarial_variational_bayes.contrast_sample(jax.random.key(0), contrast, 1).tolist()
        [[1.0, 1.0]]
    """
    require(num_samples >= 1, f"num_samples must be at least 1; got {num_samples}")
    loc, scale = jax.lax.stop_gradient(contrast)
    return sampling.gaussian(key, jnp.broadcast_to(loc, (num_samples, *jnp.shape(loc))), scale)
