"""Pixel values: ranges, binarization and dequantization, as pure functions."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Key, quick_key, require, uniform
from dgm_jax.data.dataset import BINARIZATIONS, DEQUANTIZATIONS, SCALINGS


def to_model_range(images: Array, scaling: str) -> Array:
    """Convert uint8 pixels to the range that a model sees.

    x / 255 in [0, 1] for "unit", (2 x - 255) / 255 in [-1, 1] for "symmetric". Both ends are exact:
    255 becomes 1, and 0 becomes 0 or -1. The code multiplies by the reciprocal, because XLA
    replaces a division by it under jit only, and the last bit would depend on compilation.

    Args:
        images: uint8, of any shape.
        scaling: "unit" or "symmetric".

    Returns:
        float32 of the same shape.

    Raises:
        ConfigError: for another dtype or scaling.
    """
    _check_scaling(scaling)
    _check_uint8(images)
    x = images.astype(jnp.float32)
    levels = x if scaling == "unit" else 2.0 * x - 255.0
    return levels * np.float32(1 / 255)


def to_uint8(x: Array, scaling: str) -> Array:
    """Convert a model's pixels to uint8, the inverse of `to_model_range`.

    Args:
        x: floats of any shape; values outside the range are clipped.
        scaling: "unit" or "symmetric".

    Returns:
        uint8 of the same shape, the nearest pixel values.

    Raises:
        ConfigError: for another scaling.
    """
    _check_scaling(scaling)
    levels = x * 255.0 if scaling == "unit" else (x + 1.0) * 127.5
    return jnp.clip(jnp.round(levels), 0, 255).astype(jnp.uint8)


def static_binarize(images: np.ndarray, seed: int | tuple[int, ...]) -> np.ndarray:
    """Binarize images once: each pixel is on with probability x / 255.

    The same seed gives the same images; large sets are processed in blocks of 4096 images.
    Convention of Salakhutdinov and Murray (2008), fixed binary MNIST.

    Args:
        images: uint8[N, ...].
        seed: of NumPy's generator.

    Returns:
        uint8 of the same shape, 0 or 255.

    Raises:
        ConfigError: for another dtype.
    """
    return np.concatenate(list(binarized_blocks(images, seed)))


def binarized_blocks(images: np.ndarray, seed: int | tuple[int, ...]) -> Iterator[np.ndarray]:
    """Make the blocks of `static_binarize` one after the other.

    Args:
        images: uint8[N, ...].
        seed: of NumPy's generator.

    Yields:
        uint8[n, ...] of 4096 images each, but for the last.

    Raises:
        ConfigError: for another dtype.
    """
    _check_uint8(images)
    rng = np.random.default_rng(seed)
    for start in range(0, len(images), 4096):
        block = images[start : start + 4096]
        # u is one of 0..254 with equal probability, so P(u < x) = x / 255 exactly.
        u = rng.integers(0, 255, block.shape, np.uint8)
        yield (u < block) * np.uint8(255)


def dynamic_binarize(key: Key, x: Array) -> Array:
    """Binarize a batch: each pixel is on with probability x; a new key gives a new draw.

    Args:
        key: random key.
        x: floats in [0, 1], of any shape.

    Returns:
        float32 of the same shape, 0 or 1.
    """
    return (uniform(key, x.shape) < x).astype(jnp.float32)


def uniform_dequantize(key: Key, images: Array) -> Array:
    """Add uniform noise to pixels: (x + u) / 256 with u uniform in [0, 1).

    Theis et al. 2016, section 3.1. u is a multiple of 2^-16: float32 holds 8 + 16 bits, so x + u is
    exact, never rounds up to the next pixel value or to 1, and floor(256 y) recovers x.

    Args:
        key: random key.
        images: uint8, of any shape.

    Returns:
        float32 of the same shape, in [0, 1).

    Raises:
        ConfigError: for another dtype.
    """
    _check_uint8(images)
    bits = jax.random.bits(quick_key(key), (images.size,), jnp.uint16)
    u = bits.reshape(images.shape).astype(jnp.float32) / 65536.0
    return (images.astype(jnp.float32) + u) / 256.0


def model_input(
    key: Key,
    images: Array,
    *,
    scaling: str,
    binarization: str,
    dequantization: str,
) -> Array:
    """Convert stored images to what a model sees.

    "static" and "threshold" binarization were applied when the set was loaded, so only "dynamic"
    draws here.

    Args:
        key: random key of the batch.
        images: uint8, of any shape.
        scaling: "unit" or "symmetric".
        binarization: as `load`.
        dequantization: as `load`.

    Returns:
        float32 of the same shape.

    Raises:
        ConfigError: for another dtype or choice.
    """
    check_choices(scaling, binarization, dequantization)
    if binarization == "dynamic":
        unit = dynamic_binarize(key, to_model_range(images, "unit"))
    elif dequantization == "uniform":
        unit = uniform_dequantize(key, images)
    else:
        return to_model_range(images, scaling)
    return unit if scaling == "unit" else 2.0 * unit - 1.0


def check_choices(scaling: str, binarization: str, dequantization: str) -> None:
    """Check the choices of how pixels are treated.

    Args:
        scaling: one of `SCALINGS`.
        binarization: one of `BINARIZATIONS`.
        dequantization: one of `DEQUANTIZATIONS`; it excludes binarization.

    Raises:
        ConfigError: for an unknown choice, or two that exclude each other.
    """
    _check_scaling(scaling)
    require(
        binarization in BINARIZATIONS,
        f"binarization is one of {BINARIZATIONS}, got {binarization!r}",
    )
    require(
        dequantization in DEQUANTIZATIONS,
        f"dequantization is one of {DEQUANTIZATIONS}, got {dequantization!r}",
    )
    require(
        binarization == "none" or dequantization == "none",
        f"binarization {binarization!r} and dequantization {dequantization!r} exclude each other:"
        " choose one",
    )


def _check_scaling(scaling: str) -> None:
    require(scaling in SCALINGS, f"scaling is one of {SCALINGS}, got {scaling!r}")


def _check_uint8(images: Array | np.ndarray) -> None:
    require(images.dtype == np.uint8, f"expected uint8 pixels 0..255, got {images.dtype}")
