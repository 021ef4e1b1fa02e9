"""Losses that look ahead of an opponent's updates, against closed forms and finite differences.

The game is the Dirac-GAN (Mescheder et al. 2018): data at 0, a generator at theta, a critic psi x,
so V = f(0) + f(-t) with f(t) = -log(1 + e^-t) and t = psi theta; the generator descends f(-t), the
critic ascends it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import training
from dgm_jax.core import SOLO, Aux, Player

RATE = 0.3


def f(t):
    return -jax.nn.softplus(-t)


def dirac(num_steps, optimizer=None):
    """The players, and `params -> gradient of G` at one point."""
    value = lambda params: f(-params["psi"] * params["theta"])
    lookahead = () if num_steps is None else (("critic", num_steps),)
    players = {
        "critic": Player(
            ("psi",), lambda params, state, batch, key: (-value(params), Aux(state, {}))
        ),
        "generator": Player(
            ("theta",),
            lambda params, state, batch, key: (value(params), Aux(state, {})),
            1,
            lookahead,
        ),
    }
    optimizers = {"critic": optimizer or optax.sgd(RATE), "generator": optax.sgd(1.0)}
    game = training.make_game(players, optimizers, SOLO)

    def gradient(theta, psi):
        now = training.game.init_state(game, jax.random.key(0), {"theta": theta, "psi": psi}, {})
        return training.move(game, "generator", now, None, jax.random.key(1)).gradient["theta"]

    return gradient


POINTS = [(1.0, 1.0), (-0.5, 2.0), (0.3, -1.2), (0.0, 0.7)]


@pytest.mark.parametrize("theta, psi", POINTS)
def test_no_steps_ahead_is_the_plain_gradient(theta, psi):
    theta, psi = jnp.float32(theta), jnp.float32(psi)
    plain = jax.jit(dirac(None))(theta, psi)
    assert float(jax.jit(dirac(0))(theta, psi)) == float(plain)
    t = float(theta * psi)
    assert float(plain) == pytest.approx(-float(psi) / (1 + np.exp(-t)), rel=1e-6)  # -psi f'(-t)


@pytest.mark.parametrize("theta, psi", POINTS)
def test_one_sgd_step_ahead_in_closed_form(theta, psi):
    """psi' = psi + rate d f(-psi theta)/d psi, and the gradient of f(-psi'(theta) theta) with psi'
    varying."""
    s = lambda t: 1 / (1 + np.exp(-t))
    t = psi * theta
    ahead = psi - RATE * theta * s(t)  # f'(-t) = s(t)
    ahead_slope = -RATE * (s(t) + theta * psi * s(t) * (1 - s(t)))
    expected = -s(ahead * theta) * (ahead + theta * ahead_slope)
    found = float(jax.jit(dirac(1))(jnp.float32(theta), jnp.float32(psi)))
    assert found == pytest.approx(expected, rel=1e-5)
    first_order = -s(ahead * theta) * ahead  # what comes out if the critic's step is held constant
    if theta:
        assert abs(found - first_order) > 1e-3


@pytest.mark.parametrize("num_steps", [1, 3])
@pytest.mark.parametrize("name", ["adam", "momentum"])
def test_optax_steps_ahead_against_finite_differences(name, num_steps):
    """Central differences of f(-psi_k(theta) theta), psi_k by k optax updates that are not
    differentiated."""
    with jax.enable_x64(True):
        optimizer = {"adam": optax.adam(RATE, b1=0.5), "momentum": optax.sgd(RATE, momentum=0.9)}[
            name
        ]

        def after(theta, psi):
            opt_state = optimizer.init(psi)
            for _ in range(num_steps):
                updates, opt_state = optimizer.update(
                    -jax.grad(lambda p: f(-p * theta))(psi), opt_state, psi
                )
                psi = optax.apply_updates(psi, updates)
            return f(-psi * theta)

        theta, psi, h = jnp.float64(0.8), jnp.float64(-0.6), 1e-5
        slope = jax.jit(lambda theta: (after(theta + h, psi) - after(theta - h, psi)) / (2 * h))(
            theta
        )
        found = jax.jit(dirac(num_steps, optimizer))(theta, psi)
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, slope, rtol=1e-7)


def test_looking_ahead_continues_the_opponents_optimizer():
    """Momentum that the critic has gathered before counts in the steps ahead, and is left as it
    was."""
    momentum = optax.sgd(RATE, momentum=0.9)
    loss = lambda params, state, batch, key: (-f(-params["psi"] * params["theta"]), Aux(state, {}))
    players = {
        "critic": Player(("psi",), loss),
        "generator": Player(("theta",), loss, 1, (("critic", 1),)),
    }
    game = training.make_game(players, {"critic": momentum, "generator": optax.sgd(1.0)}, SOLO)
    params = {"theta": jnp.float32(0.5), "psi": jnp.float32(1.0)}
    now = training.game.init_state(game, jax.random.key(0), params, {})
    pushed = now._replace(
        opt_state={
            **now.opt_state,
            "critic": jax.tree.map(lambda m: m + 2.0, now.opt_state["critic"]),
        }
    )
    ahead = training.look_ahead(game, "critic", 1, pushed, None, jax.random.key(1))
    gradient = jax.grad(lambda psi: -f(-psi * 0.5))(jnp.float32(1.0))
    assert float(ahead["psi"]) == pytest.approx(
        1.0 - RATE * (0.9 * 2.0 + float(gradient)), rel=1e-6
    )

    algorithm = training.alternating(players, {"critic": momentum, "generator": optax.sgd(0.0)})
    start = algorithm.init(jax.random.key(0), params, {})
    moved, _ = jax.jit(lambda s: algorithm.step(s, lambda index: index))(start)
    one, _ = momentum.update({"psi": gradient}, start.opt_state["critic"])
    # one update, not two
    assert float(moved.params["psi"]) == pytest.approx(1.0 + float(one["psi"]), rel=1e-6)


def test_steps_ahead_see_the_opponents_state_and_batch():
    """The opponent's model state advances inside the look-ahead only; both sides see the same
    batch."""

    def critic(params, state, batch, key):
        return params["psi"] * batch * (1.0 + state["psi"]), Aux({"psi": state["psi"] + 1.0}, {})

    def generator(params, state, batch, key):
        return params["theta"] * params["psi"], Aux({"psi": jnp.float32(99.0)}, {"seen": batch})

    players = {
        "critic": Player(("psi",), critic),
        "generator": Player(("theta",), generator, 1, (("critic", 2),)),
    }
    game = training.make_game(players, {n: optax.sgd(1.0) for n in players}, SOLO)
    params, state = {"theta": jnp.float32(1.0), "psi": jnp.float32(10.0)}, {"psi": jnp.float32(0.0)}
    now = training.game.init_state(game, jax.random.key(0), params, state)
    seen = training.move(game, "generator", now, jnp.float32(3.0), jax.random.key(1))
    # psi after steps with state 0 and 1
    assert float(seen.gradient["theta"]) == 10.0 - 3.0 * (1.0 + 2.0)
    moved = training.game.apply(game, "generator", now, seen)
    assert float(moved.params["psi"]) == 10.0 and float(moved.state["psi"]) == 0.0
