"""Data by name: `load(name) -> Dataset(train, test, info, density)`.

2-D densities with exact log-densities are sampled on the device inside the compiled step; images
are decoded once, kept as uint8, checked before anything compiles, and drawn in an epoch-exact
shuffle that is a pure function of (arrays, key, index). Pixel range, binarisation and
dequantisation are part of `info.identity`. `captions` puts labelled images into words.
"""

from dgm_jax.data import captions
from dgm_jax.data._available import AUTO, available
from dgm_jax.data.checks import check_batch_size, check_images, check_labels
from dgm_jax.data.dataset import Dataset, DatasetInfo, Density2D
from dgm_jax.data.densities2d import DENSITIES
from dgm_jax.data.density_sets import density
from dgm_jax.data.images import IMAGE_SETS, PREFIXES
from dgm_jax.data.loading import from_arrays, load, load_images
from dgm_jax.data.pixels import (
    dynamic_binarize,
    model_input,
    static_binarize,
    to_model_range,
    to_uint8,
    uniform_dequantize,
)
from dgm_jax.data.streams import arrays, draws, shuffled_positions

__all__ = [
    "AUTO",
    "DENSITIES",
    "IMAGE_SETS",
    "PREFIXES",
    "Dataset",
    "DatasetInfo",
    "Density2D",
    "arrays",
    "available",
    "captions",
    "check_batch_size",
    "check_images",
    "check_labels",
    "density",
    "draws",
    "dynamic_binarize",
    "from_arrays",
    "load",
    "load_images",
    "model_input",
    "shuffled_positions",
    "static_binarize",
    "to_model_range",
    "to_uint8",
    "uniform_dequantize",
]
