"""How much memory a run will need, from its compiled programs.

A run holds most at one of few moments. At each of them a device holds the lanes, the data and what
the program of that moment takes: its results, less those that take the place of its arguments, and
its temporaries. On a CPU the process has that memory, beside what it holds already: libraries, data
as they were read, and the loaded programs with what their compilation has left; this is measured.
What an experiment's own functions take on the host, for figures or distances, is not in it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from dgm_jax.core import require
from dgm_jax.run.lanes import devices_of
from dgm_jax.run.memory import Memory, advice, in_units, memory_of, taken_of, tree_bytes
from dgm_jax.run.programs import Programs
from dgm_jax.run.settings import LaunchConfig


class Part(NamedTuple):
    """Bytes on one device, what they are, and whether they grow with the number of lanes."""

    name: str
    num_bytes: int
    by_lane: bool = True


class Moment(NamedTuple):
    """A moment of a run, and what is held then on one device beside what is held now."""

    name: str
    parts: tuple[Part, ...]
    num_lanes: int

    @property
    def num_bytes(self) -> int:
        """All parts."""
        return sum(part.num_bytes for part in self.parts)

    def lanes_within(self, num_bytes: float) -> int:
        """How many lanes would fit into so many bytes."""
        by_lane = sum(part.num_bytes for part in self.parts if part.by_lane)
        left = num_bytes - (self.num_bytes - by_lane)
        return max(0, int(left * self.num_lanes / max(1, by_lane)))


class Estimate(NamedTuple):
    """The moment of a run that needs most, and what there is for it.

    taken: bytes that are held already; of the device, or of this process where it is a CPU.
    copies: devices that share this memory.
    """

    moment: Moment
    memory: Memory
    taken: int
    copies: int

    @property
    def num_bytes(self) -> int:
        """What is held at that moment."""
        return self.taken + self.copies * self.moment.num_bytes

    @property
    def fits(self) -> bool:
        """Whether there is enough."""
        return self.num_bytes <= self.memory.num_bytes

    @property
    def fitting_lanes(self) -> int:
        """How many lanes would fit."""
        return self.moment.lanes_within((self.memory.num_bytes - self.taken) / self.copies)

    def __str__(self) -> str:
        parts = [
            part._replace(num_bytes=self.copies * part.num_bytes) for part in self.moment.parts
        ]
        parts.append(Part("libraries, loaded data and programs", self.taken))
        largest = sorted(parts, key=lambda part: -part.num_bytes)[:4]
        named = ", ".join(f"{part.name} {in_units(part.num_bytes)}" for part in largest)
        return (
            f"{in_units(self.num_bytes)} at {self.moment.name} (largest: {named});"
            f" {self.memory.owner} has {in_units(self.memory.num_bytes)}"
        )


def estimate(
    programs: Programs, *, devices: Sequence, fresh: bool, keeps_best: bool = False
) -> Estimate:
    """What a group of arms will need at most. Compiles what is not compiled yet.

    Args:
        programs: of the group.
        devices: those it runs on. CPUs share one memory, others have each its own.
        fresh: whether it starts at step 0; else its lanes and data are placed already.
        keeps_best: whether the best model of each arm is held as well (`--keep_best`).
    """
    on_cpu = devices[0].platform == "cpu"
    copies = len(devices) if on_cpu else 1
    found = moments(programs, fresh=fresh, on_host=on_cpu, keeps_best=keeps_best)
    largest = max(found, key=lambda moment: moment.num_bytes)
    return Estimate(largest, memory_of(devices[0]), taken_of(devices[0]), copies)


def moments(
    programs: Programs, *, fresh: bool = True, on_host: bool = False, keeps_best: bool = False
) -> list[Moment]:
    """When a device holds most: it has the lanes and the data, and runs a program.

    Args:
        programs: of the group.
        fresh: whether lanes and data are still to come.
        on_host: whether it has the host's memory too, and so what is kept there: the results of the
            last evaluation, until the next one begins, and the best models.
        keeps_best: whether there are best models.
    """
    data = (Part("data on the device", tree_bytes(programs.data_shapes), by_lane=False),)
    best = (Part("the best models so far", _model_bytes(programs)),) if keeps_best else ()
    lasting = (*_state(programs), *data) if fresh else ()
    lasting += best if on_host else ()
    results = _evaluated(programs) if on_host else ()
    found = [
        _running(programs, "the steps", programs.advance.compiled, (*lasting, *results)),
        _running(programs, "the evaluation", programs.evaluate, lasting),
    ]
    if programs.conclude is not None:
        held = (*lasting, *results)
        found.append(_running(programs, "the final evaluation", programs.conclude, held))
    if fresh:  # here the lanes are the result
        found.append(_running(programs, "the initialisation", programs.init, data))
    if on_host:
        found.append(_saving(programs, (*lasting, *results)))
    return found


def _state(programs: Programs) -> tuple[Part, ...]:
    many = "1 lane" if programs.num_lanes == 1 else f"{programs.num_lanes:,} lanes"
    return (Part(f"state of {many}", tree_bytes(programs.shapes)),)


def _running(programs: Programs, what: str, compiled, held: Sequence[Part]) -> Moment:
    sizes, name = compiled.memory_analysis(), f"{what} of {programs.group.name}"
    if sizes is None:  # this backend does not tell
        return Moment(name, tuple(held), programs.num_lanes)
    at_once = programs.distributed.strategy == "vmap"
    temporaries = Part(f"working memory of {what}", sizes.temp_size_in_bytes, by_lane=at_once)
    new = max(0, sizes.output_size_in_bytes - sizes.alias_size_in_bytes)
    results = Part(f"results of {what}", new)
    return Moment(name, (*held, temporaries, results), programs.num_lanes)


def _evaluated(programs: Programs) -> tuple[Part, ...]:
    sizes = programs.evaluate.memory_analysis()
    held = 0 if sizes is None else sizes.output_size_in_bytes
    return (Part("what the last evaluation returned", held),)


def _model_bytes(programs: Programs) -> int:
    state = programs.shapes.train_state
    return tree_bytes((state.params, state.state))


def _saving(programs: Programs, held: Sequence[Part]) -> Moment:
    """Between chunks: a checkpoint copies one array at a time, to hash it, and a model is sliced
    from the lanes of an arm and written as one text of bytes."""
    largest = max(map(tree_bytes, jax.tree.leaves(programs.shapes)))
    model = 2 * _model_bytes(programs) // len(programs.group.arms)
    copy = Part("copies for checkpoints and models", max(largest, model))
    return Moment(f"the saving of {programs.group.name}", (*held, copy), programs.num_lanes)


def require_all_fit(found: Sequence[Programs], config, launch: LaunchConfig) -> Estimate:
    """The estimate of the group that needs most. All groups are compiled first, as a run from the
    beginning has them.

    Raises:
        ConfigError: there is not enough memory; with the largest parts, and what would fit.
    """
    for programs in found:  # where one does not fit, the next ones need not be compiled
        require_fits(programs, config, launch, fresh=True)
    compiled = [require_fits(programs, config, launch, fresh=True) for programs in found]
    return max(compiled, key=lambda each: each.num_bytes)


def require_fits(programs: Programs, config, launch: LaunchConfig, *, fresh: bool) -> Estimate:
    """The estimate of a group, after a ConfigError, with the largest parts and what would fit,
    unless there is enough memory."""
    found = estimate(
        programs, devices=devices_of(launch), fresh=fresh, keeps_best=bool(launch.keep_best)
    )
    remedy = advice(config, programs.distributed.strategy)
    if fresh:
        seeds = found.fitting_lanes // len(programs.group.arms)
        room = (
            f"at most {seeds:,} seeds would fit" if seeds else "not one seed of each arm would fit"
        )
        remedy = f"by this estimate {room}: {remedy}"
    else:
        remedy = f"go on where there is more, or begin again in another folder and {remedy}"
    require(found.fits, f"this run cannot fit: it would need {found}; {remedy}")
    return found
