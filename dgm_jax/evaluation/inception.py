"""Features of the FID network (Inception-v3 of TensorFlow's 2015-12-05 release).

No weights come with this library and none are downloaded. You provide an npz file of the network's
tensors, under their names in the PyTorch port with which FID scores are published
(`Mixed_5b.branch1x1.conv.weight`, `Mixed_5b.branch1x1.bn.running_var`, ...). Given PyTorch and that
state dict, this writes it:

    numpy.savez("inception.npz", **{name: value.numpy() for name, value in state_dict.items()})

Architecture: Szegedy et al. 2016, "Rethinking the Inception architecture", with two peculiarities
of the FID release: average pools leave the padding out of their mean, and the last block, Mixed_7c,
takes a maximum instead. Checked without those weights: each kind of block against brute force, and
once the whole network, with random weights, against PyTorch's arithmetic in double precision, from
which it differed by 1e-5 at features with mean 0.5.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, DataError, checks, require
from dgm_jax.evaluation.features import row_tiles
from dgm_jax.evaluation.inception_layers import LAYERS
from dgm_jax.evaluation.inception_weights import InceptionParams, from_tensors, load

NUM_FEATURES = 2048
IMAGE_SIZE = 299

__all__ = [
    "IMAGE_SIZE",
    "NUM_FEATURES",
    "STAGES",
    "InceptionParams",
    "features",
    "from_tensors",
    "load",
]


def features(params: InceptionParams, images: Array, *, batch_size: int = 32) -> Array:
    """Compute the pool3 features of images; works under jit.

    Images are resized to 299 x 299 by bilinear interpolation between pixel centers, without a
    low-pass filter, and mapped to [-1, 1], as in the PyTorch port. The TensorFlow graph places its
    pixels differently, so published values depend on the port.

    Args:
        params: the network's parameters, from `load`.
        images: [N, H, W, 3], or [N, H, W, 1] (gray, repeated), in [0, 1] or uint8.
        batch_size: largest number of images at a time.

    Returns:
        float32[N, 2048].

    Raises:
        DataError: for another shape or dtype, or (where values are known) values outside [0, 1].
    """
    return _features(params, _images(images), batch_size)


@functools.partial(jax.jit, static_argnames="batch_size")
def _features(params: InceptionParams, images: Array, batch_size: int) -> Array:
    tiles, _ = row_tiles(images, batch_size)
    pooled = lax.map(lambda batch: _pool3(params, _prepare(batch)), tiles)
    return pooled.reshape(-1, NUM_FEATURES)[: len(images)]


def _images(images: Array) -> Array:
    shape = jnp.shape(images)
    require(
        len(shape) == 4 and shape[0] >= 1 and shape[3] in (1, 3),
        f"images must be [N, height, width, 3 or 1]; got {shape}",
        DataError,
    )
    images = jnp.asarray(images)
    if images.dtype == jnp.uint8:
        return images
    is_float = jnp.issubdtype(images.dtype, jnp.floating)
    require(is_float, f"images must be uint8 or floats; got {images.dtype}", DataError)
    if checks.is_concrete(images):
        low = float(images.min())
        high = float(images.max())
        require(
            low >= 0 and high <= 1,
            f"images must lie in [0, 1]; got [{low:.4g}, {high:.4g}]",
            DataError,
        )
    return images


def _prepare(images: Array) -> Array:
    """[B, H, W, 1 or 3] in [0, 1] or uint8 -> [B, 299, 299, 3] in [-1, 1]."""
    scale = 255 if images.dtype == jnp.uint8 else 1
    x = images.astype(jnp.float32) / scale
    size = (len(x), IMAGE_SIZE, IMAGE_SIZE, x.shape[3])
    x = jax.image.resize(x, size, "bilinear", antialias=False, precision=lax.Precision.HIGHEST)
    return jnp.broadcast_to(2 * x - 1, (*size[:3], 3))


def _convolve(params: InceptionParams, name: str, x: Array) -> Array:
    """Convolution with folded batch normalization, then ReLU.

    Metrics know no networks, so this calls lax and not `networks.layers.convolution`, which chooses
    by platform: scores should not depend on that choice, and nothing is trained here.
    """
    layer = LAYERS[name]
    weights = params[name]
    pad = (layer.height // 2, layer.width // 2) if layer.padded else (0, 0)
    y = lax.conv_general_dilated(
        x,
        weights["kernel"],
        window_strides=(layer.stride, layer.stride),
        padding=[(size, size) for size in pad],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )
    return jax.nn.relu(y + weights["bias"])


def _chain(params: InceptionParams, block: str, x: Array, *names: str) -> Array:
    for name in names:
        x = _convolve(params, f"{block}.{name}", x)
    return x


def _max_pool(x: Array, stride: int, pad: int = 0) -> Array:
    padding = [(0, 0), (pad, pad), (pad, pad), (0, 0)]
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, stride, stride, 1), padding)


def _average_pool(x: Array) -> Array:
    """3 x 3, stride 1, a mean over pixels without padding: 4 in a corner, 6 at an edge."""

    def window_sums(values: Array) -> Array:
        return lax.reduce_window(values, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")

    total = window_sums(x)
    num_pixels = window_sums(jnp.ones((1, *x.shape[1:3], 1), x.dtype))
    return total / num_pixels


def _block_35(params: InceptionParams, name: str, x: Array) -> Array:
    branches = (
        _chain(params, name, x, "branch1x1"),
        _chain(params, name, x, "branch5x5_1", "branch5x5_2"),
        _chain(params, name, x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
        _chain(params, name, _average_pool(x), "branch_pool"),
    )
    return jnp.concatenate(branches, axis=-1)


def _block_35_to_17(params: InceptionParams, name: str, x: Array) -> Array:
    branches = (
        _chain(params, name, x, "branch3x3"),
        _chain(params, name, x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
        _max_pool(x, 2),
    )
    return jnp.concatenate(branches, axis=-1)


def _block_17(params: InceptionParams, name: str, x: Array) -> Array:
    branches = (
        _chain(params, name, x, "branch1x1"),
        _chain(params, name, x, "branch7x7_1", "branch7x7_2", "branch7x7_3"),
        _chain(params, name, x, *(f"branch7x7dbl_{i}" for i in range(1, 6))),
        _chain(params, name, _average_pool(x), "branch_pool"),
    )
    return jnp.concatenate(branches, axis=-1)


def _block_17_to_8(params: InceptionParams, name: str, x: Array) -> Array:
    branches = (
        _chain(params, name, x, "branch3x3_1", "branch3x3_2"),
        _chain(params, name, x, *(f"branch7x7x3_{i}" for i in range(1, 5))),
        _max_pool(x, 2),
    )
    return jnp.concatenate(branches, axis=-1)


def _block_8(
    params: InceptionParams,
    name: str,
    x: Array,
    pool: Callable[[Array], Array] = _average_pool,
) -> Array:
    single = _chain(params, name, x, "branch3x3_1")
    double = _chain(params, name, x, "branch3x3dbl_1", "branch3x3dbl_2")
    branches = (
        _chain(params, name, x, "branch1x1"),
        _chain(params, name, single, "branch3x3_2a"),
        _chain(params, name, single, "branch3x3_2b"),
        _chain(params, name, double, "branch3x3dbl_3a"),
        _chain(params, name, double, "branch3x3dbl_3b"),
        _chain(params, name, pool(x), "branch_pool"),
    )
    return jnp.concatenate(branches, axis=-1)


def _block_8_last(params: InceptionParams, name: str, x: Array) -> Array:
    return _block_8(params, name, x, pool=lambda x: _max_pool(x, 1, pad=1))


def _pool(_params: InceptionParams, _name: str, x: Array) -> Array:
    return _max_pool(x, 2)


# Name of the stage -> (params, name, x) -> x, in the order in which they run.
STAGES = {
    "Conv2d_1a_3x3": _convolve,
    "Conv2d_2a_3x3": _convolve,
    "Conv2d_2b_3x3": _convolve,
    "maxpool1": _pool,
    "Conv2d_3b_1x1": _convolve,
    "Conv2d_4a_3x3": _convolve,
    "maxpool2": _pool,
    "Mixed_5b": _block_35,
    "Mixed_5c": _block_35,
    "Mixed_5d": _block_35,
    "Mixed_6a": _block_35_to_17,
    "Mixed_6b": _block_17,
    "Mixed_6c": _block_17,
    "Mixed_6d": _block_17,
    "Mixed_6e": _block_17,
    "Mixed_7a": _block_17_to_8,
    "Mixed_7b": _block_8,
    "Mixed_7c": _block_8_last,
}


def _pool3(params: InceptionParams, x: Array) -> Array:
    for name, stage in STAGES.items():
        x = stage(params, name, x)
    return jnp.mean(x, axis=(1, 2))
