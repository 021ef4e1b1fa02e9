"""`model` of every experiment that trains one: made of the record alone, it has the structure of a
run's lanes, and draws what the experiment shows."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from experiment_parts import inputs_of, task_of

from dgm_jax import training
from dgm_jax.core import DataError
from dgm_jax.models import latent
from dgm_jax.run import catalogue

NO_MODEL = {
    "gan_optimality": "a discriminator between two densities that are known",
    "gradient_estimators": "moments of a number",
}
DIGITS = {"data": "digits"}
VAE = {**DIGITS, "hidden": (8,), "latent_size": 3, "num_ais": 10}
QUANTIZERS = ("moving_average", "codebook_loss", "finite_scalar", "residual", "product")
# experiment -> (settings, shape of a sample) of each case
CASES = {
    "avb_four_points": [({"model": (name,)}, (2, 2, 1)) for name in ("vae", "avb")],
    "avb_images": [
        ({**VAE, "model": (name,), "noise_size": 16}, (8, 8, 1))
        for name in ("vae", "avb", "avb_adaptive_contrast")
    ],
    "avb_posteriors": [({"arm": (f"rosenbrock/{q}",)}, (2,)) for q in ("avb", "full_rank")],
    "dirac_gan": [({}, (1,))],
    "elbo_surgery": [({**DIGITS, "hidden": (8,)}, (8, 8, 1))],
    "feature_classifier": [(DIGITS, None)],
    "gan_grid": [({}, (2,))],
    "gan_images": [({**DIGITS, "features": 4, "feature_extractor": "pixels"}, (8, 8, 1))],
    "gan_ring": [
        ({"method": (name,)}, (2,)) for name in ("vanilla", "averaged", "spectral", "packed2")
    ]
    + [({"protocol": "pacgan", "method": ("averaged",)}, (2,))],
    "gumbel_vae_images": [({**DIGITS, "hidden": (8,), "num_eval": 10}, (8, 8, 1))],
    "likelihood_versus_samples": [({}, None)],
    "mode_covering": [({}, ())],
    "text_to_image": [({**DIGITS, "prior_width": 8, "prior_layers": 1, "width": 8}, (8, 8, 1))],
    "vae_priors": [
        ({**VAE, "prior": (prior,), "num_eval": 10, "num_surgery": 10}, (8, 8, 1))
        for prior in ("standard_normal", "vamp", "spline_flow", "mixture")
    ],
    "vqvae_images": [
        ({**DIGITS, "quantizer": name, "width": 8, "prior_width": 8, "prior_layers": 1}, (8, 8, 1))
        for name in QUANTIZERS
    ]
    + [({**DIGITS, "start": "kmeans", "num_codes": 16}, (8, 8, 1))],
}
EACH = [
    pytest.param(name, settings, shape, id=f"{name}-{index}")
    for name, cases in CASES.items()
    for index, (settings, shape) in enumerate(cases)
]


def configured(name, settings):
    """(experiment, its configuration with one arm)."""
    experiment = catalogue.load_experiment(name)
    config = experiment.config(**settings)
    field = experiment.arm_field
    if field:
        config = dataclasses.replace(config, **{field: getattr(config, field)[:1]})
    return experiment, config


def of_record(experiment, config, inputs):
    """The model made of what environment.json would have."""
    record = json.loads(json.dumps(inputs.identity))
    return experiment.functions.model(*experiment.build_view(config), record), record


def test_every_experiment_has_a_model_or_a_reason():
    assert {*CASES} | {*NO_MODEL} == {*catalogue.experiments()}
    for name in NO_MODEL:
        assert catalogue.load_experiment(name).functions.model is None


@pytest.mark.parametrize(("name", "settings", "shape"), EACH)
def test_the_record_is_enough(name, settings, shape):
    experiment, config = configured(name, settings)
    inputs = inputs_of(experiment, config)
    program = training.lane_program(lambda hyper: task_of(experiment, config, inputs))
    lane = jax.eval_shape(program.init, jax.random.key(0), {})
    model, _ = of_record(experiment, config, inputs)
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    assert jax.tree.structure((params, state)) == jax.tree.structure(lane.train_state[3:5])
    wanted = [(x.shape, x.dtype) for x in jax.tree.leaves(lane.train_state[3:5])]
    assert [(x.shape, x.dtype) for x in jax.tree.leaves((params, state))] == wanted
    if shape is not None:
        drawn = jax.eval_shape(
            lambda p, s, k: model.sample(p, s, k, 3), params, state, lane.eval_key
        )
        assert drawn.shape == (3, *shape)


def test_bounds_work_on_a_model_made_of_the_record():
    experiment, config = configured("vae_priors", CASES["vae_priors"][0][0])
    inputs = inputs_of(experiment, config)
    model, _ = of_record(experiment, config, inputs)
    params, state = jax.jit(model.init)(jax.random.key(0))
    x = jnp.asarray(inputs.context.test["image"][:5], jnp.float32) / 255
    bound = latent.bound(jax.random.key(1), model.latent, params, state, x)
    terms = latent.terms(jax.random.key(1), model.latent, params, state, x)
    np.testing.assert_allclose(bound, terms.log_likelihood - terms.kl, rtol=1e-6)


def test_a_text_makes_images_of_that_text():
    """A text and the prompt of its words, for each image, are the same draws; another is not."""
    settings = {**CASES["text_to_image"][0][0], "guidance": 1.0}
    experiment, config = configured("text_to_image", settings)
    model, record = of_record(experiment, config, inputs_of(experiment, config))
    params, state = jax.jit(model.init)(jax.random.key(0))
    # large, or the words would hardly matter before training
    params = params | {"autoregressive": jax.tree.map(lambda w: 8 * w, params["autoregressive"])}
    prompt = experiment.functions.prompt
    word = record["class_names"][3]

    @jax.jit
    def sample(prompt):
        return model.sample(params, state, jax.random.key(1), 2, prompt=prompt)

    options = prompt(config, record, f"A dark {word}")
    assert [record["vocabulary"][i] for i in options["prompt"] if i] == ["a", "dark", word]
    images, rows = sample(**options), jnp.tile(options["prompt"], (2, 1))
    np.testing.assert_array_equal(images, sample(rows))
    other = prompt(config, record, f"a bright {word}")
    assert np.abs(images - sample(**other)).max() > 1e-3
    with pytest.raises(DataError, match="unknown word 'drak' .did you mean 'dark'"):
        prompt(config, record, "a drak bag")


def test_an_average_is_what_is_shown():
    """Samples come from the averaged generator, whatever the newest is."""
    experiment, config = configured("gan_ring", {"method": ("averaged",)})
    model, _ = of_record(experiment, config, inputs_of(experiment, config))
    params, state = jax.jit(model.init)(jax.random.key(0))
    moved = params | {"generator": jax.tree.map(lambda w: w + 1, params["generator"])}
    key = jax.random.key(1)
    first, second = (model.sample(p, state, key, 5) for p in (params, moved))
    np.testing.assert_array_equal(first, second)
    mean = {"generator": {"params": moved["generator"], "state": state["generator"]}}
    assert np.abs(model.sample(params, state | {"average": mean}, key, 5) - first).min() > 0.1
