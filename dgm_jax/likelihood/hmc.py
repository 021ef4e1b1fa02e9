"""Hamiltonian Monte Carlo on a family of densities base(z) exp(beta log_ratio(z)), for many chains.

Both log-densities and their gradients are kept with the chain, so a change of beta costs no
evaluation, and a transition of L leapfrog steps costs L of each (Neal 2011, "MCMC using Hamiltonian
dynamics", section 5.2).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, normal, uniform

LogDensity = Callable[[Array], Array]  # z [C, B, *E] -> [C, B]


class Point(NamedTuple):
    """Positions of C chains for each of B examples, with both log-densities and their gradients.

    Attributes:
        z: [C, B, *E].
        base: log base(z), [C, B], nats.
        ratio: log_ratio(z), [C, B], nats.
        base_slope: gradient of `base`, [C, B, *E].
        ratio_slope: gradient of `ratio`, [C, B, *E].
    """

    z: Array
    base: Array
    ratio: Array
    base_slope: Array
    ratio_slope: Array


State = tuple[Point, Array]  # a point, and the momentum there


def point(
    log_base: LogDensity,
    log_ratio: LogDensity,
    z: Array,
) -> Point:
    """Evaluate both log-densities and their gradients, once each.

    Args:
        log_base: `z -> [C, B]`, nats.
        log_ratio: `z -> [C, B]`, nats.
        z: [C, B, *E].

    Returns:
        The `Point` at z.

    Example:
        >>> def half_square(z):
        ...     return -jnp.sum(z**2, axis=-1) / 2
        >>> hmc.point(half_square, half_square, jnp.full((1, 1, 1), 3.0)).base_slope.item()
        -3.0
    """
    base, base_slope = _with_slope(log_base, z)
    ratio, ratio_slope = _with_slope(log_ratio, z)
    return Point(z, base, ratio, base_slope, ratio_slope)


def transition(
    key: Key,
    start: Point,
    evaluate: Callable[[Array], Point],
    beta: Array | float,
    step_size: Array,
    num_leapfrog: int,
) -> tuple[Point, Array]:
    """One HMC transition that leaves base(z) exp(beta log_ratio(z)) invariant, reversibly.

    A proposal that is not finite is rejected.

    Args:
        key: a typed key.
        start: where the chains are.
        evaluate: `z -> Point`.
        beta: exponent of the ratio.
        step_size: of the leapfrog integrator, [B], in the unit of z, for unit mass.
        num_leapfrog: leapfrog steps of a proposal.

    Returns:
        The new `Point`, and the probability [C, B] with which each chain's proposal was accepted.

    Example:
        >>> def evaluate(z):  # a standard normal base, and no ratio
        ...     return hmc.point(
        ...         lambda z: -jnp.sum(z**2, axis=-1) / 2, lambda z: 0 * jnp.sum(z, axis=-1), z
        ...     )
        >>> start = evaluate(jnp.ones((1, 1, 1)))
        >>> step_size = jnp.array([1e-3])
        >>> _, accepted = hmc.transition(jax.random.key(0), start, evaluate, 1.0, step_size, 2)
        >>> print(f"{accepted.item():.3f}")  # small steps keep the energy
        1.000
    """
    key_momentum, key_accept = jax.random.split(key)
    z = start.z
    momentum = normal(key_momentum, z.shape, z.dtype)
    size = _as_event(step_size, z.ndim - 1)
    size = size.astype(z.dtype)

    def slope(at: Point) -> Array:
        total = at.base_slope + beta * at.ratio_slope
        return total.astype(at.z.dtype)

    def leapfrog(state: State, _: None) -> tuple[State, None]:
        at, p = state
        half = size / 2
        p = p + half * slope(at)
        at = evaluate(at.z + size * p)
        p = p + half * slope(at)
        return (at, p), None

    (end, last), _ = jax.lax.scan(leapfrog, (start, momentum), length=num_leapfrog)
    # Differences first: two energies of thousands of nats differ by less than one.
    base_change = end.base - start.base
    ratio_change = end.ratio - start.ratio
    kinetic_change = _kinetic(last, momentum)
    change = base_change + beta * ratio_change - kinetic_change
    finite_entries = jnp.isfinite(slope(end))
    slope_is_finite = jnp.all(finite_entries, axis=_event_axes(end.z))
    finite = jnp.isfinite(change) & slope_is_finite
    probability = jnp.exp(jnp.minimum(change, 0))
    probability = jnp.where(finite, probability, 0)
    u = uniform(key_accept, probability.shape, probability.dtype)
    accept = u < probability

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(_as_event(accept, new.ndim), new, old)

    return jax.tree.map(choose, end, start), probability


def _with_slope(function: LogDensity, z: Array) -> tuple[Array, Array]:
    """The value of a function at z and its gradient."""
    value, pullback = jax.vjp(function, z)
    (slope,) = pullback(jnp.ones_like(value))
    return value, slope


def _kinetic(last: Array, first: Array) -> Array:
    """(|last|^2 - |first|^2) / 2: [C, B], as a product, since the squares would cancel."""
    products = (last - first) * (last + first)
    return jnp.sum(products, axis=_event_axes(last)) / 2


def _event_axes(x: Array) -> tuple[int, ...]:
    """All axes but those of chains and examples."""
    return tuple(range(2, x.ndim))


def _as_event(x: Array, ndim: int) -> Array:
    """Trailing axes of one, up to `ndim`."""
    ones = (1,) * (ndim - x.ndim)
    return x.reshape(x.shape + ones)
