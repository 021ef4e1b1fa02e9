"""The experiment end to end on real digits, and the settings it refuses."""

import json

import numpy as np
import pytest

from dgm_jax.core import ConfigError
from dgm_jax.experiments import gumbel_vae_images as experiment
from dgm_jax.experiments.gumbel_vae_images import task
from dgm_jax.run import main


def test_bounds_are_in_order(tmp_path):
    """On 8x8 digits with 16 latents: one draw <= a hundred draws <= log p, up to noise; training
    helps."""
    flags = [
        "--data",
        "digits",
        "--estimator",
        "exact",
        "--num_variables",
        "2",
        "--num_classes",
        "4",
        "--num_seeds",
        "2",
        "--num_steps",
        "150",
        "--log_every",
        "75",
        "--num_importance",
        "100",
        "--num_eval",
        "60",
        "--progress",
        "quiet",
        "--optimizer",
        "adam",
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
        {k: np.mean(v) for k, v in row.items() if isinstance(v, list)}
        for row in (rows[0], rows[-1])
    )
    assert (
        last["test_elbo"] < -last["negative_bound"] + 0.2
        and -last["negative_bound"] < last["log_prob"] + 0.1
    )
    assert last["log_prob"] > first["log_prob"]
    uniform = 64 * np.log(2)
    assert -last["log_prob"] < uniform - 5  # better than a fair coin a pixel, of 44.4 nats
    np.testing.assert_allclose(
        last["relaxation_gap"], last["relaxed_elbo"] - last["test_elbo"], atol=1e-3
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": ("exact",)}, "exact needs at most"),
        ({"estimator": ("reinforce",)}, "gradient estimator"),
        ({"num_importance": 1001}, "multiple of 10"),
        ({"num_classes": 1}, "num_classes"),
        ({"anneal_rate": -1.0}, "anneal_rate"),
    ],
)
def test_settings_that_no_run_could_use(settings, message):
    with pytest.raises(ConfigError, match=message):
        task.validate(experiment.Config(**settings))
