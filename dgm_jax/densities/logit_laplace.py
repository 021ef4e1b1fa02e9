"""The logit-Laplace likelihood of DALL-E's discrete VAE: pixels in [0, 1], no clipping."""

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, DataError, at_least_float32, checks, float_type, require


def log_prob(x: Array, loc: Array, log_scale: Array, epsilon: float = 0.1) -> Array:
    """Log-density of x, elementwise, in nats: logit(shrink(x)) has a Laplace law.

    With v = shrink(x) = (1 - 2 epsilon) x + epsilon and b = exp(log_scale),
    -|logit v - loc| / b - log(2 b) - log v - log(1 - v) + log(1 - 2 epsilon).
    Ramesh et al. (2021), appendix A.3, whose f is the density of v; the last term, a
    constant, makes this one a density of x. It integrates to one over shrink(x) in
    (0, 1), an interval wider than [0, 1] unless epsilon = 0, and is -inf outside it.

    x: floating, in [0, 1] (`DataError` for integers: divide 8-bit pixels by 255).
    """
    x = jnp.asarray(x)
    require(
        jnp.issubdtype(x.dtype, jnp.floating),
        f"x must be floating, in [0, 1], got {x.dtype}",
        DataError,
    )
    dtype = float_type(x, loc, log_scale)
    loc, log_scale = jnp.asarray(loc, dtype), jnp.asarray(log_scale, dtype)
    v = shrink(x.astype(dtype), epsilon)
    inside = (v > 0) & (v < 1)
    v = jnp.where(inside, v, 0.5)
    log_v, log_rest = jnp.log(v), jnp.log1p(-v)
    laplace = -jnp.abs(log_v - log_rest - loc) * jnp.exp(-log_scale) - log_scale - jnp.log(2.0)
    return jnp.where(inside, laplace - log_v - log_rest + jnp.log1p(-2.0 * epsilon), -jnp.inf)


def shrink(x: Array, epsilon: float = 0.1) -> Array:
    """(1 - 2 epsilon) x + epsilon: [0, 1] -> [epsilon, 1 - epsilon], away from the poles of the
    logit."""
    _require_epsilon(epsilon)
    return (1 - 2 * epsilon) * at_least_float32(x) + epsilon


def reconstruct(loc: Array, epsilon: float = 0.1) -> Array:
    """The pixel that DALL-E shows for `loc`: (sigmoid(loc) - epsilon) / (1 - 2 epsilon), cut to [0,
    1].

    The image of the median under the inverse of `shrink`.
    """
    _require_epsilon(epsilon)
    return jnp.clip((jax.nn.sigmoid(at_least_float32(loc)) - epsilon) / (1 - 2 * epsilon), 0, 1)


def _require_epsilon(epsilon: float) -> None:
    checks.within(epsilon, "epsilon", 0, 0.5, below=True)
