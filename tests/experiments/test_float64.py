"""Every experiment under `jax_enable_x64`: its programs can be traced, their loops keep the types
of what they carry, and some of them train."""

import pathlib
import tomllib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import training
from dgm_jax.core import SOLO
from dgm_jax.run import catalogue, start
from dgm_jax.run.ablation import shared_inputs, variants
from dgm_jax.run.cells import arms, groups
from dgm_jax.run.lanes import lanes_of

ROOT = pathlib.Path(__file__).parents[2]
TABLE = tomllib.loads((ROOT / "tools" / "short_forms.toml").read_text("utf-8"))
CLASSIFIER = "feature_classifier"
TRAINED = ("dirac_gan", "gan_ring", "vqvae_images")  # those that a test trains


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """The run folder of a classifier of two steps, trained in float64 mode."""
    folder = tmp_path_factory.mktemp("float64") / CLASSIFIER
    with jax.enable_x64(True):
        assert start.main(*_command(CLASSIFIER, folder)) == 0
    return folder


def _flags(name, folder=""):
    """Values of the flags of the experiment's short form; its own count, not the common ones."""
    flags: dict[str, list[str]] = {}
    current: list[str] = []
    for word in f"{TABLE['common']} {TABLE['experiments'][name]}".split():
        if word.startswith("--"):
            current = flags[word] = []
        else:
            current.append(word.replace("{classifier}", str(folder)))
    return flags


def _command(name, folder):
    flags = _flags(name) | {"--num_seeds": ["2"], "--num_steps": ["2"], "--log_every": ["2"]}
    flags |= {"--out": [str(folder)]}
    return catalogue.load_experiment(name), [w for k, v in flags.items() for w in (k, *v)]


def _programs(name, folder, every_arm):
    """(program, key, hyper, data) of one lane of each group of arms, or of the first group."""
    experiment = catalogue.load_experiment(name)
    words = [word for flag, values in _flags(name, folder).items() for word in (flag, *values)]
    settings = start.parse(experiment, words)
    config = settings.study
    found = variants(experiment, config, {})
    needed = [
        tuple(pathlib.Path(n.folder) for n in experiment.functions.needs(v.settings)) for v in found
    ]
    inputs = shared_inputs(experiment, found, needed)
    for group in groups(experiment, arms(experiment, config, {}))[: None if every_arm else 1]:
        keys, hyper = lanes_of(group, config)
        seen, fixed = experiment.build_view(group.arms[0].config)
        program = training.lane_program(
            lambda lane, seen=seen, fixed=fixed: experiment.functions.build(
                seen, fixed | lane, inputs
            )
        )
        yield program, keys[0], {k: v[0] for k, v in hyper.items()}, inputs.arrays


def _traced(name, folder, every_arm):
    """How many programs were traced and kept their types."""
    number = 0
    for program, key, hyper, data in _programs(name, folder, every_arm):
        lane = jax.eval_shape(program.init, key, hyper)
        advance = lambda lane, data, program=program: program.advance(lane, data, 2, SOLO)
        moved, metrics = jax.eval_shape(advance, lane, data)
        assert jax.tree.map(lambda x: x.dtype, moved) == jax.tree.map(lambda x: x.dtype, lane)
        for metric in metrics.values():
            assert metric.dtype in (jnp.float32, jnp.float64)
        assert jax.eval_shape(program.evaluate, lane, data)
        jax.eval_shape(program.evaluate_final, lane, data)
        number += 1
    return number


@pytest.mark.parametrize("name", sorted(TABLE["experiments"]))
def test_programs_can_be_traced(name, request):
    needs = "{classifier}" in TABLE["experiments"][name]
    folder = request.getfixturevalue("classifier") if needs else ""
    assert _traced(name, folder, every_arm=False) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TABLE["experiments"]))
def test_programs_of_every_arm_can_be_traced(name, request):
    needs = "{classifier}" in TABLE["experiments"][name]
    folder = request.getfixturevalue("classifier") if needs else ""
    assert _traced(name, folder, every_arm=True) >= 1


@pytest.mark.parametrize("name", TRAINED)
def test_two_steps_are_finite_and_move(name):
    program, key, hyper, data = next(_programs(name, "", False))
    lane = jax.jit(program.init)(key, hyper)
    moved, metrics = jax.jit(lambda lane, data: program.advance(lane, data, 2, SOLO))(lane, data)
    assert int(moved.failed_at) == -1 and int(moved.train_state.step) == 2
    for leaf in jax.tree.leaves((moved.train_state.params, metrics)):
        assert np.all(np.isfinite(leaf))
    changed = jax.tree.map(
        lambda a, b: np.any(a != b), moved.train_state.params, lane.train_state.params
    )
    assert any(jax.tree.leaves(changed))
