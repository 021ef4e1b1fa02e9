"""Pictures of drawn captions, a column a class."""

import numpy as np

from dgm_jax import plotting


def _by_class(images, num_classes, rows=8):
    """The first `rows` images of each class, classes side by side."""
    return np.concatenate([images[i * num_classes : (i + 1) * num_classes] for i in range(rows)])


def snapshots(result, inputs, step: int) -> dict:
    """A column for each class of the first seed, at fixed noise."""
    names = inputs.context["set"].info.class_names
    images = _by_class(result.arrays["images"][0], len(names), 4)
    figure = plotting.image_grid(images, num_columns=len(names), title=f"step {step}")
    return {"samples": (figure, f"After {step} steps; columns: {', '.join(names)}.")}


def figures(results, inputs) -> dict:
    """A grid for each seed: a column a class."""
    names, found = inputs.context["set"].info.class_names, {}
    for result in results:
        for seed, images in enumerate(result.arrays["images"]):
            figure = plotting.image_grid(
                _by_class(images, len(names)), num_columns=len(names), title=f"seed {seed}"
            )
            found[f"captions_seed_{seed}"] = (
                figure,
                f"Not selected; columns: a(n) {', '.join(names)}.",
            )
    return found
