"""An algorithm that trains nothing and gathers moments of what it draws."""

from collections.abc import Callable

import jax.numpy as jnp

from dgm_jax.core import Algorithm, Array, PyTree, Replica, StepInfo, TrainState


def gathering_moments(measure: Callable[[PyTree], Array]) -> Callable[[Replica], Algorithm]:
    """Moments of a Monte Carlo quantity, a batch of draws a step, by the engine that trains models.

    There are no parameters. The state is `{"moments": RunningMoments}`; a task's `init` gives those
    of no values, `({}, {"moments": RunningMoments.empty(shape)})`.

    Args:
        measure: `batch -> values [n, *shape]`, one value for each draw of the batch.

    Returns:
        `replica -> Algorithm`. The batch is not split over devices: a task names this in its
        `batch_coupling`.
    """

    def step(train_state: TrainState, draw):
        values = measure(draw(train_state.step))
        moments = train_state.state["moments"].merge(values)
        moved = train_state._replace(step=train_state.step + 1, state={"moments": moments})
        return moved, StepInfo(losses={}, metrics={})

    def algorithm(replica: Replica) -> Algorithm:
        del replica
        return Algorithm(
            lambda key, params, state: TrainState(jnp.int32(0), key, key, params, state, {}), step
        )

    return algorithm
