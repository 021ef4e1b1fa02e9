"""A chunk in parts has the bits of the whole, and is cut by the time that a step takes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import parallel, training
from dgm_jax.core import Aux, Player, Task

pytestmark = pytest.mark.optimized


def loss(params, state, batch, key):
    """Noise in every step, so that no two steps have the same metrics."""
    w = params["p"]["w"]
    value = jnp.mean((w - batch) ** 2) + jnp.where(jnp.any(batch > 3.2), jnp.nan, 0.0)
    return value, Aux({"seen": state["seen"] + 1}, {"mean": jnp.mean(batch)})


def task(hyper):
    return Task(
        init=lambda key: ({"p": {"w": jax.random.normal(key, (3,))}}, {"seen": jnp.int32(0)}),
        draw=lambda data, key, index: (
            data + jax.random.normal(jax.random.fold_in(key, index), (3,))
        ),
        algorithm=functools.partial(
            training.alternating, {"p": Player(("p",), loss)}, {"p": optax.adam(hyper["rate"])}
        ),
        evaluate=lambda train_state, data, key: {},
    )


KEYS = jax.random.split(jax.random.key(1), 4)
HYPER = {"rate": jnp.array([0.1, 0.2, 0.3, 0.4])}


@functools.cache
def program(strategy="vmap", devices="jit", num_devices=1):
    """(fresh lanes, the program of any number of steps)."""
    made = parallel.distribute(
        training.lane_program(task),
        KEYS,
        HYPER,
        strategy=strategy,
        devices=devices,
        only=jax.devices()[:num_devices],
    )
    fresh = lambda: made.init(KEYS, HYPER)
    return fresh, made.compile_advance(fresh(), jnp.float32(0.5))


def play(cuts, **layout):
    """(lanes, metrics) on the host after a chunk that is cut so."""
    fresh, advance = program(**layout)
    lanes, sums = fresh(), None
    for i, size in enumerate(cuts, 1):
        lanes, sums, metrics = advance(lanes, jnp.float32(0.5), size, sums, i == len(cuts))
    return bits((lanes, metrics))


def bits(tree):
    """Arrays on the host; keys as their numbers."""
    plain = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return jax.device_get(jax.tree.map(plain, tree))


LAYOUTS = [
    {"strategy": "vmap"},
    {"strategy": "map"},
    {"strategy": "map", "num_devices": 4},
    {"devices": "pmap", "num_devices": 1},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_parts_of_a_chunk_have_the_bits_of_the_whole(layout):
    whole, metrics = play([60], **layout)
    assert -1 in whole.failed_at and (whole.failed_at > 0).any()  # one fails on the way
    for cuts in ([1, 59], [7, 20, 33], [1] * 60):
        lanes, its_metrics = play(cuts, **layout)
        for a, b in zip(
            jax.tree.leaves((whole, metrics)), jax.tree.leaves((lanes, its_metrics)), strict=True
        ):
            np.testing.assert_array_equal(a, b, err_msg=str(cuts))


def test_metrics_are_means_over_the_chunk_and_not_over_its_last_part():
    """Of three steps, logged one by one as chunks of their own."""
    fresh, advance = program()
    lanes, each = fresh(), []
    for _ in range(3):
        lanes, _, metrics = advance(lanes, jnp.float32(0.5), 1)
        each.append(np.asarray(metrics["p.mean"]))
    assert len(np.unique(each)) == 3 * len(KEYS)
    np.testing.assert_allclose(play([2, 1])[1]["p.mean"], np.mean(each, axis=0), rtol=1e-6)


class Slow:
    """A program whose steps take so many seconds each, by a clock of its own."""

    def __init__(self, seconds):
        self.seconds, self.now, self.sizes, self.ends = seconds, 0.0, [], []

    def __call__(self, lanes, data, num_steps, sums, last):
        self.now += self.seconds * num_steps
        self.sizes.append(num_steps)
        self.ends.append(last)
        return lanes + num_steps, (sums or 0) + num_steps, {"steps": (sums or 0) + num_steps}

    def clock(self):
        return self.now


@pytest.mark.parametrize("seconds", [1e-4, 0.03, 0.9, 7.0])
def test_no_part_takes_longer_than_it_should(seconds):
    slow, asked = Slow(seconds), []
    advance = training.in_parts(slow, seconds=2.0, clock=slow.clock, between=asked.append)
    lanes, metrics = advance(0, None, 1000)
    assert lanes == metrics["steps"] == sum(slow.sizes) == 1000
    assert slow.sizes[0] == 1
    assert all(size == 1 or size * seconds <= 2.0 for size in slow.sizes)
    assert slow.ends == [False] * (len(slow.sizes) - 1) + [True]
    assert asked == list(np.cumsum(slow.sizes)[:-1])  # between parts, not after the last
    # The rate is known in the next chunk: only as many parts as the time asks for.
    before = len(slow.sizes)
    advance(0, None, 1000)
    assert len(slow.sizes) - before <= int(np.ceil(1000 / max(1, int(2.0 / seconds))))


def test_what_is_raised_between_parts_ends_the_chunk():
    slow = Slow(1.0)

    def stop(made):
        if made >= 5:
            raise KeyboardInterrupt

    advance = training.in_parts(slow, clock=slow.clock, between=stop)
    with pytest.raises(KeyboardInterrupt):
        advance(0, None, 100)
    assert sum(slow.sizes) == 5
