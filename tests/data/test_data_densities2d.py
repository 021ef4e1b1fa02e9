"""2-D densities: normalised, and sampled from what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dgm_jax.core import ConfigError
from dgm_jax.data import DENSITIES

# name, options, box (x0, x1, y0, y1), cells along x and y of the midpoint rule
CASES = {
    "ring": ("ring", {}, (-3, 3, -3, 3), (300, 300)),
    "ring_pacgan": ("ring", {"radius": 1.0, "scale": 0.01}, (-1.1, 1.1, -1.1, 1.1), (400, 400)),
    "grid": ("grid", {}, (-4, 4, -4, 4), (320, 320)),
    "grid_pacgan": ("grid", {"spacing": 2.0, "scale": 0.05}, (-4.5, 4.5, -4.5, 4.5), (360, 360)),
    "mixture": ("mixture", {}, (-4, 4, -4, 4), (200, 200)),
    "spiral": ("spiral", {}, (-3, 3, -3, 3), (200, 200)),
    "two_spirals": ("two_spirals", {}, (-3, 3, -3, 3), (200, 200)),
    "two_moons": ("two_moons", {}, (-2, 3, -1.5, 2), (200, 140)),
    "circles": ("circles", {}, (-3, 3, -3, 3), (240, 240)),
    "pinwheel": ("pinwheel", {}, (-3.4, 3.4, -3.4, 3.4), (280, 280)),
    "checkerboard": ("checkerboard", {}, (-5, 5, -5, 5), (200, 200)),
    "banana": ("banana", {}, (-6, 6, -3, 19), (200, 400)),
    "rosenbrock": ("rosenbrock", {}, (-5, 7, -3, 51), (200, 600)),
}


def quadrature(density, box, cells):
    """(log p at the midpoints, area of a cell), log p of shape `cells`."""
    (x0, x1, y0, y1), (nx, ny) = box, cells
    hx, hy = (x1 - x0) / nx, (y1 - y0) / ny
    grid = np.stack(
        np.meshgrid(
            x0 + hx * (np.arange(nx) + 0.5), y0 + hy * (np.arange(ny) + 0.5), indexing="ij"
        ),
        -1,
    )
    log_p = jax.jit(lambda x: jax.lax.map(density.log_prob, x))(jnp.asarray(grid, jnp.float32))
    return np.asarray(log_p, np.float64), hx * hy


def test_every_density_has_a_case():
    assert {name for name, *_ in CASES.values()} == set(DENSITIES)


@pytest.mark.parametrize("case", CASES)
def test_density_integrates_to_one_and_matches_its_samples(case):
    name, options, box, cells = CASES[case]
    density = DENSITIES[name](**options)
    log_p, area = quadrature(density, box, cells)
    mass = np.exp(log_p) * area
    assert abs(mass.sum() - 1) < 2e-4

    n = 40_000
    samples = jax.jit(density.sample, static_argnums=1)(jax.random.key(3), n)
    assert samples.shape == (n, 2) and samples.dtype == jnp.float32
    sample_log_p = np.asarray(jax.jit(density.log_prob)(samples), np.float64)
    entropy = -np.sum(mass * np.where(mass > 0, log_p, 0.0))
    error = sample_log_p.std(ddof=1) / np.sqrt(n)
    assert abs(-sample_log_p.mean() - entropy) < 4 * error + 5e-4

    # Chi-square of a 20 x 20 histogram against the quadrature; cells with fewer than 10 expected
    # are pooled.
    (x0, x1, y0, y1), points = box, np.asarray(samples)
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=20, range=((x0, x1), (y0, y1)))
    expected = n * mass.reshape(20, cells[0] // 20, 20, cells[1] // 20).sum((1, 3))
    often = expected >= 10
    observed = np.append(counts[often], n - counts[often].sum())
    wanted = np.append(expected[often], n - expected[often].sum())
    keep = wanted > 1
    assert observed[~keep].sum() <= 10
    statistic = np.sum((observed[keep] - wanted[keep]) ** 2 / wanted[keep])
    assert stats.chi2.sf(statistic, keep.sum() - 1) > 1e-4


@pytest.mark.parametrize("name", DENSITIES)
def test_log_prob_keeps_leading_axes_under_jit_and_vmap(name):
    density = DENSITIES[name]()
    x = jax.random.normal(jax.random.key(0), (3, 4, 2))
    log_prob = jax.jit(density.log_prob)
    one_by_one = np.array([[float(log_prob(x[i, j])) for j in range(4)] for i in range(3)])
    assert np.isfinite(one_by_one).any() and len(np.unique(one_by_one)) > 1
    for other in (density.log_prob(x), jax.jit(jax.vmap(density.log_prob))(x)):
        assert other.shape == (3, 4)
        np.testing.assert_allclose(other, one_by_one, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", DENSITIES)
def test_log_prob_is_never_nan(name):
    density = DENSITIES[name]()
    x = jnp.array([[0.0, 0.0], [1e4, -1e4], [-1e12, 1e12], [1e-30, 0.0]])
    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(density.log_prob)))(x)
    assert not np.isnan(value).any() and (np.asarray(value) < 10).all()
    assert not np.isnan(gradient[:1]).any()


@pytest.mark.parametrize("name", DENSITIES)
def test_samples_differ_by_key_and_repeat_for_the_same_key(name):
    sample = jax.jit(DENSITIES[name]().sample, static_argnums=1)
    a, b, c = (sample(jax.random.key(k), 16) for k in (1, 1, 2))
    assert np.array_equal(a, b) and not np.any(np.all(a == c, axis=-1))


def test_mixture_log_prob_against_scipy():
    weights, scale = (0.1, 0.2, 0.3, 0.4), 0.3
    density = DENSITIES["mixture"]()
    x = np.random.default_rng(0).normal(size=(50, 2)) * 2
    parts = [
        stats.multivariate_normal(m, scale**2 * np.eye(2)).pdf(x) for m in np.asarray(density.means)
    ]
    np.testing.assert_allclose(
        density.log_prob(jnp.asarray(x)), np.log(np.dot(weights, parts)), rtol=1e-4
    )


def test_circle_log_prob_against_direct_integration():
    density = DENSITIES["circles"](radii=(1.0,), scale=0.2)
    angles = 2 * np.pi * np.arange(2000) / 2000
    centres = np.stack([np.cos(angles), np.sin(angles)], -1)
    for x in ((0.0, 0.0), (0.9, 0.1), (1.5, -0.4)):
        brute = np.mean(stats.multivariate_normal(x, 0.04 * np.eye(2)).pdf(centres))
        np.testing.assert_allclose(
            density.log_prob(jnp.array(x)), np.log(brute), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("num_modes", [1, 2, 5, 8, 12])
def test_ring_has_distinct_centres_at_equal_angles(num_modes):
    means = np.asarray(DENSITIES["ring"](num_modes=num_modes).means)
    assert len(np.unique(np.round(means, 4), axis=0)) == num_modes
    complex_means = means[:, 0] + 1j * means[:, 1]
    np.testing.assert_allclose(complex_means**num_modes, 2.0**num_modes, rtol=1e-4)
    np.testing.assert_allclose(means[0], [2, 0], atol=1e-6)


def test_grids_stand_where_the_protocols_put_them():
    means = np.asarray(DENSITIES["grid"](spacing=2, scale=0.05).means)
    axis = (-4.0, -2.0, 0.0, 2.0, 4.0)
    assert {tuple(m) for m in means.tolist()} == {
        (i, j) for i in axis for j in axis
    } and means.shape == (25, 2)
    assert sorted(set(np.asarray(DENSITIES["grid"]().means)[:, 0].tolist())) == [
        -3.0,
        -1.5,
        0.0,
        1.5,
        3.0,
    ]
    assert sorted(set(np.asarray(DENSITIES["grid"](side=2).means)[:, 1].tolist())) == [-0.75, 0.75]


@pytest.mark.parametrize(
    ("name", "weights"), [("ring", None), ("grid", None), ("mixture", (0.5, 0.05, 0.05, 0.4))]
)
def test_modes_are_visited_as_often_as_their_weights(name, weights):
    density = DENSITIES[name](**({"weights": weights} if weights else {}))
    n = 20_000
    x, means = np.asarray(density.sample(jax.random.key(7), n)), np.asarray(density.means)
    distance = np.linalg.norm(x[:, None] - means, axis=-1)
    counts = np.bincount(distance.argmin(1), minlength=len(means))
    expected = n * np.exp(np.asarray(density.log_weights, np.float64))
    assert stats.chisquare(counts, expected * n / expected.sum()).pvalue > 1e-4
    # In the plane 1 - exp(-9/2) = 98.89 % of a Gaussian lie within three standard deviations.
    share, ideal = np.mean(distance.min(1) <= 3 * density.scale), 1 - np.exp(-4.5)
    assert abs(share - ideal) < 4 * np.sqrt(ideal * (1 - ideal) / n)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "ring",
            {"num_modes": 40},
            "40 centres are 0.3138 apart; modes need more than 6 scale = 0.6",
        ),
        ("ring", {"scale": 0.5}, "6 scale = 3"),
        ("ring", {"num_modes": 0}, "num_modes"),
        ("ring", {"scale": 0.0}, "scale must be positive"),
        ("grid", {"spacing": 0.6, "scale": 0.1}, "0.6 apart"),
        ("grid", {"side": 0}, "side"),
        ("mixture", {"weights": (0.5, 0.5)}, "4 means need as many weights"),
        ("mixture", {"weights": (1.0, 1.0, 1.0, -1.0)}, "weights must be positive"),
        ("spiral", {"num_components": 10}, "choose num_components >= 12[0-9]"),
        ("two_moons", {"scale": 0.01}, "choose num_components >= 315"),
        ("circles", {"radii": (0.0,)}, "radii"),
        ("pinwheel", {"num_arms": 0}, "num_arms"),
        ("checkerboard", {"width": 0.0}, "width"),
        ("banana", {"scale_y": -1.0}, "positive"),
        ("rosenbrock", {"a": 0.0}, "positive"),
    ],
)
def test_impossible_options_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        DENSITIES[name](**options)


def test_a_ring_built_with_both_ends_of_linspace_is_refused():
    from dgm_jax.data.mixtures2d import require_separated

    angles = np.linspace(0, 2 * np.pi, 8)
    with pytest.raises(ConfigError, match="nearest of 8 centres"):
        require_separated(2 * np.stack([np.cos(angles), np.sin(angles)], -1), 0.1)
