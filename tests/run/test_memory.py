"""Sizes of trees by hand, and runs that cannot fit into a memory that is made up."""

import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest
from tiny_game import Tiny, build, run, tiny

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
    free = 10**9
    machine = Memory(free + 10**8, "the machine")
    monkeypatch.setattr(memory, "memory_of", lambda device: machine)
    monkeypatch.setattr(memory, "taken_of", lambda device: 10**8)
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
    assert number == 99  # a quarter of it, less the data and what says where a lane failed
    two = memory_error(lanes(4 * free), [*device, *device])
    assert int(two.split("at most ")[1].split(" lanes")[0]) == 49
    assert "not one lane would fit" in memory_error(lanes(4 * free), device, {"x": lanes(2 * free)})


def test_seeds_beyond_all_memory_are_refused_before_their_keys_are_made(tmp_path, capfd):
    assert run(tmp_path, "--num_seeds", str(2**31 - 1)) == 2
    said = capfd.readouterr().err
    assert "the keys alone of its 2,147,483,647 lanes" in said and "94.5 GB" in said


def memory_error(lanes, devices, data=DATA):
    with pytest.raises(ConfigError) as error:
        memory.require_fits(lanes, data, devices)
    return str(error.value)


def test_the_limit_is_the_least_of_machine_and_control_groups(monkeypatch, tmp_path):
    """Of the process's own control group and of those it lies in, by either version."""
    assert memory.memory_of(jax.devices()[0]).num_bytes <= psutil.virtual_memory().total
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "own")
    for own, folder, name in (
        ("", "", "memory.max"),
        ("0::/user.slice/session-2.scope\n", "user.slice", "memory.max"),
        ("1:cpu:/\n4:memory:/lxc/box\n", "memory/lxc/box", "memory.limit_in_bytes"),
    ):
        (tmp_path / "own").write_text(own)
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        limit = tmp_path / folder / name
        for text, owner in (("max\n", "the machine"), ("1000000\n", "the control group")):
            limit.write_text(text)
            assert memory.memory_of(jax.devices()[0]).owner == owner
        assert memory.memory_of(jax.devices()[0]).num_bytes == 1_000_000
        limit.unlink()


@pytest.mark.parametrize(
    "num_bytes, text", [(500, "0.5 kB"), (2.5e6, "2.5 MB"), (1.234e9, "1.23 GB"), (8e12, "8 TB")]
)
def test_units(num_bytes, text):
    assert memory.in_units(num_bytes) == text


def by_numpy():
    return np.zeros(2**60, np.uint8)


def by_jax():
    return jax.block_until_ready(jnp.zeros(2**47, jnp.uint8))


@pytest.mark.parametrize("allocate", [by_numpy, by_jax])
@pytest.mark.parametrize("place", ["load", "summarize"])
def test_an_exhausted_memory_is_a_sentence(place, allocate, tmp_path, capfd):
    """Real allocations that no machine grants, where no estimate sees them."""
    experiment = tiny(**{place: lambda *arguments: allocate()})
    assert run(tmp_path, experiment=experiment) == 2
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith("error: memory is exhausted (") and "of which this process held" in said
    assert "lower --num_seeds" in said and "nothing of the run was trained yet" in said


@pytest.mark.parametrize("place", ["evaluate", "evaluate_final"])
def test_a_program_that_gets_no_memory_does_not_end_the_process(
    place, monkeypatch, tmp_path, capfd
):
    """A real allocation again, after an estimate that was told of endless memory."""
    monkeypatch.setattr("dgm_jax.run.estimate.memory_of", lambda device: Memory(2**62, "all"))

    def greedy(config, hyper, inputs):
        def sort(train_state, arrays, key):
            numbers = jax.random.normal(key, (2**44,)) + train_state.params["p"]["w"]
            return {"middle": jnp.sort(numbers)[2**43]}

        return build(config, hyper, inputs)._replace(**{place: sort})

    assert run(tmp_path, "--num_seeds", "1", experiment=tiny(build=greedy)) == 2
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith("error: memory is exhausted (RESOURCE_EXHAUSTED")
    assert (place == "evaluate") == ("nothing of the run was trained yet" in said)
    assert (place == "evaluate_final") == ("its last checkpoint is saved" in said)


def test_other_errors_of_a_device_are_passed_on():
    with (
        pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"),
        memory.exhaustion_told("rest"),
    ):
        raise jax.errors.JaxRuntimeError("INTERNAL: a fault of the program")
    with pytest.raises(ConfigError, match="RESOURCE_EXHAUSTED: Out of memory.*; rest"):
        with memory.exhaustion_told("rest"):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")


def test_advice_names_the_settings_that_there_are():
    named = types.SimpleNamespace(num_seeds=1, batch_size=2, num_eval=None)
    assert memory.advice(named, "map") == "lower --num_seeds, --batch_size or --num_eval"
    assert memory.advice(Tiny()) == "lower --num_seeds"
    assert memory.advice(Tiny(), "vmap").endswith("N, or one with --strategy map")


GROWTH = """
import jax
from dgm_jax.run import memory

device = jax.devices()[0]
jax.block_until_ready(jax.numpy.ones(10))
in_use, taken = memory.in_use([device]), memory.taken_of(device)
array = jax.block_until_ready(jax.numpy.ones(50_000_000))
print(memory.in_use([device]) - in_use, memory.taken_of(device) - taken, array.nbytes)
"""


def test_what_is_held_grows_with_an_array():
    """In a process of its own, since another may have given back as much before."""
    command = [sys.executable, "-c", GROWTH]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    in_use, taken, num_bytes = map(int, said.stdout.split())
    assert num_bytes == 200_000_000
    assert 0.9 * num_bytes < in_use < 1.5 * num_bytes
    assert 0.9 * num_bytes < taken < 1.5 * num_bytes


def test_a_device_says_what_it_holds():
    class Device:
        platform = "gpu"
        process_index = 0

        def __init__(self, held):
            self.held = held

        def memory_stats(self):
            return self.held

    assert memory.in_use([Device({"bytes_in_use": 5}), Device({"bytes_in_use": 7})]) == 7
    assert memory.in_use([Device(None)]) is None
