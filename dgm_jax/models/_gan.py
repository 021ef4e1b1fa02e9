"""Generative adversarial networks: two players, and the techniques that compose with them.

    discriminator:  max_D  E_p log D(x) + E_q log(1 - D(x))
    generator:      min_G  of the same (minimax), or of a loss named in `objectives.gan.LOSSES`

(Goodfellow et al. 2014, eq. 1.) The recipe takes any pair of networks, any loss, any penalty,
and techniques of the literature: packing (Lin et al. 2018), instance noise (Sonderby et al.
2017), spectral norm (Miyato et al. 2018), several critic updates (Arjovsky et al. 2017), an
unrolled discriminator (Metz et al. 2017). Two time scales (Heusel et al. 2017) are two optimizers.

A batch is `{"x": [N, ...], "z": [N, Z]}` with N = packing * B. It contains all noise of the
generator, so the key of a loss is used by penalties, instance noise and dropout only.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import (
    Array,
    Aux,
    Key,
    Model,
    Network,
    Params,
    Player,
    PyTree,
    Registry,
    State,
    by_name,
    checks,
    described,
    lookup,
    named_key,
    require,
)
from dgm_jax.models import parts
from dgm_jax.networks.layers import spectral_norm
from dgm_jax.objectives import gan as objective

DISCRIMINATOR = "discriminator"
GENERATOR = "generator"

# packs [B, ...] -> logits [B]
Critic = Callable[[Array], Array]


class Penalty(NamedTuple):
    """A term on the critic's gradient, added to the discriminator's loss.

    Attributes:
        value: `(critic, real, fake, key) -> scalar`, as in `PENALTIES`.
        weight: its factor; may be a traced number.
    """

    value: Callable[[Critic, Array, Array, Key], Array]
    weight: Array | float


# The weight of a penalty that is given by name: gamma of Mescheder et al. 2018 (R1, R2), lambda of
# Gulrajani et al. 2017 and of Kodali et al. 2017 (DRAGAN).
PUBLISHED_WEIGHT = 10.0

PENALTIES = Registry(
    "penalty",
    {
        "r1": lambda critic, real, fake, key: objective.r1_penalty(critic, real),
        "r2": lambda critic, real, fake, key: objective.r2_penalty(critic, fake),
        "gradient_penalty": objective.gradient_penalty,
        "dragan": lambda critic, real, fake, key: objective.dragan_penalty(critic, real, key),
    },
)


def gan(
    generator: Network,
    discriminator: Network,
    loss: objective.GanLoss | str,
    *,
    latent_size: int,
    example_shape: tuple[int, ...],
    packing: int = 1,
    noise_scale: Array | float | None = None,
    penalty: Penalty | str | None = None,
    spectral: bool = False,
    critic_updates: int = 1,
    unrolling: int = 0,
) -> Model:
    """Make the game of a generator and a discriminator.

    Args:
        generator: `z [N, Z] -> x [N, ...]`.
        discriminator: `packs of x -> logits [B]`.
        loss: of both players, a `GanLoss` or a name of `objectives.gan.LOSSES`.
        latent_size: Z.
        example_shape: of one x.
        packing: samples that the discriminator sees at once, joined along the last axis.
        noise_scale: standard deviation of instance noise on real and fake examples before the
            discriminator; None for none.
        penalty: added to the discriminator's loss: a `Penalty`, a name of `PENALTIES` (with
            `PUBLISHED_WEIGHT`), or None.
        spectral: divide the discriminator's kernels by their spectral norms; the power iteration
            advances with the discriminator's updates only.
        critic_updates: discriminator updates for each generator update, on fresh data.
        unrolling: optax updates of the discriminator that the generator's gradient flows through.

    Returns:
        The model. Metrics: both losses, `value` = V(G, D), `js_lower_bound` =
        log 2 + V / 2 <= JSD, all in nats, and the mean logits.

    Raises:
        ConfigError: an argument that no run could use; from `init`, a generator whose examples have
            another shape than `example_shape`; from the losses, a batch that does not fit.
    """
    checks.network(generator, "generator")
    checks.network(discriminator, "discriminator")
    terms = by_name(objective.LOSSES, loss, "GAN loss", objective.GanLoss)
    term = _penalty_of(penalty)
    example_shape = checks.sizes(example_shape, "example_shape")
    checks.whole(latent_size, "latent_size")
    checks.whole(packing, "packing")
    checks.whole(critic_updates, "critic_updates")
    checks.whole(unrolling, "unrolling", 0)
    net = _Nets(generator, discriminator, packing, noise_scale, spectral)

    def discriminator_loss(
        params: Params, state: State, batch: PyTree, key: Key
    ) -> tuple[Array, Aux]:
        return _discriminator_loss(net, terms, term, params, state, batch, key)

    def generator_loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        fake, state = net.generate(params, state, batch["z"], key)
        logits, _ = net.discriminate(params, state, fake, key)
        # A separate pass: if the loss does not use real logits, the compiler removes it.
        real_logits, _ = net.discriminate(params, state, batch["x"], named_key(key, "real"))
        return terms.generator(real_logits, logits), Aux(state, {})

    def decode(params: Params, state: State, z: Array) -> Array:
        return generator.apply(params[GENERATOR], state[GENERATOR]["network"], z, train=False)[0]

    def sample(params: Params, state: State, key: Key, num_samples: int) -> Array:
        checks.whole(num_samples, "num_samples")
        return decode(params, state, core.normal(key, (num_samples, latent_size)))

    checked = functools.partial(
        parts.checked_batch, whose="a GAN", x=example_shape, z=(latent_size,)
    )
    lookahead = ((DISCRIMINATOR, unrolling),) if unrolling else ()
    players = {
        DISCRIMINATOR: Player((DISCRIMINATOR,), checked(discriminator_loss), critic_updates),
        GENERATOR: Player((GENERATOR,), checked(generator_loss), 1, lookahead),
    }
    init = functools.partial(_init, net, latent_size, example_shape)
    return Model(init, players, sample, decode)


def _penalty_of(penalty: Penalty | str | None) -> Penalty | None:
    """The penalty itself, or that of a name with its published weight."""
    if isinstance(penalty, str):
        return Penalty(lookup(PENALTIES, penalty, "penalty"), PUBLISHED_WEIGHT)
    require(
        penalty is None or isinstance(penalty, Penalty),
        "penalty must be None, a name of models.PENALTIES or Penalty(value, weight); got"
        f" {described(penalty)}",
    )
    return penalty


class _Nets(NamedTuple):
    """The networks in their training form, with what surrounds the discriminator."""

    generator: Network
    discriminator: Network
    packing: int
    noise_scale: Array | float | None
    spectral: bool

    def generate(self, params: Params, state: State, z: Array, key: Key) -> tuple[Array, State]:
        """Fakes in training mode, and the state with the generator's new statistics."""
        fake, network = self.generator.apply(
            params[GENERATOR],
            state[GENERATOR]["network"],
            z,
            train=True,
            key=named_key(key, GENERATOR),
        )
        return fake, {**state, GENERATOR: {"network": network}}

    def discriminate(self, params: Params, state: State, x: Array, key: Key) -> tuple[Array, State]:
        """Logits of examples [N, ...] (packed inside) in training mode, and the new state."""
        if self.noise_scale is not None:
            x = objective.instance_noise(key, x, self.noise_scale)
        weights, u_state = self.weights(params, state)
        packs = objective.pack(x, self.packing)
        logits, network = self.discriminator.apply(
            weights,
            state[DISCRIMINATOR]["network"],
            packs,
            train=True,
            key=named_key(key, DISCRIMINATOR),
        )
        return logits, {**state, DISCRIMINATOR: {"network": network, "spectral": u_state}}

    def weights(self, params: Params, state: State) -> tuple[PyTree, PyTree]:
        """The discriminator's weights, normalized if so set, and the state of that."""
        u_state = state[DISCRIMINATOR]["spectral"]
        if not self.spectral:
            return params[DISCRIMINATOR], u_state
        return spectral_norm.spectral_normalize(params[DISCRIMINATOR], u_state)


def _init(
    net: _Nets, latent_size: int, example_shape: tuple[int, ...], key: Key
) -> tuple[Params, State]:
    """(params, state) of both parts; ConfigError if fakes do not have the shape of examples."""
    key_g, key_d, key_u = jax.random.split(checks.one_key(key), 3)
    z = jnp.zeros((2, latent_size))
    params_g, state_g = net.generator.init(key_g, z)
    fake = parts.output_of(net.generator, GENERATOR, {GENERATOR: params_g}, {GENERATOR: state_g}, z)
    reason = f"example_shape={example_shape}"
    parts.require_shape("the generator gives", fake.shape, (2, *example_shape), reason)
    packs = objective.pack(jnp.zeros((2 * net.packing, *example_shape)), net.packing)
    params_d, state_d = net.discriminator.init(key_d, packs)
    u_state = spectral_norm.spectral_init(key_u, params_d) if net.spectral else {}
    params = {GENERATOR: params_g, DISCRIMINATOR: params_d}
    state = {
        GENERATOR: {"network": state_g},
        DISCRIMINATOR: {"network": state_d, "spectral": u_state},
    }
    return params, state


def _discriminator_loss(
    net: _Nets,
    loss: objective.GanLoss,
    penalty: Penalty | None,
    params: Params,
    state: State,
    batch: PyTree,
    key: Key,
) -> tuple[Array, Aux]:
    """Real and fake examples pass the discriminator together, so they share batch statistics.

    There is no stop_gradient on the fakes: a player moves its own parts only, and the opponents'
    updates that a generator looks ahead of, like the Jacobian of consensus optimization, depend on
    how D's gradient depends on G.
    """
    key_noise, key_penalty = jax.random.split(key)
    fake, _ = net.generate(params, state, batch["z"], key)
    both = jnp.concatenate([batch["x"], fake])
    logits, state = net.discriminate(params, state, both, key_noise)
    real_logits, fake_logits = jnp.split(logits, 2)
    total = loss.discriminator(real_logits, fake_logits)
    metrics = {
        "value": objective.value(real_logits, fake_logits),
        "js_lower_bound": objective.js_lower_bound(real_logits, fake_logits),
        "real_logit": jnp.mean(real_logits),
        "fake_logit": jnp.mean(fake_logits),
    }
    if penalty is not None:
        network = state[DISCRIMINATOR]["network"]
        weights, _ = net.weights(params, state)

        def critic(packs: Array) -> Array:
            return net.discriminator.apply(weights, network, packs, train=False)[0]

        packs = objective.pack(both, net.packing)
        real, fake = jnp.split(packs, 2)
        term = penalty.value(critic, real, fake, key_penalty)
        total = total + penalty.weight * term
        metrics["penalty"] = term
    return total, Aux(state, metrics)
