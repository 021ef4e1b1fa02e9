"""The logit-Laplace likelihood of DALL-E's discrete VAE: pixels in [0, 1], no clipping."""

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, DataError, at_least_float32, checks, float_type, require


def log_prob(
    x: Array,
    loc: Array,
    log_scale: Array,
    epsilon: float = 0.1,
) -> Array:
    """Log-density of x such that logit(shrink(x)) is Laplace distributed, elementwise.

    With v = shrink(x) = (1 - 2 epsilon) x + epsilon and b = exp(log_scale),
    -|logit v - loc| / b - log(2 b) - log v - log(1 - v) + log(1 - 2 epsilon). Ramesh et al. (2021),
    appendix A.3, whose f is the density of v; the last term, a constant, makes this one a density
    of x. It integrates to one over shrink(x) in (0, 1), an interval wider than [0, 1] unless
    epsilon = 0, and is -inf outside it.

    Args:
        x: floating, in [0, 1], of any shape.
        loc: median of logit v.
        log_scale: logarithm of the scale b.
        epsilon: margin of `shrink`, in [0, 1/2).

    Returns:
        Nats, of the broadcast shape.

    Raises:
        ConfigError: epsilon out of range.
        DataError: integer x (divide 8-bit pixels by 255).

    Example:
        >>> value = logit_laplace.log_prob(jnp.float32(0.5), 0.0, 0.0, epsilon=0.0)
        >>> print(f"{value:.4f}")  # -log 2 - 2 log(1/2)
        0.6931
    """
    x = jnp.asarray(x)
    require(
        jnp.issubdtype(x.dtype, jnp.floating),
        f"x must be floating, in [0, 1], got {x.dtype}",
        DataError,
    )
    dtype = float_type(x, loc, log_scale)
    loc = jnp.asarray(loc, dtype)
    log_scale = jnp.asarray(log_scale, dtype)
    v = shrink(x.astype(dtype), epsilon)
    inside = (v > 0) & (v < 1)
    v = jnp.where(inside, v, 0.5)
    log_v = jnp.log(v)
    log_rest = jnp.log1p(-v)
    laplace = -jnp.abs(log_v - log_rest - loc) * jnp.exp(-log_scale) - log_scale - jnp.log(2.0)
    density = laplace - log_v - log_rest + jnp.log1p(-2.0 * epsilon)
    return jnp.where(inside, density, -jnp.inf)


def shrink(x: Array, epsilon: float = 0.1) -> Array:
    """(1 - 2 epsilon) x + epsilon: moves pixels away from the poles of the logit.

    Args:
        x: in [0, 1], of any shape.
        epsilon: margin, in [0, 1/2).

    Returns:
        Values in [epsilon, 1 - epsilon], at least float32.

    Raises:
        ConfigError: epsilon out of range.

    Example:
        >>> logit_laplace.shrink(jnp.array([0.0, 1.0]), epsilon=0.25).tolist()
        [0.25, 0.75]
    """
    _require_epsilon(epsilon)
    return (1 - 2 * epsilon) * at_least_float32(x) + epsilon


def reconstruct(loc: Array, epsilon: float = 0.1) -> Array:
    """The pixel that DALL-E shows for `loc`: (sigmoid(loc) - epsilon) / (1 - 2 epsilon), clipped.

    The image of the median under the inverse of `shrink`.

    Args:
        loc: median of logit v, of any shape.
        epsilon: margin of `shrink`, in [0, 1/2).

    Returns:
        Pixels in [0, 1], at least float32.

    Raises:
        ConfigError: epsilon out of range.

    Example:
        >>> print(f"{logit_laplace.reconstruct(jnp.float32(0.0)):.4f}")
        0.5000
    """
    _require_epsilon(epsilon)
    return jnp.clip((jax.nn.sigmoid(at_least_float32(loc)) - epsilon) / (1 - 2 * epsilon), 0, 1)


def _require_epsilon(epsilon: float) -> None:
    checks.within(epsilon, "epsilon", 0, 0.5, below=True)
