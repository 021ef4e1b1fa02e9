"""`dgm-jax export`: files that sample without the library, and a card that says what they are."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from jax import export
from tiny_game import run, stopping

from dgm_jax import cli
from dgm_jax.networks import Conv
from dgm_jax.run import exporting, load
from dgm_jax.run.model_card import _escaped
from dgm_jax.store.records import read_json

BY_HAND = """
    import jax, pathlib, sys, safetensors.numpy
    sys.modules["dgm_jax"] = None
    from jax import export

    program = export.deserialize(bytearray(pathlib.Path("sample.stablehlo").read_bytes()))
    arrays = safetensors.numpy.load_file("model.safetensors")
    samples = program.call(arrays, jax.random.key_data(jax.random.key(3)))
    print(samples.tolist())
"""


def test_the_sampler_runs_without_the_library(undisturbed, installed, tmp_path):
    """It draws what the model of the run draws."""
    out = tmp_path / "files"
    assert cli.main(["export", str(undisturbed), "--seed", "1", "--num", "5"] + to(out)) == 0
    trained = load(undisturbed, seed=1)
    expected = trained.model.sample(trained.params, trained.state, jax.random.key(3), 5)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BY_HAND)],
        cwd=out,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(json.loads(done.stdout), expected, rtol=1e-6)


def test_the_files_say_what_they_hold(undisturbed, installed, tmp_path, capsys):
    out = tmp_path / "files"
    assert cli.main(["export", str(undisturbed), *to(out), "--license", "cc-by-4.0"]) == 0
    assert "sample.stablehlo for cpu, cuda, tpu (16 samples a call)" in capsys.readouterr().out
    assert sorted(os.listdir(out)) == [
        "README.md",
        "model.json",
        "model.safetensors",
        "sample.stablehlo",
    ]
    about = read_json(out / "model.json")["about"]
    assert about["jax"] == jax.__version__ and about["step"] == 30 and about["seed"] == 0
    assert about["samples"] == {"dtype": "float32", "shape": [16]}
    arrays = safetensors.numpy.load_file(out / "model.safetensors")
    assert arrays["params/p/w"] == load(undisturbed, seed=0).params["p"]["w"]
    exported = export.deserialize(bytearray((out / "sample.stablehlo").read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    card = (out / "README.md").read_text()
    assert card.startswith('---\nlicense: "cc-by-4.0"\n')
    summary = read_json(undisturbed / "summary.json")["metrics"]["w"]
    [row] = [line for line in card.splitlines() if line.startswith("| w |")]
    assert f"{summary['mean']:.3f}"[:5] in row
    assert "| rate | 0.1 |" in card and "| identity | number |" in card


def test_an_unfinished_run_has_no_results_yet(installed, tmp_path):
    experiment = stopping(signal.SIGTERM, 2)
    installed(experiment)
    assert run(tmp_path / "run", experiment=experiment) == 128 + signal.SIGTERM
    assert cli.main(["export", str(tmp_path / "run"), *to(tmp_path / "files")]) == 0
    card = (tmp_path / "files" / "README.md").read_text()
    assert "The run is not finished" in card and "after 20 steps" in card


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num", "0"], "num must be at least 1, got 0"),
        (["--seed", "9"], "seed must be 0 to 2, got 9"),
        (["--arm", "plian"], "unknown arm 'plian'"),
        (["--out", "full"], "out must be a new or an empty folder, and full is neither"),
        (["--platforms"], "platforms must name one of cpu, cuda, tpu at least"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_sentence(
    undisturbed, installed, tmp_path, monkeypatch, capsys, flags, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert cli.main(["export", str(undisturbed), *flags]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and message in told
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_text_in_a_card_is_text():
    assert _escaped("a|b\n<script>_x_`") == "a\\|b &lt;script&gt;\\_x\\_\\`"


def test_images_are_lowered_without_code_of_our_own():
    """A convolution that oneDNN would compute on this processor is the platform's own."""
    layer = Conv(3, (3, 3))
    params = layer.init(jax.random.key(0), jnp.ones((1, 4, 4, 2)))

    def sample(params, state, key, num):
        return layer.apply(params, jax.random.normal(key, (num, 4, 4, 2)))

    trained = types.SimpleNamespace(model=types.SimpleNamespace(sample=sample))
    settings = exporting.ExportConfig(num=2, platforms=("cpu", "tpu"))
    content, about = exporting._program(trained, {"params": params, "state": {}}, settings)
    module = export.deserialize(bytearray(content)).mlir_module()
    assert about["samples"] == {"dtype": "float32", "shape": [2, 4, 4, 3]}
    assert "stablehlo.convolution" in module and "custom_call" not in module


def to(folder) -> list[str]:
    """The flag for the output."""
    return ["--out", str(folder)]
