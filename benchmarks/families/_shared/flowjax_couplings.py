"""The stacks of couplings of `flows.coupling_flow` in flowjax, for the peers.

Its `Coupling` keeps the first coordinates, so permutations stand between the layers. Scales and
knots have the library's parametrization, by `Parameterize` as flowjax documents it: both sides are
the same function of the same weights.
"""

import itertools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax import bijections
from paramax import Parameterize

from dgm_jax.flows.rational_quadratic import MIN_BIN, MIN_SLOPE

LOG_SCALE_BOUND, SPLINE_BOUND = 3.0, 5.0


def affine() -> bijections.AbstractBijection:
    """A scale and a shift of a number, log-scales within [-3, 3]."""
    scale = lambda raw: jnp.exp(LOG_SCALE_BOUND * jnp.tanh(raw / LOG_SCALE_BOUND))
    parameterized = Parameterize(scale, jnp.zeros(()))
    return eqx.tree_at(lambda made: made.scale, bijections.Affine(), parameterized)


def spline(bins: int) -> bijections.AbstractBijection:
    """A rational-quadratic spline of a number on [-5, 5], with linear tails of slope 1."""

    def knots(raw):
        shares = MIN_BIN + (1 - MIN_BIN * bins) * jax.nn.softmax(raw, axis=-1)
        inner = SPLINE_BOUND * (2 * jnp.cumsum(shares, axis=-1)[..., :-1] - 1)
        first, last = ([(0, 0)] * (raw.ndim - 1) + [side] for side in ((1, 0), (0, 1)))
        with_first = jnp.pad(inner, first, constant_values=-SPLINE_BOUND)
        return jnp.pad(with_first, last, constant_values=SPLINE_BOUND)

    def slopes(raw):
        shift = math.log(math.expm1(1 - MIN_SLOPE))  # so that zero is a slope of 1
        inner = MIN_SLOPE + jax.nn.softplus(raw + shift)
        return jnp.pad(inner, [(0, 0)] * (raw.ndim - 1) + [(1, 1)], constant_values=1.0)

    parameters = (
        Parameterize(knots, jnp.zeros(bins)),
        Parameterize(knots, jnp.zeros(bins)),
        Parameterize(slopes, jnp.zeros(bins - 1)),
    )
    made = bijections.RationalQuadraticSpline(knots=bins - 1, interval=SPLINE_BOUND)
    return eqx.tree_at(lambda made: (made.x_pos, made.y_pos, made.derivatives), made, parameters)


def stack(
    params: tuple, dim: int, hidden: tuple[int, ...], bins: int, *, scanned: bool
) -> bijections.AbstractBijection:
    """Couplings with the weights of `flows.coupling_flow`.

    Args:
        params: of that flow, one entry for each coupling.
        dim: length of the vectors, even.
        hidden: widths of the hidden layers, which are equal.
        bins: of the splines; 0 for affine couplings.
        scanned: whether the layers are a loop, as in flowjax's own `coupling_flow`, or follow one
            another in the program.
    """
    orders = [*(_order(index, dim) for index in range(len(params))), np.arange(dim)]
    steps = [np.argsort(a)[b] for a, b in itertools.pairwise(orders)]
    couplings = [_coupling(own, dim, hidden, bins) for own in params]
    if not scanned:
        pairs = zip(couplings, steps, strict=True)
        return bijections.Chain([part for c, step in pairs for part in (c, *_permutation(step))])
    pairs = zip(couplings, map(bijections.Permute, steps), strict=True)
    layers = [eqx.partition(bijections.Chain(pair), eqx.is_array) for pair in pairs]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(arrays for arrays, _ in layers))
    return bijections.Scan(eqx.combine(stacked, layers[0][1]))


def _order(index: int, dim: int) -> np.ndarray:
    """Coordinates that coupling `index` keeps, then those that it moves."""
    both = np.arange(dim)
    kept, moved = (both[::2], both[1::2]) if index // 2 % 2 else np.split(both, 2)
    return np.concatenate((moved, kept) if index % 2 else (kept, moved))


def _permutation(step: np.ndarray) -> list[bijections.AbstractBijection]:
    """The cheapest way to bring coordinates into an order."""
    if np.array_equal(step, np.arange(len(step))):
        return []
    if np.array_equal(step, np.arange(len(step))[::-1]):
        return [bijections.Flip(step.shape)]
    return [bijections.Permute(step)]


def _coupling(params: tuple, dim: int, hidden: tuple[int, ...], bins: int) -> Any:
    made = bijections.Coupling(
        jax.random.key(0),
        transformer=spline(bins) if bins else affine(),
        untransformed_dim=dim // 2,
        dim=dim,
        nn_width=hidden[0],
        nn_depth=len(hidden),
        nn_activation=jnp.tanh,
    )
    weights = [array for layer in params for array in (layer["kernel"].T, layer["bias"])]
    if not bins:  # flowjax has the shift first
        weights[-2:] = map(_swapped, weights[-2:])
    layers = lambda made: [w for own in made.conditioner.layers for w in (own.weight, own.bias)]
    return eqx.tree_at(layers, made, weights)


def _swapped(array: jax.Array) -> jax.Array:
    """[2 M, ...], the two parameters of each coordinate exchanged."""
    return array.reshape(-1, 2, *array.shape[1:])[:, ::-1].reshape(array.shape)
