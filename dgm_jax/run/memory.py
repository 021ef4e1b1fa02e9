"""Whether a run fits: what its programs will hold, and what the machine or the device has.

What is held at once is the data, the state of all lanes, and the working memory and results of the
program that runs: arguments + outputs - aliases + temporaries, as the compiler counts them
(`jax.stages.Compiled.memory_analysis`). Before anything is compiled the state and the data alone
are a lower bound, and the sizes of all intermediate arrays of the traced program an upper one.
"""

import math
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from dgm_jax.core import ConfigError, PyTree

SLACK = 2.0  # what the compiler may add to a traced program: copies in another layout
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


def tree_bytes(tree: PyTree) -> int:
    """Bytes of a tree of arrays or shapes on one device: of a sharded leaf one shard."""
    return sum(map(_leaf_bytes, jax.tree.leaves(tree)))


def _leaf_bytes(leaf) -> int:
    shape = tuple(leaf.shape)
    sharding = getattr(leaf, "sharding", None)
    if sharding is not None:
        shape = sharding.shard_shape(shape)
    return math.prod(shape) * leaf.dtype.itemsize


def traced_bytes(jaxpr) -> int:
    """Bytes of all arrays that a traced program makes: no fewer than it ever holds at once.

    The body of a loop counts once, since the next turn may use the same memory.
    """
    closed = getattr(jaxpr, "jaxpr", jaxpr)
    total = 0
    for equation in closed.eqns:
        total += sum(_variable_bytes(variable) for variable in equation.outvars)
        for inner in _inner(equation.params):
            total += traced_bytes(inner)
    return total


def _inner(params: dict[str, Any]):
    """The traced programs within an equation's parameters."""
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(item, "eqns") or hasattr(getattr(item, "jaxpr", None), "eqns"):
                yield item


def _variable_bytes(variable) -> int:
    shape, dtype = getattr(variable.aval, "shape", ()), getattr(variable.aval, "dtype", None)
    return 0 if dtype is None else math.prod(shape) * np.dtype(_plain(dtype)).itemsize


def _plain(dtype):
    """A typed key as the integers that it is made of."""
    return np.uint64 if jnp.issubdtype(dtype, jax.dtypes.extended) else dtype


class Estimate(NamedTuple):
    """Bytes on one device by part, of which the first two are always there.

    state: of all lanes. data: that the programs read. working: by program, what it holds beside
        its arguments while it runs.
    """

    state: int
    data: int
    working: dict[str, int]

    @property
    def peak(self) -> int:
        """The most that is held at once: one program runs at a time."""
        return self.state + self.data + max(self.working.values(), default=0)

    def described(self) -> str:
        """The peak and its parts, largest first."""
        name = max(self.working, key=self.working.__getitem__, default="")
        parts = {"the state of the lanes": self.state, "data": self.data}
        if name:
            parts[name] = self.working[name]
        ordered = sorted(parts.items(), key=lambda part: -part[1])
        shown = ", ".join(f"{part} {in_units(size)}" for part, size in ordered if size)
        return f"{in_units(self.peak)} ({shown})"


def estimated(lanes: PyTree, data: PyTree, programs: dict[str, jax.stages.Compiled]) -> Estimate:
    """From compiled programs by name, `(lanes, data)` each."""
    working = {name: _working(program) for name, program in programs.items()}
    return Estimate(tree_bytes(lanes), tree_bytes(data), working)


def _working(program: jax.stages.Compiled) -> int:
    """Bytes beside the arguments; 0 where the backend does not say."""
    counted = program.memory_analysis()
    if counted is None:
        return 0
    results = counted.output_size_in_bytes - counted.alias_size_in_bytes
    return int(counted.temp_size_in_bytes + max(results, 0))


def bounded(lanes: PyTree, data: PyTree, programs: dict[str, Any]) -> Estimate:
    """From traced programs by name: no less than `estimated` will say."""
    working = {name: int(SLACK * traced_bytes(jaxpr)) for name, jaxpr in programs.items()}
    return Estimate(tree_bytes(lanes), tree_bytes(data), working)


def require_fits(estimate: Estimate, num_lanes: int, devices: list) -> None:
    """ConfigError with the largest parts, and how many lanes would fit, where a run cannot fit.

    Args:
        estimate: on one device.
        num_lanes: all lanes of the program, which share the devices.
        devices: those of CPU share one memory, others have each its own.
    """
    memory = memory_of(devices[0])
    on_cpu = devices[0].platform == "cpu"
    copies = len(devices) if on_cpu else 1
    base = psutil.Process().memory_info().rss if on_cpu else 0
    there = memory.num_bytes - base
    if copies * estimate.peak <= there:
        return
    here = f"{memory.owner} has {in_units(memory.num_bytes)}"
    held = f", of which {in_units(base)} are taken" if base else ""
    lanes_fit = _lanes_that_fit(estimate, num_lanes, there / copies)
    advice = (
        f"about {lanes_fit:,} of {num_lanes:,} lanes would fit (lanes are seeds times arms):"
        " lower --num_seeds"
        if lanes_fit
        else "not one lane would fit: lower the sizes of batches, networks or evaluation"
    )
    raise ConfigError(f"this run needs about {estimate.described()}; {here}{held}; {advice}")


def _lanes_that_fit(estimate: Estimate, num_lanes: int, num_bytes: float) -> int:
    """As if everything but the data grew with the lanes."""
    each = (estimate.peak - estimate.data) / num_lanes
    return max(0, int((num_bytes - estimate.data) / each)) if each else 0


def in_units(num_bytes: float) -> str:
    """Bytes as a person reads them, in powers of 1,000."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes / 1e3:.3g} kB"
