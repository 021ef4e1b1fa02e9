"""Adversarial variational Bayes without data: an implicit sampler on known posteriors.

    python -m experiments.avb_posteriors
    python -m experiments.avb_posteriors --arm torus/avb torus/full_rank --num_seeds 1
    python -m experiments.avb_posteriors --arm eight_schools_signed/avb --critic_width 256 \
        --critic_blocks 5 --batch_size 512 --learning_rate 1e-4 --critic_learning_rate 2e-4 \
        --num_steps 10000

Mescheder, Nowozin and Geiger 2017, section 5.2, and the public notebook, which show plots and no
numbers. Densities: `dgm_jax.densities.posteriors`; families: `dgm_jax.models.posterior_families`.
In the plane the KL of the Gaussians is a quadrature, that of the sampler comes from 400,000 draws
in a histogram (bins of .06 on [-6, 6]^2, counts corrected after Grassberger; the Gaussians, counted
in the same way, come out .003 nats above their quadrature). Eight schools have ten numbers: its
Gaussians get log Z - ELBO, all three the KL of the pair (mu, tau), and moments against a
quadrature. `critic_kl` is what the critic says of the sampler.

Measured on two CPU cores (2026-11-23, first command, seeds 0-2, about five minutes), means over
seeds, nats:

| | mean field | full rank | sampler | its critic says |
| --- | --- | --- | --- | --- |
| rosenbrock, kl | .462 | .462 | .0036 | .0021 |
| torus, kl | 1.468 | 1.468 | .0282 | .0223 |
| eight_schools, kl | .970 | .542 | | -.011 |
| eight_schools, plane_kl | .425 | .268 | .066 (.023 to .095) | |
| eight_schools, mean_error, in sd | .28 | .12 | .12 | |
| eight_schools, sd ratios | .55 to .98 | .58 to .95 | 1.02 to 1.21 | |

In ten dimensions the critic lags: it says less than nothing where (mu, tau) alone are .066 off, and
the sampler ends too wide. The Gaussians are too narrow.
"""

import dataclasses
import typing
from typing import Literal

from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import OPTIMIZER_READ_WHERE, OPTIMIZER_SWEEPABLE, OptimizerConfig

ArmName = Literal[
    "rosenbrock/mean_field",
    "rosenbrock/full_rank",
    "rosenbrock/avb",
    "torus/mean_field",
    "torus/full_rank",
    "torus/avb",
    "eight_schools/mean_field",
    "eight_schools/full_rank",
    "eight_schools/avb",
    "eight_schools_signed/mean_field",
    "eight_schools_signed/full_rank",
    "eight_schools_signed/avb",
]


@dataclasses.dataclass(frozen=True)
class Config(OptimizerConfig):
    """Gaussians and an implicit sampler on known posteriors."""

    arm: tuple[ArmName, ...] = typing.get_args(ArmName)[:9]
    """POSTERIOR/FAMILY, each an arm: a known posterior, and what approximates it: a Gaussian
    (mean_field, full_rank) or an implicit sampler (avb). By default all but
    eight_schools_signed."""
    num_seeds: int = 3
    num_steps: int = 4_000
    log_every: int = 2_000
    batch_size: int = 256
    """Draws of the approximation in an update."""
    gaussian_learning_rate: float = 2e-2
    """Learning rate of the Gaussians at the start; by default all rates fall to zero along a
    cosine."""
    learning_rate: float = 5e-4
    """Learning rate of the sampler at the start. The experiment's Adam has b1 = 0.5 for sampler
    and critic."""
    critic_learning_rate: float = 2e-3
    """Learning rate of the critic at the start."""
    num_critic_updates: int = 2
    """Critic updates in a step, each on fresh draws."""
    noise_size: int = 64
    """Standard normal numbers that the sampler turns into one draw. With few of them the draws
    lie near a thin sheet, which the critic takes for spread: eight schools end too wide."""
    hidden: tuple[int, ...] = (128, 128)
    """Widths of the sampler's hidden layers."""
    critic_width: int = 64
    """Width of the critic's residual blocks."""
    critic_blocks: int = 2
    """Residual blocks of the critic."""


OF_THE_SAMPLER = (
    "learning_rate",
    "critic_learning_rate",
    "num_critic_updates",
    "noise_size",
    "hidden",
    "critic_width",
    "critic_blocks",
)

EXPERIMENT = Experiment(
    name="avb_posteriors",
    chapter="Implicit posteriors",
    config=Config,
    task=f"{__name__}.task",
    sweepable=(
        "gaussian_learning_rate",
        "learning_rate",
        "critic_learning_rate",
        *OPTIMIZER_SWEEPABLE,
    ),
    data_settings=("arm",),
    headline=(
        "kl",
        "plane_kl",
        "critic_kl",
        "bound_gap",
        "mean_error",
        "smallest_sd_ratio",
        "largest_sd_ratio",
    ),
    better={"kl": "lower", "plane_kl": "lower", "mean_error": "lower"},
    ranges={
        "kl": (0, None),
        "plane_kl": (0, None),
        "mean_error": (0, None),
        "smallest_sd_ratio": (0, None),
        "largest_sd_ratio": (0, None),
        "outside": (0, 1),
    },
    explanations={
        "kl": (
            "KL(q || p), nats: quadrature (Gaussians, plane), log Z - ELBO (Gaussians, eight"
            " schools), or plane_kl."
        ),
        "plane_kl": (
            "KL(q || p) of the first two quantities (eight schools: mu, tau) from a histogram of"
            " draws, nats."
        ),
        "critic_kl": (
            "log Z + E_q [T + log r - log f], nats: what the critic says; below kl where it lags"
            " behind."
        ),
        "elbo": (
            "E_q [log f - log q], nats; for the sampler with the entropy of the histogram; at most"
            " log Z."
        ),
        "bound_gap": (
            "log Z - elbo, log Z by quadrature: equals kl but for errors of draws and bins."
        ),
        "mean_error": "Largest |E_q - E_p| of a quantity, in posterior standard deviations.",
        "smallest_sd_ratio": "Smallest ratio of standard deviations, q to p, of a quantity.",
        "largest_sd_ratio": "The largest such ratio.",
        "outside": "Share of draws whose first two quantities lie beyond [-6, 6]^2.",
    },
    arm_field="arm",
    read_where={
        **OPTIMIZER_READ_WHERE,
        "gaussian_learning_rate": {"arm": ("*/mean_field", "*/full_rank")},
        **dict.fromkeys(OF_THE_SAMPLER, {"arm": ("*/avb",)}),
    },
)
