"""Meshes with the axes ("seed", "data"), and shardings along them."""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dgm_jax.core import Array, ConfigError, PyTree, is_key, require
from dgm_jax.parallel.platforms import Devices

SEED = "seed"
DATA = "data"


def make_mesh(num_lanes: int, devices: Devices | None = None, *, share_lanes: bool = False) -> Mesh:
    """Make a mesh of devices: as many along "seed" as lanes can use well, the rest along "data".

    Lanes never communicate, so devices along "seed" need no communication, while those along "data"
    share each batch, and average gradients in every step. Where L divides D or D divides L, there
    are min(L, D) devices along "seed", and all of them are busy. Otherwise a device along "seed"
    has ceil(L / s) places for lanes, some of which stay empty, and s is the largest divisor of D
    for which at most a quarter of the places does: 5 lanes on 8 devices make (2, 4) with 6 places,
    7 make (8, 1) with 8. s = 1 leaves none empty. The axes are of type Auto: with Explicit axes,
    JAX's default, vmapped convolutions do not trace.

    Args:
        num_lanes: L, the number of lanes that share the mesh.
        devices: the devices to use, D of them; None for all.
        share_lanes: whether all devices shall share every lane.

    Returns:
        A mesh of shape (s, D / s) with the axes ("seed", "data"); (1, D) with `share_lanes`.
    """
    if devices is None:
        devices = jax.devices()
    device_array = np.asarray(devices)
    num_devices = device_array.size
    shape = (1, num_devices)
    if not share_lanes:
        shape = split_devices(num_lanes, num_devices)
    axis_types = (AxisType.Auto, AxisType.Auto)
    return Mesh(device_array.reshape(shape), (SEED, DATA), axis_types=axis_types)


def split_devices(num_lanes: int, num_devices: int) -> tuple[int, int]:
    """Determine the shape of the mesh, by the rule of `make_mesh`.

    Args:
        num_lanes: L, the number of lanes that share the mesh.
        num_devices: D.

    Returns:
        Devices along "seed", s, and along "data", D / s.
    """
    if num_lanes % num_devices == 0 or num_devices % num_lanes == 0:
        num_seed = min(num_lanes, num_devices)
        return num_seed, num_devices // num_seed
    divisors = [s for s in range(1, num_devices + 1) if num_devices % s == 0]
    num_seed = 1
    for divisor in divisors:
        num_places = divisor * math.ceil(num_lanes / divisor)
        if 4 * num_lanes >= 3 * num_places:
            num_seed = divisor
    return num_seed, num_devices // num_seed


def lane_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of arrays [L, ...] whose leading axis of lanes lies along "seed".

    Args:
        mesh: from `make_mesh`.

    Returns:
        The sharding.
    """
    return NamedSharding(mesh, PartitionSpec(SEED))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding that keeps the whole array on every device.

    Args:
        mesh: from `make_mesh`.

    Returns:
        The sharding.
    """
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of arrays [B, ...] whose leading axis of examples lies along "data".

    Args:
        mesh: from `make_mesh`.

    Returns:
        The sharding.
    """
    return NamedSharding(mesh, PartitionSpec(DATA))


def place(tree: PyTree, shardings: PyTree) -> PyTree:
    """Put arrays that every process holds whole on devices.

    Args:
        tree: arrays.
        shardings: one for each array, or one for all, over the devices of one process or of
            several, of which each places its part.

    Returns:
        The tree on the devices.
    """
    if isinstance(shardings, jax.sharding.Sharding):
        shardings = jax.tree.map(lambda leaf: shardings, tree)
    return jax.tree.map(_placed, tree, shardings)


def _placed(leaf: Any, sharding: jax.sharding.Sharding) -> Array:
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if is_key(leaf):
        words = _placed(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    dtype = getattr(leaf, "dtype", None) or np.asarray(leaf).dtype
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    whole = np.asarray(leaf, dtype)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def shard_batch(mesh: Mesh, batch: PyTree, microbatches: int = 1) -> PyTree:
    """Shard the leading axes of a batch over "data".

    Args:
        mesh: from `make_mesh`.
        batch: a tree of arrays [B, ...]; a scalar in it applies to every example.
        microbatches: into how many the batch will be divided.

    Returns:
        The batch with constraints on its sharding.

    Raises:
        ConfigError: the devices along "data" cannot share the examples evenly, the microbatches not
            be equally large, or there is nothing to divide.
    """
    num_parts = mesh.shape[DATA]
    require_examples(batch, microbatches)

    def shard(x: Array) -> Array:
        if x.ndim == 0:
            return x
        batch_size = x.shape[0]
        require_divisible(batch_size, num_parts, microbatches)
        if num_parts == 1:
            return x
        return jax.lax.with_sharding_constraint(x, batch_sharding(mesh))

    return jax.tree.map(shard, batch)


def take_microbatch(
    microbatches: int, num_devices: int, batch: PyTree, index: Array | int
) -> PyTree:
    """Take one of the N microbatches of a batch: the i-th of N runs of examples of each device.

    So devices that share the batch have an equal share of each microbatch, nothing moves between
    them, and neighbours stay together, such as examples that a discriminator sees in packs.

    Args:
        microbatches: N.
        num_devices: how many share the batch, each a run of examples.
        batch: a tree of arrays [B, ...], where B is a multiple of N times the devices; a scalar in
            it applies to every example.
        index: i, from 0 to N - 1.

    Returns:
        A tree of arrays [B / N, ...].
    """

    def take(x: Array) -> Array:
        if x.ndim == 0:
            return x
        batch_size, *example_shape = x.shape
        size = batch_size // microbatches
        run_length = size // num_devices
        runs = x.reshape(num_devices, microbatches, run_length, *example_shape)
        taken = jax.lax.dynamic_index_in_dim(runs, index, axis=1, keepdims=False)
        return taken.reshape(size, *example_shape)

    return jax.tree.map(take, batch)


def require_examples(batch: PyTree, microbatches: int) -> None:
    """Check that there is something to divide, since noise alone would only be drawn more often.

    Args:
        batch: tree of arrays.
        microbatches: number of microbatches.

    Raises:
        ConfigError: several microbatches, and no array with an axis of examples.
    """
    if microbatches == 1:
        return
    has_examples = any(x.ndim > 0 for x in jax.tree.leaves(batch))
    require(
        has_examples,
        f"microbatches={microbatches} divides the examples of a batch, but this task's batches hold"
        " no array of examples: use microbatches=1",
    )


def require_divisible(batch_size: int, num_devices: int, microbatches: int = 1) -> None:
    """Check that devices can share a batch evenly, each in equal microbatches.

    Args:
        batch_size: number of examples.
        num_devices: number of devices that share them.
        microbatches: number of microbatches.

    Raises:
        ConfigError: they cannot; the message names the nearest batch sizes that fit.
    """
    unit = num_devices * microbatches
    if batch_size % unit == 0:
        return
    below = batch_size // unit * unit
    nearest = str(below + unit)
    if below:
        nearest = f"{below}, {nearest}"
    verbs = []
    if num_devices > 1:
        verbs.append(f"be shared by {num_devices} devices")
    if microbatches > 1:
        verbs.append(f"be divided into {microbatches} microbatches")
    verb = " and ".join(verbs)
    raise ConfigError(
        f"a batch of {batch_size} cannot {verb}; nearest batch sizes that can: {nearest}"
    )
