"""An algorithm that trains nothing, but gathers moments of what it draws."""

from collections.abc import Callable

import jax.numpy as jnp

from dgm_jax.core import (
    Algorithm,
    Array,
    Key,
    Params,
    PyTree,
    Replica,
    State,
    StepInfo,
    TrainState,
)
from dgm_jax.core.types import DrawBatch


def gathering_moments(measure: Callable[[PyTree], Array]) -> Callable[[Replica], Algorithm]:
    """Estimate moments of a Monte Carlo quantity, one batch of draws per step, with the engine.

    There are no parameters. The state is `{"moments": RunningMoments}`; a task's `init` returns
    those of no values, `({}, {"moments": RunningMoments.empty(shape)})`.

    Args:
        measure: `batch -> values [n, *shape]`, one value for each draw of the batch.

    Returns:
        `replica -> Algorithm`. The batch is not split over devices: a task states this in its
        `batch_coupling`.
    """

    def step(train_state: TrainState, draw: DrawBatch) -> tuple[TrainState, StepInfo]:
        values = measure(draw(train_state.step))
        moments = train_state.state["moments"].merge(values)
        moved = train_state._replace(step=train_state.step + 1, state={"moments": moments})
        return moved, StepInfo(losses={}, metrics={})

    def init(key: Key, params: Params, state: State) -> TrainState:
        return TrainState(jnp.int32(0), key, key, params, state, {})

    def algorithm(replica: Replica) -> Algorithm:
        del replica
        return Algorithm(init, step, num_batches=1)

    return algorithm
