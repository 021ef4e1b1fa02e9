"""The small classifier on real images: Adam on cross-entropy."""

import functools
import pathlib
from typing import Any

import jax.numpy as jnp

from dgm_jax import data, training
from dgm_jax.core import (
    Model,
    Task,
    chunked,
    draw_from,
    require,
    require_at_least,
    require_positive,
)
from dgm_jax.experiments._shared.available import resolve as resolve
from dgm_jax.experiments._shared.feature_classifier import CHUNK, network_of
from dgm_jax.experiments.feature_classifier import Config
from dgm_jax.models.classifier import CLASSIFIER, class_probabilities, image_classifier
from dgm_jax.run import Inputs, optimizer_of
from dgm_jax.run.settings import SettingsView


def validate(config: Config) -> None:
    """Check ranges, before anything is loaded.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    require_at_least(1, config, "batch_size")
    require_positive(config, "learning_rate")


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Load training and test images with labels.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    dataset = data.load_images(settings.data)
    require(dataset.info.num_classes > 1, f"{settings.data} has no classes to learn")
    arrays = {"train": data.arrays(dataset), "test": data.arrays(dataset, "test")}
    return Inputs(arrays, dataset.info.record(), dataset)


def model(config: Config, hyper: dict[str, Any], dataset: dict[str, Any]) -> Model:
    """Make the classifier, which draws no samples.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.

    Returns:
        The model.
    """
    return image_classifier(network_of(dataset), tuple(dataset["shape"]))


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed: Adam with a cosine schedule, and accuracy and cross-entropy on the test set.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    info = inputs.context.info
    net = network_of(inputs.identity)
    game = model(config, hyper, inputs.identity)
    draw = draw_from(data.draws(inputs.context, config.batch_size), "train")
    optimizer = optimizer_of(config, hyper, hyper["learning_rate"], schedule="cosine")

    def evaluate(train_state, arrays, key):
        del key
        label = arrays["test"]["label"]

        def classify(images):
            x = data.to_model_range(images, info.scaling)
            return class_probabilities(net, train_state.params, train_state.state, x)

        probabilities = chunked(classify, arrays["test"]["image"], CHUNK)
        log_p = jnp.log(jnp.take_along_axis(probabilities, label[:, None], 1))
        is_right = jnp.argmax(probabilities, -1) == label
        return {
            "test_accuracy": jnp.mean(is_right.astype(jnp.float32)),
            "test_cross_entropy": -jnp.mean(log_p),
        }

    algorithm = functools.partial(training.alternating, game.players, {CLASSIFIER: optimizer})
    return Task(
        game.init,
        draw,
        algorithm,
        evaluate,
    )
