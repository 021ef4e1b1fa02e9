"""Features of the trained classifier, an alternative to Inception's, which need downloaded weights.

Studies of image models declare by `classifier_of` that they need a run of `feature_classifier`, and
read it by `features_of`. Its distances are comparable only between models measured with the same
weights: the report names their SHA-256 and test accuracy.
"""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax import data
from dgm_jax.core import Array, DataError, Network, PyTree, require
from dgm_jax.models.classifier import CLASSIFIER
from dgm_jax.networks import Classifier, from_flax
from dgm_jax.run import Need, load
from dgm_jax.store.records import read_json, safe_name

CHUNK = 500  # images that go through the network at a time


class Features(NamedTuple):
    """A trained feature extractor.

    Attributes:
        apply: `images [N, H, W, C] in [-1, 1] -> features [N, F]`.
        identity: what the run's record says about it.
        logits: `images -> [N, K]`, those of the classifier that the features come from.
    """

    apply: Callable[[Array], Array]
    identity: dict[str, Any]
    logits: Callable[[Array], Array]


def network_of(dataset: dict[str, Any]) -> Network:
    """Make the classifier's network for a data set.

    Args:
        dataset: identity of the data.

    Returns:
        The network.
    """
    return from_flax(Classifier(num_classes=dataset["num_classes"]))


def classifier_of(dataset: data.Dataset, name: str, folder: str = "") -> Need:
    """Declare the need for a run of `feature_classifier` on a set of images.

    Args:
        dataset: the result of `data.load(name)`, with any scaling.
        name: name of the set.
        folder: a folder of the user's; by default runs/feature_classifier/NAME-HASH, which is
            trained if necessary.

    Returns:
        The need.
    """
    if folder:
        return Need("feature_classifier", None, folder)
    label = f"{safe_name(name)}-{dataset.info.sha256[:8]}"
    place = pathlib.Path("runs/feature_classifier") / label
    return Need("feature_classifier", {"data": name}, str(place))


def features_of(dataset: data.Dataset, folder: pathlib.Path | None) -> Features:
    """Read the features of the classifier in a run folder.

    Args:
        dataset: the images whose features are wanted.
        folder: the run folder; None gives those of an untrained classifier (for `dgm-jax check`).

    Returns:
        The extractor.

    Raises:
        DataError: if the classifier was trained on images of another shape.
    """
    info = dataset.info
    if folder is None:
        net = network_of({"num_classes": info.num_classes})
        params, _ = net.init(jax.random.key(0), jnp.zeros((2, *info.shape)))
        return _features(net, params, {})
    trained = load(folder, seed=0)
    summary = read_json(folder / "summary.json")
    trained_on = trained.dataset
    require(
        tuple(trained_on["shape"]) == info.shape,
        f"{folder} has a classifier of images {tuple(trained_on['shape'])}, trained on"
        f" {trained_on['name']}; {info.name} has images {info.shape}",
        DataError,
    )
    identity = {
        "features": "last hidden layer of the feature classifier",
        "sha256": summary["final_params_sha256"]["feature_classifier"],
        "test_accuracy": summary["metrics"]["test_accuracy"]["per_seed"][0],
    }
    if trained_on["sha256"] != info.sha256:
        identity["trained_on"] = trained_on["identity"]
    return _features(network_of(trained_on), trained.params[CLASSIFIER], identity)


def _features(net: Network, params: PyTree, identity: dict[str, Any]) -> Features:
    def forward(x: Array) -> tuple[Array, Array]:
        outputs, _ = net.apply(params, {}, x, train=False)
        return outputs

    return Features(
        apply=lambda x: forward(x)[0],
        identity=identity,
        logits=lambda x: forward(x)[1],
    )
