"""Plots of the Dirac-GAN: distances over the steps, and paths in the plane."""

from typing import Any

import numpy as np

from dgm_jax import plotting
from dgm_jax.experiments.dirac_gan.steps import ARMS, trajectory
from dgm_jax.run import ArmResult, Inputs


def plots(results: list[ArmResult], inputs: Inputs) -> dict[str, tuple[Any, str]]:
    """Plot, for each rule of moving, the distance over the steps, and the paths in the plane.

    Args:
        results: the finished arms.
        inputs: arrays, identity and context of the run.

    Returns:
        {name: (plot, caption)}.
    """
    plots = {}
    num_steps = results[0].config.num_steps
    arms = {result.name: ARMS[result.config.arm[0]] for result in results}
    paths = {
        result.name: trajectory(arms[result.name], result.config.step_size, num_steps)
        for result in results
    }
    for dynamics in dict.fromkeys(arm.dynamics for arm in arms.values()):
        moved = {name: path for name, path in paths.items() if arms[name].dynamics == dynamics}
        distance = {name: np.hypot(*path.T) for name, path in moved.items()}
        figure = plotting.lines(
            np.arange(num_steps + 1),
            distance,
            title=dynamics,
            xlabel="step",
            ylabel="distance",
            log_y=True,
        )
        plots[f"distance_{dynamics}"] = (
            figure,
            f"Distance to the equilibrium under {dynamics} updates.",
        )
        # All paths share one horizontal axis; outside of its part of it a path is NaN.
        theta = np.concatenate([path[:, 0] for path in moved.values()])
        owner = np.repeat(np.arange(len(moved)), num_steps + 1)
        all_psi = np.concatenate([path[:, 1] for path in moved.values()])
        psi = {name: np.where(owner == i, all_psi, np.nan) for i, name in enumerate(moved)}
        figure = plotting.lines(theta, psi, title=dynamics, xlabel="theta", ylabel="psi")
        plots[f"paths_{dynamics}"] = (figure, f"(theta, psi) from (1, 1) under {dynamics} updates.")
    return plots
