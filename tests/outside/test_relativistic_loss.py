"""A loss of one's own that looks at both kinds of logits, given to `models.gan`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import relativistic

from dgm_jax import networks, training
from dgm_jax.models import DISCRIMINATOR, GENERATOR, PENALTIES, Penalty, gan
from dgm_jax.objectives.gan import LOSSES

X = np.random.default_rng(0).normal(1.0, 0.5, (32, 2)).astype(np.float32)
Z = np.random.default_rng(1).normal(size=(32, 3)).astype(np.float32)
BATCH = {"x": jnp.asarray(X), "z": jnp.asarray(Z)}


def model_of(loss, penalty=None):
    generator = networks.from_flax(networks.MLP((8, 2)))
    discriminator = networks.from_flax(networks.MLP((8, 1), squeeze=True))
    return gan(generator, discriminator, loss, latent_size=3, example_shape=(2,), penalty=penalty)


def mlp(params, x):
    """Two layers with the leaky ReLU of the library's MLP, in float64."""
    for index in range(2):
        layer = params[f"Dense_{index}"]
        x = x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)
        x = np.where(x > 0, x, 0.2 * x) if index == 0 else x
    return x


def test_the_generator_sees_real_logits():
    model = model_of(relativistic.RELATIVISTIC)
    params, state = model.init(jax.random.key(0))
    fake = mlp(params[GENERATOR], Z.astype(np.float64))
    real_logits, fake_logits = (
        mlp(params[DISCRIMINATOR], x)[:, 0] for x in (X.astype(np.float64), fake)
    )
    expected = {
        DISCRIMINATOR: np.log1p(np.exp(fake_logits - real_logits)).mean(),
        GENERATOR: np.log1p(np.exp(real_logits - fake_logits)).mean(),
    }
    for player, value in expected.items():
        loss = jax.jit(model.players[player].loss)(params, state, BATCH, jax.random.key(1))[0]
        np.testing.assert_allclose(loss, value, rtol=1e-5)


def test_it_trains():
    """With the penalty of Huang et al. some hundred steps bring the mean of the samples to the
    data's; without any the two players circle."""
    model = model_of(relativistic.RELATIVISTIC, Penalty(PENALTIES["r1"], 0.5))
    optimizers = {name: optax.adam(3e-3, 0.5) for name in model.players}
    algorithm = training.alternating(model.players, optimizers)
    now = algorithm.init(jax.random.key(2), *model.init(jax.random.key(3)))

    @jax.jit
    def run(now):
        return jax.lax.scan(lambda now, _: algorithm.step(now, lambda i: BATCH), now, length=800)

    moved, info = run(now)
    assert np.all(np.isfinite(info.losses[GENERATOR]))
    means = [np.mean(np.asarray(model.decode(s.params, s.state, Z)), 0) for s in (now, moved)]
    before, after = (np.linalg.norm(mean - X.mean(0)) for mean in means)
    assert after < 0.3 and before > 2 * after


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_that_does_not_look_pays_for_no_pass_over_real_examples(name):
    """Multiplications of the compiled generator's loss, with and without the use of real logits."""

    def flops(loss):
        model = model_of(loss)
        params, state = model.init(jax.random.key(0))
        compiled = jax.jit(model.players[GENERATOR].loss).lower(
            params, state, BATCH, jax.random.key(1)
        )
        return compiled.compile().cost_analysis()["flops"]

    # 32 examples through layers of 2 by 8 and 8 by 1 numbers
    assert flops(relativistic.RELATIVISTIC) - flops(LOSSES[name]) > 32 * (2 * 8 + 8)
