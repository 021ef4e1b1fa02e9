"""Exponential moving averages of parts of the parameters, for any algorithm."""

import jax
import jax.numpy as jnp

from dgm_jax.core import (
    Algorithm,
    Model,
    Params,
    State,
    TrainState,
    at_least_float32,
    require,
)

AVERAGE = "average"  # the entry of the model state that holds the averaged parts


def averaged(algorithm: Algorithm, parts: tuple[str, ...], decay=0.999) -> Algorithm:
    """The same algorithm, which also keeps `state["average"][part]`.

    a_0 = w_0 and a_t = decay a_{t-1} + (1 - decay) w_t after every step, over the parameters
    and the model state (batch statistics) of each part, so that an averaged generator
    is never combined with the statistics of another (Karras et al. 2018, section 4;
    Yazici et al. 2019). It is kept in at least float32: in bfloat16 it would stop where a step is
    less than half a unit of its last place. Counts and keys in the state are not averaged: the
    newest stays. `with_average` makes a model that shows it. `init` raises ConfigError for a part
    that there is not.
    """

    def mix(old, new):
        if not jnp.issubdtype(new.dtype, jnp.inexact):
            return new
        return (decay * old + (1.0 - decay) * new.astype(old.dtype)).astype(old.dtype)

    def init(key, params, state):
        missing = sorted({*parts} - {*params, *state})
        require(not missing, f"cannot average {missing}: the parts are {sorted({*params, *state})}")
        train_state = algorithm.init(key, params, state)
        average = jax.tree.map(_widened, _collect(parts, params, state))
        return train_state._replace(state={**train_state.state, AVERAGE: average})

    def step(train_state, draw):
        moved, info = algorithm.step(train_state, draw)
        new = _collect(parts, moved.params, moved.state)
        average = jax.tree.map(mix, train_state.state[AVERAGE], new)
        return moved._replace(state={**moved.state, AVERAGE: average}), info

    return Algorithm(init=init, step=step)


def with_average(model: Model, parts: tuple[str, ...]) -> Model:
    """The model as it stands after `averaged` training: its state has the averaged parts too, and
    what it samples and decodes is that of the average. Its players are the old ones.

    Bounds by `Model.latent` are those of the newest parameters.
    """

    def init(key):
        params, state = model.init(key)
        average = jax.tree.map(_widened, _collect(parts, params, state))
        return params, {**state, AVERAGE: average}

    def sample(params, state, key, num_samples, **options):
        return model.sample(*_averages(params, state), key, num_samples, **options)

    def decode(params, state, z):
        assert model.decode is not None
        return model.decode(*_averages(params, state), z)

    shown = None if model.decode is None else decode
    return model._replace(init=init, sample=sample, decode=shown)


def _collect(parts: tuple[str, ...], params: Params, state: State) -> dict[str, dict]:
    return {part: {"params": params.get(part, {}), "state": state.get(part, {})} for part in parts}


def _widened(x):
    return at_least_float32(x) if jnp.issubdtype(x.dtype, jnp.inexact) else x


def average_of(train_state: TrainState) -> tuple[Params, State]:
    """`(params, state)` with the averaged parts in place of the newest, where there are any, each
    array in the type that the newest has."""
    return _averages(train_state.params, train_state.state)


def _averages(params: Params, state: State) -> tuple[Params, State]:
    def averages(kind, newest):
        return {
            part: jax.tree.map(lambda a, new: a.astype(new.dtype), tree[kind], newest.get(part, {}))
            for part, tree in state.get(AVERAGE, {}).items()
        }

    shown = {**state, **averages("state", state)}
    shown = {name: tree for name, tree in shown.items() if name != AVERAGE}
    return {**params, **averages("params", params)}, shown
