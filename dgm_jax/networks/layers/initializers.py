"""Named initialisations of weights, drawn flat (an N-dimensional draw compiles slowly on CPU)."""

import math

import jax.numpy as jnp

from dgm_jax import core


def _fan_in(shape):
    """Numbers that feed one output: the product of all axes but the last."""
    return math.prod(shape[:-1])


def _torch(gain):
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): the default of PyTorch's Linear and Conv2d."""

    def draw(key, shape, dtype=jnp.float32):
        bound = gain / math.sqrt(_fan_in(shape))
        return core.uniform(key, shape, dtype, -bound, bound)

    return draw


def _he(gain):
    """N(0, 2 / fan_in): He et al. 2015, "Delving deep into rectifiers", eq. 10."""

    def draw(key, shape, dtype=jnp.float32):
        return core.normal(key, shape, dtype) * (gain * math.sqrt(2.0 / _fan_in(shape)))

    return draw


def _glorot(gain):
    """U(-a, a) with a^2 = 6 / (fan_in + fan_out): Glorot and Bengio 2010, eq. 16."""

    def draw(key, shape, dtype=jnp.float32):
        field = math.prod(shape[:-2])
        bound = gain * math.sqrt(6.0 / (field * (shape[-2] + shape[-1])))
        return core.uniform(key, shape, dtype, -bound, bound)

    return draw


def _orthogonal(gain):
    """gain times a matrix [fan_in, out] with orthonormal columns (or rows): Saxe et al. 2014."""

    def draw(key, shape, dtype=jnp.float32):
        rows, columns = _fan_in(shape), shape[-1]
        q, r = jnp.linalg.qr(core.normal(key, (max(rows, columns), min(rows, columns)), dtype))
        q = q * jnp.sign(jnp.diagonal(r))  # uniform over orthogonal matrices
        return gain * (q if rows >= columns else q.T).reshape(shape)

    return draw


def _normal_002(gain):
    """N(0, .02^2): Radford et al. 2016 (DCGAN), section 4."""

    def draw(key, shape, dtype=jnp.float32):
        return core.normal(key, shape, dtype) * (0.02 * gain)

    return draw


INITIALIZERS = {
    "torch": _torch,
    "he": _he,
    "glorot": _glorot,
    "orthogonal": _orthogonal,
    "normal_0.02": _normal_002,
}


def weights(name: str, gain: float = 1.0):
    """`(key, shape, dtype) -> array` for a kernel [..., in, out]; `gain` scales every draw.

    Names: torch, he, glorot, orthogonal, normal_0.02. Raises ConfigError for another.
    """
    return core.lookup(INITIALIZERS, name, "initialisation")(gain)


def bias(name: str, fan_in: int):
    """The bias that belongs to an initialisation: uniform like the weights for "torch", zero for
    the others."""
    core.lookup(INITIALIZERS, name, "initialisation")

    def draw(key, shape, dtype=jnp.float32):
        if name != "torch":
            return jnp.zeros(shape, dtype)
        bound = 1.0 / math.sqrt(fan_in)
        return core.uniform(key, shape, dtype, -bound, bound)

    return draw
