"""What `load` gives back: arrays, what they are, and for 2-D toy data the exact density."""

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

    sample: `(key, n) -> float32[n, 2]`.
    log_prob: `x[*B, 2] -> [*B]`, normalised, in nats; `-inf` outside the support.
    means: `[K, 2]`, the centres of the modes, or None where there are no separate modes.
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

    kind: "density" or "images".
    shape: of one example, `(2,)` or `(H, W, C)`.
    pixels: what is stored and what a model sees, in words.
    binarization: "none"; "static" (drawn once, at load, with `seed`); "dynamic" (drawn
        afresh for each batch); "threshold" (a pixel above one half is on).
    dequantization: "none", or "uniform": (pixel + U[0, 1)) / 256, drawn for each batch.
    scaling: "unit" [0, 1], "symmetric" [-1, 1], or "none" for densities.
    sha256: of the stored arrays after static changes; of name, options, seed and sizes
        for a density, whose float samples differ in the last bit between devices.
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
        """All of it with the `identity`, for the record of a run."""
        return dataclasses.asdict(self) | {"identity": self.identity}

    @property
    def identity(self) -> str:
        """One line for reports, such as
        `fashion_mnist[train 60000, test 10000, symmetric, no dequantization]`."""
        sizes = f"train {self.num_train}, test {self.num_test}"
        if self.kind == "density":
            return f"{self.name}[{', '.join((*self.notes, 'fresh samples'))}]"
        drawn = f" (seed {self.seed})" if self.binarization == "static" else ""
        binary = (
            () if self.binarization == "none" else (f"{self.binarization} binarization{drawn}",)
        )
        noise = (
            "no dequantization"
            if self.dequantization == "none"
            else f"{self.dequantization} dequantization"
        )
        return f"{self.name}[{', '.join((sizes, self.scaling, *binary, noise, *self.notes))}]"


class Dataset(NamedTuple):
    """Training and test arrays with their description.

    Images: `{"image": uint8[N, H, W, C], "label": int32[N]}` as numpy arrays, decoded once.
    2-D densities: `{"x": float32[N, 2]}`, a fixed seeded sample, and `density`, from which
    training draws fresh samples on the device.
    """

    train: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    info: DatasetInfo
    density: Density2D | None = None
