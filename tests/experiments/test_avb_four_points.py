"""The four-point problem where its answers are known: decoders that ignore z, posteriors that are
the prior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from experiment_parts import task_of

from dgm_jax.core import ConfigError, TrainState
from dgm_jax.experiments.avb_four_points import EXPERIMENT, Config, measure
from dgm_jax.experiments.avb_four_points import task as study
from dgm_jax.networks import MLP, from_flax, from_functions, reshaped
from dgm_jax.run import main

pytestmark = pytest.mark.optimized  # long sums over draws, quicker so

SEPARATE = 40.0  # logits of a decoder that is sure


def state_of(params, state):
    return TrainState(jnp.int32(0), None, None, params, state, {})


def by_quadrant(params, z):
    """Logits of the pixel of z's quadrant: each of four equal regions of the plane shows one
    point."""
    quadrant = 2 * (z[:, 0] > 0) + (z[:, 1] > 0)
    return SEPARATE * (2 * jax.nn.one_hot(quadrant, 4) - 1)


def test_a_decoder_that_ignores_z_gives_its_own_probabilities():
    decoder = reshaped(
        from_functions(
            lambda key, z: {},
            lambda params, z: jnp.broadcast_to(jnp.array([0.0, 1, 2, 3]), (len(z), 4)),
        ),
        (2, 2, 1),
    )
    log_p, _, _ = measure.log_likelihoods(decoder, {"decoder": {}}, {"decoder": {}})
    p = 1 / (1 + np.exp(-np.arange(4.0)))
    truth = [np.log(p[i]) + sum(np.log(1 - p[j]) for j in range(4) if j != i) for i in range(4)]
    np.testing.assert_allclose(log_p, truth, rtol=1e-5)


def test_a_decoder_by_quadrants_reaches_the_optimum():
    decoder = reshaped(from_functions(lambda key, z: {}, by_quadrant), (2, 2, 1))
    log_p, _, _ = measure.log_likelihoods(decoder, {"decoder": {}}, {"decoder": {}})
    np.testing.assert_allclose(log_p, -np.log(4), atol=1e-4)


def evaluated(model, changes):
    """What `build`'s evaluation says after `changes(params)`."""
    config = Config(model=(model,))
    task = task_of(EXPERIMENT, config)
    params, state = task.init(jax.random.key(0))
    return jax.jit(lambda p: task.evaluate(state_of(p, state), {}, jax.random.key(1)))(
        changes(params)
    )


def test_a_vae_whose_posterior_is_the_prior():
    """Encoder and decoder of zeros: q = N(0, I), every pixel at one half."""
    found = evaluated("vae", lambda params: jax.tree.map(jnp.zeros_like, params))
    for name, truth in (
        ("log_likelihood", -4 * np.log(2)),
        ("elbo", -4 * np.log(2)),
        ("marginal_kl", 0.0),
        ("mutual_information", 0.0),
        ("reconstruction_error", np.log(2)),
    ):
        assert float(found[name]) == pytest.approx(truth, abs=1e-4), name


@pytest.mark.parametrize("model", ["vae", "avb"])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_no_model_exceeds_the_optimum_nor_its_own_evidence(model, factor):
    """log p <= -log 4 and ELBO <= log p, whatever the weights; draws and bins of the implicit
    posterior leave .005."""
    found = evaluated(model, lambda params: jax.tree.map(lambda w: factor * w, params))
    assert float(found["log_likelihood"]) <= -np.log(4) + 1e-4
    assert float(found["elbo"]) <= float(found["log_likelihood"]) + (
        0.005 if model == "avb" else 1e-4
    )


def test_the_integrals_of_a_vae_agree_with_draws():
    """Random weights: ELBO and KL by quadrature against a million draws in numpy."""
    config = Config(model=("vae",))
    task = task_of(EXPERIMENT, config)
    params, state = task.init(jax.random.key(5))
    found = task.evaluate(state_of(params, state), {}, jax.random.key(1))
    mlp = reshaped(from_flax(MLP((64, 64, 64, 4), "elu", "glorot")), (4,))
    out = np.asarray(mlp.apply(params["encoder"], {}, measure.points())[0], np.float64)
    loc, scale = out[:, :2], np.exp(out[:, 2:])
    rng = np.random.default_rng(0)
    z = loc[:, None] + scale[:, None] * rng.normal(size=(4, 50_000, 2))
    logits = np.asarray(
        mlp.apply(params["decoder"], {}, jnp.asarray(z.reshape(-1, 2), jnp.float32))[0], np.float64
    )
    log_x = (
        (np.repeat(np.eye(4), 50_000, 0) * logits - np.logaddexp(0, logits)).sum(-1).reshape(4, -1)
    )
    kl = (np.log(1 / scale) + (scale**2 + loc**2) / 2 - 0.5).sum(-1)
    error = log_x.std() / np.sqrt(200_000)
    assert float(found["elbo"]) == pytest.approx(log_x.mean() - kl.mean(), abs=5 * error + 1e-4)
    total = float(found["marginal_kl"]) + float(found["mutual_information"])
    assert total == pytest.approx(kl.mean(), abs=1e-4)


def test_an_implicit_posterior_that_is_gaussian(monkeypatch):
    """z = noise / 2 whatever x is: KL to the prior 2 (log 2 + 1/8 - 1/2), no information about
    x."""
    monkeypatch.setattr(study, "NoiseEncoder", lambda features: None)
    half = from_functions(lambda key, inputs: {}, lambda params, inputs: inputs[1][:, :2] / 2)
    plain = study.from_flax
    monkeypatch.setattr(
        study, "from_flax", lambda module: half if module is None else plain(module)
    )
    found = evaluated("avb", lambda params: jax.tree.map(jnp.zeros_like, params))
    truth = 2 * (np.log(2) + 1 / 8 - 1 / 2)
    assert float(found["marginal_kl"]) == pytest.approx(truth, abs=0.003)
    assert float(found["mutual_information"]) == pytest.approx(0.0, abs=0.003)
    assert float(found["elbo"]) == pytest.approx(-4 * np.log(2) - truth, abs=0.005)
    assert float(found["outside"]) == 0


def test_implicit_posteriors_that_tile_the_prior(monkeypatch):
    """The optimum: q(z | x) is the prior on a quarter of the plane, turned by half a radian so that
    no bin has an edge where it has. KL log 4, information log 4, marginal KL 0, and both log p and
    ELBO -log 4. No posterior is worse for bins, whose width an edge loses: .040 nats with bins of
    .1, .009 with those of .025."""
    turn = jnp.array([[np.cos(0.5), np.sin(0.5)], [-np.sin(0.5), np.cos(0.5)]], jnp.float32)

    def tile(params, inputs):
        x, noise = inputs
        index = jnp.argmax(x.reshape(-1, 4), axis=-1)
        signs = 2.0 * jnp.stack([index // 2, index % 2], axis=-1) - 1
        return jnp.matmul(jnp.abs(noise[:, :2]) * signs, turn, precision="highest")

    nothing = lambda key, inputs: {}
    monkeypatch.setattr(study, "NoiseEncoder", lambda features: None)
    monkeypatch.setattr(study, "MLP", lambda *given: by_quadrant)
    plain = study.from_flax
    back = lambda params, z: by_quadrant(params, jnp.matmul(z, turn.T, precision="highest"))
    parts = {None: from_functions(nothing, tile), by_quadrant: from_functions(nothing, back)}
    monkeypatch.setattr(study, "from_flax", lambda module: parts.get(module) or plain(module))
    found = evaluated("avb", lambda params: params)
    for name, truth, error in (
        ("log_likelihood", -np.log(4), 1e-3),
        ("elbo", -np.log(4), 0.01),
        ("marginal_kl", 0.0, 0.003),
        ("mutual_information", np.log(4), 0.012),
        ("reconstruction_error", 0.0, 1e-3),
    ):
        assert float(found[name]) == pytest.approx(truth, abs=error), name


def test_the_published_table_is_judged_for_the_vae_only():
    vae, avb = (study.references(Config(model=(name,))) for name in ("vae", "avb"))
    assert {row["metric"] for row in vae if not row.get("context")} == {"log_likelihood", "elbo"}
    assert all(row.get("context") for row in avb) and len(avb) == 4


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"preset": "papr"}, "did you mean 'paper'"),
        ({"model": ("avp",)}, "did you mean 'avb'"),
        ({"num_critic_updates": 0}, "num_critic_updates must be at least 1, got 0"),
    ],
)
def test_settings_that_no_run_could_use(wrong, message):
    with pytest.raises(ConfigError, match=message):
        study.validate(Config(**wrong))


@pytest.mark.slow
def test_end_to_end(tmp_path):
    flags = [
        "--num_seeds",
        "2",
        "--num_steps",
        "40",
        "--log_every",
        "20",
        "--critic_width",
        "16",
        "--progress",
        "quiet",
    ]
    assert main(EXPERIMENT, [*flags, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").exists()
