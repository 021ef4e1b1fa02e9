"""Named initializations of weights, drawn flat (an N-dimensional draw compiles slowly on CPU).

Weights are drawn once a run, so with JAX's own keys: a draw of `core.normal` runs faster, but it
takes longer to lower, also where the compiled program is in the cache. The numbers are the same.
"""

import math
from typing import Protocol

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from dgm_jax import core
from dgm_jax.core import Array, Key


class Initializer(Protocol):
    """`(key, shape, dtype) -> array`."""

    def __call__(
        self, key: Key, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32, /
    ) -> Array: ...


def normal(key: Key, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
    """Standard normal draws [*shape], to be made once."""
    return jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


def _uniform(
    key: Key, shape: tuple[int, ...], dtype: DTypeLike, minval: float, maxval: float
) -> Array:
    draws = jax.random.uniform(key, (math.prod(shape),), dtype, minval, maxval)
    return draws.reshape(shape)


def _fan_in(shape: tuple[int, ...]) -> int:
    """Numbers that feed one output: the product of all axes but the last."""
    return math.prod(shape[:-1])


def _torch(gain: float) -> Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): the default of PyTorch's Linear and Conv2d."""

    def draw(key, shape, dtype=jnp.float32):
        bound = gain / math.sqrt(_fan_in(shape))
        return _uniform(key, shape, dtype, -bound, bound)

    return draw


def _he(gain: float) -> Initializer:
    """N(0, 2 / fan_in): He et al. 2015, "Delving deep into rectifiers", eq. 10."""

    def draw(key, shape, dtype=jnp.float32):
        return normal(key, shape, dtype) * (gain * math.sqrt(2.0 / _fan_in(shape)))

    return draw


def _glorot(gain: float) -> Initializer:
    """U(-a, a) with a^2 = 6 / (fan_in + fan_out): Glorot and Bengio 2010, eq. 16."""

    def draw(key, shape, dtype=jnp.float32):
        field = math.prod(shape[:-2])
        bound = gain * math.sqrt(6.0 / (field * (shape[-2] + shape[-1])))
        return _uniform(key, shape, dtype, -bound, bound)

    return draw


def _orthogonal(gain: float) -> Initializer:
    """gain times a matrix [fan_in, out] with orthonormal columns (or rows): Saxe et al. 2014."""

    def draw(key, shape, dtype=jnp.float32):
        rows = _fan_in(shape)
        columns = shape[-1]
        tall = (max(rows, columns), min(rows, columns))
        q, r = jnp.linalg.qr(normal(key, tall, dtype))
        # Without the signs of the diagonal of R, Q is not uniform over orthogonal matrices.
        q = q * jnp.sign(jnp.diagonal(r))
        return gain * (q if rows >= columns else q.T).reshape(shape)

    return draw


def _normal_002(gain: float) -> Initializer:
    """N(0, .02^2): Radford et al. 2016 (DCGAN), section 4."""

    def draw(key, shape, dtype=jnp.float32):
        return normal(key, shape, dtype) * (0.02 * gain)

    return draw


INITIALIZERS = {
    "torch": _torch,
    "he": _he,
    "glorot": _glorot,
    "orthogonal": _orthogonal,
    "normal_0.02": _normal_002,
}


def weights(name: str, gain: float = 1.0) -> Initializer:
    """Look up the initialization of a kernel.

    Args:
        name: "torch", "he", "glorot", "orthogonal" or "normal_0.02".
        gain: factor on every draw.

    Returns:
        `(key, shape, dtype) -> kernel [..., in, out]`.

    Raises:
        ConfigError: no initialization has the name.
    """
    return core.lookup(INITIALIZERS, name, "initialization")(gain)


def bias(name: str, fan_in: int) -> Initializer:
    """Look up the initialization of a bias that belongs to that of the weights.

    Args:
        name: as in `weights`. For "torch" the bias is uniform like the weights, otherwise zero.
        fan_in: numbers that feed one output.

    Returns:
        `(key, shape, dtype) -> bias [out]`.

    Raises:
        ConfigError: no initialization has the name.
    """
    core.lookup(INITIALIZERS, name, "initialization")

    def draw(key, shape, dtype=jnp.float32):
        if name != "torch":
            return jnp.zeros(shape, dtype)
        bound = 1.0 / math.sqrt(fan_in)
        return _uniform(key, shape, dtype, -bound, bound)

    return draw
