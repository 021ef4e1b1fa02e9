"""The Fréchet distance against closed forms and scipy's matrix square root, and moments against
numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from dgm_jax.core import ConfigError, DataError
from dgm_jax.evaluation import (
    frechet_distance,
    frechet_distance_on_device,
    frechet_from_moments,
    merge_moments,
    moments,
    sliced_wasserstein,
)

on_device = jax.jit(lambda real, fake: frechet_distance_on_device(real=real, fake=fake))


def with_moments(rng, mean, cov, num_rows=400):
    """Rows whose sample mean and covariance (over n - 1) are the given ones to double precision."""
    x = rng.normal(size=(num_rows, len(mean)))
    x -= x.mean(0)
    whiten = np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False)))
    return x @ whiten.T @ np.linalg.cholesky(cov).T + mean


def by_sqrtm(real, fake):
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    cov_r, cov_f = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    root = scipy.linalg.sqrtm(cov_r @ cov_f)
    return np.square(real.mean(0) - fake.mean(0)).sum() + np.trace(cov_r + cov_f - 2 * root.real)


def correlated(rng, num_rows, dim, shift=0.0):
    """Rectified, correlated, far from centred: like the features of a network."""
    mixing = np.random.default_rng(dim).normal(size=(dim, dim)) / np.sqrt(dim)
    return (4 * np.maximum(rng.normal(size=(num_rows, dim)) @ mixing + 0.3 + shift, 0)).astype(
        np.float32
    )


def test_gaussians_in_closed_form():
    rng = np.random.default_rng(0)
    # Diagonal covariances: |gap|^2 + sum (sigma_r - sigma_f)^2.
    a, b = np.array([1.0, 2.0, 0.5]), np.array([3.0, 0.1, 0.5])
    real, fake = (
        with_moments(rng, np.zeros(3), np.diag(a**2)),
        with_moments(rng, np.array([1.0, 0, 2]), np.diag(b**2)),
    )
    expected = 5 + np.square(a - b).sum()
    np.testing.assert_allclose(frechet_distance(real=real, fake=fake), expected, rtol=1e-12)
    np.testing.assert_allclose(on_device(real, fake), expected, rtol=2e-6)
    # Two by two, not diagonal: tr (C_r C_f)^(1/2) = sqrt(tr C_r C_f + 2 sqrt(det C_r C_f)).
    c, d = np.array([[2.0, 0.9], [0.9, 1.0]]), np.array([[1.0, -0.6], [-0.6, 0.5]])
    root = np.sqrt(np.trace(c @ d) + 2 * np.sqrt(np.linalg.det(c @ d)))
    got = frechet_distance(
        real=with_moments(rng, np.ones(2), c), fake=with_moments(rng, np.ones(2), d)
    )
    np.testing.assert_allclose(got, np.trace(c + d) - 2 * root, rtol=1e-12)
    np.testing.assert_allclose(frechet_from_moments(np.ones(2), c, np.ones(2), d), got, rtol=1e-12)


@pytest.mark.parametrize(("dim", "rows"), [(2, (50, 70)), (24, (400, 300)), (64, (1000, 900))])
def test_against_scipy_sqrtm_on_every_path(dim, rows):
    rng = np.random.default_rng(dim)
    real, fake = correlated(rng, rows[0], dim), correlated(rng, rows[1], dim, 0.05)
    expected = by_sqrtm(real, fake)
    got = frechet_distance(real=real, fake=fake)
    assert isinstance(got, float)
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    np.testing.assert_allclose(frechet_distance(real=fake, fake=real), expected, rtol=1e-9)
    np.testing.assert_allclose(
        frechet_distance(real=jnp.asarray(real), fake=fake), expected, rtol=1e-9
    )
    np.testing.assert_allclose(on_device(real, fake), expected, rtol=1e-5)
    a, b = moments(real, chunk_size=128), moments(fake, chunk_size=128)
    got = frechet_from_moments(a.mean, a.covariance, b.mean, b.covariance)
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_singular_covariances():
    """Dead and repeated features, and fewer rows than features, where a square root of the product
    turns complex."""
    rng = np.random.default_rng(1)
    # Real lives on the first axis, fake on the second: the trace of the root is 0.
    real, fake = np.zeros((100, 3)), np.zeros((100, 3))
    real[:, 0], fake[:, 1] = rng.normal(size=100) * 2, rng.normal(size=100)
    expected = (
        np.square(real.mean(0) - fake.mean(0)).sum()
        + real[:, 0].var(ddof=1)
        + fake[:, 1].var(ddof=1)
    )
    np.testing.assert_allclose(frechet_distance(real=real, fake=fake), expected, rtol=1e-10)
    np.testing.assert_allclose(on_device(real, fake), expected, rtol=2e-6)
    # Rank 5 in 40 dimensions: the distance is that of the five coordinates (an orthonormal frame
    # keeps lengths).
    frame = np.linalg.qr(rng.normal(size=(40, 5)))[0]
    low_r, low_f = rng.normal(size=(60, 5)), rng.normal(size=(80, 5)) * 1.5 + 0.2
    expected = by_sqrtm(low_r, low_f)
    np.testing.assert_allclose(
        frechet_distance(real=low_r @ frame.T, fake=low_f @ frame.T), expected, rtol=1e-7
    )
    np.testing.assert_allclose(on_device(low_r @ frame.T, low_f @ frame.T), expected, rtol=1e-5)
    # Seven rows of 40 features: the same rows in the frame that they span.
    wide = rng.normal(size=(12, 40))
    span = np.linalg.svd(wide, full_matrices=False)[2]
    few = wide[:7], wide[5:] + 0.3 * wide[0]
    covariances = (np.cov(x @ span.T, rowvar=False) for x in few)
    expected = np.square(few[0].mean(0) - few[1].mean(0)).sum() + bures(*covariances)
    np.testing.assert_allclose(frechet_distance(real=few[0], fake=few[1]), expected, rtol=1e-6)
    np.testing.assert_allclose(on_device(*few), expected, rtol=1e-5)


def bures(a, b):
    """tr(a + b - 2 (b^1/2 a b^1/2)^1/2) by two symmetric eigendecompositions."""
    values, vectors = np.linalg.eigh(b)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return np.trace(a + b) - 2 * np.sqrt(np.maximum(np.linalg.eigvalsh(root @ a @ root), 0)).sum()


def test_equal_sets_shifts_and_scales():
    x = correlated(np.random.default_rng(2), 500, 16)
    trace = np.cov(x, rowvar=False).trace()
    assert 0 <= frechet_distance(real=x, fake=x) < 1e-12 * trace
    assert 0 <= on_device(x, x) < 1e-9 * trace
    np.testing.assert_allclose(
        frechet_distance(real=x, fake=x.astype(np.float64) + 0.1), 16 * 0.01, rtol=1e-9
    )
    # A factor of 2 about the mean: (2 - 1)^2 tr C.
    doubled = 2 * x.astype(np.float64) - x.mean(0, dtype=np.float64)
    np.testing.assert_allclose(frechet_distance(real=x, fake=doubled), trace, rtol=1e-9)


def test_order_of_rows_does_not_matter_and_more_rows_than_a_chunk():
    rng = np.random.default_rng(3)
    real, fake = correlated(rng, 9000, 5), correlated(rng, 4097, 5, 0.02)
    expected = by_sqrtm(real, fake)
    np.testing.assert_allclose(frechet_distance(real=real, fake=fake), expected, rtol=1e-9)
    np.testing.assert_allclose(
        frechet_distance(real=rng.permutation(real), fake=fake[::-1]), expected, rtol=1e-9
    )


def test_on_device_under_vmap_is_each_alone():
    rng = np.random.default_rng(4)
    real, fakes = (
        correlated(rng, 200, 6),
        np.stack([correlated(rng, 150, 6, shift) for shift in (0.0, 0.1, 0.5)]),
    )
    together = jax.jit(jax.vmap(functools.partial(on_device, real)))(fakes)
    expected = [frechet_distance(real=real, fake=fake) for fake in fakes]
    np.testing.assert_allclose(together, expected, rtol=1e-5)
    assert np.isnan(on_device(real, fakes[0] * np.nan))


@pytest.mark.parametrize("chunk_size", [1, 7, 64, 100, 4096])
def test_moments_are_numpys_whatever_the_chunk(chunk_size):
    x = (np.random.default_rng(5).normal(size=(100, 4)) * [1, 2, 3, 0.01] + 5).astype(np.float32)
    got = moments(x, chunk_size=chunk_size)
    exact = x.astype(np.float64)
    assert got.count == 100
    np.testing.assert_allclose(got.mean, exact.mean(0), rtol=1e-6)
    cov = np.cov(exact, rowvar=False)
    scale = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    np.testing.assert_allclose(got.covariance / scale, cov / scale, atol=1e-5)


def test_moments_far_from_the_origin():
    """Standard deviation 1 at a mean of 3,000: E x^2 - (E x)^2 in float32 would be wrong in the
    first digit."""
    x = (np.random.default_rng(6).normal(size=(20_000, 2)) + 3000).astype(np.float32)
    got = moments(x, chunk_size=1000)
    np.testing.assert_allclose(
        got.covariance, np.cov(x.astype(np.float64), rowvar=False), atol=2e-4
    )
    np.testing.assert_allclose(got.mean, x.mean(0, dtype=np.float64), rtol=1e-7)


def test_merged_moments_are_those_of_the_union():
    x = np.random.default_rng(7).normal(size=(90, 3)).astype(np.float32)
    x[:30] += 4
    parts = [moments(part) for part in (x[:30], x[30:31], x[31:])]
    empty = jax.tree.map(jnp.zeros_like, parts[0])
    for order in ((0, 1, 2), (2, 0, 1)):
        total = functools.reduce(merge_moments, [parts[i] for i in order], empty)
        assert total.count == 90
        np.testing.assert_allclose(total.mean, x.mean(0, dtype=np.float64), atol=2e-6)
        np.testing.assert_allclose(
            total.covariance, np.cov(x.astype(np.float64), rowvar=False), atol=2e-5
        )
    np.testing.assert_array_equal(parts[1].covariance, 0)
    unchanged = merge_moments(parts[0], empty)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), unchanged, parts[0])


def test_sliced_wasserstein_of_shifts_and_permutations():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(300, 5)).astype(np.float32)
    key = jax.random.key(0)
    assert sliced_wasserstein(key, real=x, fake=rng.permutation(x)) == 0
    # In one dimension every direction is +1 or -1, and the distance is that of the sorted samples.
    a, b = x[:, :1], x[:, 1:2] * 2 + 1
    expected = np.sqrt(np.mean((np.sort(a, axis=0) - np.sort(b, axis=0)) ** 2))
    np.testing.assert_allclose(
        sliced_wasserstein(key, real=a, fake=b, num_projections=3), expected, rtol=1e-5
    )
    # A shift by delta: E (delta.u)^2 = |delta|^2 / D, with relative deviation sqrt(2 (D - 1) / (D +
    # 2) / 2000) of it.
    shift = np.array([3.0, 0, 4, 0, 0], np.float32)
    got = sliced_wasserstein(key, real=x, fake=x + shift, num_projections=2000)
    assert abs(float(got) ** 2 / 5 - 1) < 4 * np.sqrt(2 * 4 / 7 / 2000)
    with pytest.raises(DataError, match="300 and 299"):
        sliced_wasserstein(key, real=x, fake=x[1:])


def test_a_wrong_input_is_named():
    x = np.zeros((4, 3))
    for call in (frechet_distance, frechet_distance_on_device):
        with pytest.raises(DataError, match=r"real must be feature vectors .* got \(4, 2, 2\)"):
            call(real=np.zeros((4, 2, 2)), fake=x)
        with pytest.raises(DataError, match="real has 3 features a row and fake has 2"):
            call(real=x, fake=x[:, :2])
        with pytest.raises(DataError, match="fake has 1 rows; at least 2"):
            call(real=x, fake=x[:1])
        with pytest.raises(
            DataError, match="fake has NaN or infinity in 2 of 4 rows, the first is row 1"
        ):
            call(real=x, fake=np.where(np.arange(4)[:, None] % 2 == 1, np.inf, x))
        with pytest.raises(TypeError):
            call(x, x)
    with pytest.raises(ConfigError, match="use frechet_distance_on_device"):
        jax.jit(lambda x: frechet_distance(real=x, fake=x))(x)
    with pytest.raises(DataError, match=r"fake has \(3,\) and \(2, 2\)"):
        frechet_from_moments(np.zeros(3), np.eye(3), np.zeros(3), np.eye(2))
    with pytest.raises(DataError, match="real covariance .* smallest is -1"):
        frechet_from_moments(np.zeros(2), np.diag([1.0, -1.0]), np.zeros(2), np.eye(2))
    with pytest.raises(DataError, match="real moments have NaN"):
        frechet_from_moments(np.zeros(2), np.eye(2) * np.nan, np.zeros(2), np.eye(2))
    with pytest.raises(DataError, match=r"features must be feature vectors .* got \(4,\)"):
        moments(np.zeros(4))
