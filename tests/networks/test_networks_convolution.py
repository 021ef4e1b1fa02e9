"""The matrix-product convolution against lax, flax, PyTorch and the definition of an adjoint."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import core, networks
from dgm_jax.networks import convolution

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


def outside(function, backend):
    """A function of the internal layout as one of [B, H, W, C]."""
    return lambda x, w: networks.from_internal(
        function(networks.to_internal(x, backend), w, backend), backend
    )


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
def test_convolution_is_that_of_lax(kernel, stride, inputs, outputs, height, width, batch, padding):
    x, w = images_and_kernel(kernel, inputs, outputs, height, width, batch)
    ours = outside(
        lambda x, w, b: convolution.conv(x, w, stride=stride, padding=padding, backend=b),
        "products",
    )

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
def test_transposed_convolution_is_that_of_lax(
    kernel, stride, inputs, outputs, height, width, batch
):
    x, w = images_and_kernel(kernel, inputs, outputs, height, width, batch)
    ours = outside(
        lambda x, w, b: convolution.conv_transpose(x, w, stride=stride, backend=b), "products"
    )

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
    "kernel,stride,inputs,outputs", [(3, 1, 3, 4), (3, 1, 4, 1), (4, 2, 1, 4), (4, 2, 4, 6)]
)
def test_double_precision_agrees_with_lax(kernel, stride, inputs, outputs):
    with jax.enable_x64(True):
        x, w = images_and_kernel(kernel, inputs, outputs, 14, 14, 3, np.float64)
        ours = outside(lambda x, w, b: convolution.conv(x, w, stride=stride, backend=b), "products")
        theirs = outside(lambda x, w, b: convolution.conv(x, w, stride=stride, backend=b), "lax")
        assert_same_values_and_gradients(ours, theirs, x, w, 1e-13)


@pytest.mark.parametrize(
    "kernel,stride,inputs,outputs", [(4, 2, 3, 5), (4, 2, 5, 1), (3, 1, 4, 3), (3, 2, 2, 3)]
)
def test_upsampling_is_the_adjoint_of_downsampling(kernel, stride, inputs, outputs):
    """<conv(x, w), y> = <x, conv_transpose(y, w flipped)>."""
    x, w = images_and_kernel(kernel, inputs, outputs, 14, 14, 3)
    y = (
        np.random.default_rng(5)
        .normal(size=(3, 14 // stride, 14 // stride, outputs))
        .astype(np.float32)
    )
    for backend in convolution.BACKENDS:
        down = jax.jit(
            outside(lambda x, w, b: convolution.conv(x, w, stride=stride, backend=b), backend)
        )(x, w)
        flipped = w[::-1, ::-1].transpose(0, 1, 3, 2)
        upsample = outside(
            lambda y, w, b: convolution.conv_transpose(y, w, stride=stride, backend=b), backend
        )
        up = jax.jit(upsample)(y, flipped)
        left, right = (
            np.vdot(np.float64(down), np.float64(y)),
            np.vdot(np.float64(x), np.float64(up)),
        )
        assert abs(left - right) < 1e-5 * np.linalg.norm(down) * np.linalg.norm(y)


@pytest.mark.parametrize("per_example", [False, True])
def test_gradient_of_a_gradient(per_example):
    """A penalty on the squared gradient in x (as R1) has the lax backend's gradient in w."""
    x, w = images_and_kernel(4, 3, 5, 8, 8, 3)

    def penalty(w, backend):
        down = outside(lambda x, w, b: convolution.conv(x, w, stride=2, backend=b), backend)
        slope = jax.grad(lambda x: jnp.sum(jnp.tanh(0.1 * down(x, w))))
        slopes = jax.vmap(lambda example: slope(example[None]))(x) if per_example else slope(x)
        return jnp.sum(jnp.square(slopes))

    gradient, expected = (
        jax.jit(jax.grad(penalty), static_argnums=1)(w, b) for b in ("products", "lax")
    )
    scale = float(np.abs(expected).max())
    assert scale > 0.1
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * scale)


@pytest.mark.parametrize("name", ["conv", "conv_transpose"])
def test_seeds_by_vmap_are_the_seeds_alone_and_no_convolution_is_left(name):
    x, w = images_and_kernel(4, 3, 5, 8, 8, 3)
    function = getattr(convolution, name)
    ws, xs = jnp.stack([w, 2 * w, w - 1]), jnp.stack([x, x + 1, -x])

    def gradients(w, x, backend):
        image = networks.to_internal(x, backend)
        return jax.grad(
            lambda w, x: jnp.sum(jnp.sin(function(x, w, stride=2, backend=backend))), (0, 1)
        )(w, image)

    seeds = jax.jit(jax.vmap(lambda w, x: gradients(w, x, "products")))
    together = seeds(ws, xs)
    one = jax.jit(lambda w, x: gradients(w, x, "products"))
    for seed in range(3):
        for a, b in zip(together, one(ws[seed], xs[seed]), strict=True):
            np.testing.assert_allclose(a[seed], b, rtol=1e-4, atol=1e-4)
    assert "convolution(" not in seeds.lower(ws, xs).compile().as_text()
    lax_seeds = jax.jit(jax.vmap(lambda w, x: gradients(w, x, "lax")))
    # the search would find one
    assert "convolution(" in lax_seeds.lower(ws, xs).compile().as_text()


def test_inside_a_scan_as_outside():
    x, w = images_and_kernel(3, 4, 4, 7, 7, 3)
    x = networks.to_internal(x, "products")

    def step(w):
        loss = lambda w: jnp.mean(jnp.square(convolution.conv(x, w, backend="products") - 1))
        return w - 0.01 * jax.grad(loss)(w)

    scanned = jax.jit(lambda w: jax.lax.scan(lambda w, _: (step(w), None), w, length=4)[0])(w)
    looped = jnp.asarray(w)
    step = jax.jit(step)
    for _ in range(4):
        looped = step(looped)
    np.testing.assert_allclose(scanned, looped, rtol=1e-5, atol=1e-6)
    assert np.abs(looped - w).max() > 1e-3


@pytest.mark.parametrize("backend", convolution.BACKENDS)
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
    apply = jax.jit(outside(lambda x, params, b: ours.apply(params, x), backend))
    np.testing.assert_allclose(apply(x, params), theirs.apply(params, x), rtol=1e-5, atol=1e-5)
    our_params = jax.eval_shape(
        lambda x: ours.init(jax.random.key(0), x), networks.to_internal(x, backend)
    )
    assert jax.tree.map(jnp.shape, our_params) == jax.tree.map(jnp.shape, params)


@pytest.mark.parametrize("backend", convolution.BACKENDS)
def test_parameters_exchange_with_pytorch(backend):
    torch = pytest.importorskip("torch")
    x, w = images_and_kernel(4, 3, 5, 8, 8, 2)
    image = torch.tensor(x.transpose(0, 3, 1, 2).copy())
    down = torch.nn.functional.conv2d(
        image, torch.tensor(w.transpose(3, 2, 0, 1).copy()), stride=2, padding=1
    )
    ours = jax.jit(outside(lambda x, w, b: convolution.conv(x, w, stride=2, backend=b), backend))(
        x, w
    )
    np.testing.assert_allclose(ours, down.numpy().transpose(0, 2, 3, 1), atol=1e-4)
    weight = torch.tensor(w[::-1, ::-1].transpose(2, 3, 0, 1).copy())
    up = torch.nn.functional.conv_transpose2d(image, weight, stride=2, padding=1)
    ours = jax.jit(outside(lambda x, w, b: convolution.conv_transpose(x, w, backend=b), backend))(
        x, w
    )
    np.testing.assert_allclose(ours, up.numpy().transpose(0, 2, 3, 1), atol=1e-4)


@pytest.mark.parametrize("backend", convolution.BACKENDS)
def test_dense_ends_are_a_dense_layer_on_flattened_images(backend):
    random = np.random.default_rng(0)
    x, z = (
        random.normal(size=(3, 4, 5, 2)).astype(np.float32),
        random.normal(size=(3, 6)).astype(np.float32),
    )
    head = networks.DenseFromImage(7, backend=backend)
    params = head.init(jax.random.key(0), networks.to_internal(x, backend))
    expected = x.reshape(3, -1) @ np.asarray(params["params"]["kernel"])
    np.testing.assert_allclose(
        head.apply(params, networks.to_internal(x, backend)), expected, atol=1e-4
    )
    stem = networks.DenseToImage((4, 5, 2), backend=backend)
    params = stem.init(jax.random.key(0), z)
    params["params"]["bias"] = jnp.arange(40.0)
    expected = (z @ np.asarray(params["params"]["kernel"]) + np.arange(40.0)).reshape(3, 4, 5, 2)
    np.testing.assert_allclose(
        networks.from_internal(stem.apply(params, z), backend), expected, atol=1e-4
    )


def test_layouts_go_there_and_back():
    x = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    assert networks.to_internal(x, "products").shape == (5, 3, 4, 2)
    assert networks.to_internal(x, "lax").shape == x.shape
    for backend in (None, *convolution.BACKENDS):
        np.testing.assert_array_equal(
            networks.from_internal(networks.to_internal(x, backend), backend), x
        )
    assert networks.resolve_backend() == ("products" if jax.default_backend() == "cpu" else "lax")


@pytest.mark.parametrize(
    "call,words",
    [
        (lambda: networks.resolve_backend("product"), "products"),
        (lambda: networks.to_internal(jnp.zeros((3, 4, 4))), "B, H, W, C"),
        (
            lambda: convolution.conv(
                jnp.zeros((2, 4, 4, 1)), jnp.zeros((3, 3, 3, 1)), backend="products"
            ),
            "channels",
        ),
        (
            lambda: convolution.conv(
                jnp.zeros((2, 4, 4, 1)), jnp.zeros((3, 3, 2, 1)), padding="FULL", backend="products"
            ),
            "SAME",
        ),
    ],
)
def test_errors_say_what_was_expected(call, words):
    with pytest.raises(core.DgmError, match=words):
        call()
