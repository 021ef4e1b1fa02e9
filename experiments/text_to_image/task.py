"""Images from words: a discrete VAE's tokens, and one transformer over text and image.

Both are trained in one game.
"""

import functools
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax import core, data, sampling, training
from dgm_jax.core import (
    Draw,
    Model,
    Task,
    lookup,
    require,
    require_at_least,
    require_at_most,
    require_positive,
)
from dgm_jax.data import captions
from dgm_jax.experiments._shared.available import resolve as resolve
from dgm_jax.experiments._shared.feature_classifier import classifier_of, features_of
from dgm_jax.experiments.text_to_image import Config
from dgm_jax.experiments.text_to_image.measure import evaluate_images, prompts_of
from dgm_jax.experiments.text_to_image.plots import plots, snapshots
from dgm_jax.models import (
    AUTOENCODER,
    AUTOREGRESSIVE,
    RELAXATIONS,
    Autoregressive,
    GumbelVae,
    TextImage,
    autoregressive,
    decode_tokens,
    discrete_vae,
    on_tokens,
)
from dgm_jax.networks import (
    PRECISIONS,
    ResidualDecoder,
    ResidualEncoder,
    Transformer,
    from_flax,
    from_transformer,
    in_precision,
)
from dgm_jax.objectives.elbo import warm_up
from dgm_jax.run import Inputs, Need, optimizer_of
from dgm_jax.run.settings import SettingsView

__all__ = ["build", "load", "model", "needs", "plots", "prompt", "snapshots", "validate"]

NUM_TEXTS = 4  # captions of each image
# Share of training texts that are all padding, for classifier-free guidance (Ho and Salimans 2022).
NULL_SHARE = 0.1


def validate(config: Config) -> None:
    """Check names and ranges, before anything is loaded.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    lookup(RELAXATIONS, config.relaxation, "relaxation")
    lookup(PRECISIONS, config.precision, "precision")
    require_at_least(
        1, config, "batch_size", "num_codes", "width", "prior_width", "prior_layers", "num_prompts"
    )
    require_at_most(1_000, config, "prior_layers")
    require_at_most(2**30, config, "num_codes")  # words are numbered after them
    require(config.width % 2 == 0, f"width must be even, got {config.width}")
    require(
        config.prior_width % 4 == 0,
        f"prior_width must be a multiple of 4 (heads), got {config.prior_width}",
    )
    for name in ("autoencoder_share", "final_temperature"):
        require(
            0 < getattr(config, name) <= 1, f"{name} must be in (0, 1], got {getattr(config, name)}"
        )
    require_at_least(0, config, "beta", "guidance")
    require_positive(config, "learning_rate")
    require(
        config.warmup_steps == 0 or config.warmup_steps < _num_tokenizer(config),
        f"warmup_steps must be less than the {_num_tokenizer(config)} steps of the autoencoder"
        f" (autoencoder_share of num_steps), got {config.warmup_steps}",
    )


def _dataset(settings: SettingsView) -> data.Dataset:
    """Labeled images in [0, 1]."""
    dataset = data.load_images(settings.data, scaling="unit")
    require(
        len(dataset.info.class_names) > 1,
        f"data must be labelled images, got {settings.data!r}",
    )
    return dataset


def needs(settings: SettingsView) -> tuple[Need, ...]:
    """Declare the classifier that judges the images.

    Args:
        settings: the settings that concern the data.

    Returns:
        The runs that must be finished.
    """
    return (classifier_of(_dataset(settings), settings.data, settings.classifier),)


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Load images with captions, prompts, and the classifier, trained on real images, that judges.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    dataset = _dataset(settings)
    info = dataset.info
    measured = captions.measurements(dataset.train["image"])
    limits = captions.terciles(dataset.train["image"], measured)
    write = functools.partial(
        captions.captions, class_names=info.class_names, limits=limits, num_texts=NUM_TEXTS
    )
    texts = {
        "train": write(dataset.train["image"], dataset.train["label"], seed=0, measured=measured),
        "test": write(dataset.test["image"], dataset.test["label"], seed=1),
    }
    reader = captions.tokenizer(info.class_names)
    judge = features_of(dataset, *needed)
    arrays = {
        split: data.arrays(dataset, split) | {"texts": texts[split]} for split in ("train", "test")
    }
    identity = info.record() | {"vocabulary": list(reader.vocabulary)}
    return Inputs(
        arrays,
        identity | {"judge": judge.identity},
        {"set": dataset, "reader": reader, "judge": judge},
    )


def recipe(
    config: Config, shape: tuple[int, ...], reader: captions.Tokenizer
) -> tuple[GumbelVae, TextImage, Autoregressive]:
    """Make the parts of the settings.

    Args:
        config: the settings.
        shape: (H, W, C) of an image.
        reader: the tokenizer of captions.

    Returns:
        The discrete VAE, the layout of text and image tokens, and the transformer.
    """
    grid = (shape[0] // 4, shape[1] // 4)
    encoder = ResidualEncoder(config.num_codes, config.width, remat=config.remat)
    decoder = ResidualDecoder(2 * shape[2], config.width, remat=config.remat)
    vae = GumbelVae(
        in_precision(from_flax(encoder), config.precision),
        in_precision(from_flax(decoder), config.precision),
        grid,
        config.num_codes,
        "logit_laplace",
    )
    stream = TextImage(reader.length, len(reader.vocabulary), math.prod(grid), config.num_codes)
    transformer = Transformer(
        stream.text_vocab + stream.image_vocab,
        stream.text_length + stream.image_length,
        width=config.prior_width,
        num_layers=config.prior_layers,
        remat=config.remat,
        num_prefix=stream.text_length,
        grid=grid,
        pad_id=0,
    )
    network = in_precision(from_transformer(transformer), config.precision)
    return vae, stream, autoregressive(network, stream=stream, text_weight=None)


def _num_tokenizer(config: Config) -> int:
    """Number of steps in which the image tokenizer is trained."""
    return max(1, int(config.autoencoder_share * config.num_steps))


def model(config: Config, hyper: dict[str, Any], dataset: dict[str, Any]) -> Model:
    """Make image tokenizer and transformer in one game.

    `sample(params, state, key, num_samples, *, prompt=None)` gives images [num_samples, H, W, C] in
    [0, 1] for texts int32[num_samples, L] or one text [L]; by default, as in the run's evaluation,
    for "a NOUN" of the classes in turn. `decode` takes tokens; `latent` is the tokenizer's.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.

    Returns:
        The model.
    """
    shape = tuple(dataset["shape"])
    names = tuple(dataset["class_names"])
    reader = captions.tokenizer(names)
    vae, stream, words = recipe(config, shape, reader)
    num_tokenizer = _num_tokenizer(config)
    tokenizer_model = discrete_vae(
        vae,
        shape,
        temperature=functools.partial(
            sampling.temperature.cosine,
            start=1.0,
            end=hyper["final_temperature"],
            num_steps=num_tokenizer,
        ),
        beta=functools.partial(warm_up, end=hyper["beta"], num_steps=max(1, num_tokenizer // 4)),
        relaxation=config.relaxation,
    )
    players = tokenizer_model.players | {
        AUTOREGRESSIVE: on_tokens(words.players[AUTOREGRESSIVE], vae)
    }

    def init(key):
        key_tokenizer, key_model = jax.random.split(key)
        params, state = tokenizer_model.init(key_tokenizer)
        more_params, more_state = words.init(key_model)
        return params | more_params, state | more_state

    def sample(params, state, key, num_samples, *, prompt=None):
        prompts = prompts_of(names, reader, num_samples)[0] if prompt is None else prompt
        null = jnp.zeros_like(prompts)
        options = {} if config.guidance == 1 else {"guidance": config.guidance, "null_prompt": null}
        drawn = words.sample(params, state, key, num_samples, prompt=prompts, **options)
        codes = stream.codes(drawn.tokens).reshape(-1, *vae.latent_shape)
        return decode(params, state, codes)

    decode = functools.partial(decode_tokens, vae)
    return Model(init, players, sample, decode, tokenizer_model.latent)


def prompt(config: Config, dataset: dict[str, Any], text: str) -> dict[str, Any]:
    """Encode a caption such as "a dark wide pullover".

    Args:
        config: the settings.
        dataset: recorded identity of the data.
        text: the caption.

    Returns:
        Keyword arguments of the model's `sample`.
    """
    reader = captions.tokenizer(tuple(dataset["class_names"]))
    return {"prompt": reader.encode(captions.sentence("{}", text))}


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed: both move at once; evaluation draws images for prompts and judges them.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    dataset = inputs.context["set"]
    reader = inputs.context["reader"]
    game = model(config, hyper, inputs.identity)
    own = functools.partial(optimizer_of, config, hyper, hyper["learning_rate"], schedule="cosine")
    optimizers = {AUTOENCODER: own(num_steps=_num_tokenizer(config)), AUTOREGRESSIVE: own()}
    algorithm = functools.partial(training.simultaneous, game.players, optimizers)
    parts = (game, *recipe(config, dataset.info.shape, reader))
    evaluate = functools.partial(
        evaluate_images, config, hyper["final_temperature"], inputs, *parts
    )
    return Task(game.init, _draw(config, dataset), algorithm, evaluate)


def _draw(config: Config, dataset: data.Dataset) -> Draw:
    """Draws images with one of their captions each; a tenth of the captions is blank."""

    def with_text(batch, data_key, index):
        key_text = jax.random.fold_in(jax.random.fold_in(data_key, 2), index)
        key_which, key_blank = jax.random.split(key_text)
        which = jax.random.randint(key_which, (config.batch_size,), 0, NUM_TEXTS)
        text = batch["texts"][jnp.arange(config.batch_size), which]
        blank = core.uniform(key_blank, (config.batch_size,)) < NULL_SHARE
        return {"x": batch["x"], "text": jnp.where(blank[:, None], 0, text), "step": index}

    return core.draw_from(data.draws(dataset, config.batch_size), "train", with_text)
