"""Reductions that are fast on CPU: against numpy in float64, and in everything that JAX does to
them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from dgm_jax.core import reductions

SHAPES = [(6, 5), (7, 3, 5), (3, 4, 6, 5), (2, 1, 1, 3), (0, 4, 4, 3), (2, 3, 2, 2, 4)]


def images(*shape, dtype=np.float32):
    return np.random.default_rng(0).normal(2, 1, shape).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", [jax.jit, lambda function: function])
def test_total_is_the_sum(shape, how):
    x = images(*shape)
    expected = np.float64(x).sum(tuple(range(len(shape) - 1)))
    np.testing.assert_allclose(how(reductions.total)(x), expected, rtol=1e-6)
    if x.size:
        mean = expected / np.prod(shape[:-1])
        np.testing.assert_allclose(how(reductions.channel_mean)(x), mean, rtol=1e-6)


def test_a_long_sum_has_a_small_error():
    x = images(128, 28, 28, 3)
    expected = np.float64(x).sum((0, 1, 2))
    np.testing.assert_allclose(jax.jit(reductions.total)(x), expected, rtol=2e-7)


def test_bfloat16_is_summed_in_float32():
    x = jnp.ones((300, 10, 3), jnp.bfloat16)
    total = jax.jit(reductions.total)(x)
    assert total.dtype == jnp.bfloat16
    np.testing.assert_array_equal(total, jnp.full(3, 3000, jnp.bfloat16))


def test_float64_keeps_its_digits():
    with jax.enable_x64(True):
        x = images(4, 8, 8, 3, dtype=np.float64)
        total = jax.jit(reductions.total)(x)
        np.testing.assert_allclose(total, x.sum((0, 1, 2)), rtol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_channel(bad):
    x = images(3, 4, 4, 2)
    x[1, 2, 0, 1] = bad
    total = jax.jit(reductions.total)(x)
    assert np.isfinite(total[0])
    np.testing.assert_array_equal(total[1], bad)


@pytest.mark.parametrize("shape", SHAPES)
def test_spread_is_its_broadcast(shape):
    values = images(shape[-1])
    expected = np.broadcast_to(values, shape)
    np.testing.assert_array_equal(jax.jit(lambda v: reductions.spread(v, shape))(values), expected)


def derivatives():
    """Each as function -> function of (bias, images)."""
    return {
        "gradient": functools.partial(jax.grad, argnums=(0, 1)),
        "forward": lambda f: jax.jacfwd(f, argnums=(0, 1)),
        "forward over reverse": lambda f: jax.jacfwd(jax.grad(f), argnums=0),
        "reverse over reverse": lambda f: jax.jacrev(jax.grad(f), argnums=0),
        "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f), argnums=0),
    }


@pytest.mark.parametrize("name", derivatives())
def test_derivatives_are_those_of_the_sum_and_the_broadcast(name):
    """Alone, and under vmap of the bias, of the images, and of both."""
    x = jnp.asarray(images(2, 3, 2, 4))
    bias = jnp.arange(4.0)

    def ours(bias, x):
        y = jnp.sin(x + reductions.spread(bias, x.shape))
        return jnp.sum(jnp.square(reductions.channel_mean(y) - reductions.total(y**2)))

    def plain(bias, x):
        y = jnp.sin(x + bias)
        return jnp.sum(jnp.square(jnp.mean(y, (0, 1, 2)) - jnp.sum(y**2, (0, 1, 2))))

    derivative = derivatives()[name]
    several = jnp.stack([bias, 2 * bias - 1]), jnp.stack([x, x**2])
    for axes, operands in {
        None: (bias, x),
        (0, None): (several[0], x),
        (None, 0): (bias, several[1]),
        (0, 0): several,
    }.items():
        over = jax.vmap if axes else lambda function, axes: function
        found = jax.jit(over(derivative(ours), axes))(*operands)
        expected = over(derivative(plain), axes)(*operands)
        pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
        for ours_of, plain_of in pairs:
            np.testing.assert_allclose(ours_of, plain_of, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", ["shard_map", "jit"])
def test_eight_devices_are_one(way):
    x = images(16, 4, 4, 3)
    bias = jnp.arange(3.0)
    loss = lambda bias, x: jnp.mean(
        reductions.channel_mean(jnp.sin(x + reductions.spread(bias, x.shape)))
    )
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("data")
    if way == "jit":
        placed = jax.device_put(x, NamedSharding(mesh, spec))
        found = jax.jit(jax.grad(loss))(bias, placed)
    else:
        mean = lambda bias, x: jax.lax.pmean(loss(bias, x), "data")
        over = jax.shard_map(
            jax.grad(mean), mesh=mesh, in_specs=(PartitionSpec(), spec), out_specs=PartitionSpec()
        )
        found = jax.jit(over)(bias, x)
    np.testing.assert_allclose(found, jax.jit(jax.grad(loss))(bias, x), rtol=1e-5)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_other_platforms_sum_by_themselves(platform):
    exported = jax.export.export(jax.jit(reductions.total), platforms=[platform])(
        images(2, 3, 3, 4)
    )
    module = exported.mlir_module()
    assert "stablehlo.reduce" in module and "dot_general" not in module


def test_on_cpu_no_sum_runs_over_the_positions_of_an_image():
    text = jax.jit(reductions.total).lower(images(64, 28, 28, 8)).compile().as_text()
    assert " dot(" in text and "f32[64,28,28,8]" in text
    assert not any("784" in line and " reduce" in line for line in text.splitlines())


@pytest.mark.parametrize("how", [jax.jit, lambda function: function])
def test_a_barrier_is_the_identity_in_all_that_jax_does(how):
    x, t = images(3, 4), images(3, 4)[::-1]
    barrier = reductions.cpu_barrier
    cubed = lambda x: jnp.sum(barrier(x) ** 3)
    assert np.array_equal(how(barrier)(x), x)
    assert np.array_equal(how(jax.vmap(barrier, 1, 1))(x), x)
    np.testing.assert_allclose(how(jax.grad(cubed))(x), 3 * x**2, rtol=1e-6)
    np.testing.assert_allclose(how(jax.vmap(jax.grad(cubed)))(x), 3 * x**2, rtol=1e-6)
    slope = lambda x, t: jax.jvp(jax.grad(cubed), (x,), (t,))[1]
    np.testing.assert_allclose(how(slope)(x, t), 6 * x * t, rtol=1e-6)
    remat = jax.grad(jax.checkpoint(cubed))
    np.testing.assert_allclose(how(remat)(x), 3 * x**2, rtol=1e-6)


@pytest.mark.parametrize("platform, number", [("cpu", 1), ("cuda", 0), ("tpu", 0)])
def test_a_barrier_is_one_on_cpu(platform, number):
    exported = jax.export.export(jax.jit(reductions.cpu_barrier), platforms=[platform])(
        images(3, 4)
    )
    assert exported.mlir_module().count("stablehlo.optimization_barrier") == number


ROWS = [(5,), (3, 1), (2, 3, 33), (4, 64), (2, 40), (3, 1000), (0, 50)]


@pytest.mark.parametrize("shape", ROWS)
@pytest.mark.parametrize("how", [jax.jit, lambda function: function])
def test_rows_are_numpys(shape, how):
    x = images(*shape)
    wide = np.float64(x)
    np.testing.assert_allclose(how(reductions.row_total)(x), wide.sum(-1), rtol=1e-6)
    np.testing.assert_array_equal(how(reductions.row_max)(x), x.max(-1))
    np.testing.assert_array_equal(how(reductions.row_min)(x), x.min(-1))


@pytest.mark.parametrize("columns", [7, 48, 64])
def test_a_row_with_nan_has_no_maximum(columns):
    x = images(3, columns)
    x[1, columns // 2] = np.nan
    for function in (reductions.row_max, reductions.row_min, reductions.row_total):
        found = np.isnan(jax.jit(function)(x))
        np.testing.assert_array_equal(found, [False, True, False])


@pytest.mark.parametrize("columns", [5, 48, 64])
def test_softmax_and_its_derivatives_are_those_of_float64(columns):
    """With logits of -inf, large ones, and ties, against JAX's own functions in float64."""
    x = 10 * images(4, columns)
    x[0, 1] = -np.inf
    x[1, :3] = 500
    weights = images(4, columns)
    loss = lambda x: jnp.sum(weights * jnp.square(reductions.softmax(x)))
    with jax.enable_x64(True):
        wide = jnp.asarray(x, jnp.float64)
        expected = jax.nn.softmax(wide)
        of_loss = jax.grad(lambda x: jnp.sum(weights * jnp.square(jax.nn.softmax(x))))(wide)
    np.testing.assert_allclose(jax.jit(reductions.softmax)(x), expected, atol=1e-6)
    assert np.abs(np.asarray(of_loss)).max() > 1e-3
    for derivative in (jax.grad, jax.jacfwd):
        np.testing.assert_allclose(jax.jit(derivative(loss))(x), of_loss, atol=1e-5)


def test_vmap_of_rows_is_rows_of_vmap():
    x = images(3, 4, 64)
    each = jax.jit(jax.vmap(reductions.row_total, in_axes=1, out_axes=1))(x)
    np.testing.assert_allclose(each, np.float64(x).sum(-1), rtol=1e-6)
