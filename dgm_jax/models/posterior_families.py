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
    log_constant = size * math.log(2 * math.pi) / 2
    entropy_of_noise = size * math.log(2 * math.pi * math.e) / 2

    def init(key: Key) -> tuple[Params, State]:
        loc = 0.1 * core.normal(key, (size,))
        part = {"loc": loc, "log_scale": jnp.zeros(size)}
        if full_rank:
            part["lower"] = jnp.zeros((size, size))
        return {"q": part}, {"q": {}}

    def factor(part: PyTree) -> Array:
        lower = jnp.tril(part["lower"], -1) if full_rank else 0.0
        diagonal = jnp.diag(jnp.exp(part["log_scale"]))
        return lower + diagonal

    def draw(key: Key, params: Params, num: int) -> Array:
        part = params["q"]
        noise = core.normal(key, (num, size))
        return part["loc"] + noise @ factor(part).T

    def log_prob(params: Params, z: Array) -> Array:
        part = params["q"]
        offsets = (z - part["loc"]).T
        noise = jax.scipy.linalg.solve_triangular(factor(part), offsets, lower=True)
        log_det = jnp.sum(part["log_scale"])
        squared_norm = jnp.sum(jnp.square(noise), axis=0)
        return -squared_norm / 2 - log_det - log_constant

    def loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        log_det = jnp.sum(params["q"]["log_scale"])
        entropy = log_det + entropy_of_noise
        z = draw(key, params, batch_size)
        log_densities = target.log_density(z)
        return -jnp.mean(log_densities) - entropy, Aux(state, {})

    player = Player(("q",), loss)
    return Family(init, {"q": player}, draw, log_prob)


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
    init = _implicit_init(sampler, critic, noise_size, target.size)

    def draw(key: Key, params: Params, num: int) -> Array:
        noise = core.normal(key, (num, noise_size))
        return _applied(sampler, params["q"], noise)

    def logits(params: Params, standardized: Array) -> Array:
        return _applied(critic, params["critic"], standardized)

    def kl(key: Key, params: Params, num: int) -> Array:
        z = draw(key, params, num)
        contrast = avb.moments(z)
        standardized = avb.normalize(z, contrast)
        log_ratio = logits(params, standardized)
        log_densities = target.log_density(z)
        kls = avb.adaptive_kl(log_ratio, z, contrast, log_densities)
        return jnp.mean(kls)

    def loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        return kl(key, params, batch_size), Aux(state, {})

    def critic_loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        key_draw, key_normal = jax.random.split(key)
        z = jax.lax.stop_gradient(draw(key_draw, params, batch_size))
        standardized = avb.normalize(z, avb.moments(z))
        logits_q = logits(params, standardized)
        noise = core.normal(key_normal, z.shape)
        logits_normal = logits(params, noise)
        return avb.critic_loss(logits_q, logits_normal), Aux(state, {})

    player = Player(("q",), loss)
    critic_player = Player(("critic",), critic_loss, num_critic_updates)
    players = {"q": player, "critic": critic_player}
    return Family(init, players, draw, critic_kl=lambda key, params: kl(key, params, num_judged))


def _implicit_init(
    sampler: Network, critic: Network, noise_size: int, size: int
) -> Callable[[Key], tuple[Params, State]]:
    """`key -> (params, state)` of a sampler and its critic."""

    def init(key: Key) -> tuple[Params, State]:
        key_sampler, key_critic = jax.random.split(key)
        noise = jnp.zeros((2, noise_size))
        params_q, state_q = sampler.init(key_sampler, _with_x(noise))
        z = jnp.zeros((2, size))
        params_t, state_t = critic.init(key_critic, _with_x(z))
        return {"q": params_q, "critic": params_t}, {"q": state_q, "critic": state_t}

    return init


def _applied(network: Network, params: PyTree, z: Array) -> Array:
    """A network's output, in its inference form; neither network has a state."""
    out, _ = network.apply(params, {}, _with_x(z), train=False)
    return out


def _with_x(z: Array) -> tuple[Array, Array]:
    """A pair (x, z), as the networks take it; there is no x."""
    no_x = jnp.zeros((z.shape[0], 0))
    return no_x, z
