"""Places of lanes on a mesh: as many on each device along "seed", the last of them padding.

A device of the mesh has room for ceil(L / s) lanes, where s devices lie along "seed". The P places
behind the L lanes hold copies of the last lane: they compute what it computes, so they raise no
error of their own, and nobody reads them.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dgm_jax.core import PyTree, is_key
from dgm_jax.parallel.mesh import DATA, SEED, place
from dgm_jax.parallel.processes import fetched
from dgm_jax.parallel.seeds import over_seeds


def num_places(num_lanes: int, mesh: Mesh) -> int:
    """Count the places for lanes: the lanes, rounded up to a multiple of the devices along "seed".

    Args:
        num_lanes: L.
        mesh: from `make_mesh`.

    Returns:
        P >= L.
    """
    along_seed = mesh.shape[SEED]
    per_device = -(-num_lanes // along_seed)
    return per_device * along_seed


def pad(lanes: PyTree, places: int) -> PyTree:
    """Repeat the last lane until all places are taken.

    Args:
        lanes: tree of arrays [L, ...] with L <= places; typed keys are allowed.
        places: P.

    Returns:
        Tree of arrays [P, ...]; the tree itself where L = P.
    """

    def fill(x: Any) -> Any:
        if len(x) == places:
            return x
        lanes_of_places = np.minimum(np.arange(places), len(x) - 1)
        return x[lanes_of_places]

    return jax.tree.map(fill, lanes)


def trim(tree: PyTree, num_lanes: int) -> PyTree:
    """Drop what belongs to padding.

    Args:
        tree: arrays [P, ...] on the devices, with P >= num_lanes; typed keys are allowed.
        num_lanes: L.

    Returns:
        Tree of arrays [L, ...]; the tree itself where L = P, and otherwise copies on the host.
    """

    is_padded = any(len(x) != num_lanes for x in jax.tree.leaves(tree))
    if not is_padded:
        return tree
    return fetch(tree, num_lanes)


def fetch(tree: PyTree, num_lanes: int) -> PyTree:
    """Copy what belongs to lanes to the host, without what belongs to padding.

    All processes of a run have to call it.

    Args:
        tree: arrays [P, ...] with P >= num_lanes; typed keys are allowed.
        num_lanes: L.

    Returns:
        Tree of NumPy arrays [L, ...], and typed keys on the default device.
    """

    def copied(x: Any) -> Any:
        if is_key(x):
            words = fetched(jax.random.key_data(x))
            words = jnp.asarray(words[:num_lanes])
            return jax.random.wrap_key_data(words, impl=jax.random.key_impl(x))
        x = fetched(x)
        if len(x) == num_lanes:
            return x
        return x[:num_lanes].copy()  # a view would keep all of it

    return jax.tree.map(copied, tree)


def place_lanes(shardings: PyTree, places: int, lanes: PyTree) -> PyTree:
    """Put lanes on the devices, with padding behind them.

    Args:
        shardings: one for each array, or one for all.
        places: P.
        lanes: tree of arrays [L, ...] anywhere, with L <= places.

    Returns:
        Tree of arrays [P, ...].
    """
    padded = pad(lanes, places)
    return place(padded, shardings)


def over_mesh(function: Callable[..., Any], *, mesh: Mesh, strategy: str) -> Callable[..., Any]:
    """Let each device along "seed" run its own lanes by a strategy, without communication.

    Where only lanes are spread, every axis is manual, and the devices' programs are those of one
    device with as many lanes as it has places. So a lane computes the same bits

    - by "map" on any number of devices, since a device runs one lane after the other;
    - by "vmap" on any number of devices that have as many lanes each: XLA may choose other kernels,
      and so other orders of sums, for other numbers of lanes in one batched operation.

    Where batches or parameters are shared too, "data" stays automatic: batches keep their meaning,
    and results agree within rounding.

    Args:
        function: `(lane, data) -> result`.
        mesh: from `make_mesh`.
        strategy: "vmap" or "map".

    Returns:
        `(lanes [P, ...], data) -> results [P, ...]`.
    """
    spread = over_seeds(function, strategy)
    if mesh.shape[SEED] == 1:
        return spread
    by_lane = PartitionSpec(SEED)
    manual = {SEED}
    if mesh.shape[DATA] == 1:
        manual.add(DATA)
    return jax.shard_map(
        spread,
        mesh=mesh,
        in_specs=(by_lane, PartitionSpec()),
        out_specs=by_lane,
        axis_names=manual,
        check_vma=False,
    )


def sharded_lanes(mesh: Mesh, lanes: PyTree) -> PyTree:
    """Choose a sharding for each array of lanes, so that the devices along "data" share them.

    The lanes lie along "seed". The longest other axis whose length the devices along "data" divide
    lies along "data"; arrays without such an axis are whole on each device.

    Args:
        mesh: from `make_mesh`.
        lanes: tree of arrays or shapes [L, ...].

    Returns:
        A tree of shardings.
    """
    num_devices = mesh.shape[DATA]

    def sharding(x: Any) -> NamedSharding:
        num_axes = len(x.shape)
        names = [SEED] + [None] * (num_axes - 1)
        axis = _shared_axis(x.shape, num_devices)
        if axis is not None:
            names[axis] = DATA
        return NamedSharding(mesh, PartitionSpec(*names))

    return jax.tree.map(sharding, lanes)


def _shared_axis(shape: tuple[int, ...], num_devices: int) -> int | None:
    """The longest axis behind that of lanes, the first of several, that devices can share."""
    shared_axis = None
    longest = 0
    for axis, length in enumerate(shape[1:], start=1):
        if length % num_devices == 0 and length > longest:
            shared_axis = axis
            longest = length
    return shared_axis


def shaped(function: Callable[..., Any], shardings: PyTree, *arguments: Any) -> PyTree:
    """Determine the shapes of what a function returns.

    Args:
        function: any.
        shardings: one for each array of its result, or one for all.
        *arguments: of the function, or their shapes.

    Returns:
        Tree of `jax.ShapeDtypeStruct` with these shardings.
    """
    shapes = jax.eval_shape(function, *arguments)
    if not isinstance(shardings, jax.sharding.Sharding):
        return jax.tree.map(_with_sharding, shapes, shardings)
    with_sharding = functools.partial(_with_sharding, sharding=shardings)
    return jax.tree.map(with_sharding, shapes)


def shapes_on_host(shapes: PyTree, num_lanes: int) -> PyTree:
    """Change the number of lanes and the place of shapes.

    Args:
        shapes: tree of shapes [P, ...].
        num_lanes: L.

    Returns:
        Tree of `jax.ShapeDtypeStruct` [L, ...] in the memory of the host, or on the first device
        where JAX has no CPU backend.
    """
    try:
        device = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        device = jax.local_devices()[0]
    host = jax.sharding.SingleDeviceSharding(device)

    def moved(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        shape = (num_lanes, *x.shape[1:])
        return jax.ShapeDtypeStruct(shape, x.dtype, sharding=host)

    return jax.tree.map(moved, shapes)


def _with_sharding(x: jax.ShapeDtypeStruct, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding, weak_type=x.weak_type)
