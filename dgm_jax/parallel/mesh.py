"""Meshes with the axes ("seed", "data")."""

import math

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

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
