"""Pairs of known densities, and their values on a grid."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple, cast

import jax.numpy as jnp
import numpy as np

from dgm_jax import core, data
from dgm_jax.densities import gaussian, mixture
from dgm_jax.evaluation import DiscriminatorGrid
from dgm_jax.objectives import gan

# Beyond this logit D* is more than 99 % sure, and neither V nor samples depend much on it.
SURE = math.log(99)
SHARE = 0.99  # of the mass of (p + q) / 2 that the grid's dense part holds


class Pair(NamedTuple):
    """Data p and generator q, both known, with a grid that holds their mass.

    Attributes:
        sample_p: `(key, n) -> [n, D]`.
        sample_q: the same of q.
        log_p: `[G, D] -> [G]`, nats.
        log_q: the same of q.
        points: [G, D].
        cell: volume of a point.
    """

    sample_p: Callable
    sample_q: Callable
    log_p: Callable
    log_q: Callable
    points: np.ndarray
    cell: float


def _round_gaussian(scale: float, dim: int) -> tuple[Callable, Callable]:
    return (
        lambda key, n: scale * core.normal(key, (n, dim)),
        lambda x: jnp.sum(gaussian.log_prob(x, 0.0, scale), axis=-1),
    )


def _line() -> Pair:
    """Two Gaussians of different weight and width on the line, against a broad one."""
    log_weights = jnp.log(jnp.array([0.3, 0.7]))
    means = jnp.array([[-1.5], [1.0]])
    scales = jnp.array([0.4, 0.8])
    parts = (log_weights, means, scales)
    sample_q, log_q = _round_gaussian(1.5, 1)
    return Pair(
        sample_p=lambda key, n: mixture.sample(key, n, *parts).x,
        sample_q=sample_q,
        log_p=lambda x: mixture.log_prob(x, *parts),
        log_q=log_q,
        points=np.arange(-9, 9, 0.01)[:, None],
        cell=0.01,
    )


def _plane(name: str, q_scale: float, **options) -> Pair:
    """A density of `data.load` against a Gaussian of about its width."""
    loaded = data.load(name, num_train=1, num_test=1, **options)
    density = cast(data.Density2D, loaded.density)  # these names have one
    sample_q, log_q = _round_gaussian(q_scale, 2)
    axis = np.arange(-8, 8, 0.08) + 0.04
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return Pair(density.sample, sample_q, density.log_prob, log_q, points, 0.08**2)


PAIRS = {
    "mixture_1d": _line,
    "mixture_2d": functools.partial(_plane, "mixture", 1.6, scale=0.6),
    "ring": functools.partial(_plane, "ring", 1.5, scale=0.25),
}


def tabulate(pair: Pair) -> DiscriminatorGrid:
    """Compute both densities on the grid, and where the optimal discriminator is unsure.

    Args:
        pair: the densities.

    Returns:
        The grid.
    """
    points = jnp.asarray(pair.points, jnp.float32)
    log_p = pair.log_p(points)
    log_q = pair.log_q(points)
    mass = np.asarray(jnp.exp(log_p) + jnp.exp(log_q), np.float64)
    order = np.argsort(-mass)
    dense = np.empty(mass.shape, bool)
    dense[order] = np.cumsum(mass[order]) <= SHARE * mass.sum()
    is_unsure = jnp.abs(gan.optimal_logits(log_p, log_q)) <= SURE
    return DiscriminatorGrid(points, log_p, log_q, jnp.asarray(dense) & is_unsure)
