"""Binarized images for likelihood models: loading, batches with their step, grids of samples."""

from typing import Any

import numpy as np

from dgm_jax import data, plotting
from dgm_jax.core import Array, Draw, draw_from, require
from dgm_jax.run import ArmResult, Inputs

SHOWN = 64  # images of each seed in the plots


def load(name: str, binarization: str, asked: dict[str, tuple[str, int]]) -> Inputs:
    """Load a set of images; every pixel in training and evaluation is 0 or 1.

    "dynamic" draws the pixels of training batches anew each time. The images that are evaluated,
    test images and training images (`training_images`), are drawn once in any case, as by "static".

    Args:
        name: name of the set.
        binarization: "static", "dynamic" or "threshold".
        asked: setting name -> (split, number of images it needs).

    Returns:
        The arrays of both splits, the identity of the data, and the data set.

    Raises:
        ConfigError: if a setting needs more images than there are.
    """
    dataset = data.load_images(name, scaling="unit", binarization=binarization)
    identity = dataset.info.record()
    train = data.arrays(dataset)
    test = data.arrays(dataset, "test")
    arrays = {"train": train, "test": test}
    too_many = []
    for setting, (split, num) in asked.items():
        images = arrays[split]["image"]
        num_images = len(images)
        if num > num_images:
            too_many.append(f"{setting}={num}, but {name} has {num_images} {split} images")
    require(not too_many, "; ".join(too_many))
    if binarization == "dynamic":
        once = data.load(name, scaling="unit", binarization="static")
        dataset = dataset._replace(test=once.test)
        arrays["test"] = data.arrays(once, "test")
        arrays["train_drawn_once"] = data.arrays(once)
        identity["evaluated_on"] = once.info.identity
    return Inputs(arrays, identity, dataset)


def training_images(arrays: dict[str, Any]) -> Array:
    """Select the binary training images for evaluation, the same ones every time.

    Args:
        arrays: those of `load`.

    Returns:
        uint8[N, H, W, C].
    """
    images = arrays.get("train_drawn_once", arrays["train"])
    return images["image"]


def draw_with_step(inputs: Inputs, batch_size: int) -> Draw:
    """Make the function that draws batches `{"x", "step"}` of training images.

    Args:
        inputs: those of `load`.
        batch_size: images in a batch.

    Returns:
        `(arrays, data_key, index) -> batch`.
    """
    draws = data.draws(inputs.context, batch_size)
    with_step = lambda batch, data_key, index: {"x": batch["x"], "step": index}
    return draw_from(draws, "train", with_step)


def plots(results: list[ArmResult], inputs: Inputs) -> dict[str, tuple[Any, str]]:
    """Plot the first seed's samples of each arm ("images"), and real images.

    Args:
        results: the finished arms.
        inputs: arrays, identity and context of the run.

    Returns:
        {name: (plot, caption)}.
    """
    test_images = inputs.context.test["image"]
    real = np.asarray(test_images[:SHOWN])
    figure = plotting.image_grid(real, num_columns=16, title="test images")
    plots = {"real": (figure, "Binarized test images.")}
    for result in results:
        images = result.arrays["images"][0]
        figure = plotting.image_grid(images, num_columns=16, title=result.name)
        caption = f"Means of p(x | z), z from the prior; {result.name}, seed 0."
        plots[f"samples_{result.name}"] = (figure, caption)
    return plots
