"""What `load` returns: arrays, their description, and the exact density of 2-D toy data."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dgm_jax.core import Array, Key

SCALINGS = ("unit", "symmetric")
BINARIZATIONS = ("none", "static", "dynamic", "threshold")
DEQUANTIZATIONS = ("none", "uniform")


class Density2D(NamedTuple):
    """A distribution over the plane with an exact sampler and an exact log-density.

    Attributes:
        sample: `(key, n) -> float32[n, 2]`.
        log_prob: `x[*B, 2] -> [*B]`, normalized, in nats; `-inf` outside the support.
        means: `[K, 2]`, the centers of the modes, or None if there are no separate modes.
        scale: standard deviation of each mode along each axis, or None.
        log_weights: `[K]`, the log-probability of each mode, or None.
    """

    sample: Callable[[Key, int], Array]
    log_prob: Callable[[Array], Array]
    means: Array | None = None
    scale: float | None = None
    log_weights: Array | None = None


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What a report says about the data of a run.

    Attributes:
        name: name of the data set.
        kind: "density" or "images".
        shape: of one example, `(2,)` or `(H, W, C)`.
        num_classes: number of classes; 0 for a density.
        class_names: their names, in the order of labels.
        num_train: number of training examples.
        num_test: number of test examples.
        pixels: what is stored and what a model sees, in words.
        binarization: "none"; "static" (drawn once, at load, with `seed`); "dynamic" (drawn anew for
            each batch); "threshold" (a pixel above one half is on).
        dequantization: "none", or "uniform": (pixel + U[0, 1)) / 256, drawn for each batch.
        scaling: "unit" [0, 1], "symmetric" [-1, 1], or "none" for densities.
        source: where the examples come from, in words.
        sha256: hash of the stored arrays after static changes; for a density, whose float samples
            differ in the last bit between devices, of name, options, seed and sizes.
        seed: seed of static binarization and of a density's stored samples.
        notes: whatever else was done to the contents (resized, files skipped, held out).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    num_classes: int
    class_names: tuple[str, ...]
    num_train: int
    num_test: int
    pixels: str
    binarization: str
    dequantization: str
    scaling: str
    source: str
    sha256: str
    seed: int = 0
    notes: tuple[str, ...] = ()

    def record(self) -> dict:
        """All fields and the `identity`, for the record of a run."""
        return dataclasses.asdict(self) | {"identity": self.identity}

    @property
    def identity(self) -> str:
        """One line for reports.

        For example `fashion_mnist[train 60000, test 10000, symmetric, no dequantization]`.
        """
        if self.kind == "density":
            return f"{self.name}[{', '.join((*self.notes, 'fresh samples'))}]"
        parts = [f"train {self.num_train}, test {self.num_test}", self.scaling]
        if self.binarization != "none":
            seed = f" (seed {self.seed})" if self.binarization == "static" else ""
            parts.append(f"{self.binarization} binarization{seed}")
        noise = "no" if self.dequantization == "none" else self.dequantization
        parts.append(f"{noise} dequantization")
        return f"{self.name}[{', '.join((*parts, *self.notes))}]"


class Dataset(NamedTuple):
    """Training and test arrays with their description.

    Attributes:
        train: for images `{"image": uint8[N, H, W, C], "label": int32[N]}` as NumPy arrays, decoded
            once; for densities `{"x": float32[N, 2]}`, a fixed sample.
        test: the same of the test split.
        info: the description.
        density: the density of 2-D data, from which training draws fresh samples on the device;
            None for images.
    """

    train: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    info: DatasetInfo
    density: Density2D | None = None
