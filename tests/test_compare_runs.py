"""tools/compare_runs.py: what counts as a change, that no experiment is left out, and the whole
script on two trees."""

import importlib
import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import pytest

from dgm_jax.experiments.dirac_gan.steps import ARMS
from dgm_jax.run.cells import validate
from dgm_jax.run.start import parse

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
ENTRY_POINTS = PROJECT["entry-points"]["dgm_jax.experiments"]
SCRIPT = ROOT / "tools" / "compare_runs.py"
sys.path.insert(0, str(SCRIPT.parent))  # as Python does for a script

import compare_runs  # noqa: E402
import run_folders  # noqa: E402


def write_run(folder, arms, failed=()):
    """A run folder with {arm: (hash, [row, ...])}, written by json as the standard has it."""
    folder.mkdir()
    summary = {"arms": list(arms), "failed_seeds": list(failed)}
    summary["final_params_sha256"] = {name: sha256 for name, (sha256, _) in arms.items()}
    rows = [
        {"step": step, "arm": name, **row}
        for name, (_, found) in arms.items()
        for step, row in enumerate(found, 1)
    ]
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


SAME = {"a": ("1" * 64, [{"loss": [9.0, 9.0]}, {"loss": [0.1, None], "tv": [0.0, 2.0]}])}


def changes(tmp_path, head, base=SAME, failed=()):
    """The lines of a comparison of two hand-made runs."""
    folders = write_run(tmp_path / "base", base), write_run(tmp_path / "head", head, failed)
    return run_folders.compare_arms(*map(run_folders.read_run, folders))


def one_arm(sha256=SAME["a"][0], first=SAME["a"][1][0], **last):
    """SAME with other figures in its last row."""
    return {"a": (sha256, [first, SAME["a"][1][1] | last])}


def test_equal_runs_have_no_changes_and_only_the_last_row_counts(tmp_path):
    assert changes(tmp_path, one_arm(first={"loss": [8.0, 7.0]})) == []


def test_a_hash(tmp_path):
    assert changes(tmp_path, one_arm("2" * 64)) == ["a: hash 111111111111 -> 222222222222"]


def test_a_metric_that_moves_by_the_last_bit(tmp_path):
    moved = math.nextafter(0.1, 1)
    (line,) = changes(tmp_path, one_arm(loss=[moved, None]))
    assert line == f"a: loss[0] 0.1 -> {moved!r} (relative difference 1.4e-16)"


def test_minus_zero_is_not_zero(tmp_path):
    (line,) = changes(tmp_path, one_arm(tv=[-0.0, 2.0]))
    assert line == "a: tv[0] 0.0 -> -0.0 (relative difference 0)"


def test_nan_equals_nan_written_as_null_or_by_name_and_no_number(tmp_path):
    nan = one_arm(loss=[0.1, math.nan])
    assert changes(tmp_path, nan, nan) == []
    for folder in tmp_path.iterdir():
        shutil.rmtree(folder)
    (line,) = changes(tmp_path, one_arm(loss=[0.1, 0.0]))
    assert line == "a: loss[1] None -> 0.0 (relative difference inf)"


def test_the_largest_differences_come_first_one_a_metric_and_the_rest_is_counted(tmp_path):
    old = {f"m{i}": [1.0, 1.0] for i in range(7)}
    new = {f"m{i}": [1.0 + i / 10, 1.0 + i / 5] for i in range(7)}
    lines = changes(tmp_path, {"a": ("1", [new])}, {"a": ("1", [old])})
    assert [line.split()[1] for line in lines[:-1]] == ["m6[1]", "m5[1]", "m4[1]", "m3[1]"]
    assert lines[0].endswith("1.0 -> 2.2 (relative difference 0.55)")  # 1.2 / 2.2
    assert lines[-1] == "and 2 more metrics, by less"


def test_names_of_one_side_only(tmp_path):
    renamed = {"a": ("1" * 64, [{}, {"loss": [0.1, None], "kl": [0.0, 2.0]}]), "b": ("3", [{}])}
    assert changes(tmp_path, renamed) == [
        "arm b: only at head",
        "a: metric tv only at base",
        "a: metric kl only at head",
    ]


def test_a_seed_more_a_row_less_a_seed_that_failed(tmp_path):
    head = {"a": ("1" * 64, [SAME["a"][1][1] | {"tv": [0.0, 2.0, 4.0]}])}
    failed = [{"arm": "a", "seed": 1, "step": 2, "reason": "not finite"}]
    assert changes(tmp_path, head, failed=failed) == [
        "a: rows 2 -> 1",
        "a: failed seeds [] -> ['1 at step 2']",
        "a: tv[2] 'missing' -> 4.0 (relative difference inf)",
        "a: step[0] 2 -> 1 (relative difference 0.5)",
    ]


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda folder: (folder / "summary.json").unlink(), "has no summary.json"),
        (lambda folder: (folder / "summary.json").write_text('{"arms": '), "cannot be read"),
        (lambda folder: (folder / "metrics.jsonl").unlink(), "cannot be read.*metrics.jsonl"),
        (lambda folder: (folder / "metrics.jsonl").write_text(""), "cannot be read"),
        (
            lambda folder: (folder / "summary.json").write_text(
                '{"arms": ["a"], "failed_seeds": [], "final_params_sha256": {}}'
            ),
            "cannot be read.*'a'",
        ),
        (
            lambda folder: (folder / "summary.json").write_text(
                '{"arms": [], "failed_seeds": [], "final_params_sha256": {}}'
            ),
            "cannot be read",
        ),
    ],
)
def test_two_runs_that_lack_the_same_are_not_equal(tmp_path, damage, message):
    folder = write_run(tmp_path / "run", SAME)
    damage(folder)
    with pytest.raises(run_folders.NotComparable, match=message):
        run_folders.read_run(folder)


def test_the_line_that_says_what_went_wrong():
    note = "-----\nFor simplicity, JAX has removed its internal frames from the traceback.\n"
    assert compare_runs.last_words(f"Traceback:\n  line\nValueError: x\n{note}") == "ValueError: x"
    assert compare_runs.last_words("warning\nerror: no such data\n\n") == "error: no such data"
    assert compare_runs.last_words("") == "no message"


def test_every_experiment_has_a_short_form_and_no_other():
    assert compare_runs.SHORT_FORMS.keys() == ENTRY_POINTS.keys()


# Arms that are pairs: for these each part is enough.
PARTS = {"avb_posteriors": lambda arm: arm.split("/"), "dirac_gan": lambda arm: ARMS[arm]}


@pytest.mark.parametrize("name", compare_runs.SHORT_FORMS)
def test_a_short_form_is_valid_and_leaves_out_no_arm(name):
    module, _, attribute = ENTRY_POINTS[name].partition(":")
    experiment = getattr(importlib.import_module(module), attribute)
    words = f"{compare_runs.TABLE['common']} {compare_runs.SHORT_FORMS[name]}".split()
    config = parse(experiment, words).study
    validate(experiment, config)
    assert config.num_seeds <= 2 and config.num_steps <= 10
    if experiment.arm_field:
        parts = PARTS.get(name, lambda arm: (arm,))
        default, short = (
            {part for arm in getattr(c, experiment.arm_field) for part in parts(arm)}
            for c in (experiment.config(), config)
        )
        assert default <= short


def git(folder, *arguments):
    """A git command of the test's own author."""
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)


def replace(path, old, new):
    """Changes a file, where it has the text."""
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A repository with this library as its one commit, tagged `start`, and changes on top."""
    folder = tmp_path_factory.mktemp("repository")
    leave = shutil.ignore_patterns("__pycache__", "runs")
    for name in ("dgm_jax", "experiments"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    shutil.copy(ROOT / "pyproject.toml", folder)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "start")
    git(folder, "tag", "start")
    rate = "learning_rate: float = "
    settings = lambda name: folder / "experiments" / name / "__init__.py"
    replace(settings("feature_classifier"), f"{rate}1e-3", f"{rate}2e-3")
    replace(settings("gan_optimality"), "hidden: int", "width: int")
    replace(folder / "pyproject.toml", "dirac_gan = ", "dirac_game = ")
    return folder


@pytest.fixture
def start_script(checkout, tmp_path):
    """Starts the script in the checkout, with a folder of its own for what is temporary."""
    (tmp_path / "temporary").mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": str(ROOT / "tests")}
    env.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # the same for both sides

    def start(*words):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [sys.executable, SCRIPT, *words]
        return subprocess.Popen(command, cwd=checkout, env=env, text=True, **pipes)

    return start


@pytest.mark.slow
def test_the_whole_script_on_a_commit_and_a_changed_working_tree(start_script, checkout, tmp_path):
    names = ["dirac_gan", "dirac_game", "feature_classifier", "gan_grid", "gan_optimality"]
    flags = ["--xla_flags", "", "--keep", str(tmp_path / "kept"), "--jobs", "2"]
    process = start_script("start", *flags, "--only", *names)
    out, progress = process.communicate()
    assert process.returncode == 2, out + progress
    lines = out.splitlines()
    at = {name: next(i for i, line in enumerate(lines) if line.startswith(name)) for name in names}
    assert lines[at["gan_grid"]].split() == ["gan_grid", "1", "arms", "equal"]
    assert lines[at["feature_classifier"]].endswith("1 arms  changed")
    below = lines[at["feature_classifier"] + 1 : at["gan_grid"]]
    assert below[0].strip().startswith("feature_classifier: hash ")
    assert any("test_cross_entropy[" in line and "relative difference" in line for line in below)
    assert lines[at["gan_optimality"]].endswith("3 arms  not compared")
    assert "head, the working tree: exit code 2: Unrecognized options: --hidden" in out
    assert lines[at["dirac_gan"] + 1].strip().startswith("only at base, start (")
    assert lines[at["dirac_game"] + 1].strip() == "it has no short form in tools/short_forms.toml"
    assert lines[-1] == "1 equal, 1 changed, 3 could not be compared"
    assert all(f"gan_grid, {line.split(': XLA')[0]}: " in progress for line in lines[:2])
    assert not any((tmp_path / "temporary").iterdir())
    kept = [tmp_path / "kept" / side / "gan_grid" for side in ("base", "head")]
    assert run_folders.compare_arms(*map(run_folders.read_run, kept)) == []
    assert not (checkout / "runs").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_behind_by_a_signal(start_script, tmp_path, number):
    process = start_script("start", "--only", "gan_grid")
    started = "compare_runs_*/runs/base/gan_grid"
    while not any((tmp_path / "temporary").glob(started)) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate()  # to the end of the pipe, which the run has too
    assert process.returncode == 130 and "stopped" in errors
    assert not any((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize(
    "words, message",
    [
        (["no-such-revision"], "no-such-revision"),
        (["start", "--only", "gan_rung"], "--only gan_rung: no such experiment; there are"),
        (["start", "--keep", "."], "--keep must be an empty or a new folder"),
        (["start", "--jobs", "0"], "--jobs must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_asked_for(start_script, words, message):
    process = start_script(*words)
    _, errors = process.communicate()
    assert process.returncode == 2 and message in errors and "Traceback" not in errors
