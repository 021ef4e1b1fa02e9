"""The matrix of arms and headline values, on small tables worked out by hand."""

import pytest

from dgm_jax.report.display import Display, display_of
from dgm_jax.report.headline import format_matrix, matrix, metric_groups
from dgm_jax.report.table import format_sweep


def summary(mean, per_seed=(1.0, 2.0), interval=(0.0, 3.0)):
    return {"mean": mean, "per_seed": list(per_seed), "interval_95": list(interval)}


METRICS = {
    "a": {"fid": summary(3.0), "valid": summary(0.5), "perfect_valid": summary(0.99)},
    "b": {"fid": summary(1.0), "valid": summary(0.25), "perfect_valid": summary(0.99)},
    "c": {"fid": summary(None, [None, None]), "valid": summary(0.75, [0.75, None])},
}
DISPLAY = Display(
    headline=("fid", "valid", "perfect_valid", "not_measured"),
    better={"fid": "lower", "valid": "higher"},
    levels={"valid": "perfect_valid"},
    explanations={"fid": "A distance."},
)


def test_arms_are_ranked_and_the_best_of_each_column_is_marked():
    found = matrix(METRICS, DISPLAY)
    assert [column.name for column in found.columns] == ["fid", "valid"]
    assert [arm for arm, _ in found.rows] == ["b", "a", "c"] and found.ranked_by == "fid"
    best = {arm: [cell.best for cell in cells] for arm, cells in found.rows}
    assert best == {"b": [True, False], "a": [False, False], "c": [False, True]}
    assert [cell.seeds for cell in dict(found.rows)["c"]] == ["0 of 2", "1 of 2"]
    assert found.columns[1].level == "perfect_valid 0.9900"
    assert (found.columns[0].explanation, found.columns[0].better) == ("A distance.", "lower")


@pytest.mark.parametrize(
    "display, order, ranked_by",
    [
        (Display(headline=("fid", "valid")), ["a", "b", "c"], None),
        (Display(headline=("fid", "valid"), better={"valid": "higher"}), ["c", "a", "b"], "valid"),
        (Display(headline=("fid", "valid"), rank_by="valid"), ["b", "a", "c"], "valid"),
    ],
)
def test_the_order_is_that_of_the_stated_direction(display, order, ranked_by):
    found = matrix(METRICS, display)
    assert [arm for arm, _ in found.rows] == order and found.ranked_by == ranked_by


def test_equal_arms_have_no_best_and_nothing_measured_has_no_matrix():
    equal = {arm: {"fid": summary(1.0)} for arm in "ab"}
    assert not matrix(equal, DISPLAY).marked
    assert matrix({"a": {}}, DISPLAY) is None
    # without a headline the first eight metrics
    many = {"a": {f"m{i}": summary(1.0) for i in range(20)}}
    assert len(matrix(many, Display()).columns) == 8


def test_published_values_stand_in_their_cells():
    rows = [{"arm": "a", "metric": "fid", "published": 2.0}, {"arm": "x", "metric": "fid"}]
    found = dict(matrix(METRICS, DISPLAY, rows).rows)
    assert found["a"][0].published == [rows[0]] and found["b"][0].published == []


def test_levels_that_differ_between_arms_are_named_by_arm():
    metrics = {
        "a": {"valid": summary(0.5), "floor": summary(1.0)},
        "b": {"valid": summary(0.5), "floor": summary(2.0)},
    }
    display = Display(levels={"valid": "floor"})
    assert display.level(metrics, "valid") == {"floor of a": 1.0, "floor of b": 2.0}
    metrics["b"]["floor"] = summary(1.001)
    assert display.level(metrics, "valid") == pytest.approx({"floor": 1.0005})
    assert display.level(metrics, "floor") == {}


def test_a_level_that_was_not_measured_is_not_shown():
    metrics = {"a": {"valid": summary(0.5)}}
    (group,) = metric_groups(metrics, Display(levels={"valid": "floor"}))
    assert group["name"] == "valid" and group["level"] == ""
    metrics["a"]["floor"] = summary(1.0)
    (group,) = metric_groups(metrics, Display(levels={"valid": "floor"}))
    assert "1" in group["level"]


def test_the_terminal_has_the_same_matrix():
    lines = format_matrix(matrix(METRICS, DISPLAY)).splitlines()
    assert lines[0].split() == ["arm", "fid", "valid"]
    assert lines[2].split() == ["b", *"* 1.000 [0, 3.000]".split(), *"0.2500 [0, 3.000]".split()]
    assert lines[-1] == "* best mean of its column" and len({len(x) for x in lines[:5]}) == 1
    whole = {"metrics": METRICS, "failed_seeds": [{"seed": 1, "arm": "c"}]}
    shown = format_sweep(whole, DISPLAY._asdict())
    assert shown.splitlines() == [*lines, "failed: seed 1 of c"]
    assert "\x1b" not in format_matrix(matrix({"\x1b[2J": METRICS["a"]}, DISPLAY))


def test_what_a_file_says_wrongly_is_left_out():
    odd = {
        "headline": 3,
        "better": {"a": "upwards", "b": "lower"},
        "ranges": {"a": [0], "b": [0, "x"], "c": [None, 1]},
        "levels": [],
        "rank_by": {},
    }
    found = display_of(odd, [])
    assert found == Display(better={"b": "lower"}, ranges={"c": (None, 1)})
    assert display_of(None) == Display()
