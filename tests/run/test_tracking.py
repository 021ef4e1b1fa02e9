"""Runs with trackers: whatever a tracker does, the run does the same."""

import os
import signal
import threading
import time

import matplotlib.figure
import pytest
import tiny_game
from tiny_game import rows_of, run, summary_of

from dgm_jax import trackers
from dgm_jax.run import resuming, tracking
from dgm_jax.run.settings import LaunchConfig, Tracker
from dgm_jax.terminal import console
from dgm_jax.trackers import registry, worker


class Listener:
    """A tracker that keeps what it gets, in the order of the calls."""

    def __init__(self, last=-1):
        self.last = last
        self.calls = []

    def start(self, run, notify):
        self.run = run
        return self.last

    def log(self, record):
        self.calls.append(record)

    def picture(self, picture):
        self.calls.append(picture)

    def end(self, status, summary):
        self.calls.append((status, summary))

    def records(self):
        return [call for call in self.calls if isinstance(call, trackers.Record)]


class Raises(Listener):
    """Raises at its second record, with an error that Python takes for the end of the program."""

    def log(self, record):
        super().log(record)
        if len(self.calls) == 2:
            raise SystemExit("the server is gone")


class Hangs(Listener):
    """Does not come back from its first record."""

    def log(self, record):
        threading.Event().wait(1000)


class Slow(Listener):
    """Takes a while for each record."""

    def log(self, record):
        time.sleep(0.02)
        super().log(record)


@pytest.fixture
def installed_tracker(monkeypatch):
    """Puts a tracker in the place of wandb."""

    def install(tracker):
        entry = registry.Entry("json", lambda: tracker)
        monkeypatch.setitem(trackers.TRACKERS, "wandb", entry)
        return tracker

    return install


@pytest.fixture
def brief(monkeypatch):
    """Waits for trackers are short, and the process does not end with one that hangs."""
    monkeypatch.setattr(tracking, "END_SECONDS", 0.2)
    monkeypatch.setattr(tracking, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(console, "_leaves_threads_behind", False)


def test_a_tracker_gets_every_row(tmp_path, installed_tracker):
    """Also of arms of two programs, whose steps are counted on; pictures come before the values."""
    tracker = installed_tracker(Listener())

    def snapshots(result, inputs, step):
        return {"w": (matplotlib.figure.Figure(), f"at {step}")}

    def plots(results, inputs):
        return {"both": (matplotlib.figure.Figure(), "the end")}

    experiment = tiny_game.tiny(snapshots=snapshots, plots=plots)
    flags = "--kind plain half --trackers wandb".split()
    assert run(tmp_path / "a", *flags, experiment=experiment) == 0
    assert [record.total_step for record in tracker.records()] == [10, 20, 30, 40, 50, 60]
    assert [record.step for record in tracker.records()] == [10, 20, 30, 10, 20, 30]
    for row, record in zip(rows_of(tmp_path / "a"), tracker.records(), strict=True):
        values = {name: value for name, value in row.items() if name not in ("step", "arm")}
        assert record.values == {row["arm"]: values}
    kinds = [type(call).__name__ for call in tracker.calls]
    assert kinds == ["Picture", "Record"] * 6 + ["Picture", "tuple"]
    titles = [call.title for call in tracker.calls if isinstance(call, trackers.Picture)]
    assert titles == ["plain/w"] * 3 + ["half/w"] * 3 + ["both"]
    assert all(c.path.exists() for c in tracker.calls if isinstance(c, trackers.Picture))
    status, means = tracker.calls[-1]
    metrics = summary_of(tmp_path / "a")["metrics"]
    assert status == "finished" and means["half/error"] == pytest.approx(
        sum(metrics["half/error"]["per_seed"]) / 3
    )
    assert tracker.run.settings["rate"] == 0.1 and tracker.run.name == "a"


def test_an_experiment_brings_a_tracker_of_its_own(tmp_path, installed_tracker, capfd):
    """Beside another one; under the name of one that there is, it is refused."""
    chosen = installed_tracker(Listener())
    own = Listener()
    experiment = tiny_game.tiny(trackers={"own": lambda: own})
    assert run(tmp_path / "a", "--trackers", "wandb", experiment=experiment) == 0
    assert own.records() == chosen.records() and len(own.records()) == 3
    taken = tiny_game.tiny(trackers={"wandb": lambda: own})
    assert run(tmp_path / "b", experiment=taken) == 2
    assert "tracker of its own named ['wandb']" in capfd.readouterr().err


@pytest.mark.parametrize("kind", [Raises, Hangs, Slow])
def test_a_bad_tracker_changes_no_bit(
    kind, tmp_path, installed_tracker, undisturbed, brief, monkeypatch, capfd
):
    tracker = installed_tracker(kind())
    if kind is Slow:
        monkeypatch.setattr(tracking, "END_SECONDS", 600.0)
    assert run(tmp_path / "a", "--trackers", "wandb") == 0
    assert (
        summary_of(tmp_path / "a")["final_model_sha256"]
        == (summary_of(undisturbed)["final_model_sha256"])
    )
    notices = [line for line in capfd.readouterr().err.splitlines() if "tracker" in line]
    reasons = {
        Raises: ["SystemExit: the server is gone"],
        Hangs: ["it has not taken everything in time"],
        Slow: [],
    }[kind]
    assert notices == [
        f"tracker wandb is dropped: {reason}; the run does without it" for reason in reasons
    ]
    assert console._leaves_threads_behind == (kind is not Slow)
    if kind is Slow:
        assert len(tracker.records()) == 3 and tracker.calls[-1][0] == "finished"


def test_a_tracker_that_hangs_is_dropped_in_the_run(
    tmp_path, installed_tracker, brief, monkeypatch, capfd
):
    """At the next record, and said once."""
    installed_tracker(Hangs())
    monkeypatch.setattr(worker, "CALL_SECONDS", 0.0)
    assert run(tmp_path / "a", "--trackers", "wandb", "--log_every", "1") == 0
    errors = capfd.readouterr().err
    assert errors.count("tracker wandb is dropped: it has not answered for 0 s") == 1


def test_a_tracker_that_is_far_behind_is_dropped(
    tmp_path, installed_tracker, brief, monkeypatch, capfd
):
    installed_tracker(Hangs())
    monkeypatch.setattr(worker, "QUEUE_LENGTH", 2)
    assert run(tmp_path / "a", "--trackers", "wandb", "--log_every", "1") == 0
    assert capfd.readouterr().err.count("tracker wandb is dropped: it is 2 steps behind") == 1


@pytest.mark.parametrize("kind", [Listener, Hangs])
def test_a_signal_ends_the_tracker_too(kind, tmp_path, installed_tracker, brief, installed):
    """And the run continues in the same tracker run, where no step comes twice."""
    tracker = installed_tracker(kind())
    stopping = tiny_game.stopping(signal.SIGTERM, 2)
    flags = ("--trackers", "wandb")
    assert run(tmp_path / "a", *flags, experiment=stopping) == 143
    first = tracker.records()
    if kind is Listener:
        assert tracker.calls[-1] == ("stopped", {})
        assert [record.step for record in first] == [10, 20]
    second = installed_tracker(Listener(last=first[-1].total_step if first else -1))
    installed(tiny_game.tiny())
    assert resuming.resume(resuming.Resume(str(tmp_path / "a"))) == 0
    assert second.run.run_id == tracker.run.run_id
    steps = [record.step for record in [*first, *second.records()]]
    assert steps == [10, 20, 30]  # those that a tracker missed come later


def test_a_run_without_rows_is_not_tracked(tmp_path, installed_tracker):
    """A tracker would keep a run of which nothing else is left."""
    tracker = installed_tracker(Listener())
    interrupted = tiny_game.tiny(load=lambda settings, needed: os.kill(os.getpid(), signal.SIGINT))
    assert run(tmp_path / "a", "--trackers", "wandb", experiment=interrupted) == 130
    assert not tracker.calls and not hasattr(tracker, "run")


def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(trackers.TRACKERS, "mlflow", registry.Entry("no_such_package", Listener))
    assert run(tmp_path / "a", "--trackers", "mlflow") == 2
    assert 'pip install "dgm_jax[mlflow]"' in capfd.readouterr().err
    assert not (tmp_path / "a").exists()


def test_a_run_with_all_seeds_failed_is_a_failed_one(tmp_path, installed_tracker):
    """Its values are those of the seeds that had not failed."""
    tracker = installed_tracker(Listener())
    poison = sorted(map(tiny_game.first_number, range(3)))[1]  # one seed is above it
    assert run(tmp_path / "a", "--trackers", "wandb", "--poison", str(poison)) == 0
    named = tracker.records()[-1].named()
    row = rows_of(tmp_path / "a")[-1]
    good = [i for i, value in enumerate(row["error"]) if value is not None]
    assert len(good) == 2
    assert {f"plain/error/seed_{i}" for i in good} | {"plain/error/mean"} == {
        name for name in named if "/error/" in name
    }
    assert named["plain/error/mean"] == pytest.approx(sum(row["error"][i] for i in good) / 2)
    tracker = installed_tracker(Listener())
    assert run(tmp_path / "b", "--trackers", "wandb", "--poison=-1e9") == 6
    assert tracker.calls[-1][0] == "failed"


def test_the_flag_takes_every_tracker():
    assert set(Tracker.__args__) == set(trackers.TRACKERS)
    assert LaunchConfig().trackers == ()
