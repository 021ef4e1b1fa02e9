"""Batches that are sent from the host are those that the task's own draw gathers on the device."""

import functools
import os
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import data, parallel, training
from dgm_jax.core import Aux, ConfigError, DataError, Fed, Gather, Player, Stream, Task, draw_from
from dgm_jax.parallel.feeding import abstract_examples
from dgm_jax.training import feeding
from dgm_jax.training.feeding import Feed, blocks_of, refusal
from dgm_jax.training.rows import Rows

NUM, SHAPE, BATCH, LANES = 23, (3, 2), 4, 4
IMAGES = np.random.default_rng(0).integers(0, 256, (NUM, *SHAPE), dtype=np.uint8)
ARRAYS = {"train": {"image": IMAGES, "label": np.arange(NUM, dtype=np.int32)}, "shift": np.ones(2)}
KEYS = jax.random.split(jax.random.key(7), LANES)
HYPER = {"rate": jnp.linspace(0.1, 0.4, LANES)}


def images(num_updates=1):
    """w follows noisy means of batches, `num_updates` + 1 batches a step."""
    gather = Gather(
        lambda key, index: data.shuffled_positions(key, index, BATCH, NUM),
        lambda arrays, where, key, index: {k: jnp.asarray(x)[where] for k, x in arrays.items()},
    )

    def with_noise(batch, key, index):
        noise = jax.random.normal(jax.random.fold_in(key, index), SHAPE)
        return {"x": batch["image"] / 255 + noise, "label": batch["label"]}

    def loss(params, state, batch, key):
        value = jnp.mean((params["p"]["w"] + params["q"]["w"] - batch["x"]) ** 2)
        return value, Aux(state, {"label": jnp.mean(batch["label"].astype(jnp.float32))})

    def task(hyper):
        players = {"a": Player(("p",), loss, num_updates), "b": Player(("q",), loss)}
        rule = functools.partial(training.alternating, players, optax.adam(hyper["rate"]))
        draw = draw_from(gather, "train", with_noise)
        start = {part: {"w": jnp.zeros(SHAPE)} for part in "pq"}
        return Task(lambda key: (start, {}), draw, rule, lambda *_: {})

    return task


def bits(tree):
    plain = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return jax.tree.map(np.asarray, jax.tree.map(plain, tree))


def trained(monkeypatch, block_bytes, chunks, *, resident=False, mapped=None, **layout):
    """Lanes and metrics after these chunks."""
    monkeypatch.setattr(feeding, "BLOCK_BYTES", block_bytes)
    made = parallel.distribute(training.lane_program(images(2)), KEYS, HYPER, **layout)
    lanes = made.init(KEYS, HYPER)
    if resident:
        arrays = made.place_data(ARRAYS)
        advance, metrics = made.compile_advance(lanes, arrays), []
        for size in chunks:
            lanes, _, means = advance(lanes, arrays, size)
            metrics.append(bits(means))
        return bits(lanes), metrics
    stream = made.stream({"rate": HYPER["rate"][0]})
    examples = dict(ARRAYS["train"], image=IMAGES if mapped is None else mapped)
    blocks = blocks_of(stream, KEYS, examples, sum(chunks))
    num_batches = blocks.num_steps * blocks.num_batches
    shapes = abstract_examples(examples, LANES, num_batches, BATCH, made.examples_sharding)
    program = made.compile_advance(lanes, Fed(shapes, np.int32(0)))
    steps = {"first_step": 0, "last_step": sum(chunks)}
    with Feed(made.stream, lanes, examples, made.examples_sharding, blocks, **steps) as feed:
        advance, metrics = training.in_parts(program, take=feed.take), []
        for size in chunks:
            lanes, means = advance(lanes, None, size)
            metrics.append(bits(means))
    return bits(lanes), metrics


@pytest.mark.optimized
@pytest.mark.parametrize(
    "layout",
    [
        {"strategy": "vmap"},
        {"strategy": "map"},
        {"strategy": "map", "num_devices": 2},
        {"strategy": "vmap", "num_devices": 8},  # two devices share each batch
        {"devices": "pmap", "num_devices": 2},
    ],
    ids=str,
)
def test_fed_steps_have_the_bits_of_resident_data(layout, monkeypatch, tmp_path):
    layout = dict(layout)
    layout["only"] = jax.devices()[: layout.pop("num_devices", 1)]
    np.save(tmp_path / "x.npy", IMAGES)
    mapped = np.asarray(np.load(tmp_path / "x.npy", mmap_mode="r"))
    expected = trained(monkeypatch, 0, [5, 6], resident=True, **layout)
    of_step = LANES * 3 * BATCH * (6 + 4)
    for block_bytes in (of_step, 4 * of_step):  # blocks of one step, and across chunks
        found = trained(monkeypatch, block_bytes, [5, 6], mapped=mapped, **layout)
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def feed_of(examples, num_steps=6, **options):
    program = training.lane_program(images())
    lanes = jax.vmap(program.init)(KEYS, HYPER)
    stream = program.stream({"rate": jnp.float32(0.1)})
    blocks = blocks_of(stream, KEYS, examples, num_steps)._replace(num_steps=1)
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    steps = {"first_step": 0, "last_step": num_steps}
    return Feed(program.stream, lanes, examples, place, blocks, **steps, **options), lanes


def feed_threads():
    return [thread for thread in threading.enumerate() if thread.name == "feed"]


def test_blocks_hold_the_examples_that_the_draw_gathers():
    feed, lanes = feed_of(ARRAYS["train"])
    with feed:
        for step in range(6):
            block, size = feed.take(99)
            assert (size, block.first) == (1, 2 * step)
            for lane, key in enumerate(lanes.train_state.data_key):
                for i in range(2):
                    where = data.shuffled_positions(key, jnp.int32(2 * step + i), BATCH, NUM)
                    np.testing.assert_array_equal(block.examples["image"][lane, i], IMAGES[where])
                    np.testing.assert_array_equal(block.examples["label"][lane, i], where)
    assert not feed_threads() and feed.waiting().first_seconds > 0


def test_a_thread_ends_when_nobody_takes_what_it_made():
    feed, _ = feed_of(ARRAYS["train"], 1000)
    with pytest.raises(ZeroDivisionError), feed:
        feed.take(1)
        assert feed_threads()
        raise ZeroDivisionError
    assert not feed_threads()


def test_waiting_hears_what_the_caller_checks(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    go_on = threading.Event()
    monkeypatch.setattr(Rows, "take", lambda self, where: go_on.wait(60))  # a disk that hangs
    feed, _ = feed_of(ARRAYS["train"], check=lambda: (go_on.set(), interrupted()))
    with pytest.raises(KeyboardInterrupt), feed:
        feed.take(1)
    assert not feed_threads()


def cut(path):
    os.truncate(path, 200)


def touched(path):
    os.utime(path, (1, 1))


@pytest.mark.parametrize(
    ("change", "sentence"), [(cut, "x.npy was "), (touched, "x.npy was changed while the run")]
)
def test_a_file_that_changes_ends_the_run_with_a_sentence(change, sentence, tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    mapped = np.asarray(np.load(tmp_path / "x.npy", mmap_mode="r"))
    feed, _ = feed_of({"image": mapped}, 1000)
    with pytest.raises(DataError, match=sentence), feed:
        feed.take(1)
        change(tmp_path / "x.npy")
        for _ in range(1000):
            feed.take(1)
    assert not feed_threads()


def test_rows_are_those_of_the_array(tmp_path):
    values = np.random.default_rng(1).normal(size=(50, 3, 2))
    np.save(tmp_path / "x.npy", values)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    where = np.array([[3, 0, 3], [39, 7, 0]])
    for array in (values, values[5:45], mapped, np.asarray(mapped[5:45]), mapped[:, ::2]):
        rows = Rows(array, "x")
        np.testing.assert_array_equal(rows.take(where), np.asarray(array)[where])
        rows.close()
    rows = Rows(mapped, "x")
    with open(tmp_path / "x.npy", "r+b") as stream:  # between the check and the reading
        rows._now = lambda state=rows._state: state
        stream.truncate(300)
        with pytest.raises(DataError, match="x: .*x.npy was cut to"):
            rows.take(where)
    rows.close()


@pytest.mark.parametrize(
    ("stream", "arrays", "reason"),
    [
        (None, {}, "made on the device"),
        (Stream(lambda *_: {}, 1), {}, "made on the device"),
        (Stream(Gather(lambda *_: 0, lambda *_: 0), None), {}, "how many batches a step draws"),
        (Stream(Gather(lambda *_: 0, lambda *_: 0), 1), ARRAYS, "not all of one length"),
        (Stream(Gather(lambda *_: 0, lambda *_: 0, ("train",)), 1), ARRAYS, ""),
    ],
)
def test_what_cannot_be_fed_says_why(stream, arrays, reason):
    found = refusal(stream, arrays)
    assert found == reason == "" or (reason and reason in found)


def test_positions_must_be_one_integer_an_example():
    two = Gather(lambda key, index: jnp.zeros((3, 2), jnp.int32), lambda *_: 0)
    with pytest.raises(ConfigError, match="one integer for each example"):
        blocks_of(Stream(two, 1), KEYS, {"image": IMAGES}, 5)


@pytest.mark.parametrize(("num_updates", "num_batches"), [(1, 2), (5, 6)])
def test_an_algorithm_says_how_many_batches_a_step_draws(num_updates, num_batches):
    program = training.lane_program(images(num_updates))
    assert program.stream({"rate": jnp.float32(0.1)}).num_batches == num_batches
