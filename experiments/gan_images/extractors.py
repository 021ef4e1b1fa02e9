"""Extractors of the feature vectors whose distances are reported.

Distances are comparable only between runs with the same extractor, the same weights and the same
number of images; the run's record names all three.
"""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import data
from dgm_jax.core import PyTree, chunked, require, tree_sha256
from dgm_jax.evaluation import inception
from dgm_jax.experiments._shared.feature_classifier import CHUNK, features_of

MAX_PIXELS = 4_096  # of an image; the Fréchet distance needs a matrix of its square


class Extractor(NamedTuple):
    """A map from images to feature vectors.

    Attributes:
        apply: `(weights, images [N, H, W, C] in [-1, 1]) -> [N, F]`.
        weights: what is too large to be a constant of a compiled program.
        identity: what the run's record says about it.
    """

    apply: Callable
    weights: PyTree
    identity: dict


def of_classifier(dataset: data.Dataset, folder: pathlib.Path | None) -> Extractor:
    """Use the last hidden layer of the classifier in a run folder.

    Args:
        dataset: the images.
        folder: the run folder; None for an untrained classifier.

    Returns:
        The extractor.
    """
    features = features_of(dataset, folder)
    return Extractor(lambda weights, images: features.apply(images), {}, features.identity)


def of_inception(path: str) -> Extractor:
    """Use pool3 of the FID network, 2,048 features.

    Args:
        path: a file for `evaluation.inception.load`.

    Returns:
        The extractor.

    Raises:
        DataError: if the file is missing, or is not that network's.
    """
    params = inception.load(path)

    def apply(weights, images):
        return inception.features(weights, (images + 1) / 2)

    name = "pool3 of the Inception network that FID is computed with"
    return Extractor(apply, params, {"features": name, "sha256": tree_sha256(params)})


def of_pixels(dataset: data.Dataset) -> Extractor:
    """Use the pixels themselves, in [-1, 1].

    Args:
        dataset: the images.

    Returns:
        The extractor.

    Raises:
        ConfigError: for more than `MAX_PIXELS` numbers an image.
    """
    shape = dataset.info.shape
    require(
        np.prod(shape) <= MAX_PIXELS,
        f"feature_extractor='pixels' takes images of at most {MAX_PIXELS:,} numbers, got"
        f" {np.prod(shape):,} in {shape}; a folder's may be made smaller, as in"
        " folder:PATH?image_size=32",
    )
    identity = {"features": f"{np.prod(shape)} pixels in [-1, 1]"}
    return Extractor(lambda weights, images: images.reshape(len(images), -1), {}, identity)


def real_features(
    extractor: Extractor, dataset: data.Dataset, split: str, count: int
) -> np.ndarray:
    """Compute features of real images, evenly spaced over a split (which may be sorted by class).

    Args:
        extractor: of the features.
        dataset: the images.
        split: "train" or "test".
        count: number of images.

    Returns:
        [count, F].
    """
    images = data.arrays(dataset, split)["image"]
    images = jnp.asarray(images[np.linspace(0, len(images) - 1, count).astype(int)])

    def extract(weights, rows):
        return extractor.apply(weights, data.to_model_range(rows, dataset.info.scaling))

    @jax.jit
    def over_all(weights, images):
        return chunked(lambda rows: extract(weights, rows), images, CHUNK)

    return np.asarray(over_all(extractor.weights, images))
