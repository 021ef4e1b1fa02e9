"""A prior, a data set and networks of one's own, for a VAE."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgm_jax import networks
from dgm_jax.core import Network, Prior, normal

SHAPE = (2, 3, 1)  # of an image
LATENTS = 2


def laplace_prior(size: int) -> Prior:
    """Independent Laplace variables with a learned log-scale."""

    def sample(params, key, n):
        return jnp.exp(params["log_scale"]) * jax.random.laplace(key, (n, size))

    def log_prob(params, z):
        log_scale = params["log_scale"]
        density = -jnp.abs(z) * jnp.exp(-log_scale) - log_scale - jnp.log(2)
        return jnp.sum(density, axis=-1)

    return Prior(lambda key: {"log_scale": jnp.zeros(size)}, sample, log_prob)


def stripes(num: int) -> np.ndarray:
    """Binary images [num, 2, 3, 1] whose columns are all on or all off, one in ten pixels
    flipped."""
    random = np.random.default_rng(0)
    columns = random.integers(0, 2, (num, 1, 3, 1))
    flipped = random.random((num, *SHAPE)) < 0.1
    return np.where(flipped, 1 - columns, columns).astype(np.float32)


class Linen(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.features)(nn.tanh(nn.Dense(16)(x)))


class Nnx(nnx.Module):
    def __init__(self, inputs, features, rngs):
        self.hidden = nnx.Linear(inputs, 16, rngs=rngs)
        self.out = nnx.Linear(16, features, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.tanh(self.hidden(x)))


def _linen(inputs: int, features: int) -> Network:
    return networks.from_flax(Linen(features))


def _nnx(inputs: int, features: int) -> Network:
    return networks.from_nnx(lambda rngs: Nnx(inputs, features, rngs))


def _functions(inputs: int, features: int) -> Network:
    def init(key, x):
        first, second = jax.random.split(key)
        hidden = normal(first, (x.shape[-1], 16)) / np.sqrt(inputs)
        return {"hidden": hidden, "out": normal(second, (16, features)) / 4}

    return networks.from_functions(init, lambda p, x: jnp.tanh(x @ p["hidden"]) @ p["out"])


KINDS = {"linen": _linen, "nnx": _nnx, "functions": _functions}


def coders(kind: str) -> tuple[Network, Network]:
    """(encoder, decoder) on images of `SHAPE`."""
    make, pixels = KINDS[kind], int(np.prod(SHAPE))
    encoder = networks.reshaped(make(pixels, 2 * LATENTS), (2 * LATENTS,))
    return encoder, networks.reshaped(make(LATENTS, pixels), SHAPE)
