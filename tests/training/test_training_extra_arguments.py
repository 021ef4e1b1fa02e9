"""Transformations of optax that ask for the loss, its gradient or the loss as a function get
them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import training
from dgm_jax.core import SOLO, Aux, Player

CURVATURES = jnp.array([1.0, 10.0])


def bowl(params, state, batch, key):
    """(x^2 + 10 y^2) / 2, the least value is 0."""
    return jnp.sum(CURVATURES * params["p"] ** 2) / 2, Aux(state, {})


def stepped(rule, optimizer, num_updates=1, num_steps=1):
    algorithm = training.DYNAMICS[rule]({"p": Player(("p",), bowl, num_updates)}, {"p": optimizer})
    now = algorithm.init(jax.random.key(0), {"p": jnp.array([2.0, 1.0])}, {})

    @jax.jit
    def step(now):
        return algorithm.step(now, lambda index: index)[0]

    for _ in range(num_steps):
        now = step(now)
    return np.asarray(now.params["p"])


@pytest.mark.parametrize(
    "rule, num_updates", [("alternating", 1), ("alternating", 2), ("simultaneous", 1)]
)
def test_polyak_steps_follow_the_value_of_the_loss(rule, num_updates):
    """x <- x - f(x) g / |g|^2, Polyak's step length for a least value of 0."""
    x = np.array([2.0, 1.0])
    for _ in range(num_updates):
        gradient = np.asarray(CURVATURES) * x
        value = np.sum(np.asarray(CURVATURES) * x**2) / 2
        x = x - value * gradient / np.sum(gradient**2)
    got = stepped(rule, optax.polyak_sgd(max_learning_rate=10.0), num_updates)
    np.testing.assert_allclose(got, x, rtol=1e-5)


@pytest.mark.parametrize("rule", ["alternating", "simultaneous"])
def test_a_line_search_sees_the_loss_as_a_function(rule):
    """L-BFGS with its search for a step length solves a quadratic in two numbers; plain gradient
    descent at its rate of 1 diverges along the curvature of 10."""
    start = float(np.linalg.norm(np.array([2.0, 1.0])))
    assert np.linalg.norm(stepped(rule, optax.lbfgs(), num_steps=8)) < 1e-4 * start
    assert np.linalg.norm(stepped(rule, optax.sgd(1.0), num_steps=8)) > start


def test_a_player_that_is_looked_ahead_of_gets_them_too():
    """Two Polyak steps of the opponent y on (y - x)^2 / 2 halve its distance to x each time."""

    def opponent(params, state, batch, key):
        return (params["y"] - params["x"]) ** 2 / 2, Aux(state, {})

    def looks(params, state, batch, key):
        return params["y"], Aux(state, {})

    players = {"y": Player(("y",), opponent), "x": Player(("x",), looks, 1, (("y", 2),))}
    optimizers = {"y": optax.polyak_sgd(max_learning_rate=10.0), "x": optax.sgd(0.0)}
    game = training.make_game(players, optimizers, SOLO)
    now = training.game.init_state(
        game, jax.random.key(0), {"x": jnp.float32(1.0), "y": jnp.float32(9.0)}, {}
    )
    seen = training.move(game, "x", now, None, jax.random.key(1))
    np.testing.assert_allclose(seen.loss, 1.0 + 8.0 / 4, rtol=1e-5)
