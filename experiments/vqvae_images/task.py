"""A VQ-VAE, the prior over its codes, and what both say about test images."""

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax import data, evaluation, plotting, quantization, training
from dgm_jax.core import Task, chunked, lookup, require, require_at_least, require_positive
from dgm_jax.experiments.vqvae_images import Config
from dgm_jax.models import vqvae as model_of
from dgm_jax.models.autoregressive import code_prior
from dgm_jax.models.vqvae import VqVae, decoded, encode, log_likelihood, log_prior
from dgm_jax.networks import (
    ResidualDecoder,
    ResidualEncoder,
    Transformer,
    from_flax,
    from_transformer,
)
from dgm_jax.objectives.vqvae import uniform_log_prior
from dgm_jax.quantization import GRADIENTS
from dgm_jax.run import Inputs

SHOWN = 48  # images of each seed in the figures


def validate(config: Config) -> None:
    """Names and ranges, before anything is loaded."""
    lookup(GRADIENTS, config.gradient, "gradient of a quantiser")
    require(
        config.codebook in ("average", "loss"),
        f"codebook must be 'average' or 'loss', got {config.codebook!r}",
    )
    require_at_least(
        1, config, "batch_size", "num_codes", "code_width", "width", "prior_width", "prior_layers"
    )
    require_at_least(0, config, "threshold", "commitment_weight")
    require_positive(config, "learning_rate")
    require(0 <= config.decay < 1, f"decay must be in [0, 1), got {config.decay}")
    require(config.width % 2 == 0, f"width must be even, got {config.width}")
    require(
        config.prior_width % 4 == 0,
        f"prior_width must be a multiple of 4 (heads), got {config.prior_width}",
    )
    require(not config.cosine or config.codebook == "loss", "--cosine needs --codebook loss")


def load(settings, needed) -> Inputs:
    """Real images in [-1, 1]."""
    dataset = data.load(settings.data)
    require(
        dataset.info.kind == "images",
        f"data must be a set of images, got the density {settings.data!r}",
    )
    arrays = {"train": data.arrays(dataset), "test": data.arrays(dataset, "test")}
    return Inputs(
        arrays, dataclasses.asdict(dataset.info) | {"identity": dataset.info.identity}, dataset
    )


def recipe(config: Config, hyper, shape: tuple[int, int, int]) -> VqVae:
    """The networks and the quantiser of the settings."""
    grid = (shape[0] // 4, shape[1] // 4)
    average = config.codebook == "average"
    transformer = Transformer(
        config.num_codes,
        math.prod(grid),
        width=config.prior_width,
        num_layers=config.prior_layers,
        grid=grid,
    )
    return VqVae(
        from_flax(ResidualEncoder(config.code_width, config.width)),
        from_flax(ResidualDecoder(2 * shape[2], config.width)),
        grid,
        config.num_codes,
        config.code_width,
        code_prior(from_transformer(transformer), grid),
        decay=hyper["decay"] if average else None,
        threshold=config.threshold if average else 0.0,
        commitment_weight=hyper["commitment_weight"],
        gradient=config.gradient,
        cosine=config.cosine,
    )


def build(config: Config, hyper, inputs: Inputs) -> Task:
    """One seed: autoencoder and prior move in turn; the bound and the codebook's usage on all test
    images."""
    shape, scaling = inputs.context.info.shape, inputs.context.info.scaling
    vae = recipe(config, hyper, shape)
    model = model_of(vae, shape)
    draw_images = data.draws(inputs.context, config.batch_size)
    uniform = uniform_log_prior(math.prod(vae.grid), config.num_codes)
    bits = functools.partial(evaluation.bits_per_dimension, num_dimensions=math.prod(shape))

    def evaluate(train_state, arrays, key):
        params, state = train_state.params, train_state.state

        def measure(images):
            x = data.to_model_range(images, scaling)
            _, found = encode(vae, params, state, x)
            likelihood = log_likelihood(vae, params, state, found.quantized, x)
            error = jnp.mean(
                jnp.square(decoded(vae, params, state, found.quantized) - x), axis=(1, 2, 3)
            )
            prior = log_prior(vae, params, found.codes)
            codes = found.codes.reshape(len(x), -1).astype(jnp.float32)
            return jnp.concatenate([jnp.stack([likelihood, prior, error], axis=1), codes], axis=1)

        rows = chunked(measure, arrays["test"]["image"], 500)
        likelihood, prior, error = rows[:, :3].T
        usage = quantization.codebook_usage(rows[:, 3:].astype(jnp.int32), config.num_codes)
        shown = data.to_model_range(arrays["test"]["image"][:SHOWN], scaling)
        return {
            "bits_per_dim": bits(-jnp.mean(likelihood + prior)),
            "uniform_bits_per_dim": bits(-jnp.mean(likelihood) - uniform),
            "decoder_bits_per_dim": bits(-jnp.mean(likelihood)),
            "prior_bits": -jnp.mean(prior) / (math.prod(vae.grid) * math.log(2)),
            "squared_error": jnp.mean(error),
            "usage": usage.num_used / config.num_codes,
            "perplexity": usage.perplexity,
            "reconstructions": decoded(
                vae, params, state, encode(vae, params, state, shown)[1].quantized
            ),
            "samples": model.sample(params, state, key, SHOWN),
        }

    schedule = training.learning_rate("cosine", hyper["learning_rate"], config.num_steps)
    optimizers = {name: optax.adam(schedule) for name in model.players}
    return Task(
        model.init,
        lambda arrays, data_key, index: {"x": draw_images(arrays["train"], data_key, index)["x"]},
        functools.partial(training.simultaneous, model.players, optimizers),
        evaluate,
        batch_coupling="statistics of the codebook" if config.codebook == "average" else None,
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
