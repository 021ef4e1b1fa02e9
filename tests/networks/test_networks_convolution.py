"""The convolution and its transpose on every backend against lax, flax, PyTorch and the definition
of an adjoint."""

import functools

import backends
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import core, networks
from dgm_jax.networks.layers import convolution

# kernel, stride, inputs, outputs, height, width, batch, padding
CASES = [
    (3, 1, 5, 6, 7, 7, 3, "SAME"),
    (3, 1, 6, 2, 14, 14, 1, "SAME"),
    (3, 1, 1, 4, 28, 28, 3, "SAME"),
    (3, 1, 4, 1, 28, 28, 5, "SAME"),
    (3, 1, 4, 4, 8, 5, 2, "VALID"),
    (4, 2, 3, 8, 14, 14, 3, "SAME"),
    (4, 2, 8, 3, 28, 28, 5, "SAME"),
    (4, 2, 1, 6, 28, 28, 3, "SAME"),
    (4, 2, 6, 1, 14, 14, 3, "SAME"),
    (4, 2, 3, 4, 7, 9, 3, "SAME"),
    (1, 1, 3, 5, 7, 7, 3, "SAME"),
    (1, 2, 5, 3, 7, 8, 3, "SAME"),
    (2, 2, 3, 4, 8, 8, 3, "SAME"),
    (5, 1, 2, 3, 7, 7, 3, "SAME"),
    (5, 3, 2, 9, 11, 8, 2, "VALID"),
    (3, 2, 3, 4, 8, 8, 3, ((1, 1), (2, 0))),
]
TRANSPOSED = [
    (4, 2, 5, 3, 7, 7, 3),
    (4, 2, 3, 5, 7, 6, 1),
    (4, 2, 6, 1, 14, 14, 5),
    (4, 2, 1, 6, 7, 7, 3),
    (3, 2, 4, 3, 7, 7, 3),
    (2, 2, 4, 3, 5, 7, 3),
    (5, 2, 3, 4, 7, 7, 2),
    (3, 1, 4, 3, 7, 7, 3),
]


def images_and_kernel(kernel, inputs, outputs, height, width, batch, dtype=np.float32):
    random = np.random.default_rng(kernel * 1000 + inputs * 100 + outputs)
    x = random.normal(size=(batch, height, width, inputs)).astype(dtype)
    w = random.normal(size=(kernel, kernel, inputs, outputs)).astype(dtype)
    return x, w


def assert_same_values_and_gradients(ours, theirs, x, w, tolerance):
    def everything(function):
        def values(x, w):
            y, pull = jax.vjp(function, x, w)
            d = jnp.asarray(np.random.default_rng(1).normal(size=y.shape).astype(y.dtype))
            return {"value": y} | dict(
                zip(("gradient of x", "gradient of w"), pull(d), strict=True)
            )

        return jax.jit(values)(x, w)

    expected = everything(theirs)
    for name, value in everything(ours).items():
        largest = float(np.abs(expected[name]).max())
        assert largest > 0.1
        np.testing.assert_allclose(
            value, expected[name], atol=tolerance * largest, rtol=0, err_msg=name
        )


@pytest.mark.parametrize("kernel,stride,inputs,outputs,height,width,batch,padding", CASES)
@pytest.mark.parametrize("backend", backends.CPU)
def test_convolution_is_that_of_lax(
    backend, kernel, stride, inputs, outputs, height, width, batch, padding
):
    x, w = images_and_kernel(kernel, inputs, outputs, height, width, batch)
    ours = functools.partial(convolution.conv, stride=stride, padding=padding, backend=backend)

    def theirs(x, w):
        return jax.lax.conv_general_dilated(
            x,
            w,
            (stride, stride),
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )

    assert_same_values_and_gradients(ours, theirs, x, w, 3e-6)


@pytest.mark.parametrize("kernel,stride,inputs,outputs,height,width,batch", TRANSPOSED)
@pytest.mark.parametrize("backend", backends.CPU)
def test_transposed_convolution_is_that_of_lax(
    backend, kernel, stride, inputs, outputs, height, width, batch
):
    x, w = images_and_kernel(kernel, inputs, outputs, height, width, batch)
    ours = functools.partial(convolution.conv_transpose, stride=stride, backend=backend)

    def theirs(x, w):
        return jax.lax.conv_transpose(
            x,
            w,
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )

    assert_same_values_and_gradients(ours, theirs, x, w, 3e-6)


@pytest.mark.parametrize(
    "kernel,stride,inputs,outputs", [(4, 2, 3, 5), (4, 2, 5, 1), (3, 1, 4, 3), (3, 2, 2, 3)]
)
@pytest.mark.parametrize("backend", backends.ALL)
def test_upsampling_is_the_adjoint_of_downsampling(backend, kernel, stride, inputs, outputs):
    """<conv(x, w), y> = <x, conv_transpose(y, w flipped)>."""
    x, w = images_and_kernel(kernel, inputs, outputs, 14, 14, 3)
    y = (
        np.random.default_rng(5)
        .normal(size=(3, 14 // stride, 14 // stride, outputs))
        .astype(np.float32)
    )
    down = convolution.conv(x, w, stride=stride, backend=backend)
    flipped = w[::-1, ::-1].transpose(0, 1, 3, 2)
    up = convolution.conv_transpose(y, flipped, stride=stride, backend=backend)
    left = np.vdot(np.float64(down), np.float64(y))
    right = np.vdot(np.float64(x), np.float64(up))
    assert abs(left - right) < 1e-5 * np.linalg.norm(down) * np.linalg.norm(y)


@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("backend", backends.CPU)
def test_the_penalty_of_a_convolutional_critic(backend, per_example):
    """A penalty on the squared gradient in x (as R1) has lax's gradient in the parameters."""
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32)
    critic = networks.Discriminator(features=4, init_name="he", backend="lax")
    params = critic.init(jax.random.key(0), x)

    def penalty(params, backend):
        ours = critic.clone(backend=backend)
        slope = jax.grad(lambda x: jnp.sum(ours.apply(params, x)))
        slopes = jax.vmap(lambda example: slope(example[None]))(x) if per_example else slope(x)
        return jnp.sum(jnp.square(slopes))

    gradient = jax.jit(jax.grad(penalty), static_argnums=1)
    for found, expected in zip(
        jax.tree.leaves(gradient(params, backend)),
        jax.tree.leaves(gradient(params, "lax")),
        strict=True,
    ):
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(found, expected, atol=1e-5 * max(scale, 1e-2))


@pytest.mark.parametrize("backend", backends.ALL)
@pytest.mark.parametrize(
    "theirs,ours",
    [
        (nn.Conv(5, (4, 4), 2), networks.Conv(5, (4, 4), 2)),
        (nn.Conv(5, (3, 3)), networks.Conv(5, (3, 3))),
        (nn.Conv(5, (1, 1), use_bias=False), networks.Conv(5, (1, 1), use_bias=False)),
        (nn.ConvTranspose(5, (4, 4), (2, 2)), networks.ConvTranspose(5)),
    ],
)
def test_parameters_exchange_with_flax(theirs, ours, backend):
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)
    ours = ours.clone(backend=backend)
    params = jax.jit(theirs.init)(jax.random.key(0), x)
    params = jax.tree.map(lambda p: np.asarray(p) + 0.1, params)  # a bias that is not zero
    apply = jax.jit(lambda x, params: ours.apply(params, x))
    np.testing.assert_allclose(apply(x, params), theirs.apply(params, x), rtol=1e-5, atol=1e-5)
    our_params = jax.eval_shape(ours.init, jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, our_params) == jax.tree.map(jnp.shape, params)


@pytest.mark.parametrize("backend", backends.ALL)
def test_parameters_exchange_with_pytorch(backend):
    torch = pytest.importorskip("torch")
    x, w = images_and_kernel(4, 3, 5, 8, 8, 2)
    image = torch.tensor(x.transpose(0, 3, 1, 2).copy())
    down = torch.nn.functional.conv2d(
        image, torch.tensor(w.transpose(3, 2, 0, 1).copy()), stride=2, padding=1
    )
    ours = convolution.conv(x, w, stride=2, backend=backend)
    np.testing.assert_allclose(ours, down.numpy().transpose(0, 2, 3, 1), atol=1e-4)
    weight = torch.tensor(w[::-1, ::-1].transpose(2, 3, 0, 1).copy())
    up = torch.nn.functional.conv_transpose2d(image, weight, stride=2, padding=1)
    ours = convolution.conv_transpose(x, w, backend=backend)
    np.testing.assert_allclose(ours, up.numpy().transpose(0, 2, 3, 1), atol=1e-4)


def test_dense_ends_are_a_dense_layer_on_flattened_images():
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 4, 5, 2)).astype(np.float32)
    z = random.normal(size=(3, 6)).astype(np.float32)
    head = networks.DenseFromImage(7)
    params = head.init(jax.random.key(0), x)
    expected = x.reshape(3, -1) @ np.asarray(params["params"]["kernel"])
    np.testing.assert_allclose(head.apply(params, x), expected, atol=1e-4)
    stem = networks.DenseToImage((4, 5, 2))
    params = stem.init(jax.random.key(0), z)
    params["params"]["bias"] = jnp.arange(40.0)
    expected = (z @ np.asarray(params["params"]["kernel"]) + np.arange(40.0)).reshape(3, 4, 5, 2)
    np.testing.assert_allclose(stem.apply(params, z), expected, atol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.uint8])
@pytest.mark.parametrize("backend", backends.ALL)
def test_other_types_are_computed_in_their_own_or_as_floats(backend, dtype):
    x, w = images_and_kernel(3, 2, 4, 6, 6, 2)
    x, w = np.round(4 * np.abs(x)), np.round(w)  # exact in all of them
    expected = convolution.conv(x, w, backend="lax")
    found = convolution.conv(
        jnp.asarray(x, dtype),
        jnp.asarray(w, jnp.int8 if dtype == jnp.uint8 else dtype),
        backend=backend,
    )
    assert jnp.issubdtype(found.dtype, jnp.floating)
    np.testing.assert_allclose(np.float32(found), expected, rtol=1e-2, atol=0.5)


@pytest.mark.parametrize(
    "shape,kernel,settings,words",
    [
        ((3, 4, 4), (3, 3, 4, 1), {}, r"\[B, H, W, C\], got \(3, 4, 4\)"),
        ((2, 4, 4, 1), (3, 3, 3, 1), {}, "channels"),
        ((2, 4, 4, 2), (3, 3, 2, 1), {"padding": "FULL"}, "SAME"),
        ((2, 4, 4, 2), (3, 3, 2, 1), {"padding": ((-1, 0), (0, 0))}, "none of them negative"),
        ((2, 4, 4, 2), (7, 7, 2, 1), {"padding": "VALID"}, r"\(7, 7\) does not fit.*\(4, 4\)"),
        ((2, 4, 4, 2), (3, 3, 2, 1), {"backend": "product"}, "plain"),
        ((2, 4, 4, 2), (3, 3, 2, 1), {"stride": 0}, "stride"),
    ],
)
def test_errors_say_what_was_expected(shape, kernel, settings, words):
    with pytest.raises(core.DgmError, match=words):
        convolution.conv(jnp.zeros(shape), jnp.zeros(kernel), **settings)
