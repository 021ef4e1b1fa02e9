"""How far a discriminator is from the optimal one of two known densities."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32
from dgm_jax.objectives import divergences, gan


class DiscriminatorGrid(NamedTuple):
    """Two known densities on a grid of G points; `undecided` marks those where the densities have
    mass and the best discriminator D* is unsure."""

    points: Array  # [G, D]
    log_p: Array  # [G]
    log_q: Array  # [G]
    undecided: Array  # bool[G]


def discriminator_distances(logits, grid: DiscriminatorGrid, cell: float) -> dict[str, Array]:
    """How far logits [G] are from the optimal ones, log p - log q: in value, logit and probability.

    All by quadrature, with `cell` the volume of a point; root mean squares are weighted by
    (p + q) / 2. V(D) = E_p log D + E_q log(1 - D), in nats, is at most
    V(D*) = 2 JSD(p, q) - 2 log 2 (Goodfellow et al. 2014, theorem 1).

    Returns:
        value, optimal_value: V of the logits and of the optimal ones.
        gap: their difference, without their rounding.
        jsd, js_lower_bound: the Jensen-Shannon divergence, and log 2 + value / 2, its lower bound.
        logit_rms, logit_rms_undecided, logit_max_undecided: of logit - (log p - log q), the latter
            two where the grid is undecided.
        probability_rms: of D - D*.
    """
    logits = at_least_float32(logits)
    p, q, best = (
        jnp.exp(grid.log_p),
        jnp.exp(grid.log_q),
        gan.optimal_logits(grid.log_p, grid.log_q),
    )
    value = -cell * jnp.sum(p * jax.nn.softplus(-logits) + q * jax.nn.softplus(logits))
    optimal = 2 * divergences.js_on_grid(grid.log_p, grid.log_q, cell) - 2 * math.log(2)
    error, doubt = logits - best, jax.nn.sigmoid(logits) - jax.nn.sigmoid(best)
    lost_on_p = jax.nn.softplus(-logits) - jax.nn.softplus(-best)
    lost_on_q = jax.nn.softplus(logits) - jax.nn.softplus(best)

    def rms(x: Array, where: Array | float = 1.0) -> Array:
        return jnp.sqrt(jnp.sum((p + q) * where * x**2) / jnp.sum((p + q) * where))

    return {
        "value": value,
        "optimal_value": optimal,
        "gap": cell * jnp.sum(p * lost_on_p + q * lost_on_q),
        "js_lower_bound": math.log(2) + value / 2,
        "jsd": math.log(2) + optimal / 2,
        "logit_rms": rms(error),
        "logit_rms_undecided": rms(error, grid.undecided),
        "logit_max_undecided": jnp.max(jnp.where(grid.undecided, jnp.abs(error), 0.0)),
        "probability_rms": rms(doubt),
    }
