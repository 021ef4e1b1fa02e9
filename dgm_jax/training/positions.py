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
    num_left_out = len(shape) - len(index)
    whole = (slice(None),) * num_left_out
    slices = (*index, *whole)
    ends = []
    for along_axis, length in zip(slices, shape, strict=True):
        start, stop, _ = along_axis.indices(length)
        ends.append((start, stop))
    return tuple(ends)


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
    words = jax.random.key_data(keys)
    impl = jax.random.key_impl(keys)
    device = _host_device() if str(impl) == "threefry2x32" else None
    offsets = np.arange(num_batches, dtype=np.int32)

    def of_lane(key_data: Array, hyper: dict[str, Array], first: Array) -> Array:
        draw = stream_of(hyper).draw
        assert isinstance(draw, Gather)
        key = jax.random.wrap_key_data(key_data, impl=impl)
        of_batch = lambda offset: draw.positions(key, first + offset)
        return jax.vmap(of_batch)(jnp.asarray(offsets))

    def on_device(first: int) -> Array:
        return jax.device_put(np.int32(first), device)

    of_lanes = jax.vmap(of_lane, in_axes=(0, 0, None))
    jitted = jax.jit(of_lanes)
    programs = {}
    for lane_range, on_host in _by_range(words, lanes.hyper).items():
        key_data, hyper = jax.device_put(on_host, device)
        lowered = jitted.lower(key_data, hyper, on_device(0))
        programs[lane_range] = (lowered.compile(), key_data, hyper)

    def positions(lane_range: tuple[int, int], first: int) -> np.ndarray:
        program, key_data, hyper = programs[lane_range]
        of_range = program(key_data, hyper, on_device(first))
        return np.asarray(of_range)

    return positions


def _by_range(key_data: Array, hyper: dict[str, Array]) -> dict[tuple[int, int], tuple]:
    """(from, to) -> keys and hyper-parameters, on the host, of the lanes that are here."""
    hyper_by_range = {name: _shards(x) for name, x in hyper.items()}
    arguments = {}
    for lane_range, words in _shards(key_data).items():
        hyper_of_range = {name: shards[lane_range] for name, shards in hyper_by_range.items()}
        arguments[lane_range] = (words, hyper_of_range)
    return arguments


def _shards(x: Array) -> dict[tuple[int, int], np.ndarray]:
    """(from, to) -> a copy on the host of these rows: the lanes' memory will be reused."""
    shards = {}
    for shard in x.addressable_shards:
        lane_range = bounds(shard.index, x.shape)[0]
        shards[lane_range] = np.array(shard.data)
    return shards


def _host_device() -> Any:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX was told to use another platform only
        return None
