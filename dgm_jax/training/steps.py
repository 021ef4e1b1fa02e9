"""Guarded steps of one lane: what diverges is frozen, metrics are averaged."""

from typing import cast

import jax
import jax.numpy as jnp

from dgm_jax.core import (
    Array,
    Lane,
    Metrics,
    PyTree,
    Replica,
    Sums,
    Task,
    TrainState,
    all_finite,
    float_type,
    require,
)
from dgm_jax.training import attempts
from dgm_jax.training.attempts import Step
from dgm_jax.training.reports import checked, recorded


def advance_lane(
    task: Task,
    lane: Lane,
    data: PyTree,
    num_steps: int | Array,
    replica: Replica,
    sums: Sums | None = None,
    last: bool | Array = True,
) -> tuple[Lane, Sums, Metrics]:
    """Make guarded steps; metrics are averaged over the steps of running lanes.

    A step whose parameters, model state or losses are not finite is not taken: the lane keeps its
    last finite state for the rest of the run, and `failed_at` records which step it was. After the
    last step of a chunk the optimizers' arrays must be finite too: Adam with an infinite second
    moment never moves again, though its parameters stay finite. Other lanes are not affected.

    An int as the number of steps makes a loop that JAX can differentiate in reverse, such as with
    respect to a learning rate. A traced number makes one that copies the state once in many steps,
    not in each (`dgm_jax.training.attempts`), and calls a step again where a later one has to be
    undone: what a task prints from inside it may then be seen twice.

    A chunk may be made in parts, each continuing from the lane and the sums of the one before. By
    one program with a traced number of steps the parts have the bits of the whole.

    Args:
        task: what is trained.
        lane: its present state.
        data: arrays for the task.
        num_steps: an int, or a traced int32[].
        replica: how this device takes part in a batch.
        sums: of the chunk's earlier steps; None at its beginning.
        last: whether the chunk ends with these steps; may be traced.

    Returns:
        The lane, the sums, and the means over the chunk's steps so far.
    """
    # Under jit, so that `no_sums` and the loop share one trace.
    step = jax.jit(one_step(task, data, replica))
    return make_steps(step, lane, num_steps, sums, last)


def make_steps(
    step: Step,
    lane: Lane,
    num_steps: int | Array,
    sums: Sums | None,
    last: bool | Array,
) -> tuple[Lane, Sums, Metrics]:
    """Make guarded steps as `advance_lane` does.

    Args:
        step: of the task's algorithm, from `one_step`.
        lane: its present state.
        num_steps: an int, or a traced int32[].
        sums: of the chunk's earlier steps; None at its beginning.
        last: whether the chunk ends with these steps; may be traced.

    Returns:
        The lane, the sums, and the means over the chunk's steps so far.
    """

    so_far = no_sums(step, lane) if sums is None else sums
    if isinstance(num_steps, int):
        lane, so_far = choose_each(step, lane, so_far, num_steps)
    else:
        lane, so_far = attempts.make(step, lane, so_far, num_steps)
    stuck = last & (lane.failed_at < 0) & ~_finite_arrays(lane.train_state.opt_state)
    failed_at = jnp.where(stuck, lane.train_state.step - 1, lane.failed_at)
    lane = lane._replace(failed_at=failed_at)
    means = jax.tree.map(lambda total: _mean(total, so_far.count), so_far.totals)
    return lane, so_far, means


def choose_each(step: Step, lane: Lane, sums: Sums, num_steps: int | Array) -> tuple[Lane, Sums]:
    """Make steps, each of which is taken or not before the next one is made.

    For an int this is a loop that JAX can differentiate in reverse, which that of `attempts.make`
    is not.

    Args:
        step: of the task's algorithm.
        lane: its present state.
        sums: of the chunk's earlier steps.
        num_steps: an int, or a traced int32[].

    Returns:
        As `attempts.make`.
    """

    def body(_: Array, carry: tuple[Lane, Sums]) -> tuple[Lane, Sums]:
        lane, sums = carry
        now = lane.train_state
        new, losses, metrics = step(now)
        is_running = lane.failed_at < 0
        taken = is_running & all_finite((new.params, new.state, losses))
        kept = attempts.select_state(taken, new, now)
        failed_at = jnp.where(is_running & ~taken, now.step, lane.failed_at)
        totals = jax.tree.map(
            lambda total, value: jnp.where(taken, total + value, total), sums.totals, metrics
        )
        lane = lane._replace(train_state=kept, failed_at=failed_at)
        return lane, Sums(totals, sums.count + taken)

    return jax.lax.fori_loop(0, num_steps, body, (lane, sums))


def no_sums(step: Step, lane: Lane) -> Sums:
    """Return the sums at the beginning of a chunk.

    Args:
        step: from `one_step`.
        lane: the state of the lane, or its shapes.

    Returns:
        Zeros.

    Raises:
        ConfigError: a metric of a loss is no scalar.
    """
    _, _, shapes = jax.eval_shape(step, lane.train_state)
    arrays = {name: shape.shape for name, shape in shapes.items() if shape.shape}
    require(not arrays, f"metrics of a loss must be scalars, got shapes {arrays}")
    zeros = {name: jnp.zeros((), float_type(shape)) for name, shape in shapes.items()}
    return Sums(zeros, jnp.int32(0))


def one_step(task: Task, data: PyTree, replica: Replica) -> Step:
    """Return one step of a task's algorithm.

    Args:
        task: what is trained.
        data: arrays for the task.
        replica: how this device takes part in a batch.

    Returns:
        A training state -> the next one, losses, and what is recorded of the step.

    Raises:
        ConfigError: the task's objective couples its batch, which the replica divides.
    """
    coupled = f"but this objective couples its batch ({task.batch_coupling})"
    require(
        not (replica.splits_batch and task.batch_coupling),
        f"devices='pmap' averages gradients of per-device batches, {coupled}; use devices='jit'",
    )
    require(
        replica.microbatches == 1 or not task.batch_coupling,
        f"microbatches={replica.microbatches} averages gradients of parts of a batch, {coupled};"
        " use microbatches=1",
    )
    algorithm = task.algorithm(replica)

    def step(now: TrainState) -> tuple[TrainState, Metrics, Metrics]:
        def draw(index: Array | int, /) -> PyTree:
            return replica.place(task.draw(data, now.data_key, cast(Array, index)))

        new, info = checked(algorithm.step(now, draw))
        return new, info.losses, recorded(info)

    return step


def _mean(total: Array, count: Array) -> Array:
    """total / count, or NaN for a count of 0.

    The NaN is made as inf - inf: as a constant it would stop `jax_debug_nans` for every count.
    """
    zero_or_inf = jnp.where(count > 0, 0, jnp.inf).astype(total.dtype)
    return jnp.where(count > 0, total / jnp.maximum(count, 1), zero_or_inf - zero_or_inf)


def _finite_arrays(opt_state: PyTree) -> Array:
    """Whether all arrays of the optimizers are finite; some scalars are infinite at the start."""
    return all_finite([x for x in jax.tree.leaves(opt_state) if x.ndim > 0])
