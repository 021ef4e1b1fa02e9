"""Trained models from run folders, finished or not."""

import dataclasses
import functools
import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_game import rows_of, run, stopping, summary_of, tiny

from dgm_jax import data, models, networks, parallel, priors
from dgm_jax.core import ConfigError, DgmError, RunDirectoryError, tree_sha256
from dgm_jax.run import load as load_run
from dgm_jax.run import main
from dgm_jax.run.loading import _refusing_all_seeds

load = functools.partial(load_run, experiment=tiny())


def w_of(out, step, arm="plain"):
    """What metrics.jsonl has of the variable, [S]."""
    row = next(r for r in rows_of(out) if (r["step"], r["arm"]) == (step, arm))
    return np.array(row["w"], np.float32)


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory):
    """The folder of a run of two arms in one program that a signal stopped after 20 of 30 steps."""
    out = tmp_path_factory.mktemp("unfinished") / "run"
    experiment, grid = stopping(signal.SIGTERM, 4), {"rate": (0.1, 0.3)}
    assert run(out, experiment=experiment, grid=grid) == 128 + signal.SIGTERM
    return out


@pytest.fixture
def copy(tmp_path):
    """`folder -> ` a copy of it that may be changed."""
    return lambda folder: shutil.copytree(folder, tmp_path / "copy")


def test_a_finished_run_gives_its_last_parameters(undisturbed):
    found = load(undisturbed)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found.params))
    np.testing.assert_array_equal(found.params["p"]["w"], w_of(undisturbed, 30))
    summary = summary_of(undisturbed)
    assert tree_sha256(found.params) == summary["final_params_sha256"]["plain"]
    whole = {"params": found.params, "state": found.state}
    assert tree_sha256(whole) == summary["final_model_sha256"]["plain"]
    assert found.step == [30] * 3 and found.arm == "plain" and found.config.rate == 0.1
    assert found.dataset == {"name": "number", "identity": "number"}


def test_one_seed_is_that_of_its_place(undisturbed):
    for seed in range(3):
        found = load(undisturbed, "plain", seed)
        assert found.params["p"]["w"].shape == () and found.step == 30
        assert found.params["p"]["w"] == w_of(undisturbed, 30)[seed]
        drawn = found.model.sample(found.params, found.state, jax.random.key(1), 4)
        noise = jax.random.normal(jax.random.key(1), (4,))
        np.testing.assert_array_equal(drawn, found.params["p"]["w"] + noise)


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_an_unfinished_run_gives_the_lanes_of_the_newest_checkpoint(unfinished, rate):
    arm = f"plain, rate={rate}"
    found = load(unfinished, arm)
    assert found.step == [20] * 3 and found.config.rate == rate
    np.testing.assert_array_equal(found.params["p"]["w"], w_of(unfinished, 20, arm))


def test_a_damaged_checkpoint_is_passed_over(unfinished, copy):
    out = copy(unfinished)
    (place,) = (out / "checkpoints").iterdir()
    for file in (place / "20").rglob("*"):
        if file.is_file():
            content = bytearray(file.read_bytes())
            content[len(content) // 2 :] = b"\0" * len(content[len(content) // 2 :])
            file.write_bytes(content)
    arm = "plain, rate=0.3"
    assert load(out, arm, 0).step == 10
    np.testing.assert_array_equal(load(out, arm).params["p"]["w"], w_of(out, 10, arm))
    shutil.rmtree(place / "10")
    with pytest.raises(RunDirectoryError, match="holds no model of .*checkpoint 20 cannot be read"):
        load(out, arm)


ELSEWHERE = """
import sys, jax
from tiny_game import tiny
from dgm_jax.run import load
found = load(sys.argv[1], experiment=tiny())
assert jax.device_count() == 1
print(*found.params["p"]["w"].tolist())
"""


def test_lanes_of_many_devices_are_read_on_one(tmp_path):
    out = tmp_path / "run"
    flags = "--num_steps 4 --log_every 4 --num_seeds 8 --progress quiet --out".split()
    assert main(tiny(), [*flags, str(out)]) == 0
    shutil.rmtree(out / "models")
    devices = load(out).params["p"]["w"].devices()
    assert len(devices) == 1 and jax.device_count() == 8
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": path}
    command = [sys.executable, "-c", ELSEWHERE, str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.array(done.stdout.split(), np.float32), w_of(out, 4))


def test_loading_changes_nothing(unfinished):
    before = {p: p.stat().st_mtime_ns for p in unfinished.rglob("*")}
    load(unfinished, "plain, rate=0.3")
    assert {p: p.stat().st_mtime_ns for p in unfinished.rglob("*")} == before


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"arm": "pain"}, "unknown arm 'pain' .did you mean 'plain'"),
        ({"seed": 3}, "seed must be 0 to 2, got 3"),
        ({"seed": -1}, "seed must be 0 to 2, got -1"),
        ({"which": "worst"}, "unknown model 'worst'"),
        ({"experiment": tiny(model=None)}, "tiny trains no model that could be loaded"),
    ],
)
def test_what_is_not_there_is_refused(undisturbed, asked, message):
    with pytest.raises(ConfigError, match=message):
        load(undisturbed, **asked)


def test_of_several_arms_one_must_be_named(unfinished):
    with pytest.raises(ConfigError, match="several arms: name one of 'plain, rate=0.1', 'plain, r"):
        load(unfinished)


def test_no_best_model_without_keep_best(undisturbed):
    with pytest.raises(RunDirectoryError, match="no best model of 'plain': .*--keep_best"):
        load(undisturbed, which="best")


def test_models_of_another_run_are_refused(undisturbed, copy, tmp_path):
    out = copy(undisturbed)
    assert run(tmp_path / "other", "--rate", "0.2") == 0
    for name in ("plain.json", "plain.safetensors"):
        shutil.copy(tmp_path / "other" / "models" / name, out / "models")
    with pytest.raises(RunDirectoryError, match="another run: settings.rate: 0.2 there, 0.1 here"):
        load(out)


def test_checkpoints_of_another_run_are_refused(unfinished, copy):
    out = copy(unfinished)
    content = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(content | {"seed": 9}))
    with pytest.raises(RunDirectoryError, match="another run: settings.seed: 0 there, 9 here"):
        load(out, "plain, rate=0.3")


@pytest.mark.parametrize("value", ["many", None, [3], -1, 10**400])
def test_settings_of_no_run_are_told_in_a_sentence(undisturbed, copy, value):
    out = copy(undisturbed)
    content = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(content | {"num_seeds": value}))
    with pytest.raises(DgmError, match="num_seeds|settings are of no run"):
        load(out)


def test_data_of_another_run_are_refused(undisturbed, copy):
    out = copy(undisturbed)
    content = json.loads((out / "environment.json").read_text())
    content["dataset"]["name"] = "letter"
    (out / "environment.json").write_text(json.dumps(content))
    with pytest.raises(RunDirectoryError, match="name: 'letter' there, 'number' here"):
        load(out)


def test_a_model_survives_the_loss_of_what_is_derived(undisturbed, copy):
    out = copy(undisturbed)
    for name in ("environment.json", "metrics.jsonl", "summary.json", "report.html"):
        (out / name).unlink()
    shutil.rmtree(out / "checkpoints")
    np.testing.assert_array_equal(load(out).params["p"]["w"], load(undisturbed).params["p"]["w"])


def test_a_recipe_that_fails_is_told_in_a_sentence(undisturbed):
    broken = tiny(model=lambda config, hyper, dataset: dataset["shape"])
    with pytest.raises(RunDirectoryError, match="no model can be made .*KeyError: 'shape'"):
        load(undisturbed, experiment=broken)


@pytest.mark.parametrize("source", ["models", "checkpoints"])
def test_samples_are_those_of_the_run_bit_for_bit(ring, copy, monkeypatch, source):
    """All lanes at once, as the run had them, at the noise of its evaluation; without the data."""
    folder, expected = ring
    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("the data were loaded"))
    folder = copy(folder)
    shutil.rmtree(folder / ({"models", "checkpoints"} - {source}).pop())
    found = load_run(folder)
    assert found.step == [4, 4] and found.state["average"].keys() == {"generator"}
    keys = [jax.random.fold_in(jax.random.key(found.config.seed), i) for i in range(2)]
    keys = jnp.stack([jax.random.split(jax.random.split(key, 3)[2])[0] for key in keys])

    def sample(lane, _):
        return found.model.sample(*lane, found.config.num_eval)

    spread = jax.jit(parallel.over_seeds(sample, "vmap"))
    samples = spread((found.params, found.state, keys), ())
    np.testing.assert_array_equal(samples, expected)


def test_the_parameters_of_all_seeds_are_refused_where_those_of_one_are_due(ring):
    folder, _ = ring
    key = jax.random.key(3)
    every = load_run(folder)
    message = r"leading axis of 2 seeds, expected those of one: load one by run.load\(.*seed=0"
    with pytest.raises(ConfigError, match=message):
        every.model.sample(every.params, every.state, key, 4)
    one = load_run(folder, seed=1)
    expected = one.model.sample(one.params, one.state, key, 4)
    mapped = jax.vmap(lambda params, state: every.model.sample(params, state, key, 4))
    samples = mapped(every.params, every.state)
    np.testing.assert_allclose(samples[1], expected, rtol=1e-5, atol=1e-6)


def test_densities_name_the_axis_of_seeds_too():
    """The functions of a VAE that take parameters: those of one seed they take."""
    encoder, decoder = (
        networks.reshaped(networks.from_flax(networks.MLP((math.prod(shape),))), shape)
        for shape in ((4,), (1, 3, 1))
    )
    recipe = models.Vae(encoder, decoder, 2, lambda encode: priors.standard_normal(2))
    made = models.vae(recipe, (1, 3, 1))
    # this prior has no rate in closed form; any function of parameters will do
    made = made._replace(latent=made.latent._replace(rate=made.latent.log_prior))
    all_seeds = jax.vmap(made.init)(jax.random.split(jax.random.key(0), 2))
    refusing = _refusing_all_seeds(made, all_seeds[0], 2)
    x, z, key = jnp.ones((5, 1, 3, 1)), jnp.ones((5, 2)), jax.random.key(1)
    calls = {
        "posterior": lambda of, *at: of.posterior(*at, x, train=False),
        "log_likelihood": lambda of, *at: of.log_likelihood(*at, z, x, train=False),
        "sample_prior": lambda of, *at: of.sample_prior(*at, key, 4),
        "decode": lambda of, *at: of.decode(*at, z),
        "log_prior": lambda of, *at: of.log_prior(*at, z),
        "rate": lambda of, *at: of.rate(*at, z),
    }
    one_seed = jax.tree.map(lambda leaf: leaf[1], all_seeds)
    for name, call in calls.items():
        with pytest.raises(ConfigError, match="leading axis of 2 seeds"):
            call(refusing.latent, *all_seeds)
        expected = call(made.latent, *one_seed)
        found = call(refusing.latent, *one_seed)
        chex.assert_trees_all_equal(found, expected, custom_message=name)


def test_the_lines_of_the_readme_run(ring):
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text("utf-8")
    (lines,) = [part for part in readme.split("\n\n") if "from dgm_jax.run import load\n" in part]
    scope = {}
    exec(textwrap.dedent(lines).replace("runs/digits", str(ring[0])), scope)
    assert scope["images"].shape == (16, 2) and len(lines.splitlines()) == 4


def test_settings_are_views(undisturbed):
    """The recipe sees what `build` sees: sweepable numbers in `hyper` only."""
    seen = {}

    def model(config, hyper, dataset):
        seen.update(hyper)
        with pytest.raises(AttributeError, match="build takes hyper"):
            _ = config.rate
        return tiny().functions.model(config, hyper, dataset)

    load(undisturbed, experiment=dataclasses.replace(tiny(), model=model))
    assert seen["rate"] == 0.1
