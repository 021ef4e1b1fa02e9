"""Programs that the flag touches."""

import jax
import jax.numpy as jnp

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared


def product(shapes: list[list[int]]) -> Case:
    """A lone product."""
    return shared.compiled(jnp.matmul, *[jnp.asarray(shared.normal(*shape)) for shape in shapes])


def products_in_a_scan() -> Case:
    """Fifty times x <- x @ w, in eight lanes."""
    step = lambda x, w: jax.lax.scan(lambda x, _: (x @ w, None), x, None, length=50)[0]
    x, w = jnp.asarray(shared.normal(8, 256, 128)), jnp.asarray(shared.normal(8, 128, 128)) / 12
    return shared.compiled(step, x, w)


def weight_gradient(lanes: int) -> Case:
    """Of a 3x3 convolution, "same" padding, channels last; one kernel a lane, 128 images in all."""

    def gradient(x, w):
        def loss(w):
            order = ("NHWC", "HWIO", "NHWC")
            y = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=order)
            return jnp.sum(jnp.square(y))

        return jax.grad(loss)(w)

    images = jnp.asarray(shared.normal(lanes, 128 // lanes, 14, 14, 64))
    kernels = jnp.asarray(shared.normal(lanes, 3, 3, 64, 64))
    if lanes == 1:
        return shared.compiled(gradient, images[0], kernels[0])
    return shared.compiled(jax.vmap(gradient), images, kernels)
