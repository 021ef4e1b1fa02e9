"""How devices work on their parts of a batch, as a `core.Replica`."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from dgm_jax.core import SOLO, Array, Key, PyTree, Replica
from dgm_jax.parallel.mesh import (
    DATA,
    make_mesh,
    require_divisible,
    require_examples,
    shard_batch,
    take_microbatch,
)


def whole(mesh: Mesh, microbatches: int) -> Replica:
    """Make the replica of a program that sees whole batches, which devices may share.

    Args:
        mesh: from `make_mesh`.
        microbatches: N.

    Returns:
        The replica.
    """
    return SOLO._replace(
        place=lambda batch: shard_batch(mesh, batch, microbatches),
        microbatches=microbatches,
        take=functools.partial(take_microbatch, microbatches, mesh.shape[DATA]),
    )


def alone(microbatches: int) -> Replica:
    """Make the replica of one device that has whole batches.

    Args:
        microbatches: N.

    Returns:
        The replica.
    """
    return SOLO if microbatches == 1 else whole(make_mesh(1, jax.devices()[:1]), microbatches)


def per_device(num_devices: int, microbatches: int) -> Replica:
    """Make the replica of one of the devices along the axis of a `pmap`.

    Args:
        num_devices: how many there are.
        microbatches: N, of each device's part of a batch.

    Returns:
        The replica, for use inside the `pmap`.
    """

    def part(x: Array) -> Array:
        if x.ndim == 0:
            return x
        require_divisible(x.shape[0], num_devices, microbatches)
        size = x.shape[0] // num_devices
        return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(DATA) * size, size)

    def place(batch: PyTree) -> PyTree:
        require_examples(batch, microbatches)
        return jax.tree.map(part, batch)

    return Replica(
        place=place,
        average=functools.partial(jax.tree.map, _mean_over_devices),
        fold_key=_device_key if num_devices > 1 else SOLO.fold_key,
        splits_batch=True,
        microbatches=microbatches,
        take=functools.partial(take_microbatch, microbatches, 1),
    )


def _device_key(key: Key) -> Key:
    """Return another key on each device."""
    return jax.random.fold_in(key, jax.lax.axis_index(DATA))


def _mean_over_devices(x: Array) -> Array:
    return jax.lax.pmean(x, DATA) if jnp.issubdtype(x.dtype, jnp.inexact) else x
