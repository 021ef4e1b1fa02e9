"""More steps than a finished run had: a new run that begins at the end of the other one.

Its folder gets the rows and, under its own identity, the last checkpoint of the finished run:
parameters, model state, state of the optimizers and keys. Best models, if they are kept, go along.
After that it does not need the other folder.
"""

import contextlib
import dataclasses
import pathlib
import secrets
import shutil
from typing import Any, NamedTuple

import jax
import numpy as np

from dgm_jax import native
from dgm_jax.core import Lane, RunDirectoryError, require, tree_sha256
from dgm_jax.run import launch, logged, models
from dgm_jax.run.cells import Group, groups
from dgm_jax.run.experiment import Inputs
from dgm_jax.run.identity import RunIdentity, convolutions_of, usual_of
from dgm_jax.run.lanes import distribute_group, lanes_of
from dgm_jax.run.launch import Job
from dgm_jax.run.turns import Turns
from dgm_jax.store import reading, records, weights
from dgm_jax.store.directory import RunDirectory
from dgm_jax.terminal.progress import Progress
from dgm_jax.training.checkpoint import Checkpoints


class Ended(NamedTuple):
    """Where a group of arms of the finished run ended.

    Attributes:
        group: the arms, in the longer run.
        compiled: their program in the longer run.
        step: the last step.
        lanes: the state there.
        rows: the last rows.
    """

    group: Group
    compiled: Any
    step: int
    lanes: Lane
    rows: list[dict]


def run(job: Job, num_steps: int, out: str, stretch_schedule: bool) -> int:
    """Continues a finished run to `num_steps` steps, in a new folder.

    Args:
        job: the finished run, in the folder `job.launch.out`.
        num_steps: of the longer run.
        out: its folder.
        stretch_schedule: whether to continue even if the steps already made would have been others
            under `num_steps`.

    Returns:
        The exit code.

    Raises:
        DgmError: the run is not finished, its checkpoints are lost, or it has as many steps
            already; `out` is no new folder; the steps already made would have been others under
            `num_steps`, and `stretch_schedule` is False.
    """
    folder = pathlib.Path(job.launch.out)
    target = pathlib.Path(out)
    summary = _require_finished(folder, job, num_steps)
    _require_new(target, folder, out)
    config = dataclasses.replace(job.config, num_steps=num_steps)
    longer = job._replace(config=config, launch=dataclasses.replace(job.launch, out=out))
    convolutions = native.use_convolutions(job.launch.convolutions)
    with convolutions, Progress(job.launch.progress) as progress:
        inputs = job.inputs(progress)
        ended = _ends(job, longer, inputs, progress, stretch_schedule)
        parent = {
            "folder": str(folder),
            "experiment": job.experiment.name,
            "num_steps": job.config.num_steps,
            "final_params_sha256": summary["final_params_sha256"],
            "state_sha256": {end.group.name: tree_sha256(end.lanes) for end in ended},
            "stretch_schedule": stretch_schedule,
            "parent": reading.read_config(folder).parent,
        }
        _begin(target, longer, inputs, ended, parent, progress)
    return launch.run(longer, None)


def _require_finished(folder: pathlib.Path, job: Job, num_steps: int) -> dict:
    """The summary of the run to be continued."""
    summary = reading.read_summary(folder)
    before = job.config.num_steps
    require(
        summary is not None,
        f"{folder} is not finished: finish it first by `dgm-jax resume {folder}`",
        RunDirectoryError,
    )
    require(
        reading.read_config(folder).format == reading.FORMAT,
        f"{folder} was made by an older version of dgm_jax, whose checkpoints do not say which run"
        " they belong to: train the longer run from step 0",
        RunDirectoryError,
    )
    require(
        num_steps > before,
        f"num_steps must be more than the {before} steps that {folder} has, got {num_steps}",
    )
    return summary or {}


def _require_new(target: pathlib.Path, folder: pathlib.Path, out: str) -> None:
    require(bool(out), "a longer run is a run of its own: give its folder by --out NEW")
    require(
        target.resolve() != folder.resolve(),
        f"--out {out} is the finished run itself, which stays as it is: choose a new folder",
        RunDirectoryError,
    )
    is_new = not target.exists() or target.is_dir() and not any(target.iterdir())
    require(is_new, f"--out {out} is not a new or empty folder", RunDirectoryError)


def _ends(
    job: Job, longer: Job, inputs: Inputs, progress: Progress, stretch_schedule: bool
) -> list[Ended]:
    """The last state of each group, and its program under the longer run's settings."""
    job, cells = job.cells()
    longer, more_cells = longer.cells()
    stored = reading.read_config(job.launch.out)
    ended = []
    identity = RunIdentity(stored.run_id, stored.experiment, stored.settings, inputs.identity)
    pairs = zip(groups(job.experiment, cells), groups(job.experiment, more_cells), strict=True)
    for before, after in pairs:
        keys, hyper = lanes_of(before, job.config)
        short, long = (
            distribute_group(job.experiment, job.launch, group, inputs, keys, hyper)
            for group in (before, after)
        )
        if not stretch_schedule:
            with progress.phase(f"comparing the steps of {before.name} under both numbers"):
                _require_same_steps(short, long, before, keys, hyper, inputs, longer)
        turns = Turns(short, len(keys))
        shapes = turns.saved_shapes(short.abstract(*_of_one_turn(short, keys, hyper)))
        folder = pathlib.Path(job.launch.out) / reading.CHECKPOINTS
        sealed = identity.of_group(before, short, shapes)
        place = folder / records.safe_name(before.name)
        step, lanes, rows = _last(place, sealed, usual_of(job.config), shapes)
        failed = np.all(jax.device_get(lanes.failed_at) >= 0)
        require(
            step == job.config.num_steps or bool(failed),
            f"the newest sound checkpoint of {before.name} in {folder} is of step {step}, not of"
            f" the last one, {job.config.num_steps}",
            RunDirectoryError,
        )
        ended.append(Ended(after, long, step, lanes, rows))
    return ended


def _last(
    folder: pathlib.Path, identity: dict, usual: dict, shapes: Lane
) -> tuple[int, Lane, list[dict]]:
    """(step, lanes, rows) of the newest checkpoint; leaves the folder unchanged."""
    missing = f"{folder} has no checkpoint, and without one there is nothing to go on from"
    require(folder.is_dir(), missing, RunDirectoryError)
    opened = Checkpoints(folder, identity, usual=usual, read_only=True)
    with contextlib.closing(opened) as checkpoints:
        step, lanes, _ = checkpoints.restore_newest(shapes)
        if lanes is None:
            raise RunDirectoryError(missing)
        return step, lanes, checkpoints.rows_at(step)


def _require_same_steps(short, long, group: Group, keys, hyper, inputs: Inputs, longer: Job):
    """Requires that `num_steps` affects neither the first state nor a step.

    The programs are compared as text.
    """
    start = _of_one_turn(short, keys, hyper)
    texts = [
        (
            compiled.init.lower(*start).as_text(),
            compiled.lower_advance(compiled.abstract(*start), inputs.arrays).as_text(),
        )
        for compiled in (short, long)
    ]
    require(
        texts[0] == texts[1],
        f"the steps that {group.name} has made depend on their number (a schedule to the end, or a"
        " warm-up that is a share of it): a run of"
        f" {longer.config.num_steps} steps would have made others. Train it from step 0, or go on"
        " by the schedule of the new length from here on with --stretch_schedule",
    )


def _of_one_turn(compiled, keys, hyper) -> tuple:
    """Keys and hyper-parameters of the lanes for which a program is made."""
    return jax.tree.map(lambda x: x[: compiled.num_lanes], (keys, hyper))


def _begin(
    target: pathlib.Path,
    longer: Job,
    inputs: Inputs,
    ended: list[Ended],
    parent: dict,
    progress: Progress,
) -> None:
    """Makes the folder of the longer run, completely or not at all."""
    config = longer.config
    longer, cells = longer.cells()
    names = tuple(cell.name for cell in cells)
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    asked = dataclasses.asdict(longer.launch)
    try:
        with RunDirectory.create(
            part, longer.experiment.name, longer.settings(), launch=asked, parent=parent
        ) as directory:
            _copy_rows(pathlib.Path(parent["folder"]), part)
            for end in ended:
                _save(directory, inputs, end)
                if longer.launch.keep_best:
                    _copy_best(pathlib.Path(parent["folder"]), directory, longer, end)
                wrong = logged.settle(directory, config, end.group, names, end.step, end.rows)
                for sentence in wrong:
                    progress.notice(sentence)
        if target.exists():
            target.rmdir()
        part.rename(target)
        records.sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _copy_rows(folder: pathlib.Path, part: pathlib.Path) -> None:
    rows = folder / reading.METRICS
    if rows.is_file():
        shutil.copyfile(rows, part / reading.METRICS)


def _copy_best(folder: pathlib.Path, directory: RunDirectory, longer: Job, end: Ended) -> None:
    """Copies the best models so far, as models of the longer run."""
    for index, arm in enumerate(end.group.arms):
        name = models.file_name(arm.name, models.BEST)
        manifest = weights.read_manifest(folder / directory.models.name, name)
        like = models.tree_of(end.lanes, index, longer.config.num_seeds)
        tree = weights.read_weights(manifest, like)
        about = {**manifest.about, **models.identity_of(longer.experiment.name, arm)}
        weights.write_weights(directory.models, name, tree, about)


def _save(directory: RunDirectory, inputs: Inputs, end: Ended) -> None:
    """The first checkpoint of a group in the new folder."""
    folder = directory.checkpoints / records.safe_name(end.group.name)
    identity = RunIdentity(
        directory.run_id, directory.experiment, directory.config, inputs.identity
    ).of_group(end.group, end.compiled, end.lanes)
    convolutions = convolutions_of(end.compiled, end.lanes)
    directory.record(dataset=inputs.identity, convolutions=convolutions)
    with contextlib.closing(Checkpoints(folder, identity)) as checkpoints:
        checkpoints.save(end.step, end.lanes, end.rows)
