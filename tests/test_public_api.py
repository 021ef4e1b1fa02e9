"""The names that the outside relies on, with the leading parameters they are called by.

Names whose module is designed and not built are skipped, and tested from the day the module is
there.
"""

import importlib
import inspect
import pathlib
import pkgutil
import types

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1] / "dgm_jax"

# dotted name below dgm_jax -> leading parameters as callers write them (a keyword is written
# NAME=).
FUNCTIONS = {
    "sampling.gumbel_max": "key, logits",
    "sampling.gumbel_softmax": "key, logits, temperature",
    "sampling.straight_through": "hard, soft",
    "densities.concrete.log_prob": "log_y, logits, temperature",
    "densities.logit_laplace.log_prob": "x, loc, log_scale, epsilon=",
    "densities.categorical.kl": "logits_q, logits_p",
    "densities.categorical.kl_to_uniform": "logits",
    "densities.gaussian.log_prob": "x, loc, scale",
    "densities.gaussian.kl": "loc_q, scale_q, loc_p, scale_p",
    "objectives.divergences.kl": "log_p, log_q",
    "objectives.divergences.js": "log_p, log_q",
    "objectives.divergences.js_on_grid": "log_p, log_q, spacing",
    "objectives.divergences.kl_on_grid": "log_p, log_q, spacing",
    "objectives.gan.value": "real_logits, fake_logits",
    "objectives.gan.gradient_penalty": "critic, real, fake, key",
    "objectives.gan.r1_penalty": "critic, real",
    "evaluation.mode_coverage": "samples, means, scale",
    "evaluation.frechet_distance": "real=, fake=",
    "evaluation.kernel_distance": "real=, fake=",
    "evaluation.precision_recall_density_coverage": "real=, fake=",
    "likelihood.importance_weighted": "",
    "likelihood.annealed_importance_sampling": "",
    "likelihood.bidirectional": "",
    "quantization.nearest_code": "z, codebook",
    "quantization.vector_quantize": "z, codebook",
    "quantization.codebook_ema.init": "codebook",
    "quantization.codebook_ema.update": "state, z, codes, decay=",
    "quantization.codebook_usage": "codes, num_codes",
    "objectives.density_ratio.logistic_loss": "logits_q1, logits_q2",
    "objectives.density_ratio.kl_estimate": "logits_q1",
    "objectives.elbo_surgery.decompose": "log_q, log_prior",
    "objectives.iwae.bound": "log_weights",
    "data.load": "name",
    "training.alternating": "players, optimizers",
    "training.simultaneous": "players, optimizers",
    "training.train": "task, keys, data, num_steps, hyper=",
    "parallel.over_seeds": "function, strategy",
}
REGISTRIES = {
    "objectives.gan.LOSSES": {"minimax", "non_saturating", "least_squares", "hinge", "wasserstein"},
    "sampling.estimators.ESTIMATORS": {
        "gumbel_softmax",
        "straight_through_gumbel_softmax",
        "rebar",
        "relax",
        "vimco",
    },
    "models.MODELS": {
        "gan",
        "vqvae",
        "discrete_vae",
        "autoregressive",
        "vae",
        "adversarial_variational_bayes",
    },
    "quantization.QUANTIZERS": {
        "moving_average",
        "codebook_loss",
        "finite_scalar",
        "residual",
        "product",
    },
    "flows.BIJECTIONS": {
        "affine_coupling",
        "spline_coupling",
        "masked_autoregressive",
        "inverse_autoregressive",
        "planar",
    },
    "priors.PRIORS": {
        "standard_normal",
        "mixture",
        "vamp",
        "aggregated_posterior",
        "flow",
        "implicit_ratio",
    },
    "data.DENSITIES": {"ring", "grid"},
    "training.DYNAMICS": {
        "alternating",
        "simultaneous",
        "extragradient",
        "optimistic",
        "consensus",
    },
}
FIELDS = {
    "core.Player": ("parts", "loss", "num_updates"),
    "core.Aux": ("state", "metrics"),
    "core.Algorithm": ("init", "step"),
    "core.StepInfo": ("losses", "metrics"),
    "flows.Bijection": ("init", "forward_and_log_det", "inverse_and_log_det"),
    "priors.Prior": ("init", "sample", "log_prob"),
    "objectives.gan.GanLoss": ("discriminator", "generator"),
    "evaluation.ModeCoverage": ("modes", "valid"),
    "sampling.estimators.Estimate": ("value", "gradient"),
    "data.Dataset": ("train", "test", "info"),
}


def exported(name):
    """As a user reaches it: import the room, then attributes."""
    room, *rest = name.split(".")
    found = importlib.import_module(f"dgm_jax.{room}")
    for part in rest:
        if not hasattr(found, part):
            found = importlib.import_module(f"{found.__name__}.{part}")
        else:
            found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_called_as_promised(name):
    function = exported(name)
    assert callable(function), f"{name} is {type(function).__name__}"
    parameters = inspect.signature(function).parameters
    wanted = [word.strip() for word in FUNCTIONS[name].split(",") if word]
    leading = [word for word in wanted if not word.endswith("=")]
    assert list(parameters)[: len(leading)] == leading
    for word in leading:
        assert parameters[word].kind in (
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.POSITIONAL_ONLY,
        )
    for word in wanted:
        if word.endswith("="):
            assert parameters[word[:-1]].kind != inspect.Parameter.POSITIONAL_ONLY
    required = [
        p.name
        for p in parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if wanted:
        assert set(required) <= {word.rstrip("=") for word in wanted}, (
            f"{name} asks for more: {required}"
        )


def test_the_logit_laplace_epsilon_is_a_tenth():
    assert (
        inspect.signature(exported("densities.logit_laplace.log_prob"))
        .parameters["epsilon"]
        .default
        == 0.1
    )


@pytest.mark.parametrize("name", REGISTRIES)
def test_registry_holds_its_names(name):
    registry = exported(name)
    assert isinstance(registry, dict) and registry and REGISTRIES[name] <= set(registry)
    assert all(isinstance(key, str) for key in registry)


@pytest.mark.parametrize("name", FIELDS)
def test_bundle_has_its_fields(name):
    bundle = exported(name)
    fields = getattr(bundle, "_fields", None) or tuple(bundle.__dataclass_fields__)
    if name == "evaluation.ModeCoverage":
        assert set(FIELDS[name]) <= set(fields)
    else:
        assert fields[: len(FIELDS[name])] == FIELDS[name]


def test_estimators_share_one_signature():
    for name, estimator in exported("sampling.estimators.ESTIMATORS").items():
        assert list(inspect.signature(estimator).parameters)[:3] == [
            "key",
            "objective",
            "logits",
        ], name


def test_calls_from_outside():
    """A few promised calls, made literally."""
    import jax

    from dgm_jax import data, densities, evaluation, objectives, sampling

    key, logits = jax.random.key(0), np.zeros((2, 5), np.float32)
    assert (
        sampling.gumbel_max(key, logits).shape == (2,)
        and sampling.gumbel_max(key, logits).dtype == np.int32
    )
    soft = sampling.gumbel_softmax(key, logits, 0.5)
    np.testing.assert_allclose(soft.sum(-1), 1.0, rtol=1e-5)
    hard = jax.nn.one_hot(soft.argmax(-1), 5)
    np.testing.assert_array_equal(sampling.straight_through(hard, soft), hard)
    np.testing.assert_allclose(densities.categorical.kl(logits, logits), 0.0, atol=1e-6)
    np.testing.assert_allclose(
        objectives.gan.value(np.zeros(3), np.zeros(3)), -2 * np.log(2), rtol=1e-6
    )
    ring = data.load("ring")
    coverage = evaluation.mode_coverage(
        np.asarray(ring.density.means), ring.density.means, ring.density.scale
    )
    assert int(coverage.modes) == 8 and float(coverage.valid) == 1.0


def test_no_function_has_the_name_of_a_public_module_beside_it():
    """`models.vae` is either the module or the function; importing the module by its name must not
    give the function. Modules whose function carries their name are private, `_vae.py`."""
    shadowed = []
    for room in sorted(path.parent for path in ROOT.glob("*/__init__.py")):
        package = importlib.import_module(f"dgm_jax.{room.name}")
        for module in pkgutil.iter_modules(package.__path__):
            named = getattr(package, module.name, None)
            if not (named is None or isinstance(named, types.ModuleType)):
                shadowed.append(f"{room.name}.{module.name}")
    assert not shadowed
