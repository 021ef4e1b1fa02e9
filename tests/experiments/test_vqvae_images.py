"""The experiment end to end on real digits: the parts of the bound add up, training helps; refused
settings."""

import functools
import json

import jax
import numpy as np
import pytest
import scipy.special

from dgm_jax import data, quantization
from dgm_jax.core import SOLO, ConfigError
from dgm_jax.experiments import vqvae_images as experiment
from dgm_jax.experiments.vqvae_images import task
from dgm_jax.models import vqvae_codes
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
        ({"quantizer": "ema"}, "moving_average"),
        ({"quantizer": "finite_scalar", "levels": (8, 1)}, "levels must be integers"),
        ({"quantizer": "product", "num_levels": 5}, "multiple of 5 heads"),
        ({"quantizer": "residual", "num_levels": 0}, "num_levels"),
        ({"start": "means"}, "kmeans"),
        ({"threshold": -0.1}, "threshold"),
        ({"decay": 1.0}, "decay"),
        ({"width": 7}, "width must be even"),
        ({"prior_width": 30}, "multiple of 4"),
        ({"num_codes": 0}, "num_codes"),
    ],
)
def test_settings_that_no_run_could_use(settings, message):
    with pytest.raises(ConfigError, match=message):
        task.validate(experiment.Config(**settings))


QUANTIZERS = {
    "moving_average": {"start": "kmeans"},
    "codebook_loss": {"cosine": True},
    "finite_scalar": {"levels": (3, 2)},
    "residual": {"num_levels": 3, "start": "kmeans"},
    "product": {"num_levels": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", QUANTIZERS)
def test_every_quantizer_trains_and_tells_the_usage_of_each_level(name):
    """Two steps by the task itself; usage of the test images' codes against counts by numpy."""
    assert set(QUANTIZERS) == set(quantization.QUANTIZERS)
    config = experiment.Config(
        data="digits",
        quantizer=name,
        **QUANTIZERS[name],
        batch_size=16,
        num_codes=6,
        code_width=4,
        width=4,
        prior_width=8,
        prior_layers=1,
        num_steps=2,
    )
    task.validate(config)
    inputs = task.load(experiment.EXPERIMENT.data_view(config), ())
    info = inputs.context.info
    view, hyper = experiment.EXPERIMENT.build_view(config)
    vae = task.recipe(view, hyper, info.shape)
    one_seed = task.build(view, hyper, inputs)
    algorithm = one_seed.algorithm(SOLO)

    @jax.jit
    def run(arrays):
        now = algorithm.init(jax.random.key(0), *one_seed.init(jax.random.key(1)))
        draw = functools.partial(one_seed.draw, arrays, jax.random.key(2))
        for _ in range(2):
            now, told = algorithm.step(now, draw)
        images = data.to_model_range(arrays["test"]["image"], info.scaling)
        codes = vqvae_codes(vae, now.params, now.state, images)
        return told, one_seed.evaluate(now, arrays, jax.random.key(3)), codes

    told, rows, codes = run(inputs.arrays)
    assert all(np.isfinite(value) for value in told.losses.values())
    assert all(np.all(np.isfinite(value)) for value in rows.values())
    codes, num_codes = np.asarray(codes), vae.quantizer.num_codes
    levels = codes.reshape(len(codes) * 4, -1).T
    shares = np.stack([np.bincount(level, minlength=num_codes) for level in levels])
    shares = shares / shares.sum(1, keepdims=True)
    used = np.mean(shares > 0, axis=1)
    perplexity = np.exp(-np.sum(scipy.special.xlogy(shares, shares), axis=1))
    np.testing.assert_allclose(rows["usage"], used.mean(), rtol=1e-6)
    np.testing.assert_allclose(rows["perplexity"], perplexity.mean(), rtol=1e-4)
    several = name in ("residual", "product")
    assert several == (len(levels) > 1) == ("usage_0" in rows)
    for index in range(len(levels) if several else 0):
        np.testing.assert_allclose(rows[f"usage_{index}"], used[index], rtol=1e-6)
        np.testing.assert_allclose(rows[f"perplexity_{index}"], perplexity[index], rtol=1e-4)
    uniform = rows["decoder_bits_per_dim"] + codes[0].size * np.log2(num_codes) / 64
    np.testing.assert_allclose(rows["uniform_bits_per_dim"], uniform, rtol=1e-5)
