"""The GAN recipe: who owns what, what the losses say, and what composes with them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import core, training
from dgm_jax.core import SOLO, ConfigError
from dgm_jax.models import METHODS, PENALTIES, PROTOCOLS, Penalty, gan, toy_gan
from dgm_jax.networks import MLP, from_flax
from dgm_jax.objectives.gan import LOSSES

D, G = "discriminator", "generator"
LATENT = 3


@functools.cache
def networks(normalization="none", activation="tanh"):
    """A generator to the plane and a discriminator, width 8, weights of order one."""
    normal = {
        "init_name": "orthogonal",
        "gain": 1.2,
        "normalization": normalization,
        "activation": activation,
    }
    return from_flax(MLP((8, 2), **normal)), from_flax(MLP((8, 1), squeeze=True, **normal))


def model_of(normalization="none", loss="non_saturating", activation="tanh", **options):
    return gan(
        *networks(normalization, activation),
        LOSSES[loss],
        latent_size=LATENT,
        example_shape=(2,),
        **options,
    )


def start(model, key=0, num_examples=12):
    """A game with SGD, its state before the first step, and a batch."""
    key_init, key_x, key_z = jax.random.split(jax.random.key(key), 3)
    game = training.make_game(model.players, {D: optax.sgd(0.1), G: optax.sgd(0.1)}, SOLO)
    init_state = functools.partial(training.game.init_state, game, jax.random.key(key + 1))
    now = jax.jit(lambda key: init_state(*model.init(key)))(key_init)
    batch = {
        "x": 1.0 + core.normal(key_x, (num_examples, 2)),
        "z": core.normal(key_z, (num_examples, LATENT)),
    }
    return game, now, batch


def after(name, game, now, batch):
    """The state after one update of one player."""
    seen = training.move(game, name, now, batch, jax.random.key(9))
    return training.game.apply(game, name, now, seen)


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    return all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


# Ownership.


@pytest.mark.parametrize(
    "options",
    [
        {"normalization": "batch"},
        {"spectral": True},
        {"normalization": "batch", "spectral": True},
    ],
)
@pytest.mark.parametrize("name, other", [(D, G), (G, D)])
def test_an_update_changes_its_own_side_only(name, other, options):
    """Parameters, batch statistics and power iteration of the other side keep every bit."""
    game, now, batch = start(model_of(**options))
    moved = jax.jit(functools.partial(after, name, game))(now, batch)
    assert same(moved.params[other], now.params[other]) and same(
        moved.state[other], now.state[other]
    )
    assert not same(moved.params[name], now.params[name])
    if "normalization" in options:
        assert not same(moved.state[name]["network"], now.state[name]["network"])


def test_spectral_vectors_advance_with_the_discriminator_only():
    model = model_of(spectral=True)
    game, now, batch = start(model)
    u = now.state[D]["spectral"]
    assert u and not same(after(D, game, now, batch).state[D]["spectral"], u)
    assert same(after(G, game, now, batch).state[D]["spectral"], u)
    model.sample(now.params, now.state, jax.random.key(0), 4)  # and sampling needs no state back


def test_spectral_norm_bounds_the_discriminator():
    """After some power iterations, the slope of D in x is at most 1 (two dense layers of norm 1,
    slopes at most 1)."""
    model = model_of(spectral=True)
    game, now, batch = start(model)
    now = now._replace(params={**now.params, D: jax.tree.map(lambda w: 5.0 * w, now.params[D])})
    for _ in range(30):
        seen = training.move(game, D, now, batch, jax.random.key(9))
        now = now._replace(state={**now.state, D: seen.aux.state[D]})
    generator_slope = jax.grad(
        lambda z: model.players[G].loss(
            now.params, now.state, {"x": batch["x"], "z": z}, jax.random.key(0)
        )[0]
    )(batch["z"])
    fakes = lambda z: networks()[0].apply(now.params[G], {}, z, train=True)[0]
    jacobian = jax.vmap(jax.jacobian(lambda z: fakes(z[None])[0]))(batch["z"])
    bound = np.linalg.norm(jacobian, ord=2, axis=(1, 2)) / len(batch["z"])
    assert np.all(np.linalg.norm(generator_slope, axis=1) <= bound * 1.01)


def test_the_discriminators_gradient_is_that_of_detached_fakes():
    """Its own parameters see no difference; the generator's do not move (see the ownership
    test)."""
    model = model_of()
    game, now, batch = start(model)
    generator, discriminator = networks()

    def detached(own):
        fake = jax.lax.stop_gradient(generator.apply(now.params[G], {}, batch["z"], train=True)[0])
        real_logits, fake_logits = (
            discriminator.apply(own, {}, x, train=True)[0] for x in (batch["x"], fake)
        )
        return LOSSES["non_saturating"].discriminator(real_logits, fake_logits)

    expected = jax.jit(jax.grad(detached))(now.params[D])
    found = training.move(game, D, now, batch, jax.random.key(9)).gradient[D]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), found, expected
    )


# What depends on how D's gradient depends on G.


def directional(function, params, direction, h=1e-5):
    """Central difference of `function` along `direction`."""
    shift = lambda s: jax.tree.map(lambda p, d: p + s * d, params, direction)
    return (function(shift(h)) - function(shift(-h))) / (2 * h)


def inner(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def in_float64(model):
    game, now, batch = start(model)
    wide = lambda tree: jax.tree.map(
        lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, tree
    )
    now = now._replace(params=wide(now.params), state=wide(now.state))
    return game, now, wide(batch)


def random_like(tree, seed):
    leaves, structure = jax.tree.flatten(tree)
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(
        structure, [jnp.asarray(rng.normal(size=x.shape), x.dtype) for x in leaves]
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_unrolled_gradient_against_finite_differences(optimizer):
    """G's loss after two undifferentiated updates of D, as a function of G's parameters."""
    with jax.enable_x64(True):
        made = {"sgd": optax.sgd(0.5), "adam": optax.adam(0.1, b1=0.5)}[optimizer]
        model = model_of(unrolling=2)
        _, now, batch = in_float64(model)
        game = training.make_game(model.players, {D: made, G: optax.sgd(0.1)}, SOLO)
        now = training.game.init_state(game, jax.random.key(1), now.params, now.state)
        key = jax.random.key(9)

        def loss_of_d(own, params):
            return model.players[D].loss({**params, D: own}, now.state, batch, key)[0]

        def unrolled(own):
            params, opt_state = {**now.params, G: own}, made.init({D: now.params[D]})
            for _ in range(2):
                slope = jax.grad(loss_of_d)(params[D], params)
                updates, opt_state = made.update({D: slope}, opt_state)
                params = {**params, D: optax.apply_updates({D: params[D]}, updates)[D]}
            return model.players[G].loss(params, now.state, batch, key)[0]

        direction = random_like(now.params[G], 0)
        slope = jax.jit(lambda own: directional(unrolled, own, direction))(now.params[G])
        gradient = jax.jit(lambda now: training.move(game, G, now, batch, key).gradient[G])(now)
        found = inner(gradient, direction)
        np.testing.assert_allclose(found, slope, rtol=1e-6)

        # D's updates held constant: another number
        ahead = training.look_ahead(game, D, 2, now, batch, key)
        held = jax.grad(
            lambda own: model.players[G].loss({**ahead, G: own}, now.state, batch, key)[0]
        )(now.params[G])
        assert abs(float(inner(held, direction)) / float(slope) - 1) > 1e-3


def test_consensus_descends_half_the_squared_field():
    """The extra term of the update is the gradient of 1/2 |v|^2 in all parameters, by finite
    differences."""
    with jax.enable_x64(True):
        model = model_of()
        game, now, batch = in_float64(model)
        key = jax.random.fold_in(now.key, now.step)

        def half_square(params):
            at = now._replace(params=params)
            moves = [
                training.move(game, name, at, batch, jax.random.fold_in(key, i))
                for i, name in enumerate((D, G))
            ]
            return sum(inner(m.gradient, m.gradient) for m in moves) / 2

        direction = random_like(now.params, 1)
        slope = jax.jit(lambda params: directional(half_square, params, direction))(now.params)
        rates = {D: optax.sgd(1.0), G: optax.sgd(1.0)}

        def step(strength):
            algorithm = training.consensus(model.players, rates, strength=strength)
            return algorithm.step(now, lambda index: batch)[0].params

        plain, regularised = jax.jit(lambda: (step(0.0), step(1.0)))()
        term = jax.tree.map(jnp.subtract, plain, regularised)
        np.testing.assert_allclose(inner(term, direction), slope, rtol=1e-6)


# Values.


def test_metrics_say_what_the_discriminator_sees():
    """`value` is V(G, D) by its formula, in float64, and the bound is log 2 + V / 2."""
    model = model_of(packing=2)
    game, now, batch = start(model)
    seen = training.move(game, D, now, batch, jax.random.key(9))
    generator, discriminator = networks()
    packs = lambda x: jnp.concatenate([x[0::2], x[1::2]], axis=-1)
    fake = generator.apply(now.params[G], {}, batch["z"], train=True)[0]
    real_logits, fake_logits = (
        np.asarray(discriminator.apply(now.params[D], {}, packs(x), train=True)[0], np.float64)
        for x in (batch["x"], fake)
    )
    assert real_logits.shape == (6,)
    probability = lambda logits: 1 / (1 + np.exp(-logits))
    value = np.log(probability(real_logits)).mean() + np.log(1 - probability(fake_logits)).mean()
    metrics = seen.aux.metrics
    assert float(metrics["value"]) == pytest.approx(value, rel=1e-5)
    assert float(metrics["js_lower_bound"]) == pytest.approx(np.log(2) + value / 2, rel=1e-5)
    assert float(metrics["real_logit"]) == pytest.approx(real_logits.mean(), rel=1e-5)
    assert float(metrics["fake_logit"]) == pytest.approx(fake_logits.mean(), rel=1e-5)
    assert float(seen.loss) == pytest.approx(-value, rel=1e-5)
    g_loss = training.move(game, G, now, batch, jax.random.key(9)).loss
    assert float(g_loss) == pytest.approx(-np.log(probability(fake_logits)).mean(), rel=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_is_added_with_its_weight(name):
    weight = 3.0
    plain, with_penalty = model_of(), model_of(penalty=Penalty(PENALTIES[name], weight))
    game, now, batch = start(plain)
    key = jax.random.key(9)
    loss, _ = plain.players[D].loss(now.params, now.state, batch, key)
    total, aux = with_penalty.players[D].loss(now.params, now.state, batch, key)
    assert float(total) == pytest.approx(
        float(loss) + weight * float(aux.metrics["penalty"]), rel=1e-6
    )
    generator, discriminator = networks()
    critic = lambda x: discriminator.apply(now.params[D], {}, x, train=False)[0]
    norms = lambda x: np.linalg.norm(
        jax.vmap(jax.grad(lambda one: critic(one[None])[0]))(x), axis=-1
    )
    fake = generator.apply(now.params[G], {}, batch["z"], train=True)[0]
    expected = {"r1": (norms(batch["x"]) ** 2).mean() / 2, "r2": (norms(fake) ** 2).mean() / 2}
    if name in expected:
        assert float(aux.metrics["penalty"]) == pytest.approx(expected[name], rel=1e-5)
    else:
        assert float(aux.metrics["penalty"]) > 0


def test_instance_noise_is_on_what_the_discriminator_sees():
    """Its size is noise_scale; the generator's samples stay clean."""
    quiet, noisy = model_of(noise_scale=0.0), model_of(noise_scale=0.5)
    _, now, batch = start(quiet)
    loss = lambda model, key: float(
        model.players[D].loss(now.params, now.state, batch, jax.random.key(key))[0]
    )
    clean = float(model_of().players[D].loss(now.params, now.state, batch, jax.random.key(1))[0])
    assert loss(quiet, 1) == pytest.approx(clean, rel=1e-6)
    assert abs(loss(noisy, 1) - clean) > 1e-3 and abs(loss(noisy, 1) - loss(noisy, 2)) > 1e-4
    key = jax.random.key(3)
    np.testing.assert_array_equal(
        noisy.sample(now.params, now.state, key, 5), quiet.sample(now.params, now.state, key, 5)
    )


def test_samples_are_made_in_inference_form():
    """A sample does not depend on what it is drawn with, though training-mode batch statistics
    would couple them."""
    model = model_of(normalization="batch")
    _, now, batch = start(model)
    all_of_them = model.decode(now.params, now.state, batch["z"])
    one = model.decode(now.params, now.state, batch["z"][3:4])
    np.testing.assert_allclose(one[0], all_of_them[3], rtol=1e-6)
    drawn = model.sample(now.params, now.state, jax.random.key(5), 7)
    z = core.normal(jax.random.key(5), (7, LATENT))
    np.testing.assert_allclose(drawn, model.decode(now.params, now.state, z), rtol=1e-6)
    assert drawn.shape == (7, 2)


# Errors.


@pytest.mark.parametrize(
    "options, words",
    [
        ({"packing": 0}, "packing must be an integer of at least 1; got 0"),
        ({"critic_updates": 0}, "critic_updates must be an integer of at least 1; got 0"),
        ({"unrolling": -1}, "unrolling must be an integer of at least 0; got -1"),
    ],
)
def test_settings_that_no_game_could_use(options, words):
    with pytest.raises(ConfigError, match=words):
        model_of(**options)


def test_latents_need_a_size():
    with pytest.raises(ConfigError, match="latent_size must be an integer of at least 1; got 0"):
        gan(*networks(), LOSSES["hinge"], latent_size=0, example_shape=(2,))


def test_a_batch_must_fill_its_packs():
    model = model_of(packing=3)
    game, now, batch = start(model)
    short = jax.tree.map(lambda x: x[:10], batch)
    for name in (D, G):
        with pytest.raises(ConfigError, match="multiple of the pack size; got .*m = 3"):
            training.move(game, name, now, short, jax.random.key(0))


# The toy methods.


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_a_finite_step(method):
    """One step of the method's own dynamics moves both sides, and every number stays finite."""
    made = METHODS[method]
    model = toy_gan(PROTOCOLS["sandlund"], made)
    rates = {D: optax.adam(1e-3, b1=0.5), G: optax.adam(1e-3, b1=0.5)}
    rule = training.DYNAMICS[made.dynamics or "alternating"]
    algorithm = rule(model.players, rates)
    if made.average_decay is not None:
        algorithm = training.averaged(algorithm, (G,), made.average_decay)
    n = 4 * made.packing
    batch = {
        "x": np.linspace(-2, 2, 2 * n, dtype=np.float32).reshape(n, 2),
        "z": np.zeros((n, 16), np.float32),
    }
    batch["z"][:, 0] = np.linspace(-1, 1, n)

    @jax.jit
    def first_step(key):
        now = algorithm.init(jax.random.key(0), *model.init(key))
        return now, *algorithm.step(now, lambda index: batch)

    now, moved, info = first_step(jax.random.key(1))
    assert bool(core.all_finite((moved.params, moved.state, moved.opt_state, info)))
    assert not same(moved.params[D], now.params[D]) and not same(moved.params[G], now.params[G])
    assert set(info.losses) == {D, G} and {"value", "js_lower_bound"} <= set(info.metrics[D])
    assert int(moved.step) == 1
