"""From the lanes of a group to rows, saved models and outcomes of its arms."""

from typing import NamedTuple

import numpy as np

from dgm_jax import training
from dgm_jax.core import Lane, Metrics, json_values, tree_sha256, tree_size
from dgm_jax.parallel import fetched
from dgm_jax.parallel.devices import Distributed
from dgm_jax.run import models
from dgm_jax.run.cells import Arm, Group
from dgm_jax.run.context import Run
from dgm_jax.run.experiment import ArmResult
from dgm_jax.store import records


class ArmOutcome(NamedTuple):
    """A finished arm, and how it was trained.

    Attributes:
        arm_result: settings and evaluation.
        metrics: the last row, {metric: one number for each seed}.
        failed_at: int[S], the step at which a seed failed, or -1.
        params_sha256: hash of the parameters.
        model_sha256: hash of parameters and model state.
        num_parameters: of one seed.
        strategy: how lanes shared a device.
        layout: how lanes were distributed over devices.
    """

    arm_result: ArmResult
    metrics: dict[str, list]
    failed_at: np.ndarray
    params_sha256: str
    model_sha256: str
    num_parameters: int
    strategy: str
    layout: str


def _split(group: Group, num_seeds: int, arrays) -> list[tuple[Arm, dict[str, np.ndarray]]]:
    """Arrays over lanes as one dictionary for each arm."""
    return [
        (
            arm,
            {
                name: np.asarray(value)[i * num_seeds : (i + 1) * num_seeds]
                for name, value in arrays.items()
            },
        )
        for i, arm in enumerate(group.arms)
    ]


def log(
    run: Run, group: Group, chunk: training.Chunk, evaluated: Metrics, best: models.Best
) -> list[dict]:
    """Writes one row for each arm: one number for each seed, null for a seed that has failed.

    Args:
        run: what is trained.
        group: its arms share the lanes.
        chunk: what was trained last.
        evaluated: {name: [L, ...]} over its lanes.
        best: hears the row's values.

    Returns:
        The rows, one for each arm.
    """
    trained_values = fetched({"failed_at": chunk.lanes.failed_at, **chunk.metrics})
    training_arms = _split(group, run.config.num_seeds, trained_values)
    evaluated_arms = _split(group, run.config.num_seeds, evaluated)
    rows = []
    for (arm, trained), (_, arrays) in zip(training_arms, evaluated_arms, strict=True):
        finite = trained.pop("failed_at") < 0
        metrics = {**trained, **run.experiment.functions.summarize(arrays, arm.config, run.inputs)}
        metrics = {
            name: np.where(finite, np.asarray(value, np.float64), np.nan)
            for name, value in metrics.items()
        }
        best.observe(arm.name, metrics)
        row = json_values.plain({"step": chunk.step, "arm": arm.name, **metrics}, "row")
        rows.append(row)
        run.directory.append_row(row)
        result = ArmResult(arm.name, arm.config, arrays)
        snapshots = run.experiment.functions.snapshots(result, run.inputs, chunk.step)
        for name, (figure, caption) in snapshots.items():
            file = f"{records.safe_name(arm.name)}_{name}_{chunk.step:08d}"
            path = run.directory.save_figure(file, figure, caption)
            run.tracking.picture(name, path, caption, chunk.step, arm.name)
    return rows


def draw(run: Run, results: list[ArmOutcome]) -> None:
    """Saves the final pictures of a run.

    Args:
        run: what was trained.
        results: of all its arms.
    """
    if not run.directory.writes:
        return
    arm_results = [result.arm_result for result in results]
    pictures = run.experiment.functions.plots(arm_results, run.inputs)
    for name, (figure, caption) in pictures.items():
        path = run.directory.save_figure(name, figure, caption)
        run.tracking.picture(name, path, caption)


def _metrics(row: dict) -> dict[str, list]:
    return {name: value for name, value in row.items() if name not in ("step", "arm")}


def shown(run: Run, row: dict) -> dict[str, np.ndarray]:
    """What progress shows of a row: the headline, or everything; NaN for a seed that has failed.

    Args:
        run: knows the headline.
        row: of one arm.

    Returns:
        {metric: float64[S]}.
    """
    metrics = _metrics(row)
    headline = {name: metrics[name] for name in run.experiment.headline if name in metrics}
    return {name: np.array(v, np.float64) for name, v in (headline or metrics).items()}


def outcomes_of(
    run: Run,
    group: Group,
    lanes: Lane,
    evaluated: Metrics,
    compiled: Distributed,
    rows: list[dict],
) -> list[ArmOutcome]:
    """Saves the trained models of a group.

    Args:
        run: what was trained.
        group: its arms share the lanes.
        lanes: as they ended.
        evaluated: {name: [L, ...]}, the last evaluation.
        compiled: the program over lanes.
        rows: of the last logged step.

    Returns:
        The outcome of each arm.
    """
    last = {row["arm"]: row for row in rows}
    failed, steps = fetched((lanes.failed_at, lanes.train_state.step))
    outcomes = []
    for i, (arm, arrays) in enumerate(_split(group, run.config.num_seeds, evaluated)):
        of_arm = slice(i * run.config.num_seeds, (i + 1) * run.config.num_seeds)
        metrics = _metrics(last[arm.name])
        tree = models.tree_of(lanes, i, run.config.num_seeds)
        models.save(run, arm, models.LAST, tree, step=steps[of_arm])
        result = ArmResult(arm.name, arm.config, arrays)
        hashes = tree_sha256(tree["params"]), tree_sha256(tree)
        size = tree_size(tree["params"]) // run.config.num_seeds
        how = compiled.strategy, compiled.layout
        outcomes.append(ArmOutcome(result, metrics, failed[of_arm], *hashes, size, *how))
    return outcomes
