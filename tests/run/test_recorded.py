"""A run folder read back: the settings that were given, for every experiment."""

import dataclasses
import json
import typing

import pytest

from dgm_jax.core import RunDirectoryError
from dgm_jax.run import LaunchConfig, catalogue
from dgm_jax.run.recorded import recorded
from dgm_jax.store import RunDirectory


def folder_of(path, experiment, config, **launch):
    settings = dataclasses.asdict(config)
    given = dataclasses.asdict(LaunchConfig(out=str(path), **launch))
    with RunDirectory.create(path, experiment.name, settings, launch=given):
        pass
    return path


def another(value):
    """A value of the same type that is not the default."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value + 1.0
    if isinstance(value, tuple):
        return (*value, *value)
    return value + 1 if isinstance(value, int) else value


@pytest.mark.parametrize("name", catalogue.experiments())
def test_settings_come_back(tmp_path, name):
    experiment = catalogue.load_experiment(name)
    default = experiment.config()
    changed = {f.name: another(getattr(default, f.name)) for f in dataclasses.fields(default)}
    config = dataclasses.replace(default, **changed)
    found = recorded(folder_of(tmp_path / "run", experiment, config, strategy="map"))
    assert found.experiment is experiment and found.config == config
    assert found.launch.strategy == "map" and found.grid == {} and found.dataset == {}
    for field in dataclasses.fields(config):
        assert type(getattr(found.config, field.name)) is type(getattr(config, field.name))
    hash(found.config)


def test_whole_numbers_of_floats_stay_floats(tmp_path):
    experiment = catalogue.load_experiment("gan_ring")
    folder = folder_of(tmp_path / "run", experiment, experiment.config())
    file = folder / "config.json"
    content = json.loads(file.read_text())
    hints = typing.get_type_hints(experiment.config)
    number = next(k for k in content if hints.get(k) in (float, float | None))
    file.write_text(json.dumps({**content, number: 2}))
    assert type(getattr(recorded(folder).config, number)) is float


@pytest.mark.parametrize(
    "change, message",
    [
        ({"experiment": "gan_grid"}, "holds a run of 'gan_grid', not of 'gan_ring'"),
        ({"colour": 1}, "has settings that Config lacks: .'colour'"),
        ({"seed": None}, "lacks settings: .*'seed'"),
        ({"grid": {"seed": 3}}, "grid is no table of lists"),
        ({"grid": [1]}, "grid is no table of lists"),
        ({"format": 99}, "has format 99 of run folders"),
    ],
)
def test_a_folder_that_does_not_fit(tmp_path, change, message):
    experiment = catalogue.load_experiment("gan_ring")
    folder = folder_of(tmp_path / "run", experiment, experiment.config())
    file = folder / "config.json"
    content = json.loads(file.read_text()) | change
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    with pytest.raises(RunDirectoryError, match=message):
        recorded(folder, experiment)


def test_no_run_at_all(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"holds no run: no config.json"):
        recorded(tmp_path)


@pytest.mark.parametrize(
    "launch",
    [
        [1],
        {"strategy": 3, "devices": "pmpa", "num_devices": "two", "progress": None, "colour": 1},
        {"strategy": ["map"], "num_devices": True},
    ],
)
def test_launch_flags_that_nobody_could_give_are_passed_over(tmp_path, launch):
    experiment = catalogue.load_experiment("gan_ring")
    folder = folder_of(tmp_path / "run", experiment, experiment.config())
    file = folder / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"launch": launch}))
    assert recorded(folder).launch == LaunchConfig()


@pytest.mark.parametrize("content", [None, "", "[1]", '{"versions": '])
def test_a_lost_environment_leaves_the_default_flags(tmp_path, content):
    experiment = catalogue.load_experiment("gan_ring")
    folder = folder_of(tmp_path / "run", experiment, experiment.config(), strategy="map")
    (folder / "environment.json").unlink()
    if content is not None:
        (folder / "environment.json").write_text(content)
    found = recorded(folder)
    assert found.config == experiment.config() and found.launch == LaunchConfig()
    assert found.dataset == {}
