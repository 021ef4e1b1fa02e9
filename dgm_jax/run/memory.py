"""How much memory there is, and whether the lanes and the data of a run can fit at all.

Their sizes are known before anything is compiled. The working memory of the programs comes on top
(`run.estimate`), so a run that is not refused here may still be too large. Where memory is
exhausted nevertheless, the error says what to lower.
"""

import contextlib
import math
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import psutil

from dgm_jax.core import ConfigError, DgmError, PyTree
from dgm_jax.parallel import processes
from dgm_jax.terminal.texts import in_units

_SIZES = ("num_seeds", "batch_size", "num_eval")  # settings that many experiments have
_GROUPS = pathlib.Path("/sys/fs/cgroup")
_OWN_GROUPS = pathlib.Path("/proc/self/cgroup")  # lines such as 0::/user.slice/session-2.scope


class Memory(NamedTuple):
    """An amount of memory.

    Attributes:
        num_bytes: how much.
        owner: whose it is, in words.
    """

    num_bytes: int
    owner: str


def memory_of(device: Any) -> Memory:
    """The memory that all programs on a device may hold together.

    A GPU or TPU reports it. A CPU has the machine's memory, or less if a control group limits the
    process.

    Args:
        device: a `jax.Device`.

    Returns:
        The memory.
    """
    statistics = device.memory_stats() if device.platform != "cpu" else None
    num_bytes = statistics.get("bytes_limit") if statistics else None
    if num_bytes:
        return Memory(int(num_bytes), f"{device.device_kind} {device.id}")
    machine = Memory(psutil.virtual_memory().total, "the machine")
    candidates = [machine]
    for file in _limit_files():
        limit = _limit_in(file)
        if limit is not None:
            candidates.append(Memory(limit, "the control group"))
    return min(candidates)


def taken_of(device: Any) -> int:
    """The memory that is held already.

    Args:
        device: a `jax.Device`.

    Returns:
        Bytes held on the device, or by this process for a CPU.
    """
    if device.platform == "cpu":
        return psutil.Process().memory_info().rss
    statistics = device.memory_stats() or {}
    return int(statistics.get("bytes_in_use", 0))


def _limit_files() -> list[pathlib.Path]:
    """The files that may have a limit: of the process's control group and of all that contain it.

    Both versions of control groups are covered.
    """
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        lines = []
    groups = [""]  # the root, and those of the process
    for line in lines:
        if line.count(":") >= 2:
            _, _, group = line.split(":", 2)
            groups.append(group.strip("/"))
    files: dict[pathlib.Path, None] = {}
    for root, name in (_GROUPS, "memory.max"), (_GROUPS / "memory", "memory.limit_in_bytes"):
        for group in groups:
            folder = root / group
            while folder.is_relative_to(root):
                files[folder / name] = None
                folder = folder.parent
    return list(files)


def _limit_in(file: pathlib.Path) -> int | None:
    """The limit that a control group's file states; None without a limit or a file."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    if not text.isdigit():
        return None
    limit = int(text)
    return limit if limit < 2**60 else None


def in_use(devices: list) -> int | None:
    """The memory that is held now.

    Args:
        devices: those of a run.

    Returns:
        Bytes on the fullest device, or of the process for CPUs; None if no device reports it.
    """
    devices = processes.own(devices)
    if devices[0].platform == "cpu":
        return psutil.Process().memory_info().rss
    used = []
    for device in devices:
        statistics = device.memory_stats() or {}
        num_bytes = statistics.get("bytes_in_use")
        if num_bytes:
            used.append(int(num_bytes))
    return max(used, default=None)


def tree_bytes(tree: PyTree) -> int:
    """The bytes of a tree on one device.

    Args:
        tree: of arrays or shapes; of a sharded leaf one shard counts.

    Returns:
        Bytes.
    """
    return sum(map(_leaf_bytes, jax.tree.leaves(tree)))


def _leaf_bytes(leaf) -> int:
    shape = tuple(leaf.shape)
    sharding = getattr(leaf, "sharding", None)
    if sharding is not None:
        shape = sharding.shard_shape(shape)
    return math.prod(shape) * leaf.dtype.itemsize


def require_keys_fit(num_lanes: int, device: Any) -> None:
    """Requires that the part of the lanes that needs no parameters fits into memory.

    Every lane has its own key, three keys in its state, and three numbers of 4 bytes.

    Args:
        num_lanes: seeds times arms.
        device: the `jax.Device` that holds them.

    Raises:
        ConfigError: there are too many lanes.
    """
    memory = memory_of(device)
    bytes_each = 4 * 8 + 3 * 4
    needed = num_lanes * bytes_each
    free = memory.num_bytes - taken_of(device)
    total = in_units(memory.num_bytes)
    processes.require_everywhere(
        needed <= free,
        f"this run cannot fit: the keys alone of its {num_lanes:,} lanes (seeds times arms) take"
        f" {in_units(needed)}; {memory.owner} has {total}: lower --num_seeds",
    )


def require_fits(lanes: PyTree, data: PyTree, devices: list, num_lanes: int | None = None) -> None:
    """Requires that the state of the lanes and the data fit into memory.

    Args:
        lanes: arrays or shapes [P, ...], placed as they will be, with padding.
        data: what the programs read.
        devices: of all processes, of which each looks after its own. CPUs share one memory, other
            devices have their own.
        num_lanes: how many of them are no padding; None for all.

    Raises:
        ConfigError: they do not; the message has both sizes, and how many lanes would fit.
    """
    state = tree_bytes(lanes)
    read = tree_bytes(data)
    devices = processes.own(devices)
    memory = memory_of(devices[0])
    taken = taken_of(devices[0])
    on_cpu = devices[0].platform == "cpu"
    copies = len(devices) if on_cpu else 1
    free = memory.num_bytes - taken
    num_places = len(lanes.failed_at)
    num_lanes = num_lanes or num_places
    num_padding = num_places - num_lanes
    padding = f" and {num_padding:,} of padding" if num_padding > 0 else ""
    free_for_lanes = free / copies - read
    num_fitting = max(0, int(free_for_lanes * num_places / state))
    if num_fitting:
        remedy = f"at most {num_fitting:,} lanes would fit, so lower --num_seeds"
    else:
        remedy = "not one lane would fit, so make the model or its data smaller"
    of_lanes = in_units(copies * state)
    of_data = in_units(copies * read)
    total = in_units(memory.num_bytes)
    held = f", of which {in_units(taken)} are taken" if taken else ""
    processes.require_everywhere(
        copies * (state + read) <= free,
        f"this run cannot fit: the state of its {num_lanes:,} lanes (seeds times arms){padding}"
        f" takes {of_lanes} and its data {of_data}, beside what its programs need;"
        f" {memory.owner} has {total}{held}: {remedy}",
    )


def advice(config: Any, strategy: str = "map") -> str:
    """Says which of the experiment's settings to lower.

    Args:
        config: settings of the study.
        strategy: how lanes share a device; "map" also if no program of lanes is to blame.

    Returns:
        A part of a sentence.
    """
    *more, last = [f"--{name}" for name in _SIZES if hasattr(config, name)]
    flags = f"{', '.join(more)} or {last}" if more else last
    if strategy == "map":
        return f"lower {flags}"
    fewer = "train fewer seeds at once with --lanes_at_once N, or one with --strategy map"
    return f"lower {flags}, or {fewer}"


@contextlib.contextmanager
def exhaustion_told(remedy: str) -> Iterator[None]:
    """Turns exhausted memory, of the host or of a device, into a ConfigError.

    Args:
        remedy: what to do, such as `advice` says it.

    Yields:
        Nothing.

    Raises:
        ConfigError: with what was asked for, what there is, and the remedy.
    """
    try:
        yield
    except Exception as error:  # JAX, NumPy and orbax have a kind each
        if not is_exhaustion(error):
            raise
        device = jax.local_devices()[0]
        memory = memory_of(device)
        total = in_units(memory.num_bytes)
        taken = in_units(taken_of(device))
        text = str(error).strip() or type(error).__name__
        first_line = text.splitlines()[0]
        asked = first_line[:200].rstrip(".")
        raise ConfigError(
            f"memory is exhausted ({asked}): {memory.owner} has {total}, of which this process"
            f" held {taken}; {remedy}"
        ) from error


def is_exhaustion(error: BaseException | None) -> bool:
    """Whether an error says that there is no more memory.

    Args:
        error: any, or None.

    Returns:
        True or False.
    """
    if isinstance(error, DgmError):
        return False
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
