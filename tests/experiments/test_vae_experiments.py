"""VAE experiments: the parts that have a truth, the settings they refuse, and (slow) each end to
end on real digits."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgm_jax import data, priors
from dgm_jax.core import ConfigError
from dgm_jax.experiments import avb_images, elbo_surgery, vae_priors
from dgm_jax.experiments._shared import binary_images
from dgm_jax.experiments._shared.vae import task as study
from dgm_jax.models import Vae, vae
from dgm_jax.models.latent import posterior
from dgm_jax.run import check, main

SHORT = [
    "--data",
    "digits",
    "--num_seeds",
    "2",
    "--num_steps",
    "60",
    "--log_every",
    "30",
    "--hidden",
    "32",
    "--progress",
    "quiet",
]
ANNEALED = ["--num_ais", "10", "--ais_steps", "5", "--num_chains", "2"]


def load(config):
    """What `vae_priors` loads for its settings."""
    experiment = vae_priors.EXPERIMENT
    return experiment.functions.load(experiment.data_view(config), ())


@pytest.fixture(scope="module")
def digits():
    config = vae_priors.Config(
        data="digits", latent_size=2, hidden=(8,), num_eval=10, num_ais=10, num_surgery=300
    )
    loaded = load(config)
    recipe = study.recipe(config, loaded.identity, config.latent_size)
    params, state = vae(recipe, loaded.context.info.shape).init(jax.random.key(0))
    params = jax.tree.map(lambda w: 2 * w, params)
    return config, loaded, recipe, params, state


def test_surgery_of_images_is_the_sum_over_all_pairs(digits):
    _, loaded, recipe, params, state = digits
    images = loaded.context.train["image"][:300]  # more than meet at once
    found = study.surgery(jax.random.key(3), recipe, params, state, images)
    loc, scale = (
        np.asarray(a, np.float64)
        for a in posterior(recipe, params, state, data.to_model_range(images, "unit"))
    )
    z = loc + scale * np.asarray(jax.random.normal(jax.random.key(3), (600,))).reshape(300, 2)
    pairs = scipy.stats.norm.logpdf(z[:, None], loc, scale).sum(-1)
    own, prior = np.diag(pairs), scipy.stats.norm.logpdf(z).sum(-1)
    aggregate = np.log(np.exp(pairs).mean(1))
    for name, truth in (
        ("average_kl", own - prior),
        ("mutual_information", own - aggregate),
        ("marginal_kl", aggregate - prior),
    ):
        assert float(found[name]) == pytest.approx(truth.mean(), abs=2e-4), name


def test_a_vamp_prior_starts_at_training_images(digits):
    config, loaded, *_ = digits
    images = loaded.context.train["image"]
    recipe = study.recipe(config, loaded.identity, config.latent_size, "vamp", 6, images)
    assert isinstance(recipe, Vae)
    params, _ = vae(recipe, loaded.context.info.shape).init(jax.random.key(1))
    inputs = np.asarray(params["prior"]["inputs"])
    known = {image.tobytes() for image in np.asarray(loaded.context.train["image"])}
    assert inputs.shape == (6, 8, 8, 1)
    assert all(np.round(255 * image).astype(np.uint8).tobytes() in known for image in inputs)


@pytest.mark.parametrize("network", sorted(study.NETWORKS))
def test_networks_go_from_images_to_latents_and_back(network):
    config = vae_priors.Config(network=network, latent_size=3, hidden=(8,))
    encoder, decoder = study.networks_of(config, (28, 28, 1), 3)
    recipe = Vae(encoder, decoder, 3, lambda encode: priors.standard_normal(3))
    params, state = vae(recipe, (28, 28, 1)).init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (2, 28, 28, 1))
    slopes = jax.grad(lambda p: jnp.sum(posterior(recipe, p, state, x)[0] ** 2))(params)
    assert all(float(jnp.max(jnp.abs(leaf))) > 0 for leaf in jax.tree.leaves(slopes["encoder"]))


@pytest.mark.parametrize(
    ("experiment", "settings", "message"),
    [
        (vae_priors, {"network": "dence"}, "did you mean 'dense'"),
        (vae_priors, {"num_importance": 1001}, "multiple of 10"),
        (vae_priors, {"warm_up_share": 1.5}, r"warm_up_share must be in \[0, 1\]"),
        (vae_priors, {"binarization": "statik"}, "did you mean 'static'"),
        (vae_priors, {"prior": ("vampp",)}, "did you mean 'vamp'"),
        (elbo_surgery, {"latent": (0,)}, "latent_size must be at least 1"),
        (elbo_surgery, {"num_surgery": 1}, "num_surgery must be 0 or >= 2"),
        (elbo_surgery, {"latent_size": 8}, "give --latent 8"),
        (vae_priors, {"learning_rate": -1.0}, "learning_rate must be positive, got -1.0"),
        (vae_priors, {"bound": "doubly_reparameterised"}, "did you mean 'doubly_reparameterized'"),
        (vae_priors, {"num_samples": 0}, "num_samples must be at least 1"),
        (vae_priors, {"free_bits": -1.0}, "free_bits must be at least 0"),
        (vae_priors, {"free_bits": 1.0, "bound": "elbo"}, "free_bits=1.0 goes with"),
        (vae_priors, {"num_ais": 50, "num_eval": 20}, "num_ais=50 .* num_eval=20"),
        (avb_images, {"critic_rate": 0.0}, "critic_rate must be positive"),
        (avb_images, {"network": "convolutional", "model": ("avb",)}, "network='convolutional'"),
        (avb_images, {"model": ("abv",)}, "did you mean 'avb'"),
        (avb_images, {"noise_size": 9}, "multiple of 8"),
        (avb_images, {"num_ais": 1}, "num_ais must be at least 2"),
    ],
)
def test_settings_that_no_run_could_use(experiment, settings, message):
    with pytest.raises(ConfigError, match=message):
        experiment.EXPERIMENT.functions.validate(experiment.Config(**settings))


@pytest.mark.parametrize("binarization", ["static", "dynamic", "threshold"])
def test_what_is_evaluated_is_binary_under_every_protocol(binarization):
    """Grey pixels under a Bernoulli law give a cross-entropy, which is no log-likelihood of
    anything."""
    loaded = load(
        vae_priors.Config(data="digits", binarization=binarization, num_eval=10, num_surgery=10)
    )
    for images in (
        loaded.arrays["test"]["image"],
        binary_images.training_images(loaded.arrays),
        loaded.context.test["image"],
    ):
        assert set(np.unique(images)) == {0, 255}
    assert (len(np.unique(loaded.arrays["train"]["image"])) > 2) == (binarization == "dynamic")
    draw = binary_images.draw_with_step(loaded, 32)
    batches = [np.asarray(draw(loaded.arrays, jax.random.key(0), i)["x"]) for i in (0, 1)]
    assert all(set(np.unique(batch)) == {0.0, 1.0} for batch in batches)
    if binarization == "dynamic":  # the images to be summed over are draws of the grey ones
        grey = np.asarray(loaded.arrays["train"]["image"], np.float64) / 255
        drawn = np.asarray(binary_images.training_images(loaded.arrays)) / 255
        assert (drawn - grey).mean() == pytest.approx(
            0, abs=5 * np.sqrt((grey * (1 - grey)).sum()) / grey.size
        )


@pytest.mark.parametrize(
    "name, split", [("num_eval", "test"), ("num_ais", "test"), ("num_surgery", "training")]
)
def test_more_images_than_there_are(name, split):
    config = dataclasses.replace(
        vae_priors.Config(data="digits", num_eval=10, num_ais=5, num_surgery=10), **{name: 2000}
    )
    with pytest.raises(ConfigError, match=f"{name}=2000, but digits has"):
        load(config)


def test_adaptive_contrast_refuses_pmap(capsys):
    """Said by a check already, which traces the program and compiles nothing."""
    flags = [*SHORT, "--model", "avb_adaptive_contrast", "--devices", "pmap"]
    assert check(avb_images.EXPERIMENT, flags) == 2
    assert "couples its batch (adaptive contrast takes moments" in capsys.readouterr().err


def metrics_of(path):
    return json.loads((path / "summary.json").read_text())["metrics"]


@pytest.mark.slow
def test_vae_priors_end_to_end(tmp_path):
    flags = [
        *SHORT,
        *ANNEALED,
        "--latent_size",
        "4",
        "--num_components",
        "10",
        "--num_importance",
        "20",
        "--num_eval",
        "30",
        "--num_surgery",
        "100",
        "--out",
        str(tmp_path),
    ]
    assert main(vae_priors.EXPERIMENT, flags) == 0
    found = metrics_of(tmp_path)
    for prior in vae_priors.Config().prior:
        kl = {
            name: found[f"{prior}/{name}"]["mean"]
            for name in ("average_kl", "mutual_information", "marginal_kl")
        }
        assert kl["average_kl"] == pytest.approx(
            kl["mutual_information"] + kl["marginal_kl"], abs=1e-4
        )
        assert 0 < kl["mutual_information"] < np.log(100)
        # Two ways to log p(x) of the same ten images, both above the one-draw ELBO of all.
        annealed, weighted = (
            found[f"{prior}/annealed_log_prob"]["mean"],
            found[f"{prior}/log_prob_same"]["mean"],
        )
        assert annealed == pytest.approx(weighted, abs=2.0)
        assert found[f"{prior}/log_prob"]["mean"] > found[f"{prior}/test_elbo"]["mean"] - 1.0


@pytest.mark.slow
def test_elbo_surgery_end_to_end(tmp_path):
    assert (
        main(elbo_surgery.EXPERIMENT, [*SHORT, "--latent", "2", "4", "--out", str(tmp_path)]) == 0
    )
    found = metrics_of(tmp_path)
    for size in (2, 4):
        assert found[f"{size}/identity_error"]["mean"] < 1e-4
        assert found[f"{size}/average_kl"]["mean"] == pytest.approx(
            found[f"{size}/analytic_kl"]["mean"], abs=0.3
        )


@pytest.mark.slow
def test_avb_images_end_to_end(tmp_path):
    assert main(avb_images.EXPERIMENT, [*SHORT, *ANNEALED, "--out", str(tmp_path)]) == 0
    found = metrics_of(tmp_path)
    # The VAE's bound is one: annealing lies above it, by less than the KL it started from, and no
    # alarm sounds.
    assert -0.5 < found["vae/gap"]["mean"] < found["vae/test_kl"]["mean"] + 1.0
    assert found["vae/alarm"]["mean"] == 0
    assert all(np.isfinite(found[f"{model}/gap"]["mean"]) for model in avb_images.Config().model)
