"""What a person typed and reads: the command that continues a stopped run, and output that cannot
be written.

A plugin with the tiny game lies in a folder, with the `dgm-jax` that an installation would make.
"""

import contextlib
import os
import pathlib
import shlex
import signal
import subprocess
import sys

import pytest
from tiny_game import rows_of, run, summary_of, tiny

from dgm_jax import cli
from dgm_jax.run import catalogue, main
from dgm_jax.terminal import console
from dgm_jax.terminal.console import Command

ROOT = pathlib.Path(__file__).parents[2]
PLUGIN = '''"""The tiny game as a plugin."""

import os
import signal
import sys

from tiny_game import stopping, tiny

from dgm_jax.run import main

STOPS = os.environ.get("STOPS")
EXPERIMENT = stopping(getattr(signal, STOPS), 2) if STOPS else tiny()

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
'''
PROGRAM = f"""#!{sys.executable}
import sys
from dgm_jax.cli import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of a shell in which the plugin and `dgm-jax` are installed."""
    root = tmp_path_factory.mktemp("installed")
    (root / "mine.py").write_text(PLUGIN)
    metadata = root / "mine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[dgm_jax.experiments]\nmine = mine:EXPERIMENT\n")
    program = root / "bin" / "dgm-jax"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    one_device = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "NPROC")}
    return one_device | {
        "PATH": os.pathsep.join([str(program.parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(map(str, [root, ROOT / "tests" / "helpers", ROOT])),
    }


def shell(command, environment, folder, stdout=subprocess.PIPE, **more):
    return subprocess.run(
        command,
        shell=True,
        env=environment | more,
        cwd=folder,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=900,
    )


@contextlib.contextmanager
def unwritable(kind):
    """A standard output whose reader has gone, or whose disk is full."""
    if kind == "full":
        with open("/dev/full", "w") as stream:
            yield stream
        return
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        yield stream


# Commands as they were typed.


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (f"{shlex.quote(sys.executable)} -m mine --kind plain half", "gone"),
        ("dgm-jax ablate mine --kind half --grid rate=0.1,0.4 --out 'a folder'", "full"),
    ],
    ids=["module", "ablation"],
)
def test_the_printed_command_finishes_a_stopped_run(installed, tmp_path, words, kind):
    """A real SIGTERM, then what was printed, pasted into a shell; and that nobody can read the
    result of the second is no failure of the run."""
    flags = "--num_seeds 2 --num_steps 30 --log_every 10 --progress quiet"
    stopped = shell(f"{words} {flags}", installed, tmp_path, STOPS="SIGTERM")
    assert stopped.returncode == 143, stopped.stderr
    said, command = stopped.stderr.rstrip("\n").split("\n")[-2:]
    assert said == "stopped by SIGTERM; its last checkpoint is saved: continue with"
    assert command.strip().startswith(words.split(" --")[0]) and command.endswith(" --resume")
    with unwritable(kind) as stream:
        done = shell(command, installed, tmp_path, stdout=stream)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "error" not in done.stderr
    assert ("the run is finished, but its result cannot be shown" in done.stderr) == (
        kind == "full"
    )
    (out,) = [path.parent for path in tmp_path.rglob("summary.json")]
    assert len(summary_of(out)["arms"]) == 2
    assert [row["step"] for row in rows_of(out) if row["arm"] == summary_of(out)["arms"][1]] == [
        10,
        20,
        30,
    ]
    assert (out / "report.html").exists()


def test_a_run_that_a_program_started_says_which_flags_continue_it(tmp_path, capfd):
    def refuse(settings, needed):
        raise OSError(28, "No space left on device", "data")

    assert run(tmp_path / "a", experiment=tiny(load=refuse)) == 2
    said = capfd.readouterr().err
    assert f"start again with the same settings, --out {tmp_path / 'a'} --resume" in said


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ([], "dgm-jax run x --out runs/x/1 --resume"),
        (["--out", "elsewhere"], "dgm-jax run x --out runs/x/1 --resume"),
        (["--out=elsewhere", "--rate", "2"], "dgm-jax run x --rate 2 --out runs/x/1 --resume"),
        (["--resume", "--rate", "2"], "dgm-jax run x --rate 2 --out runs/x/1 --resume"),
        (["--no-resume"], "dgm-jax run x --out runs/x/1 --resume"),
        (["--data", "npz:a b.npz"], "dgm-jax run x --data 'npz:a b.npz' --out runs/x/1 --resume"),
        (
            ["--grid", "rate=1,2", "method=a,b"],
            "dgm-jax run x --grid rate=1,2 method=a,b --out runs/x/1 --resume",
        ),
    ],
)
def test_the_command_that_resumes(flags, text):
    command = Command(("dgm-jax", "run", "x"), tuple(flags))
    assert command.resuming(pathlib.Path("runs/x/1")) == text


@pytest.mark.parametrize(
    ("original", "arguments"),
    [
        (["python", "-m", "experiments.gan_ring"], ["--seed", "1"]),
        ([".venv/bin/python", "-X", "dev", "-m", "mine"], []),
        (["python", "mine.py"], ["--seed", "1"]),
        (["python", "-m", "dgm_jax.cli"], ["run", "gan_ring", "--seed", "1"]),
    ],
)
def test_the_program_is_what_was_typed(monkeypatch, original, arguments):
    monkeypatch.setattr(sys, "orig_argv", [*original, *arguments])
    monkeypatch.setattr(sys, "argv", ["/a/file.py", *arguments])
    words = arguments[:2] if arguments[:1] == ["run"] else []
    flags = arguments[len(words) :]
    assert console.typed(words, flags) == ((*original, *words), tuple(flags))
    # Arguments that another program made are not what was typed.
    assert console.typed(["run", "x"], ["--seed", "2"]).program == ("dgm-jax", "run", "x")


def test_a_mistake_in_a_module_names_the_command_that_was_typed(monkeypatch, capfd):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "experiments.tiny", "--rtae", "1"])
    monkeypatch.setattr(sys, "argv", ["/a/tiny.py", "--rtae", "1"])
    with pytest.raises(SystemExit):
        main(tiny())
    said = " ".join("".join(capfd.readouterr()).split())
    assert "python -m experiments.tiny --help" in said


@pytest.mark.parametrize("command", ["run", "ablate", "check"])
def test_a_mistake_names_the_installed_command(monkeypatch, capfd, command):
    class Entry:
        load = staticmethod(tiny)

    monkeypatch.setattr(catalogue, "experiments", lambda: {"tiny": Entry})
    grid = ["--grid", "rate=0.1,0.2"] if command == "ablate" else []
    with pytest.raises(SystemExit):
        cli.main([command, "tiny", "--rtae", "1", *grid])
    said = " ".join("".join(capfd.readouterr()).split())
    assert f"dgm-jax {command} tiny --help" in said
    with pytest.raises(SystemExit):
        cli.main([command, "tiny", "--help", *grid])
    assert f"usage: dgm-jax {command} tiny [-h]" in capfd.readouterr().out


# Output that cannot be written.


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [("gone", 141, ""), ("full", 2, "error: [Errno 28] No space left on device\n")],
)
@pytest.mark.parametrize("arguments", ["list", "--help"])
def test_output_that_cannot_be_written(installed, tmp_path, kind, code, words, arguments):
    with unwritable(kind) as stream:
        done = shell(f"dgm-jax {arguments}", installed, tmp_path, stdout=stream)
    assert (done.returncode, done.stderr) == (code, words)
    well = shell(f"dgm-jax {arguments}", installed, tmp_path)
    assert well.returncode == 0 and len(well.stdout.splitlines()) >= 1


def test_a_list_of_which_one_line_is_read(installed, tmp_path):
    done = shell("dgm-jax list | head -1", installed, tmp_path, PYTHONUNBUFFERED="1")
    assert (done.returncode, done.stderr) == (0, "") and len(done.stdout.splitlines()) == 1


def test_errors_that_nobody_reads_keep_their_exit_code(installed, tmp_path):
    with unwritable("gone") as stream:
        done = subprocess.run(
            ["dgm-jax", "run", "lsit"], env=installed, cwd=tmp_path, stdout=stream, stderr=stream
        )
    assert done.returncode == 2


def test_a_help_text_that_nobody_reads(monkeypatch):
    """A parser ends with SystemExit, which must not hide what happened to its output."""

    def helping():
        print("usage: ...")
        raise SystemExit(0)

    with unwritable("gone") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert console.guarded(helping) == 141
        print("more")
        stream.flush()  # goes nowhere, without a word


def test_what_can_be_read_is_left_alone(capfd):
    def work():
        print("result")
        return 6

    assert console.guarded(work) == 6
    assert capfd.readouterr() == ("result\n", "")


@pytest.mark.parametrize("ends_process", [False, True])
def test_a_thread_that_hangs_does_not_hold_up_the_process(ends_process, monkeypatch):
    """A process that runs nothing else ends with the command's code; a program goes on."""
    ends = []
    monkeypatch.setattr(console, "_leaves_threads_behind", False)
    monkeypatch.setattr(os, "_exit", ends.append)

    def work():
        console.leave_threads_behind()
        return 6

    with contextlib.ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.getsignal(number))
        assert console.guarded(work, ends_process) == 6
    assert ends == ([6] if ends_process else [])
