"""What each bijection promises beyond the common contract: its formula, triangular Jacobians,
statistics, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dgm_jax import flows
from dgm_jax.core import ConfigError, DataError
from dgm_jax.flows import rational_quadratic

RNG = np.random.default_rng


def noisy(bijection, scale=0.3, key=0):
    rng = RNG(5)
    return jax.tree.map(
        lambda leaf: leaf + rng.normal(size=leaf.shape) * scale, bijection.init(jax.random.key(key))
    )


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("hidden", [(4,), (4, 5), (9, 3, 12)])
def test_layers_narrower_than_the_vector_leave_no_coordinate_out(hidden, reverse):
    """The last coordinate still depends on all before it, and nothing on a later one."""
    bijection = flows.masked_autoregressive(10, reverse=reverse, hidden=hidden)
    params, x = noisy(bijection), jnp.asarray(RNG(0).normal(size=10), jnp.float32)
    forward = lambda x: bijection.forward_and_log_det(params, x)[0]
    jacobian = np.asarray(jax.jit(jax.jacfwd(forward))(x))
    jacobian = jacobian[::-1, ::-1] if reverse else jacobian
    assert np.all(np.triu(jacobian, 1) == 0) and np.all(jacobian[-1] != 0)
    # each but the last is seen by a later one
    assert np.all(np.any(np.tril(jacobian, -1) != 0, axis=0)[:-1])


@pytest.mark.parametrize("name", ["masked_autoregressive", "inverse_autoregressive"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dim", [1, 2, 6])
def test_autoregressive_jacobians_are_triangular(name, reverse, dim):
    bijection = flows.BIJECTIONS[name](dim, reverse=reverse, hidden=(16, 16))
    params = noisy(bijection)
    jacobian = jax.jit(jax.jacfwd(lambda x: bijection.forward_and_log_det(params, x)[0]))(
        jnp.asarray(RNG(0).normal(size=dim), jnp.float32)
    )
    zero = np.triu if not reverse else np.tril
    other = np.tril if not reverse else np.triu
    np.testing.assert_array_equal(zero(jacobian, 1 if not reverse else -1), 0)
    assert np.all(np.diag(jacobian) > 0)
    within = np.tril_indices(dim, -1) if not reverse else np.triu_indices(dim, 1)
    assert np.all(other(jacobian)[within] != 0)  # every earlier coordinate has a say


def test_the_inverse_of_a_long_autoregressive_map_needs_no_more_than_one_pass_a_coordinate():
    bijection = flows.masked_autoregressive(12, hidden=(32,))
    params = noisy(bijection, 0.2)
    x = jnp.asarray(RNG(1).normal(size=(5, 12)), jnp.float32)
    y, log_det = jax.jit(bijection.forward_and_log_det)(params, x)
    back, back_log_det = jax.jit(bijection.inverse_and_log_det)(params, y)
    np.testing.assert_allclose(back, x, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(back_log_det, -log_det, rtol=1e-4, atol=1e-4)


def test_affine_makes_a_normal_of_a_normal():
    bijection = flows.affine(2)
    loc, scale = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    params = {"log_scale": jnp.log(scale), "shift": jnp.asarray(loc)}
    y = RNG(0).normal(size=(10, 2))
    x, log_det = bijection.inverse_and_log_det(params, jnp.asarray(y, jnp.float32))
    got = stats.norm.logpdf(x).sum(-1) + log_det
    np.testing.assert_allclose(got, stats.norm.logpdf(y, loc, scale).sum(-1), rtol=1e-5, atol=1e-5)


def test_mixing_is_one_matrix():
    bijection = flows.mixing(4)
    params = noisy(bijection)
    lower = np.tril(params["lower"], -1) + np.eye(4)
    upper = np.triu(params["upper"], 1) + np.diag(np.exp(params["log_diagonal"]))
    x = RNG(0).normal(size=(3, 4)).astype(np.float32)
    y, log_det = bijection.forward_and_log_det(params, x)
    np.testing.assert_allclose(y, x @ (lower @ upper).T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(lower @ upper)[1], rtol=1e-5)


@pytest.mark.parametrize("mask", ["halves", "alternating"])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("dim", [2, 5, 6])
def test_a_coupling_keeps_one_part_bit_for_bit_and_moves_the_other_by_it(mask, flip, dim):
    bijection = flows.affine_coupling(dim, mask=mask, flip=flip, hidden=(8,))
    params = noisy(bijection)
    x = jnp.asarray(RNG(0).normal(size=dim), jnp.float32)
    kept = np.arange(dim) < dim // 2 if mask == "halves" else np.arange(dim) % 2 == 0
    kept = ~kept if flip else kept
    y, _ = bijection.forward_and_log_det(params, x)
    np.testing.assert_array_equal(np.asarray(y)[kept], np.asarray(x)[kept])
    forward = lambda x: bijection.forward_and_log_det(params, x)[0]
    jacobian = np.asarray(jax.jit(jax.jacfwd(forward))(x))
    np.testing.assert_array_equal(jacobian[kept], np.eye(dim)[kept])
    assert np.all(jacobian[np.ix_(~kept, kept)] != 0)
    moved = jacobian[np.ix_(~kept, ~kept)]
    np.testing.assert_array_equal(moved, np.diag(np.diag(moved)))


@pytest.mark.parametrize("dim", [2, 3, 4, 7])
def test_after_four_couplings_every_coordinate_depends_on_all(dim):
    bijection = flows.coupling_flow(dim, 4, hidden=(8,))
    params, x = noisy(bijection), jnp.asarray(RNG(0).normal(size=dim), jnp.float32)
    assert np.all(
        jax.jit(jax.jacfwd(lambda x: bijection.forward_and_log_det(params, x)[0]))(x) != 0
    )


@pytest.mark.parametrize("make", [flows.affine_coupling, flows.masked_autoregressive])
def test_log_scales_stay_within_their_bound(make):
    bijection = make(2, hidden=(4,), log_scale_bound=0.5)
    params = noisy(bijection, 100.0)
    _, log_det = bijection.forward_and_log_det(
        params, jnp.asarray(RNG(0).normal(size=(50, 2)), jnp.float32)
    )
    moving = 1 if make is flows.affine_coupling else 2
    assert np.abs(log_det).max() <= 0.5 * moving * (1 + 1e-6) and np.abs(log_det).max() > 0.4


# Planar.


def test_planar_stays_invertible_where_the_free_vector_points_against_w():
    """w.u = -40 would fold the plane over; the constraint holds it at a slope of a thousandth."""
    with jax.enable_x64(True):
        bijection = flows.planar(2)
        params = {"u": jnp.array([-40.0, 3.0]), "w": jnp.array([1.0, 0.0]), "b": jnp.array(0.2)}
        x = jnp.asarray(RNG(0).normal(size=(200, 2)) * 2).at[0].set(jnp.array([-0.2, 0.0]))
        y, log_det = bijection.forward_and_log_det(params, x)
        back, back_log_det = bijection.inverse_and_log_det(params, y)
        np.testing.assert_allclose(log_det[0], np.log(1e-3), rtol=1e-6)  # at w.x + b = 0
        np.testing.assert_allclose(back, x, atol=1e-10)
        np.testing.assert_allclose(back_log_det, -log_det, atol=1e-9)


def test_planar_is_the_papers_map_with_the_constrained_vector():
    with jax.enable_x64(True):
        u, w, b = np.array([0.7, -1.1]), np.array([0.4, 0.9]), 0.3
        along = w @ u
        m = 1e-3 - 1 + np.log1p(np.exp(along + np.log(np.expm1(1 - 1e-3))))
        direction = u + (m - along) * w / (w @ w)
        x = RNG(0).normal(size=(20, 2))
        bend = np.tanh(x @ w + b)
        params = {"u": jnp.asarray(u), "w": jnp.asarray(w), "b": jnp.asarray(b)}
        y, log_det = flows.planar(2).forward_and_log_det(params, jnp.asarray(x))
        np.testing.assert_allclose(y, x + bend[:, None] * direction, atol=1e-12)
        np.testing.assert_allclose(
            log_det, np.log(np.abs(1 + (1 - bend**2) * (w @ direction))), atol=1e-12
        )


def test_the_planar_solver_carries_second_derivatives_too():
    with jax.enable_x64(True):
        bijection = flows.planar(2)
        params = {"u": jnp.array([0.7, -1.1]), "w": jnp.array([0.4, 0.9]), "b": jnp.array(0.3)}

        def round_trip(x):
            return bijection.inverse_and_log_det(
                params, bijection.forward_and_log_det(params, x)[0]
            )[0]

        x = jnp.array([0.3, -0.8])
        np.testing.assert_allclose(
            jax.jit(jax.jacfwd(jax.jacfwd(round_trip)))(x), np.zeros((2, 2, 2)), atol=1e-10
        )


def test_planar_without_a_direction_is_a_shift():
    params = {"u": jnp.array([1.0, 2.0]), "w": jnp.zeros(2), "b": jnp.array(0.5)}
    gradient = jax.grad(lambda p: jnp.sum(flows.planar(2).forward_and_log_det(p, jnp.ones(2))[0]))(
        params
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    y, log_det = flows.planar(2).forward_and_log_det(params, jnp.ones(2))
    np.testing.assert_allclose(y, 1 + np.tanh(0.5) * np.array([1.0, 2.0]), rtol=1e-5)
    np.testing.assert_allclose(log_det, 0, atol=1e-6)


# Normalisation.


def test_act_norm_from_data_whitens_each_coordinate():
    x = RNG(0).normal(size=(50, 4, 3)).astype(np.float32) * [0.1, 5.0, 0.0] + [3.0, -1.0, 7.0]
    params = flows.act_norm_from_data(x)
    y, log_det = flows.act_norm(3).forward_and_log_det(params, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(np.mean(y, (0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(np.var(y, (0, 1)), [1, 1, 0], atol=1e-4)
    np.testing.assert_allclose(
        log_det, -np.log(x.std((0, 1))[:2]).sum() * np.ones((50, 4)), rtol=1e-5
    )
    with pytest.raises(DataError, match="at least one leading axis"):
        flows.act_norm_from_data(jnp.ones(3))


def test_batch_norm_trains_with_the_batch_and_then_holds_its_statistics():
    bijection = flows.batch_norm(2)
    params = bijection.init(jax.random.key(0))
    x = jnp.asarray(RNG(0).normal(size=(500, 2)) * [0.5, 4.0] + [2.0, -3.0], jnp.float32)
    y, log_det, moved = flows.batch_norm_train(params, x, decay=0.9)
    np.testing.assert_allclose(np.mean(y, 0), 0, atol=1e-5)
    np.testing.assert_allclose(np.var(y, 0), 1, rtol=1e-4)
    np.testing.assert_allclose(
        log_det, np.full(500, -np.log(np.var(x, 0) + 1e-5).sum() / 2), rtol=1e-5
    )
    np.testing.assert_allclose(moved["mean"], 0.1 * np.mean(x, 0), rtol=1e-5)
    np.testing.assert_allclose(moved["variance"], 0.9 * (1 - 1e-5) + 0.1 * np.var(x, 0), rtol=1e-5)
    _, _, settled = flows.batch_norm_train(params, x, decay=0.0)
    again, again_log_det = bijection.forward_and_log_det(settled, x)
    np.testing.assert_allclose(again, y, atol=1e-5)
    np.testing.assert_allclose(again_log_det, log_det, rtol=1e-5)
    gradient = jax.grad(lambda p: jnp.sum(bijection.forward_and_log_det(p, x)[0]))(settled)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradient))


def test_gradients_pass_through_the_statistics_of_the_batch():
    """Normalised values do not change when the batch is scaled, so neither does their gradient see
    a scale."""
    params = flows.batch_norm(1).init(jax.random.key(0))
    x = jnp.asarray(RNG(0).normal(size=(6, 1)), jnp.float32)
    weights = jnp.arange(6.0)[:, None]
    slope = jax.grad(lambda s: jnp.sum(weights * flows.batch_norm_train(params, s * x)[0]))(1.0)
    np.testing.assert_allclose(slope, 0, atol=1e-3)
    _, _, moved = flows.batch_norm_train(params, x)
    to_statistics = jax.grad(lambda s: jnp.sum(flows.batch_norm_train(params, s * x)[2]["mean"]))(
        1.0
    )
    assert to_statistics == 0 and moved["mean"] != 0


# Building.


def test_a_chain_applies_its_parts_in_order_and_adds_log_dets():
    parts = [flows.affine(2), flows.reverse(2), flows.mixing(2)]
    bijection = flows.chain(*parts)
    params = noisy(bijection)
    x = jnp.asarray(RNG(0).normal(size=(4, 2)), jnp.float32)
    expected, total = x, 0
    for part, part_params in zip(parts, params, strict=True):
        expected, log_det = part.forward_and_log_det(part_params, expected)
        total += log_det
    y, log_det = bijection.forward_and_log_det(params, x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(log_det, total)
    back, _ = bijection.inverse_and_log_det(params, y)
    np.testing.assert_allclose(back, x, atol=1e-5)


def test_invert_exchanges_the_directions():
    bijection = flows.affine(2)
    params = noisy(bijection)
    x = jnp.ones((3, 2))
    flipped = flows.invert(bijection)
    for one, other in (
        ("forward_and_log_det", "inverse_and_log_det"),
        ("inverse_and_log_det", "forward_and_log_det"),
    ):
        for got, expected in zip(
            getattr(flipped, one)(params, x), getattr(bijection, other)(params, x), strict=True
        ):
            np.testing.assert_array_equal(got, expected)


def test_permutations_move_what_they_say():
    x = jnp.array([10.0, 20.0, 30.0])
    np.testing.assert_array_equal(
        flows.permutation((2, 0, 1)).forward_and_log_det({}, x)[0], [30, 10, 20]
    )
    np.testing.assert_array_equal(flows.reverse(3).forward_and_log_det({}, x)[0], [30, 20, 10])
    y = [
        np.asarray(flows.shuffle(50, seed).forward_and_log_det({}, jnp.arange(50.0))[0])
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(y[0], y[1]) and not np.array_equal(y[0], y[2])


def test_different_keys_start_different_networks_that_train():
    """A zero last layer must not hold the layers before it still: after one step they receive
    gradients."""
    bijection = flows.coupling_flow(2, 2, hidden=(8,))
    first, second = bijection.init(jax.random.key(0)), bijection.init(jax.random.key(1))
    assert any(
        np.any(a != b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    )

    x = jnp.asarray(RNG(0).normal(size=(64, 2)) * 2 + 1, jnp.float32)

    def loss(params):
        y, log_det = bijection.forward_and_log_det(params, x)
        return jnp.mean(jnp.sum(jnp.square(y), -1) / 2 - log_det)  # nats, less log 2 pi

    step = jax.jit(
        lambda params: jax.tree.map(lambda p, g: p - 0.05 * g, params, jax.grad(loss)(params))
    )
    params = first
    for _ in range(60):
        params = step(params)
    # N(1, 4) to N(0, 1) in both coordinates: 1 + log 4 from 5 nats.
    assert float(loss(first)) > 4 and float(loss(params)) < 2.6


WRONG = {
    "dim must be an integer of at least 2; got 1": lambda: flows.affine_coupling(1),
    "mask must be one of halves, alternating; got 'odd'": lambda: flows.affine_coupling(
        4, mask="odd"
    ),
    "hidden must be a tuple of positive widths": lambda: flows.affine_coupling(4, hidden=(8, 0)),
    "hidden must be a tuple of": lambda: flows.masked_autoregressive(4, hidden=8),
    "log_scale_bound must be positive; got 0": lambda: flows.masked_autoregressive(
        4, log_scale_bound=0
    ),
    "bound must be positive; got -1.0": lambda: flows.spline_coupling(4, bound=-1.0),
    r"num_bins must be an integer in \[1, 999\]; got 0": lambda: flows.spline_coupling(
        4, num_bins=0
    ),
    "order must hold each of 0..dim-1 once": lambda: flows.permutation((0, 2)),
    "chain needs at least one bijection": lambda: flows.chain(),
    "chain takes bijections": lambda: flows.chain(flows.affine),
    r"raw must be \[\*B, 3 K - 1\] for K bins; got 7 numbers": (
        lambda: rational_quadratic.spline_forward(jnp.zeros(2), jnp.zeros((2, 7)), 3.0)
    ),
    r"for K bins; got 4 numbers": lambda: rational_quadratic.spline_inverse(
        jnp.zeros(2), jnp.zeros((2, 4)), 3.0
    ),
    r"unknown coupling 'afine' \(did you mean 'affine'\?\)": lambda: flows.coupling_flow(
        2, kind="afine"
    ),
    "num_layers must be at least 1; got 0": lambda: flows.autoregressive_flow(2, 0),
    r"decay must be in \[0, 1\]; got 2": lambda: flows.batch_norm_train(
        {}, jnp.ones((2, 2)), decay=2
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_built_is_named(message):
    with pytest.raises(ConfigError, match=message):
        WRONG[message]()
