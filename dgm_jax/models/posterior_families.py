"""Families of densities over R^D, fitted to a density that is known up to its constant: Gaussians
and a sampler.

Gaussians have log q in closed form. For the sampler z = network(noise) it comes from adaptive
contrast (Mescheder et al. 2017, section 3.3): r = N(loc, diag(scale)^2) with the moments of the
batch, a critic T that distinguishes the standardized z from N(0, I), and log q = T + log r. r is
diagonal, so the critic must learn the correlations.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array, Aux, Key, Network, Params, Player, PyTree, State
from dgm_jax.densities.posteriors import Unnormalized
from dgm_jax.networks import NoiseEncoder, from_flax
from dgm_jax.objectives import adversarial_variational_bayes as avb


class Family(NamedTuple):
    """A family of densities q over R^D.

    Attributes:
        init: `key -> (params, state)`.
        players: a `core.Player` by name.
        draw: `(key, params, num) -> z [num, D]`.
        log_prob: `(params, z [N, D]) -> [N]` in nats; None if only a critic knows it.
        critic_kl: `(key, params) -> []`, E_q [T + log r - log f] in nats, which is
            KL(q || p) - log Z as the critic estimates it; None if there is no critic.
    """

    init: Callable[[Key], tuple[Params, State]]
    players: dict[str, Player]
    draw: Callable[[Key, Params, int], Array]
    log_prob: Callable[[Params, Array], Array] | None = None
    critic_kl: Callable[[Key, Params], Array] | None = None


def gaussian_family(target: Unnormalized, batch_size: int, full_rank: bool) -> Family:
    """Make a family of Gaussians N(loc, L L^T) that starts near N(0, I).

    L is lower triangular with a positive diagonal, or diagonal. The loss is
    -mean(log f(z)) - entropy with z = loc + L e: the reparameterized gradient, with the entropy in
    closed form.

    Args:
        target: f, the density to be fitted, known up to its constant.
        batch_size: draws in a loss.
        full_rank: whether L has off-diagonal entries.

    Returns:
        The family, with one player "q".
    """
    size = target.size

    def init(key: Key) -> tuple[Params, State]:
        part = {"loc": 0.1 * core.normal(key, (size,)), "log_scale": jnp.zeros(size)}
        if full_rank:
            part["lower"] = jnp.zeros((size, size))
        return {"q": part}, {"q": {}}

    def factor(part: PyTree) -> Array:
        lower = jnp.tril(part["lower"], -1) if full_rank else 0.0
        return lower + jnp.diag(jnp.exp(part["log_scale"]))

    def draw(key: Key, params: Params, num: int) -> Array:
        return params["q"]["loc"] + core.normal(key, (num, size)) @ factor(params["q"]).T

    def log_prob(params: Params, z: Array) -> Array:
        offsets = (z - params["q"]["loc"]).T
        noise = jax.scipy.linalg.solve_triangular(factor(params["q"]), offsets, lower=True)
        log_det = jnp.sum(params["q"]["log_scale"])
        return -jnp.sum(jnp.square(noise), axis=0) / 2 - log_det - size * math.log(2 * math.pi) / 2

    def loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        entropy = jnp.sum(params["q"]["log_scale"]) + size * math.log(2 * math.pi * math.e) / 2
        z = draw(key, params, batch_size)
        return -jnp.mean(target.log_density(z)) - entropy, Aux(state, {})

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
    """Make a sampler z = network(noise), fitted by adversarial variational Bayes without x.

    Args:
        target: f, the density to be fitted, known up to its constant.
        batch_size: draws in a loss.
        noise_size: length of the sampler's noise.
        hidden: widths of the sampler.
        critic: of pairs (x [B, 0], z [B, D]) -> [B], such as `networks.ResidualCritic`; it sees z
            standardized.
        num_critic_updates: of the critic in one step.
        num_judged: draws for critic_kl.

    Returns:
        The family, with the players "q" and "critic".
    """
    sampler = from_flax(NoiseEncoder((*hidden, target.size)))

    def with_x(z: Array) -> tuple[Array, Array]:
        return jnp.zeros((z.shape[0], 0)), z  # the networks take pairs (x, z); there is no x

    def init(key: Key) -> tuple[Params, State]:
        key_sampler, key_critic = jax.random.split(key)
        params_q, state_q = sampler.init(key_sampler, with_x(jnp.zeros((2, noise_size))))
        params_t, state_t = critic.init(key_critic, with_x(jnp.zeros((2, target.size))))
        return {"q": params_q, "critic": params_t}, {"q": state_q, "critic": state_t}

    def draw(key: Key, params: Params, num: int) -> Array:
        noise = core.normal(key, (num, noise_size))
        return sampler.apply(params["q"], {}, with_x(noise), train=False)[0]

    def logits(params: Params, standardized: Array) -> Array:
        return critic.apply(params["critic"], {}, with_x(standardized), train=False)[0]

    def kl(key: Key, params: Params, num: int) -> Array:
        z = draw(key, params, num)
        contrast = avb.moments(z)
        log_ratio = logits(params, avb.normalize(z, contrast))
        return jnp.mean(avb.adaptive_kl(log_ratio, z, contrast, target.log_density(z)))

    def loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        return kl(key, params, batch_size), Aux(state, {})

    def critic_loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        key_draw, key_normal = jax.random.split(key)
        z = jax.lax.stop_gradient(draw(key_draw, params, batch_size))
        logits_q = logits(params, avb.normalize(z, avb.moments(z)))
        logits_normal = logits(params, core.normal(key_normal, z.shape))
        return avb.critic_loss(logits_q, logits_normal), Aux(state, {})

    players = {
        "q": Player(("q",), loss),
        "critic": Player(("critic",), critic_loss, num_critic_updates),
    }
    return Family(init, players, draw, critic_kl=lambda key, params: kl(key, params, num_judged))
