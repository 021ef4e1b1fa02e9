"""A VQ-VAE, the prior over its codes, and what both say about test images."""

import functools
import math

import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax import data, likelihood, objectives, plotting, quantization, training
from dgm_jax.core import (
    Array,
    Model,
    Quantizer,
    Task,
    chunked,
    lookup,
    require,
    require_at_least,
    require_at_most,
    require_positive,
)
from dgm_jax.experiments._shared.available import resolve as resolve
from dgm_jax.experiments.vqvae_images import Config
from dgm_jax.models import (
    VqVae,
    code_prior,
    vqvae_decode,
    vqvae_encode,
    vqvae_log_likelihood,
    vqvae_log_prior,
    vqvae_uniform_log_prior,
)
from dgm_jax.models import vqvae as model_of
from dgm_jax.networks import (
    ResidualDecoder,
    ResidualEncoder,
    Transformer,
    from_flax,
    from_transformer,
)
from dgm_jax.quantization import QUANTIZERS
from dgm_jax.run import Inputs

SHOWN = 48  # images of each seed in the figures
WITHOUT_STATISTICS = ("codebook_loss", "finite_scalar")


def validate(config: Config) -> None:
    """Names and ranges, before anything is loaded."""
    require_at_least(1, config, "batch_size", "num_codes", "code_width", "width", "num_levels")
    require_at_least(1, config, "prior_width", "prior_layers")
    require_at_most(1_000, config, "prior_layers", "num_levels")
    require(
        min(config.levels, default=2) >= 2,
        f"levels must be integers of at least 2, got {config.levels}",
    )
    require_at_least(0, config, "threshold", "commitment_weight")
    require_positive(config, "learning_rate")
    require(0 <= config.decay < 1, f"decay must be in [0, 1), got {config.decay}")
    require(config.width % 2 == 0, f"width must be even, got {config.width}")
    require(
        config.prior_width % 4 == 0,
        f"prior_width must be a multiple of 4 (heads), got {config.prior_width}",
    )
    quantizer_of(config, config.decay)


def load(settings, needed) -> Inputs:
    """Real images in [-1, 1]."""
    dataset = data.load_images(settings.data)
    arrays = {"train": data.arrays(dataset), "test": data.arrays(dataset, "test")}
    return Inputs(arrays, dataset.info.record(), dataset)


def quantizer_of(config: Config, decay) -> Quantizer:
    """The quantizer of the settings; ConfigError for those that it cannot have."""
    make = lookup(QUANTIZERS, config.quantizer, "quantizer")
    if config.quantizer == "finite_scalar":
        return make(config.levels)
    options = {"gradient": config.gradient, "start": config.start}
    if config.quantizer == "codebook_loss":
        return make(config.num_codes, config.code_width, cosine=config.cosine, **options)
    options |= {"decay": decay, "threshold": config.threshold}
    if config.quantizer == "moving_average":
        return make(config.num_codes, config.code_width, **options)
    return make(config.num_codes, config.code_width, config.num_levels, **options)


def recipe(config: Config, hyper, shape: tuple[int, int, int]) -> VqVae:
    """The networks and the quantizer of the settings."""
    quantizer = quantizer_of(config, hyper["decay"])
    vae = VqVae(
        from_flax(ResidualEncoder(quantizer.width, config.width)),
        from_flax(ResidualDecoder(2 * shape[2], config.width)),
        (shape[0] // 4, shape[1] // 4),
        quantizer,
        commitment_weight=hyper["commitment_weight"],
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


def _num_first(config: Config, places: int) -> int:
    return -(-10 * config.num_codes // places)


def first_images(config: Config, inputs: Inputs, places: int) -> Array | None:
    """Training images with ten vectors a code, where codebooks start by k-means."""
    if config.start == "normal":
        return None
    images = inputs.arrays["train"]["image"][: _num_first(config, places)]
    return data.to_model_range(images, inputs.context.info.scaling)


def model(config: Config, hyper, dataset, images: Array | None = None) -> Model:
    """Autoencoder and prior. `images`, where codebooks start by k-means: only `init` looks at
    them, and without them starts at nothing that could be trained."""
    shape = tuple(dataset["shape"])
    vae = recipe(config, hyper, shape)
    if images is None and config.start != "normal":
        images = jnp.zeros((_num_first(config, math.prod(vae.grid)), *shape))
    return model_of(vae, shape, first_images=images)


def measured(vae: VqVae, params, state, x: Array) -> tuple[Array, Array]:
    """Of each of images [n, H, W, C]: [n, 3], both parts of the bound in nats and the squared
    error; and the codes."""
    _, quantized = vqvae_encode(vae, params, state, x)
    likelihood = vqvae_log_likelihood(vae, params, state, quantized.quantized, x)
    shown = vqvae_decode(vae, params, state, quantized.quantized)
    error = jnp.mean(jnp.square(shown - x), axis=(1, 2, 3))
    prior = vqvae_log_prior(vae, params, quantized.codes)
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


def build(config: Config, hyper, inputs: Inputs) -> Task:
    """One seed: autoencoder and prior move in turn; the bound and the codebook's usage on all test
    images."""
    shape, scaling = inputs.context.info.shape, inputs.context.info.scaling
    vae = recipe(config, hyper, shape)
    places = math.prod(vae.code_grid)
    images = first_images(config, inputs, math.prod(vae.grid))
    game = model(config, hyper, inputs.identity, images)
    draw_images = data.draws(inputs.context, config.batch_size)
    bits = functools.partial(likelihood.bits_per_dimension, num_dimensions=math.prod(shape))

    def evaluate(train_state, arrays, key):
        params, state = train_state.params, train_state.state

        def measure(images):
            return measured(vae, params, state, data.to_model_range(images, scaling))

        rows, codes = chunked(measure, arrays["test"]["image"], 500)
        likelihood, prior, error = rows.T
        shown = data.to_model_range(arrays["test"]["image"][:SHOWN], scaling)
        return {
            "bits_per_dim": bits(-jnp.mean(objectives.vqvae.bound(likelihood, prior))),
            "uniform_bits_per_dim": bits(-jnp.mean(likelihood) - vqvae_uniform_log_prior(vae)),
            "decoder_bits_per_dim": bits(-jnp.mean(likelihood)),
            "prior_bits": -jnp.mean(prior) / (places * math.log(2)),
            "squared_error": jnp.mean(error),
            **usage_of(vae, codes),
            "reconstructions": vqvae_decode(
                vae, params, state, vqvae_encode(vae, params, state, shown)[1].quantized
            ),
            "samples": game.sample(params, state, key, SHOWN),
        }

    schedule = training.learning_rate("cosine", hyper["learning_rate"], config.num_steps)
    optimizers = {name: optax.adam(schedule) for name in game.players}
    return Task(
        game.init,
        lambda arrays, data_key, index: {"x": draw_images(arrays["train"], data_key, index)["x"]},
        functools.partial(training.simultaneous, game.players, optimizers),
        evaluate,
        batch_coupling=None if config.quantizer in WITHOUT_STATISTICS else "codebook statistics",
    )


def snapshots(result, inputs: Inputs, step: int) -> dict:
    """Samples of each seed at fixed noise."""
    del inputs
    images = np.concatenate(result.arrays["samples"][:, :24])
    figure = plotting.image_grid(
        images, num_columns=24, value_range=(-1.0, 1.0), title=f"step {step}"
    )
    return {"samples": (figure, f"Samples at fixed noise after {step} steps; each seed has a row.")}


def figures(results, inputs: Inputs) -> dict:
    """Real images, their reconstructions, and samples of prior and decoder."""
    real = np.asarray(inputs.context.test["image"][:SHOWN])
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
