"""Captions to images end to end on real digits, and its parts against brute force."""

import functools
import json

import jax
import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import ConfigError
from dgm_jax.data import captions
from dgm_jax.experiments import feature_classifier
from dgm_jax.experiments import text_to_image as experiment
from dgm_jax.experiments.text_to_image import measure, task
from dgm_jax.run import check, main


@functools.cache
def digits():
    return data.load("digits", scaling="unit")


def test_prompts_name_their_class():
    names = ("T-shirt/top", "Ankle boot", "Bag")
    classes = digits().info.class_names
    reader = captions.tokenizer(names)
    prompts, labels = task.prompts_of(names, reader, 7)
    texts = [reader.decode(row) for row in prompts]
    assert texts == [
        "a t-shirt",
        "an ankle boot",
        "a bag",
        "a top",
        "an ankle boot",
        "a bag",
        "a t-shirt",
    ]
    np.testing.assert_array_equal(labels, [0, 1, 2, 0, 1, 2, 0])
    assert len(task.prompts_of(classes, captions.tokenizer(classes), 25)[0]) == 25


def test_a_batch_has_captions_of_its_own_images_and_some_blanks():
    dataset, config = digits(), experiment.Config(batch_size=50)
    limits = captions.terciles(dataset.train["image"])
    texts = captions.captions(
        dataset.train["image"], dataset.train["label"], dataset.info.class_names, limits
    )
    arrays = {"train": data.arrays(dataset) | {"texts": texts}}
    draw = task._draw(config, dataset)
    batches = [draw(arrays, jax.random.key(0), index) for index in range(20)]
    blank = 0
    known = {
        image.tobytes(): rows for image, rows in zip(dataset.train["image"], texts, strict=True)
    }
    for index, batch in enumerate(batches):
        assert batch["step"] == index
        for image, text in zip(
            np.asarray(data.to_uint8(batch["x"], "unit")), np.asarray(batch["text"]), strict=True
        ):
            if not text.any():
                blank += 1
            else:
                assert any(np.array_equal(text, row) for row in known[image.tobytes()])
    share = blank / 1000
    assert abs(share - task.NULL_SHARE) < 4 * np.sqrt(0.1 * 0.9 / 1000)


@pytest.mark.parametrize("size", [7, 1000, 2300])
def test_distance_to_the_nearest_training_image(size):
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (size, 4, 4, 1), np.uint8)
    images = rng.uniform(size=(5, 4, 4, 1)).astype(np.float32)
    images[0] = train[size // 2] / 255
    differences = images.reshape(5, 1, -1) - train.reshape(1, size, -1) / 255
    expected = np.sqrt((differences**2).sum(-1)).min(1)
    np.testing.assert_allclose(measure.nearest_distance(images, train), expected, atol=2e-3)


SMALL = [
    "--data",
    "digits",
    "--num_codes",
    "8",
    "--width",
    "4",
    "--num_steps",
    "30",
    "--log_every",
    "15",
    "--num_prompts",
    "20",
    "--prior_width",
    "8",
    "--prior_layers",
    "1",
    "--progress",
    "quiet",
]


def test_every_program_of_it_can_be_traced(tmp_path, capsys):
    """Shapes of initialization, steps and evaluation, without compiling them; the judge is a short
    run of ours."""
    judge = [
        "--data",
        "digits",
        "--num_steps",
        "20",
        "--log_every",
        "20",
        "--progress",
        "quiet",
        "--out",
    ]
    assert main(feature_classifier.EXPERIMENT, [*judge, str(tmp_path / "judge")]) == 0
    assert check(experiment.EXPERIMENT, [*SMALL, "--classifier", str(tmp_path / "judge")]) == 0
    shown = capsys.readouterr().out
    assert "digits" in shown and "autoregressive" in shown and shown.rstrip().endswith("ok")


@pytest.mark.slow
def test_a_run_on_digits(tmp_path, monkeypatch):
    """The classifier that judges is trained in the folder at hand; figures and metrics are all
    there."""
    monkeypatch.chdir(tmp_path)
    flags = [*SMALL, "--out", "run"]
    assert main(experiment.EXPERIMENT, flags) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    metrics = {name: value["mean"] for name, value in summary["metrics"].items()}
    assert 0 <= metrics["agreement"] <= 1 and metrics["agreement"] * 20 == pytest.approx(
        round(metrics["agreement"] * 20)
    )
    assert 0 < metrics["bits_per_image_token"] < 5  # log2 8 = 3 for a uniform guess
    assert metrics["distance_to_train"] > 0 and metrics["test_distance_to_train"] > 0
    assert summary["dataset"]["judge"]["test_accuracy"] > 0.8
    assert any("captions_seed_0" in path.name for path in (tmp_path / "run" / "figures").iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relaxation": "hard"}, "relaxation"),
        ({"final_temperature": 0.0}, "final_temperature"),
        ({"autoencoder_share": 1.5}, "autoencoder_share"),
        ({"width": 3}, "width must be even"),
        ({"prior_width": 6}, "multiple of 4"),
        ({"beta": -1.0}, "beta"),
    ],
)
def test_settings_that_no_run_could_use(settings, message):
    with pytest.raises(ConfigError, match=message):
        task.validate(experiment.Config(**settings))
