"""Batches: each epoch visits each example once, whatever the sizes, and nothing but (key, index)
decides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies
from scipy import stats

from dgm_jax import data
from dgm_jax.core import ConfigError
from dgm_jax.data import streams


def image_set(n, **choices):
    """n images of 2 x 3 pixels whose first two pixels spell the label."""
    images = np.zeros((n, 2, 3, 1), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0], images[:, 1] = (
        np.arange(n) % 256,
        np.arange(n) // 256,
        128,
    )
    part = {"image": images, "label": np.arange(n, dtype=np.int32)}
    choices = {"binarization": "none", "dequantization": "none", "scaling": "unit"} | choices
    info = data.DatasetInfo(
        name="counting",
        kind="images",
        shape=(2, 3, 1),
        num_classes=n,
        class_names=(),
        num_train=n,
        num_test=n,
        pixels="",
        source="",
        sha256="",
        **choices,
    )
    return data.Dataset(part, part, info)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 100, 257, 1797])
def test_permutation_is_a_bijection_that_depends_on_the_key(n):
    permute = jax.jit(jax.vmap(lambda key: data.shuffled_positions(key, 0, n, n)))
    orders = np.asarray(permute(jax.random.split(jax.random.key(0), 20)))
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
    if n >= 64:
        assert len({order.tobytes() for order in orders}) == 20


def test_all_permutations_of_four_are_equally_likely():
    permute = jax.jit(jax.vmap(lambda key: data.shuffled_positions(key, 0, 4, 4)))
    orders = np.asarray(permute(jax.random.split(jax.random.key(5), 24 * 400)))
    _, counts = np.unique(orders @ 4 ** np.arange(4), return_counts=True)
    assert len(counts) == 24 and stats.chisquare(counts).pvalue > 1e-3


def test_permutation_looks_random():
    """Steps between neighbours, fixed points, ascents and the balance of a first batch, over 2,000
    epochs of a key.

    With 8 rounds instead of 32 it fails.
    """
    n, keys = 500, 2000
    key = jax.random.key(2)
    permute = jax.jit(jax.vmap(lambda epoch: data.shuffled_positions(key, epoch, n, n)))
    orders = np.asarray(permute(jnp.arange(keys)))
    steps = (np.diff(orders, axis=1) % n).ravel()
    assert stats.chisquare(np.bincount(steps, minlength=n)[1:]).pvalue > 1e-3
    fixed = np.sum(orders == np.arange(n), axis=1)  # Poisson(1) up to 1 / n!
    assert abs(fixed.mean() - 1) < 4 / np.sqrt(keys) and abs(fixed.var() - 1) < 4 * np.sqrt(
        3 / keys
    )
    ascents = np.sum(np.diff(orders, axis=1) > 0, axis=1)  # mean (n - 1) / 2, variance (n + 1) / 12
    assert abs(ascents.mean() - (n - 1) / 2) < 4 * np.sqrt((n + 1) / 12 / keys)
    half = np.sum(orders[:, :50] < n // 2, axis=1)  # hypergeometric
    law = stats.hypergeom(n, n // 2, 50)
    assert abs(half.mean() - 25) < 4 * law.std() / np.sqrt(keys)
    assert abs(half.var() / law.var() - 1) < 4 * np.sqrt(2 / keys)


@settings(max_examples=150, deadline=None)
@given(
    index=strategies.integers(0, 2**31 - 1),
    n=strategies.integers(1, 2**30),
    share=strategies.floats(0, 1),
)
def test_epoch_arithmetic_does_not_overflow(index, n, share):
    batch_size = max(1, int(share * n))
    epoch, offset = streams.epoch_and_offset(jnp.int32(index), batch_size, n)
    assert (int(epoch), int(offset)) == divmod(index * batch_size, n)


@pytest.mark.parametrize(
    ("n", "batch_size"), [(1, 1), (5, 5), (7, 3), (12, 4), (30, 29), (301, 64)]
)
def test_every_epoch_visits_every_example_once(n, batch_size):
    epochs, key = 3, jax.random.key(3)
    num_batches = -(-((epochs + 1) * n) // batch_size)

    @jax.jit
    def positions(first):
        return jax.vmap(lambda i: data.shuffled_positions(key, i, batch_size, n))(
            first + jnp.arange(num_batches)
        )

    for start_epoch in (0, 1000):
        # this batch begins in the epoch before, or exactly at the border
        first = start_epoch * n // batch_size
        skip = start_epoch * n - first * batch_size
        orders = np.asarray(positions(first)).ravel()[skip : skip + epochs * n].reshape(epochs, n)
        for order in orders:
            np.testing.assert_array_equal(np.sort(order), np.arange(n))
        if n > 12:
            assert len({order.tobytes() for order in orders}) == epochs


def test_pixels_stay_with_their_labels_and_jit_changes_nothing(monkeypatch):
    monkeypatch.setattr(streams, "NUM_ROUNDS", 3)  # without jit each operation compiles on its own
    dataset = image_set(300)
    draw, arrays, key = data.draws(dataset, 16), data.arrays(dataset), jax.random.key(1)
    compiled = jax.jit(draw)(arrays, key, jnp.int32(40))
    with jax.disable_jit():
        plain = draw(arrays, key, 40)
    for name in plain:
        np.testing.assert_array_equal(plain[name], compiled[name])
    assert (
        plain["x"].shape == (16, 2, 3, 1)
        and plain["x"].dtype == jnp.float32
        and plain["label"].dtype == jnp.int32
    )
    pixels = np.round(np.asarray(plain["x"]) * 255).astype(int)
    np.testing.assert_array_equal(pixels[:, 0, 0, 0] + 256 * pixels[:, 0, 1, 0], plain["label"])


def test_a_vmapped_seed_draws_what_it_draws_alone():
    dataset = image_set(50, binarization="dynamic")
    draw, arrays, keys = (
        data.draws(dataset, 8),
        data.arrays(dataset),
        jax.random.split(jax.random.key(1), 3),
    )
    together = jax.jit(jax.vmap(draw, in_axes=(None, 0, None)))(arrays, keys, jnp.int32(11))
    single = jax.jit(draw)
    for lane in range(3):
        alone = single(arrays, keys[lane], jnp.int32(11))
        for name in alone:
            np.testing.assert_array_equal(together[name][lane], alone[name])
    assert not np.array_equal(together["label"][0], together["label"][1])


@pytest.mark.parametrize(
    ("choices", "same"),
    [
        ({}, True),
        ({"binarization": "static"}, True),
        ({"binarization": "dynamic"}, False),
        ({"dequantization": "uniform"}, False),
    ],
)
def test_noise_is_fresh_for_each_batch_and_repeats_with_its_index(choices, same):
    dataset = image_set(4, **choices)
    draw, arrays, key = jax.jit(data.draws(dataset, 4)), data.arrays(dataset), jax.random.key(2)
    first, again, later = draw(arrays, key, 5), draw(arrays, key, 5), draw(arrays, key, 6)
    np.testing.assert_array_equal(first["x"], again["x"])
    in_order = [np.asarray(b["x"])[np.argsort(b["label"])] for b in (first, later)]
    assert np.array_equal(*in_order) == same


def small_ring():
    return data.load("ring", num_train=200, num_test=50)


def test_densities_give_fresh_points():
    dataset, key = small_ring(), jax.random.key(0)
    draw = jax.jit(data.draws(dataset, 300))  # more than is stored: fresh samples know no limit
    first, again, later = (draw(data.arrays(dataset), key, i) for i in (0, 0, 1))
    assert first["x"].shape == (300, 2) and set(first) == {"x"}
    np.testing.assert_array_equal(first["x"], again["x"])
    assert not np.array_equal(first["x"], later["x"])
    assert not np.isin(np.asarray(first["x"]), dataset.train["x"]).any()


def test_densities_give_a_fixed_set_on_request():
    dataset, key = small_ring(), jax.random.key(0)
    fixed = jax.jit(data.draws(dataset, 50, fresh=False))
    epoch = np.concatenate([fixed(data.arrays(dataset), key, i)["x"] for i in range(4)])
    np.testing.assert_array_equal(np.sort(epoch, axis=0), np.sort(dataset.train["x"], axis=0))
    assert data.arrays(dataset, "test")["x"].shape == (50, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: data.draws(image_set(10), 11),
            "batch_size 11 is larger than the 10 examples of the train split",
        ),
        (lambda: data.draws(image_set(10), 0), "positive integer"),
        (lambda: data.draws(image_set(10), 4, split="valid"), "split is 'train' or 'test'"),
        (
            lambda: data.draws(small_ring(), 60, split="test", fresh=False),
            "60 .* 50 examples of the test",
        ),
        (lambda: data.draws(small_ring(), 0), "positive"),
        (lambda: data.shuffled_positions(jax.random.key(0), 0, 1, 2**30 + 1), "at most 2\\^30"),
    ],
)
def test_impossible_streams_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
