"""The three maps of a convolution against sums in float64, in every order of differentiation, under
vmap, scan, shard_map and pmap, and lowered for other platforms."""

import functools
import re

import backends
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from dgm_jax import native
from dgm_jax.networks.layers import bilinear, by_lax, convolution
from dgm_jax.networks.layers.maps import FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT, ROLES, Geometry

CALL = "dgm_jax_convolution"


def patches(x, geometry):
    """[kh, kw, B, H', W', C]: what each tap of the kernel sees, by index."""
    (sh, sw), before, size, (kh, kw), (oh, ow) = geometry
    wide = np.zeros((x.shape[0], oh * sh + kh + size[0], ow * sw + kw + size[1], x.shape[3]))
    wide[:, before[0] : before[0] + size[0], before[1] : before[1] + size[1]] = x
    rows, columns = sh * np.arange(oh), sw * np.arange(ow)
    return np.array(
        [[wide[:, rows + u][:, :, columns + v] for v in range(kw)] for u in range(kh)]
    ).reshape(kh, kw, x.shape[0], oh, ow, x.shape[3])


def reference(which, a, b, geometry):
    """The map in float64, straight from its definition."""
    a, b = np.float64(a), np.float64(b)
    if which == FORWARD:
        return np.einsum("uvbijc,uvcn->bijn", patches(a, geometry), b)
    if which == KERNEL_GRADIENT:
        return np.einsum("uvbijc,bijn->uvcn", patches(a, geometry), b)
    x = np.zeros((a.shape[0], *geometry.size, b.shape[2]))
    taps = np.einsum("bijn,uvcn->uvijbc", a, b)
    for u, v, i, j in np.ndindex(*geometry.kernel, *geometry.out):
        row = geometry.stride[0] * i + u - geometry.before[0]
        column = geometry.stride[1] * j + v - geometry.before[1]
        if 0 <= row < geometry.size[0] and 0 <= column < geometry.size[1]:
            x[:, row, column] += taps[u, v, i, j]
    return x


def operands(which, batch, channels, features, geometry, dtype=np.float32):
    random = np.random.default_rng(batch + 10 * channels)
    x = random.normal(size=(batch, *geometry.size, channels))
    w = random.normal(size=(*geometry.kernel, channels, features))
    y = random.normal(size=(batch, *geometry.out, features))
    pairs = {FORWARD: (x, w), INPUT_GRADIENT: (y, w), KERNEL_GRADIENT: (x, y)}
    return tuple(jnp.asarray(operand, dtype) for operand in pairs[which])


@st.composite
def geometries(draw):
    axis = st.tuples(
        st.integers(1, 3),
        st.integers(0, 3),
        st.integers(1, 9),
        st.integers(1, 5),
        st.integers(0, 3),
    ).filter(lambda a: a[2] + a[1] + a[4] >= a[3])
    found = [draw(axis), draw(axis)]
    out = tuple((n + before + after - k) // s + 1 for s, before, n, k, after in found)
    stride, before, size, kernel, _ = zip(*found, strict=True)
    return Geometry(stride, before, size, kernel, out)


@pytest.mark.parametrize("backend", backends.CPU)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    geometry=geometries(),
    which=st.sampled_from([FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT]),
    batch=st.integers(0, 3),
    channels=st.sampled_from([1, 2, 3, 8, 17]),
    features=st.sampled_from([1, 3, 8, 16]),
    dtype=st.sampled_from([jnp.float32, jnp.bfloat16]),
)
def test_every_geometry_is_its_definition(
    backend, geometry, which, batch, channels, features, dtype
):
    """Rectangular kernels and strides, uneven padding, 1x1, no images at all, two types."""
    a, b = operands(which, batch, channels, features, geometry, dtype)
    found = jax.jit(lambda a, b: bilinear.apply(which, a[None], b[None], geometry, backend)[0])(
        a, b
    )
    expected = reference(which, a, b, geometry)
    assert found.shape == expected.shape and found.dtype == dtype
    scale = np.sqrt(np.mean(np.square(expected))) if expected.size else 0.0
    bound = {jnp.float32: 1e-5, jnp.bfloat16: 3e-2}[dtype]
    np.testing.assert_allclose(np.float64(found), expected, rtol=bound, atol=bound * scale)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("backend", backends.CPU)
@pytest.mark.parametrize("which", [FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT])
def test_one_tap_without_padding_is_a_product(which, backend, dtype):
    geometry = Geometry((1, 1), (0, 0), (5, 4), (1, 1), (5, 4))
    assert geometry.is_pointwise
    for other in ({"stride": (1, 2)}, {"before": (1, 0), "out": (6, 4)}, {"kernel": (1, 3)}):
        assert not geometry._replace(**other).is_pointwise
    a, b = operands(which, 3, 6, 7, geometry, dtype)
    found = bilinear.apply(which, a[None], b[None], geometry, backend)[0]
    expected = reference(which, a, b, geometry)
    assert found.shape == expected.shape and found.dtype == dtype
    bound = {jnp.float32: 1e-5, jnp.bfloat16: 3e-2}[dtype]
    np.testing.assert_allclose(np.float64(found), expected, rtol=bound, atol=bound)


# Kernels larger than a narrow image: some taps see nothing but padding.
BEYOND = [
    Geometry((3, 3), (2, 1), (2, 1), (5, 4), (1, 1)),
    Geometry((2, 3), (2, 3), (6, 1), (4, 4), (3, 1)),
    Geometry((2, 2), (2, 4), (1, 1), (5, 5), (1, 2)),
    Geometry((1, 2), (0, 2), (7, 1), (2, 4), (7, 2)),
    Geometry((1, 2), (0, 2), (5, 1), (4, 4), (3, 1)),
]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("backend", backends.CPU)
@pytest.mark.parametrize("geometry", BEYOND)
def test_taps_that_see_only_padding_have_no_gradient(geometry, backend, dtype):
    """Again and again, since what a library leaves unwritten is zero now and then."""
    a, b = operands(KERNEL_GRADIENT, 3, 8, 8, geometry, dtype)
    unseen = np.all(patches(np.ones(a.shape), geometry) == 0, axis=(2, 3, 4, 5))
    assert unseen.any() and not unseen.all()
    for _ in range(10):
        jnp.full((64, 64), 3.0).block_until_ready()  # something else in memory
        found = bilinear.apply(KERNEL_GRADIENT, a[None], b[None], geometry, backend)[0]
        assert np.all(np.asarray(found, np.float32)[unseen] == 0)


GEOMETRY = Geometry((2, 1), (1, 0), (7, 6), (4, 3), (3, 5))


def derivatives(function, a, b, v, u):
    """A value and what first and second derivatives make of it, forwards and backwards."""
    value, pull = jax.vjp(function, a, b)
    squared_slope = lambda a, b: jnp.sum(jnp.square(jax.grad(lambda a: total(a, b))(a)))
    total = lambda a, b: jnp.sum(jnp.sin(function(a, b)))
    return {
        "value": value,
        "pulled back": pull(jnp.cos(value)),
        "pushed forward": jax.jvp(function, (a, b), (v, u))[1],
        "penalty": jax.grad(squared_slope, (0, 1))(a, b),
        "forward over reverse": jax.jvp(jax.grad(total, (0, 1)), (a, b), (v, u))[1],
    }


@pytest.mark.parametrize("which", [FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT])
@pytest.mark.parametrize("backend", backends.CPU)
def test_derivatives_of_every_order_are_those_of_lax_in_double_precision(backend, which):
    a, b = operands(which, 2, 3, 4, GEOMETRY)
    v, u = jnp.sin(3 * a), jnp.cos(2 * b)
    ours = lambda a, b: bilinear.apply(which, a[None], b[None], GEOMETRY, backend)[0]
    found = jax.jit(functools.partial(derivatives, ours))(a, b, v, u)
    with jax.enable_x64(True):
        theirs = lambda a, b: by_lax.MAPS[which](a, b, GEOMETRY)
        wide = [jnp.float64(np.asarray(operand)) for operand in (a, b, v, u)]
        expected = jax.jit(functools.partial(derivatives, theirs))(*wide)
    for name in expected:
        leaves = zip(jax.tree.leaves(found[name]), jax.tree.leaves(expected[name]), strict=True)
        for mine, true in leaves:
            scale = float(np.abs(true).max())
            np.testing.assert_allclose(mine, true, atol=1e-5 * scale, rtol=0, err_msg=name)


@pytest.mark.parametrize("backend", backends.CPU)
def test_double_precision_stays_double(backend):
    with jax.enable_x64(True):
        a, b = operands(FORWARD, 2, 3, 4, GEOMETRY, jnp.float64)
        found = bilinear.apply(FORWARD, a[None], b[None], GEOMETRY, backend)[0]
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, reference(FORWARD, a, b, GEOMETRY), rtol=1e-12)


AXES = [(0, None), (None, 0), (0, 0), (1, 2)]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("which", [FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT])
@pytest.mark.parametrize("backend", backends.CPU)
def test_vmap_is_one_at_a_time(backend, which, axes):
    """Over images, over kernels, over both, and over lanes of lanes; values and gradients."""
    ours = lambda a, b: bilinear.apply(which, a[None], b[None], GEOMETRY, backend)[0]

    def everything(a, b):
        return jax.value_and_grad(lambda a, b: jnp.sum(jnp.sin(ours(a, b))), (0, 1))(a, b)

    a, b = operands(which, 2, 3, 4, GEOMETRY)
    several = lambda x, axis: x if axis is None else jnp.stack([x, -2 * x, jnp.sin(x)], axis)
    together = jax.jit(jax.vmap(everything, axes))(several(a, axes[0]), several(b, axes[1]))
    pick = lambda x, axis, i: x if axis is None else several(x, axis).take(i, axis)
    for i in range(3):
        alone = everything(pick(a, axes[0], i), pick(b, axes[1], i))
        for leaf, expected in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(leaf[i], expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("backend", backends.CPU)
def test_vmap_of_vmap_and_gradients_outside_of_it(backend):
    a, b = operands(FORWARD, 2, 3, 4, GEOMETRY)
    many, kernels = jnp.stack([a, -a, 2 * a]), jnp.stack([b, b + 1])

    def loss(a, b, convolve):
        over_kernels = jax.vmap(convolve, (None, 0))
        return jnp.sum(jnp.sin(jax.vmap(over_kernels, (0, None))(a, b)))

    ours = lambda a, b: bilinear.apply(FORWARD, a[None], b[None], GEOMETRY, backend)[0]
    theirs = lambda a, b: by_lax.forward(a, b, GEOMETRY)
    found, expected = (
        jax.jit(jax.value_and_grad(functools.partial(loss, convolve=f), (0, 1)))(many, kernels)
        for f in (ours, theirs)
    )
    for leaf, true in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, true, rtol=1e-4, atol=1e-4)


def test_images_under_vmap_are_one_call_and_kernels_are_lanes():
    a, b = operands(FORWARD, 2, 3, 4, GEOMETRY)
    ours = lambda a, b: bilinear.apply(FORWARD, a[None], b[None], GEOMETRY, "plain")[0]
    images = str(jax.make_jaxpr(jax.vmap(ours, (0, None)))(jnp.stack([a] * 5), b))
    assert images.count(CALL) == 1 and "f32[1,10,3,5,4] = dgm_jax" in images
    kernels = str(jax.make_jaxpr(jax.vmap(ours, (None, 0)))(a, jnp.stack([b] * 5)))
    assert kernels.count(CALL) == 1 and "f32[5,2,3,5,4] = dgm_jax" in kernels


@pytest.mark.parametrize("backend", backends.CPU)
def test_inside_a_scan_and_outside_of_jit_as_in_a_loop(backend):
    a, b = operands(FORWARD, 2, 3, 4, GEOMETRY)

    def step(b):
        y = lambda b: bilinear.apply(FORWARD, a[None], b[None], GEOMETRY, backend)
        return b - 0.01 * jax.grad(lambda b: jnp.mean(jnp.square(y(b) - 1)))(b)

    scanned = jax.jit(lambda b: jax.lax.scan(lambda b, _: (step(b), None), b, length=3)[0])(b)
    looped = b
    with jax.disable_jit():
        for _ in range(3):
            looped = step(looped)
    np.testing.assert_allclose(scanned, looped, rtol=1e-5, atol=1e-6)
    assert np.abs(looped - b).max() > 1e-3


def over_devices(loss, way, mesh):
    """The gradient of a mean over all images, each device holding its part of them."""
    spec = PartitionSpec("data")
    if way == "pmap":
        one = lambda w, x: jax.lax.pmean(jax.grad(loss)(w, x), "data")
        each = jax.pmap(one, axis_name="data", in_axes=(None, 0))
        return lambda w, x: each(w, x.reshape(8, -1, *x.shape[1:]))[0]
    if way == "jit":
        place = lambda w, x: (w, jax.device_put(x, NamedSharding(mesh, spec)))
        return lambda w, x: jax.jit(jax.grad(loss))(*place(w, x))
    checked = way == "checked shard_map"
    one = {
        True: jax.grad(lambda w, x: jax.lax.pmean(loss(w, x), "data")),
        False: lambda w, x: jax.lax.pmean(jax.grad(loss)(w, x), "data"),
    }[checked]
    return jax.jit(
        jax.shard_map(
            one,
            mesh=mesh,
            in_specs=(PartitionSpec(), spec),
            out_specs=PartitionSpec(),
            check_vma=checked,
        )
    )


@pytest.mark.parametrize("way", ["shard_map", "checked shard_map", "pmap", "jit"])
@pytest.mark.parametrize("backend", backends.CPU)
def test_eight_devices_are_one(backend, way):
    x = jax.random.normal(jax.random.key(0), (16, 8, 8, 3))
    w = jax.random.normal(jax.random.key(1), (3, 3, 3, 4))

    def loss(w, x):
        return jnp.mean(jnp.sin(convolution.conv(x, w, stride=2, backend=backend)))

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    found, expected = over_devices(loss, way, mesh)(w, x), jax.jit(jax.grad(loss))(w, x)
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(np.abs(expected).max()))


@pytest.mark.parametrize("platform", ["tpu", "cuda", "rocm"])
@pytest.mark.parametrize("backend", backends.CPU)
def test_a_program_for_another_platform_holds_no_call_of_ours(backend, platform):
    a, b = operands(FORWARD, 2, 3, 4, GEOMETRY)
    loss = lambda b: jnp.sum(jnp.sin(bilinear.apply(FORWARD, a[None], b[None], GEOMETRY, backend)))
    exported = jax.export.export(jax.jit(jax.grad(loss)), platforms=[platform])(b)
    module = exported.mlir_module()
    assert CALL not in module and module.count("stablehlo.convolution") == 2


@pytest.mark.skipif(backends.MISSING is not None, reason=str(backends.MISSING))
def test_on_cpu_the_program_is_calls_of_onednn_and_no_convolution_of_xla():
    a, b = operands(FORWARD, 2, 3, 4, GEOMETRY)
    loss = lambda b: jnp.sum(jnp.sin(bilinear.apply(FORWARD, a[None], b[None], GEOMETRY, "onednn")))
    text = jax.jit(jax.grad(loss)).lower(b).compile().as_text()
    assert text.count(f'custom_call_target="{CALL}"') == 2 and " convolution(" not in text


def calls_of_onednn(which, images, size, taps, channels, dtype=jnp.float32):
    """In the program of a map of `images` x `size` x `size` pixels with as many channels out."""
    before = (taps // 2,) * 2
    geometry = Geometry((1, 1), before, (size,) * 2, (taps,) * 2, (size,) * 2)
    shapes = {
        "w": (1, taps, taps, channels, channels),
        **dict.fromkeys("xy", (1, images, size, size, channels)),
    }
    a, b = (jax.ShapeDtypeStruct(shapes[role], dtype) for role in ROLES[which][:2])
    f = lambda a, b: bilinear.apply(which, a, b, geometry, "auto")
    return jax.jit(f).lower(a, b).as_text().count(f"@{CALL}")


@pytest.mark.skipif(native.convolutions(platform="cpu") != "onednn", reason="oneDNN is not used")
def test_where_nothing_is_asked_for_onednn_computes_what_has_many_operations():
    maps = (FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT)
    # 2 x 128 x 28 x 28 x 16 x 16 x 9 = 4.6e8 operations, and 5.8e7 on 14 x 14 pixels of 64 images.
    assert [calls_of_onednn(which, 128, 28, 3, 16) for which in maps] == [1, 1, 1]
    assert [calls_of_onednn(which, 64, 14, 3, 16) for which in maps] == [0, 0, 0]
    # 1x1: 8.2e8 operations, and 2.1e8 on 7 x 7 pixels.
    assert [calls_of_onednn(which, 128, 14, 1, 128) for which in maps] == [1, 1, 1]
    assert [calls_of_onednn(which, 128, 7, 1, 128) for which in maps] == [0, 0, 0]
    if native.onednn.computes(jnp.bfloat16):
        assert [calls_of_onednn(which, 64, 14, 1, 16, jnp.bfloat16) for which in maps] == [1, 1, 1]


@pytest.mark.parametrize("backend", ["auto", *backends.CPU])
def test_the_precision_of_the_place_of_tracing_stands_in_the_program_for_an_accelerator(backend):
    """Though the program is lowered outside of it, and its gradients too."""
    a, b = operands(FORWARD, 2, 3, 4, GEOMETRY)

    def loss(b):
        with jax.default_matmul_precision("highest"):
            return jnp.sum(jnp.sin(bilinear.apply(FORWARD, a[None], b[None], GEOMETRY, backend)))

    module = jax.export.export(jax.jit(jax.grad(loss)), platforms=["cuda"])(b).mlir_module()
    assert module.count("stablehlo.convolution") == 2
    assert module.count("[#stablehlo<precision HIGHEST>, #stablehlo<precision HIGHEST>]") == 2


@pytest.mark.parametrize("which", [FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT])
def test_lanes_for_an_accelerator_are_one_convolution(which):
    """And the one that JAX makes of lax's own by `vmap`."""
    a, b = (jnp.stack([o] * 5) for o in operands(which, 2, 3, 4, GEOMETRY))
    ours = lambda a, b: bilinear.apply(which, a[None], b[None], GEOMETRY, "auto")[0]
    theirs = lambda a, b: by_lax.MAPS[which](a, b, GEOMETRY)
    lower = lambda f: jax.jit(jax.vmap(f)).trace(a, b).lower(lowering_platforms=("tpu",)).as_text()
    of = lambda text: re.findall(r"stablehlo\.convolution.*", text)
    assert len(of(lower(ours))) == 1 and "stablehlo.while" not in lower(ours)
    strip = lambda lines: [re.sub(r"%\w+", "%", line) for line in lines]
    assert strip(of(lower(ours))) == strip(of(lower(theirs)))
