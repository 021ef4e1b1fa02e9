"""Mistakes in the arguments of recipes, networks, training, estimators and data, as a user makes
them: each is a sentence with what was expected and what came, before a training is compiled."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from dgm_jax import data, models, networks, priors, quantization, sampling, training
from dgm_jax.core import Aux, DgmError, Player, Task
from dgm_jax.models import GumbelVae, Penalty, Vae, VqVae
from dgm_jax.models.classifier import image_classifier
from dgm_jax.networks import MLP, from_flax, from_functions, from_nnx
from dgm_jax.objectives import divergences
from dgm_jax.objectives.gan import LOSSES
from dgm_jax.sampling.estimators import ESTIMATORS, expectation

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 2)
IMAGE = (4, 4, 1)
P, Q = np.array([0.2, 0.8]), np.array([0.6, 0.4])


def linear(*outputs):
    """A network to arrays [B, *outputs], whatever its input is."""
    size = int(np.prod(outputs))
    return from_functions(
        lambda key, x: jnp.zeros((int(np.prod(x.shape[1:])), size)),
        lambda w, x: (x.reshape(len(x), -1) @ w).reshape(-1, *outputs),
    )


def gan(generator=None, discriminator=None, loss="hinge", **more):
    generator = linear(2) if generator is None else generator
    discriminator = linear() if discriminator is None else discriminator
    settings = {"latent_size": 3, "example_shape": (2,)} | more
    return models.gan(generator, discriminator, loss, **settings)


def vae(image_shape=IMAGE, **changes):
    recipe = Vae(linear(4), linear(*IMAGE), 2, priors.standard_normal(2))
    return models.vae(recipe._replace(**changes), image_shape)


def gumbel_vae(image_shape=IMAGE, **changes):
    return models.gumbel_vae(
        GumbelVae(linear(3, 2), linear(*IMAGE), (3,), 2)._replace(**changes), image_shape
    )


def avb(**changes):
    flat = from_functions(lambda key, x: {}, lambda params, x: x[1][:, :2])
    critic = from_functions(lambda key, x: {}, lambda params, x: x[1][:, 0])
    recipe = models.AdversarialVae(flat, linear(*IMAGE), critic, priors.standard_normal(2), 2, 2)
    return models.adversarial_variational_bayes(recipe._replace(**changes), IMAGE)


def vqvae(**changes):
    quantizer = quantization.finite_scalar_quantizer((3, 3))
    recipe = VqVae(linear(2, 2, 2), linear(4, 4, 2), (2, 2), quantizer)
    return models.vqvae(recipe._replace(**changes), IMAGE)


def lose(model, batch, player=0):
    """The loss of a player on a batch."""
    params, state = model.init(KEY)
    return list(model.players.values())[player].loss(params, state, batch, KEY)


def step(players=None, optimizers=None, dynamics=training.alternating):
    """The algorithm, as a game in one variable makes it."""
    loss = lambda params, state, batch, key: (jnp.square(params["w"]), Aux(state, {}))
    players = {"p": Player(("w",), loss)} if players is None else players
    return dynamics(players, optax.sgd(0.1) if optimizers is None else optimizers)


def train(keys=KEYS, num_steps=3, evaluate=None, task=None, **more):
    init = lambda key: ({"w": jnp.float32(1)}, {})
    draw = lambda data, data_key, index: ()
    given = Task(init, draw, lambda replica: step(), evaluate or (lambda *_: {"one": 1.0}))
    return training.train(given if task is None else task, keys, (), num_steps, **more)


X, Z = jnp.zeros((4, 2)), jnp.zeros((4, 3))
IMAGES = jnp.zeros((4, *IMAGE))
RGB = jnp.zeros((4, 4, 4, 3))
MISTAKES = {
    # networks
    "linen module as a generator": (
        lambda: gan(MLP((8, 2))),
        r"generator must be a core.Network \(init, apply\); got MLP; .* networks.from_flax",
    ),
    "linen module as a discriminator": (
        lambda: gan(discriminator=nn.Dense(1)),
        "discriminator must be a core.Network .* got Dense; .*from_flax",
    ),
    "class of a linen module": (
        lambda: gan(nn.Dense),
        "generator must be .*; got the class Dense; .*from_flax",
    ),
    "NNX module as a generator": (
        lambda: gan(nnx.Linear(3, 2, rngs=nnx.Rngs(0))),
        r"got Linear; a module of NNX becomes one by networks.from_nnx\(lambda rngs: module\)",
    ),
    "function as a network": (
        lambda: gan(lambda z: z),
        "core.Network .*; got the function <lambda>",
    ),
    "linen module in a VAE": (lambda: vae(encoder=MLP((8, 4))), "encoder must be .*from_flax"),
    "linen module in a VQ-VAE": (lambda: vqvae(decoder=MLP((8, 4))), "decoder must be .*from_flax"),
    "linen module in a Gumbel VAE": (
        lambda: gumbel_vae(encoder=MLP()),
        "encoder must be .*from_flax",
    ),
    "linen module in AVB": (lambda: avb(critic=MLP()), "critic must be .*from_flax"),
    "linen module as a classifier": (
        lambda: image_classifier(MLP((8, 4)), IMAGE),
        "network must be .*from_flax",
    ),
    "linen transformer": (
        lambda: models.autoregressive(networks.Transformer(3, 2)),
        "networks.CausalNetwork, such as networks.from_transformer.*; got Transformer",
    ),
    "from_flax of an NNX module": (
        lambda: from_flax(nnx.Linear(3, 2, rngs=nnx.Rngs(0))),
        r"from_flax takes a module of linen; got Linear: networks.from_nnx\(lambda rngs: module\)",
    ),
    "from_flax of a class": (
        lambda: from_flax(nn.Dense),
        r"module of linen; got the class Dense: make one, module\(...\)",
    ),
    "from_flax of a function": (lambda: from_flax(len), "linen; got the function len"),
    "from_nnx of a module": (
        lambda: from_nnx(nnx.Linear(3, 2, rngs=nnx.Rngs(0))),
        "takes a function rngs -> module, .*; got Linear",
    ),
    "from_nnx of a linen module": (
        lambda: from_nnx(nn.Dense(2)),
        "got Dense: linen modules are for networks.from_flax",
    ),
    "from_functions without functions": (
        lambda: from_functions({}, lambda params, x: x),
        "init must be a function; got dict",
    ),
    # names and settings
    "a misspelt loss": (
        lambda: gan(loss="hing"),
        r"unknown GAN loss 'hing' \(did you mean 'hinge'",
    ),
    "one function as a loss": (
        lambda: gan(loss=LOSSES["hinge"].generator),
        r"must be a GanLoss or the name of one \(hinge, .*\); got the function",
    ),
    "a registry's misspelt name": (
        lambda: LOSSES["hinged"],
        "'hinged' .did you mean 'hinge'.*; known",
    ),
    "another registry's": (lambda: ESTIMATORS["rebars"], "did you mean 'rebar'"),
    "a misspelt penalty": (lambda: gan(penalty="r3"), "unknown penalty 'r3' .did you mean 'r2'"),
    "a penalty without weight": (
        lambda: gan(penalty=models.PENALTIES["r1"]),
        r"penalty must be None, a name of models.PENALTIES or Penalty\(value, weight\); got the f",
    ),
    "example_shape as a number": (
        lambda: gan(example_shape=2),
        r"example_shape must be a tuple of sizes .*; got 2",
    ),
    "image_shape as a number": (
        lambda: vae(image_shape=4),
        "image_shape must be a tuple .*; got 4",
    ),
    "image_shape with a zero": (lambda: vae(image_shape=(4, 0, 1)), r"; got \(4, 0, 1\)"),
    "latent_size as text": (
        lambda: gan(latent_size="3"),
        "latent_size must be an integer of at least 1; got '3'",
    ),
    "latent_shape as a number": (
        lambda: gumbel_vae(latent_shape=3),
        "latent_shape must be a tuple",
    ),
    "a prior by name": (
        lambda: vae(prior="standard_normal"),
        r"prior must be a core.Prior or a function .*; got 'standard_normal': write "
        r"priors.standard_normal\(2\)",
    ),
    "vamp by name": (
        lambda: vae(prior="vamp"),
        r"got 'vamp': priors.vamp\(encode, num_components, image_shape\) needs the encoder; write "
        r"lambda encode: priors.vamp",
    ),
    "a misspelt prior": (lambda: vae(prior="vampp"), "unknown prior 'vampp' .did you mean 'vamp'"),
    "a prior's number": (lambda: vae(prior=2), "prior must be .*; got 2"),
    "AVB with a prior's name": (lambda: avb(prior="flow"), "got 'flow': priors.flow makes one"),
    "AVB with a function": (
        lambda: avb(prior=lambda encode: None),
        "must be a core.Prior; got the fun",
    ),
    "a quantizer by name": (
        lambda: vqvae(quantizer="residual"),
        r"quantizer must be a core.Quantizer; got 'residual': write quantization.QUANTIZERS",
    ),
    "a misspelt quantizer": (lambda: vqvae(quantizer="residal"), "did you mean 'residual'"),
    "a misspelt estimator": (
        lambda: expectation("reba", KEY, jnp.sum, jnp.zeros(3)),
        "unknown gradient estimator 'reba' .did you mean 'rebar'",
    ),
    "an estimator that is none": (
        lambda: expectation(None, KEY, jnp.sum, jnp.zeros(3)),
        "gradient estimator must be a Callable or the name of one .*; got None",
    ),
    # shapes and batches
    "a generator of another width": (
        lambda: gan(linear(3)).init(KEY),
        r"the generator gives \(3,\), but example_shape=\(2,\)",
    ),
    "a batch without noise": (
        lambda: lose(gan(), {"x": X}),
        r"a batch of a GAN holds x \[N, 2\] and z \[N, 3\]; got x float32\[4, 2\]$",
    ),
    "a batch that is an array": (lambda: lose(gan(), X), r"holds x .*; got float32\[4, 2\]"),
    "4 examples and 5 draws": (
        lambda: lose(gan(), {"x": X, "z": jnp.zeros((5, 3))}, player=1),
        r"; got x float32\[4, 2\], z float32\[5, 3\]",
    ),
    "examples of another width": (
        lambda: lose(gan(), {"x": Z, "z": Z}),
        r"x \[N, 2\] and z \[N, 3\]; got x float32\[4, 3\], z float32\[4, 3\]",
    ),
    "a VAE's batch without the step": (
        lambda: lose(vae(), {"x": IMAGES}),
        r"a batch of a VAE holds x \[N, 4, 4, 1\] and step; got x float32\[4, 4, 4, 1\]",
    ),
    "RGB where there is one channel": (
        lambda: lose(vae(), {"x": RGB, "step": 0}),
        r"holds x \[N, 4, 4, 1\] and step; got x float32\[4, 4, 4, 3\], step 0",
    ),
    "RGB for a VQ-VAE": (
        lambda: lose(vqvae(), {"x": RGB}),
        r"a VQ-VAE holds x \[N, 4, 4, 1\]; got x",
    ),
    "RGB for a Gumbel VAE": (
        lambda: lose(gumbel_vae(), {"x": RGB, "step": 0}),
        r"x \[N, 4, 4, 1\]",
    ),
    "RGB for AVB": (lambda: lose(avb(), {"x": RGB, "step": 0}, player=1), r"x \[N, 4, 4, 1\]"),
    "tokens without a name": (
        lambda: lose(models.autoregressive(causal()), jnp.zeros((2, 3), int)),
        r"an autoregressive model holds x; got int\d+\[2, 3\]",
    ),
    # keys
    "an int as the key of init": (lambda: gan().init(0), r"key must be one key, such as .*; got 0"),
    "an int as the key of a VAE": (lambda: vae().init(0), "key must be one key.*; got 0"),
    "an int as the key of a sample": (
        lambda: vae().sample(*vae().init(KEY), 0, 3),
        "key must be one key.*; got 0",
    ),
    "an int as the key of a draw": (
        lambda: sampling.gumbel_max(0, jnp.zeros(3)),
        "key must be one key.*; got 0",
    ),
    "several keys": (
        lambda: sampling.gumbel_softmax(KEYS, jnp.zeros(3), 1.0),
        r"one key, such as .*; got key<fry>\[2\]: map over its 2 keys by jax.vmap",
    ),
    "an int for an estimator": (
        lambda: expectation("rebar", 0, jnp.sum, jnp.zeros(3), temperature=0.5),
        "key must be one key.*; got 0",
    ),
    "a seed for train": (lambda: train(keys=0), r"keys must be typed keys \[L\].*; got 0"),
    "one key for train": (
        lambda: train(keys=KEY),
        r"typed keys \[L\], such as .*; got key<fry>\[\]",
    ),
    # numbers
    "probabilities for KL": (
        lambda: divergences.kl(P, Q),
        r"log_p look like probabilities .* pass jnp.log\(probabilities\)",
    ),
    "probabilities for JS": (
        lambda: divergences.js(jnp.log(P), jnp.array(Q)),
        "log_q look like prob",
    ),
    "probabilities for logits": (
        lambda: sampling.gumbel_max(KEY, jnp.array(P)),
        "logits look like prob",
    ),
    # training
    "no optimizer": (
        lambda: step(optimizers={}),
        r"players and optimizers must have the same names, got \['p'\] and \[\]",
    ),
    "an optimizer that was not called": (
        lambda: step(optimizers=optax.adam),
        r"optimizers must be one of optax, such as optax.adam\(1e-4\), .*; got the function adam",
    ),
    "a learning rate as an optimizer": (
        lambda: step(optimizers={"p": 0.1}),
        "by name; got 'p': 0.1",
    ),
    "a loss where a player is due": (
        lambda: step(players={"p": lambda *_: 0.0}),
        r"players must be \{name: core.Player\}, .*; got 'p': the function <lambda>",
    ),
    "no steps": (lambda: train(num_steps=0), "num_steps must be an integer of at least 1; got 0"),
    "half a step": (lambda: train(num_steps=1.5), "num_steps must be an integer .*; got 1.5"),
    "no steps a chunk": (lambda: train(chunk_steps=0), "chunk_steps must be an integer .*; got 0"),
    "a model where a task is due": (
        lambda: training.train(gan(), KEYS, (), 3),
        "task must be a Task or hyper -> Task; got Model",
    ),
    "hyper-parameters as an array": (
        lambda: train(hyper=jnp.ones(2)),
        r"hyper must be arrays by name; got float32\[2\]",
    ),
    "hyper-parameters as numbers": (
        lambda: train(hyper={"rate": 0.1}),
        r"hyper must hold arrays \[L, ...\] with L = 2, as many as keys",
    ),
    "an evaluation that is a number": (
        lambda: train(evaluate=lambda train_state, data, key: 1.0),
        "Task.evaluate must return a dictionary by metric; got 1.0",
    ),
    # data
    "an array for load": (
        lambda: data.load(np.zeros((1000, 28, 28))),
        r"name of a data set, got float64\[1000, 28, 28\]; data.from_arrays\(\{'x_train'",
    ),
    "an array for from_arrays": (
        lambda: data.from_arrays(np.zeros((10, 8, 8, 1), np.uint8)),
        r"expected arrays by name, such as \{'x_train': images\}, got uint8\[10, 8, 8, 1\]",
    ),
    "a misspelt density": (
        lambda: data.density("rings"),
        "unknown density 'rings' .did you mean 'ring'",
    ),
    "an option that a density lacks": (
        lambda: data.density("ring", modes=8),
        "no option 'modes' .did you mean 'num_modes'",
    ),
}


def causal():
    return networks.CausalNetwork(3, 3, lambda key: {}, lambda params, tokens, key=None: tokens)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_before_training_is_compiled(mistake, monkeypatch):
    act, message = MISTAKES[mistake]
    compiled = []  # programs of the engine
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda *_, **__: compiled.append(1))
    with pytest.raises(DgmError, match=message) as raised:
        act()
    assert not compiled
    assert len(str(raised.value)) < 300 and "\n" not in str(raised.value)


def test_names_and_single_optimizers_are_taken():
    """A loss, a penalty and an estimator by name, and one optimizer for every player, are what the
    objects that they stand for are."""
    batch = {"x": jax.random.normal(KEY, (4, 2)), "z": jax.random.normal(KEY, (4, 3))}
    by_name = lose(gan(loss="hinge", penalty="r1"), batch)
    penalty = Penalty(models.PENALTIES["r1"], 10.0)
    by_object = lose(gan(loss=LOSSES["hinge"], penalty=penalty), batch)
    jax.tree.map(np.testing.assert_array_equal, by_name, by_object)
    logits = jnp.array([0.3, -0.2])
    values = [
        expectation(estimator, KEY, lambda x: x[..., 0], logits)
        for estimator in ("exact", ESTIMATORS["exact"])
    ]
    assert values[0] == values[1]
    model = gan()
    for dynamics in (training.alternating, training.optimistic):
        states = [
            dynamics(model.players, optimizers).init(KEY, *model.init(KEY))
            for optimizers in (optax.adam(0.1), dict.fromkeys(model.players, optax.adam(0.1)))
        ]
        assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])
    sample = data.density("ring", num_modes=3, radius=1.0, scale=0.01).sample(KEY, 500)
    np.testing.assert_allclose(np.linalg.norm(sample, axis=1), 1, atol=0.1)
