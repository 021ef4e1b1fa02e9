"""Exponential moving averages of parts of the parameters, for any algorithm."""

from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import (
    Algorithm,
    Array,
    Key,
    Model,
    Params,
    PyTree,
    State,
    StepInfo,
    TrainState,
    at_least_float32,
    require,
)
from dgm_jax.core.types import DrawBatch

AVERAGE = "average"  # the entry of the model state that holds the averaged parts


def averaged(
    algorithm: Algorithm, parts: tuple[str, ...], decay: float | Array = 0.999
) -> Algorithm:
    """Add a moving average of parts to an algorithm, kept in `state["average"][part]`.

    a_0 = w_0 and a_t = decay a_{t-1} + (1 - decay) w_t after every step, over the parameters and
    the model state (batch statistics) of each part, so that an averaged generator is never combined
    with the statistics of another (Karras et al. 2018, section 4; Yazici et al. 2019). The average
    is kept in at least float32: in bfloat16 it would stop as soon as a step is less than half a
    unit of its last place. Counts and keys in the state are not averaged; their newest values are
    kept. `with_average` makes a model that samples from the average.

    Args:
        algorithm: how the players move.
        parts: names of the parts to average.
        decay: weight of the old average, in [0, 1); may be traced.

    Returns:
        The algorithm with the average. Its `init` raises ConfigError for an unknown part.
    """

    def mix(old: Array, new: Array) -> Array:
        if not jnp.issubdtype(new.dtype, jnp.inexact):
            return new
        mixed = decay * old + (1.0 - decay) * new.astype(old.dtype)
        return mixed.astype(old.dtype)

    def init(key: Key, params: Params, state: State) -> TrainState:
        known = {*params, *state}
        missing = sorted({*parts} - known)
        require(not missing, f"cannot average {missing}: the parts are {sorted(known)}")
        train_state = algorithm.init(key, params, state)
        average = _start(parts, params, state)
        state = {**train_state.state, AVERAGE: average}
        return train_state._replace(state=state)

    def step(train_state: TrainState, draw: DrawBatch) -> tuple[TrainState, StepInfo]:
        moved, info = algorithm.step(train_state, draw)
        new = _collect(parts, moved.params, moved.state)
        average = jax.tree.map(mix, train_state.state[AVERAGE], new)
        state = {**moved.state, AVERAGE: average}
        return moved._replace(state=state), info

    return Algorithm(init=init, step=step, num_batches=algorithm.num_batches)


def with_average(model: Model, parts: tuple[str, ...]) -> Model:
    """Make the model of `averaged` training, which samples and decodes with the average.

    Its state has an entry for the averaged parts. Its players are unchanged, and bounds by
    `Model.latent` are those of the newest parameters.

    Args:
        model: the model that is trained.
        parts: names of the averaged parts.

    Returns:
        The model with the average.
    """

    def init(key: Key) -> tuple[Params, State]:
        params, state = model.init(key)
        average = _start(parts, params, state)
        return params, {**state, AVERAGE: average}

    def sample(params: Params, state: State, key: Key, num_samples: int, **options: Any) -> PyTree:
        params, state = _averages(params, state)
        return model.sample(params, state, key, num_samples, **options)

    def decode(params: Params, state: State, z: PyTree) -> Array:
        assert model.decode is not None
        params, state = _averages(params, state)
        return model.decode(params, state, z)

    averaged_decode = None if model.decode is None else decode
    return model._replace(init=init, sample=sample, decode=averaged_decode)


def average_of(train_state: TrainState) -> tuple[Params, State]:
    """Take the averaged parts of a training state, and the newest values of the others.

    Args:
        train_state: of an `averaged` algorithm.

    Returns:
        `(params, state)`, each array in the type of the newest.
    """
    return _averages(train_state.params, train_state.state)


def _collect(parts: tuple[str, ...], params: Params, state: State) -> dict[str, PyTree]:
    """{part: its parameters and its state}."""
    collected = {}
    for part in parts:
        part_params = params.get(part, {})
        part_state = state.get(part, {})
        collected[part] = {"params": part_params, "state": part_state}
    return collected


def _start(parts: tuple[str, ...], params: Params, state: State) -> dict[str, PyTree]:
    """The average before the first step."""
    collected = _collect(parts, params, state)
    return jax.tree.map(_widened, collected)


def _widened(x: Array) -> Array:
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return x
    return at_least_float32(x)


def _averages(params: Params, state: State) -> tuple[Params, State]:
    """`(params, state)` with the averaged parts in place of the newest."""

    averages = state.get(AVERAGE, {})
    averaged_params = {**params, **_in_types_of(params, averages, "params")}
    averaged_state = {**state, **_in_types_of(state, averages, "state")}
    averaged_state.pop(AVERAGE, None)
    return averaged_params, averaged_state


def _in_types_of(
    newest: dict[str, PyTree], averages: dict[str, PyTree], kind: str
) -> dict[str, PyTree]:
    """Averages of one kind by part, each array in the type of the newest."""
    converted = {}
    for part, average in averages.items():
        newest_of_part = newest.get(part, {})
        converted[part] = jax.tree.map(_in_type_of, average[kind], newest_of_part)
    return converted


def _in_type_of(average: Array, newest: Array) -> Array:
    return average.astype(newest.dtype)
