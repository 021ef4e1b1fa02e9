"""Intervals over seeds, by scipy.

A seed is one draw of the experiment, and only statistics over seeds can be trusted. A seed that
failed is NaN (or None) in its place: it is left out of the mean, kept in the list, and counted.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import scipy  # which imports its slow part `stats` when that is first used

from dgm_jax.core import require
from dgm_jax.report.summaries import Nested

CONFIDENCE = 0.95
WIDE = 3.0  # spreads to either side
_LARGEST = int(np.finfo(np.float64).max)
_EXACT_PAIRS = 12  # all 2^12 sign flips are quick; beyond it they are drawn at random


def per_seed_values(values: Any) -> np.ndarray:
    """The values of a metric as an array.

    Args:
        values: [S], one number for each seed.

    Returns:
        float64[S]. None, infinities and integers too large for a float become NaN: no value from
        this seed.

    Raises:
        ConfigError: the values are not one-dimensional.
    """
    if isinstance(values, (list, tuple)):
        values = [np.nan if v is None or _is_huge(v) else v for v in values]
    array = np.atleast_1d(np.asarray(values, np.float64))
    require(
        array.ndim == 1,
        f"per_seed: expected one figure per seed, a 1-d array; found shape {array.shape}",
    )
    return np.where(np.isfinite(array), array, np.nan)


def _is_huge(value) -> bool:
    return isinstance(value, int) and abs(value) > _LARGEST


def _optional(value) -> float | None:
    return float(value) if np.isfinite(value) else None


def _t_interval(values: np.ndarray) -> tuple[float | None, list[float] | None]:
    """Standard error of the mean (ddof 1) and the two-sided Student interval.

    Both are None below two values.
    """
    if values.size < 2:
        return None, None
    error = float(scipy.stats.sem(values))
    centre = float(values.mean())
    if error == 0.0:
        return 0.0, [centre, centre]
    low, high = scipy.stats.t.interval(CONFIDENCE, values.size - 1, loc=centre, scale=error)
    return error, [float(low), float(high)]


def summarize(per_seed: Any) -> dict:
    """Mean over seeds with its standard error and 95 % Student interval.

    Args:
        per_seed: [S], one number for each seed; NaN, infinity or None for a seed that failed.

    Returns:
        `{"per_seed", "mean", "standard_error", "interval_95", "num_seeds", "num_failed"}`:
        `num_seeds` is the number of seeds in the mean. With one seed the error and the interval are
        None; with none the mean is None too.
    """
    values = per_seed_values(per_seed)
    good = values[np.isfinite(values)]
    error, interval = _t_interval(good)
    return {
        "per_seed": [_optional(v) for v in values],
        "mean": float(good.mean()) if good.size else None,
        "standard_error": error,
        "interval_95": interval,
        "num_seeds": int(good.size),
        "num_failed": int(values.size - good.size),
    }


def paired_difference(first: Any, second: Any) -> dict:
    """Mean of `first - second` over the seeds that both arms finished, as pairs.

    The arms share their seeds, so the effect of a seed on both cancels.

    Args:
        first: [S], as for `summarize`.
        second: [S], the same seeds.

    Returns:
        `{"mean", "standard_error", "interval_95", "p_value", "smallest_p_value", "num_pairs"}`: a
        paired Student interval, and the two-sided p-value of the sign-flip permutation test of the
        mean (exact up to 12 pairs, else 9,999 random flips), which assumes no shape of the
        distribution and allows ties. `smallest_p_value` is 2 / 2^n, the least that n pairs can
        give: with five pairs no difference, however large, falls below 0.0625.

    Raises:
        ConfigError: the arms have different numbers of seeds.
    """
    first = per_seed_values(first)
    second = per_seed_values(second)
    require(
        first.shape == second.shape,
        f"paired_difference: expected the same number of seeds in both arms, found {first.size} and"
        f" {second.size}",
    )
    difference = first - second
    difference = difference[np.isfinite(difference)]
    mean = least = None
    if difference.size:
        mean = float(difference.mean())
        least = min(1.0, 2.0 / 2.0**difference.size)
    error, interval = _t_interval(difference)
    return {
        "mean": mean,
        "standard_error": error,
        "interval_95": interval,
        "p_value": _sign_flip_p_value(difference),
        "smallest_p_value": least,
        "num_pairs": int(difference.size),
    }


def _sign_flip_p_value(difference: np.ndarray) -> float | None:
    """Two-sided p-value of the mean difference under sign flips; None below two pairs."""
    if difference.size < 2:
        return None
    exact = difference.size <= _EXACT_PAIRS
    result = scipy.stats.permutation_test(
        (difference,),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=cast(int, np.inf) if exact else 9999,  # infinity: every one
        alternative="two-sided",
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def bootstrap_interval(
    per_seed: Any, statistic: Callable = np.mean, num_resamples: int = 9999, seed: int = 0
) -> list[float] | None:
    """95 % bias-corrected and accelerated bootstrap interval of a statistic over seeds.

    Source: Efron 1987, "Better bootstrap confidence intervals".

    Args:
        per_seed: [S], as for `summarize`; seeds that failed are left out.
        statistic: `statistic(values, axis=)`, as NumPy's.
        num_resamples: of the bootstrap.
        seed: the same seed gives the same interval.

    Returns:
        [low, high]; None below two seeds, or if the interval is not finite.
    """
    values = per_seed_values(per_seed)
    values = values[np.isfinite(values)]
    if values.size < 2:
        return None
    if np.ptp(values) == 0.0:
        return [float(statistic(values, axis=0))] * 2
    result = scipy.stats.bootstrap(
        (values,),
        statistic,
        confidence_level=CONFIDENCE,
        n_resamples=num_resamples,
        method="BCa",
        vectorized=True,
        axis=0,
        rng=np.random.default_rng(seed),
    )
    interval = [result.confidence_interval.low, result.confidence_interval.high]
    if not np.all(np.isfinite(interval)):
        return None
    return [float(v) for v in interval]


def interquartile_mean(per_seed: Any) -> float | None:
    """Mean of the middle half: floor(S / 4) seeds are cut at either end.

    Source: Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical
    precipice".

    Args:
        per_seed: [S], as for `summarize`.

    Returns:
        The mean; None if no seed finished.
    """
    values = per_seed_values(per_seed)
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    return float(scipy.stats.trim_mean(values, 0.25))


def robust(per_seed: Any) -> dict:
    """Statistics that depend less on a normal distribution of the seeds than `summarize` does.

    Args:
        per_seed: [S], as for `summarize`.

    Returns:
        `{"interquartile_mean", "bootstrap_95"}`: the mean of the middle half, and the bootstrap
        interval of the mean. With few seeds the bootstrap interval is too narrow (it never leaves
        the range of the values); below about ten, quote Student's.
    """
    return {
        "interquartile_mean": interquartile_mean(per_seed),
        "bootstrap_95": bootstrap_interval(per_seed),
    }


def compare_with_reference(metrics: Nested, reference: Sequence[dict]) -> list[dict]:
    """Compares the run's own numbers with published ones.

    Args:
        metrics: {arm: {metric: what `summarize` returns}}.
        reference: rows `{"arm", "metric", "published", "spread", "source"}`; `spread` (a standard
            deviation or half-width, None for none) is the published uncertainty.

    Returns:
        Each row with `"own"` (mean), `"interval_95"` and `"within"`: whether the own 95 % interval
        (the mean itself with one seed) meets [published - spread, published + spread]. All three
        are None if the metric was not measured, `"within"` also if a row has `"context": True`,
        which marks a number of other data or another protocol. `"wide"`: the own interval reaches
        more than three spreads to either side of its mean, so that meeting the published one says
        little; more seeds would narrow it.
    """
    rows = []
    for row in reference:
        summary = metrics.get(row["arm"], {}).get(row["metric"], {})
        mean = summary.get("mean")
        interval = summary.get("interval_95")
        within = None
        wide = False
        if mean is not None and not row.get("context"):
            low, high = interval or (mean, mean)
            spread = abs(row.get("spread") or 0.0)
            published_low = row["published"] - spread
            published_high = row["published"] + spread
            within = bool(low <= published_high and high >= published_low)
            wide = row.get("spread") is not None and bool(high - low > 2 * WIDE * spread)
        rows.append({**row, "own": mean, "interval_95": interval, "within": within, "wide": wide})
    return rows


def differences_between_arms(metrics: Nested) -> list[dict]:
    """`paired_difference` of every later arm against the first, for every metric that both have.

    Args:
        metrics: {arm: {metric: summary}}.

    Returns:
        Rows with `"metric", "arm", "baseline"` and the difference arm - baseline.
    """
    rows = []
    baseline = next(iter(metrics), "")
    for metric, base in metrics.get(baseline, {}).items():
        for arm in list(metrics)[1:]:
            summary = metrics[arm].get(metric, {})
            per_seed = summary.get("per_seed", [])
            per_seed_of_base = base.get("per_seed", [])
            if per_seed and len(per_seed) == len(per_seed_of_base):
                difference = paired_difference(per_seed, per_seed_of_base)
                rows.append({"metric": metric, "arm": arm, "baseline": baseline, **difference})
    return rows


def ranking(metrics: Nested, name: str) -> str:
    """Ranks the arms by the mean of a metric, smallest first; arms without a mean come last.

    Args:
        metrics: {arm: {metric: summary}}.
        name: the metric.

    Returns:
        One sentence.
    """
    means = {arm: summaries.get(name, {}).get("mean") for arm, summaries in metrics.items()}
    order = sorted(means, key=lambda arm: (means[arm] is None, means[arm]))
    places = []
    for place, arm in enumerate(order, 1):
        mean = "no figure" if means[arm] is None else f"{means[arm]:.4g}"
        places.append(f"{place}. {arm} ({mean})")
    return f"Ranking by {name}, smallest first: {', '.join(places)}."
