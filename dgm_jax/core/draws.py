"""Random draws that compile and run quickly; the numbers are those of `jax.random`, bit for bit.

XLA's CPU compiler needs seconds for an N-dimensional Threefry draw and milliseconds for a flat one,
so draws here are flat and then reshaped.

JAX's own rounds of Threefry are a loop on CPU, whose turns wait for each other. Here all twenty are
written out, and XLA makes one pass of them and of what is done with the bits. Small draws take
about a third of the time (benchmarks/README.md).
"""

import math
import zlib

import jax
import jax.extend.random
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from dgm_jax.core import checks
from dgm_jax.core.types import Array, Key

_THREEFRY = "threefry2x32"
_LAYOUT = "jax_threefry_partitionable"  # the default since JAX 0.5
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_MOST_BLOCKS = 2**32  # so that the first word of every counter is zero


def named_key(key: Key, name: str) -> Key:
    """Derive a key for a named use of randomness, such as "encoder dropout".

    It is `fold_in(key, CRC-32 of the name)`, so a new use leaves all other draws unchanged.

    Args:
        key: a typed key.
        name: of the use.

    Returns:
        A typed key.

    Example:
        >>> jax.random.key_data(core.named_key(jax.random.key(0), "dropout")).shape
        (2,)
    """
    return jax.random.fold_in(checks.one_key(key), zlib.crc32(name.encode()))


def quick_key(key: Key) -> Key:
    """Return a key with the same draws, whose bits cost less on CPU.

    Args:
        key: a typed key, or a raw one.

    Returns:
        A typed key that gives to every function of `jax.random` what `key` gives to it: for keys of
        Threefry one of an implementation of ours, for others the key itself. It is for draws only:
        a program that is handed such a key, or returns one, would not be one for JAX's keys. Do not
        draw indices of a gather with it: XLA would hash again for each number that is gathered.

    Raises:
        ConfigError: no key, or several.

    Example:
        >>> key = jax.random.key(0)
        >>> bool(jax.random.bits(core.quick_key(key)) == jax.random.bits(key))
        True
    """
    key = checks.one_key(key)
    is_partitionable = getattr(jax.config, _LAYOUT)
    if jax.random.key_impl(key) != _THREEFRY or not is_partitionable:
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=_UNROLLED)


def normal(
    key: Key,
    shape: tuple[int, ...],
    dtype: DTypeLike = float,
) -> Array:
    """Standard normal draws, equal to `jax.random.normal(key, shape)`.

    Args:
        key: a typed key.
        shape: of the result.
        dtype: floating type of the draws.

    Returns:
        Draws [*shape].

    Example:
        >>> core.normal(jax.random.key(0), (2, 3)).shape
        (2, 3)
    """
    return jax.random.normal(quick_key(key), (math.prod(shape),), dtype).reshape(shape)


def uniform(
    key: Key,
    shape: tuple[int, ...],
    dtype: DTypeLike = float,
    minval: ArrayLike = 0.0,
    maxval: ArrayLike = 1.0,
) -> Array:
    """Draws from U[minval, maxval), equal to `jax.random.uniform(key, shape)`.

    Args:
        key: a typed key.
        shape: of the result.
        dtype: floating type of the draws.
        minval: lower end, included.
        maxval: upper end, excluded.

    Returns:
        Draws [*shape].

    Example:
        >>> bool(jnp.all(core.uniform(jax.random.key(0), (2, 3)) < 1))
        True
    """
    draws = jax.random.uniform(quick_key(key), (math.prod(shape),), dtype, minval, maxval)
    return draws.reshape(shape)


def _random_bits(words: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
    """Unsigned integers [*shape] of a width: JAX's with `jax_threefry_partitionable`.

    Number i is made from the block of the counter (0, i).
    """
    if math.prod(shape) > _MOST_BLOCKS:
        return jax.random.bits(_theirs(words), shape, f"uint{bit_width}")
    counters = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
    first, second = _threefry(words[0], words[1], jnp.zeros_like(counters), counters)
    if bit_width == 64:
        return (first.astype(jnp.uint64) << 32) | second
    return (first ^ second).astype(f"uint{bit_width}")


def _threefry(key_0: Array, key_1: Array, x_0: Array, x_1: Array) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011, section 4.2) of blocks (x_0, x_1)."""
    schedule = (key_0, key_1, key_0 ^ key_1 ^ jnp.uint32(_PARITY))
    x_0 = x_0 + schedule[0]
    x_1 = x_1 + schedule[1]
    for group in range(5):
        for distance in _ROTATIONS[group % 2]:
            x_0 = x_0 + x_1
            x_1 = _rotated(x_1, distance) ^ x_0
        x_0 = x_0 + schedule[(group + 1) % 3]
        x_1 = x_1 + schedule[(group + 2) % 3] + jnp.uint32(group + 1)
    return x_0, x_1


def _rotated(x: Array, distance: int) -> Array:
    """Bits of words rotated to the left."""
    return (x << jnp.uint32(distance)) | (x >> jnp.uint32(32 - distance))


def _theirs(words: Array) -> Key:
    return jax.random.wrap_key_data(words, impl=_THREEFRY)


_UNROLLED = jax.extend.random.define_prng_impl(
    key_shape=(2,),
    seed=lambda seed: jax.random.key_data(jax.random.key(seed, impl=_THREEFRY)),
    split=lambda words, shape: jax.random.key_data(jax.random.split(_theirs(words), shape)),
    fold_in=lambda words, data: jax.random.key_data(jax.random.fold_in(_theirs(words), data)),
    random_bits=_random_bits,
    name="dgm_jax_threefry2x32",
    tag="dgm",
)
