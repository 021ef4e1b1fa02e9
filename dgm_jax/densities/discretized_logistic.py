"""The discretised logistic likelihood of integer pixels."""

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, float_type, require
from dgm_jax.densities.categorical import require_classes


def log_prob(x: Array, loc: Array, log_scale: Array, num_values: int = 256) -> Array:
    """Log-probability of integer x in 0..num_values-1, elementwise, in nats.

    `loc` and `log_scale` are in the unit where the pixels are 2 x / (num_values - 1) - 1, in
    [-1, 1]. The mass of a logistic law between the half-way points to the neighbours;
    the lowest and the highest value take the tails, so the masses add up to one.
    Kingma et al. (2016), the likelihood of their CIFAR-10 models; Salimans et al. (2017),
    eq. 2. An interior mass is formed as log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a))
    with a > b the edges in units of the scale, and its last term by its series where b - a
    vanishes: exact far in the tails and for any scale. A log_scale below -60, a law without
    width in any floating point, counts as -60.

    Raises `DataError` for x that is not integer, or is known and out of range; inside
    a compiled function such an x has log-probability -inf.
    """
    require(num_values >= 2, f"num_values must be at least 2, got {num_values}")
    x = require_classes(x, num_values)
    dtype = float_type(loc, log_scale)
    loc, log_scale = jnp.asarray(loc, dtype), jnp.asarray(log_scale, dtype)
    log_scale = jnp.maximum(log_scale, -60.0)
    half, rate = 1.0 / (num_values - 1), jnp.exp(-log_scale)
    centred = (2 * x - (num_values - 1)).astype(dtype) * half - loc
    upper, lower = (centred + half) * rate, (centred - half) * rate
    below, above = jax.nn.log_sigmoid(upper), jax.nn.log_sigmoid(-lower)
    gap = 2 * half * rate
    series = jnp.log(2 * half) - log_scale - gap / 2
    inside = (
        below + above + jnp.where(gap < 1e-3, series, jnp.log(-jnp.expm1(-jnp.maximum(gap, 1e-3))))
    )
    log_mass = jnp.where(x == 0, below, jnp.where(x == num_values - 1, above, inside))
    return jnp.where((x >= 0) & (x < num_values), log_mass, -jnp.inf)
