"""Which training methods for GANs converge? The Dirac-GAN, where the answer is a number.

    python -m experiments.dirac_gan
    python -m experiments.dirac_gan --arm gan gan_alternating --step_size 0.1

Mescheder, Geiger and Nowozin 2018: point mass against point mass, a linear critic, theta = psi = 1
at the start, step size .2, 500 steps. `distance` is how far (theta, psi) then is from the
equilibrium (0, 0); it is compared with what the public notebook of GAN_stability gives with its
constants: WGAN-GP with lambda = .7 and target 1, R1 with gamma / 2 psi^2, alternating updates with
the generator first. Its consensus formula halves one term: `half_consensus` repeats
that and ends at 2.08e-10, `gan_consensus`, the method of the paper, at 2.58e-10. `spectral_radius`
is the largest modulus of an eigenvalue of one optax step at the equilibrium: below 1 the step
converges there, above 1 it leaves. Nothing is random, so one seed is enough. Measured: all 14
distances of the notebook, and all eigenvalues to 1e-15.
"""

import dataclasses
import typing
from typing import Literal

from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import StudyConfig

ArmName = Literal[
    "gan",
    "non_saturating",
    "wgan_clip",
    "wgan_gp",
    "r1_0.3",
    "r1_1",
    "non_saturating_r1_0.3",
    "half_consensus",
    "gan_alternating",
    "non_saturating_alternating",
    "wgan_clip_alternating",
    "wgan_gp_alternating",
    "r1_0.3_alternating",
    "r1_1_alternating",
    "non_saturating_r1_0.3_alternating",
    "gan_consensus",
    "gan_extragradient",
    "gan_optimistic",
]


@dataclasses.dataclass(frozen=True)
class Config(StudyConfig):
    """Distances and spectra of the Dirac-GAN. The theory is about plain gradient steps, so there is
    no choice of optimizer or schedule: step_size is all."""

    arm: tuple[ArmName, ...] = typing.get_args(ArmName)
    """GAME or GAME_DYNAMICS, each an arm: the loss or regularization of the two players, and
    how they move if not at the same time (alternating, consensus, extragradient,
    optimistic)."""
    num_seeds: int = 1
    num_steps: int = 500
    log_every: int = 250
    step_size: float = 0.2
    """Step size of both players' gradient descent."""


EXPERIMENT = Experiment(
    name="dirac_gan",
    chapter="Likelihood-free learning",
    config=Config,
    task=f"{__name__}.task",
    sweepable=("step_size",),
    headline=("distance", "spectral_radius", "eigenvalue_error"),
    better={"distance": "lower", "spectral_radius": "lower", "eigenvalue_error": "lower"},
    ranges={"distance": (0, None), "spectral_radius": (0, None), "eigenvalue_error": (0, None)},
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
