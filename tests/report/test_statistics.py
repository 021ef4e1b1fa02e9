"""Intervals against tables, formulas by hand and brute force."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from dgm_jax.core import ConfigError
from dgm_jax.report import statistics


def test_summary_of_five_seeds_by_hand():
    # mean 3, sum of squares 10, sd sqrt(2.5), se sqrt(.5); the table's t(.975, 4) is 2.776445
    got = statistics.summarize([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.7764451051977987 * math.sqrt(0.5)
    assert got["mean"] == 3.0 and got["num_seeds"] == 5 and got["num_failed"] == 0
    assert got["standard_error"] == pytest.approx(math.sqrt(0.5), rel=1e-12)
    assert got["interval_95"] == pytest.approx([3 - half, 3 + half], rel=1e-9)


def test_failed_seeds_are_kept_counted_and_left_out():
    got = statistics.summarize(np.array([1.0, np.nan, 3.0, np.inf]))
    assert got["per_seed"] == [1.0, None, 3.0, None]
    assert (got["mean"], got["num_seeds"], got["num_failed"]) == (2.0, 2, 2)
    assert got["standard_error"] == pytest.approx(1.0)
    assert statistics.summarize([1.0, None, 3.0, None]) == got


@pytest.mark.parametrize(
    "values, mean, error, interval",
    [
        ([4.0], 4.0, None, None),
        ([4.0, np.nan], 4.0, None, None),
        ([np.nan, np.nan], None, None, None),
        ([], None, None, None),
        ([8, 8, 8], 8.0, 0.0, [8.0, 8.0]),
    ],
)
def test_few_seeds(values, mean, error, interval):
    got = statistics.summarize(values)
    assert (got["mean"], got["standard_error"], got["interval_95"]) == (mean, error, interval)


def test_a_matrix_is_refused():
    with pytest.raises(ConfigError, match=r"\(2, 3\)"):
        statistics.summarize(np.zeros((2, 3)))


def test_the_interval_covers_the_truth_in_95_of_100_draws():
    draws = np.random.default_rng(1).normal(2.0, 3.0, (2000, 5))
    inside = [
        low <= 2.0 <= high for low, high in (statistics.summarize(d)["interval_95"] for d in draws)
    ]
    assert abs(np.mean(inside) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)


def brute_force_p(difference):
    """Share of the 2^n sign flips whose mean is at least as far from zero."""
    n = len(difference)
    means = [
        np.mean(np.array(signs) * difference) for signs in itertools.product([1, -1], repeat=n)
    ]
    return np.mean(np.abs(means) >= abs(np.mean(difference)) - 1e-12)


@pytest.mark.parametrize("n", [3, 5, 8])
def test_paired_difference_against_scipy_and_enumeration(n):
    rng = np.random.default_rng(n)
    first, second = rng.normal(1.0, 1.0, n), rng.normal(0.0, 1.0, n)
    got = statistics.paired_difference(first, second)
    expected = scipy.stats.ttest_rel(first, second).confidence_interval(0.95)
    assert got["mean"] == pytest.approx(np.mean(first) - np.mean(second))
    assert got["interval_95"] == pytest.approx([expected.low, expected.high])
    assert got["p_value"] == pytest.approx(brute_force_p(first - second))
    assert got["smallest_p_value"] == 2 / 2**n and got["num_pairs"] == n


def test_five_pairs_cannot_reach_one_in_twenty():
    got = statistics.paired_difference([101, 102, 103, 104, 105], [1, 2, 3, 4, 4.5])
    assert got["p_value"] == pytest.approx(0.0625) == got["smallest_p_value"]


def test_many_pairs_agree_with_the_paired_t_test():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.4, 1.0, 40), rng.normal(0.0, 1.0, 40)
    got = statistics.paired_difference(first, second)["p_value"]
    expected = scipy.stats.ttest_rel(first, second).pvalue
    assert got == pytest.approx(expected, abs=4 * math.sqrt(expected / 9999) + 0.01)


def test_pairs_with_a_failed_seed_are_left_out():
    got = statistics.paired_difference([1.0, np.nan, 5.0, 4.0], [0.0, 1.0, 2.0, None])
    assert (got["mean"], got["num_pairs"]) == (2.0, 2)
    assert statistics.paired_difference([np.nan], [1.0])["mean"] is None
    assert statistics.paired_difference([2.0, 2.0, 2.0], [2.0, 2.0, 2.0])["p_value"] == 1.0


def test_arms_of_different_length_are_refused():
    with pytest.raises(ConfigError, match="2 and 3"):
        statistics.paired_difference([1, 2], [1, 2, 3])


def test_bootstrap_interval_against_scipy_and_normal_theory():
    values = np.random.default_rng(3).normal(5.0, 2.0, 200)
    low, high = statistics.bootstrap_interval(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(200)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.06)
    expected = scipy.stats.bootstrap(
        (values,), np.median, method="BCa", axis=0, rng=np.random.default_rng(0), n_resamples=2000
    ).confidence_interval
    assert statistics.bootstrap_interval(values, np.median, 2000) == [expected.low, expected.high]


@pytest.mark.parametrize(
    "values, expected", [([1.0], None), ([2.0, 2.0, np.nan, 2.0], [2.0, 2.0]), ([np.nan] * 4, None)]
)
def test_bootstrap_of_nothing_to_draw(values, expected):
    assert statistics.bootstrap_interval(values) == expected


@pytest.mark.parametrize(
    "values, expected",
    [
        ([0, 1, 2, 3, 4, 5, 6, 100], 3.5),
        ([100, 1, 2, 3, -50], 2.0),
        ([1, 5], 3.0),
        ([np.nan, 4.0], 4.0),
        ([None], None),
    ],
)
def test_interquartile_mean_by_hand(values, expected):
    assert statistics.interquartile_mean(values) == expected


def test_robust_statistics_of_seeds_with_an_outlier_and_a_failure():
    """By hand: of 8 seeds two are cut at either end. The interval is scipy's, of the mean."""
    values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 100.0]
    expected = scipy.stats.bootstrap(
        (values,), np.mean, method="BCa", axis=0, rng=np.random.default_rng(0)
    ).confidence_interval
    got = statistics.robust([*values, np.nan])
    assert got == {"interquartile_mean": 3.5, "bootstrap_95": [expected.low, expected.high]}
    assert statistics.robust([7.0]) == {"interquartile_mean": 7.0, "bootstrap_95": None}
    assert statistics.robust([None]) == {"interquartile_mean": None, "bootstrap_95": None}


@pytest.mark.parametrize(
    "published, spread, within",
    [
        (7.6, 0.89, True),
        (5.0, 0.1, True),
        (5.2, 0.1, False),
        (5.2, 0.25, True),
        (0.8, 0.1, False),
        (1.0, None, False),
        (3, None, True),
    ],
)
def test_reference_is_within_where_the_intervals_meet(published, spread, within):
    modes = (
        {"mean": 4.0, "interval_95": [2.9, 8.0]}
        if published == 7.6
        else {"mean": 3.0, "interval_95": [1.04, 4.96]}
    )
    rows = [{"arm": "a", "metric": "m", "published": published, "spread": spread, "source": "s"}]
    (row,) = statistics.compare_with_reference({"a": {"m": modes}, "b": {"m": {}}}, rows)
    assert row["within"] is within and row["source"] == "s" and row["own"] == modes["mean"]


@pytest.mark.parametrize(
    "half_width, spread, wide", [(0.29, 0.1, False), (0.31, 0.1, True), (5.0, None, False)]
)
def test_an_interval_that_says_little_is_called_wide(half_width, spread, wide):
    value = {"mean": 1.0, "interval_95": [1 - half_width, 1 + half_width]}
    metrics = {"plain": {"value": value}}
    row = {"arm": "plain", "metric": "value", "published": 1.1, "spread": spread, "source": "s"}
    (found,) = statistics.compare_with_reference(metrics, [row])
    assert found["within"] is True and found["wide"] is wide


def test_reference_without_interval_or_figure():
    rows = [
        {"arm": "plain", "metric": "a", "published": 1.0, "spread": 0.5, "source": ""},
        {"arm": "plain", "metric": "gone", "published": 1.0, "spread": 0.5, "source": ""},
    ]
    metrics = {"plain": {"a": statistics.summarize([1.4])}}
    one, gone = statistics.compare_with_reference(metrics, rows)
    assert (one["own"], one["interval_95"], one["within"]) == (1.4, None, True)
    assert (gone["own"], gone["interval_95"], gone["within"]) == (None, None, None)


def test_a_figure_of_other_data_gets_no_verdict():
    row = {"arm": "plain", "metric": "a", "published": 1.4, "spread": None, "source": "other data"}
    metrics = {"plain": {"a": statistics.summarize([1.4])}}
    (found,) = statistics.compare_with_reference(metrics, [row | {"context": True}])
    assert found["own"] == 1.4 and found["within"] is None
    (found,) = statistics.compare_with_reference(metrics, [row | {"context": False}])
    assert found["within"] is True


def test_differences_are_arm_minus_baseline():
    metrics = {
        "vanilla": {"modes": statistics.summarize([6, 7, 8])},
        "packed2": {
            "modes": statistics.summarize([8, 8, 8]),
            "own": statistics.summarize([1, 1, 1]),
        },
        "p": {"modes": statistics.summarize([1, 2])},
    }
    (row,) = statistics.differences_between_arms(metrics)
    assert (row["metric"], row["arm"], row["baseline"], row["mean"]) == (
        "modes",
        "packed2",
        "vanilla",
        1.0,
    )
    assert statistics.differences_between_arms({}) == []
