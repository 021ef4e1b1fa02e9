"""Temperature, truncation and guidance of next-token logits against brute force in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import ConfigError
from dgm_jax.sampling.logits import guide, top_k, top_p, with_temperature

INF = np.inf
ROWS = np.array(
    [
        [0.3, -1.2, 2.0, 0.1, 0.0, -3.0],
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],  # all equal
        [0.0, -INF, 2.0, -INF, 2.0, 1.0],  # masked classes and a tie
        [-INF, -INF, -INF, 5.0, -INF, -INF],  # one class
        [90.0, -90.0, 0.0, 89.0, 88.0, 0.0],
    ],
    np.float32,
)


def order_of(row):
    return sorted(range(len(row)), key=lambda i: (-row[i], i))


def kept(row, chosen):
    return np.array([x if i in chosen else -INF for i, x in enumerate(row)])


def top_p_brute(row, p):
    if p == 1:
        return row
    weight = np.exp(np.float64(row) - np.max(row))
    chosen, mass = [], 0.0
    for i in order_of(row):
        if chosen and mass >= p * weight.sum():
            break
        chosen.append(i)
        mass += weight[i]
    return kept(row, chosen)


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_top_k_keeps_the_k_largest(k):
    expected = np.stack([kept(row, order_of(row)[:k]) for row in ROWS])
    np.testing.assert_array_equal(top_k(ROWS, k), expected)
    np.testing.assert_array_equal(jax.vmap(lambda row: top_k(row, k))(ROWS), expected)


@pytest.mark.parametrize("p", [1e-6, 0.3, 0.55, 0.71, 0.9, 0.9999, 1.0])
def test_top_p_keeps_the_smallest_set_that_reaches_p(p):
    expected = np.stack([top_p_brute(row, p) for row in ROWS])
    np.testing.assert_array_equal(top_p(ROWS, p), expected)
    np.testing.assert_array_equal(jax.jit(jax.vmap(top_p, (0, None)))(ROWS, p), expected)


def test_top_p_takes_one_threshold_a_row():
    p = np.array([0.3, 0.5, 0.9, 0.2, 1.0], np.float32)
    expected = np.stack([top_p_brute(row, float(q)) for row, q in zip(ROWS, p, strict=True)])
    np.testing.assert_array_equal(top_p(ROWS, p), expected)


def test_top_p_counts_a_mass_that_is_reached_exactly():
    """Probabilities 1/2, 1/4, 1/4: half is reached by the first class, more needs the second."""
    logits = jnp.log(jnp.array([0.25, 0.5, 0.25]))
    assert np.isfinite(top_p(logits, 0.5)).tolist() == [False, True, False]
    assert np.isfinite(top_p(logits, 0.51)).tolist() == [True, True, False]


def test_top_p_of_one_keeps_the_far_tail():
    logits = jnp.linspace(0.0, -80.0, 3000)
    np.testing.assert_array_equal(top_p(logits, 1.0), logits)


def test_top_p_on_random_rows():
    rows = np.random.default_rng(0).normal(size=(200, 40)).astype(np.float32) * 2
    for p in (0.1, 0.5, 0.95):
        np.testing.assert_array_equal(
            top_p(rows, p), np.stack([top_p_brute(row, p) for row in rows])
        )


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_temperature_is_a_power_of_the_probabilities(temperature):
    with np.errstate(divide="ignore"):
        power = np.exp(np.float64(ROWS[:4])) ** (1 / temperature)
    expected = power / power.sum(-1, keepdims=True)
    np.testing.assert_allclose(
        jax.nn.softmax(with_temperature(ROWS[:4], temperature)), expected, rtol=2e-5
    )
    np.testing.assert_array_equal(
        np.isneginf(with_temperature(ROWS, temperature)), np.isneginf(ROWS)
    )


def test_guidance_is_the_line_through_both_laws():
    a, b = np.random.default_rng(1).normal(size=(2, 5, 4)).astype(np.float32)
    for scale in (0.0, 0.5, 1.0, 3.0):
        np.testing.assert_allclose(guide(a, b, scale), b + scale * (a - b), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(guide(a, b, 1.0), a)
    traced = jax.jit(jax.vmap(guide, (None, None, 0)))(a, b, jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(traced[1], 2 * a - b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0])
def test_guidance_of_masked_laws_has_no_nan_in_value_or_gradient(scale):
    conditional = jnp.array([[1.0, -INF, 2.0, -INF], [-INF, 0.0, -INF, -INF]])
    unconditional = jnp.array([[0.0, -INF, -INF, 3.0], [0.5, -INF, -INF, 1.0]])
    guided = guide(conditional, unconditional, scale)
    np.testing.assert_array_equal(np.isneginf(guided), np.isneginf(conditional))
    assert not np.any(np.isnan(guided)) and guided[0, 2] == 2.0 and guided[1, 1] == 0.0
    assert guided[0, 0] == scale
    for argument in (0, 1):
        grad = jax.grad(lambda *laws: jax.nn.softmax(guide(*laws, scale))[:, 0].sum(), argument)
        gradient = jax.jit(grad)(conditional, unconditional)
        assert np.all(np.isfinite(gradient))


def test_half_precision_comes_back_as_float32():
    logits = jnp.asarray(ROWS[0], jnp.bfloat16)
    for result in (
        with_temperature(logits, 0.5),
        top_k(logits, 2),
        top_p(logits, 0.5),
        guide(logits, logits, 2.0),
    ):
        assert result.dtype == jnp.float32


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: with_temperature(ROWS, 0.0), "temperature must be positive"),
        (lambda: top_k(ROWS, 0), "k must be in 1..6"),
        (lambda: top_k(ROWS, 7), "k must be in 1..6"),
        (lambda: top_p(ROWS, 0.0), "p must be in"),
        (lambda: top_p(ROWS, 1.5), "p must be in"),
        (lambda: top_k(jnp.float32(1.0), 1), r"logits must be \[\*B, V\]"),
    ],
)
def test_settings_that_no_law_has_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
