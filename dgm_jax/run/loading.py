"""Loads a trained model from a run folder, ready to sample, decode or be measured.

The data are not needed. The structure of parameters and state is that of the experiment's `model`,
made from the settings and the recorded identity of the data. The folder contributes only the
numbers.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

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
from dgm_jax.store.reading import CHECKPOINTS, MODELS, PathLike, read_config
from dgm_jax.terminal import signals


class Trained(NamedTuple):
    """A trained model.

    Attributes:
        model: with `model.sample(params, state, key, num_samples)`, and if it has latents
            `model.decode` and the densities `model.latent`.
        params, state: JAX arrays of all seeds, on a leading axis, or of the one asked for.
        config: the arm's settings.
        arm: its name.
        step: the number of steps made, for each seed or for one; None for a seed whose best model
            was asked for and that had no finite value.
        dataset: the identity of the data.
        experiment: the run's experiment.
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
    """What a folder has of an arm.

    Attributes:
        dataset: the identity of the data.
        step: a number for each seed.
        read: reads the arrays into a given structure.
    """

    dataset: dict[str, Any]
    step: list
    read: Any


def load(
    folder: PathLike,
    arm: str | None = None,
    seed: int | None = None,
    *,
    which: str = models.LAST,
    experiment: Experiment | None = None,
) -> Trained:
    """Loads a trained model: of a finished arm, or of an unfinished one's newest sound checkpoint.

    Args:
        folder: of the run.
        arm: its name; may be left out if there is only one.
        seed: 0 to num_seeds - 1; None for all of them on a leading axis.
        which: "last", or "best" of a run with `--keep_best`.
        experiment: the run's own, if `dgm-jax list` does not have it.

    Returns:
        A `Trained`: `model`, with the functions to sample from it, and its `params` and `state`.

    Raises:
        ConfigError: no such arm or seed, or the experiment trains no model that could be loaded.
        RunDirectoryError: the folder holds no run or no model yet, or its content is damaged or
            does not fit; the message names both sides.
    """
    folder = pathlib.Path(folder)
    lookup(models.WHICH, which, "model")
    run = recorded(folder, experiment)
    cells = _cells(folder, run)
    cell = _chosen(folder, cells, arm)
    seeds = run.config.num_seeds
    seed_message = f"seed must be 0 to {seeds - 1}, got {seed}"
    require(seed is None or type(seed) is int and 0 <= seed < seeds, seed_message)
    make = run.experiment.functions.model
    message = f"{run.experiment.name} trains no model that could be loaded"
    if make is None:
        raise ConfigError(f"{message}: its experiment has no function `model`")
    record = _saved(folder, run, cell, which) or _checkpointed(folder, run, cells, cell, which)
    changes = differences(run.dataset, record.dataset) if run.dataset else []
    message = f"{folder}: the data of the model are not those of the run: {'; '.join(changes[:5])}"
    require(not changes, message, RunDirectoryError)
    model, like = _structure(folder, run.experiment, make, cell.config, record.dataset, seeds)
    tree = record.read(like)
    step = record.step
    if seed is None:
        model = _refusing_all_seeds(model, like["params"], seeds)
    else:
        tree = _of_seed(tree, seed)
        step = step[seed]
    return Trained(
        model=model,
        params=tree["params"],
        state=tree["state"],
        config=cell.config,
        arm=cell.name,
        step=step,
        dataset=record.dataset,
        experiment=run.experiment,
    )


# Functions of a `LatentModel` that begin with params and state.
_OF_PARAMS = ("posterior", "log_likelihood", "sample_prior", "decode", "log_prior", "rate")


def _refusing_all_seeds(model: Model, stacked: PyTree, seeds: int) -> Model:
    """The model, whose functions take one seed's parameters and name the axis of several."""
    stacked_shapes = [leaf.shape for leaf in jax.tree.leaves(stacked)]

    def checked(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def of_one_seed(params: PyTree, state: PyTree, *args: Any, **options: Any) -> Any:
            shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(params)]
            require(
                not shapes or shapes != stacked_shapes,
                f"params have a leading axis of {seeds} seeds, expected those of one: load one by"
                " run.load(folder, seed=0), or map over all by jax.vmap",
            )
            return function(params, state, *args, **options)

        return of_one_seed

    def checked_fields(part: Any, names: Sequence[str]) -> Any:
        functions = {name: getattr(part, name) for name in names}
        given = {name: checked(f) for name, f in functions.items() if f is not None}
        return part._replace(**given)

    latent = model.latent and checked_fields(model.latent, _OF_PARAMS)
    return checked_fields(model, ("sample", "decode"))._replace(latent=latent)


@jax.jit
def _of_seed(tree: PyTree, seed: int) -> PyTree:
    return jax.tree.map(lambda x: x[seed], tree)


def _cells(folder, run: Recorded) -> list[Arm]:
    """The arms of the recorded settings; RunDirectoryError if these are of no possible run."""
    try:
        validate(run.experiment, run.config, run.grid)
        return arms(run.experiment, run.config, run.grid)
    except DgmError:
        raise
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunDirectoryError(f"{folder}: its settings are of no run: {error}") from error


def _chosen(folder, cells: list[Arm], name: str | None) -> Arm:
    known = {cell.name: cell for cell in cells}
    if name is None:
        message = f"{folder} has several arms: name one of {', '.join(map(repr, known))}"
        require(len(known) == 1, message)
        return cells[0]
    return lookup(known, name, "arm")


def _structure(folder, experiment: Experiment, make, config, dataset, seeds: int):
    """The model, and the shapes of {"params", "state"} over seeds, by the experiment's recipe."""
    try:
        model = make(*experiment.build_view(config), dataset)
        params, state = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    except DgmError:
        raise
    # A recipe may raise anything for an identity that was edited.
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error)[:300]}"
        message = (
            f"{folder}: no model can be made of its settings and the data's identity: {reason}"
        )
        raise RunDirectoryError(message) from error
    return model, _over(seeds, {"params": params, "state": state})


def _over(lanes: int, shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((lanes, *x.shape), x.dtype), shapes)


def _saved(folder: pathlib.Path, run: Recorded, cell: Arm, which: str) -> _Record | None:
    """The arm's file in models/; None if it is not written yet."""
    place = records.contained(folder, folder / MODELS)
    name = models.file_name(cell.name, which)
    if not (place / f"{name}.json").exists() and not (place / f"{name}.json").is_symlink():
        return None
    manifest = weights.read_manifest(place, name)
    about = manifest.about
    seeds = run.config.num_seeds
    wanted = {**models.identity_of(run.experiment.name, cell), "seeds": seeds}
    changes = differences({key: about.get(key) for key in wanted}, wanted)
    message = f"{manifest.path} is of another run: {'; '.join(changes[:5])}"
    require(not changes, message, RunDirectoryError)
    step = about.get("step")
    dataset = about.get("dataset")
    if isinstance(step, list) and len(step) == seeds and isinstance(dataset, dict):
        return _Record(dataset, step, lambda like: weights.read_weights(manifest, like))
    message = f"it must say a step for each of {seeds} seeds, and the data's identity"
    raise RunDirectoryError(f"{manifest.path}: {message}")


def _checkpointed(
    folder: pathlib.Path, run: Recorded, cells: list[Arm], cell: Arm, which: str
) -> _Record:
    """The arm's lanes in the newest sound checkpoint of its group."""
    require(
        which == models.LAST,
        f"{folder} has no best model of {cell.name!r}: it was run without --keep_best, or has no"
        " evaluation yet",
        RunDirectoryError,
    )
    group = next(g for g in groups(run.experiment, cells) if cell in g.arms)
    place = records.contained(folder, folder / CHECKPOINTS / records.safe_name(group.name))
    with signals.importing():  # of orbax, which a finished run's model does without
        from dgm_jax.training.stored import read_newest

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
    message = f"{place}: checkpoint {newest.step} is of another run: {'; '.join(changes[:5])}"
    require(not changes, message, RunDirectoryError)
    seeds = run.config.num_seeds
    first = group.arms.index(cell) * seeds

    def of_arm(array):
        return array[first : first + seeds]

    def read(like):
        stored_arrays = _of_model(newest.arrays)
        lanes = jax.tree.map(
            lambda x: x.update(shape=(len(group.arms) * seeds, *x.shape[1:])), like
        )
        shapes = {name: weights.describe(array) for name, array in stored_arrays.items()}
        where = f"{place}: checkpoint {newest.step}"
        weights.require_same(shapes, weights.named_leaves(lanes), where)
        device = jax.devices()[0]
        arrays = {
            name: jax.device_put(of_arm(array), device) for name, array in stored_arrays.items()
        }
        return weights.assembled(arrays, like)

    step = of_arm(jax.device_get(newest.arrays["train_state/step"])).tolist()
    return _Record(newest.identity.get("data") or {}, step, read)


def _of_model(arrays: Mapping[str, Any]) -> dict[str, Any]:
    prefix = "train_state/"
    parts = tuple(f"{prefix}{part}/" for part in ("params", "state"))
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(parts)}
