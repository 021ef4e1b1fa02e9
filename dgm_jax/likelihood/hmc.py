"""Hamiltonian Monte Carlo on a family of densities base(z) exp(beta log_ratio(z)), for many chains
at once.

Both log-densities and their gradients travel with the chain, so a change of beta costs no
evaluation, and a transition of L leapfrog steps costs L of each (Neal 2011, "MCMC using Hamiltonian
dynamics", section 5.2).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, normal

LogDensity = Callable[[Array], Array]  # z [C, B, *E] -> [C, B]


class Point(NamedTuple):
    """Chains z [C, B, *E] with log base(z) and log_ratio(z) [C, B], and their gradients [C, B,
    *E]."""

    z: Array
    base: Array
    ratio: Array
    base_slope: Array
    ratio_slope: Array


def point(log_base: LogDensity, log_ratio: LogDensity, z: Array) -> Point:
    """`Point` at z, one evaluation and one gradient of each function."""
    base, base_slope = _with_slope(log_base, z)
    ratio, ratio_slope = _with_slope(log_ratio, z)
    return Point(z, base, ratio, base_slope, ratio_slope)


def transition(
    key: Key,
    start: Point,
    evaluate: Callable[[Array], Point],
    beta: Array,
    step_size: Array,
    num_leapfrog: int,
) -> tuple[Point, Array]:
    """One transition that leaves base(z) exp(beta log_ratio(z)) invariant, reversibly: the new
    `Point`, and the probability [C, B] with which each chain's proposal was accepted.

    evaluate: z -> Point. step_size: [B], for unit mass. A proposal that is not finite is rejected.
    """
    key_momentum, key_accept = jax.random.split(key)
    momentum = normal(key_momentum, start.z.shape, start.z.dtype)
    size = _as_event(step_size, start.z.ndim - 1).astype(start.z.dtype)

    def slope(at):
        return (at.base_slope + beta * at.ratio_slope).astype(at.z.dtype)

    def leapfrog(carry, _):
        at, p = carry
        p = p + size / 2 * slope(at)
        at = evaluate(at.z + size * p)
        return (at, p + size / 2 * slope(at)), None

    (end, last), _ = jax.lax.scan(leapfrog, (start, momentum), length=num_leapfrog)
    # The differences first: two energies of thousands of nats differ by less than one.
    change = (end.base - start.base) + beta * (end.ratio - start.ratio) - _kinetic(last, momentum)
    finite = jnp.isfinite(change) & jnp.all(
        jnp.isfinite(slope(end)), axis=tuple(range(2, end.z.ndim))
    )
    probability = jnp.where(finite, jnp.exp(jnp.minimum(change, 0)), 0)
    accept = jax.random.uniform(key_accept, probability.shape, probability.dtype) < probability
    return (
        jax.tree.map(lambda new, old: jnp.where(_as_event(accept, new.ndim), new, old), end, start),
        probability,
    )


def _with_slope(function: LogDensity, z: Array) -> tuple[Array, Array]:
    value, pullback = jax.vjp(function, z)
    return value, pullback(jnp.ones_like(value))[0]


def _kinetic(last: Array, first: Array) -> Array:
    """(|last|^2 - |first|^2) / 2: [C, B]."""
    return jnp.sum((last - first) * (last + first), axis=tuple(range(2, last.ndim))) / 2


def _as_event(x: Array, ndim: int) -> Array:
    """Trailing axes of one, up to `ndim`."""
    return x.reshape(x.shape + (1,) * (ndim - x.ndim))
