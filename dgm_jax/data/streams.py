"""Batches as a pure function of (arrays, key, index), without any state to save.

Batch `index` is always the same, so a resumed run sees the same data. Images come in an epoch-exact
shuffle that is computed position by position, without a permutation in memory; 2-D densities give
fresh samples.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Draw, Gather, Key, PyTree, require
from dgm_jax.data.checks import check_batch_size
from dgm_jax.data.dataset import Dataset
from dgm_jax.data.pixels import model_input

NUM_ROUNDS = 32
MAX_EXAMPLES = 2**30


def arrays(dataset: Dataset, split: str = "train") -> dict[str, np.ndarray]:
    """Select the arrays of one split, which the engine puts on the device once.

    Args:
        dataset: the data set.
        split: "train" or "test".

    Returns:
        `{"image", "label"}` or `{"x"}`.

    Raises:
        ConfigError: for another split.
    """
    return dict(_split(dataset, split))


def draws(dataset: Dataset, batch_size: int, *, split: str = "train", fresh: bool = True) -> Draw:
    """Make the function that draws batch `index` of a data set.

    It is `draw(data, data_key, index) -> batch` with `data = arrays(dataset, split)`; for stored
    examples it is a `core.Gather`, whose positions need no data. index is an int32 from 0 to 2^31 -
    1; the epoch arithmetic does not overflow for any of them.

    Images: `{"x": float32[B, H, W, C], "label": int32[B]}`. Batch `index` holds the positions index
    * B + 0..B-1 of an endless stream of epochs. Every epoch visits every example once, in a new
    order, and a batch may span the border of two epochs. Pixels are gathered as uint8 and converted
    on the device as `info` says.

    Densities: `{"x": float32[B, 2]}`, fresh from `density.sample`.

    Args:
        dataset: the data set.
        batch_size: B.
        split: "train" or "test".
        fresh: False draws a density's batches from the stored sample, epoch by epoch (the protocol
            of papers with a fixed training set).

    Returns:
        The draw function.

    Raises:
        ConfigError: if the batch is larger than the stored data.
    """
    stored = _split(dataset, split)
    info = dataset.info
    density = dataset.density
    if density is not None and fresh:
        require(batch_size >= 1, f"batch_size must be a positive integer, got {batch_size}")

        def draw_fresh(data: PyTree, data_key: Key, index: Array) -> dict[str, Array]:
            key = jax.random.fold_in(data_key, index)
            return {"x": density.sample(key, batch_size)}

        return draw_fresh
    first = next(iter(stored.values()))
    num_examples = len(first)
    check_batch_size(num_examples, batch_size, split=split)

    def positions(data_key: Key, index: Array) -> Array:
        key_order = jax.random.fold_in(data_key, 0)
        return shuffled_positions(key_order, index, batch_size, num_examples)

    def gather(data: PyTree, where: Array, data_key: Key, index: Array) -> dict[str, Array]:
        key_noise = jax.random.fold_in(data_key, 1)
        key_noise = jax.random.fold_in(key_noise, index)
        batch = {}
        for name, array in data.items():
            batch[name] = jnp.asarray(array)[where]
        if "image" not in batch:
            return batch
        x = model_input(
            key_noise,
            batch.pop("image"),
            scaling=info.scaling,
            binarization=info.binarization,
            dequantization=info.dequantization,
        )
        return {"x": x, **batch}

    return Gather(positions, gather)


def shuffled_positions(key: Key, index: Array, batch_size: int, num_examples: int) -> Array:
    """Compute the examples at positions index * batch_size + 0.. of the shuffled stream of epochs.

    Args:
        key: key of the order.
        index: number of the batch, int32.
        batch_size: at most num_examples, so that a batch spans at most two epochs.
        num_examples: number of examples of an epoch, at most 2^30.

    Returns:
        int32[batch_size] in 0..num_examples-1.

    Raises:
        ConfigError: for sizes out of range.
    """
    check_batch_size(num_examples, batch_size)
    require(
        num_examples <= MAX_EXAMPLES,
        f"at most 2^30 examples can be shuffled, got {num_examples}",
    )
    epoch, offset = epoch_and_offset(index, batch_size, num_examples)
    steps = jnp.arange(batch_size, dtype=jnp.int32)
    position = offset + steps
    next_epoch = position >= num_examples
    shifts, salts = _round_keys(key, epoch, num_examples)
    next_shifts, next_salts = _round_keys(key, epoch + 1, num_examples)
    shifts = jnp.where(next_epoch, next_shifts[:, None], shifts[:, None])
    salts = jnp.where(next_epoch, next_salts[:, None], salts[:, None])
    within_epoch = position - num_examples * next_epoch
    return _swap_or_not(within_epoch, shifts, salts, num_examples)


def epoch_and_offset(index: Array, batch_size: int, num_examples: int) -> tuple[Array, Array]:
    """Compute divmod(index * batch_size, num_examples) without overflow.

    The product would exceed int32 after 2^31 / batch_size steps. So the index is divided digit by
    digit, as in long division, with digits small enough that remainder * base + digit * batch_size
    < 2^32.

    Args:
        index: number of the batch, in 0..2^31-1.
        batch_size: number of examples of a batch.
        num_examples: number of examples of an epoch.

    Returns:
        Number of the epoch and position in it, int32.
    """
    bits = max(1, 31 - num_examples.bit_length())
    num_digits = -(-31 // bits)  # rounded up
    mask = jnp.uint32(2**bits - 1)
    size = jnp.uint32(batch_size)
    divisor = jnp.uint32(num_examples)
    index = jnp.asarray(index).astype(jnp.uint32)
    epoch = jnp.zeros_like(index)
    remainder = jnp.zeros_like(index)
    for position in reversed(range(num_digits)):
        shift = position * bits
        digit = (index >> shift) & mask
        total = (remainder << bits) + digit * size
        epoch = (epoch << bits) + total // divisor
        remainder = total % divisor
    return epoch.astype(jnp.int32), remainder.astype(jnp.int32)


def _swap_or_not(x: Array, shifts: Array, salts: Array, n: int) -> Array:
    """The swap-or-not shuffle (Hoang, Morris and Rogaway 2012, figure 1), a permutation of 0..n-1.

    Each round pairs x with shift - x mod n and swaps the pair or not, by one hashed bit of its
    larger member. Each round is its own inverse, so the whole is a bijection for any n; unlike a
    Feistel network it needs no walk back into the range.
    """
    if n == 1:
        return jnp.zeros_like(x)

    def swap(x: Array, round_keys: tuple[Array, Array]) -> tuple[Array, None]:
        shift, salt = round_keys
        partner = shift - x
        partner = jnp.where(partner < 0, partner + n, partner)
        larger = jnp.maximum(x, partner).astype(jnp.uint32)
        bit = _hash(larger, salt) >> 31
        swapped = jnp.where(bit == 1, partner, x)
        return swapped, None

    # A loop, so that XLA does not fuse the rounds into the gather and repeat them for each pixel.
    swapped, _ = jax.lax.scan(swap, x, (shifts, salts), unroll=8)
    return swapped


def _round_keys(key: Key, epoch: Array | int, n: int) -> tuple[Array, Array]:
    """The keys of the rounds: words drawn from the key, hashed with the epoch.

    Returns:
        shifts: int32[R] in 0..n-1.
        salts: uint32[R].
    """
    words = jax.random.bits(key, (2 * NUM_ROUNDS,))
    epoch = jnp.asarray(epoch).astype(jnp.uint32)
    hashed = _hash(epoch, words)
    shift_words, salts = jnp.split(hashed, 2)
    shifts = shift_words % jnp.uint32(n)
    return shifts.astype(jnp.int32), salts


def _hash(x: Array, salt: Array) -> Array:
    # Multiply-xorshift with the constants of MurmurHash3's last step.
    h = x * jnp.uint32(0x9E3779B1)
    h = h ^ salt
    h = h ^ (h >> 16)
    h = h * jnp.uint32(0x85EBCA6B)
    h = h ^ (h >> 13)
    h = h * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


def _split(dataset: Dataset, split: str) -> dict[str, np.ndarray]:
    require(split in ("train", "test"), f"split is 'train' or 'test', got {split!r}")
    return dataset.train if split == "train" else dataset.test
