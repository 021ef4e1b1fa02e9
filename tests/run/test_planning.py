"""Plans against arithmetic by hand, against compiled programs, and as commands."""

import jax
import pytest
import short_forms
import tiny_game

from dgm_jax import cli
from dgm_jax.core import UnknownNameError
from dgm_jax.parallel import KINDS, Kind
from dgm_jax.run import start
from dgm_jax.run.costs import StepCost, program_cost, step_cost
from dgm_jax.run.operations import Work
from dgm_jax.run.planning import kind_of
from dgm_jax.run.scaling import (
    fitting_seeds,
    paying_batch,
    paying_devices,
    spread,
    step_times,
    this_machine,
)


def cost_of(name, *flags):
    experiment, groups, inputs = short_forms.short_form(name, *flags)
    return step_cost(experiment, groups[0], inputs), (experiment, groups[0], inputs)


def test_the_ring_gan_by_hand():
    """Generator 16-128-128-2, discriminator 2-128-128-1, both with Adam, batch 32.

    The discriminator's step: fakes, its logits of reals and fakes, gradients of its weights and of
    all inputs but the first. The generator's: fakes, logits, back through both.
    """
    cost, _ = cost_of("gan_ring", "--batch_size", "32", "--method", "vanilla", "--num_seeds", "3")
    g = [(16, 128), (128, 128), (128, 2)]
    d = [(2, 128), (128, 128), (128, 1)]
    size = lambda layers: sum(m * n for m, n in layers)
    first = size(g) + 2 * (3 * size(d) - size(d[:1]))
    second = 3 * size(g) - size(g[:1]) + 2 * size(d)
    parameters = size(g) + size(d) + sum(n for _, n in (*g, *d))
    assert cost.batch_size == 32 and cost.num_lanes == 3
    assert cost.whole.products == 2 * 32 * (first + second)
    assert cost.num_parameters == parameters
    assert cost.sums["gradients"] == 4 * parameters
    # parameters and two moments, a count for each player, step, three keys, failed_at
    assert cost.state_bytes == 4 * 3 * parameters + 2 * 4 + 4 + 3 * 8 + 4


def test_microbatches_of_the_ring_gan():
    """The same products and state. The scan over microbatches reads the parameters once for each of
    them, and keeps the intermediate results of one."""
    flags = ("--batch_size", "32", "--method", "vanilla", "--num_seeds", "3")
    cost, of = cost_of("gan_ring", *flags)
    pieces = step_cost(*of, microbatches=4)
    assert pieces.microbatches == 4 and pieces.batch_size == 32
    assert pieces.whole.products == cost.whole.products
    assert pieces.state_bytes == cost.state_bytes
    assert pieces.fixed.moved > cost.fixed.moved + 3 * 4 * cost.num_parameters
    assert pieces.example.kept == cost.example.kept / 4
    assert pieces.sums["gradients"] == 4 * cost.sums["gradients"]
    assert spread(pieces, KINDS["h100"], 3 * 16, "default").times is None  # 2 examples a device


def test_products_in_bfloat16_move_fewer_bytes_for_the_same_operations():
    """As a step on an accelerator: gradients of products are summed over devices as bfloat16."""
    flags = ("--data", "digits", "--num_seeds", "1")
    wide, _ = cost_of("gan_images", *flags)
    half, _ = cost_of("gan_images", *flags, "--precision", "bfloat16")
    assert half.whole.products == wide.whole.products
    assert 0.5 * wide.whole.moved < half.whole.moved < wide.whole.moved
    assert half.state_bytes == wide.state_bytes
    assert 0.5 <= half.sums["gradients"] / wide.sums["gradients"] < 0.75


SIZES = {
    "gan_ring": ("--method", "vanilla", "--num_seeds", "2", "--batch_size", "64"),
    "avb_images": ("--num_seeds", "1", "--batch_size", "64", "--hidden", "64"),
}


@pytest.mark.optimized
@pytest.mark.parametrize("name", SIZES)
def test_formulas_are_within_a_tenth_of_the_compiled_program(name):
    cost, of = cost_of(name, *SIZES[name])
    program = program_cost(*of, jax.devices()[:1])
    lanes = cost.num_lanes
    assert lanes * cost.whole.operations == pytest.approx(program.operations, rel=0.1)
    assert lanes * cost.whole.moved == pytest.approx(program.moved, rel=0.1)
    assert lanes * cost.state_bytes == program.state_bytes
    assert program.exchanged == {} and program.mesh == (1, 1)


COST = StepCost(
    name="made up",
    num_lanes=4,
    batch_size=16,
    num_parameters=100,
    state_bytes=1000,
    data_bytes=5000,
    fixed=Work(0.0, 10.0, 1000.0, 100.0),
    example=Work(100.0, 5.0, 50.0, 25.0),
    sums={"gradients": 400.0, "joined batches": 64.0},
)
KIND = Kind("made up", 10.0, 100.0, 200.0, 20_500.0, 500.0, 1000.0, 4, 100.0, "here")


def test_times_by_hand():
    """One lane on two devices: 8 examples each; half of the joined batches and all of the sums
    are sent."""
    found = step_times(COST, KIND, 1, 2, "default")
    assert found == pytest.approx((8.0 + 5.0, 1400 / 500, (400 + 32) / 1000))
    assert found.step == pytest.approx(13.432) and found.bound == "arithmetic"
    assert step_times(COST, KIND, 3, 2, "bfloat16").arithmetic == pytest.approx(3 * (4.0 + 5.0))
    assert step_times(COST, KIND, 1, 2, "float32").arithmetic == pytest.approx(80.0 + 5.0)
    far = step_times(COST, KIND, 1, 8, "default")  # more devices than one domain has
    assert far.exchange == pytest.approx(7 / 8 * 864 / 100)
    tpu = KIND._replace(float32=None)
    assert step_times(COST, tpu, 1, 1, "default").arithmetic == pytest.approx(16.0)


def test_devices_go_to_seeds_first():
    found = spread(COST, KIND, 8, "default")
    assert found.mesh == (4, 2) and found.times == step_times(COST, KIND, 1, 2, "default")
    assert found.seeds_per_second == pytest.approx(4 / found.times.step)
    assert spread(COST, KIND, 4 * 32, "default").times is None  # 16 examples for 32 devices


def test_padding_takes_the_time_of_lanes():
    few = spread(COST._replace(num_lanes=3), KIND, 4, "default")
    assert few.mesh == (4, 1) and few.times == step_times(COST, KIND, 1, 1, "default")
    assert few.seeds_per_second == pytest.approx(3 / few.times.step)  # padding is no seed
    more = spread(COST._replace(num_lanes=5), KIND, 8, "default")
    assert more.mesh == (2, 4) and more.times == step_times(COST, KIND, 3, 4, "default")


def test_where_the_data_axis_stops_paying():
    """Products alone, 1 s an example, and sums of 1 s for two devices, 1.5 s for four, ...:
    16 + 0, 8 + 1, 4 + 1.5, 2 + 1.75, 1 + 1.875 s."""
    cost = COST._replace(fixed=Work(), example=Work(100.0), sums={"gradients": 500.0})
    near = KIND._replace(interconnect=500.0, domain=1024)
    assert paying_devices(cost, near, "default") == 16
    slow = near._replace(interconnect=50.0)  # 16, 8 + 10
    assert paying_devices(cost, slow, "default") == 1
    assert paying_batch(cost, slow, "default") == 32.0  # 32 against 16 + 10
    assert paying_batch(cost._replace(example=Work()), slow, "default") is None


def test_how_many_seeds_fit():
    assert fitting_seeds(COST, KIND) == int((20_500 - 5000) / (2 * 1000 + 100 + 16 * 25))
    assert fitting_seeds(COST, KIND._replace(memory=10.0)) == 0


def test_published_kinds():
    """What a kind computes, moves and sends falls in that order, and each names its source."""
    for kind in KINDS.values():
        assert kind.bfloat16 >= kind.product > (kind.float32 or 0) > -1
        assert kind.product > kind.bandwidth > kind.interconnect > (kind.outside or 0)
        assert kind.source and kind.memory > 1e10 and kind.domain >= 8
    with pytest.raises(UnknownNameError, match="unknown kind of device 'h10' .did you mean 'h100'"):
        kind_of("h10")


def test_this_machine_is_measured():
    kind = this_machine(1e9, rounds=1)
    assert min(kind.product, kind.bandwidth, kind.float32) > 0 and kind.memory == 1e9


RING = ["plan", "gan_ring", "--num_seeds", "4", "--batch_size", "64"]


def test_the_command(capsys):
    assert cli.main([*RING, "--devices", "4", "16", "512", "--kind", "v5e"]) == 0
    shown = capsys.readouterr().out
    assert "Google Cloud TPU v5e: 197 TFLOP/s" in shown and "by formula" in shown
    assert "vanilla: 4 lanes, batch B = 64" in shown and "35,971 parameters" in shown
    rows = [line.split()[:4] for line in shown.splitlines() if line.strip()[:1].isdigit()]
    rows = [row for row in rows if row[2:3] == ["x"]]
    assert rows == [["4", "4", "x", "1"], ["16", "4", "x", "4"], ["512", "4", "x", "128"]]
    assert "128 devices cannot share a batch of 64: more seeds, or another batch" in shown


def code_of(argv):
    """The exit code, whether a command returns it or the parser ends with it."""
    try:
        return cli.main(argv)
    except SystemExit as stop:
        return stop.code


def test_the_products_of_an_experiment_in_bfloat16(capsys):
    """At the rate of bfloat16, as if that were asked for."""
    words = ["plan", "avb_images", "--data", "digits", "--model", "vae", "--devices", "1"]

    def table(*flags):
        assert cli.main([*words, "--batch_size", "512", *flags]) == 0
        return [row for row in capsys.readouterr().out.splitlines() if "1 x 1" in row]

    half = table("--precision", "bfloat16")
    assert half == table("--precision", "bfloat16", "--products", "bfloat16")
    assert half != table("--precision", "bfloat16", "--products", "float32")


@pytest.mark.parametrize(
    "argv, words",
    [
        ([*RING, "--kind", "h10"], "unknown kind of device 'h10' (did you mean 'h100'?)"),
        (["plan", "gan_rin"], "unknown experiment 'gan_rin' (did you mean 'gan_ring'?)"),
        ([*RING, "--devices", "0"], "devices must be from 1 to 2**20, got 0"),
        ([*RING, "--num_steps", "0"], "num_steps must be at least 1"),
        ([*RING, "--microbatches", "0"], "microbatches must be at least 1, got 0"),
        ([*RING, "--microbatches", "3"], "a batch of 64 cannot be divided into 3 microbatches"),
        ([*RING, "--bs", "8"], "there is no flag --bs (did you mean --batch_size?)"),
    ],
)
def test_mistakes_are_explained(argv, words, capsys):
    assert code_of(argv) == 2
    assert words in capsys.readouterr().err


def test_a_setting_of_the_plans_own_name_is_refused(capsys):
    assert start.plan(tiny_game.tiny(), []) == 2
    assert "tiny has a setting 'kind' as dgm-jax plan has" in capsys.readouterr().err
