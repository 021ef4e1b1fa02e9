"""Convolutions of the library."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contract import Case
from benchmarks.families.convolutions import BATCH, LAYERS, RATE
from dgm_jax.networks.layers import convolution


def operands(layer: str) -> tuple[np.ndarray, np.ndarray]:
    """(images, kernel) in float32, as JAX has them."""
    size, _, channels, features, side = LAYERS[layer]
    draw = np.random.default_rng(0).normal
    x = draw(size=(BATCH, side, side, channels))
    w = draw(size=(size, size, channels, features)) / np.sqrt(size * size * channels)
    return x.astype(np.float32), w.astype(np.float32)


def loss(x, w, stride, backend):
    """The mean square of the layer's output, in float32."""
    y = convolution.conv(x, w, stride=stride, backend=backend)
    return jnp.mean(jnp.square(y.astype(jnp.float32)))


def step(state, _, stride, backend):
    """A step along both gradients."""
    slopes = jax.grad(loss, (0, 1))(*state, stride, backend)
    return tuple(s - s.dtype.type(RATE) * g for s, g in zip(state, slopes, strict=True)), None


def steps(layer: str, dtype: str, steps: int, backend: str | None = None) -> Case:
    """Steps in one compiled call, which goes on from the last one's state."""
    one = functools.partial(step, stride=LAYERS[layer][1], backend=backend)
    run = jax.jit(lambda state: jax.lax.scan(one, state, None, length=steps)[0], donate_argnums=0)
    state = tuple(jnp.asarray(each, dtype) for each in operands(layer))
    compiled, holder = run.lower(state).compile(), [state]

    def call():
        holder[0] = compiled(holder[0])
        return holder[0]

    return Case(call, steps)
