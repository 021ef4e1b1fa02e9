"""Pixels: ranges, binarisation and dequantisation, as pure functions."""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Key, require, uniform
from dgm_jax.data.dataset import BINARIZATIONS, DEQUANTIZATIONS, SCALINGS


def to_model_range(images: Array, scaling: str) -> Array:
    """uint8 0..255 to float32: "unit" x / 255 in [0, 1]; "symmetric" (2 x - 255) / 255 in [-1, 1].

    Both ends are exact: 255 becomes 1, and 0 becomes 0 or -1. The reciprocal is written out because
    XLA replaces a division by it under jit only, and the last bit would depend on compilation.
    """
    _check_scaling(scaling)
    _check_uint8(images)
    x = images.astype(jnp.float32)
    return (x if scaling == "unit" else 2.0 * x - 255.0) * np.float32(1 / 255)


def to_uint8(x: Array, scaling: str) -> Array:
    """Inverse of `to_model_range`: nearest pixel value; values outside the range are clipped."""
    _check_scaling(scaling)
    levels = x * 255.0 if scaling == "unit" else (x + 1.0) * 127.5
    return jnp.clip(jnp.round(levels), 0, 255).astype(jnp.uint8)


def static_binarize(images: np.ndarray, seed: int | tuple[int, ...]) -> np.ndarray:
    """uint8 images to {0, 255}: each pixel is on with probability x / 255, drawn once.

    The same seed gives the same images; larger sets are handled in blocks of 4096 images.
    Source of the convention: Salakhutdinov and Murray (2008), fixed binary MNIST.
    """
    _check_uint8(images)
    rng = np.random.default_rng(seed)
    blocks = [images[i : i + 4096] for i in range(0, len(images), 4096)]
    # u is one of 0..254 with equal probability, so P(u < x) = x / 255 exactly.
    return np.concatenate(
        [(rng.integers(0, 255, b.shape, np.uint8) < b) * np.uint8(255) for b in blocks]
    )


def dynamic_binarize(key: Key, x: Array) -> Array:
    """float32 {0, 1}: each pixel is on with probability x, x in [0, 1]; fresh for each key."""
    return (uniform(key, x.shape) < x).astype(jnp.float32)


def uniform_dequantize(key: Key, images: Array) -> Array:
    """uint8 0..255 to float32 in [0, 1): (x + u) / 256 with u uniform (Theis et al. 2016, section
    3.1).

    u is a multiple of 2^-16: 8 + 16 bits are what float32 holds, so x + u is exact, never
    rounds up to the next pixel value or to 1, and floor(256 y) gives x back.
    """
    _check_uint8(images)
    u = (
        jax.random.bits(key, (images.size,), jnp.uint16).reshape(images.shape).astype(jnp.float32)
        / 65536.0
    )
    return (images.astype(jnp.float32) + u) / 256.0


def model_input(
    key: Key, images: Array, *, scaling: str, binarization: str, dequantization: str
) -> Array:
    """What a model sees of stored uint8 images: float32 of the same shape.

    "static" and "threshold" binarisation were applied at load, so only "dynamic" draws here.
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
    """Raises `ConfigError` for an unknown choice or a pair that contradicts itself."""
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
