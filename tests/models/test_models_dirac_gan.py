"""The Dirac-GAN against its fields, written down by hand, and the recipe that it is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import training
from dgm_jax.core import ConfigError
from dgm_jax.models import (
    DIRAC_GAMES,
    DiracGame,
    dirac_gan,
    dirac_optimizers,
    half_consensus,
    project_to_box,
)

POINTS = [(1.0, 1.0), (-0.7, 1.3), (2.0, -0.4), (0.3, 0.2)]


def slope(t):
    """f' of f(t) = -log(1 + exp(-t))."""
    return 1 / (1 + np.exp(t))


def curvature(t):
    return -slope(t) * slope(-t)


def half_consensus_field(theta, psi):
    t, r2 = psi * theta, theta**2 + psi**2
    return (
        psi * slope(t) + theta * slope(t) ** 2 + 0.5 * psi * r2 * slope(t) * curvature(t),
        -theta * slope(t) + psi * slope(t) ** 2 + 0.5 * theta * r2 * slope(t) * curvature(t),
    )


# What each player descends: d loss_G / d theta and d loss_D / d psi, as the paper and its notebook
# print them.
FIELDS = {
    "gan": lambda theta, psi: (psi * slope(psi * theta), -theta * slope(psi * theta)),
    "non_saturating": lambda theta, psi: (psi * slope(-psi * theta), -theta * slope(psi * theta)),
    "wgan_clip": lambda theta, psi: (psi, -theta),
    "wgan_gp": lambda theta, psi: (psi, -theta + 0.7 * (abs(psi) - 1) * np.sign(psi)),
    "r1_0.3": lambda theta, psi: (
        psi * slope(psi * theta),
        -theta * slope(psi * theta) + 0.3 * psi,
    ),
    "r1_1": lambda theta, psi: (psi * slope(psi * theta), -theta * slope(psi * theta) + psi),
    "non_saturating_r1_0.3": lambda theta, psi: (
        psi * slope(-psi * theta),
        -theta * slope(psi * theta) + 0.3 * psi,
    ),
    "half_consensus": half_consensus_field,
}


def field(model, theta, psi):
    """Both players' gradients with respect to their own number, as the engine takes them."""
    _, state = model.init(jax.random.key(0))
    own = {"generator": theta, "discriminator": psi}

    def gradient(name):
        def loss(x):
            return model.players[name].loss({**own, name: x}, state, {}, jax.random.key(1))[0]

        return jax.grad(loss)(own[name])

    return jnp.stack([gradient("generator"), gradient("discriminator")])


def test_every_game_has_its_field():
    assert set(FIELDS) == set(DIRAC_GAMES)


@pytest.mark.parametrize("name", DIRAC_GAMES)
def test_the_field_is_the_published_one(name):
    model = dirac_gan(DIRAC_GAMES[name])
    for theta, psi in POINTS:
        np.testing.assert_allclose(
            field(model, theta, psi), FIELDS[name](theta, psi), rtol=2e-6, atol=1e-6
        )


def test_the_losses_are_the_value_of_the_game():
    theta, psi = 0.7, -1.1
    model = dirac_gan()
    params = {"generator": jnp.float32(theta), "discriminator": jnp.float32(psi)}
    _, state = model.init(jax.random.key(0))
    losses = {
        name: player.loss(params, state, {}, jax.random.key(0))[0]
        for name, player in model.players.items()
    }
    fake = -np.log1p(np.exp(-psi * theta))
    np.testing.assert_allclose(losses["generator"], fake, rtol=1e-6)
    np.testing.assert_allclose(losses["discriminator"], -(fake - np.log(2)), rtol=1e-6)


def test_the_generator_moves_first_and_both_begin_at_the_start():
    model = dirac_gan(start=(0.25, -2.0), updates=(2, 3))
    params, _ = model.init(jax.random.key(0))
    assert list(model.players) == ["generator", "discriminator"]
    assert [player.num_updates for player in model.players.values()] == [2, 3]
    assert (float(params["generator"]), float(params["discriminator"])) == (0.25, -2.0)
    np.testing.assert_array_equal(
        model.sample(params, model.init(jax.random.key(0))[1], jax.random.key(2), 3), 0.25
    )


@pytest.mark.parametrize("name", ["gan", "non_saturating", "wgan_clip", "r1_0.3"])
def test_each_players_gradient_depends_on_the_other_player(name):
    """Consensus and unrolling differentiate the gradients again: nothing may be detached on the
    way."""
    model = dirac_gan(DIRAC_GAMES[name])
    jacobian = jax.jacfwd(lambda w: field(model, w[0], w[1]))(jnp.array([0.4, -0.9]))
    step, point, expected = 1e-5, np.array([0.4, -0.9]), np.empty((2, 2))
    for i, shift in enumerate(step * np.eye(2)):
        up, down = FIELDS[name](*(point + shift)), FIELDS[name](*(point - shift))
        expected[:, i] = (np.array(up) - np.array(down)) / (2 * step)
    np.testing.assert_allclose(jacobian, expected, atol=1e-5)
    assert abs(expected[1, 0]) > 0.1


@pytest.mark.parametrize("num_steps", [1, 3])
def test_an_unrolled_generator_sees_how_the_critic_would_answer(num_steps):
    """Metz et al. 2017, eq. 7: d/dtheta f(psi_k(theta) theta), with psi_k after k steps of gradient
    descent."""
    theta, psi, eta = 0.8, 0.5, 0.3

    def unrolled_loss(theta):
        ahead = psi
        for _ in range(num_steps):
            ahead = ahead + eta * theta * slope(ahead * theta)
        return -np.log1p(np.exp(-ahead * theta))

    model = dirac_gan(start=(theta, psi))
    players = dict(model.players)
    players["generator"] = players["generator"]._replace(lookahead=(("discriminator", num_steps),))
    algorithm = training.simultaneous(players, dirac_optimizers(DIRAC_GAMES["gan"], eta))
    state = algorithm.init(jax.random.key(0), *model.init(jax.random.key(0)))
    moved, _ = algorithm.step(state, lambda index: {})
    gradient = (theta - moved.params["generator"]) / eta
    np.testing.assert_allclose(
        gradient, (unrolled_loss(theta + 1e-5) - unrolled_loss(theta - 1e-5)) / 2e-5, rtol=1e-5
    )


def test_half_consensus_has_the_value_of_half_the_squared_field():
    for theta, psi in POINTS:
        both = np.array(FIELDS["gan"](theta, psi))
        np.testing.assert_allclose(
            half_consensus(jnp.float32(theta), jnp.float32(psi)), (both**2).sum() / 2, rtol=1e-6
        )


def test_projection_ends_inside_the_box_and_leaves_the_inside_alone():
    params = {"a": jnp.array([0.9, -0.9, 0.1]), "b": jnp.array(0.5)}
    updates = {"a": jnp.array([0.3, -5.0, 0.2]), "b": jnp.array(-0.25)}
    projected, _ = project_to_box(-1.0, 1.0).update(
        updates, project_to_box(-1.0, 1.0).init(params), params
    )
    np.testing.assert_allclose(params["a"] + projected["a"], [1.0, -1.0, 0.3], rtol=1e-6)
    np.testing.assert_allclose(params["b"] + projected["b"], 0.25)


def test_names_that_are_not_there_are_named():
    with pytest.raises(ConfigError, match="minmax.*minimax"):
        dirac_gan(DiracGame("minmax"))
    with pytest.raises(ConfigError, match="r3"):
        dirac_gan(DIRAC_GAMES["r1_1"]._replace(penalty="r3"))
