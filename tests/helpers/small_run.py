"""A run folder of two arms and four seeds, written without training."""

import numpy as np

from dgm_jax import plotting
from dgm_jax.report import statistics
from dgm_jax.report.summaries import flattened
from dgm_jax.store import RunDirectory


def make_run(
    path, *, finish=True, arms=("vanilla", "packed2"), name="gan_ring", extra=None, rate=2e-4
):
    """A small run; returns its summary."""
    rng = np.random.default_rng(0)
    with RunDirectory.create(
        path, name, {"num_steps": 300, "num_seeds": 4, "learning_rate": rate}
    ) as run:
        run.record({"name": "ring", "identity": "ring[8 modes, fresh samples]", "modes": 8})
        last = {}
        for arm in arms:
            for step in (100, 200, 300):
                modes = np.array([5.0, 6.0, 7.0, np.nan]) + (arm == "packed2") + step / 300
                loss = rng.normal(size=4)
                run.append_row(
                    {"step": step, "arm": arm, "modes": modes, "loss": loss, "seconds": 1.5}
                )
            last[arm] = {"modes": modes, "loss": loss}
        run.save_figure(
            "samples", plotting.image_grid(rng.random((4, 8, 8))), caption="Samples at fixed noise."
        )
        metrics = {
            arm: {name: statistics.summarize(values) for name, values in found.items()}
            for arm, found in last.items()
        }
        first = {"arm": arms[0], "metric": "modes"}
        summary = {
            "experiment": name,
            "config": run.config,
            "arms": list(arms),
            "num_seeds": 4,
            "num_steps": 300,
            "wall_seconds": 12.5,
            "compile_seconds": 3.25,
            "seed_steps_per_second": 812.0,
            "failed_seeds": [{"arm": arms[0], "seed": 3, "step": 120, "reason": "loss not finite"}],
            "metrics": metrics,
            "reference": statistics.compare_with_reference(
                metrics,
                [
                    first
                    | {"published": 71.0, "spread": None, "source": "Table 3", "context": True},
                    first | {"published": 7.6, "spread": 0.89, "source": "Table 1"},
                    first | {"published": 70.0, "spread": None, "source": "Table 2"},
                ],
            ),
            "explanations": {"modes": "Modes that hold at least 1 % of the samples."},
            "display": {"headline": ["modes"], "better": {"modes": "higher"}},
            "num_parameters": {arm: 17666 for arm in arms},
            **(extra or {}),
        }
        if finish:
            run.write_summary(flattened(summary))
    return summary
