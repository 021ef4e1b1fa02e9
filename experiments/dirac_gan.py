"""Which training methods for GANs converge? The Dirac-GAN, where the answer is a number.

    python -m experiments.dirac_gan
    python -m experiments.dirac_gan --arm gan gan_alternating --step_size 0.1

Mescheder, Geiger and Nowozin 2018: point mass against point mass, a linear critic, theta = psi = 1
at the start, step size .2, 500 steps. `distance` is how far (theta, psi) then is from the
equilibrium (0, 0); beside it stands what the public notebook of GAN_stability gives with its
constants: WGAN-GP with lambda = .7 and target 1, R1 with gamma / 2 psi^2, alternating updates with
the generator first. Its consensus formula halves one term: `half_consensus` repeats
that and ends at 2.08e-10, `gan_consensus`, the method of the paper, at 2.58e-10. `spectral_radius`
is the largest modulus of an eigenvalue of one optax step at the equilibrium: below 1 the step
converges there, above 1 it leaves. Nothing is random, so one seed is enough. Measured: all 14
distances of the notebook, and all eigenvalues to 1e-15.
"""

import dataclasses
import functools
import sys

import numpy as np

from dgm_jax import parallel, plotting
from dgm_jax.core import Task, lookup, require_positive
from dgm_jax.models.dirac_gan import DIRAC_GAMES, dirac_gan
from dgm_jax.run import Data, Experiment, RunConfig, main
from dgm_jax.studies.dirac_gan import ARMS, algorithm, closed_form, spectrum, trajectory

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


@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
    """Distances and spectra of the Dirac-GAN."""

    arm: tuple[str, ...] = tuple(ARMS)
    """Game and dynamics: gan, r1_1, wgan_clip_alternating, gan_consensus, ..."""
    num_seeds: int = 1
    num_steps: int = 500
    log_every: int = 250
    step_size: float = 0.2
    """Of plain gradient descent, for both players."""


def validate(config: Config) -> None:
    """Known arms and a positive step."""
    for name in config.arm:
        lookup(ARMS, name, "arm")
    require_positive(config, "step_size")


def build(config: Config, loaded: Data) -> Task:
    """Two numbers play one game under one rule: where do they end?"""
    arm = lookup(ARMS, config.arm[0], "arm")

    def evaluate(train_state, arrays, key):
        return {
            "theta": train_state.params["generator"],
            "psi": train_state.params["discriminator"],
        }

    return Task(
        init=dirac_gan(DIRAC_GAMES[arm.game]).init,
        draw=lambda arrays, data_key, index: {},
        algorithm=functools.partial(algorithm, arm, config.step_size),
        evaluate=evaluate,
    )


def finalise(arrays, config: Config, loaded: Data) -> dict[str, np.ndarray]:
    """The distance, in double precision because the square of 1e-22 leaves single precision; and
    the spectrum."""
    arm = ARMS[config.arm[0]]
    values = spectrum(arm, config.step_size)
    figures = {
        "spectral_radius": np.abs(values[0]),
        "eigenvalue_real": values[0].real,
        "eigenvalue_imaginary": values[0].imag,
        "eigenvalue_error": np.abs(values - closed_form(arm, config.step_size)).max(),
        "rate_real": (values[0].real - 1) / config.step_size,
        "rate_imaginary": values[0].imag / config.step_size,
    }
    theta, psi = np.asarray(arrays["theta"], np.float64), np.asarray(arrays["psi"], np.float64)
    return {"distance": np.hypot(theta, psi)} | {
        k: np.full(theta.shape, v) for k, v in figures.items()
    }


def references(config: Config) -> list[dict]:
    """The notebook's distance at its settings; the spectrum in closed form at any step size."""
    name, rows = config.arm[0], []
    if (config.step_size, config.num_steps) == (0.2, 500) and name in DISTANCES:
        published, spread = DISTANCES[name]
        rows.append(
            {"metric": "distance", "published": published, "spread": spread, "source": NOTEBOOK}
        )
    radius = float(np.abs(closed_form(ARMS[name], config.step_size)).max())
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


def figures(results, loaded: Data) -> dict:
    """For each rule of moving: the distance over the steps, and the paths in the plane."""
    config, found = results[0].config, {}
    paths = {
        result.name: trajectory(ARMS[result.name], config.step_size, config.num_steps)
        for result in results
    }
    for dynamics in dict.fromkeys(ARMS[name].dynamics for name in paths):
        mine = {name: path for name, path in paths.items() if ARMS[name].dynamics == dynamics}
        distance = {name: np.hypot(*path.T) for name, path in mine.items()}
        figure = plotting.lines(
            np.arange(config.num_steps + 1),
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
        owner = np.repeat(np.arange(len(mine)), config.num_steps + 1)
        psi = np.concatenate([path[:, 1] for path in mine.values()])
        psi = {name: np.where(owner == i, psi, np.nan) for i, name in enumerate(mine)}
        figure = plotting.lines(theta, psi, title=dynamics, xlabel="theta", ylabel="psi")
        found[f"paths_{dynamics}"] = (figure, f"(theta, psi) from (1, 1) under {dynamics} updates.")
    return found


EXPERIMENT = Experiment(
    name="dirac_gan",
    config=Config,
    load=lambda config: Data({}, {"name": "a point mass at 0"}),
    build=build,
    distribute=parallel.distribute,
    validate=validate,
    finalise=finalise,
    figures=figures,
    references=references,
    headline=("distance", "spectral_radius", "eigenvalue_error"),
    explanations={
        "distance": "Of (theta, psi) to the equilibrium (0, 0); sqrt(2) at the start.",
        "spectral_radius": "Largest modulus of an eigenvalue of one step at the equilibrium.",
        "eigenvalue_error": (
            "Largest distance of the eigenvalues, found by jacfwd of the step, to the closed form."
        ),
        "eigenvalue_real": "Real part of the eigenvalue of largest modulus.",
        "eigenvalue_imaginary": "Its imaginary part, of a conjugate pair the positive one.",
        "rate_real": (
            "Real part of (eigenvalue - 1) / step size; for simultaneous updates the field's"
            " eigenvalue."
        ),
        "rate_imaginary": "Its imaginary part; 1/2 for the GAN and the non-saturating GAN.",
    },
    arm_field="arm",
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
