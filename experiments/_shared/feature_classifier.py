"""Features of the trained classifier, which stand in for Inception's where no weights can be
downloaded.

Studies of image models declare by `classifier_of` that they need a run of `feature_classifier`, and
read it by `features_of`. Its distances are comparable only between models measured with the same
weights: the report names their SHA-256 and test accuracy.
"""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax import data
from dgm_jax.core import DataError, require
from dgm_jax.models.classifier import CLASSIFIER
from dgm_jax.networks import Classifier, from_flax
from dgm_jax.run import Need, load
from dgm_jax.store.records import read_json, safe_name

CHUNK = 500  # images that go through the network at once


class Features(NamedTuple):
    """A trained feature extractor, `apply(images [N, H, W, C] in [-1, 1]) -> [N, F]`, and who it
    is.

    logits: `images -> [N, K]`, those of the classifier that the features come from.
    """

    apply: Callable
    identity: dict
    logits: Callable


def network_of(dataset: dict):
    """The architecture for data of an identity."""
    return from_flax(Classifier(num_classes=dataset["num_classes"]))


def classifier_of(dataset: data.Dataset, name: str, folder: str = "") -> Need:
    """The run of `feature_classifier` on a set of images.

    Args:
        dataset: what `data.load(name)` gives.
        folder: one of the user's own; by default runs/feature_classifier/NAME-HASH, which is
            trained if need be.
    """
    if folder:
        return Need("feature_classifier", None, folder)
    label = f"{safe_name(name)}-{dataset.info.sha256[:8]}"
    place = pathlib.Path("runs/feature_classifier") / label
    return Need("feature_classifier", {"data": name}, str(place))


def features_of(dataset: data.Dataset, folder: pathlib.Path | None) -> Features:
    """Features of the classifier in a run folder; of an untrained one where there is none (as for
    `dgm-jax check`).

    Raises:
        DataError: the classifier was trained on images of another shape.
    """
    info = dataset.info
    if folder is None:
        net = network_of({"num_classes": info.num_classes})
        params, _ = net.init(jax.random.key(0), jnp.zeros((2, *info.shape)))
        return _features(net, params, {})
    trained, summary = load(folder, seed=0), read_json(folder / "summary.json")
    learnt = trained.dataset
    require(
        tuple(learnt["shape"]) == info.shape,
        f"{folder} has a classifier of images {tuple(learnt['shape'])}, trained on"
        f" {learnt['name']}; {info.name} has images {info.shape}",
        DataError,
    )
    other = {} if learnt["sha256"] == info.sha256 else {"trained_on": learnt["identity"]}
    identity = {
        "features": "last hidden layer of the feature classifier",
        "sha256": summary["final_params_sha256"]["feature_classifier"],
        "test_accuracy": summary["metrics"]["test_accuracy"]["per_seed"][0],
        **other,
    }
    return _features(network_of(learnt), trained.params[CLASSIFIER], identity)


def _features(net, params, identity: dict) -> Features:
    def forward(x):
        return net.apply(params, {}, x, train=False)[0]

    return Features(lambda x: forward(x)[0], identity, lambda x: forward(x)[1])
