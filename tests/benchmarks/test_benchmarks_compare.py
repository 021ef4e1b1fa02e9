"""Which rows changed between two runs: sleeps, and products of two sizes, of known seconds."""

import math

import numpy as np
import pytest

from benchmarks import compare, records

FLOPS = 1e11  # of the machine that the products are on


def record(seconds, name="case", device="abacus", jaxlib="1.0", peaks=None):
    side = {"role": "ours", "count": 1, "calls": 1, "seconds": list(seconds)}
    return {
        "format": records.FORMAT,
        "name": name,
        "device": {"key": device},
        "environment": {"versions": {"jaxlib": jaxlib}},
        "peaks": peaks or {},
        "sides": {"ours": side},
    }


def noisy(seconds, seed, spread=0.01):
    """Nine samples of a machine that is now and then late."""
    return seconds * np.exp(spread * np.abs(np.random.default_rng(seed).normal(size=9)))


def product(size):
    return 2 * size**3 / FLOPS


@pytest.mark.parametrize(
    "before, after, expected",
    [
        (0.010, 0.011, "slower"),
        (0.011, 0.010, "faster"),
        (0.010, 0.010, "same"),
        (product(512), product(1024), "slower"),
        (product(1024), product(512), "faster"),
        (product(512), product(512), "same"),
    ],
)
def test_known_sleeps_and_products(before, after, expected):
    (change,) = compare.compare([record(noisy(before, 0))], [record(noisy(after, 1))])
    assert change.verdict == expected
    assert change.speedup.value == pytest.approx(before / after, rel=0.03)
    assert change.speedup.low <= change.speedup.value <= change.speedup.high


def test_products_of_twice_the_size_are_eight_times_slower():
    first, second = record([product(512)] * 9), record([product(1024)] * 9)
    (change,) = compare.compare([first], [second])
    assert change.speedup == pytest.approx((1 / 8, 1 / 8, 1 / 8))


def test_samples_that_scatter_widely_decide_nothing():
    scattered = [0.004, 0.005, 0.006, 0.007, 0.010, 0.013, 0.016, 0.020, 0.025]
    (change,) = compare.compare([record([0.010] * 9)], [record(scattered)])
    assert change.verdict == "open"
    assert change.speedup.low < 0.8 and change.speedup.high > 1.2


def test_what_is_within_the_margin_is_no_change():
    first, second = record([1.0] * 9), record([1.02] * 9)
    assert compare.compare([first], [second])[0].verdict == "same"
    assert compare.compare([first], [second], margin=0.01)[0].verdict == "slower"
    assert compare.verdict(compare.Interval(1.0, 0.0, math.inf)) == "open"


def test_the_machines_own_peaks_stand_beside():
    slower = record([2.0] * 9, peaks={"products": [50.0] * 9})
    faster = record([1.0] * 9, peaks={"products": [100.0] * 9})
    changes = compare.compare([slower], [faster])
    assert [(c.side, c.speedup.value) for c in changes] == [("(peak of products)", 2), ("ours", 2)]


def test_rows_of_several_processors_are_compared_each_with_its_own():
    before = [record([1.0] * 9, device="abacus"), record([5.0] * 9, device="slide_rule")]
    after = [record([1.0] * 9, device="abacus"), record([2.5] * 9, device="slide_rule")]
    found = {change.name: change.verdict for change in compare.compare(before, after)}
    assert found == {"abacus/jaxlib_1_0/case": "same", "slide_rule/jaxlib_1_0/case": "faster"}


def test_runs_of_one_processor_each_are_compared_by_name():
    before, after = [record([1.0] * 9)], [record([1.0] * 9, device="slide_rule")]
    assert [change.name for change in compare.compare(before, after)] == ["case"]


def test_the_lines_begin_with_what_changed(tmp_path):
    for folder, seconds in (("a", (1.0, 1.0)), ("b", (1.0, 2.0))):
        for name, value in zip(("first", "second"), seconds, strict=True):
            records.write(tmp_path / folder, record([value] * 9, name=name))
    lines = compare.show(tmp_path / "a", tmp_path / "b", 0.03).splitlines()
    assert lines[1].startswith("slower") and lines[1].endswith("second, ours")
    assert lines[2].startswith("same") and lines[2].endswith("first, ours")
    assert "no benchmark is in both" in compare.show(tmp_path / "a", tmp_path / "none", 0.03)
