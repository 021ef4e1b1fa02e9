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
    by_arm = []
    for index, arm in enumerate(group.arms):
        of_arm = _lanes_of(index, num_seeds)
        values = {name: np.asarray(value)[of_arm] for name, value in arrays.items()}
        by_arm.append((arm, values))
    return by_arm


def _lanes_of(index: int, num_seeds: int) -> slice:
    """Where the lanes of an arm are among those of its group."""
    return slice(index * num_seeds, (index + 1) * num_seeds)


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
    num_seeds = run.config.num_seeds
    trained_values = fetched({"failed_at": chunk.lanes.failed_at, **chunk.metrics})
    training_arms = _split(group, num_seeds, trained_values)
    evaluated_arms = _split(group, num_seeds, evaluated)
    rows = []
    for (arm, trained), (_, arrays) in zip(training_arms, evaluated_arms, strict=True):
        finite = trained.pop("failed_at") < 0
        summary = run.experiment.functions.summarize(arrays, arm.config, run.inputs)
        metrics = {}
        for name, value in {**trained, **summary}.items():
            values = np.asarray(value, np.float64)
            metrics[name] = np.where(finite, values, np.nan)
        best.observe(arm.name, metrics)
        content = {"step": chunk.step, "arm": arm.name, **metrics}
        row = json_values.plain(content, "row")
        rows.append(row)
        run.directory.append_row(row)
        result = ArmResult(arm.name, arm.config, arrays)
        _save_snapshots(run, result, chunk.step)
    return rows


def _save_snapshots(run: Run, result: ArmResult, step: int) -> None:
    """Saves the pictures of an arm's evaluation."""
    snapshots = run.experiment.functions.snapshots(result, run.inputs, step)
    arm = records.safe_name(result.name)
    for name, (figure, caption) in snapshots.items():
        file = f"{arm}_{name}_{step:08d}"
        path = run.directory.save_figure(file, figure, caption)
        run.tracking.picture(name, path, caption, step, result.name)


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
    chosen = headline or metrics
    return {name: np.array(values, np.float64) for name, values in chosen.items()}


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
    num_seeds = run.config.num_seeds
    last = {row["arm"]: row for row in rows}
    failed, steps = fetched((lanes.failed_at, lanes.train_state.step))
    outcomes = []
    for index, (arm, arrays) in enumerate(_split(group, num_seeds, evaluated)):
        of_arm = _lanes_of(index, num_seeds)
        metrics = _metrics(last[arm.name])
        tree = models.tree_of(lanes, index, num_seeds)
        models.save(run, arm, models.LAST, tree, step=steps[of_arm])
        params = tree["params"]
        outcome = ArmOutcome(
            arm_result=ArmResult(arm.name, arm.config, arrays),
            metrics=metrics,
            failed_at=failed[of_arm],
            params_sha256=tree_sha256(params),
            model_sha256=tree_sha256(tree),
            num_parameters=tree_size(params) // num_seeds,
            strategy=compiled.strategy,
            layout=compiled.layout,
        )
        outcomes.append(outcome)
    return outcomes
