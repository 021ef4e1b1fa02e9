"""A trained model from a run folder, ready to sample, decode or be measured, without its data.

The structure of parameters and state is that of the experiment's `model`, made from the settings
and the data's identity on record. The folder gives the numbers only.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from dgm_jax.core import (
    ConfigError,
    DgmError,
    Model,
    Params,
    PyTree,
    RunDirectoryError,
    State,
    differences,
    lookup,
    require,
)
from dgm_jax.run import models
from dgm_jax.run.cells import Arm, arms, groups, validate
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.recorded import Recorded, recorded
from dgm_jax.run.settings import StudyConfig
from dgm_jax.store import records, weights
from dgm_jax.store.reading import CHECKPOINTS, MODELS, read_config
from dgm_jax.training.stored import read_newest


class Trained(NamedTuple):
    """A trained model.

    model: with `model.sample(params, state, key, num_samples)`, and where it has latents
        `model.decode` and the densities `model.latent`.
    params, state: arrays of JAX; of all seeds, on a leading axis, unless one was asked for.
    config: the arm's settings.
    arm: its name.
    step: after how many steps, a number for each seed, or one; None for a seed whose best model was
        asked for and that had no finite value.
    dataset: the identity of the data.
    experiment: which it is.
    """

    model: Model
    params: Params
    state: State
    config: StudyConfig
    arm: str
    step: Any
    dataset: dict[str, Any]
    experiment: Experiment


class _Record(NamedTuple):
    """What a folder has of an arm: whose it is, and a function that reads it in a structure."""

    dataset: dict[str, Any]
    step: list
    read: Any


def load(
    folder,
    arm: str | None = None,
    seed: int | None = None,
    *,
    which: str = models.LAST,
    experiment: Experiment | None = None,
) -> Trained:
    """What a run has trained: a finished arm's model, or of an unfinished one the newest sound
    checkpoint's.

    Args:
        folder: of the run.
        arm: its name; may be left out where there is one.
        seed: 0 to num_seeds - 1; None for all of them on a leading axis.
        which: "last", or "best" of a run with `--keep_best`.
        experiment: the run's own, where `dgm-jax list` does not have it.

    Raises:
        ConfigError: no such arm or seed, or the experiment trains no model that could be loaded.
        RunDirectoryError: the folder holds no run or no model yet, or what it holds is damaged or
            does not fit; both sides are named.
    """
    folder = pathlib.Path(folder)
    lookup(models.WHICH, which, "model")
    found = recorded(folder, experiment)
    cells = _cells(folder, found)
    cell = _chosen(folder, cells, arm)
    seeds = found.config.num_seeds
    wrong = f"seed must be 0 to {seeds - 1}, got {seed}"
    require(seed is None or type(seed) is int and 0 <= seed < seeds, wrong)
    make = found.experiment.functions.model
    told = f"{found.experiment.name} trains no model that could be loaded"
    if make is None:
        raise ConfigError(f"{told}: its experiment has no function `model`")
    record = _saved(folder, found, cell, which) or _checkpointed(folder, found, cells, cell, which)
    changes = differences(found.dataset, record.dataset) if found.dataset else []
    told = f"{folder}: the data of the model are not those of the run: {'; '.join(changes[:5])}"
    require(not changes, told, RunDirectoryError)
    model, like = _structure(folder, found.experiment, make, cell.config, record.dataset, seeds)
    tree, step = record.read(like), record.step
    if seed is not None:
        tree, step = jax.tree.map(lambda x: x[seed], tree), step[seed]
    own = cell.config, cell.name, step, record.dataset, found.experiment
    return Trained(model, tree["params"], tree["state"], *own)


def _cells(folder, found: Recorded) -> list[Arm]:
    """The arms of the settings on record; RunDirectoryError where those were edited into something
    that no run had."""
    try:
        validate(found.experiment, found.config, found.grid)
        return arms(found.experiment, found.config, found.grid)
    except DgmError:
        raise
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunDirectoryError(f"{folder}: its settings are of no run: {error}") from error


def _chosen(folder, cells: list[Arm], name: str | None) -> Arm:
    known = {cell.name: cell for cell in cells}
    if name is None:
        told = f"{folder} has several arms: name one of {', '.join(map(repr, known))}"
        require(len(known) == 1, told)
        return cells[0]
    return lookup(known, name, "arm")


def _structure(folder, experiment: Experiment, make, config, dataset, seeds: int):
    """(model, shapes of {"params", "state"} over seeds) by the experiment's recipe."""
    try:
        model = make(*experiment.build_view(config), dataset)
        params, state = jax.eval_shape(model.init, jax.random.key(0))
    except DgmError:
        raise
    # A recipe may raise anything for an identity that was edited.
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error)[:300]}"
        told = f"{folder}: no model can be made of its settings and the data's identity: {reason}"
        raise RunDirectoryError(told) from error
    return model, _over(seeds, {"params": params, "state": state})


def _over(lanes: int, shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((lanes, *x.shape), x.dtype), shapes)


def _saved(folder: pathlib.Path, found: Recorded, cell: Arm, which: str) -> _Record | None:
    """The arm's file in models/, or None where it is not written yet."""
    place = records.contained(folder, folder / MODELS)
    name = models.file_name(cell.name, which)
    if not (place / f"{name}.json").exists() and not (place / f"{name}.json").is_symlink():
        return None
    manifest = weights.read_manifest(place, name)
    about, seeds = manifest.about, found.config.num_seeds
    wanted = {**models.identity_of(found.experiment.name, cell), "seeds": seeds}
    changes = differences({key: about.get(key) for key in wanted}, wanted)
    told = f"{manifest.path} is of another run: {'; '.join(changes[:5])}"
    require(not changes, told, RunDirectoryError)
    step, dataset = about.get("step"), about.get("dataset")
    if isinstance(step, list) and len(step) == seeds and isinstance(dataset, dict):
        return _Record(dataset, step, lambda like: weights.read_weights(manifest, like))
    told = f"it must say a step for each of {seeds} seeds, and the data's identity"
    raise RunDirectoryError(f"{manifest.path}: {told}")


def _checkpointed(
    folder: pathlib.Path, found: Recorded, cells: list[Arm], cell: Arm, which: str
) -> _Record:
    """The arm's lanes in the newest sound checkpoint of its group."""
    require(
        which == models.LAST,
        f"{folder} has no best model of {cell.name!r}: it was run without --keep_best, or has no"
        " evaluation yet",
        RunDirectoryError,
    )
    group = next(g for g in groups(found.experiment, cells) if cell in g.arms)
    place = records.contained(folder, folder / CHECKPOINTS / records.safe_name(group.name))
    newest, notices = read_newest(place)
    if newest is None:
        why = "; ".join(notices) or f"neither in {MODELS}/ nor a checkpoint in {place}"
        raise RunDirectoryError(f"{folder} holds no model of {cell.name!r}: {why}")
    stored = read_config(folder)
    wanted = {
        "experiment": stored.experiment,
        "run_id": stored.run_id,
        "arms": [arm.name for arm in group.arms],
        "settings": stored.settings,
    }
    changes = differences({key: newest.identity.get(key) for key in wanted}, wanted)
    told = f"{place}: checkpoint {newest.step} is of another run: {'; '.join(changes[:5])}"
    require(not changes, told, RunDirectoryError)
    seeds, first = found.config.num_seeds, group.arms.index(cell) * found.config.num_seeds

    def own(array):
        return array[first : first + seeds]

    def read(like):
        held = _of_model(newest.arrays)
        lanes = jax.tree.map(
            lambda x: x.update(shape=(len(group.arms) * seeds, *x.shape[1:])), like
        )
        shapes = {name: weights.describe(array) for name, array in held.items()}
        where = f"{place}: checkpoint {newest.step}"
        weights.require_same(shapes, weights.named_leaves(lanes), where)
        on = jax.devices()[0]
        arrays = {name: jax.device_put(own(array), on) for name, array in held.items()}
        return weights.assembled(arrays, like)

    step = own(jax.device_get(newest.arrays["train_state/step"])).tolist()
    return _Record(newest.identity.get("data") or {}, step, read)


def _of_model(arrays: Mapping[str, Any]) -> dict[str, Any]:
    prefix = "train_state/"
    parts = tuple(f"{prefix}{part}/" for part in ("params", "state"))
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(parts)}
