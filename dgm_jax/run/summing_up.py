"""What a run came to: the content of summary.json, and the exit code."""

import time

from dgm_jax.report import statistics
from dgm_jax.run.ablation import without_effect
from dgm_jax.run.context import Run
from dgm_jax.run.outcomes import ArmOutcome
from dgm_jax.run.settings import as_recorded
from dgm_jax.store.reading import read_environment

DIVERGED = 6


def exit_code(summary: dict) -> int:
    """The exit code that a finished run returns.

    Args:
        summary: of the run.

    Returns:
        6 if every seed of every arm has failed, else 0.
    """
    total = len(summary.get("arms", ())) * summary.get("num_seeds", 0)
    return DIVERGED if total and len(summary.get("failed_seeds", ())) == total else 0


def summary_of(run: Run, results: list[ArmOutcome]) -> dict:
    """The content of summary.json, with metrics by arm.

    Args:
        run: what was trained.
        results: of all its arms.

    Returns:
        The summary; `report.summaries.flattened` makes the file's form of it.
    """
    clock = run.clock
    config = run.config
    rank = run.experiment.rank_by
    metrics = {r.arm_result.name: _over_seeds(r.metrics) for r in results}
    reference = [
        {**row, "arm": r.arm_result.name}
        for r in results
        for row in run.experiment.functions.references(r.arm_result.config)
    ]
    return {
        "experiment": run.experiment.name,
        "config": as_recorded(config),
        "arms": list(metrics),
        "num_seeds": config.num_seeds,
        "num_steps": config.num_steps,
        **({"parent": run.directory.parent} if run.directory.parent else {}),
        "wall_seconds": time.monotonic() - clock.start,
        "compile_seconds": clock.compile_seconds,
        "seed_steps_per_second": clock.rate,
        **({"feeding": clock.feeding} if clock.feeding else {}),
        "strategy": {r.arm_result.name: r.strategy for r in results},
        "layout": results[0].layout,
        "failed_seeds": [row for r in results for row in _failed_seeds(r)],
        "metrics": metrics,
        "reference": statistics.compare_with_reference(metrics, reference),
        "differences": statistics.differences_between_arms(metrics),
        "notes": [
            *read_environment(run.directory.path).get("launch", {}).get("chosen", ()),
            *([statistics.ranking(metrics, rank)] if len(metrics) > 1 and rank else []),
            *without_effect(results, run.experiment.arm_field),
        ],
        "explanations": run.experiment.explanations,
        "display": run.experiment.display(),
        "num_parameters": {r.arm_result.name: r.num_parameters for r in results},
        "dataset": run.inputs.identity,
        "final_params_sha256": {r.arm_result.name: r.params_sha256 for r in results},
        "final_model_sha256": {r.arm_result.name: r.model_sha256 for r in results},
    }


def _over_seeds(metrics: dict[str, list]) -> dict[str, dict]:
    return {name: statistics.summarize(v) | statistics.robust(v) for name, v in metrics.items()}


def _failed_seeds(result: ArmOutcome) -> list[dict]:
    reason = "not finite; frozen at its last state"
    return [
        {"seed": seed, "arm": result.arm_result.name, "step": int(at), "reason": reason}
        for seed, at in enumerate(result.failed_at)
        if at >= 0
    ]
