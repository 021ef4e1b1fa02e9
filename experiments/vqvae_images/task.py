"""A VQ-VAE, the prior over its codes, and measures of both on test images."""

import functools
import math
import pathlib
from typing import Any

import jax.numpy as jnp

from dgm_jax import data, training
from dgm_jax.core import (
    Array,
    Model,
    Quantizer,
    Task,
    draw_from,
    lookup,
    require,
    require_at_least,
    require_at_most,
    require_positive,
)
from dgm_jax.experiments._shared.available import resolve as resolve
from dgm_jax.experiments.vqvae_images import Config
from dgm_jax.experiments.vqvae_images.measure import evaluate_images
from dgm_jax.experiments.vqvae_images.plots import plots, snapshots
from dgm_jax.models import (
    VqVae,
    code_prior,
)
from dgm_jax.models import vqvae as model_of
from dgm_jax.networks import (
    PRECISIONS,
    ResidualDecoder,
    ResidualEncoder,
    Transformer,
    from_flax,
    from_transformer,
    in_precision,
)
from dgm_jax.quantization import QUANTIZERS
from dgm_jax.run import Inputs, optimizer_of
from dgm_jax.run.settings import SettingsView

__all__ = ["build", "load", "model", "plots", "snapshots", "validate"]

WITHOUT_STATISTICS = ("codebook_loss", "finite_scalar")


def validate(config: Config) -> None:
    """Check names and ranges, before anything is loaded.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
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
    lookup(PRECISIONS, config.precision, "precision")
    quantizer_of(config, config.decay)


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Load real images in [-1, 1].

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    dataset = data.load_images(settings.data)
    arrays = {"train": data.arrays(dataset), "test": data.arrays(dataset, "test")}
    return Inputs(arrays, dataset.info.record(), dataset)


def quantizer_of(config: Config, decay: float | Array) -> Quantizer:
    """Make the quantizer of the settings.

    Args:
        config: the settings.
        decay: of moving averages; may be traced.

    Returns:
        The quantizer.

    Raises:
        ConfigError: for settings that it cannot have.
    """
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


def recipe(config: Config, hyper: dict[str, Any], shape: tuple[int, int, int]) -> VqVae:
    """Make networks and quantizer of the settings.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        shape: (H, W, C) of an image.

    Returns:
        The recipe of the VQ-VAE.
    """
    quantizer = quantizer_of(config, hyper["decay"])
    encoder = ResidualEncoder(quantizer.width, config.width, remat=config.remat)
    decoder = ResidualDecoder(2 * shape[2], config.width, remat=config.remat)
    vae = VqVae(
        in_precision(from_flax(encoder), config.precision),
        in_precision(from_flax(decoder), config.precision),
        (shape[0] // 4, shape[1] // 4),
        quantizer,
        commitment_weight=hyper["commitment_weight"],
    )
    rows, *columns = vae.code_grid
    transformer = Transformer(
        quantizer.num_codes,
        math.prod(vae.code_grid),
        width=config.prior_width,
        num_layers=config.prior_layers,
        remat=config.remat,
        grid=(rows, math.prod(columns)),
    )
    network = in_precision(from_transformer(transformer), config.precision)
    return vae._replace(prior=code_prior(network, vae.code_grid))


def _num_first(config: Config, places: int) -> int:
    return -(-10 * config.num_codes // places)


def first_images(config: Config, inputs: Inputs, places: int) -> Array | None:
    """Select training images with ten vectors a code, for codebooks that start by k-means.

    Args:
        config: the settings.
        inputs: of the run.
        places: number of codes of an image.

    Returns:
        The images, or None for codebooks that start at random.
    """
    if config.start == "normal":
        return None
    images = inputs.arrays["train"]["image"][: _num_first(config, places)]
    return data.to_model_range(images, inputs.context.info.scaling)


def model(
    config: Config,
    hyper: dict[str, Any],
    dataset: dict[str, Any],
    images: Array | None = None,
) -> Model:
    """Make autoencoder and prior.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.
        images: training images from which codebooks start by k-means; only `init` uses them, and
            without them it gives codebooks that cannot be trained.

    Returns:
        The model.
    """
    shape = tuple(dataset["shape"])
    vae = recipe(config, hyper, shape)
    if images is None and config.start != "normal":
        images = jnp.zeros((_num_first(config, math.prod(vae.grid)), *shape))
    return model_of(vae, shape, first_images=images)


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed: autoencoder and prior move; evaluation measures them on test images.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    shape = inputs.context.info.shape
    scaling = inputs.context.info.scaling
    vae = recipe(config, hyper, shape)
    images = first_images(config, inputs, math.prod(vae.grid))
    game = model(config, hyper, inputs.identity, images)
    draw = draw_from(
        data.draws(inputs.context, config.batch_size),
        "train",
        lambda batch, data_key, index: {"x": batch["x"]},
    )

    def evaluate(train_state, arrays, key):
        return evaluate_images(vae, game, scaling, train_state, arrays["test"]["image"], key)

    optimizer = optimizer_of(config, hyper, hyper["learning_rate"], schedule="cosine")
    optimizers = dict.fromkeys(game.players, optimizer)
    return Task(
        game.init,
        draw,
        functools.partial(training.simultaneous, game.players, optimizers),
        evaluate,
        batch_coupling=None if config.quantizer in WITHOUT_STATISTICS else "codebook statistics",
    )
