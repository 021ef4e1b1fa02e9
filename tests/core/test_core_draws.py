"""Draws are those of `jax.random`, bit for bit; the block cipher has its published vectors."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import core
from dgm_jax.core import draws

FUNCTIONS = {
    "bits of 8": lambda key: jax.random.bits(key, (3, 4), jnp.uint8),
    "bits of 16": lambda key: jax.random.bits(key, (1000,), jnp.uint16),
    "bits of 32": lambda key: jax.random.bits(key, (7, 1, 5)),
    "no bits": lambda key: jax.random.bits(key, (0, 3)),
    "one": jax.random.bits,
    "uniform": lambda key: jax.random.uniform(key, (5,)),
    "narrow": lambda key: jax.random.normal(key, (9,), jnp.bfloat16),
    "gumbel": lambda key: jax.random.gumbel(key, (6, 2)),
    "randint": lambda key: jax.random.randint(key, (50,), -3, 11),
    "permutation": lambda key: jax.random.permutation(key, 33),
    "choice": lambda key: jax.random.choice(key, 9, (4,), replace=False),
    "folded": lambda key: jax.random.uniform(jax.random.fold_in(key, 3), (4,)),
    "split": lambda key: jax.vmap(jax.random.normal)(jax.random.split(key, 3)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_quick_key_gives_the_numbers_of_jax(name, transform):
    key = jax.random.key(2**31 + 5)
    function = transform(FUNCTIONS[name])
    chex.assert_trees_all_equal(function(core.quick_key(key)), function(key), strict=True)


def test_a_quick_key_under_vmap_and_scan():
    keys = jax.random.split(jax.random.key(1), 6)
    of_one = lambda key: jax.random.uniform(key, (3, 2))
    quick = lambda key: of_one(core.quick_key(key))
    chex.assert_trees_all_equal(jax.jit(jax.vmap(quick))(keys), jax.vmap(of_one)(keys), strict=True)
    nested = keys.reshape(2, 3)
    chex.assert_trees_all_equal(
        jax.vmap(jax.vmap(quick))(nested), jax.vmap(jax.vmap(of_one))(nested), strict=True
    )
    scanned = jax.lax.scan(lambda total, key: (total, quick(key)), 0.0, keys)[1]
    chex.assert_trees_all_equal(scanned, jax.vmap(of_one)(keys), strict=True)


def test_normal_and_uniform_are_those_of_jax():
    key = jax.random.key(4)
    chex.assert_trees_all_equal(
        core.normal(key, (3, 5)), jax.random.normal(key, (3, 5)), strict=True
    )
    chex.assert_trees_all_equal(
        core.uniform(key, (3, 5)), jax.random.uniform(key, (3, 5)), strict=True
    )
    ours = core.uniform(key, (8,), jnp.float16, -2.0, 3.0)
    chex.assert_trees_all_equal(
        ours, jax.random.uniform(key, (8,), jnp.float16, -2.0, 3.0), strict=True
    )
    raw = jax.random.PRNGKey(4)
    chex.assert_trees_all_equal(core.normal(raw, (3,)), jax.random.normal(key, (3,)), strict=True)


def test_keys_that_are_not_of_threefry_stay():
    key = jax.random.key(0, impl="rbg")
    assert core.quick_key(key) is key
    chex.assert_trees_all_equal(core.normal(key, (4,)), jax.random.normal(key, (4,)), strict=True)


def test_the_older_layout_of_bits_is_kept():
    key = jax.random.key(9)
    with jax.threefry_partitionable(False):
        assert core.quick_key(key) is key
        old = core.uniform(key, (5,))
        chex.assert_trees_all_equal(old, jax.random.uniform(key, (5,)), strict=True)
    assert np.any(np.asarray(old) != np.asarray(core.uniform(key, (5,))))


@pytest.mark.parametrize(
    "key, block, expected",
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        (
            (0x13198A2E, 0x03707344),
            (0x243F6A88, 0x85A308D3),
            (0xC4923A9C, 0x483DF7A0),
        ),
    ],
)
def test_threefry_has_the_known_answers_of_random123(key, block, expected):
    words = [jnp.uint32(word) for word in (*key, *block)]
    assert tuple(int(word) for word in draws._threefry(*words)) == expected


def test_rounds_on_cpu_are_no_loop():
    key = jax.random.key(0)
    lowered = jax.jit(lambda key: core.normal(key, (64,))).lower(key).as_text()
    assert "while" not in lowered
    assert "while" in jax.jit(lambda key: jax.random.normal(key, (64,))).lower(key).as_text()


def test_no_key_and_several_keys_are_refused():
    with pytest.raises(core.ConfigError, match="key must be one key"):
        core.quick_key(jax.random.split(jax.random.key(0), 3))
    with pytest.raises(core.ConfigError, match="key must be one key"):
        core.normal(3, (2,))
