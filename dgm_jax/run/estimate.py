"""Estimates how much memory a run will need, from its compiled programs.

A run needs most at one of a few moments. At each of them a device holds the lanes, the data and
what the program of that moment takes: its results, without those that replace its arguments, and
its temporaries. On a CPU this memory is the process's, beside what it holds already: libraries,
data as they were read, and the loaded programs with what their compilation has left; that part is
measured. The estimate does not include what an experiment's own functions take on the host, for
pictures or distances.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from dgm_jax.parallel import processes
from dgm_jax.run.memory import Memory, in_units, memory_of, taken_of, tree_bytes
from dgm_jax.run.programs import Programs


class Part(NamedTuple):
    """Bytes on one device.

    Attributes:
        name: what they are.
        num_bytes: how many.
        by_lane: whether they grow with the number of lanes.
    """

    name: str
    num_bytes: int
    by_lane: bool = True


class Moment(NamedTuple):
    """A moment of a run, and what one device holds then beside what it holds now.

    Attributes:
        name: of the moment.
        parts: what is held.
        num_lanes: on the devices at once, with padding.
    """

    name: str
    parts: tuple[Part, ...]
    num_lanes: int

    @property
    def num_bytes(self) -> int:
        """The bytes of all parts."""
        return sum(part.num_bytes for part in self.parts)

    def lanes_within(self, num_bytes: float) -> int:
        """Determines how many lanes would fit.

        Args:
            num_bytes: the memory that there is.

        Returns:
            The number of lanes.
        """
        by_lane = sum(part.num_bytes for part in self.parts if part.by_lane)
        shared = self.num_bytes - by_lane
        left = num_bytes - shared
        num_fitting = left * self.num_lanes / max(1, by_lane)
        return max(0, int(num_fitting))


class Estimate(NamedTuple):
    """The moment of a run that needs most memory, and the memory available for it.

    Attributes:
        moment: that moment.
        memory: all memory of the device, or of the machine for a CPU.
        taken: bytes that are held already, by the device, or by this process for a CPU.
        copies: devices that share this memory.
    """

    moment: Moment
    memory: Memory
    taken: int
    copies: int

    @property
    def num_bytes(self) -> int:
        """The bytes held at that moment."""
        return self.taken + self.copies * self.moment.num_bytes

    @property
    def fits(self) -> bool:
        """Whether there is enough memory."""
        return self.num_bytes <= self.memory.num_bytes

    @property
    def fitting_lanes(self) -> int:
        """How many lanes would fit."""
        free = self.memory.num_bytes - self.taken
        return self.moment.lanes_within(free / self.copies)

    def __str__(self) -> str:
        parts = [Part(p.name, self.copies * p.num_bytes) for p in self.moment.parts]
        parts.append(Part("libraries, loaded data and programs", self.taken))
        largest = sorted(parts, key=lambda part: -part.num_bytes)[:4]
        texts = [f"{part.name} {in_units(part.num_bytes)}" for part in largest]
        listed = ", ".join(texts)
        needed = in_units(self.num_bytes)
        total = in_units(self.memory.num_bytes)
        peak = f"{needed} at {self.moment.name} (largest: {listed})"
        return f"{peak}; {self.memory.owner} has {total}"


def estimate(
    programs: Programs,
    *,
    devices: Sequence,
    fresh: bool,
    keeps_best: bool = False,
    first_steps: bool = False,
    taken: Callable[[Any], int] = taken_of,
) -> Estimate:
    """Estimates the most that a group of arms will need. Compiles what is not compiled yet.

    Args:
        programs: of the group.
        devices: those it runs on. CPUs share one memory, other devices have their own.
        fresh: whether it starts at step 0; otherwise its lanes and data are placed already.
        keeps_best: whether the best model of each arm is held as well (`--keep_best`).
        first_steps: whether only what comes before the first evaluation counts.
        taken: returns the bytes that are held already, given the first device.

    Returns:
        The estimate.
    """
    devices = processes.own(devices)
    first = devices[0]
    on_cpu = first.platform == "cpu"
    copies = len(devices) if on_cpu else 1
    if first_steps:
        candidates = first_moments(programs)
    else:
        candidates = moments(
            programs, fresh=fresh, on_host=on_cpu, keeps_best=keeps_best, copies=copies
        )
    largest = max(candidates, key=lambda moment: moment.num_bytes)
    return Estimate(largest, memory_of(first), taken(first), copies)


def first_moments(programs: Programs) -> list[Moment]:
    """Lists the moments up to the first evaluation of a run that starts at step 0.

    Args:
        programs: of the group, of which only the initialization and the steps are needed.

    Returns:
        The moments.
    """
    data = _data(programs)
    held = (*_state(programs), *data, *_fed(programs))
    return [
        _running(programs, "the steps", "advance", held),
        _running(programs, "the initialization", "init", data),
    ]


def moments(
    programs: Programs,
    *,
    fresh: bool = True,
    on_host: bool = False,
    keeps_best: bool = False,
    copies: int = 1,
) -> list[Moment]:
    """Lists the moments at which a device may hold most: it has lanes and data, and runs a program.

    Args:
        programs: of the group.
        fresh: whether lanes and data are not placed yet.
        on_host: whether the device's memory is also the host's, and so holds the results of the
            last evaluation, until the next one begins, and the best models.
        keeps_best: whether there are best models.
        copies: devices that share the host's memory; lanes on the host are there once.

    Returns:
        The moments.
    """
    data = _data(programs)
    lasting = (*_state(programs), *data) if fresh else ()
    lasting += _fed(programs)
    if on_host and keeps_best:
        lasting += (Part("the best models so far", _model_bytes(programs)),)
    held = (*lasting, *_evaluated(programs)) if on_host else lasting
    listed = [
        _running(programs, "the steps", "advance", held),
        _running(programs, "the evaluation", "evaluate", lasting),
    ]
    if programs.evaluate_final is not None:
        listed.append(_running(programs, "the final evaluation", "evaluate_final", held))
    if fresh:  # here the lanes are the result
        listed.append(_running(programs, "the initialization", "init", data))
    if on_host:
        listed.append(_saving(programs, held))
        waiting = _waiting(programs, copies)
        listed = [moment._replace(parts=(*moment.parts, *waiting)) for moment in listed]
    return listed


def _data(programs: Programs) -> tuple[Part, ...]:
    return (Part("data on the device", tree_bytes(programs.data_shapes), by_lane=False),)


def _fed(programs: Programs) -> tuple[Part, ...]:
    num_bytes = programs.placement.fed_bytes
    return (Part("batches on the way", num_bytes, by_lane=False),) if num_bytes else ()


def _waiting(programs: Programs, copies: int) -> tuple[Part, ...]:
    """Lanes that take turns: all are on the host, and once more while a turn's are put together."""
    if programs.turns.count == 1:
        return ()
    all_lanes = tree_bytes(programs.saved_shapes)
    num_bytes = 2 * all_lanes // copies
    return (Part("lanes that wait for their turn", num_bytes, by_lane=False),)


def _places(programs: Programs) -> int:
    return programs.distributed.num_places


def _state(programs: Programs) -> tuple[Part, ...]:
    lanes = programs.turns.at_once
    many = "1 lane" if lanes == 1 else f"{lanes:,} lanes"
    padding = _places(programs) - lanes
    if padding:
        many += f" and {padding:,} of padding"
    return (Part(f"state of {many}", tree_bytes(programs.shapes)),)


def _running(programs: Programs, what: str, program: str, held: Sequence[Part]) -> Moment:
    sizes = programs.sizes(program)
    name = f"{what} of {programs.group.name}"
    if sizes is None:  # this backend does not tell
        return Moment(name, tuple(held), _places(programs))
    at_once = programs.distributed.strategy == "vmap"
    temporaries = Part(f"working memory of {what}", sizes.temp_size_in_bytes, by_lane=at_once)
    new = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    results = Part(f"results of {what}", max(0, new))
    return Moment(name, (*held, temporaries, results), _places(programs))


def _evaluated(programs: Programs) -> tuple[Part, ...]:
    sizes = programs.sizes("evaluate")
    num_bytes = 0 if sizes is None else programs.turns.count * sizes.output_size_in_bytes
    return (Part("what the last evaluation returned", num_bytes),)


def _model_bytes(programs: Programs) -> int:
    state = programs.saved_shapes.train_state
    return tree_bytes((state.params, state.state))


def _saving(programs: Programs, held: Sequence[Part]) -> Moment:
    """The moment between chunks.

    A checkpoint copies one array at a time, to hash it. A model is sliced from the lanes of an arm
    and serialized as a whole.
    """
    leaves = jax.tree.leaves(programs.shapes)
    copied = max(map(tree_bytes, leaves))
    if _places(programs) > programs.num_lanes:  # a checkpoint is copied whole, without padding
        copied = tree_bytes(programs.saved_shapes)
    num_arms = len(programs.group.arms)
    model = 2 * _model_bytes(programs) // num_arms
    copy = Part("copies for checkpoints and models", max(copied, model))
    name = f"the saving of {programs.group.name}"
    return Moment(name, (*held, copy), _places(programs))
