"""trackio's own data base, in a folder of the test."""

import importlib.util
import json
import sqlite3

import pytest
import tracked_run
from tracked_run import ARM, MEANS, SEEDS

from dgm_jax.trackers.trackio import Trackio

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("trackio") is None,
    reason="needs extra trackio, in an environment of its own",
)


def test_two_parts_of_a_run_are_one(tmp_path, monkeypatch):
    """Under one name, read from SQLite."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    have, notices = tracked_run.track(Trackio, tmp_path)
    assert have == [-1, 10] and not notices
    (file,) = (tmp_path / "store").glob("tiny*.db")
    with sqlite3.connect(file) as base:
        rows = base.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step").fetchall()
        names = {name for name, *_ in rows}
        (config,) = base.execute("SELECT DISTINCT config FROM configs").fetchone()
    assert names == {"a-c0ffee"} and json.loads(config)["rate"] == 0.1
    logged = [(step, json.loads(metrics)) for _, step, metrics in rows]
    values = [(step, row) for step, row in logged if "total_step" in row]
    assert [step for step, _ in values] == [10, 20]
    for name, expected in (MEANS | SEEDS).items():
        assert [row[f"{ARM}/{name}"] for _, row in values] == expected
    assert [step for step, row in logged if f"{ARM}/red" in row] == [10, 20]
    assert logged[-1][1][f"final/{ARM}/error"] == 0.5
