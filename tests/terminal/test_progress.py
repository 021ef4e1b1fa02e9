"""What is written to a terminal, a log file and a pipe."""

import io
import json
import os
import pty
import re
import signal
import threading

import numpy as np
import pytest
import rich.console

from dgm_jax.core import ConfigError
from dgm_jax.terminal import progress, texts
from dgm_jax.terminal.progress import Progress
from dgm_jax.terminal.signals import Interrupted


class Clock:
    """Time that the test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def session(mode, *, interval=5.0):
    stream, clock = io.StringIO(), Clock()
    return Progress(mode, stream, interval=interval, clock=clock), stream, clock


def run_ten_steps(shown, clock, seconds=1.0, failed_from=8):
    with shown.phase("compiling vanilla"):
        clock.now += 3.2
    with shown.training("vanilla", total=100, num_seeds=5):
        for step in range(10, 101, 10):
            clock.now += seconds
            failed = {3: 70} if step // 10 >= failed_from else {}
            shown.update(step, {"modes": np.array([1.0, 2.0, 3.0, np.nan, 6.0])}, failed)


def test_lines_are_plain_few_and_complete():
    shown, stream, clock = session("lines")
    with shown:
        run_ten_steps(shown, clock)
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["compiling vanilla ...", "compiling vanilla: 3.2 s"]
    steps = [int(m.group(1)) for line in lines if (m := re.match(r"vanilla (\d+)/100", line))]
    # the first, one per 5 s, the one at which a seed failed, the last
    assert steps == [10, 60, 80, 100]
    assert re.match(r"[\x20-\x7e\n]+\Z", stream.getvalue())
    first = next(line for line in lines if line.startswith("vanilla 10/100"))
    assert "(10 %)" in first and "50 seed-steps/s" in first and "ETA 9 s" in first
    assert "seeds: 5 ok" in first and "modes 3" in first
    assert "4 ok, 1 diverged at step 70 (seed 3)" in lines[-1]


def test_short_phases_within_training_do_not_flood_a_log():
    shown, stream, clock = session("lines")
    with shown.training("a", total=100, num_seeds=1):
        for step in range(1, 101):
            clock.now += 0.1
            with shown.phase("evaluating"):
                clock.now += 0.01
            shown.update(step)
    assert len(stream.getvalue().splitlines()) <= 10


def test_json_is_one_strict_object_per_event():
    shown, stream, clock = session("json")
    with shown:
        shown.notice("hello\nworld")
        run_ten_steps(shown, clock)
    events = [
        json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().splitlines()
    ]
    assert [e["event"] for e in events] == (
        ["notice", "phase_start", "phase_end", "training_start"]
        + ["progress"] * 10
        + ["training_end"]
    )
    assert events[2]["seconds"] == pytest.approx(3.2) and events[2]["outcome"] == "done"
    last = events[-2]
    assert last["metrics"] == {"modes": [1.0, 2.0, 3.0, None, 6.0]} and last["failed"] == {"3": 70}
    assert last["seed_steps_per_second"] == pytest.approx(50.0) and last["eta_seconds"] == 0.0


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (Interrupted(signal.SIGTERM), "interrupted"),
        (ValueError(), "failed"),
    ],
)
def test_how_training_ended_is_said(error, outcome):
    """A run that a signal stopped, with its state saved, has not failed."""
    shown, stream, clock = session("json")
    with pytest.raises(type(error)):
        with shown.training("a", total=100, num_seeds=1):
            with shown.phase("saving"):
                raise error
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [e["outcome"] for e in events if e["event"].endswith("_end")] == [outcome, outcome]


def test_rate_counts_from_the_step_of_the_resume():
    shown, stream, clock = session("json")
    with shown.training("a", total=1000, num_seeds=2, first_step=900):
        clock.now += 2.0
        shown.update(950)
    event = next(
        e for e in map(json.loads, stream.getvalue().splitlines()) if e["event"] == "progress"
    )
    assert event["seed_steps_per_second"] == pytest.approx(50.0) and event[
        "eta_seconds"
    ] == pytest.approx(2.0)


def test_compiling_within_training_does_not_count_for_the_rate():
    shown, stream, clock = session("json")
    with shown.training("a", total=100, num_seeds=1):
        with shown.phase("compiling"):
            clock.now += 30.0
            with shown.phase("lowering"):
                clock.now += 20.0
        clock.now += 5.0
        shown.update(10)
    event = next(
        e for e in map(json.loads, stream.getvalue().splitlines()) if e["event"] == "progress"
    )
    assert event["seed_steps_per_second"] == pytest.approx(2.0) and event[
        "eta_seconds"
    ] == pytest.approx(45.0)


def test_what_goes_on_beside_the_training_counts_only_where_it_is_waited_for():
    """Compiling for 12 s beside 5 s of steps, then 7 s of waiting for the rest of it."""
    shown, stream, clock = session("json")
    with shown.training("a", total=100, num_seeds=1):
        with shown.alongside(), shown.phase("compiling"):
            clock.now += 5.0
            shown.running(10)
            clock.now += 7.0
        shown.waited(7.0)
        shown.update(10)
    rates = [e["seed_steps_per_second"] for e in events_of(stream, "running")]
    rates += [e["seed_steps_per_second"] for e in events_of(stream, "progress")]
    assert rates == [pytest.approx(2.0), pytest.approx(2.0)]
    with pytest.raises(RuntimeError, match="waited belongs inside"):
        shown.waited(1.0)


def events_of(stream, kind):
    return [e for e in map(json.loads, stream.getvalue().splitlines()) if e["event"] == kind]


def test_the_time_left_is_that_of_all_arms():
    """Three programs of 100 steps for 2 arms of 2 seeds, 1 arm and 3 arms; 8 seconds a seed and
    step."""
    shown, stream, clock = session("json")
    shown.plan([(2, 4), (1, 2), (3, 6)])
    left = lambda done: 8.0 * (100 * (4 + 2 + 6) - done)
    before = 0
    for name, lanes in (("a", 4), ("b", 2), ("c", 6)):
        with shown.training(name, total=100, num_seeds=lanes):
            for step in (25, 50, 100):
                clock.now += 8.0 * lanes * (step - (0, 25, 50)[(25, 50, 100).index(step)])
                shown.update(step)
                event = events_of(stream, "progress")[-1]
                assert event["eta_seconds"] == pytest.approx(left(before + step * lanes))
                assert event["eta_seconds_of_these_arms"] == pytest.approx(
                    8.0 * lanes * (100 - step)
                )
        before += 100 * lanes
    places = [e["arms"] for e in events_of(stream, "training_start")]
    assert places == [[1, 2, 6], [3, 3, 6], [4, 6, 6]]


def test_the_arms_to_come_of_a_resumed_run_count_in_full():
    shown, stream, clock = session("json")
    shown.plan([(1, 2), (1, 2), (1, 2)])
    with shown.training("done before", total=100, num_seeds=2, first_step=100):
        pass
    with shown.training("at work", total=100, num_seeds=2, first_step=60):
        clock.now += 10.0
        shown.update(80)
    (event,) = events_of(stream, "progress")
    assert event["arms"] == [2, 2, 3]
    assert event["eta_seconds"] == pytest.approx(10.0 + 50.0)


@pytest.mark.parametrize("mode", ["lines", "rich"])
def test_a_line_says_which_arm_and_what_the_time_left_covers(mode):
    shown, stream, clock = session(mode)
    block = lambda: ""
    if mode == "rich":
        shown._sink.console = rich.console.Console(file=stream, width=200)
        block = lambda: shown._sink.console.print(shown._sink.block())
    shown.plan([(1, 5), (1, 5)])
    with shown:
        with shown.training("vanilla", total=100, num_seeds=5):
            clock.now += 10.0
            shown.update(50)
            block()
            assert "ETA 30 s for all arms at this rate, 10 s for this arm" in stream.getvalue()
            assert "arm 1 of 2" in stream.getvalue()
        with shown.training("r1", total=100, num_seeds=5):
            clock.now += 10.0
            shown.update(50)
            block()
            assert "arm 2 of 2" in stream.getvalue()
            assert re.search(r"ETA 10 s\s*(arm|seeds|$)", stream.getvalue(), re.MULTILINE)


@pytest.mark.parametrize(
    ("arms", "text"),
    [
        (None, ""),
        ([1, 1, 1], ""),
        ([1, 4, 4], "arms 1 to 4 of 4"),
        ([2, 2, 3], "arm 2 of 3"),
        ([2, 4, 8], "arms 2 to 4 of 8"),
    ],
)
def test_arms_text(arms, text):
    assert texts.arms_text(arms) == text


def test_steps_within_a_chunk_move_the_bar_and_are_no_rows():
    """The rate before the first row is that since the beginning; later it leaves out none of what
    is between rows."""
    shown, stream, clock = session("json")
    shown.memory = lambda: 2_500_000
    with shown.training("a", total=100, num_seeds=3):
        clock.now += 4.0
        shown.running(8)
        clock.now += 6.0
        shown.update(20, {"modes": 5.0})
        clock.now += 5.0
        shown.running(10)
    first, second = events_of(stream, "running")
    assert first["metrics"] == {} and second["metrics"] == {"modes": 5.0}
    assert [e["step"] for e in (first, second)] == [8, 30]
    assert first["seed_steps_per_second"] == pytest.approx(3 * 8 / 4)
    assert first["eta_seconds"] == pytest.approx(92 / 2)
    assert second["seed_steps_per_second"] == pytest.approx(3 * 30 / 15)
    assert first["memory_bytes"] == 2_500_000


def test_a_log_file_hears_of_a_long_chunk():
    shown, stream, clock = session("lines")
    shown.memory = lambda: 2_500_000
    with shown.training("a", total=100, num_seeds=1):
        for step in range(1, 20):
            clock.now += 2.0
            shown.running(step)
        assert stream.getvalue().splitlines()[1:] == [
            "a 8/100 (8 %)  0.5 seed-steps/s  ETA 3:04  memory 2.5 MB",
            "a 16/100 (16 %)  0.5 seed-steps/s  ETA 2:48  memory 2.5 MB",
        ]


def test_a_terminal_shows_a_clock_before_the_first_row():
    shown, stream, clock = session("rich")
    shown._sink.console = rich.console.Console(file=stream, width=200)
    shown.memory = lambda: 1_234_000_000
    with shown, shown.training("a", total=100, num_seeds=5):
        clock.now += 75.0
        shown._sink.console.print(shown._sink.block())
        assert "a: first of 100 steps for 5 seeds  1:15  memory 1.23 GB" in stream.getvalue()
        shown.running(50)
        clock.now += 15.0
        shown._sink.console.print(shown._sink.block())
        assert "50/100" in stream.getvalue() and "training  1:30" in stream.getvalue()


@pytest.mark.parametrize(
    "num_bytes, text", [(500, "0.5 kB"), (2.5e6, "2.5 MB"), (1.234e9, "1.23 GB"), (8e12, "8 TB")]
)
def test_units(num_bytes, text):
    assert texts.in_units(num_bytes) == text


def test_quiet_shows_notices_only():
    shown, stream, clock = session("quiet")
    with shown:
        shown.notice("nothing to resume: starting afresh")
        run_ten_steps(shown, clock)
    assert stream.getvalue() == "nothing to resume: starting afresh\n"


@pytest.mark.parametrize(
    "error, word", [(RuntimeError, "failed"), (KeyboardInterrupt, "interrupted")]
)
@pytest.mark.parametrize("mode", ["lines", "rich"])
def test_errors_pass_through_and_are_told(mode, error, word):
    shown, stream, clock = session(mode)
    with pytest.raises(error):
        with shown, shown.training("a", total=10, num_seeds=1):
            with shown.phase("saving"):
                clock.now += 1.5
                raise error()
    assert f"saving: 1.5 s ({word})" in stream.getvalue()
    assert f"a: step 0/10 after 2 s ({word})" in stream.getvalue()


def test_auto_writes_no_control_characters_to_a_file(tmp_path):
    with open(tmp_path / "log", "w") as file, Progress("auto", file) as shown:
        assert shown.mode == "lines"
        with shown.phase("load \x1b[31m\nred"):
            shown.notice("a\x07b")
    text = (tmp_path / "log").read_text()
    assert "load \\x1b[31m\\nred ..." in text and all(c.isprintable() or c == "\n" for c in text)


def test_auto_on_a_terminal_is_live_and_gives_the_cursor_back(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    main, secondary = pty.openpty()
    heard = []

    def listen():
        try:
            while data := os.read(main, 65536):
                heard.append(data)
        except OSError:
            return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    with os.fdopen(secondary, "w") as terminal:
        with Progress("auto", terminal) as shown:
            assert shown.mode == "rich"
            with shown.phase("compiling [bold]vanilla[/bold]"):
                shown.notice("visible")
            with shown.training("vanilla", total=100, num_seeds=5):
                shown.update(50, {"modes": np.full(5, 7.0)}, {3: 40})
                shown._sink.refresh()
        terminal.flush()
    listener.join(5)
    os.close(main)
    text = b"".join(heard).decode()
    assert "compiling [bold]vanilla[/bold] ..." in text and "visible" in text
    assert "50/100" in text and "modes 7" in text and "4 ok, 1 diverged at step 40 (seed 3)" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


class Broken(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("mode", ["lines", "json", "quiet", "rich"])
def test_a_broken_pipe_does_not_stop_the_run(mode):
    clock = Clock()
    with Progress(mode, Broken(), clock=clock) as shown:
        shown.notice("x")
        run_ten_steps(shown, clock)
    assert shown._sink.broken


def test_a_stream_that_knows_ascii_only():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Progress("lines", stream).notice("Fréchet")
    stream.flush()
    assert raw.getvalue() == b"Fr?chet\n"


def test_a_long_phase_says_that_it_lives(monkeypatch):
    monkeypatch.setattr(progress, "_HEARTBEAT_SECONDS", 0.01)
    stream, beat = io.StringIO(), threading.Event()
    shown = Progress("lines", stream)
    line = shown._sink.line
    shown._sink.line = lambda text: (line(text), "so far" in text and beat.set())
    with shown.phase("compiling"):
        assert beat.wait(10)
    assert "compiling ... 0 s so far" in stream.getvalue()


def test_wrong_use_is_an_error():
    with pytest.raises(ConfigError, match="did you mean 'lines'"):
        Progress("line", io.StringIO())
    with pytest.raises(RuntimeError, match="training"):
        Progress("quiet", io.StringIO()).update(1)


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (185, "3:05"),
        (7385, "2:03:05"),
        (None, "?"),
        (float("inf"), "?"),
    ],
)
def test_clock_text(seconds, text):
    assert texts.clock_text(seconds) == text


@pytest.mark.parametrize(
    "failed, text",
    [
        ({}, "9 ok"),
        ({3: 120}, "8 ok, 1 diverged at step 120 (seed 3)"),
        ({7: 1, 2: 5}, "7 ok, 2 diverged at step 5 (seed 2), at step 1 (seed 7)"),
        (
            {i: 0 for i in range(6)},
            (
                "3 ok, 6 diverged at step 0 (seed 0), at step 0 (seed 1), at step 0 (seed 2), "
                "at step 0 (seed 3) and 2 more"
            ),
        ),
    ],
)
def test_seeds_text(failed, text):
    assert texts.seeds_text(9, failed) == text


@pytest.mark.parametrize("mode", ["auto", "lines", "json", "rich", "quiet"])
def test_closed_standard_error_shows_nothing(monkeypatch, capfd, mode):
    """Python has no `sys.stderr` then; nothing may go to standard output in its place."""
    monkeypatch.setattr("sys.stderr", None)
    with Progress(mode) as progress, progress.phase("work"):
        progress.notice("nobody reads this")
    assert capfd.readouterr().out == ""
