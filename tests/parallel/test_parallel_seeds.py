"""The axis of lanes: every lane computes what it would compute alone."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import core, parallel, training
from dgm_jax.core import Aux, ConfigError, Player, Task

pytestmark = pytest.mark.optimized

NUM_SEEDS, NUM_STEPS = 8, 20


def train(lane, data):
    """A small regression by Adam: `lane` is a key and a learning rate."""
    key, rate = lane["key"], lane["learning_rate"]
    optimizer = optax.adam(rate)
    key_w, key_v, key_noise = jax.random.split(key, 3)
    params = {"w": core.normal(key_w, (3, 16)), "v": 0.1 * jax.random.normal(key_v, (16,))}

    def step(carry, index):
        params, opt_state = carry
        noise = 0.1 * jax.random.normal(jax.random.fold_in(key_noise, index), data["y"].shape)
        loss = lambda p: jnp.mean((jnp.tanh(data["x"] @ p["w"]) @ p["v"] - data["y"] - noise) ** 2)
        value, gradient = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return (optax.apply_updates(params, updates), opt_state), value

    (params, _), losses = jax.lax.scan(
        step, (params, optimizer.init(params)), jnp.arange(NUM_STEPS)
    )
    return {"params": params, "losses": losses}


def data():
    x = jax.random.normal(jax.random.key(100), (32, 3))
    return {"x": x, "y": jnp.sin(x[:, 0]) + x[:, 1]}


def lanes(rates=(0.05,), num_seeds=NUM_SEEDS):
    """Seeds of the first rate, then those of the second, and so on."""
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(num_seeds))
    return {
        "key": jnp.tile(keys, len(rates)),
        "learning_rate": jnp.repeat(jnp.array(rates, jnp.float32), num_seeds),
    }


def lane(index, tree):
    return jax.tree.map(lambda x: x[index], tree)


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6), a, b)


@pytest.fixture(scope="module")
def alone():
    """[4 rates][8 seeds], each a compiled run of one lane."""
    one = jax.jit(train)
    return {
        rate: [one(lane(i, lanes((rate,))), data()) for i in range(NUM_SEEDS)] for rate in RATES
    }


RATES = (0.003, 0.01, 0.05, 0.2)


@pytest.mark.parametrize("strategy", list(parallel.STRATEGIES))
def test_every_lane_is_the_seed_alone(alone, strategy):
    together = jax.jit(parallel.over_seeds(train, strategy))(lanes(), data())
    for i, one in enumerate(alone[0.05]):
        close(lane(i, together), one)
    losses = np.asarray(together["losses"])
    assert losses.shape == (NUM_SEEDS, NUM_STEPS)
    assert np.all(losses[:, -1] < 0.7 * losses[:, 0])  # they do train
    assert len({row.tobytes() for row in losses}) == NUM_SEEDS  # and are eight different runs


@pytest.mark.parametrize("strategy", list(parallel.STRATEGIES))
def test_hyper_parameters_ride_on_the_same_axis(alone, strategy):
    """Four learning rates times eight seeds in one program are 32 separate runs."""
    together = jax.jit(parallel.over_seeds(train, strategy))(lanes(RATES), data())
    for r, rate in enumerate(RATES):
        for i, one in enumerate(alone[rate]):
            close(lane(r * NUM_SEEDS + i, together), one)
    assert len(set(np.asarray(together["losses"])[::NUM_SEEDS, -1].tolist())) == len(RATES)


@pytest.mark.parametrize("strategy", list(parallel.STRATEGIES))
def test_lanes_do_not_notice_each_other(strategy):
    """A lane that is poisoned with NaN leaves the others' bits as they were."""
    run = jax.jit(parallel.over_seeds(train, strategy))
    healthy = lanes()
    sick = {**healthy, "learning_rate": healthy["learning_rate"].at[3].set(jnp.nan)}
    a, b = run(healthy, data()), run(sick, data())
    rest = np.array([i for i in range(NUM_SEEDS) if i != 3])
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[rest], y[rest]), a, b)
    assert np.isnan(np.asarray(b["losses"])[3, -1])


def test_one_lane_by_vmap_is_the_function_itself():
    """The same bits, and no product with an axis of lanes."""
    one = lanes(num_seeds=1)
    found = jax.jit(parallel.over_seeds(train, "vmap"))(one, data())
    expected = jax.jit(train)(lane(0, one), data())
    jax.tree.map(np.testing.assert_array_equal, lane(0, found), expected)
    assert all(len(leaf) == 1 for leaf in jax.tree.leaves(found))
    product = lambda w, x: x @ w
    kernels, x = jnp.ones((1, 3, 4)), jnp.ones((2, 3))
    (equation,) = [
        equation
        for equation in jax.make_jaxpr(parallel.over_seeds(product, "vmap"))(kernels, x).eqns
        if equation.primitive.name == "dot_general"
    ]
    assert equation.params["dimension_numbers"][1] == ((), ())


@pytest.mark.parametrize("strategy", ["vmap", "map"])
def test_the_python_of_init_is_run_once(strategy):
    """Not for the shapes, for the program and for each number of lanes."""
    calls = []

    def task(hyper):
        def init(key):
            calls.append(1)
            return {"w": {"w": jax.random.normal(key, (3,))}}, {}

        loss = lambda params, state, batch, key: (jnp.sum(params["w"]["w"] ** 2), Aux(state, {}))
        players = {"w": Player(("w",), loss)}
        algorithm = partial(training.alternating, players, {"w": optax.sgd(0.1)})
        return Task(init, lambda *_: 0.0, algorithm, lambda *_: {})

    keys = lanes()["key"]
    program = training.lane_program(task)
    made = parallel.distribute(program, keys, {}, strategy=strategy, only=jax.devices()[:1])
    started = made.init(*made.place_data((keys, {})))
    assert calls == [1]
    found = np.asarray(started.train_state.params["w"]["w"])
    alone = jax.vmap(lambda key: task({}).init(jax.random.split(key, 3)[0])[0]["w"]["w"])(keys)
    np.testing.assert_array_equal(found, alone)


def test_unknown_strategy_names_the_nearest():
    with pytest.raises(
        ConfigError, match="unknown seed strategy 'vmapp' .did you mean 'vmap'.*known: map, vmap"
    ):
        parallel.over_seeds(train, "vmapp")


def test_auto_looks_at_the_parameters():
    """On the CPU kernels of a convolution go one seed after the other; matrices go all at once."""
    matrices = {"d": {"kernel": jnp.zeros((4, 4)), "bias": jnp.zeros(4)}}
    kernels = {"d": {"kernel": jnp.zeros((3, 3, 4, 4))}}
    assert parallel.choose_strategy("auto", matrices) == "vmap"
    expected = "map" if jax.default_backend() == "cpu" else "vmap"
    assert parallel.choose_strategy("auto", kernels) == expected
    assert [parallel.choose_strategy(name, kernels) for name in ("vmap", "map")] == ["vmap", "map"]


def test_auto_follows_the_platform_it_is_told():
    kernels = {"d": {"kernel": jnp.zeros((3, 3, 4, 4))}}
    on = {p: parallel.choose_strategy("auto", kernels, platform=p) for p in ("cpu", "gpu", "tpu")}
    assert on == {"cpu": "map", "gpu": "vmap", "tpu": "vmap"}
    with pytest.raises(ConfigError, match=r"unknown platform 'gpus' .did you mean 'gpu'"):
        parallel.choose_strategy("auto", kernels, platform="gpus")
