"""A game of two players, one step of which can be poisoned, and its steps over lanes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax import core, parallel, training
from dgm_jax.core import SOLO, Aux, Player, Task

NEVER = 1_000  # a step that no run here reaches


def task_of(hyper):
    """A two-player game with noise, Adam and model state; `hyper` poisons one step and sets the
    learning rate.

    hyper: learning_rate, and the steps at which the loss, the gradient or the model state stops
        being finite.
    """

    def loss_of(name):
        def loss(params, state, batch, key):
            index, x = batch["index"], batch["x"]
            noise = 0.1 * jax.random.normal(key, x.shape[:1])
            y = jnp.tanh(x @ params["a"]) @ params["b"] + noise
            value = jnp.mean(y**2) if name == "a" else jnp.mean((y - 1.0) ** 2)
            value += jnp.where(index == hyper["poison_loss"], jnp.nan, 0.0)
            # sqrt has an infinite slope at 0, and its value there is fine.
            zero = jnp.where(index == hyper["poison_gradient"], 0.0, 1.0)
            value += jnp.sqrt(jnp.abs(jnp.sum(params[name])) * zero) * jnp.where(zero, 0.0, 1.0)
            seen = jnp.where(index == hyper["poison_state"], jnp.inf, state[name]["seen"] + 1.0)
            return value, Aux(
                {**state, name: {"seen": seen}},
                {"index": index, "nan_is_fine": jnp.nan},
            )

        return Player((name,), loss)

    def init(key):
        params = {"a": core.normal(key, (3, 4)), "b": jnp.ones(4)}
        return params, {name: {"seen": jnp.float32(0.0)} for name in params}

    def draw(data, data_key, index):
        x = data + core.normal(jax.random.fold_in(data_key, index), (8, 3))
        return {"index": jnp.broadcast_to(index, ()), "x": x}

    adam = optax.adam(hyper["learning_rate"])
    players = {name: loss_of(name) for name in ("a", "b")}
    algorithm = partial(training.simultaneous, players, {"a": adam, "b": adam})
    evaluate = lambda train_state, data, key: {"norm": jnp.linalg.norm(train_state.params["a"])}
    return Task(init, draw, algorithm, evaluate)


def hypers(num_lanes, **changes):
    """{name: [num_lanes]}; `changes` are (lane, value)."""
    hyper = {"learning_rate": np.full(num_lanes, 0.01, np.float32)}
    hyper |= {
        f"poison_{what}": np.full(num_lanes, NEVER, np.int32)
        for what in ("loss", "gradient", "state")
    }
    for name, (lane, value) in changes.items():
        hyper[name][lane] = value
    return jax.tree.map(jnp.asarray, hyper)


PROGRAM = training.lane_program(task_of)
DATA = jnp.float32(0.5)
init_lanes = jax.jit(jax.vmap(PROGRAM.init))


@partial(jax.jit, static_argnums=2)
def advance_by_scan(lanes, data, num_steps):
    """A number of steps that is known while the program is traced: each step is chosen."""
    of_lane = lambda lane, data: PROGRAM.advance(lane, data, num_steps, SOLO)
    return parallel.over_seeds(of_lane, "vmap")(lanes, data)


@jax.jit
def advance_by_attempts(lanes, data, num_steps):
    """Any number of steps, as the engine makes them: many are chosen at a time."""

    def of_lane(lane, data):
        sums = PROGRAM.no_sums(lane, data)
        lane, _, metrics = PROGRAM.advance_part(lane, sums, data, num_steps, True, SOLO)
        return lane, metrics

    return parallel.over_seeds(of_lane, "vmap")(lanes, data)


def lanes_at_start(num_lanes=4, **changes):
    return init_lanes(jax.random.split(jax.random.key(1), num_lanes), hypers(num_lanes, **changes))


def plain(tree):
    """Typed keys as numbers, so that trees can be compared."""
    return jax.tree.map(
        lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x,
        tree,
    )


def assert_same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, plain(a), plain(b))


def lane_of(lanes, i):
    return jax.tree.map(lambda x: x[i], lanes)
