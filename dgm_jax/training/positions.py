"""Positions of batches, computed beside the training for those who read the examples."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Gather, Lane, Stream


def bounds(index: Sequence[Any], shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return the ends of slices.

    Args:
        index: a slice for each axis; the last ones may be left out.
        shape: of the array.

    Returns:
        (start, stop) for each axis.
    """
    whole = (slice(None),) * (len(shape) - len(index))
    slices = (*index, *whole)
    return tuple(s.indices(n)[:2] for s, n in zip(slices, shape, strict=True))


def positions_by_lanes(
    stream_of: Callable[[dict[str, Array]], Stream], lanes: Lane, num_batches: int
) -> Callable[[tuple[int, int], int], np.ndarray]:
    """Compile the positions of some consecutive batches, for the lanes of this process.

    They are for a CPU where there is one, which does not have to wait for the steps under way. What
    keys give there they give on every platform, if they are of JAX's default kind.

    Args:
        stream_of: `hyper -> Stream` of a lane.
        lanes: whose batches they are.
        num_batches: n.

    Returns:
        `((from, to), first batch) -> int[l, n, B]` of the lanes in that range.
    """
    keys = lanes.train_state.data_key
    impl = jax.random.key_impl(keys)
    device = _host_device() if str(impl) == "threefry2x32" else None
    numbers = np.arange(num_batches, dtype=np.int32)

    def of_lane(key_data: Array, hyper: dict[str, Array], first: Array) -> Array:
        draw = stream_of(hyper).draw
        assert isinstance(draw, Gather)
        key = jax.random.wrap_key_data(key_data, impl=impl)
        return jax.vmap(lambda i: draw.positions(key, first + i))(jnp.asarray(numbers))

    of_lanes = jax.jit(jax.vmap(of_lane, in_axes=(0, 0, None)))
    programs = {}
    for of, own in _own(jax.random.key_data(keys), lanes.hyper).items():
        own = jax.device_put(own, device)
        first = jax.device_put(np.int32(0), device)
        programs[of] = (of_lanes.lower(*own, first).compile(), own)

    def positions(of: tuple[int, int], first: int) -> np.ndarray:
        program, own = programs[of]
        return np.asarray(program(*own, jax.device_put(np.int32(first), device)))

    return positions


def _own(key_data: Array, hyper: dict[str, Array]) -> dict[tuple[int, int], tuple]:
    """(from, to) -> keys and hyper-parameters, on the host, of the lanes that are here."""
    found: dict[tuple[int, int], tuple] = {}
    values = {
        name: {bounds(s.index, x.shape)[0]: np.array(s.data) for s in x.addressable_shards}
        for name, x in hyper.items()
    }
    for shard in key_data.addressable_shards:
        lanes = bounds(shard.index, key_data.shape)[0]
        found[lanes] = (
            np.array(shard.data),  # a copy: the lanes' memory will be reused
            {name: by_lanes[lanes] for name, by_lanes in values.items()},
        )
    return found


def _host_device() -> Any:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX was told to use another platform only
        return None
