"""Families of densities over R^D, fitted to a density that is known up to its constant: Gaussians
and a sampler.

Gaussians have log q. For the sampler z = network(noise) it comes from adaptive contrast (Mescheder
et al. 2017, section 3.3): r = N(loc, diag(scale)^2) with the moments of the batch, a critic T that
tells the standardised z from N(0, I), and log q = T + log r. r is diagonal: correlations are the
critic's to find.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array, Aux, Key, Network, Player
from dgm_jax.densities.posteriors import Unnormalized
from dgm_jax.networks import NoiseEncoder, from_flax
from dgm_jax.objectives import adversarial_variational_bayes as avb


class Family(NamedTuple):
    """A family of densities q over R^D.

    init: key -> (params, state). players: `core.Player`s by name. draw: (key, params, num) -> z
        [num, D].
    log_prob: (params, z [N, D]) -> [N], or None where only a critic knows: then critic_kl
    (key, params) -> [] is E_q [T + log r - log f], KL(q || p) - log Z as the critic sees it.
    """

    init: Callable
    players: dict[str, Player]
    draw: Callable[[Key, dict, int], Array]
    log_prob: Callable[[dict, Array], Array] | None = None
    critic_kl: Callable[[Key, dict], Array] | None = None


def gaussian_family(target: Unnormalized, batch_size: int, full_rank: bool) -> Family:
    """N(loc, L L^T), L lower triangular with a positive diagonal, or diagonal; starts near N(0, I).

    The loss is -mean(log f(z)) - entropy, with z = loc + L e: the reparameterised gradient, the
    entropy in closed form.
    """
    size = target.size

    def init(key):
        part = {"loc": 0.1 * core.normal(key, (size,)), "log_scale": jnp.zeros(size)}
        return {"q": part | ({"lower": jnp.zeros((size, size))} if full_rank else {})}, {"q": {}}

    def factor(part):
        lower = jnp.tril(part["lower"], -1) if full_rank else 0.0
        return lower + jnp.diag(jnp.exp(part["log_scale"]))

    def draw(key, params, num):
        return params["q"]["loc"] + core.normal(key, (num, size)) @ factor(params["q"]).T

    def log_prob(params, z):
        away = (z - params["q"]["loc"]).T
        noise = jax.scipy.linalg.solve_triangular(factor(params["q"]), away, lower=True)
        log_det = jnp.sum(params["q"]["log_scale"])
        return -jnp.sum(jnp.square(noise), axis=0) / 2 - log_det - size * math.log(2 * math.pi) / 2

    def loss(params, state, batch, key):
        entropy = jnp.sum(params["q"]["log_scale"]) + size * math.log(2 * math.pi * math.e) / 2
        return -jnp.mean(target.log_density(draw(key, params, batch_size))) - entropy, Aux(
            state, {}
        )

    return Family(init, {"q": Player(("q",), loss)}, draw, log_prob)


def implicit_family(
    target: Unnormalized,
    batch_size: int,
    *,
    noise_size: int,
    hidden: tuple[int, ...],
    critic: Network,
    num_critic_updates: int = 2,
    num_judged: int = 5_000,
) -> Family:
    """z = network(noise), fitted by adversarial variational Bayes with adaptive contrast and no x.

    critic: of pairs (x [B, 0], z [B, D]) -> [B], as `networks.ResidualCritic`; it sees z
        standardised. hidden: widths
    of the sampler. num_judged: draws for critic_kl.
    """
    sampler = from_flax(NoiseEncoder((*hidden, target.size)))

    def with_x(z):
        return jnp.zeros((z.shape[0], 0)), z  # the networks take pairs (x, z); there is no x

    def init(key):
        key_sampler, key_critic = jax.random.split(key)
        q = sampler.init(key_sampler, with_x(jnp.zeros((2, noise_size))))
        t = critic.init(key_critic, with_x(jnp.zeros((2, target.size))))
        return {"q": q[0], "critic": t[0]}, {"q": q[1], "critic": t[1]}

    def draw(key, params, num):
        return sampler.apply(
            params["q"], {}, with_x(core.normal(key, (num, noise_size))), train=False
        )[0]

    def logits(params, normalised):
        return critic.apply(params["critic"], {}, with_x(normalised), train=False)[0]

    def kl(key, params, num):
        z = draw(key, params, num)
        contrast = avb.moments(z)
        return jnp.mean(
            avb.adaptive_kl(
                logits(params, avb.normalize(z, contrast)), z, contrast, target.log_density(z)
            )
        )

    def loss(params, state, batch, key):
        return kl(key, params, batch_size), Aux(state, {})

    def critic_loss(params, state, batch, key):
        key_draw, key_normal = jax.random.split(key)
        z = jax.lax.stop_gradient(draw(key_draw, params, batch_size))
        of_q = logits(params, avb.normalize(z, avb.moments(z)))
        return avb.critic_loss(of_q, logits(params, core.normal(key_normal, z.shape))), Aux(
            state, {}
        )

    players = {
        "q": Player(("q",), loss),
        "critic": Player(("critic",), critic_loss, num_critic_updates),
    }
    return Family(init, players, draw, critic_kl=lambda key, params: kl(key, params, num_judged))
