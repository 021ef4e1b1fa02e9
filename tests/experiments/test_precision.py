"""`--precision bfloat16` of every experiment on images: what a step computes in which type, and a
run that is stopped and goes on."""

import dataclasses
import json
import os
import re
import signal

import jax
import jax.numpy as jnp
import pytest
import short_forms

from dgm_jax import training
from dgm_jax.core import SOLO, ConfigError
from dgm_jax.experiments import vqvae_images
from dgm_jax.run import catalogue, main
from dgm_jax.run.cells import validate
from dgm_jax.run.settings import as_recorded, names_of

EXPERIMENTS = {name: entry.load() for name, entry in catalogue.experiments().items()}
NAMES = [name for name, e in EXPERIMENTS.items() if "precision" in names_of(e.config)]
FAMILIES = (
    "avb_images",
    "elbo_surgery",
    "gan_images",
    "gumbel_vae_images",
    "text_to_image",
    "vae_priors",
    "vqvae_images",
)
PRODUCT = re.compile(r"stablehlo\.(convolution|dot_general).*: \(tensor<[\dx]*x(\w+)>, tensor")


def test_the_image_families_have_the_setting():
    assert sorted(NAMES) == list(FAMILIES)


def step(name):
    """(shapes of a lane, two of its steps, traced), in bfloat16 and by lax's convolutions."""
    experiment, groups, inputs = short_forms.short_form(name, "--precision", "bfloat16")
    view, hyper = experiment.build_view(groups[0].arms[0].config)
    program = training.lane_program(lambda lane: experiment.functions.build(view, hyper, inputs))
    lane = jax.eval_shape(lambda key: program.init(key, {}), jax.random.key(0))
    advance = jax.jit(lambda lane, data: program.advance(lane, data, 2, SOLO))
    return lane, advance.trace(lane, inputs.arrays)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "elbo_surgery"])
def test_a_step_multiplies_in_bfloat16_and_keeps_float32(name):
    lane, traced = step(name)
    after = jax.tree.leaves(traced.out_info)
    for leaf in (*jax.tree.leaves(lane), *after):
        assert not jnp.issubdtype(leaf.dtype, jnp.floating) or leaf.dtype == jnp.float32
    products = PRODUCT.findall(traced.lower(lowering_platforms=("tpu",)).as_text())
    of = lambda kind: [dtype for operation, dtype in products if operation == kind]
    assert set(of("convolution")) <= {"bf16"}
    assert of("dot_general").count("bf16") > of("dot_general").count("f32")


@pytest.mark.parametrize("name", NAMES)
def test_the_default_is_recorded_as_runs_of_before_have_it(name):
    config = EXPERIMENTS[name].config()
    assert "precision" not in as_recorded(config)
    half = dataclasses.replace(config, precision="bfloat16")
    assert as_recorded(half)["precision"] == "bfloat16"
    with pytest.raises(ConfigError, match="unknown precision 'float16'"):
        validate(EXPERIMENTS[name], dataclasses.replace(config, precision="float16"))


def test_a_run_in_bfloat16_is_resumed_with_the_same_bits(tmp_path, capfd):
    words = short_forms.FORMS["experiments"]["vqvae_images"].split()
    words += "--num_seeds 1 --num_steps 2 --log_every 1 --progress quiet --num_devices 1".split()

    def run(out, *flags, **changes):
        experiment = dataclasses.replace(vqvae_images.EXPERIMENT, **changes)
        return main(experiment, [*words, "--out", str(tmp_path / out), *flags])

    def summarize(arrays, config, inputs):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"squared_error": arrays["squared_error"]}

    half = ("--precision", "bfloat16")
    assert run("whole", *half) == 0
    assert run("stopped", *half, summarize=summarize) == 143
    assert json.loads((tmp_path / "stopped" / "config.json").read_text())["precision"] == "bfloat16"
    assert run("stopped", "--resume") == 2
    assert "precision" in capfd.readouterr().err
    assert run("stopped", *half, "--resume") == 0
    whole, stopped = (
        json.loads((tmp_path / out / "summary.json").read_text()) for out in ("whole", "stopped")
    )
    assert whole["final_model_sha256"] == stopped["final_model_sha256"]
