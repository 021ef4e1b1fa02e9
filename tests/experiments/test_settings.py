"""Settings of every experiment: what no run could use is refused before anything is loaded, with
its name, and what is offered is what there is."""

import dataclasses
import fnmatch
import json
import os
import pathlib
import signal
import subprocess
import sys
import tomllib
import types
import typing

import pytest

from dgm_jax import cli, models, native, networks, objectives, parallel, training
from dgm_jax.core import ConfigError
from dgm_jax.data.dataset import BINARIZATIONS
from dgm_jax.experiments._shared.vae.task import NETWORKS
from dgm_jax.experiments.avb_four_points.task import PRESETS
from dgm_jax.experiments.avb_images.task import MODELS
from dgm_jax.experiments.avb_posteriors.measure import FAMILIES, POSTERIORS
from dgm_jax.experiments.dirac_gan.steps import ARMS
from dgm_jax.experiments.gan_images.task import EXTRACTORS
from dgm_jax.experiments.gan_optimality.pairs import PAIRS
from dgm_jax.models import RELAXATIONS, latent
from dgm_jax.parallel.layouts import LAYOUTS
from dgm_jax.priors import FROM_DIM
from dgm_jax.quantization import GRADIENTS, QUANTIZERS
from dgm_jax.run import LaunchConfig, OptimizerConfig, catalogue, main
from dgm_jax.run.cells import validate
from dgm_jax.run.placement import PLACES
from dgm_jax.run.settings import OPTIMIZER_SWEEPABLE, names_of
from dgm_jax.sampling.estimators import ESTIMATORS
from dgm_jax.terminal.displays import DISPLAYS
from dgm_jax.terminal.progress import Progress
from dgm_jax.trackers import TRACKERS

ROOT = pathlib.Path(__file__).parents[2]
EXPERIMENTS = {name: entry.load() for name, entry in catalogue.experiments().items()}

# What each setting offers, beside "" for none and "auto".
REGISTRIES = {
    ("avb_four_points", "model"): ("vae", "avb"),
    ("avb_four_points", "preset"): PRESETS,
    ("avb_images", "model"): MODELS,
    ("avb_posteriors", "arm"): [f"{p}/{f}" for p in POSTERIORS for f in FAMILIES],
    ("dirac_gan", "arm"): ARMS,
    ("gan_images", "feature_extractor"): EXTRACTORS,
    ("gan_images", "loss"): objectives.gan.LOSSES,
    ("gan_images", "penalty"): models.PENALTIES,
    ("gan_optimality", "activation"): networks.ACTIVATIONS,
    ("gan_optimality", "arm"): PAIRS,
    ("gradient_estimators", "estimator"): ESTIMATORS,
    ("gumbel_vae_images", "estimator"): ESTIMATORS,
    ("launch", "convolutions"): native.CONVOLUTIONS,
    ("launch", "data_on"): PLACES,
    ("launch", "devices"): LAYOUTS,
    ("launch", "progress"): DISPLAYS,
    ("launch", "strategy"): parallel.STRATEGIES,
    ("launch", "trackers"): TRACKERS,
    ("text_to_image", "relaxation"): RELAXATIONS,
    ("vae_priors", "prior"): {*FROM_DIM, "vamp"},
    ("vae_priors", "bound"): latent.BOUNDS,
    ("vqvae_images", "gradient"): GRADIENTS,
    ("vqvae_images", "quantizer"): QUANTIZERS,
    ("vqvae_images", "start"): ("normal", "kmeans"),
}
for _name, _experiment in EXPERIMENTS.items():
    if issubclass(_experiment.config, OptimizerConfig):
        REGISTRIES |= {
            (_name, "optimizer"): training.OPTIMIZERS,
            (_name, "schedule"): training.SCHEDULES,
        }
    if "precision" in names_of(_experiment.config):
        REGISTRIES[_name, "precision"] = networks.PRECISIONS
for _name in ("gan_grid", "gan_ring"):
    REGISTRIES |= {
        (_name, "loss"): objectives.gan.LOSSES,
        (_name, "method"): models.METHODS,
        (_name, "protocol"): models.PROTOCOLS,
    }
for _name in ("avb_images", "elbo_surgery", "vae_priors"):
    REGISTRIES |= {
        (_name, "binarization"): set(BINARIZATIONS) - {"none"},
        (_name, "network"): NETWORKS,
    }


def choices(hint) -> set[str]:
    """Of a Literal, or of the Literals in a tuple or a union; empty for anything else."""
    if typing.get_origin(hint) is typing.Literal:
        return set(typing.get_args(hint))
    if typing.get_origin(hint) in (tuple, typing.Union, types.UnionType):
        return set().union(*map(choices, typing.get_args(hint)))
    return set()


OFFERED = {
    (name, setting): choices(hint) - {"", "auto"}
    for name, config in [("launch", LaunchConfig), *((n, e.config) for n, e in EXPERIMENTS.items())]
    for setting, hint in typing.get_type_hints(config).items()
    if choices(hint)
}


def test_every_choice_is_held_against_its_registry():
    assert OFFERED.keys() == REGISTRIES.keys()


@pytest.mark.parametrize(("name", "setting"), sorted(REGISTRIES))
def test_a_setting_offers_what_there_is(name, setting):
    assert OFFERED[name, setting] == set(REGISTRIES[name, setting])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_all_arms_of_a_registry_are_in_its_order(name):
    """A selection has an order of its own."""
    field = EXPERIMENTS[name].arm_field
    default = getattr(EXPERIMENTS[name].config(), field) if field else ()
    if set(default) == set(REGISTRIES.get((name, field), ())):
        assert list(default) == list(REGISTRIES.get((name, field), ()))


SETTINGS_ALONE = """
import importlib, json, sys
from dgm_jax.run import catalogue
for name, entry in catalogue.experiments().items():
    entry.load().config()
print(json.dumps([name for name in ("jax", "flax", "optax", "matplotlib") if name in sys.modules]))
"""


def test_the_settings_of_all_experiments_import_no_jax():
    command = [sys.executable, "-c", SETTINGS_ALONE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_sweepable_settings_are_numbers(name):
    hints = typing.get_type_hints(EXPERIMENTS[name].config)
    for setting in EXPERIMENTS[name].sweepable:
        assert hints[setting] in (float, float | None), setting


MAY_BE_NEGATIVE = {("gradient_estimators", "target")}


def numbers(experiment):
    """{name: -1 as its type} of settings that are a number, one that may be left out, or a list of
    them."""
    hints = typing.get_type_hints(experiment.config)
    hints = {
        name: hint for name, hint in hints.items() if {hint, *typing.get_args(hint)} & {int, float}
    }
    return {name: (-1,) if typing.get_origin(hint) is tuple else -1 for name, hint in hints.items()}


@pytest.mark.parametrize(
    "name, setting",
    [
        (name, s)
        for name, e in EXPERIMENTS.items()
        for s in numbers(e)
        if (name, s) not in MAY_BE_NEGATIVE
    ],
)
def test_no_setting_takes_a_negative_number(name, setting):
    experiment = EXPERIMENTS[name]
    validate(experiment, experiment.config())
    with pytest.raises(ConfigError, match=rf"{setting}.*-1"):
        validate(
            experiment,
            dataclasses.replace(experiment.config(), **{setting: numbers(experiment)[setting]}),
        )


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_whole_numbers_fit_into_32_bits(name):
    experiment = EXPERIMENTS[name]
    hints = typing.get_type_hints(experiment.config)
    whole = [s for s in numbers(experiment) if int in {hints[s], *typing.get_args(hints[s])}]
    assert {"seed", "num_seeds", "num_steps", "log_every"} <= set(whole)
    for setting in whole:
        value = 2**32 if setting == "seed" else 2**31
        value = (value,) if isinstance(numbers(experiment)[setting], tuple) else value
        with pytest.raises(ConfigError, match=rf"{setting} must be .*2\*\*3[12], got \d+"):
            validate(experiment, dataclasses.replace(experiment.config(), **{setting: value}))


@pytest.mark.parametrize(
    ("name", "setting", "most"),
    [
        ("avb_four_points", "num_critic_updates", 10_000),
        ("avb_images", "ais_steps", 1_000_000),
        ("avb_images", "num_critic_updates", 10_000),
        ("avb_posteriors", "critic_blocks", 1_000),
        ("avb_posteriors", "num_critic_updates", 10_000),
        ("text_to_image", "num_codes", 2**30),
        ("text_to_image", "prior_layers", 1_000),
        ("vae_priors", "ais_steps", 1_000_000),
        ("vqvae_images", "num_levels", 1_000),
        ("vqvae_images", "prior_layers", 1_000),
    ],
)
def test_what_a_program_is_repeated_for_has_an_upper_bound(name, setting, most):
    experiment = EXPERIMENTS[name]
    validate(experiment, dataclasses.replace(experiment.config(), **{setting: most}))
    with pytest.raises(ConfigError, match=rf"{setting} must be at most .*, got "):
        validate(experiment, dataclasses.replace(experiment.config(), **{setting: most + 1}))


def test_too_many_latents_to_count_through_are_refused_at_once():
    """Their number alone would be a power of billions of digits."""
    experiment = EXPERIMENTS["gumbel_vae_images"]
    exact = {"estimator": ("exact",), "num_classes": 4}
    validate(experiment, experiment.config(**exact, num_variables=6))  # 4,096
    for many in (7, 2**31 - 1):
        with pytest.raises(ConfigError, match=rf"exact needs at most 4096 latents, got 4\^{many}"):
            validate(experiment, experiment.config(**exact, num_variables=many))


@pytest.mark.parametrize(
    "name", [name for name, e in EXPERIMENTS.items() if "learning_rate" in numbers(e)]
)
def test_a_learning_rate_that_is_swept_is_checked_too(name):
    experiment = EXPERIMENTS[name]
    with pytest.raises(ConfigError, match="learning_rate must be .*, got -1"):
        validate(experiment, experiment.config(), {"learning_rate": (1e-3, -1.0)})


def test_one_more_image_than_there_are():
    """num_eval of the images under test; the default of gan_images is as many as there are."""
    for name in ("gan_images", "gumbel_vae_images"):
        experiment = EXPERIMENTS[name]
        settings = experiment.data_view(experiment.config(data="digits", num_eval=356))
        with pytest.raises(ConfigError, match="num_eval=356, but digits has 355 test images"):
            experiment.functions.needs(settings)
            experiment.functions.load(settings, ())


def test_all_settings_that_need_more_images_are_named_at_once():
    experiment = EXPERIMENTS["vae_priors"]
    settings = experiment.data_view(experiment.config(data="digits", num_eval=356, num_ais=355))
    message = (
        "num_eval=356, but digits has 355 test images; num_surgery=10000, but digits has 1442 tr"
    )
    with pytest.raises(ConfigError, match=message):
        experiment.functions.load(settings, ())


def test_a_check_trains_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = "check gan_images --data digits --features 8 --num_seeds 1 --no-compile"
    assert cli.main(words.split()) == 0
    assert "feature_classifier: none in runs/feature_classifier/digits-" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["--help"], *([name, "-h"] for name in cli.COMMANDS)])
def test_help_wherever_it_is_asked_for(words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(" ".join(["usage: dgm-jax", *words[:-1]]))
    assert ("examples:" in shown) == (words != ["--help"])


@pytest.mark.slow
def test_a_signal_during_what_a_run_needs_first_stops_the_run(tmp_path, monkeypatch, capsys):
    """gan_images trains its classifier first; the exit code is the signal's, neither folder counts
    as begun, and the same command goes on."""
    monkeypatch.chdir(tmp_path)
    training = Progress.training

    def training_and_signal(self, name, *arguments):
        assert name == "feature_classifier"
        os.kill(os.getpid(), signal.SIGTERM)
        return training(self, name, *arguments)

    monkeypatch.setattr(Progress, "training", training_and_signal)
    flags = ["--data", "digits", "--num_steps", "1", "--out", "run", "--progress", "quiet"]
    assert main(EXPERIMENTS["gan_images"], flags) == 143
    said = capsys.readouterr().err
    assert "stopped by SIGTERM; nothing of the run was trained yet: start again with" in said
    assert "the same settings, --out run --resume" in said
    (classifier,) = (tmp_path / "runs" / "feature_classifier").iterdir()
    assert not any(classifier.glob("[!.]*")) and not any((tmp_path / "run").glob("[!.]*"))
    monkeypatch.setattr(Progress, "training", training)
    assert main(EXPERIMENTS["gan_images"], [*flags, "--resume"]) == 0
    assert (classifier / "summary.json").exists() and (tmp_path / "run" / "summary.json").exists()


SMALL = {
    "gan_images": "--data digits --features 8",
    "gumbel_vae_images": "--data digits --num_eval 20 --num_importance 20",
    "text_to_image": (
        "--data digits --num_codes 16 --width 8 --prior_width 16 --prior_layers 1 --num_prompts 10"
    ),
    "vqvae_images": "--data digits --num_codes 16 --width 8 --prior_width 16",
    "vae_priors": (
        "--data digits --batch_size 96 --prior standard_normal --num_eval 10 --num_ais 4"
        " --num_surgery 50"
    ),
    "elbo_surgery": "--data digits --batch_size 96 --hidden 20 --latent 2",
    "avb_images": "--data digits --batch_size 96 --model avb --num_ais 4",
    "feature_classifier": "--data digits",
    "gradient_estimators": "--estimator gumbel_softmax --budget 10",
    "avb_posteriors": "--arm torus/avb",
    "avb_four_points": "--model vae",
}
SHORT_FORMS = tomllib.loads((ROOT / "tools" / "short_forms.toml").read_text("utf-8"))
SWEPT = {name: e.sweepable[0] for name, e in EXPERIMENTS.items() if e.sweepable}
SWEPT["avb_posteriors"] = "learning_rate"  # of the arms that read the short form's other flags


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEPT)
def test_an_ablation_ends_with_its_pictures_and_its_report(name, tmp_path, monkeypatch, capsys):
    """The names of its arms hold the swept value too."""
    monkeypatch.chdir(tmp_path)
    words = SHORT_FORMS["experiments"][name].replace("--classifier {classifier}", "").split()
    words += reader_of(EXPERIMENTS[name], SWEPT[name])
    flags = [*SHORT_FORMS["common"].split(), *words, "--out", "run"]
    grid = ["--grid", f"{SWEPT[name]}=0.002,0.001"]
    assert cli.main(["ablate", name, *flags, *grid]) == 0, capsys.readouterr().err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert len(set(summary["arms"])) % 2 == 0 and (tmp_path / "run" / "report.html").exists()


def reader_of(experiment, setting) -> list[str]:
    """Flags of a cell that reads a setting, where not all cells do."""
    words = []
    for other, patterns in experiment.read_where.get(setting, {}).items():
        offered = sorted(choices(typing.get_type_hints(experiment.config)[other]))
        words += [f"--{other}", fnmatch.filter(offered, patterns[0])[0]]
    return words


CHANGES_THE_DATA = ("gradient_estimators", "target")


def is_the_same_everywhere(name, setting) -> bool:
    """Whether another experiment tests a setting of the optimizer, all of which go one way."""
    return setting in OPTIMIZER_SWEEPABLE and name != "mode_covering"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, setting",
    [
        (n, s)
        for n, e in EXPERIMENTS.items()
        for s in numbers(e)
        if "float" in str(typing.get_type_hints(e.config)[s])
        and (n, s) != CHANGES_THE_DATA
        and not is_the_same_everywhere(n, s)
    ],
)
def test_every_number_can_be_swept(name, setting, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [
        "check",
        name,
        *SMALL.get(name, "").split(),
        *reader_of(EXPERIMENTS[name], setting),
        "--num_seeds",
        "1",
        "--no-compile",
        "--grid",
        f"{setting}=.5,.25",
    ]
    assert cli.main(words) == 0, capsys.readouterr().err
