"""Runs whose folder somebody has edited: what is derived costs no result, what is not is refused.

Every case is a run of two arms that was stopped, the first arm done, the second at step 10 of 30.
"""

import json
import shutil
import signal

import pytest
from tiny_game import rows_of, run, stopping, summary_of, tiny

ARMS = ("--kind", "plain", "half", "--num_seeds", "2")
ALL = {(arm, step) for arm in ("plain", "half") for step in (10, 20, 30)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run(out, *ARMS) == 0
    return out


@pytest.fixture(scope="module")
def at_step_10(tmp_path_factory):
    out = tmp_path_factory.mktemp("stopped") / "run"
    assert run(out, *ARMS, experiment=stopping(signal.SIGTERM, 4)) == 143
    return out


@pytest.fixture
def stopped(at_step_10, tmp_path):
    """The run that was stopped, to be edited."""
    shutil.copytree(at_step_10, tmp_path / "run")
    return tmp_path / "run"


def end(out, capfd, *flags, experiment=None):
    """Resumes to the end; returns what was said."""
    capfd.readouterr()
    code = run(out, *ARMS, "--resume", "--progress", "lines", *flags, experiment=experiment)
    said = capfd.readouterr().err
    assert code == 0 and "Traceback" not in said, said
    return said


def assert_same_result(out, whole):
    assert summary_of(out)["final_params_sha256"] == summary_of(whole)["final_params_sha256"]
    assert summary_of(out)["metrics"] == summary_of(whole)["metrics"]


def places(out):
    return [(row["arm"], row["step"]) for row in rows_of(out)]


def lines_of(out):
    return (out / "metrics.jsonl").read_bytes().splitlines(keepends=True)


def with_lines(out, lines):
    (out / "metrics.jsonl").write_bytes(b"".join(lines))


# metrics.jsonl: plain 10, plain 20, plain 30, half 10.


def lose_file(out):
    (out / "metrics.jsonl").unlink()


def put_folder(out):
    lose_file(out)
    (out / "metrics.jsonl").mkdir()


def lose(*indices):
    return lambda out: with_lines(
        out, [line for i, line in enumerate(lines_of(out)) if i not in indices]
    )


def insert(index, line):
    def edit(out):
        lines = lines_of(out)
        with_lines(out, [*lines[:index], line, *lines[index:]])

    return edit


def double(index):
    return lambda out: with_lines(out, [*lines_of(out), lines_of(out)[index]])


def rewrite(index, **change):
    def edit(out):
        lines = lines_of(out)
        row = json.loads(lines[index]) | change
        lines[index] = json.dumps(row).encode() + b"\n"
        with_lines(out, lines)

    return edit


PUT_BACK = "plain: the row of step 30 was lost and is put back"
LOST = [("plain", 10), ("plain", 20)]
# what is done -> (edit, what is said, rows that the file lacks in the end)
METRICS = {
    "lost": (lose_file, ["plain: rows of steps 10, 20 are missing", PUT_BACK], LOST),
    "emptied": (lambda out: with_lines(out, []), [PUT_BACK], LOST),
    "a folder": (put_folder, ["is no file: it is now metrics.damaged.jsonl", PUT_BACK], LOST),
    "first row lost": (lose(0), ["plain: rows of steps 10 are missing"], LOST[:1]),
    "rows lost": (lose(0, 1), ["plain: rows of steps 10, 20 are missing"], LOST),
    "last row of a finished arm lost": (lose(2), [PUT_BACK], []),
    "row of the checkpoint lost": (lose(3), ["half: the row of step 10 was lost"], []),
    "doubled": (double(1), ["plain: rows of steps 20 were there twice"], []),
    "doubled at the checkpoint": (double(3), ["half: rows of steps 10 were there twice"], []),
    "a row without step": (insert(1, b'{"arm": "plain"}\n'), ["1 damaged rows"], []),
    "step text": (rewrite(1, step="20"), ["1 damaged", "of steps 20 are missing"], LOST[1:]),
    "step null": (rewrite(1, step=None), ["1 damaged", "of steps 20 are missing"], LOST[1:]),
    "arm a list": (rewrite(1, arm=["plain"]), ["1 damaged", "20 are missing"], LOST[1:]),
    "arm unknown": (rewrite(1, arm="other"), ["1 damaged", "20 are missing"], LOST[1:]),
    "garbage in the middle": (insert(2, b"\xff{]\n"), ["1 damaged rows"], []),
    "garbage at the end": (insert(4, b"\xff{]"), [], []),
    "torn": (lambda out: with_lines(out, [*lines_of(out), b'{"step": 2']), [], []),
    "past the checkpoint": (insert(4, b'{"step": 20, "arm": "half"}\n'), [], []),
}


@pytest.mark.parametrize("kind", METRICS)
def test_rows_are_derived(stopped, whole, capfd, kind):
    edit, words, lacking = METRICS[kind]
    edit(stopped)
    said = end(stopped, capfd)
    assert all(word in said for word in words), said
    assert ("damaged" in said) == any("damaged" in word for word in words)
    assert_same_result(stopped, whole)
    assert sorted(places(stopped)) == sorted(ALL - set(lacking))
    assert all(row in rows_of(whole) for row in rows_of(stopped))


def editing(out, at, edit):
    """The tiny game, whose folder is edited at its `at`-th evaluation."""
    calls = []

    def summarize(arrays, config, inputs):
        calls.append(0)
        if len(calls) == at:
            edit(out)
        return {name: value for name, value in arrays.items() if value.ndim == 1}

    return tiny(summarize=summarize)


DURING = {
    "lost": (lose_file, ["plain: rows of steps 10 are missing"], LOST[:1]),
    "emptied": (lambda out: with_lines(out, []), ["10 are missing"], LOST[:1]),
    "row lost": (lose(0), ["plain: rows of steps 10 are missing"], LOST[:1]),
    "doubled": (double(0), ["plain: rows of steps 10 were there twice"], []),
    "garbage": (insert(0, b"garbage\n"), ["1 damaged rows"], []),
}


@pytest.mark.parametrize("kind", DURING)
def test_rows_are_derived_also_while_the_run_writes_them(tmp_path, whole, capfd, kind):
    edit, words, lacking = DURING[kind]
    experiment = editing(tmp_path / "a", 2, edit)
    assert run(tmp_path / "a", *ARMS, "--progress", "lines", experiment=experiment) == 0
    said = capfd.readouterr().err
    assert all(word in said for word in words), said
    assert_same_result(tmp_path / "a", whole)
    assert set(places(tmp_path / "a")) == ALL - set(lacking)


# Other files that are derived.


def write(name, text):
    return lambda out: (out / name).write_text(text)


def write_json(name, **change):
    def edit(out):
        file = out / name
        file.write_text(json.dumps(json.loads(file.read_text()) | change))

    return edit


def remove(name):
    def edit(out):
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        else:
            (out / name).unlink()

    return edit


DERIVED = {
    "environment lost": (remove("environment.json"), "environment.json is lost"),
    "environment garbage": (write("environment.json", "\x00{"), "cannot be read as JSON"),
    "environment a list": (write("environment.json", "[1]"), "expected a JSON object"),
    "versions a list": (write_json("environment.json", versions=[1]), "look at ['versions']"),
    "launch a list": (write_json("environment.json", launch=[1]), "look at ['launch']"),
    "starts a number": (write_json("environment.json", resumed=3), "look at ['resumed']"),
    "summary an object": (write("summary.json", "{}"), "it is now summary.damaged.json"),
    "summary of a number": (write("summary.json", '{"arms": 3}'), "summary.damaged.json"),
    "summary cut": (write("summary.json", '{"arms": ["pl'), "summary.damaged.json"),
    "figures lost": (remove("figures"), ""),
    "models lost": (remove("models"), ""),
}


@pytest.mark.parametrize("kind", DERIVED)
def test_what_is_derived_costs_nothing(stopped, whole, capfd, kind):
    edit, words = DERIVED[kind]
    edit(stopped)
    assert words in end(stopped, capfd)
    assert_same_result(stopped, whole)
    assert rows_of(stopped) == rows_of(whole)
    assert json.loads((stopped / "environment.json").read_text())["dataset"]["name"] == "number"
    assert run(stopped, *ARMS, "--resume") == 0


def test_data_and_jax_settings_are_known_without_the_environment(stopped, whole, capfd):
    """The checkpoints say what the run saw; a start that they refuse is not what the next one is
    compared with."""
    load = lambda settings, needed: tiny().load(settings, needed)._replace(identity={"name": "x"})
    (stopped / "environment.json").unlink()
    assert run(stopped, *ARMS, "--resume", experiment=tiny(load=load)) == 2
    assert "data.name: 'number' there, 'x' here" in capfd.readouterr().err
    end(stopped, capfd)
    assert_same_result(stopped, whole)


# What is not derived.


def lock_folder(out):
    (out / ".lock").unlink(missing_ok=True)
    (out / ".lock").mkdir()


REFUSED = {
    "setting edited": (write_json("config.json", rate=0.2), (), "rate: 0.2 there, 0.1 here"),
    "setting added": (write_json("config.json", colour=1), (), "colour: 1 there"),
    "configuration cut": (write("config.json", '{"seed": '), (), "config.json"),
    "configuration lost": (remove("config.json"), (), "holds no run"),
    "newer format": (write_json("config.json", format=99), (), "has format 99"),
    "another run's name": (write_json("config.json", run_id="0" * 16), (), "another run: run_id"),
    "lock a folder": (lock_folder, (), "cannot be locked"),
    "another seed": (lambda out: None, ("--seed", "1"), "seed: 0 there, 1 here"),
    "more steps": (lambda out: None, ("--num_steps", "60"), "num_steps: 30 there, 60 here"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_derived_is_refused(stopped, capfd, kind):
    edit, flags, words = REFUSED[kind]
    edit(stopped)
    before = lines_of(stopped)
    capfd.readouterr()
    assert run(stopped, *ARMS, *flags, "--resume") == 2
    said = capfd.readouterr().err
    assert words in said and "Traceback" not in said, said
    assert lines_of(stopped) == before


def test_a_finished_run_without_rows_says_so(undisturbed, tmp_path, capfd):
    out = tmp_path / "run"
    shutil.copytree(undisturbed, out)
    assert run(out, "--resume") == 0
    assert "metrics.jsonl" not in capfd.readouterr().err
    (out / "metrics.jsonl").unlink()
    assert run(out, "--resume") == 0
    assert "has lost its metrics.jsonl: the report has no curves" in capfd.readouterr().err
