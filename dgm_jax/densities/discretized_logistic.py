"""The discretized logistic likelihood of integer pixels."""

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, float_type, require
from dgm_jax.densities.categorical import require_classes


def log_prob(
    x: Array,
    loc: Array,
    log_scale: Array,
    num_values: int = 256,
) -> Array:
    """Log-probability of integer pixels under a discretized logistic distribution, elementwise.

    The mass of a logistic distribution between the midpoints to the neighboring values; the lowest
    and the highest value take the tails, so the masses add up to one. Kingma et al. (2016), the
    likelihood of their CIFAR-10 models; Salimans et al. (2017), eq. 2. An interior mass is formed
    as log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a)) with a > b the edges in units of the
    scale, and its last term by its series where b - a vanishes: accurate far in the tails and for
    any scale.

    Args:
        x: integers in 0..num_values-1, of any shape.
        loc: location, in the unit where pixels are 2 x / (num_values - 1) - 1, in [-1, 1].
        log_scale: logarithm of the scale in that unit. Values below -60, a distribution without
            width in any floating type, count as -60.
        num_values: number of pixel values, at least 2.

    Returns:
        Nats, of the broadcast shape; -inf for x out of range inside a compiled function.

    Raises:
        ConfigError: num_values below 2.
        DataError: x that is not integer, or is concrete and out of range.

    Example:
        >>> value = discretized_logistic.log_prob(0, 0.0, 0.0, num_values=2)
        >>> print(f"{value:.4f}")  # half of the mass: log 1/2
        -0.6931
    """
    require(num_values >= 2, f"num_values must be at least 2, got {num_values}")
    x = require_classes(x, num_values)
    dtype = float_type(loc, log_scale)
    loc = jnp.asarray(loc, dtype)
    log_scale = jnp.maximum(jnp.asarray(log_scale, dtype), -60.0)
    half_width = 1.0 / (num_values - 1)
    rate = jnp.exp(-log_scale)
    centered = (2 * x - (num_values - 1)).astype(dtype)
    centered = centered * half_width - loc
    # The edges of the bin in units of the scale.
    upper = (centered + half_width) * rate
    lower = (centered - half_width) * rate
    log_below_upper = jax.nn.log_sigmoid(upper)
    log_above_lower = jax.nn.log_sigmoid(-lower)
    # log(1 - exp(-gap)), by its first two terms where the bin is narrow against the scale.
    gap = 2 * half_width * rate
    series = jnp.log(2 * half_width) - log_scale - gap / 2
    is_narrow = gap < 1e-3
    wide_gap = jnp.maximum(gap, 1e-3)
    log_gap = jnp.where(is_narrow, series, jnp.log(-jnp.expm1(-wide_gap)))
    interior = log_below_upper + log_above_lower + log_gap
    upper_end = jnp.where(x == num_values - 1, log_above_lower, interior)
    log_mass = jnp.where(x == 0, log_below_upper, upper_end)
    in_range = (x >= 0) & (x < num_values)
    return jnp.where(in_range, log_mass, -jnp.inf)
