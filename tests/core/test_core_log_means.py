"""Means and sums in log space, against float64 and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from dgm_jax import core


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_mean_a_row_along_an_axis(axis):
    values = np.random.default_rng(3).normal(size=(30, 20)).astype(np.float32)
    got = core.log_mean_exp(jnp.asarray(values), axis=axis)
    weights = np.exp(np.float64(values))
    num = weights.shape[axis]
    mean = weights.mean(axis)
    np.testing.assert_allclose(got.value, np.log(mean), atol=1e-6)
    error = weights.std(axis, ddof=1) / np.sqrt(num) / mean
    np.testing.assert_allclose(got.standard_error, error, rtol=1e-5)
    size = weights.sum(axis) ** 2 / np.square(weights).sum(axis)
    np.testing.assert_allclose(got.effective_sample_size, size, rtol=1e-5)


def test_an_effective_size_far_from_the_origin():
    """At a level of 5000 nats, whose spacing in float32 is 5e-4."""
    log_weights = jnp.asarray([[5000.0, 5001.0], [-jnp.inf, 0.0], [-jnp.inf, -jnp.inf]])
    shares = np.exp([0.0, 1.0]) / np.exp([0.0, 1.0]).sum()
    expected = [1 / np.square(shares).sum(), 1.0, 0.0]
    np.testing.assert_allclose(core.effective_sample_size(log_weights), expected, rtol=1e-6)


def test_a_streamed_sum_and_its_gradient():
    """Of two chunks at once, after one that starts the sum."""
    values = np.random.default_rng(4).normal(size=(3, 5, 7)).astype(np.float32)

    def total(chunks):
        rows = lambda chunk: (jax.nn.logsumexp(chunk, axis=0), chunk[0])
        return core.streamed_log_sum_exp(rows, chunks[1:], start=rows(chunks[0]))

    by_column, of_first_rows = jax.jit(total)(jnp.asarray(values))
    np.testing.assert_allclose(
        by_column, scipy.special.logsumexp(np.float64(values), axis=(0, 1)), rtol=1e-5
    )
    np.testing.assert_allclose(
        of_first_rows, scipy.special.logsumexp(np.float64(values[:, 0]), axis=0), rtol=1e-5
    )
    gradient = jax.jit(jax.grad(lambda chunks: total(chunks)[0].sum()))(jnp.asarray(values))
    np.testing.assert_allclose(
        gradient,
        scipy.special.softmax(np.float64(values.reshape(15, 7)), 0).reshape(3, 5, 7),
        rtol=1e-4,
    )
