"""Helpers of core against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import core


@pytest.mark.parametrize("num", [1, 3, 4, 8, 11])
def test_chunked_is_the_function_of_all_rows(num):
    x = np.random.default_rng(num).normal(size=(num, 2, 3)).astype(np.float32)
    seen = []

    def function(rows):
        seen.append(rows.shape)
        return {"sum": jnp.sum(rows, axis=(1, 2)), "twice": 2 * rows}

    found = jax.device_get(core.chunked(function, jnp.asarray(x), 4))
    np.testing.assert_allclose(found["sum"], x.astype(np.float64).sum((1, 2)), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["twice"], 2 * x)
    # Never more than four rows at a time, and the rest, if there is one, in a call of its own.
    assert set(seen) == {(n, 2, 3) for n in ({4} if num >= 4 else set()) | ({num % 4} - {0})}


def test_chunked_has_the_derivative_of_the_function():
    x = jnp.linspace(-1.0, 2.0, 7)
    gradient = jax.grad(lambda x: jnp.sum(core.chunked(jnp.exp, x, 3)))(x)
    np.testing.assert_allclose(gradient, np.exp(np.linspace(-1.0, 2.0, 7)), rtol=1e-5)


def test_log_mean_exp_and_its_standard_error():
    values = np.random.default_rng(8).normal(size=(200, 5000)) * 0.5
    got = jax.jit(jax.vmap(core.log_mean_exp))(jnp.asarray(values, jnp.float32))
    np.testing.assert_allclose(got.value, np.log(np.exp(values).mean(1)), atol=1e-5)
    np.testing.assert_allclose(np.std(got.value), np.mean(got.standard_error), rtol=0.2)
    weights = np.exp(values[0])
    np.testing.assert_allclose(
        got.effective_sample_size[0], weights.sum() ** 2 / (weights**2).sum(), rtol=1e-4
    )


def test_log_mean_exp_at_its_edges():
    np.testing.assert_allclose(
        core.log_mean_exp(jnp.array([500.0, 500.0])), [500.0, 0.0, 2.0], rtol=1e-6
    )
    np.testing.assert_allclose(
        core.log_mean_exp(jnp.array([-jnp.inf, np.log(4.0)])).value, np.log(2.0), rtol=1e-6
    )
    nothing = core.log_mean_exp(jnp.full(3, -jnp.inf))
    assert nothing.value == -jnp.inf and nothing.effective_sample_size == 0
    one = core.log_mean_exp(jnp.array([2.0]))
    assert one.value == 2.0 and one.effective_sample_size == 1 and jnp.isposinf(one.standard_error)
    gradient = jax.grad(lambda t: core.log_mean_exp(t).value)(jnp.array([0.0, 1.0, 100.0]))
    np.testing.assert_allclose(gradient, np.exp([-100.0, -99.0, 0.0]), atol=1e-7)
    with pytest.raises(core.ConfigError, match=r"at least one entry; got shape \(0, 3\)"):
        core.log_mean_exp(jnp.zeros((0, 3)))


@pytest.mark.parametrize(
    "num, size, shape",
    [(1, 4, (1, 1)), (4, 4, (1, 4)), (5, 4, (2, 3)), (9, 4, (3, 3)), (10, 4, (3, 4))],
)
def test_even_chunks_hold_every_row_once(num, size, shape):
    x = np.arange(2.0 * num).reshape(num, 2)
    found = np.asarray(core.even_chunks(jnp.asarray(x, jnp.float32), size, -7.0))
    assert found.shape == (*shape, 2)
    rows = found.reshape(-1, 2)
    np.testing.assert_array_equal(rows[:num], x)
    np.testing.assert_array_equal(rows[num:], np.full((shape[0] * shape[1] - num, 2), -7.0))


def test_a_compensated_sum_keeps_what_single_additions_lose():
    """A thousand terms of 1e-5 beside 1000, whose spacing in float32 is 6e-5: each is lost."""
    total, lost, plain = np.float32(1000), np.float32(0), np.float32(1000)
    for _ in range(1000):
        total, lost = core.compensated_add(jnp.asarray(total), jnp.asarray(lost), np.float32(1e-5))
        plain = np.float32(plain + np.float32(1e-5))
    assert plain == 1000 and abs(float(total) - 1000.01) < 1e-4
    assert not np.isnan(
        core.compensated_add(jnp.float32(1), jnp.float32(0), jnp.float32(np.inf))[1]
    )


@pytest.mark.parametrize("num_terms", [1, 17, 64, 65, 300, 784, 2048, 12_288])
def test_sums_of_parts_added_one_after_the_other_keep_their_bound(num_terms):
    """In the slowest order a device may take, by NumPy in float32: parts keep the error of long
    sums within the bound, and one sum of 2,048 terms leaves it."""
    rng = np.random.default_rng(num_terms)
    x, y = ((rng.normal(size=(500, num_terms)) + 50).astype(np.float32) for _ in range(2))
    terms, exact = x * y, np.sum(x.astype(np.float64) * y, axis=-1)
    sequential = lambda terms: np.add.accumulate(terms, axis=-1)[:, -1]
    parts = core.product_parts(num_terms)
    assert np.array_equal(
        np.concatenate([np.arange(num_terms)[p] for p in parts]), range(num_terms)
    )
    total = sequential(np.stack([sequential(terms[:, part]) for part in parts], -1))
    sizes = np.square(x.astype(np.float64)).sum(-1) + np.square(y.astype(np.float64)).sum(-1)
    bound = 8 * np.finfo(np.float32).eps * sizes
    assert np.all(2 * np.abs(total - exact) <= bound)
    if num_terms >= 2048:
        assert np.any(2 * np.abs(sequential(terms) - exact) > bound)
