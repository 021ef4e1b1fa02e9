"""The optimizer as settings of a run: by hand, in the record, swept, and in older run folders."""

import dataclasses
import functools
import json
import re
import signal

import optax
import pytest
import tiny_game
from tiny_game import rows_of, run, summary_of, tiny

from dgm_jax import cli, training
from dgm_jax.core import ConfigError
from dgm_jax.run import OptimizerConfig, catalogue, load, optimizer_of
from dgm_jax.run.cells import arms, groups, validate
from dgm_jax.run.settings import (
    OPTIMIZER_READ_WHERE,
    OPTIMIZER_SWEEPABLE,
    StudyConfig,
    names_of,
)

RATE = 0.1


@dataclasses.dataclass(frozen=True)
class Chosen(OptimizerConfig):
    """The tiny game, whose own optimizer is plain descent."""

    kind: tuple[str, ...] = ("plain",)
    """Arms."""
    rate: float = RATE
    """Learning rate."""
    poison: float = 1e9
    """As of the tiny game."""


ADDED = sorted(set(names_of(OptimizerConfig)) - set(names_of(StudyConfig)))


def build(config, hyper, inputs):
    """The tiny game with the optimizer of the settings; its second number stays where it is."""
    task = tiny_game.build(config, hyper, inputs)
    freeze = optax.masked(optax.set_to_zero(), lambda tree: {"p": {"w": False, "start": True}})
    own = optimizer_of(config, hyper, hyper["rate"], name="sgd")
    optimizers = {"p": optax.chain(own, freeze)}
    players = task.algorithm.args[0]
    return task._replace(algorithm=functools.partial(training.alternating, players, optimizers))


def chosen(**changes):
    sweepable = ("rate", "poison", *OPTIMIZER_SWEEPABLE)
    changes = {"config": Chosen, "build": build, "sweepable": sweepable} | changes
    return tiny(read_where=OPTIMIZER_READ_WHERE, **changes)


def by_hand(num_steps=30, rate=lambda t: RATE, limit=0.0, decay=0.0):
    """w of seed 0 after steps of plain descent."""
    w = tiny_game.first_number(0)
    for step, mean in enumerate(tiny_game.batch_means(0, num_steps)):
        gradient = w - mean
        if limit and abs(gradient) > limit:
            gradient *= limit / abs(gradient)
        w -= rate(step) * (gradient + decay * w)
    return w


def ends(out):
    """{arm: w of seed 0}"""
    metrics = summary_of(out)["metrics"]
    return {name: metric["per_seed"][0] for name, metric in metrics.items() if name.endswith("w")}


def test_all_settings_at_once_by_hand(tmp_path):
    flags = "--weight_decay .2 --clip_norm .5 --schedule linear --warmup_steps 5".split()
    assert run(tmp_path / "a", *flags, experiment=chosen()) == 0
    rate = lambda t: RATE * (t / 5 if t < 5 else 1 - (t - 5) / 25)
    expected = by_hand(rate=rate, limit=0.5, decay=0.2)
    assert ends(tmp_path / "a")["w"] == pytest.approx(expected, abs=1e-5)
    stored = json.loads((tmp_path / "a" / "config.json").read_text())
    recorded = {name: stored[name] for name in ADDED if name in stored}
    assert recorded == {
        "weight_decay": 0.2,
        "clip_norm": 0.5,
        "schedule": "linear",
        "warmup_steps": 5,
    }
    assert load(tmp_path / "a", seed=0, experiment=chosen()).config.clip_norm == 0.5


def test_decay_and_limit_are_swept_in_one_program(tmp_path):
    grid = {"weight_decay": (0.0, 0.2), "clip_norm": (0.0, 0.5)}
    experiment = chosen()
    assert len(groups(experiment, arms(experiment, Chosen(), grid))) == 1
    assert run(tmp_path / "a", experiment=experiment, grid=grid) == 0
    metrics = summary_of(tmp_path / "a")["metrics"]
    for decay in grid["weight_decay"]:
        for limit in grid["clip_norm"]:
            found = metrics[f"plain, weight_decay={decay}, clip_norm={limit}/w"]["per_seed"][0]
            assert found == pytest.approx(by_hand(limit=limit, decay=decay), abs=1e-5)


def test_optimizers_are_cells_of_a_grid(installed, tmp_path):
    installed(chosen())
    flags = ["--num_devices", "1", "--progress", "quiet", "--out", str(tmp_path / "a")]
    flags += ["--num_steps", "2", "--num_seeds", "1", "--grid", "optimizer=sgd,adam,rmsprop"]
    assert cli.main(["ablate", "tiny", *flags]) == 0
    found = summary_of(tmp_path / "a")["metrics"]
    w = tiny_game.first_number(0)
    assert found["plain, optimizer=sgd/w"]["per_seed"] == pytest.approx([by_hand(2)], abs=1e-5)
    # Adam's first two updates are rate long each, where the gradients have one size and sign.
    assert found["plain, optimizer=adam/w"]["per_seed"][0] == pytest.approx(w + 2 * RATE, abs=0.02)
    assert len(set(summary_of(tmp_path / "a")["final_params_sha256"].values())) == 3


def test_a_cell_ignores_a_decay_that_its_optimizer_lacks(tmp_path):
    """And the run says so; the values of another cell are those of momentum, by hand."""
    grid = {"optimizer": ("sgd", "momentum"), "b1": (0.5, 0.8)}
    assert run(tmp_path / "a", "--num_steps", "20", experiment=chosen(), grid=grid) == 0
    summary = summary_of(tmp_path / "a")
    for decay in grid["b1"]:
        arms_of = {name: f"plain, optimizer={name}, b1={decay}/w" for name in grid["optimizer"]}
        found = {n: summary["metrics"][arm]["per_seed"][0] for n, arm in arms_of.items()}
        assert found["sgd"] == pytest.approx(by_hand(20), abs=1e-5)
        w, velocity = tiny_game.first_number(0), 0.0
        for mean in tiny_game.batch_means(0, 20):
            velocity = decay * velocity + w - mean
            w -= RATE * velocity
        assert found["momentum"] == pytest.approx(w, abs=1e-4)
    assert any("these settings made no difference" in note for note in summary["notes"])


# Folders of before there were these settings.


def test_an_older_run_goes_on_and_is_read(installed, tmp_path):
    """A run that stopped then, resumed, ends as one that was made now."""
    assert run(tmp_path / "a", experiment=tiny_game.stopping(signal.SIGTERM, 2)) == 143
    assert not set(ADDED) & set(json.loads((tmp_path / "a" / "config.json").read_text()))
    installed(chosen())
    assert cli.main(["resume", str(tmp_path / "a"), "--progress", "quiet"]) == 0
    assert run(tmp_path / "b", experiment=chosen()) == 0
    for name in ("final_params_sha256", "config"):
        assert summary_of(tmp_path / "a")[name] == summary_of(tmp_path / "b")[name]
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "b")
    assert load(tmp_path / "a", seed=0).config == Chosen(num_seeds=3, num_steps=30, log_every=10)
    more = ["--num_steps", "40", "--out", str(tmp_path / "c")]
    assert cli.main(["resume", str(tmp_path / "a"), *more, "--progress", "quiet"]) == 0
    assert ends(tmp_path / "c")["w"] == pytest.approx(by_hand(40), abs=1e-5)


def test_another_optimizer_is_another_run(tmp_path, capfd):
    assert run(tmp_path / "a", experiment=tiny_game.stopping(signal.SIGTERM, 1)) == 143
    capfd.readouterr()
    flags = ("--optimizer", "adam", "--resume")
    assert run(tmp_path / "a", *flags, experiment=chosen()) == 2
    assert "optimizer: 'auto' there, 'adam' here" in capfd.readouterr().err


def test_a_chosen_schedule_to_the_end_cannot_be_longer(installed, tmp_path, capfd):
    installed(chosen())
    assert run(tmp_path / "a", "--schedule", "cosine", experiment=chosen()) == 0
    more = ["--num_steps", "40", "--out", str(tmp_path / "b")]
    assert cli.main(["resume", str(tmp_path / "a"), *more]) == 2
    assert "--stretch_schedule" in capfd.readouterr().err


# What is refused.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"b1": 1.0}, "b1 must be in [0, 1), got 1.0"),
        ({"b2": -0.1}, "b2 must be in [0, 1), got -0.1"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0, got -1.0"),
        ({"clip_norm": -1.0}, "clip_norm must be at least 0, got -1.0"),
        ({"warmup_steps": 30}, "less than num_steps, 30, got 30"),
        ({"optimizer": "adamw"}, "optimizer=adamw with weight_decay=0 is adam"),
        ({"optimizer": "adagard"}, "unknown optimizer 'adagard'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
    ],
)
def test_settings_that_no_run_could_use(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        validate(chosen(), Chosen(num_steps=30, **settings))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--optimizer", "sgd", "--b1", ".5"), "b1=0.5 has no effect"),
        (("--optimizer", "momentum", "--b2", ".5"), "b2=0.5 has no effect"),
    ],
)
def test_a_decay_that_an_optimizer_lacks_is_refused(tmp_path, capfd, flags, message):
    assert run(tmp_path / "a", *flags, experiment=chosen()) == 2
    assert message in capfd.readouterr().err


@pytest.mark.parametrize("name", catalogue.experiments())
def test_every_experiment_that_trains_has_the_settings(name):
    experiment = catalogue.load_experiment(name)
    fixed = name in ("dirac_gan", "gradient_estimators")
    assert issubclass(experiment.config, OptimizerConfig) != fixed
    if fixed:
        return
    assert set(OPTIMIZER_SWEEPABLE) <= set(experiment.sweepable)
    assert set(OPTIMIZER_READ_WHERE) <= set(experiment.read_where)
