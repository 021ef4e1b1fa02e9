"""Binarised images for likelihood models: loading, batches with their step, grids of samples."""

import numpy as np

from dgm_jax import data, plotting
from dgm_jax.core import require
from dgm_jax.run import Inputs

SHOWN = 64  # images of each seed in the figures


def load(name: str, binarization: str, asked: dict[str, tuple[str, int]]) -> Inputs:
    """A set of images by its name; every pixel that training or evaluation sees is 0 or 1.

    asked: of settings, {name: (split, number of its images)}; ConfigError where there are not so
        many.

    "dynamic" draws the pixels of training batches anew each time. What is evaluated, the test
    images and training images where a figure is a sum over them (`training_images`), is drawn once
    in any case, as by "static".
    """
    dataset = data.load_images(name, scaling="unit", binarization=binarization)
    identity = dataset.info.record()
    arrays = {"train": data.arrays(dataset), "test": data.arrays(dataset, "test")}
    for setting, (split, num) in asked.items():
        there = len(arrays[split]["image"])
        require(num <= there, f"{setting}={num}, but {name} has {there} {split} images")
    if binarization == "dynamic":
        once = data.load(name, scaling="unit", binarization="static")
        dataset = dataset._replace(test=once.test)
        arrays |= {"test": data.arrays(once, "test"), "train_drawn_once": data.arrays(once)}
        identity["evaluated_on"] = once.info.identity
    return Inputs(arrays, identity, dataset)


def training_images(arrays):
    """Binary training images uint8 [N, H, W, C] to be summed over: the same ones at every
    evaluation."""
    return arrays.get("train_drawn_once", arrays["train"])["image"]


def draw_with_step(inputs: Inputs, batch_size: int):
    """Batches `{"x", "step"}` of training images."""
    draw_images = data.draws(inputs.context, batch_size)

    def draw(arrays, data_key, index):
        return {"x": draw_images(arrays["train"], data_key, index)["x"], "step": index}

    return draw


def figures(results, inputs: Inputs) -> dict:
    """The first seed's samples of each arm ("images"), and real images."""
    real = np.asarray(inputs.context.test["image"][:SHOWN])
    found = {
        "real": (
            plotting.image_grid(real, num_columns=16, title="test images"),
            "Binarised test images.",
        )
    }
    for result in results:
        figure = plotting.image_grid(result.arrays["images"][0], num_columns=16, title=result.name)
        found[f"samples_{result.name}"] = (
            figure,
            f"Means of p(x | z), z from the prior; {result.name}, seed 0.",
        )
    return found
