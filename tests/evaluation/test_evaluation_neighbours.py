"""Precision, recall, density and coverage against SciPy's distances, their laws, and their
directions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dgm_jax.core import ConfigError, DataError
from dgm_jax.evaluation import neighbours
from dgm_jax.evaluation import precision_recall_density_coverage as prdc


def brute_force(real, fake, k):
    """The definitions on whole matrices of distances, in float64."""
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)

    def radii(x):
        return np.sort(cdist(x, x), axis=1)[:, k]  # the first is the point itself

    real_radii, fake_radii = radii(real), radii(fake)
    distance = cdist(real, fake)
    in_real, in_fake = distance <= real_radii[:, None], distance <= fake_radii
    return (
        in_real.any(0).mean(),
        in_fake.any(1).mean(),
        in_real.sum(0).mean() / k,
        in_real.any(1).mean(),
    )


def samples(seed, num_rows, dim, scale=1.0, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(num_rows, dim)) * scale + shift).astype(
        np.float32
    )


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize(
    ("rows", "dim"), [((150, 150), 2), ((100, 130), 16), ((90, 70), 17), ((120, 101), 200)]
)
def test_against_brute_force(rows, dim, k):
    """Both forms of the distance: up to 16 features, and beyond."""
    real, fake = samples(0, rows[0], dim, shift=3.0), samples(1, rows[1], dim, 0.9, 3.1)
    got = prdc(real=real, fake=fake, nearest_k=k, tile_size=64)
    np.testing.assert_allclose(got, brute_force(real, fake, k), rtol=1e-6)
    assert all(value.shape == () for value in got)


@pytest.mark.parametrize("tile_size", [1, 7, 50, 99, 100, 4096])
def test_tile_size_and_order_of_rows_change_nothing(tile_size):
    real, fake = samples(2, 100, 20), samples(3, 67, 20, 1.2)
    expected = brute_force(real, fake, 3)
    rng = np.random.default_rng(4)
    got = prdc(
        real=rng.permutation(real), fake=rng.permutation(fake), nearest_k=3, tile_size=tile_size
    )
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("dim", [2, 40])
@pytest.mark.parametrize("copies", [1, 8], ids=["distinct", "duplicates"])
def test_a_set_against_itself(dim, copies):
    """All ones, where a strict `<` loses points on the border; density (k + 1) / k, as each ball
    holds its own point.

    With eight copies of each row every radius is 0 for k = 5, and each of the 8 copies lies in 8
    balls.
    """
    x = np.repeat(samples(5, 60, dim, shift=2.0), copies, axis=0)
    got = prdc(real=x, fake=x[::-1], nearest_k=5, tile_size=32)
    assert (got.precision, got.recall, got.coverage) == (1, 1, 1)
    np.testing.assert_allclose(got.density, 6 / 5 if copies == 1 else 8 / 5, rtol=1e-6)


def _clusters(num, dim, scale, offset, seed):
    """Two tight clusters ten apart in every coordinate."""
    rng = np.random.default_rng(seed)
    side = rng.integers(0, 2, num)[:, None] * 2 - 1
    return (offset + side * 5 + scale * rng.normal(size=(num, dim))).astype(np.float32)


@pytest.mark.parametrize(
    ("dim", "scale", "offset"),
    [(17, 1e-2, 0), (64, 1e-3, 0), (64, 1e-2, 1000), (2048, 1e-2, 0), (2048, 1.0, 100)],
)
def test_tight_clusters_far_apart(dim, scale, offset):
    """|x|^2 + |y|^2 - 2 x.y rounds away every distance within a cluster: they are formed anew."""
    real, fake = (_clusters(90, dim, scale, offset, seed) for seed in (11, 12))
    got = prdc(real=real, fake=fake, tile_size=32)
    np.testing.assert_allclose(got, brute_force(real, fake, 5), rtol=1e-6)


def test_one_tight_cluster_far_off_with_duplicates():
    """Copies are at the distance 0 exactly, also at a large common offset."""
    rng = np.random.default_rng(13)
    x = (300 + 1e-2 * rng.normal(size=(100, 200))).astype(np.float32)
    real, fake = np.concatenate([x[:40], x[:40]]), np.concatenate([x[20:], x[20:60], x[20:60]])
    for k in (1, 3):
        got = prdc(real=real, fake=fake, nearest_k=k, tile_size=17)
        np.testing.assert_allclose(got, brute_force(real, fake, k), rtol=1e-6)


def test_border_counts_as_inside_by_hand():
    # Radii for k = 1: real 0, 1, 3 -> 1, 1, 2; fake 4, 5.5, 7 -> 1.5, 1.5, 1.5.
    # 4 is in the ball of 3 (distance 1), 5.5 and 7 in none (2.5 and 4 from 3); 3 is in the ball of
    # 4.
    real, fake = np.array([[0.0], [1.0], [3.0]]), np.array([[4.0], [5.5], [7.0]])
    np.testing.assert_allclose(
        prdc(real=real, fake=fake, nearest_k=1), [1 / 3, 1 / 3, 1 / 3, 1 / 3], rtol=1e-6
    )
    # At 5 the distance to 3 is the radius 2 itself.
    fake[0] = 5.0
    got = prdc(real=real, fake=fake, nearest_k=1)
    np.testing.assert_allclose(
        [got.precision, got.density, got.coverage], [1 / 3, 1 / 3, 1 / 3], rtol=1e-6
    )
    fake[0] = 5.001
    got = prdc(real=real, fake=fake, nearest_k=1)
    assert (got.precision, got.density, got.coverage) == (0, 0, 0)


def test_rows_that_only_fill_up_a_tile_are_no_samples():
    """They are zeros, and a real sample at zero must not count as found by one."""
    real, fake = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 100 + samples(10, 5, 2)
    assert prdc(real=real, fake=fake, nearest_k=1, tile_size=3) == (0, 0, 0, 0)


@pytest.mark.optimized  # the order of a compiled sum decides its rounding
@pytest.mark.parametrize("num_rows", [40, 400])
@pytest.mark.parametrize("dim", [2, 16, 17, 64, 128, 300, 784, 2048])
def test_distances_keep_their_bound_on_rounding(dim, num_rows):
    """`<=` on computed distances holds where it does for the true ones, near-duplicates far off
    included; more pairs find larger errors."""
    rng = np.random.default_rng(dim)
    near, far = 3 * num_rows // 4, num_rows // 4
    x = np.concatenate([rng.normal(size=(near, dim)), rng.normal(size=(far, dim)) + 50])
    x = x.astype(np.float32)
    y = np.concatenate([x, x + 1e-4 * rng.normal(size=x.shape)]).astype(np.float32)
    exact = cdist(x.astype(np.float64), y.astype(np.float64), "sqeuclidean")
    squares, rounding = jax.jit(neighbours._squared_distances)(x, y)
    assert np.all(np.abs(squares - exact) <= rounding)
    # What the product form leaves in doubt is settled to a few roundings of the distance itself.
    doubted = squares < 100 * rounding
    settled = jax.jit(neighbours._settle)(squares, doubted, x, y)
    np.testing.assert_allclose(settled[doubted], exact[doubted], rtol=4e-6)
    assert np.all(rounding <= 1e-5 * (np.square(x).sum(-1)[:, None] + np.square(y).sum(-1)))


def test_directions():
    """A collapsed generator: precision high, recall low. Noise around everything: the reverse."""
    angles = 2 * np.pi * np.arange(8) / 8
    centres = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    rng = np.random.default_rng(6)
    real = (centres[rng.integers(0, 8, 600)] + 0.1 * rng.normal(size=(600, 2))).astype(np.float32)
    collapsed = (centres[0] + 0.05 * rng.normal(size=(400, 2))).astype(np.float32)
    got = prdc(real=real, fake=collapsed)
    assert got.precision > 0.95 and got.recall < 0.15 and got.coverage < 0.15 and got.density > 1
    noise = rng.uniform(-4, 4, size=(400, 2)).astype(np.float32)
    got = prdc(real=real, fake=noise)
    assert got.precision < 0.2 and got.recall > 0.6 and got.density < 0.2
    # Tight modes far from the origin, where |x|^2 + |y|^2 - 2 x.y in float32 would see nothing but
    # rounding.
    tight = (1000 + centres[rng.integers(0, 8, 600)] + 1e-3 * rng.normal(size=(600, 2))).astype(
        np.float32
    )
    got = prdc(real=tight[:300], fake=tight[300:])
    np.testing.assert_allclose(got, brute_force(tight[:300], tight[300:], 5), rtol=1e-6)


def test_laws_of_density_and_coverage_for_equal_distributions():
    """Of the N - 1 other real and M fake points each order is equally likely: a ball holds k M / N
    fake points on average, and none with probability prod_{i<k} (N - 1 - i) / (N + M - 1 - i),
    whatever the distribution."""
    num_real, num_fake, k, repeats = 30, 20, 3, 300
    x = jax.random.normal(jax.random.key(7), (repeats, num_real + num_fake, 4))

    def run(x):
        return prdc(real=x[:num_real], fake=x[num_real:], nearest_k=k, tile_size=64)

    rows = jax.jit(jax.vmap(run))(x)
    i = np.arange(k)
    coverage = 1 - np.prod((num_real - 1 - i) / (num_real + num_fake - 1 - i))
    for values, expected in ((rows.density, 1.0), (rows.coverage, coverage)):
        assert abs(np.mean(values) - expected) < 4 * np.std(values) / np.sqrt(repeats)
        assert np.std(values) / np.sqrt(repeats) < 0.02
    # A vmapped lane is the lane alone.
    np.testing.assert_allclose(
        [v[5] for v in rows], brute_force(x[5, :num_real], x[5, num_real:], k), rtol=1e-6
    )


def test_nan_inside_a_compiled_program_gives_nan():
    x = jnp.asarray(samples(8, 20, 3))
    got = jax.jit(lambda x: prdc(real=x, fake=x.at[4, 1].set(jnp.nan)))(x)
    assert all(np.isnan(value) for value in got)


def test_a_wrong_input_is_named():
    x = samples(9, 10, 3)
    with pytest.raises(DataError, match=r"real must be feature vectors .* got \(10, 3, 1\)"):
        prdc(real=x[..., None], fake=x)
    with pytest.raises(DataError, match="real has 3 features a row and fake has 2"):
        prdc(real=x, fake=x[:, :2])
    with pytest.raises(
        DataError, match="fake has 5 rows; at least 6 are needed: .* neighbour number 5"
    ):
        prdc(real=x, fake=x[:5])
    with pytest.raises(
        DataError, match="real has NaN or infinity in 1 of 10 rows, the first is row 7"
    ):
        prdc(real=np.where(np.arange(10)[:, None] == 7, np.nan, x), fake=x)
    with pytest.raises(ConfigError, match="nearest_k must be at least 1; got 0"):
        prdc(real=x, fake=x, nearest_k=0)
    with pytest.raises(TypeError):
        prdc(x, x)
    assert prdc(real=x, fake=x[:6]).precision == 1
