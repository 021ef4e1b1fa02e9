"""Divergences against scipy, closed forms, finite differences and their own theorems."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr
from scipy.stats import norm

from dgm_jax.core import ConfigError
from dgm_jax.densities import gaussian, mixture
from dgm_jax.objectives import divergences
from dgm_jax.objectives.divergences import (
    js,
    js_on_grid,
    kl,
    kl_on_grid,
    total_variation,
    total_variation_on_grid,
)

LOG_2 = np.log(2)
DISCRETE = {"kl": kl, "js": js, "total_variation": total_variation}
FAST = {name: jax.jit(fn) for name, fn in DISCRETE.items()}


def exact(name, p, q):
    """The definitions, in float64, from probabilities."""
    m = (p + q) / 2
    if name == "kl":
        return rel_entr(p, q).sum(-1)
    if name == "js":
        return (rel_entr(p, m).sum(-1) + rel_entr(q, m).sum(-1)) / 2
    return np.abs(p - q).sum(-1) / 2


def logs(p):
    with np.errstate(divide="ignore"):
        return jnp.log(jnp.asarray(p, jnp.float32))


def random_distributions(seed, shape):
    weights = np.random.default_rng(seed).gamma(0.5, size=shape)
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize("name", DISCRETE)
@pytest.mark.parametrize("compiled", [False, True])
def test_discrete_equals_scipy_over_the_last_axis(name, compiled):
    p, q = random_distributions(0, (2, 3, 7)), random_distributions(1, (2, 3, 7))
    p[0, 0, 2:4], p[1, 1, 0] = 0, 0
    p /= p.sum(-1, keepdims=True)
    got = (FAST if compiled else DISCRETE)[name](logs(p), logs(q))
    assert got.shape == (2, 3)
    np.testing.assert_allclose(got, exact(name, p, q), rtol=2e-5, atol=1e-7)
    np.testing.assert_array_equal(jax.vmap(DISCRETE[name])(logs(p), logs(q)).shape, (2, 3))


def test_disjoint_supports_saturate_and_send_no_gradient():
    p, q = logs([0.25, 0.75, 0.0, 0.0]), logs([0.0, 0.0, 0.5, 0.5])
    np.testing.assert_allclose(js(p, q), LOG_2, rtol=1e-6)
    np.testing.assert_allclose(total_variation(p, q), 1, rtol=1e-6)
    assert kl(p, q) == np.inf and kl(q, p) == np.inf

    def of_logits(fn, logits):
        """q moves inside its own support: two atoms that p lacks."""
        return fn(
            p,
            jnp.where(
                jnp.isinf(q),
                -jnp.inf,
                jax.nn.log_softmax(jnp.where(jnp.isinf(q), -jnp.inf, logits)),
            ),
        )

    for fn in (js, total_variation):
        gradient = jax.jit(jax.grad(functools.partial(of_logits, fn)))(
            jnp.array([0.0, 0.0, 0.3, -0.4])
        )
        np.testing.assert_allclose(gradient, 0, atol=1e-7)


@pytest.mark.parametrize("name", DISCRETE)
def test_gradients_are_finite_at_zeros(name):
    p, q = logs([0.5, 0.5, 0.0, 0.0]), logs([0.4, 0.3, 0.3, 0.0])
    both = jax.jit(jax.grad(DISCRETE[name], argnums=(0, 1)))
    for a, b in ((p, q), (q, p), (p, p)):
        for gradient in both(a, b):
            assert np.isfinite(gradient).all()
    assert DISCRETE[name](p, p) == 0


def test_gradient_of_kl_is_minus_p_in_log_q_and_zero_off_the_support():
    p, q = logs([0.5, 0.5, 0.0]), logs([0.4, 0.3, 0.3])
    np.testing.assert_allclose(jax.grad(kl, 1)(p, q), [-0.5, -0.5, 0], atol=1e-7)


def test_gradient_of_js_in_logits_is_the_closed_form_and_the_finite_difference():
    p, logits = random_distributions(3, (6,)), np.random.default_rng(4).normal(size=6)

    def softmax(values):
        return np.exp(values) / np.exp(values).sum()

    q = softmax(logits)
    g = 0.5 * np.log(2 * q / (p + q))
    closed = q * (g - (q * g).sum())
    step = 1e-5
    ends = [
        (exact("js", p, softmax(logits + h)), exact("js", p, softmax(logits - h)))
        for h in step * np.eye(6)
    ]
    differences = [(up - down) / (2 * step) for up, down in ends]
    got = jax.jit(jax.grad(lambda v: js(logs(p), jax.nn.log_softmax(v))))(
        jnp.asarray(logits, jnp.float32)
    )
    np.testing.assert_allclose(closed, differences, atol=1e-9)
    np.testing.assert_allclose(got, closed, atol=2e-7)


@pytest.mark.parametrize("size", [1e-4, 1e-3, 1e-2, 0.1, 0.5, 1.0, 1.9, 2.1, 5.0, 30.0])
def test_js_keeps_its_relative_precision(size):
    """log-ratios from 1e-4 to 30, on both sides of the switch between the two forms of one
    formula."""
    log_ratio = np.float32(size) * np.array([1.0, -0.7, 0.2], np.float32)
    log_p = np.float32(-1.5) + log_ratio / 2
    log_q = np.float32(-1.5) - log_ratio / 2
    d = log_p.astype(np.float64) - log_q.astype(np.float64)
    p, q = np.exp(log_p.astype(np.float64)), np.exp(log_q.astype(np.float64))
    expected = ((p + q) / 2 * (d / 2 * np.tanh(d / 2) - np.logaddexp(d / 2, -d / 2) + LOG_2)).sum()
    np.testing.assert_allclose(FAST["js"](log_p, log_q), expected, rtol=2e-5)


@pytest.mark.parametrize(("distance", "expected_js"), [(1.0, 0.111421482), (2.0, 0.336830820)])
def test_grid_forms_equal_the_closed_forms_of_two_gaussians(distance, expected_js):
    x = jnp.linspace(-12, 12, 4001)
    log_p, log_q = (gaussian.log_prob(x, loc, 1.0) for loc in (-distance / 2, distance / 2))
    spacing = 24 / 4000
    tv = 2 * norm.cdf(distance / 2) - 1
    for transform in (lambda fn: fn, jax.jit):
        np.testing.assert_allclose(
            transform(js_on_grid)(log_p, log_q, spacing), expected_js, rtol=1e-5
        )
        np.testing.assert_allclose(
            transform(kl_on_grid)(log_p, log_q, spacing), distance**2 / 2, rtol=1e-5
        )
        np.testing.assert_allclose(
            transform(total_variation_on_grid)(log_p, log_q, spacing), tv, rtol=1e-5
        )


def test_a_flattened_two_dimensional_grid_takes_the_area_of_a_cell():
    axis = jnp.linspace(-8, 8, 161)
    points = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    log_p = gaussian.log_prob(points, jnp.array([0.5, -1.0]), jnp.array([1.0, 0.6])).sum(-1)
    log_q = gaussian.log_prob(points, 0.0, jnp.array([1.2, 1.0])).sum(-1)
    expected = gaussian.kl(
        np.array([0.5, -1.0]), np.array([1.0, 0.6]), 0.0, np.array([1.2, 1.0])
    ).sum()
    np.testing.assert_allclose(kl_on_grid(log_p, log_q, 0.1**2), expected, rtol=1e-4)


def test_grids_on_which_both_densities_underflow():
    """40 standard deviations from both, exp(log p) = exp(log q) = 0 in float32 while log p - log q
    = 80."""
    x = jnp.linspace(-40, 40, 8001)

    def objective(fn, loc):
        return fn(gaussian.log_prob(x, loc, 1.0), gaussian.log_prob(x, -1.0, 1.0), 0.01)

    for fn, expected, slope in ((kl_on_grid, 2.0, 2.0), (js_on_grid, 0.336830820, None)):
        got, gradient = jax.jit(jax.value_and_grad(functools.partial(objective, fn)))(1.0)
        np.testing.assert_allclose(got, expected, rtol=1e-4)
        assert np.isfinite(gradient) and gradient > 0
        if slope is not None:
            np.testing.assert_allclose(gradient, slope, rtol=1e-4)
    far = jnp.full((5,), -1e30)
    for fn in (kl_on_grid, js_on_grid, total_variation_on_grid):
        assert fn(far, 2 * far, 0.1) == 0
        assert np.isfinite(jax.jit(jax.grad(fn))(far, 2 * far, 0.1)).all()


@pytest.mark.parametrize(
    ("name", "half_separation", "loc", "scale", "expected"),
    [
        ("kl", 2, 0.0, 2.06155, 0.72355),
        ("reverse_kl", 2, 1.9998, 0.5004, 0.69305),
        ("reverse_kl", 2, 0.0, 1.736, 1.871),
        ("js", 2, 0.0, 2.0424, 0.20096),
        ("js", 2, 2.0, 0.5, 0.21573),
        ("js", 3, 3.0, 0.5, 0.2158),
    ],
)
def test_one_gaussian_fitted_to_two(name, half_separation, loc, scale, expected):
    """KL covers, reverse KL seeks, JSD covers at half-separation 2 and seeks at 3: known optima,
    all stationary."""
    x = jnp.linspace(-14, 14, 2801)
    means = jnp.array([[-half_separation], [half_separation]], jnp.float32)
    log_p = mixture.log_prob(x[:, None], jnp.log(jnp.array([0.5, 0.5])), means, 0.5)

    def objective(parameters):
        log_q = gaussian.log_prob(x, parameters[0], jnp.exp(parameters[1]))
        if name == "js":
            return js_on_grid(log_p, log_q, 0.01)
        return kl_on_grid(log_p, log_q, 0.01) if name == "kl" else kl_on_grid(log_q, log_p, 0.01)

    got, gradient = jax.jit(jax.value_and_grad(objective))(
        jnp.array([loc, np.log(scale)], jnp.float32)
    )
    # The optima are quoted to about four digits, and the curvature of reverse KL is up to 4 = 1 /
    # 0.5^2.
    np.testing.assert_allclose(got, expected, rtol=3e-4)
    np.testing.assert_allclose(gradient, 0, atol=3e-3)


counts = st.lists(st.integers(0, 50), min_size=5, max_size=5).filter(any).map(np.array)
distributions = counts.map(lambda c: logs(c / c.sum()))


@settings(deadline=None, max_examples=150)
@given(distributions, distributions, distributions)
def test_theorems_of_the_three_divergences(p, q, r):
    tolerance = 2e-6
    pq, qp = float(FAST["js"](p, q)), float(FAST["js"](q, p))
    tv = float(FAST["total_variation"](p, q))
    assert pq == pytest.approx(qp, abs=1e-7) and tv == FAST["total_variation"](q, p)
    assert 0 <= pq <= LOG_2 + tolerance and 0 <= tv <= 1 + tolerance
    assert FAST["js"](p, p) == 0 and FAST["kl"](p, p) == 0
    assert (pq == 0) == bool(jnp.all(p == q))
    assert tv**2 / 2 <= pq + tolerance and pq <= LOG_2 * tv + tolerance
    assert FAST["kl"](p, q) >= 2 * tv**2 - tolerance  # Pinsker
    # A root turns a rounding of 1e-7 near zero into 3e-4.
    assert np.sqrt(pq) <= np.sqrt(FAST["js"](p, r)) + np.sqrt(FAST["js"](r, q)) + 1e-3


@pytest.mark.parametrize("name", DISCRETE)
def test_half_precision_is_summed_in_float32(name):
    p, q = random_distributions(5, (4096,)), random_distributions(6, (4096,))
    log_p, log_q = logs(p).astype(jnp.bfloat16), logs(q).astype(jnp.bfloat16)
    rounded = np.exp(np.asarray(log_p, np.float64)), np.exp(np.asarray(log_q, np.float64))
    np.testing.assert_allclose(FAST[name](log_p, log_q), exact(name, *rounded), rtol=1e-4)


@pytest.mark.parametrize("name", DISCRETE)
def test_a_wrong_input_is_named(name):
    with pytest.raises(ConfigError, match=r"\(4,\) and log_q \(3,\)"):
        DISCRETE[name](jnp.zeros(4), jnp.zeros(3))
    with pytest.raises(ConfigError, match="last axis"):
        DISCRETE[name](jnp.zeros((4, 1)), jnp.zeros((4,)))
    with pytest.raises(ConfigError, match="spacing must be positive; got 0"):
        getattr(divergences, f"{name}_on_grid")(jnp.zeros(4), jnp.zeros(4), 0)
    assert np.isnan(DISCRETE[name](jnp.array([np.nan, 0.0]), jnp.zeros(2)))
    assert np.isnan(DISCRETE[name](jnp.zeros(2), jnp.array([np.nan, 0.0])))
