"""Pictures of the Dirac-GAN: distances over the steps, and paths in the plane."""

import numpy as np

from dgm_jax import plotting
from dgm_jax.experiments.dirac_gan.steps import ARMS, trajectory
from dgm_jax.run import Inputs


def figures(results, inputs: Inputs) -> dict:
    """For each rule of moving: the distance over the steps, and the paths in the plane."""
    found, num_steps = {}, results[0].config.num_steps
    arms = {result.name: ARMS[result.config.arm[0]] for result in results}
    paths = {
        result.name: trajectory(arms[result.name], result.config.step_size, num_steps)
        for result in results
    }
    for dynamics in dict.fromkeys(arm.dynamics for arm in arms.values()):
        mine = {name: path for name, path in paths.items() if arms[name].dynamics == dynamics}
        distance = {name: np.hypot(*path.T) for name, path in mine.items()}
        figure = plotting.lines(
            np.arange(num_steps + 1),
            distance,
            title=dynamics,
            xlabel="step",
            ylabel="distance",
            log_y=True,
        )
        found[f"distance_{dynamics}"] = (
            figure,
            f"Distance to the equilibrium under {dynamics} updates.",
        )
        # All paths share one axis; each has figures on its own stretch of it only.
        theta = np.concatenate([path[:, 0] for path in mine.values()])
        owner = np.repeat(np.arange(len(mine)), num_steps + 1)
        psi = np.concatenate([path[:, 1] for path in mine.values()])
        psi = {name: np.where(owner == i, psi, np.nan) for i, name in enumerate(mine)}
        figure = plotting.lines(theta, psi, title=dynamics, xlabel="theta", ylabel="psi")
        found[f"paths_{dynamics}"] = (figure, f"(theta, psi) from (1, 1) under {dynamics} updates.")
    return found
