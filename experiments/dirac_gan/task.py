"""The values of the Dirac-GAN: where each arm ends, and the spectrum of its step."""

import functools
import pathlib
from typing import Any

import numpy as np

from dgm_jax.core import Model, Task, lookup, require_positive
from dgm_jax.experiments.dirac_gan import Config
from dgm_jax.experiments.dirac_gan.plots import plots
from dgm_jax.experiments.dirac_gan.steps import ARMS, algorithm, spectrum
from dgm_jax.models import DIRAC_GAMES, dirac_gan, dirac_spectrum
from dgm_jax.run import Inputs
from dgm_jax.run.settings import SettingsView

__all__ = ["build", "load", "model", "plots", "references", "summarize", "validate"]

NOTEBOOK = (
    "GAN_stability, notebooks/DiracGAN.ipynb, recomputed in double precision, +- half a unit of the"
    " last digit"
)
CLOSED_FORM = "linear algebra at the equilibrium, after Mescheder et al. 2018, sections 2 and 4"

# arm -> (distance after 500 steps of size .2, half a unit of its last digit)
DISTANCES = {
    "gan": (3.10, 5e-3),
    "gan_alternating": (1.421, 5e-4),
    "non_saturating": (0.640, 5e-4),
    "non_saturating_alternating": (0.284, 5e-4),
    "wgan_clip": (1.002, 5e-4),
    "wgan_clip_alternating": (1.024, 5e-4),
    "wgan_gp": (1.80, 5e-3),
    "wgan_gp_alternating": (1.22, 5e-3),
    "r1_0.3": (2.64e-6, 5e-9),
    "r1_0.3_alternating": (2.30e-7, 5e-10),
    "r1_1": (9.53e-22, 5e-25),
    "r1_1_alternating": (7.48e-17, 5e-20),
    "non_saturating_r1_0.3": (2.21e-6, 5e-9),
    "half_consensus": (2.08e-10, 5e-13),
}


def validate(config: Config) -> None:
    """Check that arms are known and the step is positive.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    for name in config.arm:
        lookup(ARMS, name, "arm")
    require_positive(config, "step_size")


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Make the inputs: the only data point, 0, is part of the losses.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    return Inputs({}, {"name": "a point mass at 0"})


def model(config: Config, hyper: dict[str, Any], dataset: dict[str, Any]) -> Model:
    """Make the arm's game; its rule need not be one player after the other.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.

    Returns:
        The model.
    """
    return dirac_gan(DIRAC_GAMES[lookup(ARMS, config.arm[0], "arm").game])


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed: two numbers play one game under one rule.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    arm = lookup(ARMS, config.arm[0], "arm")

    def evaluate(train_state, arrays, key):
        return {
            "theta": train_state.params["generator"],
            "psi": train_state.params["discriminator"],
        }

    return Task(
        init=model(config, hyper, inputs.identity).init,
        draw=lambda arrays, data_key, index: {},
        algorithm=functools.partial(algorithm, arm, hyper["step_size"]),
        evaluate=evaluate,
    )


def summarize(arrays: dict[str, Any], config: Config, inputs: Inputs) -> dict[str, np.ndarray]:
    """Compute the distance from the end to (0, 0), and the spectrum of a step.

    In double precision, because the square of 1e-22 is too small for single precision.

    Args:
        arrays: results of the last evaluation, [num_seeds, ...] each.
        config: the settings.
        inputs: arrays, identity and context of the run.

    Returns:
        {metric: [num_seeds]}.
    """
    arm = ARMS[config.arm[0]]
    values = spectrum(arm, config.step_size)
    exact = dirac_spectrum(DIRAC_GAMES[arm.game], arm.dynamics, config.step_size)
    shared = {
        "spectral_radius": np.abs(values[0]),
        "eigenvalue_real": values[0].real,
        "eigenvalue_imaginary": values[0].imag,
        "eigenvalue_error": np.abs(values - exact).max(),
        "rate_real": (values[0].real - 1) / config.step_size,
        "rate_imaginary": values[0].imag / config.step_size,
    }
    theta = np.asarray(arrays["theta"], np.float64)
    psi = np.asarray(arrays["psi"], np.float64)
    metrics = {"distance": np.hypot(theta, psi)}
    return metrics | {name: np.full(theta.shape, value) for name, value in shared.items()}


def references(config: Config) -> list[dict[str, Any]]:
    """The notebook's distance at its settings; the spectrum in closed form at any step size.

    Args:
        config: the settings.

    Returns:
        Rows with metric, published value, spread and source.
    """
    name = config.arm[0]
    rows = []
    if (config.step_size, config.num_steps) == (0.2, 500) and name in DISTANCES:
        published, spread = DISTANCES[name]
        rows.append(
            {"metric": "distance", "published": published, "spread": spread, "source": NOTEBOOK}
        )
    arm = ARMS[name]
    exact = dirac_spectrum(DIRAC_GAMES[arm.game], arm.dynamics, config.step_size)
    radius = float(np.abs(exact).max())
    if np.isfinite(radius):
        rows.append(
            {
                "metric": "spectral_radius",
                "published": radius,
                "spread": 1e-6,
                "source": CLOSED_FORM,
            }
        )
        rows.append(
            {"metric": "eigenvalue_error", "published": 0.0, "spread": 1e-6, "source": CLOSED_FORM}
        )
    return rows
