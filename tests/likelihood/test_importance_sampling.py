"""Importance-weighted estimates against log p(x) in closed form and against the same weights in one
array."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgm_jax import likelihood
from dgm_jax.core import ConfigError, normal
from dgm_jax.densities import gaussian
from dgm_jax.objectives import iwae

X = jnp.array([-1.0, 0.3, 2.0, 4.0, 0.0])


def log_weights(key, x, n, loc=0.45, scale=0.8):
    """z ~ N(0, 1), x | z ~ N(z, 1), q(z | x) = N(loc x, scale^2): log p(x) = log N(x; 0, 2)."""
    z = loc * x + scale * normal(key, (n, x.shape[0]))
    return (
        gaussian.log_prob(z, 0.0, 1.0)
        + gaussian.log_prob(x, z, 1.0)
        - gaussian.log_prob(z, loc * x, scale)
    )


def test_it_finds_log_p():
    found = likelihood.importance_weighted(
        jax.random.key(0), log_weights, X, 20_000, batch_size=2, samples_at_once=1000
    )
    exact = scipy.stats.norm.logpdf(np.asarray(X), 0, np.sqrt(2))
    # Delta method: the variance of log of a mean of S weights is about 1 / ESS - 1 / S.
    error = np.sqrt(1 / np.asarray(found.effective_sample_size) - 1 / 20_000)
    assert np.all(np.abs(found.log_prob - exact) < 4.5 * error + 1e-5)
    assert np.all(found.effective_sample_size > 1000) and np.all(
        found.effective_sample_size < 20_000
    )


def test_the_exact_posterior_needs_one_sample():
    posterior = lambda key, x, n: log_weights(key, x, n, 0.5, np.sqrt(0.5))
    found = likelihood.importance_weighted(jax.random.key(1), posterior, X, 4, batch_size=3)
    np.testing.assert_allclose(
        found.log_prob, scipy.stats.norm.logpdf(np.asarray(X), 0, np.sqrt(2)), atol=1e-5
    )
    np.testing.assert_allclose(found.effective_sample_size, 4.0, rtol=1e-4)


def test_streams_are_the_weights_in_one_array():
    """Weights that are a function of the row and the chunk, hundreds of nats apart."""
    table = 400 * jax.random.normal(jax.random.key(2), (3, 2, 5))  # chunk, sample, row
    keys = [jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 0), i) for i in range(3)]
    key_data = jnp.stack([jax.random.key_data(k) for k in keys])

    def weights(key, x, n):
        chunk = jnp.argmax(jnp.all(key_data == jax.random.key_data(key), axis=-1))
        return table[chunk][:, x.astype(int)]

    found = likelihood.importance_weighted(
        jax.random.key(0), weights, jnp.arange(5.0), 6, samples_at_once=2
    )
    everything = table.reshape(6, 5)
    np.testing.assert_allclose(found.log_prob, iwae.bound(everything), rtol=1e-6)
    np.testing.assert_allclose(
        found.effective_sample_size, iwae.effective_sample_size(everything), rtol=1e-5
    )


def test_rows_of_the_last_group_are_not_mixed_up():
    shift = lambda key, x, n: jnp.broadcast_to(x, (n, x.shape[0]))
    rows = jnp.arange(7.0)
    for size in (1, 3, 7, 100):
        found = likelihood.importance_weighted(
            jax.random.key(0), shift, rows, 4, batch_size=size, samples_at_once=2
        )
        np.testing.assert_allclose(found.log_prob, rows, atol=1e-6)
        np.testing.assert_allclose(found.effective_sample_size, 4.0, rtol=1e-5)


@pytest.mark.optimized
def test_memory_does_not_grow_with_the_number_of_samples():
    def compiled(num):
        run = jax.jit(
            lambda key, x: likelihood.importance_weighted(
                key, log_weights, x, num, samples_at_once=10
            )
        )
        return (
            run.lower(jax.random.key(0), jnp.zeros(100))
            .compile()
            .memory_analysis()
            .temp_size_in_bytes
        )

    assert compiled(10_000) == compiled(100)


def test_numbers_that_do_not_fit():
    with pytest.raises(ConfigError, match="multiple"):
        likelihood.importance_weighted(jax.random.key(0), log_weights, X, 25, samples_at_once=10)
    for named, message in (
        ({"num_samples": 0}, "num_samples must be at least 1, got 0"),
        ({"samples_at_once": 0}, "samples_at_once must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"x": X[:0]}, "at least one row"),
    ):
        given = {"x": X, "num_samples": 10, **named}
        with pytest.raises(ConfigError, match=message):
            likelihood.importance_weighted(jax.random.key(0), log_weights, **given)


def test_the_error_is_that_of_repeated_runs():
    """Over 400 keys: the spread of the estimates is what each run says of itself, and the average
    of rows takes it."""
    run = jax.jit(
        jax.vmap(
            lambda key: likelihood.importance_weighted(
                key, log_weights, X, 200, samples_at_once=200
            )
        )
    )
    found = run(jax.random.split(jax.random.key(5), 400))
    spread = np.asarray(found.log_prob).std(0, ddof=1)
    np.testing.assert_allclose(
        np.sqrt((np.asarray(found.standard_error) ** 2).mean(0)), spread, rtol=0.2
    )
    one = jax.tree.map(lambda a: a[0], found)
    error = likelihood.average(one).monte_carlo_error
    np.testing.assert_allclose(error, np.linalg.norm(one.standard_error) / len(X), rtol=1e-6)


def test_weights_that_are_all_zero():
    none = lambda key, x, n: jnp.full((n, x.shape[0]), -jnp.inf)
    found = likelihood.importance_weighted(jax.random.key(0), none, X, 10)
    assert np.all(np.isneginf(found.log_prob)) and np.all(
        np.asarray(found.effective_sample_size) == 0
    )


def test_weights_of_another_shape_are_refused():
    """Draws first, rows second; the other way round would be summed along the wrong axis."""
    transposed = lambda key, x, n: jnp.zeros((len(x), n))
    with pytest.raises(
        ConfigError, match=r"log_weights\(key, x\[3, ...\], 5\) must return \[5, 3\]; got \[3, 5\]"
    ):
        likelihood.importance_weighted(
            jax.random.key(0), transposed, jnp.zeros((3, 2)), 10, samples_at_once=5
        )


def test_bits_per_dimension():
    """A uniform law over 256 levels costs 8 bits a pixel."""
    np.testing.assert_allclose(
        likelihood.bits_per_dimension(784 * np.log(256), 784), 8.0, rtol=1e-6
    )
    with pytest.raises(
        ConfigError, match=r"num_dimensions must be a number of at least 1, got \(8, 8, 1\)"
    ):
        likelihood.bits_per_dimension(jnp.zeros(3), (8, 8, 1))
    with pytest.raises(ConfigError, match="num_dimensions"):
        likelihood.bits_per_dimension(1.0, 0)
