"""The kernel distance against the double sum in float64, its mean under equal distributions, and
subsets."""

import jax
import numpy as np
import pytest

from dgm_jax.core import ConfigError, DataError
from dgm_jax.evaluation import kernel_distance, kernel_distance_over_subsets


def double_sum(real, fake):
    """Unbiased MMD^2 with (x.y / D + 1)^3, by every pair in float64."""
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)

    def kernel(a, b):
        return (a @ b.T / real.shape[1] + 1) ** 3

    def within(x):
        values = kernel(x, x)
        return (values.sum() - np.trace(values)) / (len(x) * (len(x) - 1))

    return within(real) + within(fake) - 2 * kernel(real, fake).mean()


def samples(seed, num_rows, dim, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(num_rows, dim)) + shift).astype(np.float32)


def test_by_hand():
    # D = 1: k(x, y) = (x y + 1)^3. Real {0, 1}: k(0, 1) = 1. Fake {1, 2}: k(1, 2) = 27.
    # Across: k(0, 1) = k(0, 2) = 1, k(1, 1) = 8, k(1, 2) = 27, the mean is 37 / 4.
    got = kernel_distance(real=np.array([[0.0], [1.0]]), fake=np.array([[1.0], [2.0]]))
    assert got == 1 + 27 - 2 * 37 / 4
    assert got.shape == ()


@pytest.mark.parametrize("tile_size", [1, 13, 32, 64, 512])
@pytest.mark.parametrize(("rows", "dim"), [((64, 64), 7), ((33, 50), 2)])
def test_against_the_double_sum_whatever_the_tile(rows, dim, tile_size):
    real, fake = samples(0, rows[0], dim), samples(1, rows[1], dim, 0.3)
    expected = double_sum(real, fake)
    np.testing.assert_allclose(
        kernel_distance(real=real, fake=fake, tile_size=tile_size), expected, rtol=1e-5
    )
    np.testing.assert_allclose(
        kernel_distance(real=fake, fake=real, tile_size=tile_size), expected, rtol=1e-5
    )
    jitted = jax.jit(lambda real, fake: kernel_distance(real=real, fake=fake, tile_size=tile_size))
    np.testing.assert_allclose(jitted(real, fake[::-1]), expected, rtol=1e-5)


@pytest.mark.parametrize("seed", [12, 32])
def test_small_differences_of_large_kernel_means(seed):
    """Features far from the origin: the kernel has a mean of 5,000, where float32 has steps of
    5e-4."""
    real, fake = (np.maximum(samples(seed + i, 3000, 48, 4.0 + i / 1000), 0) for i in (0, 1))
    expected = double_sum(real, fake)
    mean = np.mean((real[:300].astype(np.float64) @ fake[:300].T / 48 + 1) ** 3)
    assert mean > 4000 and abs(expected) < 0.2
    np.testing.assert_allclose(kernel_distance(real=real, fake=fake), expected, atol=2e-8 * mean)


def test_mean_zero_for_equal_distributions_and_negative_values_occur():
    x = jax.random.normal(jax.random.key(0), (300, 2, 50, 3))
    values = jax.jit(jax.vmap(lambda pair: kernel_distance(real=pair[0], fake=pair[1])))(x)
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error
    assert 0.3 < np.mean(np.asarray(values) < 0) < 0.9
    # With the pairs i = i the mean would be 2 (E k(x, x) - E k(x, x')) / 50, and E k(x, x') = 1 + 3
    # / 3: far from 0.
    diagonal = np.mean((np.sum(np.square(np.asarray(x)), axis=-1) / 3 + 1) ** 3)
    assert 10 * error < 2 * (diagonal - 2) / 50


def test_closed_form_of_a_shift():
    """k in one dimension: x y + 1 cubed. For N(0, 1) and N(m, 1) the moments of each order give the
    mean of MMD^2."""
    shift = 0.5
    moments = [np.array([0, 1, 0]), np.array([shift, 1 + shift**2, shift**3 + 3 * shift])]
    expected = np.sum(np.array([3, 3, 1]) * np.square(moments[0] - moments[1]))
    x = jax.random.normal(jax.random.key(1), (300, 2, 200, 1))
    values = jax.jit(jax.vmap(lambda p: kernel_distance(real=p[0], fake=p[1] + shift)))(x)
    assert abs(np.mean(values) - expected) < 4 * np.std(values, ddof=1) / np.sqrt(300)
    assert np.mean(values) > 10 * np.std(values) / np.sqrt(300)


def test_disjoint_subsets_have_an_honest_standard_error():
    """Over repeats, the deviation of the value is the standard error that it reports."""
    x = jax.random.normal(jax.random.key(2), (150, 2, 200, 2))

    def run(key, pair):
        return kernel_distance_over_subsets(
            key, real=pair[0], fake=pair[1], subset_size=40, num_subsets=5
        )

    rows = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(3), 150), x)
    assert np.std(rows.value) == pytest.approx(
        np.sqrt(np.mean(np.square(rows.standard_error))), rel=0.25
    )
    assert abs(np.mean(rows.value)) < 4 * np.std(rows.value) / np.sqrt(150)


def test_subsets_that_are_the_whole_set_are_the_full_estimate():
    real, fake = samples(4, 60, 4), samples(5, 60, 4, 0.2)
    got = kernel_distance_over_subsets(
        jax.random.key(0), real=real, fake=fake, subset_size=60, num_subsets=3
    )
    np.testing.assert_allclose(got.value, double_sum(real, fake), rtol=1e-4)
    np.testing.assert_allclose(got.standard_error, 0, atol=1e-6)


def test_subsets_use_each_row_once_before_any_twice():
    """Two subsets of six out of twelve rows: the value is that of some split of the twelve into
    halves, which a row used twice or left out would miss, and different keys give different
    splits."""
    real, fake = np.arange(12.0)[:, None] / 12, np.zeros((12, 1))
    keys = jax.random.split(jax.random.key(1), 20)
    run = jax.jit(
        lambda key: kernel_distance_over_subsets(
            key, real=real, fake=fake, subset_size=6, num_subsets=2
        )
    )
    splits = [half(mask) for mask in range(1 << 12) if bin(mask).count("1") == 6]
    for key in keys:
        value = float(run(key).value)
        assert np.min(np.abs(np.array(splits) - value)) < 1e-5
    assert len({round(float(run(key).value), 5) for key in keys}) > 10


def half(mask):
    x = np.arange(12.0)[:, None] / 12
    chosen = np.array([mask >> i & 1 for i in range(12)], bool)
    return (double_sum(x[chosen], np.zeros((6, 1))) + double_sum(x[~chosen], np.zeros((6, 1)))) / 2


def test_a_wrong_input_is_named():
    x, key = np.zeros((8, 3), np.float32), jax.random.key(0)
    with pytest.raises(DataError, match=r"fake must be feature vectors .* got \(8,\)"):
        kernel_distance(real=x, fake=x[:, 0])
    with pytest.raises(DataError, match="real has 3 features a row and fake has 1"):
        kernel_distance(real=x, fake=x[:, :1])
    with pytest.raises(DataError, match="real has 1 rows; at least 2"):
        kernel_distance(real=x[:1], fake=x)
    with pytest.raises(DataError, match="real has NaN or infinity in 8 of 8 rows"):
        kernel_distance(real=x * np.nan, fake=x)
    with pytest.raises(ConfigError, match="tile_size"):
        kernel_distance(real=x, fake=x, tile_size=0)
    with pytest.raises(DataError, match="fake has 8 rows; at least 9 .* subset_size is 9"):
        kernel_distance_over_subsets(key, real=np.zeros((9, 3)), fake=x, subset_size=9)
    with pytest.raises(ConfigError, match="num_subsets must be at least 2"):
        kernel_distance_over_subsets(key, real=x, fake=x, subset_size=4, num_subsets=1)
    assert np.isnan(jax.jit(lambda x: kernel_distance(real=x, fake=x * np.nan))(x))
