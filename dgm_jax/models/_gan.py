"""Generative adversarial networks: two players, and what composes with them.

    discriminator:  max_D  E_p log D(x) + E_q log(1 - D(x))
    generator:      min_G  of the same (minimax), or of a loss named in `objectives.gan.LOSSES`

(Goodfellow et al. 2014, eq. 1.) The recipe takes any pair of networks, any loss, any penalty,
and the transforms of the literature: packing (Lin et al. 2018), instance noise (Sonderby et al.
2017), spectral norm (Miyato et al. 2018), several critic updates (Arjovsky et al. 2017), an
unrolled discriminator (Metz et al. 2017). Two time scales (Heusel et al. 2017) are two optimizers.

A batch is `{"x": [N, ...], "z": [N, Z]}` with N = packing * B: all noise of the generator is in
it, so a loss is a function of the batch and, for penalties and instance noise, of the key.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import (
    Array,
    Aux,
    Model,
    Network,
    Player,
    Registry,
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

DISCRIMINATOR, GENERATOR = "discriminator", "generator"


class Penalty(NamedTuple):
    """A term on the critic's gradient, added to the discriminator's loss.

    value: `(critic, real, fake, key) -> scalar`, as in `PENALTIES`.
    weight: its factor; may be a traced number.
    """

    value: Callable
    weight: float


# The factor of a penalty that is asked for by name: gamma of Mescheder et al. 2018 (R1, R2), lambda
# of Gulrajani et al. 2017 and of Kodali et al. 2017 (DRAGAN).
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
    noise_scale=None,
    penalty: Penalty | str | None = None,
    spectral: bool = False,
    critic_updates: int = 1,
    unrolling: int = 0,
) -> Model:
    """The game of a generator `z -> x` and a discriminator `packs of x -> logits [B]`.

    loss: a `GanLoss`, or a name of `objectives.gan.LOSSES`.
    penalty: a `Penalty`, or a name of `PENALTIES` for the published weight of 10; None for none.
    packing: samples that the discriminator sees at once, joined along the last axis.
    noise_scale: instance noise on real and fake before the discriminator; None for none.
    spectral: divide the discriminator's kernels by their spectral norms; the power iteration
        advances with the discriminator's updates only.
    critic_updates: discriminator updates for each generator update, on fresh data.
    unrolling: optax updates of the discriminator that the generator's gradient flows through.

    Metrics: both losses, `value` = V(G, D), the bound log 2 + V / 2 <= JSD, mean logits.
    Raises `ConfigError` for what is none of these, from `init` for examples of another shape than
    the generator's, and from the losses for a batch that does not fit.
    """
    checks.network(generator, "generator")
    checks.network(discriminator, "discriminator")
    terms = by_name(objective.LOSSES, loss, "GAN loss", objective.GanLoss)
    if isinstance(penalty, str):
        penalty = Penalty(lookup(PENALTIES, penalty, "penalty"), PUBLISHED_WEIGHT)
    require(
        penalty is None or isinstance(penalty, Penalty),
        "penalty must be None, a name of models.PENALTIES or Penalty(value, weight); got"
        f" {described(penalty)}",
    )
    example_shape = checks.sizes(example_shape, "example_shape")
    checks.whole(latent_size, "latent_size")
    checks.whole(packing, "packing")
    checks.whole(critic_updates, "critic_updates")
    checks.whole(unrolling, "unrolling", 0)
    net = _Nets(generator, discriminator, packing, noise_scale, spectral)

    def init(key):
        key_g, key_d, key_u = jax.random.split(checks.one_key(key), 3)
        z = jnp.zeros((2, latent_size))
        params_g, state_g = generator.init(key_g, z)
        made = parts.output_of(generator, GENERATOR, {GENERATOR: params_g}, {GENERATOR: state_g}, z)
        told = f"example_shape={example_shape}"
        parts.require_shape("the generator gives", made.shape, (2, *example_shape), told)
        params_d, state_d = discriminator.init(
            key_d, objective.pack(jnp.zeros((2 * packing, *example_shape)), packing)
        )
        u = spectral_norm.spectral_init(key_u, params_d) if spectral else {}
        params = {GENERATOR: params_g, DISCRIMINATOR: params_d}
        return params, {
            GENERATOR: {"network": state_g},
            DISCRIMINATOR: {"network": state_d, "spectral": u},
        }

    holds = {"x": example_shape, "z": (latent_size,)}

    def discriminator_loss(params, state, batch, key):
        checks.batch(batch, "a GAN", **holds)
        return _discriminator_loss(net, terms, penalty, params, state, batch, key)

    def generator_loss(params, state, batch, key):
        checks.batch(batch, "a GAN", **holds)
        fake, state = net.generate(params, state, batch["z"], key)
        logits, _ = net.discriminate(params, state, fake, key)
        # A pass of its own: a loss that does not look at real logits pays nothing for it.
        real_logits, _ = net.discriminate(params, state, batch["x"], named_key(key, "real"))
        return terms.generator(real_logits, logits), Aux(state, {})

    def decode(params, state, z):
        return generator.apply(params[GENERATOR], state[GENERATOR]["network"], z, train=False)[0]

    def sample(params, state, key, num_samples):
        checks.whole(num_samples, "num_samples")
        return decode(params, state, core.normal(key, (num_samples, latent_size)))

    lookahead = ((DISCRIMINATOR, unrolling),) if unrolling else ()
    players = {
        DISCRIMINATOR: Player((DISCRIMINATOR,), discriminator_loss, critic_updates),
        GENERATOR: Player((GENERATOR,), generator_loss, 1, lookahead),
    }
    return Model(init, players, sample, decode)


class _Nets(NamedTuple):
    generator: Network
    discriminator: Network
    packing: int
    noise_scale: Array | float | None
    spectral: bool

    def generate(self, params, state, z, key):
        """Fakes in training mode, and the state with the generator's new statistics."""
        fake, network = self.generator.apply(
            params[GENERATOR],
            state[GENERATOR]["network"],
            z,
            train=True,
            key=named_key(key, GENERATOR),
        )
        return fake, {**state, GENERATOR: {"network": network}}

    def discriminate(self, params, state, x, key):
        """Logits of examples [N, ...] (packed inside) in training mode, and the new state."""
        if self.noise_scale is not None:
            x = objective.instance_noise(key, x, self.noise_scale)
        own = state[DISCRIMINATOR]
        weights, u = self.weights(params, own)
        packs = objective.pack(x, self.packing)
        logits, network = self.discriminator.apply(
            weights, own["network"], packs, train=True, key=named_key(key, DISCRIMINATOR)
        )
        return logits, {**state, DISCRIMINATOR: {"network": network, "spectral": u}}

    def weights(self, params, own):
        if not self.spectral:
            return params[DISCRIMINATOR], own["spectral"]
        return spectral_norm.spectral_normalize(params[DISCRIMINATOR], own["spectral"])


def _discriminator_loss(net: _Nets, loss, penalty, params, state, batch, key):
    """Real and fake go through the discriminator in one pass, so batch statistics are shared.

    No stop_gradient on the fakes: a player moves its own parts only, and the opponents' updates
    that a generator looks ahead of, like the Jacobian of consensus optimisation, must see how D's
    gradient depends on G.
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
        own = state[DISCRIMINATOR]
        weights, _ = net.weights(params, own)

        def critic(packs):
            return net.discriminator.apply(weights, own["network"], packs, train=False)[0]

        packs = objective.pack(both, net.packing)
        term = penalty.value(critic, *jnp.split(packs, 2), key_penalty)
        total = total + penalty.weight * term
        metrics["penalty"] = term
    return total, Aux(state, metrics)
