"""Meshes with the axes ("seed", "data"), and shardings along them."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dgm_jax.core import Array, ConfigError, PyTree
from dgm_jax.parallel.platforms import Devices

SEED = "seed"
DATA = "data"


def make_mesh(num_lanes: int, devices: Devices | None = None) -> Mesh:
    """Make a mesh of devices: as many as divide the lanes along "seed", the rest along "data".

    Lanes never communicate, so devices along "seed" need no communication. The axes are of type
    Auto: with Explicit axes, JAX's default, vmapped convolutions do not trace.

    Args:
        num_lanes: L, the number of lanes that share the mesh.
        devices: the devices to use, D of them; None for all.

    Returns:
        A mesh of shape (gcd(L, D), D / gcd(L, D)) with the axes ("seed", "data").
    """
    device_array = np.asarray(jax.devices() if devices is None else devices)
    shape = split_devices(num_lanes, device_array.size)
    return Mesh(
        device_array.reshape(shape), (SEED, DATA), axis_types=(AxisType.Auto, AxisType.Auto)
    )


def split_devices(num_lanes: int, num_devices: int) -> tuple[int, int]:
    """Determine the shape of the mesh.

    Args:
        num_lanes: L, the number of lanes that share the mesh.
        num_devices: D.

    Returns:
        Devices along "seed", gcd(L, D), and along "data", D / gcd(L, D).
    """
    num_seed = math.gcd(num_lanes, num_devices)
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


def place(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Put arrays that every process holds whole on devices, by a sharding.

    Args:
        tree: arrays.
        sharding: over the devices of one process or of several, of which each places its part.

    Returns:
        The tree on the devices.
    """
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda leaf: _placed(leaf, sharding), tree)


def _placed(leaf: Any, sharding: NamedSharding) -> Array:
    dtype = getattr(leaf, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        words = _placed(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    whole = np.asarray(leaf, jax.dtypes.canonicalize_dtype(dtype or np.asarray(leaf).dtype))
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def shard_batch(mesh: Mesh, batch: PyTree) -> PyTree:
    """Shard the leading axes of a batch over "data".

    Args:
        mesh: from `make_mesh`.
        batch: a tree of arrays [B, ...]; a scalar in it applies to every example.

    Returns:
        The batch with constraints on its sharding.

    Raises:
        ConfigError: the devices along "data" cannot share B examples evenly.
    """
    num_parts = mesh.shape[DATA]
    if num_parts == 1:
        return batch

    def shard(x: Array) -> Array:
        if x.ndim == 0:
            return x
        require_divisible(x.shape[0], num_parts)
        return jax.lax.with_sharding_constraint(x, batch_sharding(mesh))

    return jax.tree.map(shard, batch)


def require_divisible(batch_size: int, num_devices: int) -> None:
    """Check that devices can share a batch evenly.

    Args:
        batch_size: number of examples.
        num_devices: number of devices that share them.

    Raises:
        ConfigError: they cannot; the message names the nearest batch sizes that fit.
    """
    if batch_size % num_devices:
        below = batch_size // num_devices * num_devices
        nearest = [size for size in (below, below + num_devices) if size]
        raise ConfigError(
            f"a batch of {batch_size} cannot be shared by {num_devices} devices; "
            f"nearest batch sizes that can: {', '.join(map(str, nearest))}"
        )
