"""GANs on a known mixture in the plane: what `gan_ring` and `gan_grid` share."""

import dataclasses
from typing import Literal

from dgm_jax.experiments._shared.choices import GanLoss
from dgm_jax.run.settings import OPTIMIZER_READ_WHERE, OPTIMIZER_SWEEPABLE, OptimizerConfig

Protocol = Literal["pacgan", "sandlund", "unrolled"]
Method = Literal[
    "vanilla",
    "minimax",
    "least_squares",
    "hinge",
    "packed2",
    "packed3",
    "packed4",
    "unrolled1",
    "unrolled5",
    "r1",
    "dragan",
    "wgan_gp",
    "spectral",
    "instance_noise",
    "averaged",
    "two_time_scales",
    "simultaneous",
    "extragradient",
    "optimistic",
    "consensus",
]
SWEEPABLE = ("learning_rate", "penalty_weight", "noise_scale", *OPTIMIZER_SWEEPABLE)
READ_WHERE = {
    **OPTIMIZER_READ_WHERE,
    "penalty_weight": {"method": ("r1", "dragan", "wgan_gp")},
    "noise_scale": {"method": ("instance_noise",)},
}

EXPLANATIONS = {
    "modes": "Modes that hold at least 1 % of all samples within three sigma.",
    "modes_any_hit": "Modes with at least one sample within three sigma (VEEGAN, PacGAN).",
    "valid": (
        "Share of samples within three sigma of the nearest mode; a perfect sampler has 0.9889 in"
        " the plane."
    ),
    "mode_tv": (
        "Total variation between the histogram over modes plus a bucket of invalid samples and the"
        " target."
    ),
    "reverse_kl": "KL from the histogram of valid samples to the uniform one, in nats (PacGAN).",
    "reverse_kl_bias": "What reverse_kl of a perfect sampler is on average with as many samples.",
    "perfect_modes": (
        "modes, for exact samples of the data, as many as were drawn from the generator."
    ),
    "perfect_valid": (
        "valid, for exact samples of the data, as many as were drawn from the generator."
    ),
    "perfect_mode_tv": (
        "mode_tv, for exact samples of the data, as many as were drawn from the generator."
    ),
    "perfect_reverse_kl": (
        "reverse_kl, for exact samples of the data, as many as were drawn from the generator."
    ),
    "value": "V(G, D) of the current discriminator; -2 log 2 = -1.386 at equilibrium.",
    "js_lower_bound": (
        "log 2 + V / 2, which the Jensen-Shannon divergence exceeds for any discriminator."
    ),
}
BETTER: dict[str, Literal["higher", "lower"]] = {
    "modes": "higher",
    "modes_any_hit": "higher",
    "valid": "higher",
    "mode_tv": "lower",
    "reverse_kl": "lower",
}
RANGES: dict[str, tuple[float | None, float | None]] = {
    "modes": (0, None),
    "modes_any_hit": (0, None),
    "valid": (0, 1),
    "mode_tv": (0, 1),
    "reverse_kl": (0, None),
    "entropy": (0, None),
}
LEVELS = {name: f"perfect_{name}" for name in ("modes", "valid", "mode_tv", "reverse_kl")}
HEADLINE = ("modes", "valid", "mode_tv", "reverse_kl", "perfect_valid", "perfect_mode_tv")


@dataclasses.dataclass(frozen=True)
class ToyGanConfig(OptimizerConfig):
    """Settings of a GAN on a mixture in the plane."""

    method: tuple[Method, ...] = ("vanilla",)
    """Training methods, each an arm: vanilla is the protocol as published; packedN shows the
    discriminator N samples at once, unrolledN lets the generator look N of its updates ahead;
    the others add what they are named for (dgm_jax.models.METHODS)."""
    protocol: Protocol = "sandlund"
    """Whose networks, learning rates, Adam and batch size: sandlund (a public repository),
    pacgan (Lin et al. 2018) or unrolled (Metz et al. 2017); see dgm_jax.models.PROTOCOLS."""
    loss: Literal["", GanLoss] = ""
    """GAN loss of every arm; empty for each method's own."""
    learning_rate: float | None = None
    """Learning rate of the discriminator; the generator's is the protocol's multiple of it.
    None for the protocol's."""
    penalty_weight: float | None = None
    """Factor on the gradient penalty of r1, dragan and wgan_gp; None for the method's."""
    noise_scale: float | None = None
    """Standard deviation of the noise that instance_noise adds to real and generated points;
    None for the method's, 0.1."""
    batch_size: int | None = None
    """Inputs of the discriminator in a batch, of real points and of generated ones each; an
    input of packedN is N points. None for the protocol's."""
    num_eval: int = 10_000
    """Points drawn from the generator for each evaluation, from the same latents every time."""
