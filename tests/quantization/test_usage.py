"""Perplexity and coverage of a codebook: exact counts, no epsilon."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import quantization
from dgm_jax.core import ConfigError, DataError


@pytest.mark.parametrize("size", [1, 1000, 8192, 2**16, 2**18])
def test_even_use_is_exactly_the_size_of_the_codebook(size):
    usage = jax.jit(quantization.codebook_usage, static_argnums=1)(
        jnp.tile(jnp.arange(size), 3), size
    )
    assert (
        float(usage.perplexity) == size
        and int(usage.num_used) == size
        and usage.num_used.dtype == jnp.int32
    )
    share = np.full(size, 1 / size)
    biased = np.exp(-np.sum(share * np.log(share + 1e-5)))
    assert size < 2**16 or biased < 0.7 * size


def test_uneven_use_against_numpy():
    codes = np.random.default_rng(0).geometric(0.02, (40, 100)) % 500
    counts = np.bincount(codes.ravel(), minlength=512)
    share = counts[counts > 0] / counts.sum()
    usage = quantization.codebook_usage(jnp.asarray(codes), 512)
    np.testing.assert_allclose(usage.perplexity, np.exp(-np.sum(share * np.log(share))), rtol=1e-5)
    assert int(usage.num_used) == len(share)
    np.testing.assert_array_equal(quantization.count_codes(jnp.asarray(codes), 512), counts)


def test_an_epoch_is_the_sum_of_its_batches_and_a_batch_alone_says_less():
    codes = jnp.asarray(np.random.default_rng(0).integers(0, 256, (20, 100)))
    counts = sum(quantization.count_codes(batch, 256) for batch in codes)
    whole, epoch = quantization.codebook_usage(codes, 256), quantization.usage_of_counts(counts)
    assert float(whole.perplexity) == float(epoch.perplexity) > 220
    batch = jax.vmap(lambda c: quantization.codebook_usage(c, 256))(codes)
    assert np.all(batch.perplexity <= 100) and batch.perplexity.shape == (20,)


def test_padding_counts_for_nothing_and_nothing_counted_is_zero():
    codes = jnp.array([0, 1, 1, -1, 4, 2**20])
    np.testing.assert_array_equal(quantization.count_codes(codes, 4), [1, 2, 0, 0])
    empty = quantization.codebook_usage(jnp.array([-1]), 4)
    assert float(empty.perplexity) == 0 and int(empty.num_used) == 0
    assert float(quantization.codebook_usage(jnp.array([3, 3]), 4).perplexity) == 1


def test_miller_madow_removes_most_of_the_bias():
    """Even draws from 64 codes, n = 256: the mean entropy is about (K - 1) / (2 n) = .123 nats too
    low."""
    codes = jnp.asarray(np.random.default_rng(0).integers(0, 64, (400, 256)))
    counts = jax.vmap(lambda c: quantization.count_codes(c, 64))(codes)
    plain = np.log(quantization.usage_of_counts(counts).perplexity)
    corrected = np.log(quantization.miller_madow_perplexity(counts))
    error = plain.std() / np.sqrt(400)
    assert (
        abs(plain.mean() - np.log(64) + 63 / 512) < 0.02 and plain.mean() - np.log(64) < -20 * error
    )
    assert abs(corrected.mean() - np.log(64)) < 0.012
    used = np.sum(np.asarray(counts) > 0, axis=1)
    np.testing.assert_allclose(corrected - plain, (used - 1) / 512, atol=1e-5)


def test_bad_arguments():
    with pytest.raises(ConfigError, match="num_codes must be at least 1"):
        quantization.codebook_usage(jnp.zeros(3, int), 0)
    with pytest.raises(DataError, match="codes must be integers; got float32"):
        quantization.codebook_usage(jnp.zeros(3), 4)
