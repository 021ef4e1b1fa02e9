"""GANs on a known mixture in the plane: the study behind `gan_ring` and `gan_grid`."""

import dataclasses
import functools

import jax
import numpy as np
import optax

from dgm_jax import core, data, evaluation, plotting, training
from dgm_jax.core import Task, lookup
from dgm_jax.models import METHODS, PROTOCOLS, toy_gan
from dgm_jax.objectives.gan import LOSSES
from dgm_jax.run import ArmResult, Data, RunConfig

SHOWN = 2500  # samples of each seed that go into the figure

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
HEADLINE = ("modes", "valid", "mode_tv", "reverse_kl", "perfect_valid", "perfect_mode_tv")


@dataclasses.dataclass(frozen=True)
class ToyGanConfig(RunConfig):
    """Settings of a GAN on a mixture in the plane."""

    method: tuple[str, ...] = ("vanilla",)
    """Arms: vanilla, minimax, packed2/3/4, unrolled1/5, r1, wgan_gp, spectral, ...
    (dgm_jax.models.METHODS)."""
    protocol: str = "sandlund"
    """Networks, optimizer and batch: sandlund, pacgan or unrolled (dgm_jax.models.PROTOCOLS)."""
    loss: str = ""
    """Overrides the loss of every method: minimax, non_saturating, least_squares, hinge,
    wasserstein."""
    learning_rate: float | None = None
    """Adam's, for the discriminator; None for the protocol's."""
    penalty_weight: float | None = None
    """Factor of a gradient penalty; None for the method's."""
    noise_scale: float | None = None
    """Standard deviation of instance noise; None for the method's."""
    batch_size: int | None = None
    """Packs in a batch; None for the protocol's."""
    num_eval: int = 10_000
    """Samples drawn at each evaluation, at fixed latents."""


def validate(config: ToyGanConfig) -> None:
    """Names and sizes, before anything is loaded."""
    lookup(PROTOCOLS, config.protocol, "protocol")
    for name in config.method:
        lookup(METHODS, name, "method")
    if config.loss:
        lookup(LOSSES, config.loss, "GAN loss")
    core.require_at_least(1, config, "num_eval", "batch_size")
    core.require_at_least(0, config, "learning_rate", "penalty_weight", "noise_scale")


def load(dataset: data.Dataset) -> Data:
    """No arrays: the density is sampled on the device inside the compiled step."""
    return Data({}, dataclasses.asdict(dataset.info) | {"identity": dataset.info.identity}, dataset)


def build(config: ToyGanConfig, loaded: Data) -> Task:
    """One seed of one method: draw data and latents, move both players, count modes."""
    density = loaded.dataset.density
    protocol, method = PROTOCOLS[config.protocol], METHODS[config.method[0]]
    model = toy_gan(
        protocol,
        method,
        config.loss or None,
        penalty_weight=config.penalty_weight,
        noise_scale=config.noise_scale,
    )
    num_examples = (config.batch_size or protocol.batch_size) * method.packing
    draw_data = data.draws(loaded.dataset, num_examples)

    def draw(arrays, data_key, index):
        key_x, key_z = jax.random.split(data_key)
        z = core.normal(jax.random.fold_in(key_z, index), (num_examples, protocol.latent_size))
        return {"x": draw_data(arrays, key_x, index)["x"], "z": z}

    def evaluate(train_state, arrays, key):
        del arrays
        key_z, key_perfect = jax.random.split(key)
        samples = model.sample(*training.average_of(train_state), key_z, config.num_eval)
        coverage = evaluation.mode_coverage(samples, density.means, density.scale)
        perfect = evaluation.perfect_sampler(
            key_perfect, density.means, density.scale, config.num_eval
        )
        exact = {
            f"perfect_{name}": getattr(perfect, name)
            for name in ("modes", "valid", "mode_tv", "reverse_kl")
        }
        return {**coverage._asdict(), **exact, "samples": samples[:SHOWN]}

    return Task(
        model.init,
        draw,
        _algorithm(config, protocol, method, model),
        evaluate,
        protocol.batch_coupling,
    )


def _algorithm(config, protocol, method, model):
    """`replica -> Algorithm`: the dynamics with an Adam for each player, averaged where the method
    asks for it."""
    rate = protocol.learning_rate if config.learning_rate is None else config.learning_rate
    ratio = protocol.generator_ratio if method.generator_ratio is None else method.generator_ratio
    # Adam has no derivative at a second moment of zero
    eps_root = 1e-16 if method.unrolling else 0.0
    optimizers = {
        "discriminator": optax.adam(rate, protocol.b1, protocol.b2, eps_root=eps_root),
        "generator": optax.adam(rate * ratio, protocol.b1, protocol.b2),
    }
    name = method.dynamics or protocol.dynamics
    rule = lookup(training.DYNAMICS, name, "dynamics")
    options = {"strength": method.consensus_strength} if name == "consensus" else {}
    rule = functools.partial(rule, model.players, optimizers, **options)
    if method.average_decay is None:
        return rule
    return lambda replica: training.averaged(rule(replica), ("generator",), method.average_decay)


def figures(results: list[ArmResult], loaded: Data) -> dict:
    """Samples of every arm, a panel for each seed."""
    density = loaded.dataset.density
    return {
        f"samples_{result.name}": (
            plotting.scatter_samples(
                result.arrays["samples"],
                np.asarray(density.means),
                scale=density.scale,
                title=result.name,
            ),
            (
                f"{result.name}: samples at fixed noise, a panel a seed; crosses are the modes,"
                " circles three sigma."
            ),
        )
        for result in results
    }


def snapshots(result: ArmResult, loaded: Data, step: int) -> dict:
    """The first seeds' samples during training."""
    density = loaded.dataset.density
    samples, title = result.arrays["samples"][:5], f"{result.name}, step {step}"
    figure = plotting.scatter_samples(
        samples, np.asarray(density.means), scale=density.scale, title=title
    )
    return {"samples": (figure, f"{result.name}: samples at fixed noise after {step} steps.")}
