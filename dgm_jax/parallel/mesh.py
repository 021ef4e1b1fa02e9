"""Meshes with the axes ("seed", "data"), and what lies along them."""

import math

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dgm_jax.core import ConfigError

SEED, DATA = "seed", "data"


def make_mesh(num_lanes: int, devices=None) -> Mesh:
    """A mesh of all devices: as many as divide the lanes along "seed", the rest along "data".

    Lanes never talk to each other, so devices along "seed" need no communication. The axes
    are of type Auto: with Explicit axes, JAX's default, vmapped convolutions do not trace.
    """
    devices = np.asarray(jax.devices() if devices is None else devices)
    num_seed = math.gcd(num_lanes, devices.size)
    return Mesh(
        devices.reshape(num_seed, -1), (SEED, DATA), axis_types=(AxisType.Auto, AxisType.Auto)
    )


def lane_sharding(mesh: Mesh) -> NamedSharding:
    """Leading axis of lanes over "seed"."""
    return NamedSharding(mesh, PartitionSpec(SEED))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Leading axis of a batch over "data"."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def shard_batch(mesh: Mesh, batch):
    """The leading axes of a batch over "data"; a scalar is the same for every example."""
    num_parts = mesh.shape[DATA]
    if num_parts == 1:
        return batch

    def shard(x):
        if x.ndim == 0:
            return x
        require_divisible(x.shape[0], num_parts)
        return jax.lax.with_sharding_constraint(x, batch_sharding(mesh))

    return jax.tree.map(shard, batch)


def require_divisible(batch_size: int, num_devices: int) -> None:
    """ConfigError with the nearest sizes that fit, unless the devices can share a batch."""
    if batch_size % num_devices:
        below = batch_size // num_devices * num_devices
        nearest = [size for size in (below, below + num_devices) if size]
        raise ConfigError(
            f"a batch of {batch_size} cannot be shared by {num_devices} devices; "
            f"nearest batch sizes that can: {', '.join(map(str, nearest))}"
        )
