"""Optimizers by name against optax's own, clipping and warm-up against optax's, or by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import training
from dgm_jax.core import ConfigError

RATE = 0.1
DECAY = 0.2
W = {"a": jnp.array([0.5, -2.0, 3.0]), "b": jnp.array(-1.0)}
# Of optax: the optimizer with its defaults, with b1 = .6 or b2 = .7, and with weight decay if it
# has that.
OPTAX = {
    "sgd": (optax.sgd(RATE), {}, None),
    "momentum": (
        optax.sgd(RATE, momentum=0.9),
        {"b1": optax.sgd(RATE, momentum=0.6)},
        None,
    ),
    "rmsprop": (optax.rmsprop(RATE), {"b2": optax.rmsprop(RATE, decay=0.7)}, None),
    "adam": (
        optax.adam(RATE),
        {"b1": optax.adam(RATE, b1=0.6), "b2": optax.adam(RATE, b2=0.7)},
        optax.adamw(RATE, weight_decay=DECAY),
    ),
    "adamw": (
        optax.adam(RATE),
        {"b1": optax.adam(RATE, b1=0.6), "b2": optax.adam(RATE, b2=0.7)},
        optax.adamw(RATE, weight_decay=DECAY),
    ),
    "nadam": (
        optax.nadam(RATE),
        {"b1": optax.nadam(RATE, b1=0.6), "b2": optax.nadam(RATE, b2=0.7)},
        optax.nadamw(RATE, weight_decay=DECAY),
    ),
    "adabelief": (
        optax.adabelief(RATE),
        {"b1": optax.adabelief(RATE, b1=0.6), "b2": optax.adabelief(RATE, b2=0.7)},
        None,
    ),
    "lion": (
        optax.lion(RATE, weight_decay=0.0),
        {
            "b1": optax.lion(RATE, b1=0.6, weight_decay=0.0),
            "b2": optax.lion(RATE, b2=0.7, weight_decay=0.0),
        },
        optax.lion(RATE, weight_decay=DECAY),
    ),
}


def trained(optimizer, num_steps=4):
    """Parameters after steps on (w - 1)^4, whose gradients differ in size."""
    w = W
    state = optimizer.init(w)
    for _ in range(num_steps):
        gradient = jax.tree.map(lambda x: 4 * (x - 1) ** 3, w)
        updates, state = optimizer.update(gradient, state, w)
        w = optax.apply_updates(w, updates)
    return w


def assert_same(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, trained(ours), trained(theirs))


def test_every_optimizer_is_compared():
    assert OPTAX.keys() == training.OPTIMIZERS.keys()


@pytest.mark.parametrize("name", OPTAX)
def test_steps_are_those_of_optax(name):
    plain, changed, decayed = OPTAX[name]
    assert_same(training.optimizer(name, RATE), plain)
    for decay, theirs in changed.items():
        value = {"b1": 0.6, "b2": 0.7}[decay]
        assert_same(training.optimizer(name, RATE, **{decay: value}), theirs)
    if decayed is not None:
        assert_same(training.optimizer(name, RATE, weight_decay=DECAY), decayed)


@pytest.mark.parametrize("name", ["sgd", "momentum", "rmsprop", "adabelief"])
def test_weight_decay_is_decoupled(name):
    """The first update by hand: that of no decay, less rate x decay x w."""
    state_of = lambda optimizer: optimizer.init(W)
    gradient = jax.tree.map(lambda x: x + 1, W)
    plain = training.optimizer(name, RATE)
    decayed = training.optimizer(name, RATE, weight_decay=DECAY)
    before, _ = plain.update(gradient, state_of(plain), W)
    after, _ = decayed.update(gradient, state_of(decayed), W)
    expected = jax.tree.map(lambda u, w: u - RATE * DECAY * w, before, W)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), after, expected)


@pytest.mark.parametrize("limit", [0.5, 3.0, 1e6])
def test_clipping_is_that_of_optax(limit):
    theirs = optax.chain(optax.clip_by_global_norm(limit), optax.sgd(RATE))
    ours = training.optimizer("sgd", RATE, clip_norm=limit)
    found, expected = trained(ours), trained(theirs)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), found, expected)


def test_traced_zeros_are_none():
    """Lanes of a sweep: without limit and decay, and with them."""

    def end(limit, decay):
        return trained(training.optimizer("adam", RATE, clip_norm=limit, weight_decay=decay))

    found = jax.vmap(end)(jnp.array([0.0, 0.5]), jnp.array([0.0, DECAY]))
    for lane, (limit, decay) in enumerate([(0.0, 0.0), (0.5, DECAY)]):
        jax.tree.map(
            lambda x, y, lane=lane: np.testing.assert_allclose(x[lane], y, rtol=1e-5),
            found,
            end(limit, decay),
        )


@pytest.mark.parametrize("size", [0.0, 1e-3, 10.0])
def test_an_update_has_a_derivative(size):
    """Of a game whose players look through it; by differences where there is a slope."""
    optimizer = training.optimizer("sgd", 1.0, clip_norm=jnp.float32(1.0))

    def moved(scale):
        g = {"x": scale * jnp.array([0.6, 0.8])}
        return optimizer.update(g, optimizer.init(g), g)[0]["x"]

    # Along g, a longer gradient than the limit stays as long as the limit.
    slope = [0.0, 0.0] if size > 1 else [-0.6, -0.8]
    np.testing.assert_allclose(jax.jacfwd(moved)(size), slope, atol=1e-6)


def test_half_precision_stays():
    g = {"x": jnp.full(4, 300.0, jnp.float16)}  # whose squares overflow
    optimizer = training.optimizer("sgd", 1.0, clip_norm=2.0)
    found = optimizer.update(g, optimizer.init(g), g)[0]["x"]
    assert found.dtype == jnp.float16
    np.testing.assert_allclose(found, -1.0, rtol=1e-3)


@pytest.mark.parametrize(
    ("make", "theirs"),
    [
        ({"b1": 0.5}, optax.adam(RATE, 0.5)),
        ({"weight_decay": 0.0, "clip_norm": 0.0}, optax.adam(RATE)),
    ],
)
def test_without_decay_and_limit_the_state_is_that_of_optax(make, theirs):
    """Checkpoints of earlier runs have this tree."""
    ours = training.optimizer("adam", RATE, **make)
    assert jax.tree.structure(ours.init(W)) == jax.tree.structure(theirs.init(W))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adm", {}, "unknown optimizer 'adm'.*did you mean 'adam'"),
        ("sgd", {"b1": 0.9}, "sgd keeps no mean of gradients: leave out b1"),
        ("momentum", {"b2": 0.9}, "momentum keeps no mean of squared gradients: leave out b2"),
    ],
)
def test_what_an_optimizer_lacks_is_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        training.optimizer(name, RATE, **options)


def test_warm_up_is_that_of_optax():
    ours = training.learning_rate("cosine", 0.2, 10, warmup_steps=4)
    theirs = optax.warmup_cosine_decay_schedule(0.0, 0.2, 4, 10)
    steps = jnp.arange(12)
    np.testing.assert_allclose(jax.vmap(ours)(steps), jax.vmap(theirs)(steps), atol=1e-7)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [0.0, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2]),
        ("linear", [0.0, 0.1, 0.2, 0.15, 0.1, 0.05, 0.0]),
    ],
)
def test_the_rate_rises_to_the_peak(name, expected):
    schedule = training.learning_rate(name, 0.2, 6, warmup_steps=2)
    np.testing.assert_allclose([schedule(t) for t in range(7)], expected, atol=1e-7)


@pytest.mark.parametrize("steps", [-1, 10])
def test_a_warm_up_is_shorter_than_the_schedule(steps):
    with pytest.raises(ConfigError, match=rf"warmup_steps .* less than 10.*got {steps}"):
        training.learning_rate("cosine", 0.2, 10, warmup_steps=steps)
