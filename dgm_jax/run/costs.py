"""What one step of one lane costs, as formulas in the size of the batch, from its traced program.

Nothing is compiled. A step is traced with a batch of B examples and with one of 2 B; what it does
is a constant part and a part for each example, `a + b B`.
"""

import collections
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import native, parallel
from dgm_jax.core import Lane, LaneProgram, PyTree, tree_size
from dgm_jax.parallel.replicas import alone
from dgm_jax.run.batch_sums import JOINED, batch_sums
from dgm_jax.run.cells import Group
from dgm_jax.run.experiment import Experiment, Inputs
from dgm_jax.run.lanes import lanes_of, program_of
from dgm_jax.run.memory import tree_bytes
from dgm_jax.run.operations import Work, count
from dgm_jax.run.settings import StudyConfig

BATCH = "batch_size"  # the setting


class StepCost(NamedTuple):
    """What one step of one lane costs.

    Attributes:
        name: of the group of arms.
        num_lanes: seeds times arms.
        batch_size: examples of a batch; 0 where the experiment has no such setting.
        num_parameters: of one lane.
        state_bytes: of one lane: parameters, optimizer state, model state, keys.
        data_bytes: of the data set, on every device.
        fixed: work that does not grow with the batch.
        example: work for each example.
        sums: bytes that are summed over devices along "data", by what they are; None where the
            batch cannot be followed through the step, and the parameters are taken.
        microbatches: into which each batch is divided.
    """

    name: str
    num_lanes: int
    batch_size: int
    num_parameters: int
    state_bytes: int
    data_bytes: int
    fixed: Work
    example: Work
    sums: dict[str, float] | None
    microbatches: int = 1

    @property
    def whole(self) -> Work:
        """Work of a step with the whole batch."""
        return self.fixed.plus(self.example, self.batch_size)

    @property
    def summed_bytes(self) -> float:
        """Bytes that devices along "data" sum in a step."""
        if self.sums is None:
            return 4.0 * self.num_parameters
        return sum(size for what, size in self.sums.items() if what != JOINED)

    @property
    def joined_bytes(self) -> float:
        """Bytes of batches that are joined, and so spread anew, in a step."""
        return (self.sums or {}).get(JOINED, 0.0)

    def with_batch(self, batch_size: int) -> "StepCost":
        """Returns the cost with another batch.

        Args:
            batch_size: its number of examples.

        Returns:
            The cost: joined batches grow with it, sums do not.
        """
        sums = None if self.sums is None else dict(self.sums)
        if sums and JOINED in sums and self.batch_size:
            sums[JOINED] *= batch_size / self.batch_size
        return self._replace(batch_size=batch_size, sums=sums)


class _Formulas(NamedTuple):
    """A step's work, `fixed + example B`, and what is summed over a batch."""

    fixed: Work
    example: Work
    sums: dict[str, float] | None


def step_cost(
    experiment: Experiment, group: Group, inputs: Inputs, microbatches: int = 1
) -> StepCost:
    """Traces a step of a group of arms.

    Args:
        experiment: of the run.
        group: the arms.
        inputs: the data.
        microbatches: N, into which each batch is divided.

    Returns:
        Its cost.

    Raises:
        ConfigError: the batch cannot be divided.
    """
    config = group.arms[0].config
    one_seed = dataclasses.replace(config, num_seeds=1)
    keys, hyper = lanes_of(group, one_seed)
    program = program_of(experiment, config, inputs)
    lane = jax.eval_shape(program.init, keys[0], {name: x[0] for name, x in hyper.items()})
    size = _batch_size(experiment, config, inputs, lane)
    fixed, example, sums = _formulas(experiment, config, inputs, lane, size, microbatches)
    if microbatches > 1:
        # In memory there is one microbatch at a time, and the sum of the gradients.
        at_once = _formulas(experiment, config, inputs, lane, size, 1)
        gradients = 4.0 * tree_size(lane.train_state.params)
        fixed = fixed._replace(kept=at_once.fixed.kept + gradients)
        example = example._replace(kept=at_once.example.kept / microbatches)
    return StepCost(
        name=group.name,
        num_lanes=len(group.arms) * config.num_seeds,
        batch_size=size,
        num_parameters=tree_size(lane.train_state.params),
        state_bytes=tree_bytes(lane),
        data_bytes=tree_bytes(inputs.arrays),
        fixed=fixed,
        example=example,
        sums=sums,
        microbatches=microbatches,
    )


def _formulas(
    experiment: Experiment,
    config: StudyConfig,
    inputs: Inputs,
    lane: Lane,
    size: int,
    microbatches: int,
) -> _Formulas:
    """Traces a step with a batch of that size, and one with twice as many examples."""

    def traced(config: StudyConfig) -> Any:
        program = program_of(experiment, config, inputs)
        return step_jaxpr(program, lane, inputs.arrays, microbatches)

    small = traced(config)
    fixed = count(small)
    if not size:
        return _Formulas(fixed, Work(), None)
    large = traced(dataclasses.replace(config, **{BATCH: 2 * size}))
    difference = count(large).plus(fixed, -1.0)
    sums = _by_kind(small, large, lane.train_state.params)
    example = Work().plus(difference, 1.0 / size)
    return _Formulas(fixed.plus(difference, -1.0), example, sums)


def _batch_size(experiment: Experiment, config: StudyConfig, inputs: Inputs, lane: Lane) -> int:
    """The batch size; where the setting is None, which takes that of a protocol, of what is drawn.

    0 where there is no such setting.
    """
    size = getattr(config, BATCH, 0)
    if size is not None:
        return size
    visible, fixed = experiment.build_view(config)

    def drawn(lane):
        task = experiment.functions.build(visible, fixed | lane.hyper, inputs)
        return task.draw(inputs.arrays, lane.train_state.data_key, jnp.int32(0))

    shapes = [x.shape for x in jax.tree.leaves(jax.eval_shape(drawn, lane)) if x.shape]
    return min(shape[0] for shape in shapes)


def step_jaxpr(program: LaneProgram, lane: PyTree, data: PyTree, microbatches: int = 1) -> Any:
    """Traces one step of one lane, with the look at whether it is finite.

    Args:
        program: of the lane.
        lane: its shapes.
        data: the data, or shapes.
        microbatches: into which the batch is divided.

    Returns:
        The jaxpr; convolutions are lax's.
    """
    replica = alone(microbatches)

    def step(lane, sums, data, num_steps):
        assert program.try_part is not None
        return program.try_part(lane, sums, data, num_steps, replica)

    with native.use_convolutions("lax"):
        sums = jax.eval_shape(program.no_sums, lane, data)
        return jax.make_jaxpr(step)(lane, sums, data, np.int32(1))


def _by_kind(small: Any, large: Any, params: PyTree) -> dict[str, float] | None:
    found = batch_sums(small, large, {x.shape for x in jax.tree.leaves(params)})
    if found is None:
        return None
    totals: dict[str, float] = {}
    for one in found:
        totals[one.what] = totals.get(one.what, 0.0) + one.num_bytes * one.times
    return totals


class ProgramCost(NamedTuple):
    """What XLA says of the compiled steps of all lanes, on one device of those it is for.

    Attributes:
        operations: of one step; None where the backend does not tell, and for microbatches, which
            are turns of a loop.
        moved: bytes read and written in one step; None likewise.
        state_bytes: of the lanes, which the program takes and gives back.
        working_bytes: temporaries.
        mesh: devices along "seed" and along "data".
        exchanged: {(axis, kind): bytes} of collectives in one step, on one device.
    """

    operations: float | None
    moved: float | None
    state_bytes: int
    working_bytes: int
    mesh: tuple[int, int]
    exchanged: dict[tuple[str, str], int]


def program_cost(
    experiment: Experiment, group: Group, inputs: Inputs, devices: list, microbatches: int = 1
) -> ProgramCost:
    """Compiles the steps of a group and reads what XLA says of them.

    Args:
        experiment: of the run.
        group: the arms.
        inputs: the data.
        devices: to compile for.
        microbatches: into which each batch is divided.

    Returns:
        The cost. XLA counts one turn of a loop, so that of a chunk is that of a step, and no
        operation of another library: convolutions are lax's.
    """
    config: StudyConfig = group.arms[0].config
    keys, hyper = lanes_of(group, config)
    program = program_of(experiment, config, inputs)

    def compiled(of_lane: LaneProgram) -> tuple[Lane, Any]:
        spread = parallel.distribute(
            of_lane, keys, hyper, strategy="vmap", only=devices, microbatches=microbatches
        )
        lanes = spread.abstract(keys, hyper)
        return lanes, spread.lower_advance(lanes, spread.abstract_data(inputs.arrays)).compile()

    with native.use_convolutions("lax"):
        lanes, whole = compiled(program)
        _, of_steps = compiled(_without_choice(program))
    said = (of_steps.cost_analysis() or {}) if microbatches == 1 else {}
    sizes = whole.memory_analysis()
    exchanged: collections.Counter = collections.Counter()
    shape = parallel.split_devices(len(keys), len(devices))
    for one in parallel.collectives(whole.as_text() or "", shape):
        exchanged[one.axis, one.kind] += one.num_bytes
    return ProgramCost(
        operations=said.get("flops"),
        moved=said.get("bytes accessed"),
        state_bytes=tree_bytes(lanes),
        working_bytes=sizes.temp_size_in_bytes if sizes else 0,
        mesh=shape,
        exchanged=dict(exchanged),
    )


def _without_choice(program: LaneProgram) -> LaneProgram:
    """The same steps, taken whatever comes out: XLA would count what is done once in many steps."""

    def part(lane, sums, data, num_steps, last, replica):
        del last
        assert program.try_part is not None
        state, sums, failed = program.try_part(lane, sums, data, num_steps, replica)
        return lane._replace(train_state=state, failed_at=failed), sums, {}

    return program._replace(advance_part=part)
