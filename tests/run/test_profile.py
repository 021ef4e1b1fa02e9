"""`--profile`: a trace of some steps in the run folder, of a run that is otherwise the same."""

import gzip
import json

import pytest
from tiny_game import run, summary_of

from dgm_jax.run.profile import Profile


def test_a_trace_lies_in_the_folder_and_changes_nothing(undisturbed, tmp_path, capfd):
    assert run(tmp_path, "--profile") == 0
    told = capfd.readouterr().err
    assert told.count("profile: ") == 1 and f"profile: {tmp_path}/profile, for" in told
    (trace,) = tmp_path.glob("profile/plugins/profile/*/*.trace.json.gz")
    assert list(trace.parent.glob("*.xplane.pb"))
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert any(event.get("dur", 0) > 0 for event in events)
    ours, plain = summary_of(tmp_path), summary_of(undisturbed)
    assert ours["final_params_sha256"] == plain["final_params_sha256"]


@pytest.fixture
def calls(monkeypatch):
    found = []
    monkeypatch.setattr("jax.profiler.start_trace", lambda folder: found.append(folder))
    monkeypatch.setattr("jax.profiler.stop_trace", lambda: found.append("stop"))
    return found


def test_one_part_is_traced_and_no_other(calls, tmp_path):
    told = []
    profile = Profile(tmp_path, told.append)
    for _ in range(5):
        profile.between_parts()
    profile.end()
    assert calls == [str(tmp_path / "profile"), "stop"] and len(told) == 1


def test_a_trace_ends_with_its_training(calls, tmp_path):
    """A signal or an error comes in the midst of it."""
    profile = Profile(tmp_path, lambda text: None)
    profile.between_parts()
    profile.end()
    assert calls[-1] == "stop"


def test_nothing_is_traced_unasked(calls):
    profile = Profile(None, pytest.fail)
    profile.between_parts()
    profile.end()
    assert calls == []
