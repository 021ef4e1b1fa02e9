"""The dynamics of `training.players` against the exact update matrices of linear games."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import training
from dgm_jax.core import Aux, Player

RATE = 0.1
STEPS = 6

# A game of two players is linear where v(w) = A w. `x` owns the first two coordinates, `y` the
# last. The diagonal blocks are symmetric, because each player's own block is a Hessian; the
# off-diagonal ones are free (general sum).
GAMES = {
    "bilinear": np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -2.0], [-1.0, 2.0, 0.0]]),  # x . (1, -2) y
    "quadratic": np.array([[1.5, 0.3, 0.7], [0.3, 0.8, -0.4], [-0.9, 0.2, 1.1]]),
}
MINE = {"x": slice(0, 2), "y": slice(2, 3)}
START = np.array([0.7, -0.4, 1.3])


def players_of(matrix, order=("x", "y"), num_updates=None):
    matrix = jnp.asarray(matrix, jnp.float32)

    def loss_of(name):
        own = MINE[name]

        def loss(params, state, batch, key):
            w = jnp.concatenate([params["x"], params["y"]])
            mine = params[name]
            others = w.at[own].set(0.0)
            return mine @ matrix[own, own] @ mine / 2 + mine @ (matrix[own] @ others), Aux(
                state, {}
            )

        return loss

    return {
        name: Player((name,), loss_of(name), (num_updates or {}).get(name, 1)) for name in order
    }


def trajectory(algorithm, num_steps=STEPS, jit=True, start=START):
    """[num_steps + 1, 3], the points a compiled (or not compiled) algorithm visits."""
    params = {name: jnp.asarray(start[own], jnp.float32) for name, own in MINE.items()}
    now = algorithm.init(jax.random.key(0), params, {})

    def step(now):
        return algorithm.step(now, lambda index: index)[0]

    step = jax.jit(step) if jit else step
    points = [start]
    for _ in range(num_steps):
        now = step(now)
        points.append(np.concatenate([now.params["x"], now.params["y"]]))
    assert int(now.step) == num_steps
    return np.stack(points)


def rates(*names):
    return {name: optax.sgd(RATE) for name in names}


def repeated(update, num_steps=STEPS):
    """START, update(START), ... for a matrix, in float64."""
    points = [START]
    for _ in range(num_steps):
        points.append(update @ points[-1])
    return np.stack(points)


def one_player_moves(matrix, name):
    """I - rate * (rows of A that belong to the player)."""
    rows = np.zeros_like(matrix)
    rows[MINE[name]] = matrix[MINE[name]]
    return np.eye(3) - RATE * rows


EYE = np.eye(3)
UPDATES = {
    "simultaneous": lambda a: EYE - RATE * a,
    "alternating": lambda a: one_player_moves(a, "y") @ one_player_moves(a, "x"),
    "extragradient": lambda a: EYE - RATE * a @ (EYE - RATE * a),
    "consensus": lambda a: EYE - RATE * (a + a.T @ a),
}


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("rule", UPDATES)
def test_rule_equals_its_update_matrix(rule, game, jit):
    algorithm = training.DYNAMICS[rule](players_of(GAMES[game]), rates("x", "y"))
    steps = STEPS if jit else 2
    np.testing.assert_allclose(
        trajectory(algorithm, steps, jit),
        repeated(UPDATES[rule](GAMES[game]), steps),
        rtol=2e-6,
        atol=2e-6,
    )


def test_update_matrices_differ():
    """The test above tells the rules apart: no two of them agree on either game."""
    for matrix in GAMES.values():
        last = [repeated(update(matrix))[-1] for update in UPDATES.values()]
        gaps = [np.abs(a - b).max() for i, a in enumerate(last) for b in last[:i]]
        assert min(gaps) > 1e-2


@pytest.mark.parametrize("game", GAMES)
def test_optimistic_is_a_two_step_recurrence(game):
    """w_{t+1} = w_t - rate (2 A w_t - A w_{t-1}) with A w_{-1} = A w_0 (Daskalakis et al. 2018, eq.
    5)."""
    matrix = GAMES[game]
    points, before = [START], GAMES[game] @ START
    for _ in range(STEPS):
        v = matrix @ points[-1]
        points.append(points[-1] - RATE * (2 * v - before))
        before = v
    algorithm = training.optimistic(players_of(matrix), rates("x", "y"))
    np.testing.assert_allclose(trajectory(algorithm), np.stack(points), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("strength", [0.0, 0.25])
def test_consensus_strength(strength):
    a = GAMES["quadratic"]
    algorithm = training.consensus(players_of(a), rates("x", "y"), strength=strength)
    expected = repeated(EYE - RATE * (a + strength * a.T @ a))
    np.testing.assert_allclose(trajectory(algorithm), expected, rtol=2e-6, atol=2e-6)


def test_alternating_moves_in_the_order_of_the_dictionary():
    a = GAMES["bilinear"]
    algorithm = training.alternating(players_of(a, order=("y", "x")), rates("y", "x"))
    expected = repeated(one_player_moves(a, "x") @ one_player_moves(a, "y"))
    np.testing.assert_allclose(trajectory(algorithm), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("num_updates", [{"x": 3}, {"x": 2, "y": 4}])
def test_several_updates_are_powers_of_one_players_matrix(num_updates):
    a = GAMES["quadratic"]
    algorithm = training.alternating(players_of(a, num_updates=num_updates), rates("x", "y"))
    power = {
        name: np.linalg.matrix_power(one_player_moves(a, name), num_updates.get(name, 1))
        for name in MINE
    }
    np.testing.assert_allclose(
        trajectory(algorithm), repeated(power["y"] @ power["x"]), rtol=2e-6, atol=2e-6
    )


def test_stability_of_the_bilinear_game():
    """With x y and rate h: simultaneous steps grow by sqrt(1 + h^2), alternating ones stay on an
    orbit, and the extragradient contracts by sqrt(1 - h^2 + h^4) (Mescheder et al. 2018; Gidel et
    al. 2019)."""
    a = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])

    def radius(rule):
        algorithm = training.DYNAMICS[rule](players_of(a), rates("x", "y"))

        def step(w):
            now = algorithm.init(jax.random.key(0), {"x": w[:2], "y": w[2:]}, {})
            now, _ = algorithm.step(now, lambda index: index)
            return jnp.concatenate([now.params["x"], now.params["y"]])

        jacobian = np.array(jax.jacfwd(step)(jnp.asarray(START, jnp.float32)))[
            np.ix_([0, 2], [0, 2])
        ]
        return np.abs(np.linalg.eigvals(jacobian.astype(np.float64))).max()

    h = RATE
    assert radius("simultaneous") == pytest.approx(np.sqrt(1 + h**2), abs=1e-6)
    assert radius("alternating") == pytest.approx(1.0, abs=1e-6)
    assert radius("extragradient") == pytest.approx(np.sqrt(1 - h**2 + h**4), abs=1e-6)


@pytest.mark.parametrize("rule", ["alternating", "simultaneous", "consensus"])
def test_one_player_is_gradient_descent(rule):
    def loss(params, state, batch, key):
        return jnp.sum(params["w"] ** 2) / 2, Aux(state, {})

    algorithm = training.DYNAMICS[rule]({"only": Player(("w",), loss)}, {"only": optax.sgd(RATE)})
    now = algorithm.init(jax.random.key(0), {"w": jnp.array([1.0, -2.0])}, {})
    now, info = jax.jit(lambda s: algorithm.step(s, lambda index: index))(now)
    factor = 1 - RATE * (2 if rule == "consensus" else 1)  # grad of 1/2 |v|^2 is w itself
    np.testing.assert_allclose(now.params["w"], [factor, -2 * factor], rtol=1e-6)
    assert float(info.losses["only"]) == pytest.approx(2.5)


# Which batch, which noise, which parts.

NUM_SLOTS = 16


def recorder(name, num_updates=1):
    """A player whose parameters add up `one_hot(batch) * (1 + noise)`: what it saw, and with which
    key."""

    def loss(params, state, batch, key):
        seen = jax.nn.one_hot(batch, NUM_SLOTS) * (1 + jax.random.uniform(key))
        state = {part: value + 1.0 for part, value in state.items()}
        everything = sum(jnp.vdot(value, seen) for value in params.values())
        return -everything, Aux(state, {"batch": batch})

    return Player((name,), loss, num_updates)


def record(rule, num_steps, num_updates=None, key=0, jit=True):
    num_updates = num_updates or {}
    players = {name: recorder(name, num_updates.get(name, 1)) for name in ("d", "g")}
    algorithm = training.DYNAMICS[rule](players, {name: optax.sgd(1.0) for name in players})
    zeros = {name: jnp.zeros(NUM_SLOTS) for name in ("d", "g", "nobody")}
    now = algorithm.init(
        jax.random.key(key), zeros, {name: jnp.zeros(()) for name in ("d", "g", "nobody")}
    )
    step = lambda now: algorithm.step(now, lambda index: index)
    step = jax.jit(step) if jit else step
    metrics = []
    for _ in range(num_steps):
        now, seen = step(now)
        metrics.append(jax.device_get(seen.metrics))
    return now, metrics


def slots(params):
    return np.flatnonzero(np.asarray(params)).tolist()


def test_alternating_gives_every_update_a_fresh_batch():
    now, metrics = record("alternating", 3, {"d": 3})
    assert slots(now.params["d"]) == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert slots(now.params["g"]) == [3, 7, 11]
    # the metrics are those of the last update
    assert [int(m["d"]["batch"]) for m in metrics] == [2, 6, 10]
    assert [int(m["g"]["batch"]) for m in metrics] == [3, 7, 11]


@pytest.mark.parametrize("rule", ["simultaneous", "extragradient", "optimistic", "consensus"])
def test_moving_at_once_means_one_batch_a_step(rule):
    _, metrics = record(rule, 4)
    assert (
        [int(m["d"]["batch"]) for m in metrics]
        == [int(m["g"]["batch"]) for m in metrics]
        == [0, 1, 2, 3]
    )


def test_every_update_has_noise_of_its_own():
    now, _ = record("alternating", 3, {"d": 3})
    noise = np.concatenate(
        [np.asarray(now.params[name])[slots(now.params[name])] for name in ("d", "g")]
    )
    assert len(set(noise.tolist())) == 12
    again, _ = record("alternating", 3, {"d": 3})
    other, _ = record("alternating", 3, {"d": 3}, key=1)
    np.testing.assert_array_equal(again.params["d"], now.params["d"])
    assert not np.any(np.asarray(other.params["d"])[slots(now.params["d"])] == noise[:9])


def test_noise_depends_on_the_step_alone():
    """Two steps from a state that was taken out and put back are the steps of an undisturbed
    run."""
    players = {"d": recorder("d", 2)}
    algorithm = training.alternating(players, {"d": optax.sgd(1.0)})
    start = algorithm.init(jax.random.key(3), {"d": jnp.zeros(NUM_SLOTS)}, {"d": jnp.zeros(())})
    draw = lambda index: index
    once, _ = algorithm.step(start, draw)
    twice, _ = algorithm.step(once, draw)
    jumped, _ = algorithm.step(start._replace(step=jnp.int32(1)), draw)
    np.testing.assert_array_equal(
        np.asarray(twice.params["d"])[2:], np.asarray(jumped.params["d"])[2:]
    )


@pytest.mark.parametrize("rule", list(training.DYNAMICS))
def test_players_change_their_own_parts_only(rule):
    """Every loss depends on all parameters and claims to change all model state; only its own parts
    move."""
    now, _ = record(rule, 2)
    assert not np.any(np.asarray(now.params["nobody"]))
    assert float(now.state["nobody"]) == 0.0
    assert np.any(np.asarray(now.params["d"])) and np.any(np.asarray(now.params["g"]))
    # One update a step each, counted once: the other player's evaluations leave no trace, nor does
    # a point that the extragradient only looked at.
    assert float(now.state["d"]) == float(now.state["g"]) == 2.0


def test_num_updates_equals_a_python_loop_bitwise():
    """n critic updates inside one compiled step are, bit for bit, n updates made one by one."""
    key_w, key_x = jax.random.split(jax.random.key(5))
    params = {"d": jax.random.normal(key_w, (8, 4)), "g": jnp.ones((4,))}
    data = jax.random.normal(key_x, (64, 8))
    adam = optax.adam(1e-2)

    def d_loss(params, state, batch, key):
        noise = 0.1 * jax.random.normal(key, (16,))
        return jnp.mean((jnp.tanh(batch @ params["d"]) @ params["g"] + noise) ** 2), Aux(state, {})

    def g_loss(params, state, batch, key):
        return jnp.mean(jnp.tanh(batch @ params["d"]) @ params["g"]), Aux(state, {})

    draw = lambda index: jax.lax.dynamic_slice_in_dim(data, 8 * index, 16)
    players = {"d": Player(("d",), d_loss, 5), "g": Player(("g",), g_loss)}
    algorithm = training.alternating(players, {"d": adam, "g": adam})
    start = algorithm.init(jax.random.key(6), params, {})
    stepped, _ = jax.jit(lambda now: algorithm.step(now, draw))(start)

    @jax.jit
    def one_update(d, opt_state, i):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(start.key, 0), 0), i)
        loss = lambda d: d_loss({"d": d, "g": params["g"]}, {}, draw(i), key)[0]
        updates, opt_state = adam.update({"d": jax.grad(loss)(d)}, opt_state, {"d": d})
        return optax.apply_updates({"d": d}, updates)["d"], opt_state

    d, opt_state = params["d"], start.opt_state["d"]
    for i in range(5):
        d, opt_state = one_update(d, opt_state, jnp.int32(i))
    np.testing.assert_array_equal(stepped.params["d"], d)
    jax.tree.map(np.testing.assert_array_equal, stepped.opt_state["d"], opt_state)


def test_consensus_where_a_part_is_state_only():
    """A player may own a part that has model state and no parameters."""

    def loss(params, state, batch, key):
        return jnp.sum(params["w"] ** 2) / 2, Aux({**state, "counter": state["counter"] + 1.0}, {})

    algorithm = training.consensus({"p": Player(("w", "counter"), loss)}, {"p": optax.sgd(RATE)})
    now = algorithm.init(jax.random.key(0), {"w": jnp.ones(2)}, {"counter": jnp.zeros(())})
    now, _ = algorithm.step(now, lambda index: index)
    np.testing.assert_allclose(now.params["w"], 1 - 2 * RATE, rtol=1e-6)
    assert float(now.state["counter"]) == 1.0
