"""Medians and ratios with their intervals.

Samples of a time have a long tail on the right, so nothing here takes a mean. The interval of a
median lies between two order statistics and needs no assumption about the distribution: with nine
samples, from the second least to the second most (96 %). Ratios of two sides are those of the same
round. Two runs have no rounds in common: their ratio has a bootstrap interval.
"""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

LEVEL = 0.95


class Interval(NamedTuple):
    """A value and its interval of at least 95 %."""

    value: float
    low: float
    high: float


def median(samples: Sequence[float]) -> Interval:
    """The median; with fewer than six samples the interval is their range, which covers less."""
    value = statistics.median(samples)
    if len(samples) < 6:
        return Interval(value, min(samples), max(samples))
    found = scipy.stats.quantile_test(samples, p=0.5).confidence_interval(LEVEL)
    return Interval(value, float(found.low), float(found.high))


def paired_ratio(a: Sequence[float], b: Sequence[float]) -> Interval:
    """The median over rounds of a / b."""
    return median([x / y for x, y in zip(a, b, strict=True)])


def unpaired_ratio(a: Sequence[float], b: Sequence[float]) -> Interval:
    """median(a) / median(b), with a percentile bootstrap over both sets of samples."""
    ratio = lambda x, y, axis=-1: np.median(x, axis=axis) / np.median(y, axis=axis)
    value = float(ratio(np.asarray(a), np.asarray(b)))
    if min(len(a), len(b)) < 2:
        return Interval(value, 0.0, float("inf"))
    drawn = scipy.stats.bootstrap(
        (a, b),
        ratio,
        vectorized=True,
        paired=False,
        method="percentile",
        confidence_level=LEVEL,
        n_resamples=5_000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(value, float(drawn.low), float(drawn.high))
