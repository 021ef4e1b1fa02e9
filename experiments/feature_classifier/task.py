"""The small classifier on real images: Adam on cross-entropy."""

import functools

import jax.numpy as jnp
import optax

from dgm_jax import data, training
from dgm_jax.core import Model, Task, chunked, require, require_at_least, require_positive
from dgm_jax.experiments._shared.available import resolve as resolve
from dgm_jax.experiments._shared.feature_classifier import CHUNK, network_of
from dgm_jax.experiments.feature_classifier import Config
from dgm_jax.models.classifier import CLASSIFIER, class_probabilities, image_classifier
from dgm_jax.run import Inputs


def validate(config: Config) -> None:
    """Ranges, before anything is loaded."""
    require_at_least(1, config, "batch_size")
    require_positive(config, "learning_rate")


def load(settings, needed) -> Inputs:
    """Training and test images with labels."""
    dataset = data.load_images(settings.data)
    require(dataset.info.num_classes > 1, f"{settings.data} has no classes to learn")
    arrays = {"train": data.arrays(dataset), "test": data.arrays(dataset, "test")}
    return Inputs(arrays, dataset.info.record(), dataset)


def model(config: Config, hyper, dataset) -> Model:
    """The classifier, which draws no samples."""
    return image_classifier(network_of(dataset), tuple(dataset["shape"]))


def build(config: Config, hyper, inputs: Inputs) -> Task:
    """Adam with a cosine schedule on shuffled epochs; accuracy and cross-entropy on the test
    set."""
    info = inputs.context.info
    net, game = network_of(inputs.identity), model(config, hyper, inputs.identity)
    draw = data.draws(inputs.context, config.batch_size)
    schedule = training.learning_rate("cosine", hyper["learning_rate"], config.num_steps)

    def evaluate(train_state, arrays, key):
        del key
        test, label = arrays["test"]["image"], arrays["test"]["label"]
        probabilities = chunked(
            lambda x: class_probabilities(
                net, train_state.params, train_state.state, data.to_model_range(x, info.scaling)
            ),
            test,
            CHUNK,
        )
        log_p = jnp.log(jnp.take_along_axis(probabilities, label[:, None], 1))
        return {
            "test_accuracy": jnp.mean((jnp.argmax(probabilities, -1) == label).astype(jnp.float32)),
            "test_cross_entropy": -jnp.mean(log_p),
        }

    algorithm = functools.partial(
        training.alternating, game.players, {CLASSIFIER: optax.adam(schedule)}
    )
    return Task(
        game.init,
        lambda arrays, key, index: draw(arrays["train"], key, index),
        algorithm,
        evaluate,
    )
