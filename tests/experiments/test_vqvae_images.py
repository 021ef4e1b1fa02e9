"""The experiment end to end on real digits: the parts of the bound add up, training helps; refused
settings."""

import json

import numpy as np
import pytest

from dgm_jax.core import ConfigError
from dgm_jax.experiments import vqvae_images as experiment
from dgm_jax.experiments.vqvae_images import task
from dgm_jax.run import main


@pytest.mark.slow
def test_parts_of_the_bound_add_up_and_fall(tmp_path):
    flags = [
        "--data",
        "digits",
        "--num_codes",
        "16",
        "--code_width",
        "4",
        "--width",
        "8",
        "--prior_width",
        "8",
        "--num_steps",
        "120",
        "--log_every",
        "60",
        "--num_seeds",
        "1",
        "--batch_size",
        "32",
        "--prior_layers",
        "1",
        "--progress",
        "quiet",
        "--learning_rate",
        "0.01",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(experiment.EXPERIMENT, flags) == 0
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    first, last = (
        {k: v[0] for k, v in row.items() if isinstance(v, list)} for row in (rows[0], rows[-1])
    )
    places, pixels = 4, 64
    np.testing.assert_allclose(
        last["uniform_bits_per_dim"], last["decoder_bits_per_dim"] + places * 4 / pixels, rtol=1e-5
    )
    total = last["decoder_bits_per_dim"] + places * last["prior_bits"] / pixels
    np.testing.assert_allclose(last["bits_per_dim"], total, rtol=1e-5)
    assert (
        last["bits_per_dim"] < first["bits_per_dim"]
        and last["squared_error"] < first["squared_error"]
    )
    assert (
        last["usage"] * 16 == round(last["usage"] * 16)
        and 1 <= last["perplexity"] <= 16 * last["usage"] + 1e-3
    )
    names = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert any("reconstructions" in name for name in names) and any(
        "samples" in name for name in names
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gradient": "straight"}, "straight_through"),
        ({"codebook": "ema"}, "average"),
        ({"cosine": True}, "codebook loss"),
        ({"width": 7}, "width must be even"),
        ({"prior_width": 30}, "multiple of 4"),
        ({"num_codes": 0}, "num_codes"),
    ],
)
def test_settings_that_no_run_could_use(settings, message):
    with pytest.raises(ConfigError, match=message):
        task.validate(experiment.Config(**settings))
