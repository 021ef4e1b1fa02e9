"""Moments gathered by the engine against numpy on the same draws."""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import training
from dgm_jax.core import SOLO, RunningMoments, Task


def test_the_engine_gathers_the_moments_of_all_draws():
    def init(key):
        return {}, {"moments": RunningMoments.empty((2,))}

    def draw(arrays, data_key, index):
        return jax.random.normal(jax.random.fold_in(data_key, index), (10,))

    def measure(batch):
        return jnp.stack([batch, 3 * batch**2 + 1], axis=-1)

    def evaluate(train_state, arrays, key):
        return train_state.state["moments"]._asdict() | {"key": jax.random.key_data(key)}

    task = Task(init, draw, training.gathering_moments(measure), evaluate)
    program = training.lane_program(lambda hyper: task)
    lane = program.init(jax.random.key(0), {})
    for num_steps in (3, 4):  # in two chunks
        lane, _ = program.advance(lane, {}, num_steps, SOLO)
    found = program.evaluate(lane, {})
    values = np.concatenate(
        [measure(draw({}, lane.train_state.data_key, index)) for index in range(7)]
    )
    assert lane.train_state.step == 7 and lane.train_state.params == {}
    assert found["count"] == 70
    np.testing.assert_allclose(found["mean"], np.float64(values).mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["squares"], np.float64(values).var(0) * 70, rtol=1e-4)
