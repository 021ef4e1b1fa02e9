"""Each convention by hand on tiny sets, and a perfect sampler against the binomial and chi-square
laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dgm_jax import evaluation
from dgm_jax.core import ConfigError, DataError
from dgm_jax.evaluation import expected_valid, mode_coverage, perfect_sampler

SQUARE = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def ring(num_modes=8, radius=2.0):
    angles = 2 * np.pi * np.arange(num_modes) / num_modes
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def grid(side=5):
    axis = 1.5 * np.arange(side)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


def samples_with(counts, num_invalid=0, means=SQUARE):
    """counts[k] samples a tenth off mode k, and some far from every mode."""
    valid = np.repeat(means, counts, axis=0) + np.array([0.1, 0.0])
    return np.concatenate([valid, np.full((num_invalid, 2), 500.0)]).astype(np.float32)


def coverage(x, means, scale, **options):
    """One compiled program a call: quicker here than the same operations one by one."""
    return jax.jit(lambda x: mode_coverage(x, means, scale, **options))(x)


@pytest.mark.parametrize("transform", [lambda fn: fn, jax.jit])
def test_every_convention_by_hand(transform):
    # 200 samples: 150 at mode 0, 46 at mode 1, one at mode 2, none at mode 3, three invalid.
    got = transform(lambda x: mode_coverage(x, SQUARE, 1.0))(samples_with([150, 46, 1, 0], 3))
    share = np.array([150, 46, 1, 0]) / 200
    among_valid = np.array([150, 46, 1]) / 197
    assert got.modes == 2 and got.modes_any_hit == 3
    np.testing.assert_allclose(got.valid, 0.985, rtol=1e-6)
    np.testing.assert_allclose(got.mode_tv, (np.abs(share - 0.25).sum() + 0.015) / 2, rtol=1e-6)
    np.testing.assert_allclose(
        got.reverse_kl, (among_valid * np.log(among_valid / 0.25)).sum(), rtol=1e-5
    )
    np.testing.assert_allclose(got.reverse_kl_bias, 3 / (2 * 197), rtol=1e-6)
    np.testing.assert_allclose(got.entropy, stats.entropy(among_valid), rtol=1e-5)
    assert all(np.shape(value) == () for value in got)


def test_one_percent_is_of_all_samples_and_reached_exactly():
    # 100 of 10,000 is enough, 99 is not; and 2 of 197 valid ones among 10,000 is above 1 % of the
    # valid only.
    counts = [9000, 100, 99, 0]
    assert coverage(samples_with(counts, 10_000 - sum(counts)), SQUARE, 1.0).modes == 2
    assert coverage(samples_with([99, 98, 0, 0], 9803), SQUARE, 1.0).modes == 0
    assert coverage(samples_with([99, 98, 0, 0], 9803), SQUARE, 1.0).modes_any_hit == 2
    got = coverage(samples_with([7, 6, 0, 87]), SQUARE, 1.0, min_share=0.07)
    assert got.modes == 2 and got.modes_any_hit == 3
    assert coverage(samples_with([7, 1, 0, 92]), SQUARE, 1.0, min_share=0.0).modes == 3


@pytest.mark.parametrize(("threshold", "expected"), [(3.0, 3), (4.0, 4), (2.9, 2)])
def test_threshold_is_inclusive_and_in_units_of_the_scale(threshold, expected):
    # 0, 2, 3 and 4 standard deviations
    x = np.array([[0.0, 0.0], [1.0, 0.0], [1.5, 0.0], [0.0, 2.0]])
    assert coverage(x, SQUARE, 0.5, threshold_sigmas=threshold).valid == expected / 4


def test_scales_of_modes_and_axes():
    # (4, 0) is 4 off mode 0 in a unit scale and 2 where mode 0 has scale 2; (0, 4) likewise by the
    # axis.
    x = np.array([[4.0, 0.0], [0.0, 4.0]])
    assert coverage(x, SQUARE, 1.0).valid == 0
    assert coverage(x, SQUARE, np.array([2.0, 1.0, 1.0, 1.0])).valid == 1
    assert coverage(x, SQUARE, np.array([[2.0, 1.0]] * 4)).valid == 0.5
    # 6.4 along: nearer to mode 0 in units of its scale 4, though closer to mode 1.
    got = coverage(
        np.array([[6.4, 0.0]]), SQUARE, np.array([4.0, 1.0, 1.0, 1.0]), threshold_sigmas=1.7
    )
    assert got.valid == 1
    # sqrt(7) standard deviations
    assert coverage(np.ones((5, 7)), np.zeros((1, 7)), 1.0).valid == 1


def test_unequal_weights():
    weights = np.array([0.5, 0.3, 0.2, 0.0])
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    exact = coverage(samples_with([50, 30, 20, 0]), SQUARE, 1.0, log_weights=log_weights)
    np.testing.assert_allclose([exact.mode_tv, exact.reverse_kl], 0, atol=1e-6)
    swapped = coverage(samples_with([20, 30, 50, 0]), SQUARE, 1.0, log_weights=log_weights)
    np.testing.assert_allclose(swapped.mode_tv, 0.3, rtol=1e-6)
    np.testing.assert_allclose(swapped.reverse_kl, 0.2 * np.log(0.4) + 0.5 * np.log(2.5), rtol=1e-5)
    outside = coverage(samples_with([50, 30, 19, 1]), SQUARE, 1.0, log_weights=log_weights)
    assert outside.reverse_kl == np.inf and np.isfinite(outside.mode_tv)


@pytest.mark.parametrize("covered", [1, 3, 8])
def test_even_coverage_of_some_modes_has_reverse_kl_log_ratio(covered):
    got = coverage(samples_with([50] * covered + [0] * (8 - covered), 50, ring()), ring(), 0.1)
    np.testing.assert_allclose(got.reverse_kl, np.log(8 / covered), atol=1e-6)
    np.testing.assert_allclose(got.entropy, np.log(covered), atol=1e-6)
    assert got.modes == got.modes_any_hit == covered


def test_samples_without_a_valid_one_and_samples_that_are_not_finite():
    nothing = coverage(samples_with([0, 0, 0, 0], 9), SQUARE, 1.0)
    assert nothing.modes == nothing.modes_any_hit == nothing.valid == 0 and nothing.mode_tv == 1
    assert nothing.reverse_kl == nothing.reverse_kl_bias == -nothing.entropy == np.inf
    x = samples_with([3, 3, 3, 3])
    x[0], x[1, 0], x[2, 1] = np.nan, np.inf, -np.inf
    broken = coverage(x, SQUARE, 1.0)
    assert broken.valid == 0.75 and broken.modes == 3
    np.testing.assert_allclose(broken.mode_tv, 0.25, rtol=1e-6)
    single = coverage(np.zeros((4, 2)), np.zeros((1, 2)), 1.0)
    assert (
        single.modes,
        single.valid,
        single.mode_tv,
        single.reverse_kl,
        single.reverse_kl_bias,
    ) == (1, 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("threshold", "dim", "expected"), [(3, 2, 0.98889), (4, 2, 0.99966), (3, 1, 0.99730)]
)
def test_expected_valid_is_the_chi_square_law(threshold, dim, expected):
    assert expected_valid(threshold, dim) == pytest.approx(expected, abs=5e-6)
    assert expected_valid(threshold, dim) == pytest.approx(
        stats.chi2.cdf(threshold**2, dim), rel=1e-12
    )
    assert expected_valid() == pytest.approx(1 - np.exp(-4.5), rel=1e-12)
    # The published "within 10 standard deviations" in 700 noisy dimensions: no true sample is.
    assert expected_valid(10, 700) < 1e-150


@pytest.mark.parametrize(
    ("means", "num_samples"), [(ring(), 2500), (grid(), 2500)], ids=["ring", "grid"]
)
def test_perfect_sampler_over_repeats(means, num_samples):
    """100 rows: modes, valid and reverse KL with their laws, TV against multinomial draws made by
    numpy."""
    repeats, num_modes = 100, len(means)
    keys = jax.random.split(jax.random.key(3), repeats)
    rows = jax.jit(jax.vmap(lambda key: perfect_sampler(key, means, 0.1, num_samples)))(keys)
    assert (rows.modes == num_modes).all() and (rows.modes_any_hit == num_modes).all()
    p = expected_valid()
    deviation = np.sqrt(p * (1 - p) / num_samples)
    assert deviation == pytest.approx(0.0021, abs=5e-5)
    assert abs(np.mean(rows.valid) - p) < 4 * deviation / np.sqrt(repeats)
    assert np.std(rows.valid) == pytest.approx(deviation, rel=0.3)

    bias = (num_modes - 1) / (2 * num_samples)
    # 2 n KL is chi-square with K - 1 degrees of freedom
    spread = np.sqrt((num_modes - 1) / 2) / num_samples
    assert abs(np.mean(rows.reverse_kl) - bias) < 4 * spread / np.sqrt(repeats) + 0.03 * bias
    np.testing.assert_allclose(rows.reverse_kl_bias, bias / rows.valid, rtol=1e-5)

    target = np.append(np.full(num_modes, p / num_modes), 1 - p)
    draws = np.random.default_rng(0).multinomial(num_samples, target, size=4000) / num_samples
    expected = np.abs(draws - np.append(np.full(num_modes, 1 / num_modes), 0)).sum(-1) / 2
    assert abs(np.mean(rows.mode_tv) - expected.mean()) < 4 * expected.std() / np.sqrt(repeats)


def test_perfect_sampler_with_very_many_samples_has_a_total_variation_of_the_invalid_share():
    row = perfect_sampler(jax.random.key(0), ring(), 0.1, 1_000_000)
    np.testing.assert_allclose(row.mode_tv, 0.0111, atol=8e-4)
    np.testing.assert_allclose(row.valid, 0.98889, atol=4.5e-4)


def test_perfect_sampler_follows_weights_and_arguments():
    log_weights = np.log([0.7, 0.1, 0.1, 0.1])
    row = jax.jit(lambda key: perfect_sampler(key, SQUARE, 1.0, 20_000, log_weights=log_weights))(
        jax.random.key(1)
    )
    assert row.reverse_kl < 1e-3 and row.mode_tv < 0.03
    strict = perfect_sampler(
        jax.random.key(1), SQUARE, 1.0, 20_000, threshold_sigmas=1.0, min_share=0.2
    )
    assert strict.modes == 0 and abs(strict.valid - expected_valid(1.0)) < 4 * np.sqrt(
        0.24 / 20_000
    )


def test_collapsed_samples_score_above_the_ceiling_and_spread_noise_hits_all_modes():
    """What the conventions are blind to: valid above 98.89 % for dead modes, any-hit for noise."""
    collapsed = coverage(ring()[:1].repeat(2500, 0), ring(), 0.1)
    assert collapsed.valid == 1 > expected_valid() and collapsed.modes == 1
    noise = coverage(
        jax.random.uniform(jax.random.key(0), (2500, 2), minval=-4, maxval=4), ring(), 0.1
    )
    assert noise.modes_any_hit == 8 and noise.valid < 0.05 and noise.modes == 0


def test_vmapped_seed_is_the_seed_alone():
    x = jax.random.normal(jax.random.key(0), (3, 500, 2)) * 2
    together = jax.jit(jax.vmap(lambda x: mode_coverage(x, ring(), 0.3)))(x)
    for seed in range(3):
        alone = coverage(x[seed], ring(), 0.3)
        jax.tree.map(
            lambda a, b, seed=seed: np.testing.assert_allclose(a[seed], b, rtol=1e-6),
            together,
            alone,
        )


def test_a_centre_given_twice_is_refused():
    """linspace with both ends makes a ring whose eighth centre is the first again."""
    angles = np.linspace(0, 2 * np.pi, 8)
    twice = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    with pytest.raises(ConfigError, match="means 0 and 7 are .* they are one mode"):
        coverage(np.zeros((5, 2)), twice, 0.01)
    assert coverage(np.zeros((5, 2)), twice[:7], 0.01).modes == 0


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (
            DataError,
            r"\[N, 2\].*got \(5, 3\)",
            lambda: mode_coverage(np.zeros((5, 3)), SQUARE, 1.0),
        ),
        (DataError, r"N >= 1.*got \(0, 2\)", lambda: mode_coverage(np.zeros((0, 2)), SQUARE, 1.0)),
        (DataError, r"got \(2,\)", lambda: mode_coverage(np.zeros(2), SQUARE, 1.0)),
        (
            ConfigError,
            r"means must be \[K, D\].*got \(2,\)",
            lambda: mode_coverage(np.zeros((5, 2)), SQUARE[0], 1.0),
        ),
        (
            ConfigError,
            "scale must be positive; got -1",
            lambda: mode_coverage(np.zeros((5, 2)), SQUARE, -1.0),
        ),
        (
            ConfigError,
            r"scale must be a scalar.*\(3,\)",
            lambda: mode_coverage(np.zeros((5, 2)), SQUARE, np.ones(3)),
        ),
        (
            ConfigError,
            "min_share",
            lambda: mode_coverage(np.zeros((5, 2)), SQUARE, 1.0, min_share=1.5),
        ),
        (
            ConfigError,
            "threshold_sigmas",
            lambda: mode_coverage(np.zeros((5, 2)), SQUARE, 1.0, threshold_sigmas=0),
        ),
        (
            ConfigError,
            "add up to 4",
            lambda: mode_coverage(np.zeros((5, 2)), SQUARE, 1.0, log_weights=np.zeros(4)),
        ),
        (
            ConfigError,
            r"\[4\].*\(3,\)",
            lambda: mode_coverage(np.zeros((5, 2)), SQUARE, 1.0, log_weights=np.zeros(3)),
        ),
        (ConfigError, "num_samples", lambda: perfect_sampler(jax.random.key(0), SQUARE, 1.0, 0)),
        (ConfigError, "dim 0", lambda: expected_valid(3.0, 0)),
    ],
)
def test_a_wrong_input_is_named(error, message, call):
    with pytest.raises(error, match=message):
        call()


def test_the_room_exports_the_function_and_not_the_module():

    assert callable(evaluation.mode_coverage)
    assert set(evaluation.__all__) <= set(dir(evaluation))
    assert jnp.shape(evaluation.mode_coverage(SQUARE, SQUARE, 1.0).modes) == ()
