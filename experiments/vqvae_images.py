"""A VQ-VAE with an autoregressive prior on real images: reconstructions, codebook usage, bits per
dimension, samples.

    python -m experiments.vqvae_images --data fashion_mnist --num_seeds 3
    python -m experiments.vqvae_images --gradient rotation
    python -m experiments.vqvae_images --quantizer codebook_loss --cosine
    python -m experiments.vqvae_images --quantizer finite_scalar --levels 8 6 5
    python -m experiments.vqvae_images --quantizer residual --num_levels 4 --num_codes 64

After van den Oord et al. 2017, section 4.1 (two strided convolutions, two residual blocks, beta
.25, Adam; Sonnet's version with a moving-average codebook, decay .99), smaller: `width` 64 where
they have 128 or 256. The likelihood is a discretised logistic law over the 256 levels of a pixel. A
transformer over the 7 x 7 codes is trained in the same game, on the codes as they are at that step;
both learning rates fall to zero along a cosine. `bits_per_dim` is the bound -log2 p(x | e_c) - log2
p(c) on all test images, `uniform_bits_per_dim` the same with the uniform prior over codes. The
paper's 4.67 bits are for CIFAR-10 and a uniform prior, so they stand beside no row of
Fashion-MNIST.

Measured with the first command (3 seeds of seed 0, 2026-11-23, two CPU cores, about 20 minutes
beside other work), mean and 95 % interval on 10,000 test images: 3.571 [3.516, 3.626] bits a
dimension with the prior, 3.824 [3.791, 3.856] with the uniform prior, 3.324 for the decoder alone;
3.96 bits a code of 8; squared error .0345; all 256 codes in use, perplexity 216 [202, 231]. Over
training (500, 1,000, 1,500, 2,000 steps) the bits were 3.80, 3.65, 3.58, 3.57.
"""

import dataclasses
import functools
import math
import sys

import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax import data, evaluation, parallel, plotting, quantization, training
from dgm_jax.core import (
    Array,
    Quantizer,
    Task,
    chunked,
    lookup,
    require,
    require_at_least,
    require_positive,
)
from dgm_jax.models import vqvae as model_of
from dgm_jax.models.autoregressive import code_prior
from dgm_jax.models.vqvae import (
    VqVae,
    decoded,
    encode,
    log_likelihood,
    log_prior,
    uniform_log_prior,
)
from dgm_jax.networks import (
    ResidualDecoder,
    ResidualEncoder,
    Transformer,
    from_flax,
    from_transformer,
)
from dgm_jax.quantization import QUANTIZERS
from dgm_jax.run import Data, Experiment, RunConfig, main

SHOWN = 48  # images of each seed in the figures
WITHOUT_STATISTICS = ("codebook_loss", "finite_scalar")


@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
    """VQ-VAE and its prior on images: how many bits, how much of the codebook, which samples?"""

    data: str = "fashion_mnist"
    """A set of images by name (dgm_jax.data.load)."""
    num_seeds: int = 3
    num_steps: int = 2_000
    log_every: int = 500
    batch_size: int = 64
    """Images in a step."""
    num_codes: int = 256
    """Entries of the codebook."""
    code_width: int = 32
    """Dimensions of a code."""
    width: int = 64
    """Channels of the autoencoder."""
    quantizer: str = "moving_average"
    """moving_average, codebook_loss, finite_scalar, residual or product."""
    num_levels: int = 4
    """Codes a vector: codebooks of residual, parts of product."""
    levels: tuple[int, ...] = (8, 6, 5)
    """Of finite_scalar: values of each dimension of a code; num_codes and code_width follow."""
    start: str = "normal"
    """Of the codebooks: normal, or kmeans on the encoder's output for the first images."""
    decay: float = 0.99
    """Of the moving averages (all but codebook_loss and finite_scalar), in [0, 1)."""
    threshold: float = 0.05
    """Codes with fewer vectors a batch are put on random vectors; 0 for never."""
    gradient: str = "straight_through"
    """straight_through or rotation."""
    cosine: bool = False
    """Unit-length vectors and codes; needs --quantizer codebook_loss."""
    commitment_weight: float = 0.25
    """beta of van den Oord et al. 2017."""
    learning_rate: float = 1e-3
    """Adam's, at the start; it falls to zero along a cosine."""
    prior_width: int = 96
    """Of the transformer over codes; a multiple of 4, its heads."""
    prior_layers: int = 2
    """Of the transformer over codes."""


def validate(config: Config) -> None:
    """Names and ranges, before anything is loaded."""
    sizes = ("batch_size", "num_codes", "num_levels", "code_width", "width")
    require_at_least(1, config, *sizes, "prior_width", "prior_layers")
    require_at_least(0, config, "threshold", "commitment_weight")
    require_positive(config, "learning_rate")
    require(0 <= config.decay < 1, f"decay must be in [0, 1), got {config.decay}")
    require(config.width % 2 == 0, f"width must be even, got {config.width}")
    require(
        config.prior_width % 4 == 0,
        f"prior_width must be a multiple of 4 (heads), got {config.prior_width}",
    )
    require(
        not config.cosine or config.quantizer == "codebook_loss",
        f"--cosine needs --quantizer codebook_loss, got {config.quantizer!r}",
    )
    QUANTIZERS["finite_scalar"](config.levels)  # whichever is asked for
    quantizer_of(config)


def load(config: Config) -> Data:
    """Real images in [-1, 1]."""
    dataset = data.load(config.data)
    require(
        dataset.info.kind == "images",
        f"data must be a set of images, got the density {config.data!r}",
    )
    arrays = {"train": data.arrays(dataset), "test": data.arrays(dataset, "test")}
    return Data(
        arrays, dataclasses.asdict(dataset.info) | {"identity": dataset.info.identity}, dataset
    )


def quantizer_of(config: Config) -> Quantizer:
    """The quantizer of the settings; ConfigError for those that it cannot have."""
    make = lookup(QUANTIZERS, config.quantizer, "quantizer")
    if config.quantizer == "finite_scalar":
        return make(config.levels)
    options = {"gradient": config.gradient, "start": config.start}
    if config.quantizer == "codebook_loss":
        return make(config.num_codes, config.code_width, cosine=config.cosine, **options)
    options |= {"decay": config.decay, "threshold": config.threshold}
    if config.quantizer == "moving_average":
        return make(config.num_codes, config.code_width, **options)
    return make(config.num_codes, config.code_width, config.num_levels, **options)


def recipe(config: Config, shape: tuple[int, int, int]) -> VqVae:
    """The networks and the quantizer of the settings."""
    quantizer = quantizer_of(config)
    vae = VqVae(
        from_flax(ResidualEncoder(quantizer.width, config.width)),
        from_flax(ResidualDecoder(2 * shape[2], config.width)),
        (shape[0] // 4, shape[1] // 4),
        quantizer,
        commitment_weight=config.commitment_weight,
    )
    rows, *others = vae.code_grid
    transformer = Transformer(
        quantizer.num_codes,
        math.prod(vae.code_grid),
        width=config.prior_width,
        num_layers=config.prior_layers,
        grid=(rows, math.prod(others)),
    )
    return vae._replace(prior=code_prior(from_transformer(transformer), vae.code_grid))


def first_images(config: Config, loaded: Data, places: int) -> Array | None:
    """Training images with ten vectors a code, where codebooks start by k-means."""
    if config.start == "normal":
        return None
    images = loaded.arrays["train"]["image"][: -(-10 * config.num_codes // places)]
    return data.to_model_range(images, loaded.dataset.info.scaling)


def measured(vae: VqVae, params, state, x: Array) -> tuple[Array, Array]:
    """Of each of images [n, H, W, C]: [n, 3], both parts of the bound in nats and the squared
    error; and the codes."""
    _, quantized = encode(vae, params, state, x)
    likelihood = log_likelihood(vae, params, state, quantized.quantized, x)
    shown = decoded(vae, params, state, quantized.quantized)
    error = jnp.mean(jnp.square(shown - x), axis=(1, 2, 3))
    prior = log_prior(vae, params, quantized.codes)
    return jnp.stack([likelihood, prior, error], axis=1), quantized.codes


def usage_of(vae: VqVae, codes: Array) -> dict[str, Array]:
    """Share of the codebook in use and perplexity; for a quantizer with levels the mean over them,
    and each level's own."""
    num_codes, shape = vae.quantizer.num_codes, vae.quantizer.code_shape
    usage = quantization.codebook_usage(codes, num_codes, shape)
    measures = {"usage": usage.num_used / num_codes, "perplexity": usage.perplexity}
    if not shape:
        return measures
    return {name: jnp.mean(value) for name, value in measures.items()} | {
        f"{name}_{level}": value[level]
        for name, value in measures.items()
        for level in range(shape[0])
    }


def build(config: Config, loaded: Data) -> Task:
    """One seed: autoencoder and prior move in turn; the bound and the codebook's usage on all test
    images."""
    shape, scaling = loaded.dataset.info.shape, loaded.dataset.info.scaling
    vae = recipe(config, shape)
    places = math.prod(vae.code_grid)
    model = model_of(vae, shape, first_images=first_images(config, loaded, math.prod(vae.grid)))
    draw_images = data.draws(loaded.dataset, config.batch_size)
    bits = functools.partial(evaluation.bits_per_dimension, num_dimensions=math.prod(shape))

    def evaluate(train_state, arrays, key):
        params, state = train_state.params, train_state.state

        def measure(images):
            return measured(vae, params, state, data.to_model_range(images, scaling))

        rows, codes = chunked(measure, arrays["test"]["image"], 500)
        likelihood, prior, error = rows.T
        shown = data.to_model_range(arrays["test"]["image"][:SHOWN], scaling)
        return {
            "bits_per_dim": bits(-jnp.mean(likelihood + prior)),
            "uniform_bits_per_dim": bits(-jnp.mean(likelihood) - uniform_log_prior(vae)),
            "decoder_bits_per_dim": bits(-jnp.mean(likelihood)),
            "prior_bits": -jnp.mean(prior) / (places * math.log(2)),
            "squared_error": jnp.mean(error),
            **usage_of(vae, codes),
            "reconstructions": decoded(
                vae, params, state, encode(vae, params, state, shown)[1].quantized
            ),
            "samples": model.sample(params, state, key, SHOWN),
        }

    schedule = training.learning_rate("cosine", config.learning_rate, config.num_steps)
    optimizers = {name: optax.adam(schedule) for name in model.players}
    return Task(
        model.init,
        lambda arrays, data_key, index: {"x": draw_images(arrays["train"], data_key, index)["x"]},
        functools.partial(training.simultaneous, model.players, optimizers),
        evaluate,
        batch_coupling=None if config.quantizer in WITHOUT_STATISTICS else "codebook statistics",
    )


def snapshots(result, loaded: Data, step: int) -> dict:
    """Samples of each seed at fixed noise."""
    del loaded
    images = np.concatenate(result.arrays["samples"][:, :24])
    figure = plotting.image_grid(
        images, num_columns=24, value_range=(-1.0, 1.0), title=f"step {step}"
    )
    return {"samples": (figure, f"Samples at fixed noise after {step} steps; each seed has a row.")}


def figures(results, loaded: Data) -> dict:
    """Real images, their reconstructions, and samples of prior and decoder."""
    real = np.asarray(loaded.dataset.test["image"][:SHOWN])
    found = {
        "real": (
            plotting.image_grid(real, num_columns=16, title="test images"),
            "Real test images.",
        )
    }
    for result in results:
        for name, text in (
            ("reconstructions", "Those images through the codes"),
            ("samples", "Not selected samples"),
        ):
            for seed, images in enumerate(result.arrays[name]):
                title = f"{name}, seed {seed}"
                figure = plotting.image_grid(
                    images, num_columns=16, value_range=(-1.0, 1.0), title=title
                )
                found[f"{name}_seed_{seed}"] = (figure, f"{text}; seed {seed}.")
    return found


EXPERIMENT = Experiment(
    name="vqvae_images",
    config=Config,
    load=load,
    build=build,
    distribute=parallel.distribute,
    validate=validate,
    static=("threshold",),
    figures=figures,
    snapshots=snapshots,
    headline=(
        "bits_per_dim",
        "uniform_bits_per_dim",
        "decoder_bits_per_dim",
        "prior_bits",
        "squared_error",
        "usage",
        "perplexity",
    ),
    explanations={
        "bits_per_dim": (
            "Bound on -log2 p(x) a pixel on all test images: decoder and trained prior; integer"
            " pixels."
        ),
        "uniform_bits_per_dim": "The same with the uniform prior over codes.",
        "decoder_bits_per_dim": "The decoder's part of both.",
        "prior_bits": "-log2 p(c) a code; log2 K for the uniform prior.",
        "squared_error": "Mean over pixels in [-1, 1] of the squared error of the reconstruction.",
        "usage": "Share of the codebook that occurs among the codes of the test images.",
        "perplexity": (
            "exp of the entropy of the codes over the test images; with several codes a vector the"
            " mean over these, as for usage, and usage_0, perplexity_0 and so on of each."
        ),
    },
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
