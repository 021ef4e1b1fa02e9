"""Every bijection of the registry: round trips, log-dets against autodiff, the identity at init,
mass, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import flows
from dgm_jax.core import ConfigError

NAMES = list(flows.BIJECTIONS)
PERMUTATIONS = ("reverse", "shuffle")
every = pytest.mark.parametrize("name", NAMES)
# Deep chains of one layer: two of them show whatever four do, in half of the time to compile.
SHALLOW = {"coupling_flow": {"num_layers": 2}, "spline_flow": {"num_layers": 2}}
both_ways = pytest.mark.parametrize("way", ["forward_and_log_det", "inverse_and_log_det"])


def built(name, dim):
    """The bijection and its first parameters."""
    bijection = flows.BIJECTIONS[name](dim, **SHALLOW.get(name, {}))
    return bijection, bijection.init(jax.random.key(0))


def perturbed(params, scale, seed=0):
    """Parameters away from their start; variances stay positive."""
    rng = np.random.default_rng(seed)

    def move(path, leaf):
        noise = jnp.asarray(rng.normal(size=leaf.shape) * scale, leaf.dtype)
        return leaf * jnp.exp(noise) if "variance" in jax.tree_util.keystr(path) else leaf + noise

    return jax.tree_util.tree_map_with_path(move, params)


def noise(name):
    """How far parameters are moved: many small steps for a network's weights, larger ones for a few
    numbers."""
    return 0.1 if any(word in name for word in ("coupling", "autoregressive", "flow")) else 0.4


def points(num, dim, seed=1):
    return np.random.default_rng(seed).normal(size=(num, dim)) * 1.5


@functools.cache
def measured(name, x64):
    """What both directions give at random points with random parameters."""
    with jax.enable_x64(x64):
        bijection, params, x = at_random(name, x64)

        def both(params, x):
            y, log_det = bijection.forward_and_log_det(params, x)
            return y, log_det, *bijection.inverse_and_log_det(params, y)

        return [np.asarray(a) for a in (x, *jax.jit(both)(params, x))]


def at_random(name, x64):
    """Bijection, parameters and points: the same numbers in both precisions."""
    bijection, params = built(name, 3)
    wide = lambda leaf: jnp.asarray(leaf, jnp.float64 if x64 else jnp.float32)
    x = points(7, 3).astype(np.float32)
    return bijection, jax.tree.map(wide, perturbed(params, noise(name))), wide(x)


@functools.cache
def log_dets_by_autodiff(name):
    """log|det| of both directions from their Jacobians, float64."""
    with jax.enable_x64(True):
        bijection, params, x = at_random(name, True)
        forward = lambda x: bijection.forward_and_log_det(params, x)[0]
        inverse = lambda y: bijection.inverse_and_log_det(params, y)[0]

        def jacobians(x):
            return jax.vmap(jax.jacfwd(forward))(x), jax.vmap(jax.jacfwd(inverse))(forward(x))

        return [log_abs_det(jacobian) for jacobian in jax.jit(jacobians)(x)]


def log_abs_det(jacobians):
    return np.linalg.slogdet(np.asarray(jacobians))[1]


@every
@pytest.mark.parametrize(
    "x64, tolerance", [(False, 1e-5), (True, 1e-10)], ids=["float32", "float64"]
)
def test_inverse_undoes_forward_and_log_dets_equal_autodiff(name, x64, tolerance):
    x, y, log_det, back, back_log_det = measured(name, x64)
    assert y.dtype == log_det.dtype == x.dtype and log_det.shape == back_log_det.shape == (7,)
    assert np.abs(y - x).max() > 0.05  # the parameters do move something
    np.testing.assert_allclose(back, x, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(back_log_det, -log_det, rtol=tolerance, atol=tolerance)
    forward, inverse = log_dets_by_autodiff(name)
    np.testing.assert_allclose(log_det, forward, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(back_log_det, inverse, rtol=tolerance, atol=tolerance)
    assert name in PERMUTATIONS or np.abs(log_det).max() > 1e-3


@every
@pytest.mark.parametrize("dim", [2, 5])
def test_the_start_is_the_identity(name, dim):
    bijection, params = built(name, dim)
    x = jnp.asarray(points(20, dim), jnp.float32)
    for function in (bijection.forward_and_log_det, bijection.inverse_and_log_det):
        y, log_det = jax.jit(function)(params, x)
        expected = np.sort(x, -1) if name in PERMUTATIONS else x
        np.testing.assert_allclose(
            np.sort(y, -1) if name in PERMUTATIONS else y, expected, atol=2e-6
        )
        np.testing.assert_allclose(log_det, 0, atol=2e-6)
        if name not in ("planar", "spline_coupling", "spline_flow"):  # these two round
            np.testing.assert_array_equal(log_det, 0)


@every
@both_ways
def test_the_density_integrates_to_one(name, way):
    """exp(log N(f(x)) + log|det|) over a grid, with f either direction."""
    bijection, params = built(name, 2)
    params = perturbed(params, noise(name), seed=4)
    spacing = 0.05 if "spline" in name else 0.1  # splines have sharper features
    axis = np.arange(-12, 12 + spacing / 2, spacing, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis), -1)
    y, log_det = jax.jit(getattr(bijection, way))(params, grid)
    log_prob = -np.sum(np.square(y), -1) / 2 - np.log(2 * np.pi) + log_det
    np.testing.assert_allclose(
        np.exp(np.asarray(log_prob, np.float64)).sum() * spacing**2, 1, atol=1e-3
    )


@every
@both_ways
def test_gradients_are_finite_at_extremes(name, way):
    bijection, params = built(name, 3)
    params = perturbed(params, 0.3)
    edge = np.float32(5)  # the bound of the splines
    values = np.array(
        [0, 1e3, -1e3, edge, -edge, np.nextafter(edge, 9), np.nextafter(-edge, 0), 1e-30],
        np.float32,
    )
    x = np.stack([values, np.roll(values, 1), np.roll(values, 3)], -1)

    def total(params, x):
        y, log_det = getattr(bijection, way)(params, x)
        return jnp.sum(y) + jnp.sum(log_det)

    value, gradients = jax.jit(jax.value_and_grad(total, (0, 1)))(params, x)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert np.abs(gradients[1]).max() > 0


@every
def test_the_round_trip_has_no_gradient_in_the_parameters(name):
    """inverse(params, forward(params, x)) = x whatever the parameters: its gradient, and that of
    the sum of the log-determinants, is 0. A solver inside the inverse must carry its
    derivatives."""
    with jax.enable_x64(True):
        bijection, params = built(name, 3)
        start = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
        params, x = perturbed(start, noise(name)), jnp.asarray(points(5, 3))
        weights = jnp.asarray(points(5, 4, seed=2))

        def one_way(params):
            y, log_det = bijection.forward_and_log_det(params, x)
            return jnp.sum(weights[:, :3] * y) + jnp.sum(weights[:, 3] * log_det)

        def round_trip(params):
            y, log_det = bijection.forward_and_log_det(params, x)
            back, back_log_det = bijection.inverse_and_log_det(params, y)
            return jnp.sum(weights[:, :3] * back) + jnp.sum(
                weights[:, 3] * (log_det + back_log_det)
            )

        there, again = jax.jit(jax.grad(one_way))(params), jax.jit(jax.grad(round_trip))(params)
    for leaf in jax.tree.leaves(again):
        np.testing.assert_allclose(leaf, 0, atol=1e-9)
    if name not in (*PERMUTATIONS, "batch_norm"):  # those have nothing to train
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(there)) > 0.1


@every
def test_leading_axes_jit_and_vmap_agree(name):
    bijection, params = built(name, 4)
    params = perturbed(params, noise(name))
    x = jnp.asarray(points(6, 4), jnp.float32).reshape(2, 3, 4)
    for function in (bijection.forward_and_log_det, bijection.inverse_and_log_det):
        y, log_det = jax.jit(function)(params, x)
        assert y.shape == (2, 3, 4) and log_det.shape == (2, 3)
        got = jax.jit(jax.vmap(jax.vmap(function, (None, 0)), (None, 0)))(params, x)
        np.testing.assert_allclose(got[0], y, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(got[1], log_det, rtol=1e-5, atol=1e-5)
    alone, alone_log_det = bijection.forward_and_log_det(params, x[1, 2])  # without jit
    y, log_det = jax.jit(bijection.forward_and_log_det)(params, x)
    assert alone.shape == (4,) and alone_log_det.shape == ()
    np.testing.assert_allclose(alone, y[1, 2], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(alone_log_det, log_det[1, 2], rtol=1e-5, atol=1e-5)


@every
def test_wrong_input_is_named_before_anything_is_computed(name):
    bijection, params = built(name, 3)
    for function in (bijection.forward_and_log_det, bijection.inverse_and_log_det):
        for shape in ((2, 4), ()):
            with pytest.raises(ConfigError, match=r"x must be \[\*B, 3\]; got"):
                jax.eval_shape(function, params, jnp.zeros(shape))
    for dim in (0, -1, 2.0, True):
        with pytest.raises(ConfigError, match="dim must be an integer of at least"):
            flows.BIJECTIONS[name](dim)


@every
def test_integers_are_taken_as_numbers(name):
    bijection, params = built(name, 2)
    y, _ = jax.jit(bijection.forward_and_log_det)(params, jnp.array([[1, 2]]))
    expected, _ = jax.jit(bijection.forward_and_log_det)(params, jnp.array([[1.0, 2.0]]))
    assert y.dtype == jnp.float32
    np.testing.assert_array_equal(y, expected)
