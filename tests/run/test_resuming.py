"""`dgm-jax resume`: a run goes on as it was started, and a finished one is trained on."""

import json
import shutil
import signal

import optax
import pytest
import tiny_game
from tiny_game import build, rows_of, run, stopping, summary_of, tiny, with_final_evaluation

from dgm_jax import cli, training

GRID = {"rate": (0.1, 0.4)}


def resume(*arguments):
    return cli.main(["resume", *map(str, arguments)])


def hashes(out):
    return summary_of(out)["final_params_sha256"]


def environment_of(out):
    return json.loads((out / "environment.json").read_text())


def files(folder):
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", "report.html")
    }


# As it was started.


def test_a_stopped_run_goes_on_without_a_flag(undisturbed, installed, tmp_path, capfd):
    """Settings that are not the defaults, a grid and a strategy come from the folder."""
    flags = ("--num_seeds", "2", "--strategy", "map")
    assert run(tmp_path / "whole", *flags, grid=GRID) == 0
    assert run(tmp_path / "a b", *flags, grid=GRID, experiment=stopping(signal.SIGTERM, 4)) == 143
    said = capfd.readouterr().err.rstrip().splitlines()
    assert said[-1].strip() == f"dgm-jax resume '{tmp_path / 'a b'}'"
    assert resume(tmp_path / "a b", "--progress", "lines") == 0
    assert "continuing at step 20" in capfd.readouterr().err
    assert rows_of(tmp_path / "a b") == rows_of(tmp_path / "whole")
    assert hashes(tmp_path / "a b") == hashes(tmp_path / "whole")
    assert summary_of(tmp_path / "a b")["strategy"] == {
        "plain, rate=0.1": "map",
        "plain, rate=0.4": "map",
    }


def test_an_experiment_that_is_not_installed_says_its_own_command(tmp_path, capfd):
    assert run(tmp_path / "a", experiment=stopping(signal.SIGTERM, 1)) == 143
    assert f"--out {tmp_path / 'a'} --resume" in capfd.readouterr().err
    assert resume(tmp_path / "a") == 2
    assert "unknown experiment 'tiny'" in capfd.readouterr().err


def test_a_finished_run_is_said_to_be_finished(undisturbed, installed, capfd):
    before = files(undisturbed)
    assert resume(undisturbed) == 0
    said = capfd.readouterr()
    assert f"{undisturbed} is finished" in said.out and "Traceback" not in said.err
    assert files(undisturbed) == before


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nowhere"], "holds no run"),
        (["nowhere", "--out", "x"], "holds no run"),
        ([], "folder"),
        (["nowhere", "--nun_steps", "3"], "num-steps"),
    ],
)
def test_what_cannot_be_resumed(installed, tmp_path, monkeypatch, capfd, arguments, words):
    monkeypatch.chdir(tmp_path)
    try:
        code = resume(*arguments)
    except SystemExit as stop:
        code = stop.code
    said = capfd.readouterr()
    assert code == 2 and words in said.err + said.out and "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_launch_flags_that_are_refused_are_not_taken_over(undisturbed, installed, tmp_path, capfd):
    """A start by another strategy is refused, and leaves no trace that a later one would follow."""
    assert run(tmp_path / "a", experiment=stopping(signal.SIGTERM, 1)) == 143
    assert run(tmp_path / "a", "--resume", "--strategy", "map") == 2
    assert "strategy: 'vmap' there, 'map' here" in capfd.readouterr().err
    assert resume(tmp_path / "a") == 0
    assert hashes(tmp_path / "a") == hashes(undisturbed)


# More steps.


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """60 steps from the start."""
    out = tmp_path_factory.mktemp("longer") / "run"
    assert run(out, "--num_steps", "60") == 0
    return out


def test_more_steps_end_with_the_bits_of_a_run_of_that_length(
    undisturbed, longer, installed, tmp_path
):
    before = files(undisturbed)
    assert resume(undisturbed, "--num_steps", "60", "--out", tmp_path / "b") == 0
    assert hashes(tmp_path / "b") == hashes(longer)
    assert rows_of(tmp_path / "b") == rows_of(longer)
    assert files(undisturbed) == before
    parent = summary_of(tmp_path / "b")["parent"]
    assert parent["folder"] == str(undisturbed) and parent["experiment"] == "tiny"
    assert parent["num_steps"] == 30 and parent["final_params_sha256"] == hashes(undisturbed)
    assert set(parent["state_sha256"]) == {"plain"} and parent["stretch_schedule"] is False
    assert environment_of(tmp_path / "b")["parent"] == parent
    assert json.loads((tmp_path / "b" / "config.json").read_text())["num_steps"] == 60
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_more_steps_keep_the_best_of_all(installed, tmp_path):
    flags = ["--keep_best", "error:max", "--num_steps"]  # the error falls: the first is the best
    assert run(tmp_path / "a", *flags, "10") == 0
    assert run(tmp_path / "whole", *flags, "20") == 0
    assert resume(tmp_path / "a", "--num_steps", "20", "--out", tmp_path / "b") == 0
    for name in ("plain.best.json", "plain.best.safetensors"):
        got, expected = (tmp_path / out / "models" / name for out in ("b", "whole"))
        assert got.read_bytes() == expected.read_bytes(), name


def test_a_longer_run_goes_on_by_itself(undisturbed, longer, installed, tmp_path):
    """Stopped on its way, it needs the first run's folder no more; and it can be trained on too."""
    shutil.copytree(undisturbed, tmp_path / "a")
    installed(stopping(signal.SIGTERM, 1))
    assert resume(tmp_path / "a", "--num_steps", "50", "--out", tmp_path / "b") == 143
    assert [row["step"] for row in rows_of(tmp_path / "b")] == [10, 20, 30, 40]
    shutil.rmtree(tmp_path / "a")
    installed(tiny())
    assert resume(tmp_path / "b") == 0
    assert resume(tmp_path / "b", "--num_steps", "60", "--out", tmp_path / "c") == 0
    assert hashes(tmp_path / "c") == hashes(longer)
    assert rows_of(tmp_path / "c") == rows_of(longer)
    assert summary_of(tmp_path / "c")["parent"]["parent"]["num_steps"] == 30


def test_arms_and_a_grid_go_on_together(installed, tmp_path):
    flags = ("--kind", "plain", "half")
    assert run(tmp_path / "a", *flags, "--num_steps", "10", grid=GRID) == 0
    assert run(tmp_path / "whole", *flags, "--num_steps", "20", grid=GRID) == 0
    assert resume(tmp_path / "a", "--num_steps", "20", "--out", tmp_path / "b") == 0
    assert hashes(tmp_path / "b") == hashes(tmp_path / "whole")
    by_place = lambda out: sorted(rows_of(out), key=lambda row: (row["arm"], row["step"]))
    assert by_place(tmp_path / "b") == by_place(tmp_path / "whole")


def test_an_end_between_two_logged_steps_keeps_its_row(undisturbed, installed, tmp_path):
    assert run(tmp_path / "a", "--num_steps", "15") == 0
    installed(stopping(signal.SIGTERM, 1))
    assert resume(tmp_path / "a", "--num_steps", "30", "--out", tmp_path / "b") == 143
    installed(tiny())
    assert resume(tmp_path / "b") == 0
    assert [row["step"] for row in rows_of(tmp_path / "b")] == [10, 15, 20, 30]
    assert not list((tmp_path / "b").glob("metrics.damaged*"))
    assert hashes(tmp_path / "b") == hashes(undisturbed)


def scheduled(schedule):
    """The tiny game whose rate is `schedule(num_steps)`."""

    def build_scheduled(config, hyper, inputs):
        task = build(config, hyper, inputs)
        optimizers = {"p": optax.sgd(schedule(config.num_steps))}
        algorithm = lambda replica: training.alternating(
            task.algorithm.args[0], optimizers, replica
        )
        return task._replace(algorithm=algorithm)

    return tiny(build=build_scheduled)


SCHEDULES = {
    "cosine": lambda n: training.learning_rate("cosine", 0.1, n),
    "warm-up": lambda n: optax.linear_schedule(0.0, 0.1, n // 10),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_to_the_end_is_refused_unless_it_is_to_be_stretched(
    installed, tmp_path, capfd, name
):
    experiment = scheduled(SCHEDULES[name])
    installed(experiment)
    assert run(tmp_path / "a", experiment=experiment) == 0
    longer = ("--num_steps", "60", "--out", tmp_path / "b")
    assert resume(tmp_path / "a", *longer) == 2
    said = capfd.readouterr().err
    assert "plain has made depend on their number" in said and "--stretch_schedule" in said
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert resume(tmp_path / "a", *longer, "--stretch_schedule") == 0
    assert run(tmp_path / "whole", "--num_steps", "60", experiment=experiment) == 0
    assert hashes(tmp_path / "b") != hashes(tmp_path / "whole")
    assert rows_of(tmp_path / "b")[:3] == rows_of(tmp_path / "a")
    assert summary_of(tmp_path / "b")["parent"]["stretch_schedule"] is True


def test_a_stretched_schedule_is_that_of_the_new_length(installed, tmp_path):
    """The rate of step t is by hand 0.1 (1 - t / N): with N = 30 to step 30, then with N = 60."""
    experiment = scheduled(lambda n: training.learning_rate("linear", 0.1, n))
    installed(experiment)
    flags = ("--num_seeds", "1")
    assert run(tmp_path / "a", *flags, experiment=experiment) == 0
    more = ("--num_steps", "60", "--out", tmp_path / "b", "--stretch_schedule")
    assert resume(tmp_path / "a", *more) == 0
    w, means = tiny_game.first_number(0), tiny_game.batch_means(0, 60)
    for step, mean in enumerate(means):
        w -= 0.1 * (1 - step / (30 if step < 30 else 60)) * (w - mean)
    assert summary_of(tmp_path / "b")["metrics"]["w"]["per_seed"][0] == pytest.approx(w, abs=1e-5)


def test_a_schedule_that_stays_is_no_hindrance(installed, tmp_path):
    experiment = scheduled(lambda n: training.learning_rate("constant", 0.1, n))
    installed(experiment)
    assert run(tmp_path / "a", experiment=experiment) == 0
    assert resume(tmp_path / "a", "--num_steps", "40", "--out", tmp_path / "b") == 0


def test_a_final_evaluation_of_the_first_end_stays_in_its_row(installed, tmp_path):
    experiment = tiny(build=with_final_evaluation)
    installed(experiment)
    assert run(tmp_path / "a", experiment=experiment) == 0
    assert resume(tmp_path / "a", "--num_steps", "40", "--out", tmp_path / "b") == 0
    assert ["square" in row for row in rows_of(tmp_path / "b")] == [False, False, True, True]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--num_steps", "30", "--out", "b"], "more than the 30 steps"),
        (["--num_steps", "20", "--out", "b"], "more than the 30 steps"),
        (["--num_steps", "60"], "give its folder by --out NEW"),
        (["--num_steps", "60", "--out", "a"], "is the finished run itself"),
        (["--num_steps", "60", "--out", "full"], "is not a new or empty folder"),
        (["--out", "b"], "belong to --num_steps"),
        (["--stretch_schedule"], "belong to --num_steps"),
    ],
)
def test_what_cannot_become_longer(
    undisturbed, installed, tmp_path, monkeypatch, capfd, arguments, words
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(undisturbed, tmp_path / "a")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    before = files(tmp_path)
    assert resume("a", *arguments) == 2
    said = capfd.readouterr().err
    assert words in said and "Traceback" not in said
    assert files(tmp_path) == before


def unfinished(folder):
    (folder / "summary.json").unlink()


def no_checkpoints(folder):
    shutil.rmtree(folder / "checkpoints")


def no_checkpoint(folder):
    for path in (folder / "checkpoints" / "plain").iterdir():
        shutil.rmtree(path)


def no_last_checkpoint(folder):
    shutil.rmtree(folder / "checkpoints" / "plain" / "30")


def damaged_last_checkpoint(folder):
    for path in (folder / "checkpoints" / "plain" / "30").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:7])


def older(folder):
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({k: v for k, v in content.items() if k not in ("format", "run_id")})
    )


@pytest.mark.parametrize(
    "edit, words",
    [
        (unfinished, "is not finished"),
        (no_checkpoints, "has no checkpoint"),
        (no_checkpoint, "has no checkpoint"),
        (no_last_checkpoint, "is of step 20, not of the last one, 30"),
        (damaged_last_checkpoint, "is of step 20, not of the last one, 30"),
        (older, "older version"),
    ],
)
def test_runs_that_cannot_be_trained_on(undisturbed, installed, tmp_path, capfd, edit, words):
    shutil.copytree(undisturbed, tmp_path / "a")
    edit(tmp_path / "a")
    before = files(tmp_path)
    assert resume(tmp_path / "a", "--num_steps", "60", "--out", tmp_path / "b") == 2
    said = capfd.readouterr().err
    assert words in said and "Traceback" not in said
    assert files(tmp_path) == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_first_run_may_have_lost_its_rows(undisturbed, longer, installed, tmp_path, capfd):
    """The row of its last step comes from the checkpoint, the others are named."""
    shutil.copytree(undisturbed, tmp_path / "a")
    (tmp_path / "a" / "metrics.jsonl").unlink()
    more = ("--num_steps", "60", "--out", tmp_path / "b", "--progress", "lines")
    assert resume(tmp_path / "a", *more) == 0
    said = capfd.readouterr().err
    assert "plain: rows of steps 10, 20 are missing" in said
    assert rows_of(tmp_path / "b") == rows_of(longer)[2:]
    assert hashes(tmp_path / "b") == hashes(longer)
