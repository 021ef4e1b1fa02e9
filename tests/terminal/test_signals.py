"""Signals at any moment: an exit code that names the signal, a sentence and no traceback.

In this process where the work sends itself the signal; in one of its own where the end of the
process is the subject. `tests/run/test_launch_stopped.py` has what a run saves.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
from tiny_game import build, rows_of, run, summary_of, tiny

from dgm_jax import cli
from dgm_jax.run import launch
from dgm_jax.terminal import console, listening, signals

pytestmark = pytest.mark.optimized

ROOT = pathlib.Path(__file__).parents[2]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def send(number, times=1):
    for _ in range(times):
        os.kill(os.getpid(), number)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a run of the tiny game that nothing stopped."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run(out) == 0
    return out


# What a command does with a signal.


@pytest.mark.parametrize("number", CODES)
def test_a_signal_ends_work_at_once_with_a_sentence(capfd, number):
    before = {n: signal.getsignal(n) for n in CODES}
    after = []

    def work():
        send(number)
        after.append(0)
        return 0

    assert console.guarded(work) == CODES[number]
    said = capfd.readouterr().err
    name = signal.Signals(number).name
    assert said == f"stopped by {name}; nothing was changed: give the same command again\n"
    assert not after and before == {n: signal.getsignal(n) for n in CODES}


def test_what_a_library_makes_of_the_interruption_is_no_error(capfd):
    """Compiled modules turn a KeyboardInterrupt at their import into an ImportError."""

    def work():
        try:
            send(signal.SIGINT)
        except KeyboardInterrupt as interruption:
            raise ImportError("a module failed to import") from interruption
        return 0

    assert console.guarded(work) == 130
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("code, expected", [(0, 0), (2, 130), (6, 6)])
def test_a_mistake_that_the_interruption_was_taken_for_is_no_mistake(code, expected, capfd):
    """As where the import of an experiment is interrupted, and the command says that it cannot be
    imported. What was done to its end was done."""

    def work():
        with contextlib.suppress(KeyboardInterrupt):
            send(signal.SIGINT)
        return code

    assert console.guarded(work) == expected
    assert ("stopped by SIGINT" in capfd.readouterr().err) == (expected == 130)
    assert console.guarded(lambda: 2) == 2


def test_an_error_without_a_signal_stays_one():
    def work():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        console.guarded(work)


def test_a_signal_that_is_swallowed_is_raised_at_the_next_look(capfd):
    """As where an object's `__del__` was at work, of which Python tells on standard error."""

    class Swallows:
        def __del__(self):
            send(signal.SIGTERM)

    def work():
        thing = Swallows()
        del thing
        signals.check()
        return 0

    assert console.guarded(work) == 143
    assert capfd.readouterr().err.count("\n") == 1


def test_held_work_is_not_cut(capfd):
    done = []

    def work():
        with signals.held(), signals.held():
            send(signal.SIGINT, times=3)
            done.append("whole")
        signals.check()
        return 0

    assert console.guarded(work) == 130 and done == ["whole"]


def test_work_that_is_done_before_anybody_looks_is_done():
    def work():
        with signals.held():
            send(signal.SIGTERM)
            return 0

    assert console.guarded(work) == 0


def test_outside_of_commands_signals_are_the_business_of_others():
    with signals.held():
        signals.check()
    with signals.watch_signals() as outer, signals.watch_signals() as inner:
        assert inner is outer


def test_other_threads_have_no_signals_and_run_all_the_same():
    codes = []
    thread = threading.Thread(target=lambda: codes.append(console.guarded(lambda: 0)))
    thread.start()
    thread.join()
    assert codes == [0]


def test_a_command_of_a_program_is_never_ended_from_outside(monkeypatch):
    """In a notebook, say, the process has other things to do: only a notice, however long."""
    monkeypatch.setattr(listening, "NOTICE_SECONDS", 0.05)
    monkeypatch.setattr(listening, "LIMIT_SECONDS", 0.1)
    said = []

    def work():
        with signals.watch_signals() as stop, stop.hold():
            stop.notify = said.append
            send(signal.SIGINT)
            while not said:
                time.sleep(0.01)
            time.sleep(0.3)
            return 0

    assert console.guarded(work) == 0
    assert said == ["SIGINT: stopping after the work at hand"]


# Moments of a run.


def at(moment, number, times=1):
    """The tiny experiment, which sends itself signals at a moment: a function of the experiment."""

    def sending(name, function):
        def wrapped(*arguments):
            if moment == name:
                send(number, times)
            return function(*arguments)

        return wrapped

    ready = tiny()
    return tiny(
        load=sending("load", ready.load),
        build=sending("build", build),
        summarize=sending("summarize", lambda arrays, config, inputs: {"w": arrays["w"]}),
        plots=sending("plots", lambda results, inputs: {}),
        references=sending("references", lambda config: []),
    )


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize(
    ("moment", "saved"),
    [("load", []), ("build", []), ("summarize", [10]), ("plots", [10, 20, 30])],
)
def test_a_signal_at_a_moment_of_a_run(tmp_path, capfd, undisturbed, moment, saved, number):
    out = tmp_path / "run"
    assert run(out, experiment=at(moment, number, times=2)) == CODES[number]
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and f"stopped by {signal.Signals(number).name}; " in said
    assert f"--out {out} --resume" in said
    assert ("its last checkpoint is saved" in said) == bool(saved)
    assert ([row["step"] for row in rows_of(out)] if saved else []) == saved
    assert not (out / "summary.json").exists()
    assert run(out, "--resume") == 0
    assert summary_of(out)["final_params_sha256"] == summary_of(undisturbed)["final_params_sha256"]


def test_a_start_that_was_stopped_before_training_can_be_given_again(tmp_path):
    assert run(tmp_path / "run", experiment=at("load", signal.SIGINT)) == 130
    assert run(tmp_path / "run") == 0


def test_a_signal_after_the_summary_lets_the_run_finish(tmp_path, capfd, monkeypatch):
    write = launch.write_report

    def write_report(folder):
        send(signal.SIGTERM, times=2)
        return write(folder)

    monkeypatch.setattr(launch, "write_report", write_report)
    assert run(tmp_path) == 0
    said = capfd.readouterr()
    assert said.err == "" and "report:" in said.out and (tmp_path / "report.html").exists()


# Commands without a run.


def test_a_signal_during_a_report(undisturbed, capfd, monkeypatch):
    from dgm_jax import report

    before = (undisturbed / "report.html").read_bytes()
    monkeypatch.setattr(report, "write_report", lambda *_: send(signal.SIGINT))
    assert cli.main(["report", str(undisturbed)]) == 130
    assert capfd.readouterr().err.startswith("stopped by SIGINT; nothing was changed")
    assert (undisturbed / "report.html").read_bytes() == before


# Processes of their own.

ENDLESS = """
import ctypes, os, pathlib, signal, sys, threading, time
from dgm_jax.run import Experiment, StudyConfig, main
from dgm_jax.terminal import signals

MOMENT, OUT = sys.argv.pop(1), sys.argv.pop(1)


def load(settings, needed):
    (pathlib.Path(OUT).parent / "loading").touch()
    if MOMENT == "data":
        time.sleep(600)
    from tiny_game import tiny

    return tiny().load(settings, needed)


def build(config, hyper, inputs):
    import jax
    from tiny_game import Tiny, build

    task = build(Tiny(), {"rate": 0.1, "poison": 1e9}, inputs)
    if MOMENT != "evaluation":
        return task
    forever = lambda state, arrays, key: {
        "w": jax.lax.while_loop(lambda x: x > -1e30, lambda x: x * 0.5 + 1, jax.numpy.float32(0))
    }
    return task._replace(evaluate=forever)


sys.argv += f"--out {OUT} --num_seeds 1 --num_devices 1 --progress lines".split()
experiment = Experiment(
    name="tiny", config=StudyConfig, load=load, build=build, validate=lambda config: None
)
sys.exit(main(experiment))
"""


@pytest.fixture
def started(tmp_path):
    """Starts the tiny experiment in a process of its own; it never ends by itself."""
    program = tmp_path / "endless.py"
    program.write_text(ENDLESS)
    drop = ("XLA_FLAGS", "NPROC")
    environment = {k: v for k, v in os.environ.items() if k not in drop} | {
        "PYTHONPATH": os.pathsep.join(map(str, [ROOT / "tests" / "helpers", ROOT]))
    }
    processes = []

    def start(moment, *flags):
        words = [sys.executable, program, moment, tmp_path / "run", *flags]
        process = subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def read_until(process, text):
    """Lines of standard error up to one with the text."""
    said = []
    for line in process.stderr:
        said.append(line)
        if text in line:
            return said
    raise AssertionError("".join(said))


LONG = ("--num_steps", "2000000000", "--log_every", "1000000000")


def test_a_chunk_of_hours_is_left_within_seconds(started, tmp_path):
    process = started("training", *LONG)
    read_until(process, "training 1 seeds")
    time.sleep(1)
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143 and "Traceback" not in said
    assert "stopped by SIGTERM; nothing of the run was trained yet: start again with" in said
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("number", CODES)
def test_a_process_in_compiled_code_ends_all_the_same(started, tmp_path, number):
    """An evaluation that never returns: SIGTERM when the time is over, the second Ctrl-C sooner."""
    process = started("evaluation", "--num_steps", "20", "--log_every", "10")
    read_until(process, "training 1 seeds")
    time.sleep(2)
    process.send_signal(number)
    if number == signal.SIGINT:
        time.sleep(0.2)
        process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == CODES[number] and "Traceback" not in said
    assert f"stopped by {signal.Signals(number).name}; " in said and "--resume" in said


@pytest.mark.parametrize("number", CODES)
def test_while_data_are_loaded(started, tmp_path, number):
    process = started("data")
    while not (tmp_path / "loading").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == CODES[number] and "Traceback" not in said
    assert "start again with" in said


@pytest.mark.parametrize(
    ("words", "after"),
    [
        (["-m", "experiments.dirac_gan"], 0.4),
        (["-m", "dgm_jax.cli", "check", "dirac_gan"], 1.0),
        (["-m", "experiments.dirac_gan"], 1.6),
    ],
)
def test_while_jax_is_imported(tmp_path, words, after):
    """Whatever it is at after so long: Python is on its way to JAX, or JAX on its way in."""
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    # Before the command hears signals Python may end as it is told to by the system.
    assert process.returncode in (130, -signal.SIGINT, 0)
    assert "Traceback" not in said, said
