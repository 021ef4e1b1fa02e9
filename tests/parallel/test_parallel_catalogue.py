"""One chunk of every experiment, lowered for GPUs and TPUs without one."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import short_forms

from dgm_jax import parallel
from dgm_jax.core import Lane, LaneProgram, Sums, TrainState
from dgm_jax.run import catalogue
from dgm_jax.run.lanes import lanes_of, program_of

PLATFORMS = ("cuda", "tpu")
HOST = re.compile(
    r"callback|stablehlo\.(?:send|recv|infeed|outfeed)|SendToHost|RecvFromHost|@dgm_jax"
)
GIVEN_BACK = re.compile(r"tf\.aliasing_output|jax\.buffer_donor")


def lowered(program, keys, hyper, data, platform):
    """(text of a chunk's program for one device of a platform, shapes of its lanes)."""
    spread = parallel.distribute(
        program, keys, hyper, platform=platform, only=jax.devices("cpu")[:1]
    )
    lanes = spread.abstract(keys, hyper)
    return spread.lower_advance(lanes, spread.abstract_data(data)).as_text(), lanes


def assert_stays_on_the_device(text, lanes):
    """No call of the host, and every array of the lanes is computed in its own memory."""
    assert not HOST.findall(text)
    (signature,) = [line for line in text.splitlines() if "func.func public @main" in line]
    assert len(GIVEN_BACK.findall(signature)) == len(jax.tree.leaves(lanes))


def test_every_experiment_has_a_short_form():
    own = {n for n, e in catalogue.experiments().items() if e.value.startswith("dgm_jax.")}
    assert set(short_forms.NAMES) == own


def check(name, first_only):
    experiment, groups, inputs = short_forms.short_form(name)
    for group in groups[:1] if first_only else groups:
        keys, hyper = lanes_of(group, group.arms[0].config)
        program = program_of(experiment, group.arms[0].config, inputs)
        for platform in PLATFORMS:
            assert_stays_on_the_device(*lowered(program, keys, hyper, inputs.arrays, platform))


@pytest.mark.parametrize("name", short_forms.NAMES)
def test_a_chunk_is_lowered(name):
    check(name, first_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", short_forms.NAMES)
def test_a_chunk_of_every_arm_is_lowered(name):
    check(name, first_only=False)


def counting_program(speaks):
    """A lane that counts its steps; if it `speaks`, it tells the host of each."""

    def init(key, hyper):
        state = TrainState(jnp.int32(0), key, key, {}, {}, {})
        return Lane(state, jnp.int32(-1), key, hyper)

    def part(lane, sums, data, num_steps, last, replica):
        state = lane.train_state
        if speaks:
            jax.debug.callback(print, state.step)
        new = lane._replace(train_state=state._replace(step=state.step + num_steps))
        return new, Sums(sums.totals, sums.count + num_steps), {"loss": data * last}

    no_sums = lambda lane, data, replica: Sums({"loss": jnp.float32(0)}, jnp.int32(0))
    nothing = lambda *_: {}
    return LaneProgram(init, nothing, part, no_sums, nothing)


def test_a_call_of_the_host_is_seen():
    keys = jax.random.split(jax.random.key(0), 2)
    of = lambda *of: lowered(counting_program(of[0]), keys, {}, np.float32(1), of[1])
    assert_stays_on_the_device(*of(False, "cpu"))
    with pytest.raises(AssertionError):
        assert_stays_on_the_device(*of(True, "cpu"))
    with pytest.raises(ValueError, match="platform"):  # JAX has no such program
        of(True, "tpu")
