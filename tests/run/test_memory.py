"""Sizes of trees by hand, and runs that cannot fit into a memory that is made up."""

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest

from dgm_jax.core import ConfigError, Lane
from dgm_jax.run import memory
from dgm_jax.run.memory import Memory

LANES = {"w": jnp.zeros((4, 100, 10)), "step": jnp.zeros(4, jnp.int32)}
DATA = {"x": np.zeros((50, 10), np.uint8)}


def test_bytes_of_trees():
    assert memory.tree_bytes(LANES) == 4 * 4 * 1000 + 4 * 4
    assert memory.tree_bytes(DATA) == 500
    assert memory.tree_bytes(jax.eval_shape(lambda: LANES)) == 4 * 4 * 1000 + 4 * 4


def test_a_sharded_leaf_counts_one_shard():
    mesh = jax.make_mesh((len(jax.devices()),), ("seed",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("seed"))
    leaf = jax.ShapeDtypeStruct((8 * len(jax.devices()), 3), jnp.float32, sharding=sharding)
    assert memory.tree_bytes(leaf) == 8 * 3 * 4


def test_what_cannot_fit_is_refused_with_what_would(monkeypatch):
    taken = psutil.Process().memory_info().rss
    machine = Memory(2 * taken + 10**9, "the machine")
    monkeypatch.setattr(memory, "memory_of", lambda device: machine)
    free = taken + 10**9
    lanes = lambda num_bytes: Lane(
        train_state={"w": jax.ShapeDtypeStruct((400, num_bytes // 400), np.uint8)},
        failed_at=jax.ShapeDtypeStruct((400,), np.int32),
        eval_key=None,
        hyper={},
    )
    device = jax.devices()[:1]
    memory.require_fits(lanes(free // 2), DATA, device)
    with pytest.raises(ConfigError) as error:
        memory.require_fits(lanes(4 * free), DATA, device)
    said = str(error.value)
    assert "the state of its 400 lanes" in said and "the machine has" in said
    number = int(said.split("at most ")[1].split(" lanes")[0])
    assert 85 <= number <= 100  # a quarter of it fits, but for what the process grows meanwhile
    two = memory_error(lanes(4 * free), [*device, *device])
    assert int(two.split("at most ")[1].split(" lanes")[0]) == pytest.approx(number / 2, abs=8)
    assert "at most 0 lanes" in memory_error(lanes(4 * free), device, {"x": lanes(2 * free)})


def memory_error(lanes, devices, data=DATA):
    with pytest.raises(ConfigError) as error:
        memory.require_fits(lanes, data, devices)
    return str(error.value)


def test_the_limit_is_the_least_of_machine_and_control_group(monkeypatch, tmp_path):
    assert memory.memory_of(jax.devices()[0]).num_bytes <= psutil.virtual_memory().total
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_GROUP_LIMITS", (str(limit),))
    for text, owner in (("max\n", "the machine"), ("1000000\n", "the control group")):
        limit.write_text(text)
        assert memory.memory_of(jax.devices()[0]).owner == owner
    assert memory.memory_of(jax.devices()[0]).num_bytes == 1_000_000


def test_what_is_held_grows_with_an_array():
    before = memory.in_use(jax.devices())
    array = jax.block_until_ready(jax.numpy.ones(10_000_000))
    assert memory.in_use(jax.devices()) - before > 0.5 * array.nbytes


def test_a_device_says_what_it_holds():
    class Device:
        platform = "gpu"

        def __init__(self, held):
            self.held = held

        def memory_stats(self):
            return self.held

    assert memory.in_use([Device({"bytes_in_use": 5}), Device({"bytes_in_use": 7})]) == 7
    assert memory.in_use([Device(None)]) is None
