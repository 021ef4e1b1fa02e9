"""A DCGAN, and what the features of its images say."""

import functools

import jax
import numpy as np
import optax

from dgm_jax import core, data, evaluation, plotting, training
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
from dgm_jax.models import PENALTIES, Penalty, gan
from dgm_jax.networks import Discriminator, Generator, from_flax, require_normalization
from dgm_jax.objectives.gan import LOSSES, GanLoss, label_smoothed
from dgm_jax.run import Inputs, Need

EXTRACTORS = ("classifier", "inception", "pixels")
SHOWN = 64  # images of each seed in the figures
AVERAGED = ("generator",)  # parts


def validate(config: Config) -> None:
    """Names and ranges, before anything is loaded."""
    lookup(LOSSES, config.loss, "GAN loss")
    if config.penalty:
        lookup(PENALTIES, config.penalty, "penalty")
    require_at_least(1, config, "batch_size", "latent_size", "features")
    require_at_least(11, config, "num_eval")  # neighbourhoods of ten
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


def _dataset(settings) -> tuple[data.Dataset, int]:
    """The set of images, and how many of its test images are compared."""
    dataset = data.load_images(settings.data)
    there = dataset.info.num_test
    count = min(5_000, there) if settings.num_eval is None else settings.num_eval
    require(count <= there, f"num_eval={count}, but {settings.data} has {there} test images")
    return dataset, count


def needs(settings) -> tuple[Need, ...]:
    """The classifier whose features are compared, where it is a classifier's."""
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


def load(settings, needed) -> Inputs:
    """Real images, the feature extractor, and the features that samples are compared with."""
    dataset, count = _dataset(settings)
    extractor = _extractor(settings, dataset, needed)
    real = real_features(extractor, dataset, "test", count)
    floor = _distances(real, real_features(extractor, dataset, "train", count))
    identity = dataset.info.record()
    identity["feature_extractor"] = extractor.identity
    known = {"dataset": dataset, "extract": extractor.apply, "real": real, "floor": floor}
    return Inputs({"train": data.arrays(dataset), "extractor": extractor.weights}, identity, known)


def _extractor(settings, dataset: data.Dataset, needed) -> Extractor:
    if settings.feature_extractor == "inception":
        return of_inception(settings.inception_weights)
    if settings.feature_extractor == "pixels":
        return of_pixels(dataset)
    return of_classifier(dataset, *needed)


def _loss(config: Config) -> GanLoss:
    loss = LOSSES[config.loss]
    return label_smoothed(loss, config.label_smoothing) if config.label_smoothing else loss


def model(config: Config, hyper, dataset) -> Model:
    """The networks of the settings in one game; samples are those of the averaged generator."""
    shape, features = tuple(dataset["shape"]), config.features
    game = gan(
        from_flax(
            Generator(shape, features=features, normalization=config.generator_normalization)
        ),
        from_flax(
            Discriminator(features=features, normalization=config.discriminator_normalization)
        ),
        _loss(config),
        latent_size=config.latent_size,
        example_shape=shape,
        penalty=(
            Penalty(PENALTIES[config.penalty], hyper["penalty_weight"]) if config.penalty else None
        ),
        spectral=config.spectral,
    )
    return training.with_average(game, AVERAGED)


def build(config: Config, hyper, inputs: Inputs) -> Task:
    """One seed: images and latents in, both players move, features of generated images out."""
    dataset, extract = inputs.context["dataset"], inputs.context["extract"]
    game = model(config, hyper, inputs.identity)
    draw_images = data.draws(dataset, config.batch_size)

    def draw(arrays, data_key, index):
        key_x, key_z = jax.random.split(data_key)
        z = core.normal(jax.random.fold_in(key_z, index), (config.batch_size, config.latent_size))
        return {"x": draw_images(arrays["train"], key_x, index)["x"], "z": z}

    def evaluate(train_state, arrays, key):
        z = core.normal(key, (len(inputs.context["real"]), config.latent_size))
        generate = functools.partial(game.decode, train_state.params, train_state.state)
        return {
            "features": core.chunked(lambda z: extract(arrays["extractor"], generate(z)), z, 500),
            "images": generate(z[:SHOWN]),
        }

    optimizers = {name: optax.adam(hyper["learning_rate"], 0.5, 0.999) for name in game.players}
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


def finalise(arrays, config: Config, inputs: Inputs) -> dict[str, np.ndarray]:
    """Distances of each seed's images to real test images, beside those of real training images."""
    del config
    rows = [
        (
            _distances(inputs.context["real"], fake)
            | {f"floor_{k}": v for k, v in inputs.context["floor"].items()}
            if np.isfinite(fake).all()
            else {}
        )
        for fake in arrays["features"]
    ]
    names = [*inputs.context["floor"], *(f"floor_{k}" for k in inputs.context["floor"])]
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def snapshots(result, inputs: Inputs, step: int) -> dict:
    """A grid of each seed's images at fixed noise."""
    del inputs
    images = np.concatenate(result.arrays["images"][:, :24])
    figure = plotting.image_grid(
        images, num_columns=24, value_range=(-1.0, 1.0), title=f"step {step}"
    )
    return {
        "images": (
            figure,
            f"Images at fixed noise after {step} steps; each seed has one block of rows.",
        )
    }


def figures(results, inputs: Inputs) -> dict:
    """The final images of each seed, and real ones."""
    real = np.asarray(inputs.context["dataset"].test["image"][:SHOWN])
    found = {
        "real": (
            plotting.image_grid(real, num_columns=16, title="real test images"),
            "Real test images.",
        )
    }
    for result in results:
        for seed, images in enumerate(result.arrays["images"]):
            figure = plotting.image_grid(
                images, num_columns=16, value_range=(-1.0, 1.0), title=f"seed {seed}"
            )
            found[f"images_seed_{seed}"] = (
                figure,
                f"Generated images of seed {seed} at fixed noise, not selected.",
            )
    return found
