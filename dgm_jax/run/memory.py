"""How much memory there is, whether the state of a run's lanes and its data can fit at all, and
what is said where memory is exhausted all the same.

State and data are known before anything is compiled. The working memory of the programs comes on
top (`run.estimate`), so a run that is not refused here may still be too large.
"""

import contextlib
import math
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import jax
import psutil

from dgm_jax.core import ConfigError, DgmError, PyTree, require
from dgm_jax.terminal.texts import in_units

_SIZES = ("num_seeds", "batch_size", "num_eval")  # settings that many experiments have
_GROUPS = pathlib.Path("/sys/fs/cgroup")
_OWN_GROUPS = pathlib.Path("/proc/self/cgroup")  # lines such as 0::/user.slice/session-2.scope


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
    limits = [limit for limit in map(_limit_in, _limit_files()) if limit is not None]
    return min([machine, *(Memory(limit, "the control group") for limit in limits)])


def taken_of(device) -> int:
    """Bytes that are held already: of the device, or of this process where it is a CPU."""
    if device.platform == "cpu":
        return psutil.Process().memory_info().rss
    return int((device.memory_stats() or {}).get("bytes_in_use", 0))


def _limit_files() -> list[pathlib.Path]:
    """Where limits may stand: for the process's control group and all that it lies in, by either
    version of control groups."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        lines = []
    owned = [line.split(":", 2)[2].strip("/") for line in lines if line.count(":") >= 2]
    found: dict[pathlib.Path, None] = {}
    for root, name in (_GROUPS, "memory.max"), (_GROUPS / "memory", "memory.limit_in_bytes"):
        for own in ("", *owned):
            folder = root / own
            while folder.is_relative_to(root):
                found[folder / name] = None
                folder = folder.parent
    return list(found)


def _limit_in(file: pathlib.Path) -> int | None:
    """The limit of the control group that a file states; None for none, or no such file."""
    try:
        text = file.read_text().strip()
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


def require_keys_fit(num_lanes: int, device) -> None:
    """ConfigError where lanes are so many that what each of them has, before any parameter, is more
    than there is: its own key, three of its state, and three numbers of 4 bytes."""
    memory, needed = memory_of(device), num_lanes * (4 * 8 + 3 * 4)
    require(
        needed <= memory.num_bytes - taken_of(device),
        f"this run cannot fit: the keys alone of its {num_lanes:,} lanes (seeds times arms) take"
        f" {in_units(needed)}; {memory.owner} has {in_units(memory.num_bytes)}: lower --num_seeds",
    )


def require_fits(lanes: PyTree, data: PyTree, devices: list) -> None:
    """ConfigError with both sizes, and how many lanes would fit, where a run cannot fit.

    Args:
        lanes: arrays or shapes [L, ...], placed as they will be.
        data: what the programs read.
        devices: those of CPU share one memory, others have each its own.
    """
    state, read = tree_bytes(lanes), tree_bytes(data)
    memory, taken = memory_of(devices[0]), taken_of(devices[0])
    on_cpu = devices[0].platform == "cpu"
    copies = len(devices) if on_cpu else 1
    free = memory.num_bytes - taken
    if copies * (state + read) <= free:
        return
    num_lanes = len(lanes.failed_at)
    fitting = max(0, int((free / copies - read) * num_lanes / state))
    held = f", of which {in_units(taken)} are taken" if taken else ""
    most = f"at most {fitting:,} lanes would fit, so lower --num_seeds"
    raise ConfigError(
        f"this run cannot fit: the state of its {num_lanes:,} lanes (seeds times arms) takes"
        f" {in_units(copies * state)} and its data {in_units(copies * read)}, beside what its"
        f" programs need; {memory.owner} has {in_units(memory.num_bytes)}{held}:"
        f" {most if fitting else 'not one lane would fit, so make the model or its data smaller'}"
    )


def advice(config, strategy: str = "map") -> str:
    """What to lower, of the settings that there are.

    Args:
        config: settings of the study.
        strategy: how lanes share a device; "map" also where no program of lanes is to blame.
    """
    *more, last = [f"--{name}" for name in _SIZES if hasattr(config, name)]
    lower = f"lower {', '.join(more)} or {last}" if more else f"lower {last}"
    one_by_one = ", or train the seeds one after the other with --strategy map"
    return lower + (one_by_one if strategy != "map" else "")


@contextlib.contextmanager
def exhaustion_told(remedy: str) -> Iterator[None]:
    """Makes a `ConfigError` of an exhausted memory, of the host or of a device: what was asked for,
    what there is, and the remedy, such as that of `advice`."""
    try:
        yield
    except Exception as error:  # JAX, NumPy and orbax have a kind each
        if not is_exhaustion(error):
            raise
        device = jax.devices()[0]
        memory, taken = memory_of(device), taken_of(device)
        asked = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
        raise ConfigError(
            f"memory is exhausted ({asked}): {memory.owner} has {in_units(memory.num_bytes)}, of"
            f" which this process held {in_units(taken)}; {remedy}"
        ) from error


def is_exhaustion(error: BaseException | None) -> bool:
    """Whether an error says that there is no more memory."""
    if isinstance(error, DgmError):
        return False
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
