"""What eight devices say to each other in a step, read from the compiled program."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import short_forms
import tiny_game
from jax.sharding import NamedSharding, PartitionSpec

from dgm_jax import parallel
from dgm_jax.parallel.communication import shape_bytes
from dgm_jax.run.costs import program_cost, step_cost

pytestmark = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices")


def test_collectives_of_known_programs():
    """A sum along each axis, a sum along both, a shift along "data", and none."""
    mesh = parallel.make_mesh(2, jax.devices()[:8])
    assert tuple(mesh.shape.values()) == parallel.split_devices(2, 8) == (2, 4)
    spec = PartitionSpec("seed", "data")

    def read(function):
        mapped = jax.shard_map(function, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
        x = jax.ShapeDtypeStruct((4, 12), jnp.float32, sharding=NamedSharding(mesh, spec))
        text = jax.jit(mapped).lower(x).compile().as_text()
        return [(c.kind, c.axis, c.num_bytes) for c in parallel.collectives(text, (2, 4))]

    own = 4 * 2 * 3
    for axes, name in (("seed", "seed"), ("data", "data"), (("seed", "data"), "seed and data")):
        assert read(lambda x, axes=axes: jax.lax.psum(x, axes)) == [("all-reduce", name, own)]
    ring = [(i, (i + 1) % 4) for i in range(4)]
    assert read(lambda x: jax.lax.ppermute(x, "data", ring)) == [
        ("collective-permute", "data", own)
    ]
    assert read(lambda x: x + 1) == []


@pytest.mark.parametrize(
    "groups, axis",
    [
        ("{{0,1,2,3},{4,5,6,7}}", "data"),
        ("{{0,4},{1,5},{2,6},{3,7}}", "seed"),
        ("[2,4]<=[8]", "data"),
        ("[4,2]<=[2,4]T(1,0)", "seed"),
        ("mesh['a'=2,'b'=4] {'b'}", "data"),
        ("mesh['a'=2,'b'=4] {'a'}", "seed"),
        ("mesh['a'=8] {'a':(2)4}", "data"),
        ("mesh['a'=8] {'a':(1)2}", "seed"),
        ("{}", "seed and data"),
        ("[8,1]<=[8]", "none"),
    ],
)
def test_every_way_of_writing_groups(groups, axis):
    line = f"  %x = f32[2]{{0}} all-reduce(%y), channel_id=1, replica_groups={groups}, to_apply=%z"
    assert [one.axis for one in parallel.collectives(line, (2, 4))] == [axis]


def test_an_unknown_way_of_writing_groups_is_refused():
    with pytest.raises(ValueError, match="cannot read the groups of devices in '%x"):
        parallel.collectives("%x = f32[2] all-reduce(%y), replica_groups=v9:01", (2, 4))


@pytest.mark.parametrize(
    "shape, size", [("f32[2,128]", 1024), ("bf16[3]", 6), ("pred[]", 1), ("f8e4m3fn[4]", 4)]
)
def test_bytes_of_a_shape(shape, size):
    assert shape_bytes(shape) == size


def test_what_is_no_shape_is_refused():
    with pytest.raises(ValueError, match="no shape of HLO: '128'"):
        shape_bytes("128")


def totals(exchanged, kind):
    found: collections.Counter = collections.Counter()
    for (axis, name), size in exchanged.items():
        found[axis] += size if name == kind else 0
    return found


FAMILIES = {
    "gan_ring": ("--num_seeds", "2", "--method", "vanilla"),
    "avb_images": ("--num_seeds", "1"),
    "feature_classifier": ("--num_seeds", "1"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_data_axis_sums_what_the_formula_says_and_the_seed_axis_is_silent(name):
    """Gradients, statistics and metrics, each byte of them: the formula comes from the trace of
    one device's step at two sizes of the batch, the program from XLA for eight devices."""
    experiment, groups, inputs = short_forms.short_form(name, *FAMILIES[name])
    cost = step_cost(experiment, groups[0], inputs)
    program = program_cost(experiment, groups[0], inputs, jax.devices()[:8])
    assert {axis for axis, _ in program.exchanged} == {"data"}
    assert program.mesh == parallel.split_devices(cost.num_lanes, 8)
    lanes = cost.num_lanes // program.mesh[0]
    summed = totals(program.exchanged, "all-reduce")["data"]
    assert summed == pytest.approx(lanes * cost.summed_bytes, rel=0.01)
    assert cost.sums["gradients"] >= 4 * 0.9 * cost.num_parameters


def test_lanes_on_devices_of_their_own_say_nothing():
    experiment, groups, inputs = short_forms.short_form("dirac_gan", "--num_seeds", "8")
    program = program_cost(experiment, groups[0], inputs, jax.devices()[:8])
    assert program.mesh == (8, 1) and program.exchanged == {}


def test_nothing_is_compiled_after_the_first_chunk(tmp_path):
    """Programs that XLA made up to each evaluation of a run of four chunks."""
    made, at = [0], []

    def count(name, seconds, **_):
        made[0] += "backend_compile" in name

    def summarize(arrays, config, inputs):
        at.append(made[0])
        return {name: x for name, x in arrays.items() if np.ndim(x) == 1}

    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        experiment = tiny_game.tiny(summarize=summarize)
        flags = ("--num_steps", "8", "--log_every", "2", "--progress", "quiet")
        assert tiny_game.run(tmp_path / "run", *flags, experiment=experiment) == 0
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert len(at) == 4 and at[0] > 0
    assert at[1:] == [at[1]] * 3
