"""Is a trained discriminator the optimal one? A network compared with known densities.

    python -m experiments.gan_optimality
    python -m experiments.gan_optimality --arm ring --num_steps 20000 --hidden 128

The generator is fixed, so p and q are known and so is the best discriminator: its logit is log
p - log q, and V(G, D*) = 2 JSD(p, q) - 2 log 2 (Goodfellow et al. 2014, proposition 1 and theorem
1). A network sees samples only, and is trained on their cross-entropy; over training we measure on
a grid how far its logit is from the optimal one and how far its value, by quadrature and not on
samples, is below that of D*. The gap is what a GAN's "JSD" lacks. Measured (2026-11-22, 5 seeds,
4,000 steps, mean): gaps of .0001, .0006 and .0025 nats below JSDs of .0538, .1795 and .3431 (line,
plane, ring). The logit is off by .025, .076 and .176 (root mean square) where D* is between .01 and
.99; beyond that it may be off by more, where neither V nor samples depend much on it.
"""

import dataclasses
import typing
from typing import Literal

from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import OPTIMIZER_READ_WHERE, OPTIMIZER_SWEEPABLE, OptimizerConfig

PairName = Literal["mixture_1d", "mixture_2d", "ring"]
Activation = Literal[
    "elu", "gelu", "identity", "leaky_relu", "relu", "sigmoid", "silu", "softplus", "tanh"
]


@dataclasses.dataclass(frozen=True)
class Config(OptimizerConfig):
    """Does the trained discriminator reach log p / q?"""

    arm: tuple[PairName, ...] = typing.get_args(PairName)
    """Pairs of a data distribution (mixture_1d, mixture_2d, ring) and a fixed Gaussian
    generator, each an arm."""
    num_steps: int = 4_000
    log_every: int = 400
    batch_size: int = 512
    """Points of the data, and as many of the generator, in a step; all fresh."""
    hidden: int = 64
    """Width of both hidden layers of the discriminator."""
    activation: Activation = "leaky_relu"
    """Activation of the hidden layers (dgm_jax.networks.ACTIVATIONS)."""
    learning_rate: float = 1e-2
    """Learning rate at the start; by default it falls to zero along a cosine (schedule)."""


EXPERIMENT = Experiment(
    name="gan_optimality",
    chapter="Likelihood-free learning",
    config=Config,
    task=f"{__name__}.task",
    sweepable=("learning_rate", *OPTIMIZER_SWEEPABLE),
    data_settings=("arm",),
    read_where=OPTIMIZER_READ_WHERE,
    headline=(
        "value",
        "gap",
        "jsd",
        "js_lower_bound",
        "logit_rms_undecided",
        "logit_max_undecided",
    ),
    better={
        "gap": "lower",
        "js_lower_bound": "higher",
        "logit_rms_undecided": "lower",
        "logit_max_undecided": "lower",
    },
    ranges={
        "gap": (0, None),
        "jsd": (0, 0.6932),
        "js_lower_bound": (None, 0.6932),
        "logit_rms": (0, None),
        "logit_rms_undecided": (0, None),
        "logit_max_undecided": (0, None),
        "probability_rms": (0, 1),
    },
    levels={"value": "optimal_value", "js_lower_bound": "jsd"},
    explanations={
        "value": "V(G, D) of the network, by quadrature: no sampling error.",
        "optimal_value": "V(G, D*) = 2 JSD(p, q) - 2 log 2 on the same grid.",
        "gap": "optimal_value - value in nats, at least 0: what the network lacks.",
        "jsd": "The Jensen-Shannon divergence of p and q, by quadrature.",
        "js_lower_bound": "log 2 + value / 2: what the network says about the JSD, from below.",
        "logit_rms": (
            "Root mean square of logit - (log p - log q) under (p + q) / 2, tails included."
        ),
        "logit_rms_undecided": "The same where D* is between .01 and .99, inside 99 % of the mass.",
        "logit_max_undecided": "The largest such distance there.",
        "probability_rms": "Root mean square of D - D* under (p + q) / 2.",
    },
    arm_field="arm",
)
