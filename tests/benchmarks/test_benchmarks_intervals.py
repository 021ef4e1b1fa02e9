"""Intervals against order statistics counted by hand, and ratios whose truth is known."""

import math

import numpy as np
import pytest

from benchmarks import intervals


def test_the_interval_of_nine_samples_leaves_out_one_at_each_end():
    samples = [9.0, 1.0, 5.0, 2.0, 8.0, 3.0, 7.0, 4.0, 6.0]
    assert intervals.median(samples) == (5.0, 2.0, 8.0)


@pytest.mark.parametrize("num", [6, 7, 9, 15, 30])
def test_the_interval_covers_at_least_95_percent_and_the_next_narrower_one_less(num):
    value, low, high = intervals.median(list(range(num)))
    assert value == (num - 1) / 2
    left_out = int(low)
    assert high == num - 1 - left_out

    def coverage(out):  # that a fair coin falls on one side for at most `out` of `num` samples
        return 1 - 2 * sum(math.comb(num, i) for i in range(out + 1)) / 2**num

    assert coverage(left_out) >= 0.95 > coverage(left_out + 1)


def test_few_samples_have_their_range():
    assert intervals.median([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert intervals.median([3.0]) == (3.0, 3.0, 3.0)


def test_a_slow_round_does_not_touch_a_ratio_of_the_same_rounds():
    slow = np.array([1.0, 1.0, 7.0, 1.0, 2.0, 1.0, 5.0, 1.0, 1.0])
    assert intervals.paired_ratio(list(3 * slow), list(2 * slow)) == (1.5, 1.5, 1.5)


def test_a_ratio_of_two_runs_holds_the_truth_and_leaves_out_one():
    rng = np.random.default_rng(0)
    noise = lambda: np.exp(0.01 * rng.normal(size=9))
    value, low, high = intervals.unpaired_ratio(1.2 * noise(), 1.0 * noise())
    assert 1.1 < low <= value <= high < 1.3


def test_the_interval_of_a_ratio_of_two_runs_mostly_holds_the_truth():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(50):
        a, b = 1.2 * np.exp(0.1 * rng.normal(size=9)), np.exp(0.1 * rng.normal(size=9))
        _, low, high = intervals.unpaired_ratio(a, b)
        inside += low <= 1.2 <= high
    assert inside >= 43  # with a coverage of .95 fewer have a probability of a thousandth


def test_a_ratio_of_single_samples_says_nothing():
    assert intervals.unpaired_ratio([2.0], [1.0]) == (2.0, 0.0, math.inf)
