"""Where the data of a run are while it trains: on the devices, or on the host.

On the host only the examples stay that the steps gather; everything else, such as the test images,
is put on the devices. The bits of a run do not depend on the choice.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from dgm_jax.core import ConfigError, Fed, Gather, Key, PyTree, require
from dgm_jax.parallel.devices import Distributed
from dgm_jax.parallel.feeding import abstract_examples
from dgm_jax.run import memory
from dgm_jax.terminal.texts import in_units
from dgm_jax.training.feeding import BLOCKS_HELD, Blocks, blocks_of, refusal

PLACES = ("device", "host")
DEVICE_SHARE = 0.25
"""With `auto`, data that take at most this share of a device's memory are put on it."""


@jax.tree_util.register_static
class Withheld:
    """Stands for examples that stay on the host; whoever reads them gets a ConfigError."""

    def __init__(self, name: str):
        self.name = name

    def _refuse(self, *_: Any) -> Any:
        raise ConfigError(
            f"the evaluation reads {self.name} whole, so these data cannot stay on the host:"
            " choose --data_on device"
        )

    __getitem__ = __len__ = __iter__ = __array__ = keys = values = items = get = _refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._refuse()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Withheld) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(self.name)


class Placement(NamedTuple):
    """Where the data of a group of arms are.

    Attributes:
        on: "device" or "host".
        resident: what is put on the devices, and what evaluations read.
        steps_read: what the steps read, to compile for: `resident`, or `Fed` shapes.
        examples: tree of arrays [N, ...] that stay on the host, or None.
        blocks: how the steps are cut, or None.
    """

    on: str
    resident: PyTree
    steps_read: PyTree
    examples: PyTree = None
    blocks: Blocks | None = None

    def __str__(self) -> str:
        if self.blocks is None:
            return "data on the device"
        held = in_units(memory.tree_bytes(self.examples))
        return (
            f"training data on the host ({held}), sent in blocks of {self.blocks.num_steps} steps"
            f" ({in_units(self.blocks.num_bytes)})"
        )

    @property
    def fed_bytes(self) -> int:
        """What the blocks that are held at once take on one device."""
        if self.blocks is None:
            return 0
        return BLOCKS_HELD * memory.tree_bytes(self.steps_read.examples)


def placement_of(
    compiled: Distributed,
    start_from: tuple[Key, dict],
    data: PyTree,
    *,
    num_steps: int,
    data_on: str,
    devices: list,
) -> Placement:
    """Decides where the data of a group of arms are.

    Args:
        compiled: the program of the group.
        start_from: keys [L] and hyper-parameters {name: [L]} of its lanes.
        data: all arrays of the run.
        num_steps: of the run.
        data_on: "device"; "host"; or "auto", which is the device if the data take at most
            `DEVICE_SHARE` of its memory, or cannot be on the host.
        devices: those of the run.

    Returns:
        The placement.

    Raises:
        ConfigError: an unknown place, or "host" for data that cannot be there; the message has the
            reason.
    """
    require(
        data_on in ("auto", *PLACES),
        f"data_on is auto, {' or '.join(PLACES)}, got {data_on!r}",
    )
    on_device = Placement("device", data, data)
    if data_on == "device":
        return on_device
    if data_on == "auto":
        copies = len(devices) if devices[0].platform == "cpu" else 1
        room = DEVICE_SHARE * memory.memory_of(devices[0]).num_bytes
        if copies * memory.tree_bytes(data) <= room:
            return on_device
    try:
        return _on_host(compiled, start_from, data, num_steps)
    except ConfigError:
        if data_on == "host":
            raise
        return on_device


def _on_host(
    compiled: Distributed, start_from: tuple[Key, dict], data: PyTree, num_steps: int
) -> Placement:
    num_lanes = len(start_from[0])
    require(
        num_lanes == compiled.num_lanes,
        f"--data_on host cannot be had: {num_lanes} lanes take turns by --lanes_at_once"
        f" {compiled.num_lanes}, and each turn would read the data again; choose --data_on device",
    )
    keys, hyper = start_from
    of_lane = {name: values[0] for name, values in hyper.items()}
    stream = None if compiled.stream is None else compiled.stream(of_lane)
    reason = refusal(stream, data)
    require(not reason, f"--data_on host cannot be had: {reason}; choose --data_on device")
    assert stream is not None and isinstance(stream.draw, Gather)
    part = stream.draw.part
    examples = jax.tree.map(np.asarray, stream.draw.examples(data))
    lanes = compiled.abstract(keys, hyper)
    blocks = blocks_of(stream, lanes.train_state.data_key, examples, num_steps)
    num_batches = blocks.num_steps * blocks.num_batches
    shapes = abstract_examples(
        examples, compiled.num_places, num_batches, blocks.batch_size, compiled.examples_sharding
    )
    steps_read = Fed(shapes, np.int32(0))
    resident = _without(data, part, Withheld("/".join(part) or "the data"))
    compiled.trace_evaluate(lanes, compiled.abstract_data(resident))
    return Placement("host", resident, steps_read, examples, blocks)


def _without(data: PyTree, part: tuple[str, ...], withheld: Withheld) -> PyTree:
    """The data with something else in place of a part."""
    if not part:
        return withheld
    name, *rest = part
    return {**data, name: _without(data[name], tuple(rest), withheld)}
