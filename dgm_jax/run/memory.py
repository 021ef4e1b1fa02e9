"""Whether a run can fit at all: the state of its lanes and its data against what there is.

Both are known before anything is compiled. The working memory of the programs comes on top, so a
run that is not refused here may still be too large.
"""

import math
import pathlib
from typing import NamedTuple

import jax
import psutil

from dgm_jax.core import ConfigError, PyTree
from dgm_jax.terminal.texts import in_units

_GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Memory(NamedTuple):
    """Bytes that there are, and whose they are, in words."""

    num_bytes: int
    owner: str


def memory_of(device) -> Memory:
    """What all programs on a device may hold.

    A GPU or TPU says it itself. A CPU has the machine's memory, or less where a control group
    limits the process.
    """
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics and statistics.get("bytes_limit"):
        return Memory(int(statistics["bytes_limit"]), f"{device.device_kind} {device.id}")
    machine = Memory(psutil.virtual_memory().total, "the machine")
    limits = [limit for limit in map(_limit_in, _GROUP_LIMITS) if limit is not None]
    return min([machine, *(Memory(limit, "the control group") for limit in limits)])


def _limit_in(file: str) -> int | None:
    """The limit of the control group that a file states; None for none, or no such file."""
    try:
        text = pathlib.Path(file).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) < 2**60 else None


def in_use(devices: list) -> int | None:
    """Bytes held now: on the fullest of the devices, or on CPU by the process; None where a device
    does not say."""
    if devices[0].platform == "cpu":
        return psutil.Process().memory_info().rss
    held = [(device.memory_stats() or {}).get("bytes_in_use") for device in devices]
    return max((int(num_bytes) for num_bytes in held if num_bytes), default=None)


def tree_bytes(tree: PyTree) -> int:
    """Bytes of a tree of arrays or shapes on one device: of a sharded leaf one shard."""
    return sum(map(_leaf_bytes, jax.tree.leaves(tree)))


def _leaf_bytes(leaf) -> int:
    shape = tuple(leaf.shape)
    sharding = getattr(leaf, "sharding", None)
    if sharding is not None:
        shape = sharding.shard_shape(shape)
    return math.prod(shape) * leaf.dtype.itemsize


def require_fits(lanes: PyTree, data: PyTree, devices: list) -> None:
    """ConfigError with both sizes, and how many lanes would fit, where a run cannot fit.

    Args:
        lanes: arrays or shapes [L, ...], placed as they will be.
        data: what the programs read.
        devices: those of CPU share one memory, others have each its own.
    """
    state, read = tree_bytes(lanes), tree_bytes(data)
    memory = memory_of(devices[0])
    on_cpu = devices[0].platform == "cpu"
    copies = len(devices) if on_cpu else 1
    taken = psutil.Process().memory_info().rss if on_cpu else 0
    free = memory.num_bytes - taken
    if copies * (state + read) <= free:
        return
    num_lanes = len(lanes.failed_at)
    fitting = max(0, int((free / copies - read) * num_lanes / state))
    held = f", of which {in_units(taken)} are taken" if taken else ""
    raise ConfigError(
        f"this run cannot fit: the state of its {num_lanes:,} lanes (seeds times arms) takes"
        f" {in_units(copies * state)} and its data {in_units(copies * read)}, beside what its"
        f" programs need; {memory.owner} has {in_units(memory.num_bytes)}{held}: at most"
        f" {fitting:,} lanes would fit, so lower --num_seeds"
    )
