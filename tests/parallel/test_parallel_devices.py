"""The same run on one device, on eight, as one sharded program and as pmap.

Gradients are compared by the updates of plain SGD: Adam is blind to a gradient that is too large by
a constant factor, which is just what a forgotten or doubled mean over devices makes of it.
"""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import core, parallel, training
from dgm_jax.core import Aux, ConfigError, Player, Task

BATCH = 32

needs_devices = pytest.mark.skipif(
    jax.device_count() < 8, reason="needs eight devices, as tests/conftest.py asks for"
)
pytestmark = [needs_devices, pytest.mark.optimized]


def losses():
    """A critic and a generator; each loss is a mean over examples, with all noise in the batch."""

    def logits(params, x):
        return jnp.tanh(x @ params["critic"]["w"]) @ params["critic"]["v"]

    def fakes(params, batch):
        return jnp.tanh(batch["z"] @ params["generator"]["w"])

    def critic(params, state, batch, key):
        real, fake = logits(params, batch["x"]), logits(params, fakes(params, batch))
        value = jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))
        mean = 0.9 * state["critic"]["mean"] + 0.1 * jnp.mean(batch["x"], axis=0)
        return value, Aux({**state, "critic": {"mean": mean}}, {"real_logit": jnp.mean(real)})

    def generator(params, state, batch, key):
        value = jnp.mean(jax.nn.softplus(-logits(params, fakes(params, batch))))
        return value * (1 + 0.1 * batch["step"]), Aux(state, {})

    return critic, generator


def task_of(hyper, rule="alternating", optimizer="sgd", lookahead=0, batch=BATCH, coupling=None):
    critic, generator = losses()
    ahead = (("critic", lookahead),) if lookahead else ()
    players = {
        "critic": Player(("critic",), critic, 2 if rule == "alternating" else 1),
        "generator": Player(("generator",), generator, 1, ahead),
    }
    optimizers = {
        "sgd": {
            "critic": optax.sgd(hyper["learning_rate"]),
            "generator": optax.sgd(0.5 * hyper["learning_rate"]),
        },
        "adam": {"critic": optax.adam(1e-3, b1=0.5), "generator": optax.adam(1e-3, b1=0.5)},
    }[optimizer]

    def init(key):
        # one draw: draws are what compiles slowly
        w, v, g = jnp.split(core.normal(key, (76,)), (48, 64))
        params = {
            "critic": {"w": w.reshape(3, 16), "v": v / 4},
            "generator": {"w": g.reshape(4, 3)},
        }
        return params, {"critic": {"mean": jnp.zeros(3)}, "generator": {}}

    def draw(data, data_key, index):
        del data_key  # every lane reads the same stream, so that no draw is compiled
        parts = {
            name: jax.lax.dynamic_slice_in_dim(data[name], 8 * index, batch) for name in ("x", "z")
        }
        return parts | {"step": jnp.asarray(index, jnp.float32)}  # a scalar is for all examples

    def evaluate(train_state, data, key):
        samples = jnp.tanh(
            data["z"] * jax.random.uniform(key) @ train_state.params["generator"]["w"]
        )
        return {"mean": jnp.mean(samples), "samples": samples}

    return Task(
        init, draw, partial(training.DYNAMICS[rule], players, optimizers), evaluate, coupling
    )


DATA = {
    "x": jnp.array([1.0, -1.0, 0.5]) + jax.random.normal(jax.random.key(7), (512, 3)),
    "z": jax.random.normal(jax.random.key(8), (512, 4)),
}


def keys(num_lanes):
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(num_lanes))


def hyper(num_lanes):
    return {"learning_rate": jnp.linspace(0.5, 1.5, num_lanes)}


@functools.cache
def fresh_lanes(num_lanes):
    """Lanes at step 0, compiled once: no optimizer here has initial state that depends on its
    settings."""
    program = training.lane_program(lambda hyper: task_of(hyper, optimizer="sgd"))
    return jax.jit(jax.vmap(program.init))(keys(num_lanes), hyper(num_lanes))


def place(compiled, num_lanes):
    """Copies of the fresh lanes where the compiled program wants them; it may take their memory."""
    return compiled.place_lanes(jax.tree.map(lambda x: x.copy(), fresh_lanes(num_lanes)))


def play(num_devices, num_lanes, num_steps=4, *, devices="jit", strategy="vmap", **task):
    """(final lanes, metrics, evaluation) on the host."""
    program = training.lane_program(lambda hyper: task_of(hyper, **task))
    compiled = parallel.distribute(
        program,
        keys(num_lanes),
        hyper(num_lanes),
        strategy=strategy,
        devices=devices,
        only=jax.devices()[:num_devices],
    )
    lanes, data = compiled.init(keys(num_lanes), hyper(num_lanes)), compiled.place_data(DATA)
    lanes, _, metrics = compiled.compile_advance(lanes, data)(lanes, data, num_steps)
    evaluated = compiled.compile_evaluate(lanes, data)(lanes, data)
    assert lanes.failed_at.tolist() == [-1] * compiled.num_places
    state = lanes.train_state
    results = (state.params, state.state, state.opt_state), metrics, evaluated
    return jax.device_get(parallel.trim(results, num_lanes))


def assert_same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_close(a, b, tolerance=1e-6):
    """Relative to the largest number of each array: a gradient's small entries are sums of large
    ones."""

    def check(x, y):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * max(np.abs(y).max(), 1.0))

    jax.tree.map(check, a, b)


@functools.cache
def gradients(num_devices, num_lanes, name, strategy="vmap", devices="jit", **options):
    """What one step of SGD with rate 1 takes from the parameters; also the new state and the
    losses."""
    program = training.lane_program(lambda hyper: task_of({"learning_rate": 1.0}, **TASKS[name]))
    compiled = parallel.distribute(
        program,
        keys(num_lanes),
        hyper(num_lanes),
        strategy=strategy,
        devices=devices,
        only=jax.devices()[:num_devices],
        **options,
    )
    lanes, data = place(compiled, num_lanes), compiled.place_data(DATA)
    before = jax.device_get(lanes.train_state.params)
    lanes, _, metrics = compiled.compile_advance(lanes, data)(lanes, data, 1)
    after = jax.device_get(lanes.train_state.params)
    taken = jax.tree.map(np.subtract, before, after)
    return parallel.trim((taken, jax.device_get((lanes.train_state.state, metrics))), num_lanes)


@pytest.fixture(scope="module")
def one_device():
    return {strategy: play(1, 8, strategy=strategy) for strategy in parallel.STRATEGIES}


@pytest.mark.parametrize("strategy, num_devices", [("map", 2), ("map", 4), ("map", 8), ("vmap", 8)])
def test_seeds_on_several_devices(one_device, strategy, num_devices):
    """One after the other (map), a seed's bits do not depend on the devices; in a batched product
    (vmap) they may."""
    found = play(num_devices, 8, strategy=strategy)
    if strategy == "map":
        assert_same_bits(found, one_device[strategy])
    else:
        assert_close(found, one_device[strategy], 5e-6)


def test_strategies_agree(one_device):
    assert_close(one_device["map"], one_device["vmap"], 5e-6)


TASKS = {
    "alternating": {},
    "simultaneous": {"rule": "simultaneous"},
    "extragradient": {"rule": "extragradient"},
    "consensus": {"rule": "consensus"},
    "unrolled": {"lookahead": 2},
}


@pytest.mark.parametrize(
    "num_lanes, num_devices, strategy", [(1, 8, "vmap"), (2, 4, "map"), (3, 8, "vmap")]
)
def test_gradients_of_a_sharded_batch(num_lanes, num_devices, strategy):
    """Fewer lanes than devices: the rest of the devices shares each batch, and it keeps its
    whole-batch meaning."""
    found = gradients(num_devices, num_lanes, "simultaneous", strategy)
    assert_close(found, gradients(1, num_lanes, "simultaneous"))


@pytest.mark.parametrize("devices", ["jit", "pmap"])
@pytest.mark.parametrize("name", TASKS)
def test_one_step_is_the_same_by_jit_and_by_pmap(name, devices):
    """Every rule, with eight devices sharing the batch, takes the step of one device."""
    assert_close(gradients(8, 2, name, devices=devices), gradients(1, 2, name))


@pytest.mark.parametrize(
    "name, options",
    [
        *((name, {"num_devices": 1, "microbatches": 4}) for name in TASKS),
        ("simultaneous", {"num_devices": 1, "microbatches": 2}),
        ("simultaneous", {"num_devices": 4, "microbatches": 2}),
        ("simultaneous", {"num_devices": 8, "microbatches": 2, "devices": "pmap"}),
    ],
)
def test_gradients_of_microbatches_are_those_of_the_batch(name, options):
    """Every rule, on one device and where devices share the batch: gradients, states, metrics."""
    assert_close(gradients(num_lanes=2, name=name, **options), gradients(1, 2, name))


def test_microbatches_draw_noise_of_their_own():
    """And a mean over them is the mean of both noises: those of fold_in(key, 0) and (key, 1)."""

    def loss(params, state, batch, key):
        noise = jax.random.normal(key)
        return params["w"] * jnp.mean(batch) * noise, Aux(state, {"noise": noise, "one": True})

    rule = partial(training.simultaneous, {"p": Player(("w",), loss)}, optax.sgd(1.0))
    task = Task(
        lambda key: ({"w": jnp.float32(0)}, {}), lambda *_: jnp.ones(6), rule, lambda *_: {}
    )
    program = training.lane_program(lambda hyper: task)
    only = jax.devices()[:1]
    compiled = parallel.distribute(program, keys(1), {}, only=only, microbatches=2)
    lanes = compiled.init(keys(1), {})
    key = jax.random.fold_in(jax.random.fold_in(lanes.train_state.key[0], 0), 0)
    noises = [float(jax.random.normal(jax.random.fold_in(key, i))) for i in (0, 1)]
    lanes, _, metrics = compiled.compile_advance(lanes, {})(lanes, {}, 1)
    assert metrics["p.noise"][0] == pytest.approx(np.mean(noises), rel=1e-6)
    assert metrics["p.one"][0] == 1
    assert lanes.train_state.params["w"][0] == pytest.approx(-np.mean(noises), rel=1e-6)


def test_parameters_that_devices_share():
    """Each of eight devices holds an eighth of what has an axis that they divide: the critic's
    parameters here, but not the generator's [4, 3]. One step is that of one device."""
    program = training.lane_program(task_of)
    of = lambda **options: parallel.distribute(program, keys(2), hyper(2), **options)
    compiled = of(shard_parameters=True)
    shapes = compiled.abstract(keys(2), hyper(2)).train_state.params
    shards = jax.tree.map(lambda x: x.sharding.shard_shape(x.shape), shapes)
    assert shards == {"critic": {"w": (2, 3, 2), "v": (2, 2)}, "generator": {"w": (2, 4, 3)}}
    lanes = compiled.init(keys(2), hyper(2))
    assert lanes.train_state.params["critic"]["w"].addressable_shards[0].data.shape == (2, 3, 2)
    for strategy in parallel.STRATEGIES:
        found = gradients(8, 2, "simultaneous", strategy, shard_parameters=True)
        assert_close(found, gradients(1, 2, "simultaneous"))
    with pytest.raises(ConfigError, match="pmap.*every device holds all parameters"):
        of(devices="pmap", shard_parameters=True)


def test_padded_lanes():
    """Three lanes on two devices: four places, of which nobody sees the last. By map the bits are
    those of one device."""
    program = training.lane_program(task_of)
    compiled = parallel.distribute(program, keys(3), hyper(3), only=jax.devices()[:2])
    assert (compiled.num_lanes, compiled.num_places) == (3, 4)
    lanes = compiled.init(keys(3), hyper(3))
    kept = parallel.trim(lanes, 3)
    assert {len(x) for x in jax.tree.leaves(kept)} == {3} and len(lanes.failed_at) == 4
    assert jnp.array_equal(kept.train_state.key, lanes.train_state.key[:3])
    again = compiled.place_lanes(kept)
    assert core.tree_sha256(again) == core.tree_sha256(lanes)
    assert again.train_state.step.sharding.is_equivalent_to(lanes.train_state.step.sharding, 1)
    assert_same_bits(play(2, 3, strategy="map"), play(1, 3, strategy="map"))


def test_vmapped_lanes_keep_their_bits_where_devices_have_as_many_each():
    """Four lanes on two devices, and the same four on one device in two halves."""
    program = training.lane_program(task_of)
    half = lambda i, tree: jax.tree.map(lambda x: x[2 * i : 2 * i + 2], tree)
    starts = [half(i, (keys(4), hyper(4))) for i in (0, 1)]
    compiled = parallel.distribute(program, *starts[0], strategy="vmap", only=jax.devices()[:1])
    data = compiled.place_data(DATA)
    advance = compiled.compile_advance(compiled.abstract(*starts[0]), data)
    found, _, _ = play(2, 4, strategy="vmap")
    for i, start in enumerate(starts):
        lanes, _, _ = advance(compiled.init(*start), data, 4)
        state = lanes.train_state
        assert_same_bits((state.params, state.state, state.opt_state), half(i, found))


def test_pmap_over_several_steps_with_adam():
    assert_close(
        play(8, 2, 10, devices="pmap", optimizer="adam"), play(1, 2, 10, optimizer="adam"), 2e-5
    )


@pytest.mark.parametrize("devices", ["jit", "pmap"])
def test_gradient_is_that_of_the_mean_loss(devices):
    """The engine on eight devices against `jax.grad` of the mean over the whole batch, written out
    here."""
    critic, generator = losses()
    lane = jax.tree.map(lambda x: x[0], fresh_lanes(1))
    now, batch = lane.train_state, task_of(hyper(1)).draw(DATA, lane.train_state.data_key, 0)
    by = lambda part, loss: jax.grad(
        lambda own: loss({**now.params, part: own}, now.state, batch, jax.random.key(0))[0]
    )(now.params[part])
    expected = {
        "critic": by("critic", critic),
        "generator": jax.tree.map(lambda g: 0.5 * g, by("generator", generator)),
    }
    found, (state, metrics) = gradients(8, 1, "simultaneous", devices=devices)
    assert_close(jax.tree.map(lambda g: g[0], found), expected)
    np.testing.assert_allclose(
        state["critic"]["mean"][0], 0.1 * np.mean(batch["x"], axis=0), rtol=1e-5
    )
    loss = critic(now.params, now.state, batch, None)[0]
    np.testing.assert_allclose(metrics["critic.loss"], [loss], rtol=1e-6)


@pytest.mark.parametrize(
    "devices, num_lanes, parts", [("jit", 1, 8), ("jit", 2, 4), ("pmap", 2, 8)]
)
def test_a_batch_that_cannot_be_shared(devices, num_lanes, parts):
    program = training.lane_program(lambda hyper: task_of(hyper, batch=30))
    compiled = parallel.distribute(program, keys(num_lanes), hyper(num_lanes), devices=devices)
    with pytest.raises(ConfigError) as caught:
        compiled.compile_advance(place(compiled, num_lanes), DATA)
    nearest = {8: "24, 32", 4: "28, 32"}[parts]
    assert f"batch of 30 cannot be shared by {parts} devices" in str(
        caught.value
    ) and nearest in str(caught.value)


@pytest.mark.parametrize(
    "num_devices, sentence",
    [
        (1, "cannot be divided into 4 microbatches; nearest batch sizes that can: 28, 32"),
        (2, "cannot be shared by 2 devices and be divided into 4 microbatches; .*: 24, 32"),
    ],
)
def test_a_batch_that_cannot_be_divided(num_devices, sentence):
    program = training.lane_program(lambda hyper: task_of(hyper, batch=30))
    only = jax.devices()[:num_devices]
    compiled = parallel.distribute(program, keys(1), hyper(1), only=only, microbatches=4)
    with pytest.raises(ConfigError, match=f"a batch of 30 {sentence}"):
        compiled.trace(place(compiled, 1), DATA)


def test_a_batch_without_examples_is_not_divided():
    """Its noise would be drawn twice, for another estimate in as much memory."""
    loss = lambda params, state, batch, key: (params["w"] * batch["step"], Aux(state, {}))
    rule = partial(training.simultaneous, {"p": Player(("w",), loss)}, optax.sgd(1.0))
    draw = lambda data, key, index: {"step": jnp.float32(index)}
    task = Task(lambda key: ({"w": jnp.float32(0)}, {}), draw, rule, lambda *_: {})
    program = training.lane_program(lambda hyper: task)
    compiled = parallel.distribute(program, keys(1), {}, microbatches=2)
    with pytest.raises(ConfigError, match="microbatches=2 .* no array of examples"):
        compiled.trace(compiled.abstract(keys(1), {}), {})


def test_a_batch_need_not_divide_where_it_is_not_shared():
    _, metrics, _ = play(8, 8, 1, batch=30)
    assert metrics["critic.loss"].shape == (8,) and np.isfinite(metrics["critic.loss"]).all()


def test_pmap_refuses_an_objective_that_couples_its_batch():
    program = training.lane_program(lambda hyper: task_of(hyper, coupling="batch normalisation"))
    compiled = parallel.distribute(program, keys(1), hyper(1), devices="pmap")
    with pytest.raises(
        ConfigError, match="pmap.*couples its batch.*batch normalisation.*devices='jit'"
    ):
        compiled.compile_advance(place(compiled, 1), DATA)
    compiled = parallel.distribute(program, keys(1), hyper(1), microbatches=2)
    with pytest.raises(ConfigError, match="microbatches=2.*couples its batch.*microbatches=1"):
        compiled.trace(place(compiled, 1), DATA)
    play(8, 1, 1, devices="jit", coupling="batch normalisation")


@pytest.mark.parametrize("setting", [{"devices": "gpu"}, {"strategy": "vamp"}])
def test_unknown_names(setting):
    program = training.lane_program(task_of)
    with pytest.raises(ConfigError, match="gpu.*jit.*pmap|vamp.*vmap"):
        parallel.distribute(program, keys(2), hyper(2), **setting)


def test_lanes_have_keys_of_their_own():
    program = training.lane_program(task_of)
    lanes = parallel.distribute(program, keys(8), hyper(8)).init(keys(8), hyper(8))
    state = lanes.train_state
    all_keys = np.concatenate(
        [jax.random.key_data(k) for k in (state.key, state.data_key, lanes.eval_key)]
    )
    assert len({tuple(key) for key in all_keys.tolist()}) == 24
    weights = np.asarray(state.params["critic"]["w"])
    assert len({w.tobytes() for w in weights}) == 8


@pytest.mark.parametrize("num_devices", [1, 8])
def test_initial_lanes_are_the_seeds_alone(num_devices):
    """Bit for bit: a lane starts where its key says, however many devices and lanes there are."""
    program = training.lane_program(task_of)
    compiled = parallel.distribute(program, keys(8), hyper(8), only=jax.devices()[:num_devices])
    together = compiled.init(keys(8), hyper(8))
    one = jax.jit(program.init)(keys(8)[5], {"learning_rate": hyper(8)["learning_rate"][5]})
    assert_same_bits(
        jax.tree.map(lambda x: x[5], together.train_state.params), one.train_state.params
    )


@pytest.mark.parametrize("devices", ["jit", "pmap"])
def test_abstract_describes_the_lanes(devices):
    """A checkpoint restored into `abstract` has the shapes, types and places of fresh lanes."""
    program = training.lane_program(task_of)
    compiled = parallel.distribute(program, keys(4), hyper(4), devices=devices)
    lanes, shapes = compiled.init(keys(4), hyper(4)), compiled.abstract(keys(4), hyper(4))
    assert jax.tree.structure(lanes) == jax.tree.structure(shapes)
    for leaf, shape in zip(jax.tree.leaves(lanes), jax.tree.leaves(shapes), strict=True):
        assert (leaf.shape, leaf.dtype) == (shape.shape, shape.dtype)
        assert leaf.sharding.is_equivalent_to(shape.sharding, leaf.ndim)


def test_trace_finds_errors_without_running():
    program = training.lane_program(lambda hyper: task_of(hyper, batch=30))
    compiled = parallel.distribute(program, keys(1), hyper(1))
    with pytest.raises(ConfigError, match="30"):
        compiled.trace(compiled.abstract(keys(1), hyper(1)), DATA)


@pytest.mark.parametrize(
    "num_lanes, num_devices, shape",
    [
        *((8, 8, (8, 1)), (16, 8, (8, 1)), (1, 8, (1, 8)), (4, 8, (4, 2)), (3, 6, (3, 2))),
        *((5, 8, (2, 4)), (7, 8, (8, 1)), (6, 8, (8, 1)), (3, 2, (2, 1)), (9, 8, (4, 2))),
        *((100, 8, (8, 1)), (3, 7, (1, 7))),
    ],
)
def test_mesh_places_lanes_first(num_lanes, num_devices, shape):
    mesh = parallel.make_mesh(num_lanes, jax.devices()[:num_devices])
    assert mesh.axis_names == ("seed", "data") and mesh.devices.shape == shape


def test_fold_key_gives_devices_noise_of_their_own():
    """Under pmap each device draws its own noise; on one device the key is untouched, as under
    jit."""
    noises = []

    def loss(params, state, batch, key):
        noise = jax.random.normal(key, batch["x"].shape[:1])
        return jnp.mean(params["w"] * noise * batch["mask"]), Aux(state, {})

    def task(hyper):
        algorithm = partial(
            training.simultaneous, {"p": Player(("w",), loss)}, {"p": optax.sgd(1.0)}
        )
        draw = lambda data, key, index: {"x": jnp.zeros((8, 1)), "mask": data}
        return Task(lambda key: ({"w": jnp.float32(0.0)}, {}), draw, algorithm, lambda *_: {})

    program = training.lane_program(task)
    for device in range(8):
        mask = jnp.zeros(8).at[device].set(8.0)
        compiled = parallel.distribute(program, keys(1), {}, devices="pmap", strategy="vmap")
        lanes, mask = compiled.init(keys(1), {}), compiled.place_data(mask)
        lanes, *_ = compiled.compile_advance(lanes, mask)(lanes, mask, 1)
        noises.append(float(lanes.train_state.params["w"][0]))
    assert len(set(noises)) == 8 and 0.0 not in noises
    alone = []
    for devices in ("jit", "pmap"):
        compiled = parallel.distribute(
            program, keys(1), {}, devices=devices, strategy="map", only=jax.devices()[:1]
        )
        lanes, mask = compiled.init(keys(1), {}), compiled.place_data(jnp.ones(8))
        lanes, *_ = compiled.compile_advance(lanes, mask)(lanes, mask, 3)
        alone.append(float(lanes.train_state.params["w"][0]))
    assert alone[0] == pytest.approx(alone[1], rel=1e-6) and alone[0] != 0
