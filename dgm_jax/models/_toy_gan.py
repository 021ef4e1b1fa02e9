"""GANs on the plane: protocols of the literature, and methods against mode collapse.

A protocol fixes networks, latents, optimizer, batch and order of updates; a method is a change to
the plain GAN. "Architecture and optimizer matter more than the method", so compare methods only
within one protocol.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from dgm_jax.core import Array, Model, Network, lookup
from dgm_jax.models._gan import PENALTIES, Penalty, gan
from dgm_jax.networks import MLP, from_flax
from dgm_jax.objectives.gan import LOSSES


class ToyProtocol(NamedTuple):
    """One published setting.

    Attributes:
        latent_size: length of z.
        generator: makes the network.
        discriminator: makes the network, for any number of packed samples.
        batch_size: number of packs.
        learning_rate: of the discriminator; the generator's is `generator_ratio` times that.
        generator_ratio: the generator's learning rate over the discriminator's.
        b1: of Adam, as is b2.
        b2: of Adam.
        dynamics: a name of `training.DYNAMICS`.
        loss: a name of `objectives.gan.LOSSES`.
        batch_coupling: as in `core.Task`.
        source: of the setting.
    """

    latent_size: int
    generator: Callable[[], Network]
    discriminator: Callable[[], Network]
    batch_size: int
    learning_rate: float
    generator_ratio: float = 1.0
    b1: float = 0.5
    b2: float = 0.999
    dynamics: str = "alternating"
    loss: str = "non_saturating"
    batch_coupling: str | None = None
    source: str = ""


PROTOCOLS = {
    "sandlund": ToyProtocol(
        latent_size=16,
        # Leaky ReLU .2. The source does not publish its initialization; this is DCGAN's N(0, .02^2)
        # with zero biases.
        generator=lambda: from_flax(MLP((128, 128, 2), init_name="normal_0.02")),
        discriminator=lambda: from_flax(MLP((128, 128, 1), init_name="normal_0.02", squeeze=True)),
        batch_size=256,
        learning_rate=2e-4,
        source=(
            "B. Sandlund, paired-discriminator (public repository), vanilla GAN on ring and grid"
        ),
    ),
    "pacgan": ToyProtocol(
        latent_size=2,
        generator=lambda: from_flax(
            MLP((400,) * 4 + (2,), "relu", "normal_0.02", normalization="batch")
        ),
        discriminator=lambda: from_flax(
            MLP((200,) * 3 + (1,), init_name="normal_0.02", maxout_pieces=5, squeeze=True)
        ),
        batch_size=100,
        learning_rate=1e-4,
        b1=0.8,
        dynamics="simultaneous",
        batch_coupling="batch norm of the generator",
        source="Lin et al. 2018, PacGAN, section 4.1",
    ),
    "unrolled": ToyProtocol(
        latent_size=256,
        generator=lambda: from_flax(MLP((128, 128, 2), "tanh", "orthogonal", gain=1.4)),
        discriminator=lambda: from_flax(
            MLP((128, 128, 1), "tanh", "orthogonal", gain=1.4, squeeze=True)
        ),
        batch_size=512,
        learning_rate=1e-4,
        generator_ratio=10.0,
        loss="minimax",
        source="Metz et al. 2017, public demonstration notebook",
    ),
}


@dataclasses.dataclass(frozen=True)
class Method:
    """A change to a protocol; None and the other defaults keep what the protocol says.

    Attributes:
        loss: a name of `objectives.gan.LOSSES`.
        packing: samples that the discriminator sees at once.
        penalty: a name of `models.PENALTIES`.
        penalty_weight: its factor.
        noise_scale: standard deviation of instance noise.
        spectral: spectral normalization of the discriminator.
        critic_updates: discriminator updates for each generator update.
        unrolling: discriminator updates that the generator looks ahead of.
        dynamics: a name of `training.DYNAMICS`.
        consensus_strength: factor of the consensus term, for dynamics that have one.
        average_decay: evaluate a moving average of the generator with this decay.
        generator_ratio: the generator's learning rate over the discriminator's.
    """

    loss: str | None = None
    packing: int = 1
    penalty: str | None = None
    penalty_weight: float = 1.0
    noise_scale: float | None = None
    spectral: bool = False
    critic_updates: int = 1
    unrolling: int = 0
    dynamics: str | None = None
    consensus_strength: float = 0.1
    average_decay: float | None = None
    generator_ratio: float | None = None


METHODS = {
    "vanilla": Method(),
    "minimax": Method(loss="minimax"),
    "least_squares": Method(loss="least_squares"),
    "hinge": Method(loss="hinge"),
    "packed2": Method(packing=2),
    "packed3": Method(packing=3),
    "packed4": Method(packing=4),
    "unrolled1": Method(unrolling=1),
    "unrolled5": Method(unrolling=5),
    "r1": Method(penalty="r1", penalty_weight=1.0),
    "dragan": Method(penalty="dragan", penalty_weight=10.0),
    "wgan_gp": Method(
        loss="wasserstein", penalty="gradient_penalty", penalty_weight=0.1, critic_updates=5
    ),
    "spectral": Method(spectral=True),
    "instance_noise": Method(noise_scale=0.1),
    "averaged": Method(average_decay=0.999),
    "two_time_scales": Method(generator_ratio=0.25),
    "simultaneous": Method(dynamics="simultaneous"),
    "extragradient": Method(dynamics="extragradient"),
    "optimistic": Method(dynamics="optimistic"),
    "consensus": Method(dynamics="consensus"),
}


def toy_gan(
    protocol: ToyProtocol,
    method: Method,
    loss: str | None = None,
    *,
    penalty_weight: Array | float | None = None,
    noise_scale: Array | float | None = None,
) -> Model:
    """Make the `Model` of one method under one protocol.

    Args:
        protocol: one of `PROTOCOLS`.
        method: one of `METHODS`.
        loss: overrides the method's and the protocol's.
        penalty_weight: overrides the method's, if it has a penalty; may be a traced number.
        noise_scale: overrides the method's, if it has instance noise; may be a traced number.

    Returns:
        The model of `models.gan`.

    Raises:
        ConfigError: an unknown name, or a number that no run could use.
    """
    name = loss or method.loss or protocol.loss
    penalty = None
    if method.penalty is not None:
        weight = method.penalty_weight if penalty_weight is None else penalty_weight
        penalty = Penalty(lookup(PENALTIES, method.penalty, "penalty"), weight)
    noise = method.noise_scale
    if noise is not None and noise_scale is not None:
        noise = noise_scale
    return gan(
        protocol.generator(),
        protocol.discriminator(),
        lookup(LOSSES, name, "GAN loss"),
        latent_size=protocol.latent_size,
        example_shape=(2,),
        packing=method.packing,
        noise_scale=noise,
        penalty=penalty,
        spectral=method.spectral,
        critic_updates=method.critic_updates,
        unrolling=method.unrolling,
    )
