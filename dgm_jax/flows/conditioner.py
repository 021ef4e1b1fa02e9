"""Small dense networks that give the parameters of one part of a vector from another part.

The last layer starts at zero, so a flow whose zero parameters mean the identity starts as the
identity.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dgm_jax.core import Array, Key, PyTree, normal, require
from dgm_jax.flows.events import wide


class Conditioner(NamedTuple):
    """init: `key -> params`. apply: `(params, x[*B, inputs]) -> [*B, outputs]`."""

    init: Callable[[Key], PyTree]
    apply: Callable[[PyTree, Array], Array]


def dense(num_inputs: int, num_outputs: int, hidden: tuple[int, ...] = (64, 64)) -> Conditioner:
    """Dense layers with tanh between them. Far from the data tanh saturates, so there the
    parameters become constant.

    Kernels are drawn from N(0, 1 / inputs), biases and the whole last layer are zero. Raises
    `ConfigError` for widths that are not positive integers.
    """
    return _layers((num_inputs, *_widths(hidden), num_outputs), None)


def masked_dense(
    dim: int, num_params: int, hidden: tuple[int, ...] = (64, 64), reverse: bool = False
) -> Conditioner:
    """[*B, dim] -> [*B, dim * num_params]: the parameters of coordinate i depend on the coordinates
    before i only.

    Every unit has a degree, and a connection stays where the degree does not fall (where it rises,
    into the last layer). Inputs have the degrees 1..dim, outputs those of their coordinates, hidden
    units cycle through 1..dim-1, or are spread evenly up to dim-1 in a layer that is narrower:
    every coordinate reaches a later one in any case. With `reverse` the coordinates count from the
    last. Germain et al. 2015, "MADE", section 3.
    """
    hidden = _widths(hidden)
    order = np.arange(dim, 0, -1) if reverse else np.arange(1, dim + 1)
    degrees = [order] + [_degrees(width, max(dim - 1, 1)) for width in hidden]
    masks = [after >= before[:, None] for before, after in itertools.pairwise(degrees)]
    masks.append(np.repeat(order, num_params) > degrees[-1][:, None])
    return _layers((dim, *hidden, dim * num_params), tuple(masks))


def _degrees(width: int, highest: int) -> np.ndarray:
    """Degrees in 1..highest of a hidden layer; the highest is always among them."""
    if width >= highest:
        return np.arange(width) % highest + 1
    return -(-np.arange(1, width + 1) * highest // width)


def bounded(raw: Array, bound: float) -> Array:
    """bound * tanh(raw / bound): near the identity at 0, within [-bound, bound] everywhere."""
    return bound * jnp.tanh(raw / bound)


def _widths(hidden) -> tuple[int, ...]:
    fits = isinstance(hidden, (tuple, list)) and all(
        isinstance(n, (int, np.integer)) and n >= 1 for n in hidden
    )
    require(fits, f"hidden must be a tuple of positive widths; got {hidden!r}")
    return tuple(hidden)


def _layers(sizes: tuple[int, ...], masks: tuple[np.ndarray, ...] | None) -> Conditioner:
    last = len(sizes) - 2

    def init(key):
        keys = jax.random.split(key, last + 1)
        kernels = [
            normal(k, (i, o)) / math.sqrt(i)
            for k, (i, o) in zip(keys[:last], itertools.pairwise(sizes[:-1]), strict=True)
        ]
        kernels.append(jnp.zeros(sizes[-2:]))
        return tuple({"kernel": k, "bias": jnp.zeros(k.shape[1])} for k in kernels)

    def apply(params, x):
        for number, layer in enumerate(wide(params)):
            kernel = (
                layer["kernel"] if masks is None else jnp.where(masks[number], layer["kernel"], 0)
            )
            # Rounded factors (TF32) would not round the same way on the way back.
            x = jnp.dot(x, kernel, precision=lax.Precision.HIGHEST) + layer["bias"]
            x = x if number == last else jnp.tanh(x)
        return x

    return Conditioner(init, apply)
