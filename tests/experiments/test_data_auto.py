"""`--data auto`: image experiments take what is there, and the run is that of the set by name."""

import json

import pytest

from dgm_jax import cli, data
from dgm_jax.data._available import Available
from dgm_jax.run import catalogue

WITH_IMAGES = [
    name
    for name in catalogue.experiments()
    if getattr(catalogue.load_experiment(name).config(), "data", "") == data.AUTO
]
DIGITS = Available("digits", "data: auto takes digits", {"train": 1_442, "test": 355})


@pytest.fixture
def digits_only(monkeypatch):
    monkeypatch.setattr(data, "available", lambda: DIGITS)


def test_all_image_experiments_take_what_is_there():
    assert len(WITH_IMAGES) == 8


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_what_is_left_open_is_resolved_and_what_was_given_is_kept(digits_only, name):
    experiment = catalogue.load_experiment(name)
    resolve = experiment.functions.resolve
    config, sentences = resolve(experiment.config())
    assert config.data == "digits" and sentences[0] == DIGITS.sentence
    experiment.functions.load(
        experiment.data_view(config), (None,)
    )  # asks for no more than there is
    given = experiment.config(data="mnist_5k")
    assert resolve(given) == (given, ())


def test_only_numbers_at_their_default_are_lowered(digits_only):
    experiment = catalogue.load_experiment("vae_priors")
    config, sentences = experiment.functions.resolve(experiment.config(num_eval=400))
    assert (config.num_eval, config.num_surgery, config.num_ais) == (400, 1_442, 100)
    assert sentences[1:] == ("num_surgery=1442, all train images of digits, not 10000",)


def test_the_run_is_that_of_the_set_by_name(digits_only, tmp_path, monkeypatch, capfd):
    """Settings, data and bits; it goes on as that set wherever it is resumed."""
    monkeypatch.chdir(tmp_path)
    small = "--num_seeds 1 --num_steps 2 --log_every 1 --batch_size 4".split()
    flags = [*small, "--progress", "lines", "--num_devices", "1"]
    for out, more in (("auto", []), ("named", ["--data", "digits"])):
        assert cli.main(["run", "feature_classifier", *flags, "--out", out, *more]) == 0
        shown = capfd.readouterr()
        assert (DIGITS.sentence in shown.err) == (out == "auto") == (DIGITS.sentence in shown.out)
        report = (tmp_path / out / "report.html").read_text("utf-8")
        assert (DIGITS.sentence in report) == (out == "auto")
    summaries = [
        json.loads((tmp_path / out / "summary.json").read_text()) for out in ("auto", "named")
    ]
    for key in ("config", "dataset", "final_params_sha256", "metrics"):
        assert summaries[0][key] == summaries[1][key]
    assert cli.main(["run", "feature_classifier", *flags, "--out", "auto", "--resume"]) == 0
    assert cli.main(["resume", "auto"]) == 0
