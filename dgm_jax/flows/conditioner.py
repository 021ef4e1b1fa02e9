"""Small dense networks that compute the parameters of one part of a vector from another part.

The last layer starts at zero, so a flow for which zero parameters mean the identity starts as the
identity.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dgm_jax.core import Array, Key, PyTree, normal, require
from dgm_jax.flows.events import wide


class Conditioner(NamedTuple):
    """A network as a pair of pure functions.

    Attributes:
        init: `key -> params`.
        apply: `(params, x [*B, inputs]) -> [*B, outputs]`.
    """

    init: Callable[[Key], PyTree]
    apply: Callable[[PyTree, Array], Array]


def dense(num_inputs: int, num_outputs: int, hidden: tuple[int, ...] = (64, 64)) -> Conditioner:
    """Build a dense network with tanh between the layers.

    Far from the data tanh saturates, so the parameters become constant there. Kernels are drawn
    from N(0, 1 / inputs); biases and the whole last layer are zero.

    Args:
        num_inputs: length of the inputs.
        num_outputs: length of the outputs.
        hidden: widths of the hidden layers.

    Returns:
        The network, [*B, num_inputs] -> [*B, num_outputs].

    Raises:
        ConfigError: a width is not a positive integer.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> network = flows.dense(3, 2, hidden=(8,))
        >>> network.apply(network.init(jax.random.key(0)), jnp.ones(3)).tolist()
        [0.0, 0.0]
    """
    hidden = _widths(hidden)
    sizes = (num_inputs, *hidden, num_outputs)
    return _layers(sizes, None)


def masked_dense(
    dim: int, num_params: int, hidden: tuple[int, ...] = (64, 64), reverse: bool = False
) -> Conditioner:
    """Build a dense network whose outputs for coordinate i depend on earlier coordinates only.

    Every unit has a degree, and a connection is kept if the degree does not fall along it (if it
    rises, into the last layer). Inputs have the degrees 1..dim and outputs those of their
    coordinates. The degrees of hidden units cycle through 1..dim-1, or are spread evenly up to
    dim-1 in a layer that is narrower, so that every coordinate reaches a later one in any case.
    Germain et al. 2015, "MADE", section 3.

    Args:
        dim: number of coordinates.
        num_params: outputs for each coordinate.
        hidden: widths of the hidden layers.
        reverse: count the coordinates from the last to the first.

    Returns:
        The network, [*B, dim] -> [*B, dim * num_params]; the outputs of a coordinate are adjacent.

    Raises:
        ConfigError: a width is not a positive integer.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> network = flows.masked_dense(3, 2, hidden=(8,))
        >>> network.apply(network.init(jax.random.key(0)), jnp.ones(3)).shape
        (6,)
    """
    hidden = _widths(hidden)
    order = np.arange(1, dim + 1)
    if reverse:
        order = order[::-1]
    highest = max(dim - 1, 1)
    degrees = [order]
    for width in hidden:
        degrees.append(_degrees(width, highest))
    masks = []
    for before, after in itertools.pairwise(degrees):
        masks.append(after >= before[:, None])
    last = degrees[-1]
    outputs = np.repeat(order, num_params)
    masks.append(outputs > last[:, None])
    sizes = (dim, *hidden, dim * num_params)
    return _layers(sizes, tuple(masks))


def bounded(raw: Array, bound: float) -> Array:
    """Squash to an interval: bound * tanh(raw / bound), with slope 1 at 0.

    Args:
        raw: [*B].
        bound: largest absolute value, in the same units.

    Returns:
        [*B], within [-bound, bound].
    """
    return bound * jnp.tanh(raw / bound)


def _degrees(width: int, highest: int) -> np.ndarray:
    """Degrees in 1..highest of a hidden layer; the highest is always among them."""
    if width >= highest:
        return np.arange(width) % highest + 1
    ranks = np.arange(1, width + 1)
    return -(-ranks * highest // width)  # rounded up


def _widths(hidden: tuple[int, ...]) -> tuple[int, ...]:
    fits = isinstance(hidden, (tuple, list)) and all(map(_is_width, hidden))
    require(fits, f"hidden must be a tuple of positive widths; got {hidden!r}")
    return tuple(hidden)


def _is_width(number: Any) -> bool:
    return isinstance(number, (int, np.integer)) and bool(number >= 1)


def _layers(sizes: tuple[int, ...], masks: tuple[np.ndarray, ...] | None) -> Conditioner:
    last = len(sizes) - 2

    def init(key: Key) -> PyTree:
        keys = jax.random.split(key, last + 1)
        shapes = itertools.pairwise(sizes[:-1])
        kernels = []
        for key_layer, shape in zip(keys[:last], shapes, strict=True):
            num_inputs, _ = shape
            kernels.append(normal(key_layer, shape) / math.sqrt(num_inputs))
        kernels.append(jnp.zeros(sizes[-2:]))
        layers = []
        for kernel in kernels:
            bias = jnp.zeros(kernel.shape[1])
            layers.append({"kernel": kernel, "bias": bias})
        return tuple(layers)

    def apply(params: PyTree, x: Array) -> Array:
        for index, layer in enumerate(wide(params)):
            kernel = layer["kernel"]
            if masks is not None:
                kernel = jnp.where(masks[index], kernel, 0)
            # With rounded factors (TF32) the inverse would not undo the forward direction.
            product = jnp.dot(x, kernel, precision=lax.Precision.HIGHEST)
            x = product + layer["bias"]
            if index != last:
                x = jnp.tanh(x)
        return x

    return Conditioner(init, apply)
