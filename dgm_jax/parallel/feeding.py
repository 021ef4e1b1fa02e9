"""Examples that are sent to the devices batch by batch, beside data that lie there whole."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dgm_jax.core import SOLO, Fed, Lane, LaneProgram, Metrics, PyTree, Replica, Sums
from dgm_jax.parallel.mesh import DATA, SEED


def examples_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of arrays [L, n, B, ...]: lanes along "seed", examples along "data".

    Args:
        mesh: from `make_mesh`.

    Returns:
        The sharding.
    """
    return NamedSharding(mesh, PartitionSpec(SEED, None, DATA))


def split(data: PyTree) -> tuple[PyTree, PyTree]:
    """Divide data into what every lane has of its own, and what all lanes share.

    Args:
        data: arrays that all lanes read, or `Fed` with examples [L, n, B, ...].

    Returns:
        None and the data, or the examples and the number of their first batch.
    """
    return (data.examples, data.first) if isinstance(data, Fed) else (None, data)


def joined(examples: PyTree, shared: PyTree) -> PyTree:
    """Undo `split`, for one lane.

    Args:
        examples: of the lane, or None.
        shared: what all lanes share.

    Returns:
        The data of a lane's program.
    """
    return shared if examples is None else Fed(examples, shared)


def part_over(
    over: Callable[[Callable[..., Any]], Callable[..., Any]], program: LaneProgram, replica: Replica
) -> Callable[..., tuple[Lane, Sums, Metrics]]:
    """Return `program.advance_part` over all lanes.

    Args:
        over: maps `(lane, shared) -> result` to the same over all lanes.
        program: of one lane.
        replica: how a device takes part in a batch.

    Returns:
        `(lanes, sums, data, num_steps, last) -> (lanes, sums, metrics)`.
    """

    def of_lane(own: PyTree, shared: PyTree) -> tuple[Lane, Sums, Metrics]:
        lane, sums, examples = own
        data, num_steps, last = shared
        data = joined(examples, data)
        return program.advance_part(lane, sums, data, num_steps, last, replica)

    def part(
        lanes: Lane, sums: Sums, data: PyTree, num_steps: Any, last: Any
    ) -> tuple[Lane, Sums, Metrics]:
        examples, shared = split(data)
        return over(of_lane)((lanes, sums, examples), (shared, num_steps, last))

    return part


def no_sums_over(
    over: Callable[[Callable[..., Any]], Callable[..., Any]],
    program: LaneProgram,
    replica: Replica = SOLO,
) -> Callable[[Lane, PyTree], Sums]:
    """Return `program.no_sums` over all lanes.

    Args:
        over: maps `(lane, shared) -> result` to the same over all lanes.
        program: of one lane.
        replica: that of the steps, where it needs no axis of devices: then JAX traces the steps
            once for both.

    Returns:
        `(lanes, data) -> Sums`.
    """

    def of_lane(own: PyTree, shared: PyTree) -> Sums:
        lane, examples = own
        return program.no_sums(lane, joined(examples, shared), replica)

    def no_sums(lanes: Lane, data: PyTree) -> Sums:
        examples, shared = split(data)
        return over(of_lane)((lanes, examples), shared)

    return no_sums


def abstract_examples(
    examples: PyTree, num_places: int, num_batches: int, batch_size: int, sharding: Any
) -> PyTree:
    """Return the shapes of fed examples, to compile for.

    Args:
        examples: tree of arrays [N, ...] on the host.
        num_places: L, the lanes with their padding.
        num_batches: n.
        batch_size: B.
        sharding: of the fed examples.

    Returns:
        Tree of shapes [L, n, B, ...].
    """
    leading = (num_places, num_batches, batch_size)

    def placed(x: Any) -> jax.ShapeDtypeStruct:
        dtype = jax.dtypes.canonicalize_dtype(x.dtype)
        return jax.ShapeDtypeStruct((*leading, *x.shape[1:]), dtype, sharding=sharding)

    return jax.tree.map(placed, examples)
