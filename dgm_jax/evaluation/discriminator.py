"""Distance of a discriminator from the optimal one of two known densities."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32
from dgm_jax.objectives import divergences, gan


class DiscriminatorGrid(NamedTuple):
    """Two known densities on a grid of G points.

    Attributes:
        points: [G, D].
        log_p: [G], log-density of the real data, nats.
        log_q: [G], log-density of the generated data, nats.
        undecided: bool[G], points where the densities have mass and D* is far from both 0 and 1.
    """

    points: Array
    log_p: Array
    log_q: Array
    undecided: Array


def discriminator_distances(
    logits: Array, grid: DiscriminatorGrid, cell: float
) -> dict[str, Array]:
    """Compare logits with the optimal ones, log p - log q, in value, logit and probability.

    All integrals are sums over the grid; root mean squares are weighted by (p + q) / 2. V(D) = E_p
    log D + E_q log(1 - D), in nats, is at most V(D*) = 2 JSD(p, q) - 2 log 2 (Goodfellow et al.
    2014, theorem 1).

    Args:
        logits: [G], the discriminator's logits at the grid's points.
        grid: the two densities at those points.
        cell: volume of one grid cell.

    Returns:
        Scalars under these names.

        - value, optimal_value: V of these logits and V of the optimal ones, nats.
        - gap: optimal_value - value, computed without cancellation, nats.
        - jsd, js_lower_bound: the Jensen-Shannon divergence, and its lower bound
          log 2 + value / 2.
        - logit_rms, logit_rms_undecided, logit_max_undecided: root mean square and maximum of
          logit minus (log p - log q), the last two over the grid's undecided points.
        - probability_rms: root mean square of D - D*.

    Example:
        >>> import jax.numpy as jnp
        >>> log_p = jnp.log(jnp.array([0.75, 0.25]))
        >>> log_q = log_p[::-1]
        >>> x = jnp.array([[0.0], [1.0]])
        >>> grid = DiscriminatorGrid(x, log_p, log_q, jnp.array([True, True]))
        >>> float(discriminator_distances(log_p - log_q, grid, cell=1.0)["gap"])
        0.0
    """
    logits = at_least_float32(logits)
    p = jnp.exp(grid.log_p)
    q = jnp.exp(grid.log_q)
    best = gan.optimal_logits(grid.log_p, grid.log_q)
    value = -cell * jnp.sum(p * jax.nn.softplus(-logits) + q * jax.nn.softplus(logits))
    optimal = 2 * divergences.js_on_grid(grid.log_p, grid.log_q, cell) - 2 * math.log(2)
    error = logits - best
    probability_error = jax.nn.sigmoid(logits) - jax.nn.sigmoid(best)
    lost_on_p = jax.nn.softplus(-logits) - jax.nn.softplus(-best)
    lost_on_q = jax.nn.softplus(logits) - jax.nn.softplus(best)

    def rms(x: Array, where: Array | float = 1.0) -> Array:
        weighted = jnp.sum((p + q) * where * x**2)
        return jnp.sqrt(weighted / jnp.sum((p + q) * where))

    return {
        "value": value,
        "optimal_value": optimal,
        "gap": cell * jnp.sum(p * lost_on_p + q * lost_on_q),
        "js_lower_bound": math.log(2) + value / 2,
        "jsd": math.log(2) + optimal / 2,
        "logit_rms": rms(error),
        "logit_rms_undecided": rms(error, grid.undecided),
        "logit_max_undecided": jnp.max(jnp.where(grid.undecided, jnp.abs(error), 0.0)),
        "probability_rms": rms(probability_error),
    }
