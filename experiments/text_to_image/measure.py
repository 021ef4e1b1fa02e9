"""Measures of images drawn from captions, and of the tokens that they are made of."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import data
from dgm_jax.core import Array, Key, Metrics, Model, TrainState, chunked
from dgm_jax.data import captions
from dgm_jax.experiments.text_to_image import Config
from dgm_jax.models import (
    Autoregressive,
    GumbelVae,
    TextImage,
    decode_tokens,
    gumbel_bounds,
    tokens_of,
)
from dgm_jax.run import Inputs


def prompts_of(
    class_names: tuple[str, ...], reader: captions.Tokenizer, num: int
) -> tuple[np.ndarray, np.ndarray]:
    """Write the prompts "a NOUN", for the classes in turn, and for the names of a class in turn.

    Args:
        class_names: names of the classes.
        reader: the tokenizer.
        num: number of prompts.

    Returns:
        Tokens int32[num, L], and labels [num].
    """
    labels = np.arange(num) % len(class_names)
    names = [captions.nouns(class_names[label]) for label in labels]
    chosen = [name[(i // len(class_names)) % len(name)] for i, name in enumerate(names)]
    return np.stack([reader.encode(captions.sentence("a {}", noun)) for noun in chosen]), labels


def evaluate_images(
    config: Config,
    temperature: float | Array,
    inputs: Inputs,
    game: Model,
    vae: GumbelVae,
    stream: TextImage,
    words: Autoregressive,
    train_state: TrainState,
    arrays: dict[str, Any],
    key: Key,
) -> Metrics:
    """Measure agreement with the classifier, bounds, and distances to training images.

    Args:
        config: the settings.
        temperature: of the relaxed bound.
        inputs: arrays, identity and context of the run.
        game: the model.
        vae: the discrete VAE.
        stream: layout of text and image tokens.
        words: the transformer.
        train_state: the trained state.
        arrays: those of `inputs`, on the device.
        key: random key.

    Returns:
        Metrics by name, and the images drawn for prompts.
    """
    params = train_state.params
    state = train_state.state
    test = arrays["test"]
    logits = inputs.context["judge"].logits
    key_sample, key_bound = jax.random.split(key)
    names = inputs.context["set"].info.class_names
    _, labels = prompts_of(names, inputs.context["reader"], config.num_prompts)
    images = game.sample(params, state, key_sample, config.num_prompts)
    verdict = jnp.argmax(logits(2 * images - 1), axis=-1)
    sentences = test["texts"][:1000, 0]
    real = data.to_model_range(test["image"][:1000], "unit")
    bounds = gumbel_bounds(key_bound, vae, params, state, real, temperature)
    codes = tokens_of(vae, params, state, real)
    log_p = words.log_prob(params, codes.reshape(len(real), -1) + stream.text_vocab, sentences)
    rebuilt = decode_tokens(vae, params, state, codes)
    verdict_rebuilt = jnp.argmax(logits(2 * rebuilt - 1), axis=-1)
    return {
        "agreement": _share(verdict == labels),
        "reconstruction_agreement": _share(verdict_rebuilt == test["label"][:1000]),
        "bits_per_image_token": -jnp.mean(log_p) / (stream.image_length * math.log(2)),
        "squared_error": jnp.mean(jnp.square(rebuilt - real)),
        "hard_elbo": jnp.mean(bounds["hard"].elbo),
        "relaxed_elbo": jnp.mean(bounds["relaxed"].elbo),
        "test_kl": jnp.mean(bounds["hard"].kl),
        "distance_to_train": jnp.median(nearest_distance(images, arrays["train"]["image"])),
        "test_distance_to_train": jnp.median(
            nearest_distance(real[: config.num_prompts], arrays["train"]["image"])
        ),
        "images": images,
    }


def _share(is_true: Array) -> Array:
    return jnp.mean(is_true.astype(jnp.float32))


def nearest_distance(images: Array, train: Array) -> Array:
    """Compute the Euclidean distance of each image to the nearest training image.

    Args:
        images: [N, H, W, C] in [0, 1].
        train: uint8[M, H, W, C].

    Returns:
        [N], for pixels in [0, 1].
    """
    rows = images.reshape(len(images), -1)

    def distances(block):
        block = data.to_model_range(block, "unit").reshape(block.shape[0], -1)
        cross = rows @ block.T
        squares = jnp.sum(rows**2, 1)[:, None] - 2 * cross + jnp.sum(block**2, 1)
        return squares.T

    nearest = jnp.min(chunked(distances, train, 1000), axis=0)
    return jnp.sqrt(jnp.maximum(nearest, 0.0))
