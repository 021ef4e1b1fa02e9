"""A DCGAN, and distances between features of its images and of real ones."""

import functools
import pathlib
from typing import Any

import jax
import numpy as np

from dgm_jax import core, data, evaluation, training
from dgm_jax.core import Model, Task, lookup, require, require_at_least, require_positive
from dgm_jax.experiments._shared.available import resolve as resolve
from dgm_jax.experiments._shared.feature_classifier import classifier_of
from dgm_jax.experiments.gan_images import Config
from dgm_jax.experiments.gan_images.extractors import (
    Extractor,
    of_classifier,
    of_inception,
    of_pixels,
    real_features,
)
from dgm_jax.experiments.gan_images.plots import SHOWN, plots, snapshots
from dgm_jax.models import PENALTIES, Penalty, gan
from dgm_jax.networks import (
    PRECISIONS,
    Discriminator,
    Generator,
    from_flax,
    in_precision,
    require_normalization,
)
from dgm_jax.objectives.gan import LOSSES, GanLoss, label_smoothed
from dgm_jax.run import Inputs, Need, optimizer_of
from dgm_jax.run.settings import SettingsView

__all__ = [
    "build",
    "load",
    "model",
    "needs",
    "plots",
    "snapshots",
    "summarize",
    "validate",
]

EXTRACTORS = ("classifier", "inception", "pixels")
AVERAGED = ("generator",)  # parts of the average


def validate(config: Config) -> None:
    """Check names and ranges, before anything is loaded.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    lookup(LOSSES, config.loss, "GAN loss")
    lookup(PRECISIONS, config.precision, "precision")
    if config.penalty:
        lookup(PENALTIES, config.penalty, "penalty")
    require_at_least(1, config, "batch_size", "latent_size", "features")
    require_at_least(11, config, "num_eval")  # for the ten nearest neighbors
    require_at_least(0, config, "penalty_weight")
    require_positive(config, "learning_rate")
    require(
        0 <= config.average_decay < 1,
        f"average_decay must be in [0, 1), got {config.average_decay}",
    )
    require(
        0 <= config.label_smoothing < 1,
        f"label_smoothing must be in [0, 1), got {config.label_smoothing}",
    )
    _loss(config)  # refuses a loss that cannot be smoothed
    require_normalization(config.generator_normalization)
    require_normalization(config.discriminator_normalization)
    lookup(EXTRACTORS, config.feature_extractor, "feature_extractor")
    require(
        config.feature_extractor != "inception" or bool(config.inception_weights),
        "feature_extractor='inception' needs --inception_weights FILE, an npz of the FID network's"
        " tensors",
    )


def _dataset(settings: SettingsView) -> tuple[data.Dataset, int]:
    """The set of images, and how many of its test images are compared."""
    dataset = data.load_images(settings.data)
    num_test = dataset.info.num_test
    count = min(5_000, num_test) if settings.num_eval is None else settings.num_eval
    require(count <= num_test, f"num_eval={count}, but {settings.data} has {num_test} test images")
    return dataset, count


def needs(settings: SettingsView) -> tuple[Need, ...]:
    """Declare the classifier whose features are compared, if they are a classifier's.

    Args:
        settings: the settings that concern the data.

    Returns:
        The runs that must be finished.
    """
    dataset, _ = _dataset(settings)
    if settings.feature_extractor != "classifier":
        return ()
    require(
        dataset.info.num_classes > 1 or bool(settings.classifier),
        f"{settings.data} has no classes for a classifier to learn, so features must come from"
        " elsewhere: --feature_extractor pixels; --feature_extractor inception with"
        " --inception_weights FILE; or --classifier FOLDER, a finished run of feature_classifier"
        f" on other images of shape {dataset.info.shape}",
    )
    return (classifier_of(dataset, settings.data, settings.classifier),)


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Load real images and the feature extractor.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    dataset, count = _dataset(settings)
    extractor = _extractor(settings, dataset, needed)
    identity = dataset.info.record()
    identity["feature_extractor"] = extractor.identity
    arrays = {"train": data.arrays(dataset), "extractor": extractor.weights}
    real = Compared(extractor, dataset, count)
    context = {"dataset": dataset, "extract": extractor.apply, "real": real}
    return Inputs(arrays, identity, context)


class Compared:
    """The real images that samples are compared with; computed at the first evaluation.

    Args:
        extractor: of the features.
        dataset: the images.
        count: number of test images, and of training images for the floor.
    """

    def __init__(self, extractor: Extractor, dataset: data.Dataset, count: int) -> None:
        self.count = count
        self._features_of = functools.partial(real_features, extractor, dataset, count=count)

    @functools.cached_property
    def features(self) -> np.ndarray:
        """Features of test images [count, F]."""
        return self._features_of("test")

    @functools.cached_property
    def floor(self) -> dict[str, float]:
        """Distances of training images from them."""
        return _distances(self.features, self._features_of("train"))


def _extractor(
    settings: SettingsView, dataset: data.Dataset, needed: tuple[pathlib.Path | None, ...]
) -> Extractor:
    if settings.feature_extractor == "inception":
        return of_inception(settings.inception_weights)
    if settings.feature_extractor == "pixels":
        return of_pixels(dataset)
    return of_classifier(dataset, *needed)


def _loss(config: Config) -> GanLoss:
    loss = LOSSES[config.loss]
    return label_smoothed(loss, config.label_smoothing) if config.label_smoothing else loss


def model(config: Config, hyper: dict[str, Any], dataset: dict[str, Any]) -> Model:
    """Make the game of the settings; samples are those of the averaged generator.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.

    Returns:
        The model.
    """
    shape = tuple(dataset["shape"])
    generator = Generator(
        shape, features=config.features, normalization=config.generator_normalization
    )
    discriminator = Discriminator(
        features=config.features, normalization=config.discriminator_normalization
    )
    penalty = None
    if config.penalty:
        penalty = Penalty(PENALTIES[config.penalty], hyper["penalty_weight"])
    game = gan(
        in_precision(from_flax(generator), config.precision),
        in_precision(from_flax(discriminator), config.precision),
        _loss(config),
        latent_size=config.latent_size,
        example_shape=shape,
        penalty=penalty,
        spectral=config.spectral,
    )
    return training.with_average(game, AVERAGED)


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed: both players move; evaluation computes features of generated images.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    dataset = inputs.context["dataset"]
    extract = inputs.context["extract"]
    game = model(config, hyper, inputs.identity)

    def with_latents(batch, data_key, index):
        _, key_z = jax.random.split(data_key)
        z = core.normal(jax.random.fold_in(key_z, index), (config.batch_size, config.latent_size))
        return {"x": batch["x"], "z": z}

    draw = core.draw_from(
        data.draws(dataset, config.batch_size),
        "train",
        with_latents,
        stream=lambda data_key: jax.random.split(data_key)[0],
    )

    def evaluate(train_state, arrays, key):
        z = core.normal(key, (inputs.context["real"].count, config.latent_size))
        generate = functools.partial(game.decode, train_state.params, train_state.state)
        return {
            "features": core.chunked(lambda z: extract(arrays["extractor"], generate(z)), z, 500),
            "images": generate(z[:SHOWN]),
        }

    optimizer = optimizer_of(config, hyper, hyper["learning_rate"], b1=0.5, b2=0.999)
    optimizers = dict.fromkeys(game.players, optimizer)
    rule = functools.partial(training.alternating, game.players, optimizers)

    def averaged(replica):
        return training.averaged(rule(replica), AVERAGED, hyper["average_decay"])

    normalized = {
        "generator": config.generator_normalization,
        "discriminator": config.discriminator_normalization,
    }
    coupled = [player for player, name in normalized.items() if name == "batch"]
    coupling = f"batch norm of the {' and the '.join(coupled)}" if coupled else None
    return Task(game.init, draw, averaged, evaluate, batch_coupling=coupling)


def _distances(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    near = evaluation.precision_recall_density_coverage(real=real, fake=fake, nearest_k=5)
    return {
        "frechet": float(evaluation.frechet_distance(real=real, fake=fake)),
        "kernel": float(evaluation.kernel_distance(real=real, fake=fake)),
        "sliced_wasserstein": float(
            evaluation.sliced_wasserstein(jax.random.key(0), real=real, fake=fake)
        ),
        **{name: float(value) for name, value in near._asdict().items()},
    }


def summarize(arrays: dict[str, Any], config: Config, inputs: Inputs) -> dict[str, np.ndarray]:
    """Compute distances of each seed's images from real test images, and those of training images.

    Args:
        arrays: results of the last evaluation, [num_seeds, ...] each.
        config: the settings.
        inputs: arrays, identity and context of the run.

    Returns:
        {metric: [num_seeds]}.
    """
    del config
    real = inputs.context["real"].features
    distances = inputs.context["real"].floor
    floor = {f"floor_{name}": value for name, value in distances.items()}
    rows = [
        _distances(real, fake) | floor if np.isfinite(fake).all() else {}
        for fake in arrays["features"]
    ]
    names = [*distances, *floor]
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
