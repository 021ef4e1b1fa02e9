"""Adversarial variational Bayes against a VAE on four data points, where the plane of latents can
be integrated over.

    python -m experiments.avb_four_points
    python -m experiments.avb_four_points --preset paper --num_steps 100000 --log_every 10000

Mescheder, Nowozin and Geiger 2017, section 5.1 and the authors' notebooks: four one-hot images of 2
x 2 pixels, z in the plane, Bernoulli decoder 2-64-64-64-4, encoders of the same size (Gaussian, or
with 64 numbers of noise), a residual critic with two updates a step. The exact optimum is log p =
-log 4 = -1.386 with marginal KL 0; Gaussian posteriors cannot tile the prior, so the VAE stops near
-1.57. log p(x) is the quadrature of the decoder over [-8, 8]^2; the ELBO and KL of the VAE are
integrals too, those of AVB come from 800,000 draws of each posterior in a histogram (bins of .025).
`critic_elbo` is what the critic says of the same model, `overstatement` how much that is too high.

Measured with `--num_seeds 8` (preset `fast`, seeds of 0, 2026-11-23, two CPU cores, 19 minutes),
medians: VAE log p -1.569, ELBO -1.698, marginal KL .145, which is the paper's VAE; AVB log p -1.432
(worst seed -1.437, each at least .13 above the VAE's), ELBO -1.472, marginal KL .041,
reconstruction .018 a pixel, still rising when it stopped. The critic's ELBO lies between .045 below
and .121 above the independent one.

The second command with `--num_seeds 1 --model avb` (seed 0, 2026-11-23, two CPU cores, about two
hours, one checkpoint resumed): log p -1.405 (published -1.403), ELBO -1.417 (-1.421), marginal KL
.011 (.026), reconstruction .0080 a pixel (.0058), critic's ELBO -1.412; the four posteriors are the
quarters of the prior. Log p was -1.443 after 30,000 steps and -1.419 after 50,000. ELBO and KL are
those of its final parameters with the bins of today: that run had bins of .1, which lose what a
sharp edge does inside them, and said -1.399 and .007.
"""

import dataclasses
from typing import Literal

from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import OPTIMIZER_READ_WHERE, OPTIMIZER_SWEEPABLE, OptimizerConfig


@dataclasses.dataclass(frozen=True)
class Config(OptimizerConfig):
    """VAE and AVB on four points, side by side."""

    model: tuple[Literal["vae", "avb"], ...] = ("vae", "avb")
    """Arms: vae (Gaussian posteriors) and avb (adversarial variational Bayes, implicit
    posteriors)."""
    preset: Literal["fast", "paper"] = "fast"
    """Learning rates, schedule and batch size: fast, or those of the paper, which need an
    accelerator and --num_steps 100000."""
    num_seeds: int = 8
    num_steps: int = 3_000
    log_every: int = 1_000
    num_critic_updates: int = 2
    """Critic updates in a step of AVB, each on fresh draws."""
    critic_width: int = 256
    """Width of the critic's residual blocks."""


EXPERIMENT = Experiment(
    name="avb_four_points",
    chapter="Implicit posteriors",
    config=Config,
    task=f"{__name__}.task",
    sweepable=OPTIMIZER_SWEEPABLE,
    headline=(
        "log_likelihood",
        "reconstruction_error",
        "elbo",
        "marginal_kl",
        "mutual_information",
        "critic_elbo",
        "overstatement",
    ),
    better={
        "log_likelihood": "higher",
        "reconstruction_error": "lower",
        "elbo": "higher",
        "marginal_kl": "lower",
        "mutual_information": "higher",
    },
    ranges={
        "log_likelihood": (None, -1.3862),
        "marginal_kl": (0, None),
        "mutual_information": (0, 1.3863),
        "outside": (0, 1),
    },
    explanations={
        "log_likelihood": (
            "Mean of log p(x) over the four points, by quadrature; at most -log 4 = -1.386."
        ),
        "reconstruction_error": "-E_q log p(x | z) / 4, nats a pixel.",
        "elbo": "E_q log p(x | z) - KL(q(z | x) || p(z)), independent of the critic.",
        "marginal_kl": "KL of the aggregated posterior to the prior; 0 at the optimum.",
        "mutual_information": "Between the index of the point and z; at most log 4 = 1.386.",
        "critic_elbo": "E_q [log p(x | z) - T(x, z)]: what training sees.",
        "overstatement": "critic_elbo - elbo.",
        "outside": "Share of posterior draws beyond [-8, 8]^2.",
    },
    arm_field="model",
    read_where={
        **OPTIMIZER_READ_WHERE,
        **dict.fromkeys(("num_critic_updates", "critic_width"), {"model": ("avb",)}),
    },
)
