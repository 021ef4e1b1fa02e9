"""Memory estimates against sizes by hand, the compiler's count, and limits that are made up."""

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest

from dgm_jax.core import ConfigError
from dgm_jax.run import memory
from dgm_jax.run.memory import Estimate, Memory

LANES = {"w": jnp.zeros((4, 100, 10)), "step": jnp.zeros(4, jnp.int32)}
DATA = {"x": np.zeros((50, 10), np.uint8)}


def program(lanes, data):
    """One array of [4, 50, 100] float32 and a sum of it."""
    hidden = jnp.einsum("lhd,nd->lnh", lanes["w"], data["x"].astype(jnp.float32))
    return jnp.sum(jnp.sort(jnp.tanh(hidden), axis=-1), axis=(1, 2))


def test_bytes_of_trees():
    assert memory.tree_bytes(LANES) == 4 * 4 * 1000 + 4 * 4
    assert memory.tree_bytes(DATA) == 500
    assert memory.tree_bytes(jax.eval_shape(lambda: LANES)) == 4 * 4 * 1000 + 4 * 4


def test_a_sharded_leaf_counts_one_shard():
    mesh = jax.make_mesh((len(jax.devices()),), ("seed",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("seed"))
    leaf = jax.ShapeDtypeStruct((8 * len(jax.devices()), 3), jnp.float32, sharding=sharding)
    assert memory.tree_bytes(leaf) == 8 * 3 * 4


def test_the_estimate_is_what_the_compiler_counts():
    compiled = jax.jit(program).lower(LANES, DATA).compile()
    counted = compiled.memory_analysis()
    estimate = memory.estimated(LANES, DATA, {"it": compiled})
    assert estimate.working["it"] == counted.temp_size_in_bytes + counted.output_size_in_bytes
    assert estimate.peak == 16_016 + 500 + estimate.working["it"]
    assert estimate.working["it"] >= 4 * 50 * 100 * 4  # what is sorted must stand in memory


def test_a_traced_program_holds_no_more_than_its_bound():
    def looped(lanes, data):
        return jax.lax.fori_loop(0, 10, lambda i, s: s + program(lanes, data), jnp.zeros(4))

    for function in (
        program,
        looped,
        jax.jit(program),
        jax.vmap(program, (None, None), axis_size=3),
    ):
        traced = jax.make_jaxpr(function)(LANES, DATA)
        bound = memory.bounded(LANES, DATA, {"it": traced})
        compiled = jax.jit(function).lower(LANES, DATA).compile()
        assert bound.peak >= memory.estimated(LANES, DATA, {"it": compiled}).peak


def test_bytes_by_hand_of_a_traced_program():
    traced = jax.make_jaxpr(lambda x: jnp.sin(x) + 1)(jnp.zeros((10, 5)))
    assert memory.traced_bytes(traced) == 2 * 200
    scan = jax.make_jaxpr(
        lambda x: jax.lax.scan(lambda c, _: (jnp.cos(c), c), x, None, length=7)[1]
    )(jnp.zeros(5))
    assert memory.traced_bytes(scan) == 20 + (20 + 7 * 20)  # the body, the carry and the stack


def test_the_peak_is_that_of_one_program_at_a_time():
    estimate = Estimate(100, 20, {"training": 30, "evaluation": 50})
    assert estimate.peak == 170
    assert (
        estimate.described()
        == "0.17 kB (the state of the lanes 0.1 kB, evaluation 0.05 kB, data 0.02 kB)"
    )


def test_what_cannot_fit_is_refused_with_what_would(monkeypatch):
    taken = psutil.Process().memory_info().rss
    monkeypatch.setattr(
        memory, "memory_of", lambda device: Memory(taken * 2 + 10**9, "the machine")
    )
    there = taken + 10**9
    fits = Estimate(there // 4, there // 4, {"evaluation": there // 4})
    memory.require_fits(fits, 10, jax.devices()[:1])
    too_much = Estimate(3 * there, 0, {"evaluation": there})
    with pytest.raises(ConfigError) as error:
        memory.require_fits(too_much, 400, jax.devices()[:1])
    said = str(error.value)
    assert "the state of the lanes" in said and "the machine has" in said
    number = int(said.split("about ")[2].split(" of 400 lanes")[0])
    assert abs(number - 100) <= 15  # a quarter of it fits, but for what the process grows meanwhile
    with pytest.raises(ConfigError, match="not one lane would fit"):
        memory.require_fits(Estimate(0, 2 * there, {}), 1, jax.devices()[:1])


def test_the_limit_is_the_least_of_machine_and_control_group(monkeypatch, tmp_path):
    assert memory.memory_of(jax.devices()[0]).num_bytes <= psutil.virtual_memory().total
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_GROUP_LIMITS", (str(limit),))
    for text, owner in (("max\n", "the machine"), ("1000000\n", "the control group")):
        limit.write_text(text)
        assert memory.memory_of(jax.devices()[0]).owner == owner
    assert memory.memory_of(jax.devices()[0]).num_bytes == 1_000_000


@pytest.mark.parametrize(
    "num_bytes, text", [(500, "0.5 kB"), (2.5e6, "2.5 MB"), (1.234e9, "1.23 GB"), (8e12, "8 TB")]
)
def test_units(num_bytes, text):
    assert memory.in_units(num_bytes) == text
