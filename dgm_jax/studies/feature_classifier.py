"""The classifier whose features stand in for Inception's where no weights can be downloaded.

Trained on the real training set by `python -m experiments.feature_classifier`; studies of image
models call `features_of`, which trains it once for a data set and keeps it under runs/.
Its distances are comparable only between models measured with the same weights: the report
names their SHA-256 and test accuracy.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax import core, data, parallel, training
from dgm_jax.core import Task, chunked, require, require_at_least, require_positive
from dgm_jax.models.classifier import CLASSIFIER, class_probabilities, image_classifier
from dgm_jax.networks import Classifier, from_flax
from dgm_jax.run import Data, Experiment, RunConfig, is_check, load_parameters, main
from dgm_jax.run.records import read_json
from dgm_jax.run.signals import Interrupted

CHUNK = 500  # images that go through the network at once


@dataclasses.dataclass(frozen=True)
class ClassifierConfig(RunConfig):
    """Train a small image classifier; its last hidden layer gives the features of image metrics."""

    data: str = "fashion_mnist"
    """A set of images by name (dgm_jax.data.load)."""
    num_seeds: int = 1
    num_steps: int = 1_400
    log_every: int = 350
    batch_size: int = 128
    """Images in a step."""
    learning_rate: float = 1e-3
    """Adam's, at the start; it falls to zero along a cosine."""


class Features(NamedTuple):
    """A trained feature extractor, `apply(images [N, H, W, C] in [-1, 1]) -> [N, F]`, and who it
    is.

    logits: `images -> [N, K]`, those of the classifier that the features come from.
    """

    apply: Callable
    identity: dict
    logits: Callable


def validate(config: ClassifierConfig) -> None:
    """Ranges, before anything is loaded."""
    require_at_least(1, config, "batch_size")
    require_positive(config, "learning_rate")


def load(config: ClassifierConfig) -> Data:
    """Training and test images with labels."""
    dataset = data.load(config.data)
    require(
        dataset.info.kind == "images",
        f"data must be a set of images, got the density {config.data!r}",
    )
    require(dataset.info.num_classes > 1, f"{config.data} has no classes to learn")
    arrays = {"train": data.arrays(dataset), "test": data.arrays(dataset, "test")}
    return Data(
        arrays, dataclasses.asdict(dataset.info) | {"identity": dataset.info.identity}, dataset
    )


def network(info: data.DatasetInfo):
    """The architecture for a data set."""
    return from_flax(Classifier(num_classes=info.num_classes))


def build(config: ClassifierConfig, loaded: Data) -> Task:
    """Adam with a cosine schedule on shuffled epochs; accuracy and cross-entropy on the test
    set."""
    info = loaded.dataset.info
    net = network(info)
    model = image_classifier(net, info.shape)
    draw = data.draws(loaded.dataset, config.batch_size)
    schedule = training.learning_rate("cosine", config.learning_rate, config.num_steps)

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
        training.alternating, model.players, {CLASSIFIER: optax.adam(schedule)}
    )
    return Task(
        model.init,
        lambda arrays, key, index: draw(arrays["train"], key, index),
        algorithm,
        evaluate,
    )


EXPERIMENT = Experiment(
    name="feature_classifier",
    config=ClassifierConfig,
    load=load,
    build=build,
    distribute=parallel.distribute,
    validate=validate,
    headline=("test_accuracy", "test_cross_entropy"),
    explanations={
        "test_accuracy": "Share of test images whose most probable class is the label.",
        "test_cross_entropy": "Mean of -log p(label | image) over the test set, in nats.",
    },
)


def features_of(dataset: data.Dataset, name: str, folder: str = "") -> Features:
    """Features of the classifier in a run folder; by default runs/feature_classifier/NAME-HASH,
    trained if need be.

    `dgm-jax check` trains nothing: for it an untrained classifier stands in for one that is
    missing, and is announced.
    """
    path = (
        pathlib.Path(folder)
        if folder
        else pathlib.Path("runs/feature_classifier") / _label(dataset, name)
    )
    net = network(dataset.info)
    if not folder and not (path / "summary.json").is_file():
        if is_check():
            print(f"feature classifier: none in {path} yet; a run trains it first")
            return _features(
                net, net.init(jax.random.key(0), jnp.zeros((2, *dataset.info.shape)))[0], {}
            )
        code = main(EXPERIMENT, ["--data", name, "--out", str(path), "--resume"])
        if code > 128:
            raise Interrupted(code - 128)
        require(code == 0, f"training the feature classifier in {path} ended with code {code}")
    require(
        (path / "summary.json").is_file(),
        f"{path} holds no finished run of feature_classifier",
        core.DataError,
    )
    summary = read_json(path / "summary.json")
    found = summary.get("experiment")
    require(
        found == "feature_classifier", f"{path} holds a run of {found!r}, not of feature_classifier"
    )
    like = jax.eval_shape(
        lambda: net.init(jax.random.key(0), jnp.zeros((2, *dataset.info.shape)))[0]
    )
    like = {
        CLASSIFIER: jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((summary["num_seeds"], *x.shape), x.dtype), like
        )
    }
    trained = load_parameters(path / "parameters" / "feature_classifier.npz", like)
    params = jax.tree.map(lambda x: jnp.asarray(x[0]), trained)
    identity = {
        "features": "last hidden layer of the feature classifier",
        "sha256": summary["final_params_sha256"]["feature_classifier"],
        "test_accuracy": summary["metrics"]["test_accuracy"]["per_seed"][0],
    }
    return _features(net, params[CLASSIFIER], identity)


def _features(net, params, identity: dict) -> Features:
    def forward(x):
        return net.apply(params, {}, x, train=False)[0]

    return Features(lambda x: forward(x)[0], identity, lambda x: forward(x)[1])


def _label(dataset, name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name) + "-" + dataset.info.sha256[:8]


def image_features(features: Features, dataset: data.Dataset, split: str, count: int) -> np.ndarray:
    """Features [count, F] of `count` real images, evenly spaced over a split (which may be sorted
    by class)."""
    images = data.arrays(dataset, split)["image"]
    images = jnp.asarray(images[np.linspace(0, len(images) - 1, count).astype(int)])

    def extract(rows):
        return features.apply(data.to_model_range(rows, dataset.info.scaling))

    return np.asarray(jax.jit(lambda x: chunked(extract, x, CHUNK))(images))
