"""The pipeline on sides that sleep on a clock of their own: every number is known."""

import benchmark_sides
import pytest

from benchmarks import measuring, records, summaries
from benchmarks.contract import PEER, Benchmark, Side
from benchmarks.processes import WorkerError

HERE = "/benchmark_sides"
PEAK = {"products": Side(f"{HERE}:sleep", {"seconds": 1.0, "count": 100.0, "name": "peak"})}


@pytest.fixture(autouse=True)
def fresh():
    benchmark_sides.CALLS.clear()


def side(seconds, name, role="ours", **more):
    return Side(f"{HERE}:sleep", {"seconds": seconds, "count": 6.0, "name": name}, role, **more)


def benchmark(**changes):
    made = Benchmark(
        name="sleeping",
        family="tests",
        size="small",
        unit="naps",
        sides={"ours": side(2.0, "ours"), "peer": side(3.0, "peer", PEER)},
        flops=5.0,
        unchecked="sleep computes nothing",
    )
    return made._replace(**changes)


def measured(made, plan=None):
    plan = plan or measuring.Plan(rounds=3)
    peaks = measuring.Peaks(benchmark_sides.Process, plan, PEAK)
    benchmark_sides.CALLS.clear()
    return measuring.measure(made, plan, peaks, benchmark_sides.Process)


def test_every_side_is_sampled_once_a_round_in_an_order_that_turns():
    measured(benchmark())
    prepared = ["ours", "ours", "peer", "peer"]
    rounds = ["ours", "peer", "peak", "peer", "peak", "ours", "peak", "ours", "peer"]
    assert benchmark_sides.CALLS == prepared + rounds


def test_the_record_has_the_seconds_that_passed():
    record = measured(benchmark())
    assert record["sides"]["ours"]["seconds"] == [2.0] * 3
    assert record["sides"]["peer"]["seconds"] == [3.0] * 3
    stages = record["sides"]["ours"]["stages"]
    assert (stages["first"], stages["warm"], stages["compile"]) == (2.0, 2.0, 0.0)
    assert record["peaks"] == {"products": [100.0] * 3}
    assert record["checks"] == {"unchecked": "sleep computes nothing"}
    assert record["sides"]["ours"]["memory"]["peak"] > 0


def test_the_row_has_the_ratio_and_the_share_of_the_peak():
    row = summaries.row(measured(benchmark()))
    assert row.rate.value == pytest.approx(3.0)  # six naps in two seconds
    assert row.peer == "peer" and row.ratio.value == pytest.approx(1.5)
    assert row.peak_share == pytest.approx(5.0 * 3.0 / 100.0)


def test_a_slow_minute_falls_on_all_and_leaves_the_ratio():
    # the two calls of preparation, then a round of each speed
    series = [1.0, 1.0, 1.0, 10.0, 4.0]
    sides = {
        name: Side(f"{HERE}:sleeps", {"series": [factor * s for s in series]}, role)
        for name, factor, role in (("ours", 1.0, "ours"), ("peer", 2.0, PEER))
    }
    row = summaries.row(measured(benchmark(sides=sides)))
    assert row.ratio == (2.0, 2.0, 2.0)
    assert row.rate.low < row.rate.high


def test_short_calls_are_repeated_until_a_sample_is_long_enough():
    record = measured(benchmark(sides={"ours": side(0.03, "ours")}))
    assert (
        record["sides"]["ours"]["calls"] == 7
    )  # of which six are shorter than a fifth of a second
    assert records.rates(record["sides"]["ours"]) == pytest.approx([6.0 / 0.03] * 3)
    assert measuring.calls_of(0.0, measuring.Plan()) == measuring.MOST_CALLS


def test_a_quick_run_makes_one_call_of_one_step_and_leaves_slow_sides_out():
    sides = {"ours": side(0.001, "ours"), "slow": side(1.0, "slow", PEER, slow=True)}
    record = measured(benchmark(sides=sides), measuring.Plan(rounds=1, quick=True))
    assert list(record["sides"]) == ["ours"] and record["sides"]["ours"]["calls"] == 1
    with_steps = Side("any:side", {"steps": 50, "seeds": 8})
    assert measuring.options_of(with_steps, measuring.Plan(quick=True)) == {"steps": 1, "seeds": 8}
    assert measuring.options_of(with_steps, measuring.Plan()) == with_steps.options


def test_a_side_that_cannot_be_prepared_is_said_and_the_others_measured():
    sides = {"ours": side(2.0, "ours"), "gone": Side(f"{HERE}:broken", {}, PEER)}
    record = measured(benchmark(sides=sides))
    assert "no such peer" in record["sides"]["gone"]["error"]
    assert summaries.row(record).ratio is None


def test_sides_that_are_not_equal_are_never_timed():
    with pytest.raises(WorkerError, match="do not compute the same"):
        measured(benchmark(check=Side(f"{HERE}:unequal")))
    assert benchmark_sides.CALLS == []


def test_a_check_that_several_share_is_made_once():
    known, plan = {}, measuring.Plan(rounds=1)
    peaks = measuring.Peaks(benchmark_sides.Process, plan, PEAK)
    made = benchmark(check=Side(f"{HERE}:equal", {"calls": True}))
    benchmark_sides.CALLS.clear()
    for _ in range(2):
        record = measuring.measure(made, plan, peaks, benchmark_sides.Process, known)
        assert record["checks"] == {"loss": {"loss": 0.0}}
    assert benchmark_sides.CALLS.count("check") == 1


def test_a_check_without_its_peer_says_so_and_the_rest_is_measured():
    record = measured(benchmark(check=Side(f"{HERE}:without_peer")))
    assert "No module named 'torch'" in record["checks"]["unchecked"]
    assert record["sides"]["ours"]["seconds"]


def test_what_the_check_found_is_kept():
    assert measured(benchmark(check=Side(f"{HERE}:equal")))["checks"] == {"loss": {"loss": 0.0}}


def test_the_fastest_peer_counts():
    sides = {
        "ours": side(2.0, "ours"),
        "slow peer": side(8.0, "slow peer", PEER),
        "fast peer": side(1.0, "fast peer", PEER),
    }
    row = summaries.row(measured(benchmark(sides=sides)))
    assert (row.peer, row.ratio.value) == ("fast peer", 0.5)
