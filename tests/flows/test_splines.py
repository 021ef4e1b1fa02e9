"""Rational-quadratic splines: knots and slopes against the paper's formula, tails, extreme
parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import flows

RNG = np.random.default_rng
BOUND, BINS = 3.0, 5


def spline_parameters(scale, seed=0):
    return RNG(seed).normal(size=flows.num_spline_params(BINS)) * scale


def knots_of(raw):
    """The knots and slopes as the paper describes them, in numpy."""

    def places(logits):
        shares = np.exp(logits) / np.exp(logits).sum()
        return np.concatenate(
            [[-BOUND], -BOUND + 2 * BOUND * np.cumsum(1e-3 + (1 - 1e-3 * BINS) * shares)]
        )

    slopes = 1e-3 + np.log1p(np.exp(raw[2 * BINS :] + np.log(np.expm1(1 - 1e-3))))
    return places(raw[:BINS]), places(raw[BINS : 2 * BINS]), np.concatenate([[1], slopes, [1]])


def test_the_spline_passes_its_knots_with_its_slopes_and_is_monotone():
    raw = spline_parameters(1.0)
    x, y, slopes = knots_of(raw)
    with jax.enable_x64(True):
        raw_rows = jnp.broadcast_to(jnp.asarray(raw), (BINS + 1, len(raw)))
        got, log_slope = flows.spline_forward(jnp.asarray(x).at[-1].set(BOUND), raw_rows, BOUND)
        np.testing.assert_allclose(got, y, atol=1e-12)
        np.testing.assert_allclose(np.exp(log_slope), slopes, rtol=1e-9)
        back, _ = flows.spline_inverse(got, raw_rows, BOUND)
        np.testing.assert_allclose(back, x, atol=1e-12)
        line = jnp.linspace(-4, 4, 2001)
        values, log_slope = flows.spline_forward(
            line, jnp.broadcast_to(jnp.asarray(raw), (2001, len(raw))), BOUND
        )
        assert np.all(np.diff(values) > 0)
        # Slopes against central differences of the values.
        numeric = np.gradient(values, line)
        inner = np.abs(np.asarray(line)) < BOUND - 0.01
        np.testing.assert_allclose(np.exp(log_slope)[inner], numeric[inner], rtol=0.02, atol=0.02)
        outside = np.abs(np.asarray(line)) > BOUND
        np.testing.assert_array_equal(values[outside], line[outside])
        np.testing.assert_array_equal(log_slope[outside], 0)


def test_the_bin_formula_equals_the_papers_by_hand():
    """Two bins of [-1, 1] with knots (-1, -1), (0, .5), (1, 1), slopes 1, 2, 1; x = -.5 is the
    middle of the first."""
    share = (1.5 / 2 - 1e-3) / (1 - 2e-3)  # the first height, after the floor of a bin
    slope = np.log(np.expm1(2 - 1e-3)) - np.log(np.expm1(1 - 1e-3))
    raw = np.array([0, 0, np.log(share), np.log(1 - share), slope])
    s, xi = 1.5, 0.5
    y = -1 + 1.5 * (s * xi**2 + 1 * xi * (1 - xi)) / (s + (1 + 2 - 2 * s) * xi * (1 - xi))
    top = s**2 * (2 * xi**2 + 2 * s * xi * (1 - xi) + 1 * (1 - xi) ** 2)
    with jax.enable_x64(True):
        got, log_slope = flows.spline_forward(jnp.asarray([-0.5]), jnp.asarray(raw)[None], 1.0)
        np.testing.assert_allclose(got, y, atol=1e-12)
        np.testing.assert_allclose(log_slope, np.log(top / s**2), atol=1e-12)


@pytest.mark.parametrize("direction", [flows.spline_forward, flows.spline_inverse])
def test_splines_with_extreme_parameters_have_finite_values_and_gradients(direction):
    signs = RNG(0).choice([-50.0, 0.0, 50.0], size=(200, flows.num_spline_params(BINS)))
    raw = np.concatenate(
        [signs, np.full((1, signs.shape[1]), 50.0), np.full((1, signs.shape[1]), -50.0)]
    )
    x = np.array(
        [-1e3, -BOUND, -BOUND * (1 - 1e-7), -1e-30, 0, 0.7, 2.9, BOUND, BOUND * (1 + 1e-7), 1e3]
    )
    x, raw = np.broadcast_to(x.astype(np.float32), (len(raw), 10)), raw[:, None].astype(np.float32)
    raw = np.broadcast_to(raw, (*x.shape, raw.shape[-1]))

    def total(x, raw):
        y, log_slope = direction(x, raw, BOUND)
        return jnp.sum(y) + jnp.sum(log_slope)

    y, log_slope = jax.jit(lambda x, raw: direction(x, raw, BOUND))(x, raw)
    assert np.isfinite(y).all() and np.isfinite(log_slope).all()
    assert np.all(np.abs(y)[np.abs(x) <= BOUND] <= BOUND * (1 + 1e-6))
    to_x, to_raw = jax.jit(jax.grad(total, (0, 1)))(x, raw)
    assert np.isfinite(to_x).all() and np.isfinite(to_raw).all()
    far = np.abs(x) > BOUND
    np.testing.assert_array_equal(np.asarray(to_x)[far], 1)
    np.testing.assert_array_equal(np.asarray(to_raw)[far], 0)


@pytest.mark.parametrize("direction", [flows.spline_forward, flows.spline_inverse])
def test_gradients_are_finite_on_the_knots(direction):
    raw = spline_parameters(1.0, seed=2).astype(np.float32)
    x, y, _ = knots_of(raw.astype(np.float64))
    at = jnp.asarray(x if direction is flows.spline_forward else y, jnp.float32)

    def total(x, raw):
        return sum(
            jnp.sum(part) for part in direction(x, jnp.broadcast_to(raw, (len(x), len(raw))), BOUND)
        )

    for gradient in jax.jit(jax.grad(total, (0, 1)))(at, jnp.asarray(raw)):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


@pytest.mark.parametrize("direction", [flows.spline_forward, flows.spline_inverse])
def test_splines_of_float32_join_at_their_knots(direction):
    """Whichever bin rounding puts a number into: it gets values that double precision has within
    the rounding of a knot."""
    rows = RNG(3).normal(size=(50, flows.num_spline_params(BINS))).astype(np.float32)
    side = 1 if direction is flows.spline_inverse else 0
    knots = np.array([knots_of(row.astype(np.float64))[side] for row in rows])
    steps = np.arange(-3, 4) * 2.0**-22  # of one unit in the last place of 2
    at = np.clip(knots[..., None] + steps, -BOUND, BOUND).astype(np.float32)
    raw = np.broadcast_to(rows[:, None, None], (*at.shape, rows.shape[-1]))
    single = np.asarray(direction(jnp.asarray(at), jnp.asarray(raw), BOUND))
    with jax.enable_x64(True):
        wide = jnp.asarray(raw, jnp.float64)
        near = [direction(jnp.asarray(at + d, jnp.float64), wide, BOUND) for d in (-2e-6, 0, 2e-6)]
        double = np.asarray(near)  # [3, 2, ...]: values and log-slopes
    assert np.all(np.abs(single - double[1]) <= 1e-5 + np.ptp(double, axis=0))
    ends = np.array([-BOUND, BOUND], np.float32)
    raw = np.broadcast_to(rows[:, None], (50, 2, rows.shape[-1]))
    np.testing.assert_allclose(
        direction(jnp.tile(ends, (50, 1)), jnp.asarray(raw), BOUND)[0], [ends] * 50, atol=1e-6
    )
