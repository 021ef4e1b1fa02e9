"""Known posteriors: the measurements on exact draws, Gaussians at their optimum, and a short run of
each family."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from experiment_parts import inputs_of, task_of

from dgm_jax import training
from dgm_jax.core import SOLO, ConfigError
from dgm_jax.densities.posteriors import POSTERIORS
from dgm_jax.evaluation.histogram import centers
from dgm_jax.experiments.avb_posteriors import EXPERIMENT, Config
from dgm_jax.experiments.avb_posteriors import measure as study
from dgm_jax.experiments.avb_posteriors.task import validate
from dgm_jax.models.posterior_families import Family
from dgm_jax.run import main


def exact_draws(posterior, num):
    """Independent draws of the coordinates z [num, D], by other means than the library's."""
    rng = np.random.default_rng(0)
    if posterior == "torus":
        square = scipy.stats.truncnorm.rvs(
            -2 / np.sqrt(0.5), np.inf, 2, np.sqrt(0.5), size=num, random_state=rng
        )
        angle = 2 * np.pi * rng.random(num)
        return np.sqrt(square)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    if posterior == "rosenbrock":
        b = np.linspace(-5, 5, 200_001)
        cumulative = np.cumsum(np.exp(-((b**2 - 1) ** 2) / 2))
        b = np.interp(rng.random(num), cumulative / cumulative[-1], b)
        return np.stack([(1 + b**2) / 2 + rng.normal(size=num) / 2, b], axis=-1)
    target, plane = POSTERIORS[posterior], np.asarray(centers(study.GRID))
    weight = np.exp(np.float64(target.plane_log_density(plane)) + 12)
    cell = (study.GRID.high - study.GRID.low) / study.GRID.num
    picked = plane[rng.choice(len(plane), num, p=weight / weight.sum())] + cell * (
        rng.random((num, 2)) - 0.5
    )
    mean, variance = (np.asarray(x) for x in target.given_plane(jnp.asarray(picked, jnp.float32)))
    eta = mean + np.sqrt(variance) * rng.normal(size=mean.shape)
    tau = picked[:, 1:] if posterior == "eight_schools_signed" else np.log(picked[:, 1:])
    return np.concatenate([picked[:, :1], tau, eta], axis=-1)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_exact_draws_have_no_divergence(posterior, implicit):
    """q = p: the histogram's KL is below .003 nats, and all else is what it is by definition."""
    target, exact = POSTERIORS[posterior], study.truth(posterior)
    table = jnp.asarray(exact_draws(posterior, study.NUM_DRAWS), jnp.float32)

    keys = jax.random.key_data(jax.random.split(jax.random.key(0), study.NUM_DRAWS // study.PART))

    def draw(key, params, num):  # every part of the table once
        part = jnp.argmin(jnp.any(keys != jax.random.key_data(key), axis=-1))
        return jax.lax.dynamic_slice_in_dim(table, part * num, num)

    def log_prob(params, z):
        return target.log_density(z) - exact.log_normalizer

    def oracle(key, params):
        z = draw(key, params, study.PART)
        return jnp.mean(log_prob(params, z) - target.log_density(z))

    known = {"critic_kl": oracle} if implicit else {"log_prob": log_prob}
    family = Family(None, {}, draw, **known)
    found = jax.jit(lambda key: study.evaluate_family(key, family, target, {}, exact))(
        jax.random.key(0)
    )
    assert abs(float(found["plane_kl"])) < 0.003
    assert float(found["mean_error"]) < 5 / np.sqrt(study.NUM_DRAWS)
    assert 0.99 < float(found["smallest_sd_ratio"]) <= float(found["largest_sd_ratio"]) < 1.01
    assert ("kl" in found) == (target.size == 2 or not implicit)
    if implicit:
        np.testing.assert_allclose(found["critic_kl"], 0, atol=1e-4)
    if "kl" in found and implicit:
        assert abs(float(found["bound_gap"] - found["kl"])) < 0.005
    elif "kl" in found:
        np.testing.assert_allclose([found["kl"], found["bound_gap"]], 0, atol=1e-4)


def trained(arm, num_steps, num_seeds=2, **settings):
    """The evaluation of a few seeds, through the engine."""
    config = Config(arm=(arm,), num_steps=num_steps, **settings)
    validate(config)
    inputs = inputs_of(EXPERIMENT, config)
    program = training.lane_program(lambda hyper: task_of(EXPERIMENT, config, inputs))

    def one(key):
        lane, _ = program.advance(program.init(key, {}), inputs.arrays, num_steps, SOLO)
        return program.evaluate(lane, inputs.arrays)

    return jax.device_get(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), num_seeds)))


@pytest.mark.parametrize("family", ["mean_field", "full_rank"])
def test_the_best_gaussian_on_the_torus(family):
    """N(0, s^2 I): E (|z|^2 - 2)^2 = 8 s^4 - 8 s^2 + 4, so KL is least where 16 s^4 - 8 s^2 - 1 =
    0."""
    found, variance = trained(f"torus/{family}", 1_000), (1 + np.sqrt(2)) / 4
    kl = (
        8 * variance**2
        - 8 * variance
        + 4
        - np.log(2 * np.pi * np.e * variance)
        + study.truth("torus").log_normalizer
    )
    np.testing.assert_allclose(found["kl"], kl, atol=2e-3)
    # 400,000 draws: standard error .003
    np.testing.assert_allclose(found["bound_gap"], kl, atol=0.01)
    np.testing.assert_allclose(found["plane_kl"], kl, atol=0.02)
    np.testing.assert_allclose(
        found["smallest_sd_ratio"], np.sqrt(variance) / study.truth("torus").sd[0], atol=0.02
    )


@pytest.mark.slow
def test_the_sampler_beats_the_best_gaussian():
    """A short run on the banana, where no Gaussian has a KL below .46; the critic is near the
    truth."""
    found = trained("rosenbrock/avb", 800, num_seeds=1, critic_width=48, hidden=(64, 64))
    assert np.all(found["kl"] < 0.2)
    assert np.all(np.abs(found["critic_kl"] - found["kl"]) < 0.08)
    assert np.all(np.abs(found["bound_gap"] - found["kl"]) < 0.01)
    assert np.all(found["outside"] < 1e-3)


def test_the_critic_learns_to_the_end():
    """A schedule counts the updates of its player, of which the critic makes several a step."""
    config = Config(
        arm=("torus/avb",),
        num_steps=10,
        num_critic_updates=3,
        batch_size=16,
        hidden=(8,),
        critic_width=8,
    )
    program = training.lane_program(lambda hyper: task_of(EXPERIMENT, config))

    def moved(steps):
        lane = program.init(jax.random.key(0), {})
        before, _ = program.advance(lane, {}, steps, SOLO)
        after, _ = program.advance(before, {}, 1, SOLO)
        size = jax.tree.map(
            lambda a, b: jnp.max(jnp.abs(a - b)),
            after.train_state.params,
            before.train_state.params,
        )
        return {part: max(float(x) for x in jax.tree.leaves(tree)) for part, tree in size.items()}

    early, late = moved(1), moved(8)
    for part in ("q", "critic"):
        assert 0.005 < late[part] / early[part] < 0.3


@pytest.mark.parametrize(
    "wrong",
    [
        {"arm": ("torus",)},
        {"arm": ("tours/avb",)},
        {"arm": ("torus/abv",)},
        {"batch_size": 1},
        {"hidden": ()},
        {"hidden": (0,)},
        {"noise_size": 0},
        {"num_critic_updates": 0},
        {"critic_width": 0},
        {"critic_blocks": -1},
        {"learning_rate": 0.0},
        {"critic_learning_rate": -1.0},
        {"gaussian_learning_rate": 0.0},
    ],
)
def test_settings_that_no_run_could_use(wrong):
    with pytest.raises(ConfigError):
        validate(Config(**wrong))


def test_the_default_arms_are_fine():
    validate(Config())
    assert len(Config().arm) == 9


@pytest.mark.slow
def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "NUM_DRAWS", 20_000)
    out, arms = tmp_path / "run", ["torus/mean_field", "eight_schools/avb"]
    argv = [
        "--arm",
        *arms,
        "--num_seeds",
        "2",
        "--num_steps",
        "2",
        "--hidden",
        "8",
        "--critic_width",
        "8",
        "--critic_blocks",
        "0",
        "--batch_size",
        "16",
        "--out",
        str(out),
        "--progress",
        "quiet",
    ]
    assert main(EXPERIMENT, argv) == 0
    metrics = json.loads((out / "summary.json").read_text())["metrics"]
    assert (
        len(metrics["torus/mean_field/kl"]["per_seed"]) == 2
        and metrics["torus/mean_field/kl"]["mean"] > 1
    )
    assert "eight_schools/avb/plane_kl" in metrics and "eight_schools/avb/kl" not in metrics
    told = {name.split("/")[-1] for name in metrics if "." not in name.split("/")[-1]}
    assert told == set(EXPERIMENT.explanations)
    for arm in arms:
        assert (out / "figures" / f"draws_{arm.replace('/', '_')}.png").exists()
