"""Metrics by arm in memory, and their names in summary.json."""

import json

import pytest

from dgm_jax.report.summaries import flattened, nested, split_name

ROW = {"published": 1.0, "spread": None, "source": "s"}


@pytest.mark.parametrize(
    "arms, names",
    [
        (["vanilla"], ["modes", "g.loss"]),
        (["vanilla", "packed2"], ["vanilla/modes", "vanilla/g.loss", "packed2/modes"]),
        (["torus", "torus/avb"], ["torus/modes", "torus/g.loss", "torus/avb/modes"]),
        (["torus/avb"], ["modes", "g.loss"]),
    ],
)
def test_names_in_the_file_and_back(arms, names):
    """One arm's metrics have their plain names, those of several arms `arm/metric`."""
    metrics = {arms[0]: {"modes": {"mean": 1.0}, "g.loss": {"mean": 2.0}}}
    metrics |= {arm: {"modes": {"mean": 3.0}} for arm in arms[1:]}
    reference = [{"arm": arm, "metric": "modes", **ROW} for arm in arms]
    summary = {"arms": arms, "metrics": metrics, "reference": reference, "notes": ["n"]}
    flat = flattened(summary)
    assert list(flat["metrics"]) == names
    assert [row["metric"] for row in flat["reference"]] == [n for n in names if "modes" in n]
    assert all(set(row) == {"metric", *ROW} for row in flat["reference"])
    assert nested(json.loads(json.dumps(flat))) == summary


def test_an_arm_without_metrics_is_still_an_arm():
    assert nested({"arms": ["a", "b"], "metrics": {"a/x": {}}})["metrics"] == {
        "a": {"x": {}},
        "b": {},
    }


def test_of_an_edited_file_what_is_sound_is_read():
    odd = nested({"arms": 7, "metrics": {"a": 1, "b": {"mean": "x"}}, "reference": ["x", {}]})
    assert odd["arms"] == [] and odd["metrics"] == {"": {"b": {"mean": "x"}}}
    assert odd["reference"] == [{"arm": "", "metric": ""}]
    assert nested({})["metrics"] == {}


def test_the_longest_arm_that_fits():
    assert split_name("a/b/modes", ["a", "a/b"]) == ("a/b", "modes")
    assert split_name("c/modes", ["a", "a/b"]) == ("", "c/modes")
    assert split_name("a/modes", ["a"]) == ("a", "a/modes")  # names are plain with one arm
