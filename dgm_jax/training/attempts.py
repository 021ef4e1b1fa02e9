"""Steps that are chosen or undone many at a time.

A step that may have to be undone needs the state before it. To choose between the two after every
step reads parameters, model state and optimizer state twice more and writes them once more, which
costs a dense network a tenth of its time (`python -m benchmarks guard`). Here an attempt makes
many steps that overwrite the state, and notes which was the first that was not finite. Then

- where none was, the attempt is taken;
- where one was, every lane goes back to the state before the attempt, and the next attempt ends in
  front of that step: it makes the same steps once more, and is taken;
- where it was the very first, its lane has diverged, and the other lanes go on without it.

So the state is copied and chosen once in an attempt, and a lane that diverges costs all lanes of
its program at most the steps of two more attempts, once.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Lane, Metrics, Sums, TrainState, all_finite, select_tree

# A training state -> the next one, losses, and what is recorded of the step.
Step = Callable[[TrainState], tuple[TrainState, Metrics, Metrics]]

MAX_STEPS = 64  # of an attempt
_NONE = np.int32(np.iinfo(np.int32).max)  # number of a step that no attempt has


class _Position(NamedTuple):
    """Between two attempts.

    Attributes:
        made: int32[]: number of steps made.
        size: int32[]: number of steps of the next attempt.
        lane: its state after the steps made.
        sums: over the steps made.
    """

    made: Array
    size: Array
    lane: Lane
    sums: Sums


def make(step: Step, lane: Lane, sums: Sums, num_steps: Array) -> tuple[Lane, Sums]:
    """Make steps in attempts. It ends early where no lane of the program is running any more.

    Args:
        step: of the task's algorithm.
        lane: its present state.
        sums: of the chunk's earlier steps.
        num_steps: int32[].

    Returns:
        The lane and the sums after the steps. A lane that diverges keeps the state before the step
        that was not finite, and `failed_at` says which step it was.
    """

    def goes_on(at: _Position) -> Array:
        is_any_running = _least_of_lanes(at.lane.failed_at) < 0
        return (at.made < num_steps) & is_any_running

    num_steps = jnp.asarray(num_steps, jnp.int32)
    attempt = functools.partial(_attempt, step, num_steps)
    start = _Position(jnp.int32(0), _size(num_steps), lane, sums)
    end = jax.lax.while_loop(goes_on, attempt, start)
    return end.lane, end.sums


def _size(steps_left: Array) -> Array:
    return jnp.minimum(steps_left, jnp.int32(MAX_STEPS))


def _attempt(step: Step, num_steps: Array, at: _Position) -> _Position:
    """Make an attempt and take it, undo it, or let lanes whose first step fails stop."""
    tried, sums, failed = try_steps(step, at.lane.train_state, at.sums, at.size)
    is_running = at.lane.failed_at < 0
    failed = jnp.where(is_running, failed, _NONE)
    first = _least_of_lanes(failed)
    is_complete = first >= at.size
    is_taken = is_running & is_complete
    lane = at.lane._replace(
        train_state=select_state(is_taken, tried, at.lane.train_state),
        failed_at=jnp.where(failed == 0, at.lane.train_state.step, at.lane.failed_at),
    )
    made = at.made + jnp.where(is_complete, at.size, 0)
    repeats = ~is_complete & (first > 0)
    size = jnp.where(repeats, first, _size(num_steps - made))
    return _Position(made, size, lane, select_tree(is_taken, sums, at.sums))


def try_steps(
    step: Step, start: TrainState, sums: Sums, num_steps: Array
) -> tuple[TrainState, Sums, Array]:
    """Make steps whatever comes out.

    Args:
        step: of the task's algorithm.
        start: the state before them.
        sums: so far.
        num_steps: int32[].

    Returns:
        The state after them, the sums with theirs, and the number of the first step whose new
        parameters, model state or losses were not finite, counted from 0; 2^31 - 1 for none.
    """

    def body(index: Array, carry: tuple[TrainState, Sums, Array]) -> tuple:
        now, sums, failed = carry
        new, losses, metrics = step(now)
        is_finite = all_finite((new.params, new.state, losses))
        failed = jnp.minimum(failed, jnp.where(is_finite, _NONE, index))
        totals = jax.tree.map(jnp.add, sums.totals, metrics)
        return new, Sums(totals, sums.count + 1), failed

    none = 0 * start.step + _NONE
    return jax.lax.fori_loop(np.int32(0), num_steps, body, (start, sums, none))


def select_state(taken: Array, new: TrainState, now: TrainState) -> TrainState:
    """Choose a state.

    Args:
        taken: bool[]: whether it is the new one.
        new: after some steps.
        now: before them.

    Returns:
        The state; keys never change, so they are not chosen.
    """
    chosen = select_tree(
        taken,
        (new.step, new.params, new.state, new.opt_state),
        (now.step, now.params, now.state, now.opt_state),
    )
    step, params, state, opt_state = chosen
    return now._replace(step=step, params=params, state=state, opt_state=opt_state)


@jax.custom_batching.custom_vmap
def _least_of_lanes(x: Array) -> Array:
    """The least number of all lanes, one for all of them, so that their loops stay one loop."""
    return x


@_least_of_lanes.def_vmap
def _least_of_batch(num_lanes: int, is_batched: list[bool], x: Array) -> tuple[Array, bool]:
    del num_lanes, is_batched
    return _least_of_lanes(jnp.min(x, axis=0)), False
