"""Ablations: which setting has which value, the best cell, and the differences to it."""

import math

import numpy as np
import pytest
import scipy.stats

from dgm_jax.report import statistics
from dgm_jax.report.display import Display
from dgm_jax.report.sweeps import best_and_others, is_log_spaced, sweep_content, sweep_of

RATES = (1e-4, 1e-3, 1e-2)


def cells(*fields, arms=("vanilla",)):
    """Arms as `run.cells` names them."""
    names = [""]
    for name, values in fields:
        names = [f"{old}, {name}={value}" for old in names for value in values]
    return [arm + name for arm in arms for name in names]


def metrics_of(names, seeds=4):
    rng = np.random.default_rng(0)
    return {
        arm: {"error": statistics.summarize(rng.normal(i, 0.1, seeds))}
        for i, arm in enumerate(names)
    }


def test_cells_are_read_from_their_names():
    names = cells(("rate", RATES), ("width", (8, 16)), ("flag", (True,)), arms=("a", "b"))
    found = sweep_of({"rate": [1e-2, 1e-4, 1e-3], "width": [8, 16], "flag": [True]}, names)
    assert found.settings == {"rate": [1e-4, 1e-3, 1e-2], "width": [8, 16]}
    chosen = {"rate": 1e-3, "width": 16, "flag": True}
    assert found.cells["b, rate=0.001, width=16, flag=True"] == (chosen, "b")
    assert len(found.cells) == len(names) == 12


@pytest.mark.parametrize(
    "grid, names",
    [({}, ["a"]), (None, ["a"]), ({"rate": [1]}, ["a, rate=1"]), ({"rate": [1, 2]}, ["a, rate=3"])]
    + [({"rate": 3}, ["a"]), ([], ["a"]), ({"rate": [[1], {}]}, ["a"])]
    + [({"rate": 3}, [])],
)
def test_what_is_no_sweep(grid, names):
    assert sweep_of(grid, names) is None


@pytest.mark.parametrize(
    "values, log",
    [
        (RATES, True),
        ((1e-4, 5e-4, 2e-3), True),
        ((1, 2, 3), False),
        ((0.1, 0.2, 0.4, 0.8), True),
        ((0.0, 0.1, 1.0), False),
        ((-1, 10), False),
        ((32, 128), False),
        ((1e-4, 1e-3), True),
        ((1,), False),
        ((2**70, 2**80, 2**90), True),
        ((1, 2, 10**400), False),
    ],
)
def test_log_spaced(values, log):
    assert is_log_spaced(values) == log


@pytest.mark.parametrize("higher", [False, True])
def test_the_best_cell_and_the_paired_differences_to_it(higher):
    metrics = metrics_of(["x", "y", "z"])
    best, others = best_and_others(metrics, "error", higher)
    assert best["arm"] == ("z" if higher else "x") and best["metric"] == "error"
    assert [row["arm"] for row in others] == (["y", "x"] if higher else ["y", "z"])
    for row in others:
        seeds = [metrics[arm]["error"]["per_seed"] for arm in (row["arm"], best["arm"])]
        difference = np.subtract(*seeds)
        expected = scipy.stats.ttest_1samp(difference, 0.0).confidence_interval()
        assert row["mean"] == pytest.approx(difference.mean())
        assert row["interval_95"] == pytest.approx([expected.low, expected.high])
    assert best_and_others(metrics, None, False) == (None, [])


def test_charts_of_one_and_of_two_settings():
    display = Display(headline=("error",), better={"error": "lower"}, ranges={"error": (0, None)})
    names = cells(("rate", RATES))
    one = sweep_content(sweep_of({"rate": list(RATES)}, names), metrics_of(names), display)
    assert [chart["name"] for chart in one["charts"]] == ["error by rate"]
    assert one["best"]["arm"] == "vanilla, rate=0.0001" and len(one["others"]) == 2
    assert "vanilla, rate=0.01: 2.0" in one["charts"][0]["alt"].replace("1.9", "2.0")
    names = cells(("rate", RATES), ("loss", ("hinge", "wgan")))
    grid = {"rate": list(RATES), "loss": ["hinge", "wgan"]}
    two = sweep_content(sweep_of(grid, names), metrics_of(names), display)
    shown = [chart["name"] for chart in two["charts"]]
    assert shown == ["error, mean over seeds", "error by rate", "error by loss"]
    assert all(chart["source"].startswith("data:image/png;base64,") for chart in two["charts"])


def test_a_sweep_of_two_settings_without_any_metric_has_no_charts():
    grid = {"rate": list(RATES), "loss": ["hinge", "wgan"]}
    names = cells(("rate", RATES), ("loss", ("hinge", "wgan")))
    metrics = {name: {} for name in names}
    content = sweep_content(sweep_of(grid, names), metrics, Display())
    assert content == {"charts": [], "best": None, "others": []}


def test_cells_without_values_leave_gaps():
    names = cells(("rate", RATES))
    metrics = metrics_of(names)
    metrics[names[0]] = {}
    metrics[names[1]]["error"] = {"mean": math.inf, "per_seed": [None, 10**400], "interval_95": 3}
    found = sweep_content(sweep_of({"rate": list(RATES)}, names), metrics, Display())
    assert len(found["charts"]) == 1 and found["best"] is None
