"""Four data points and a plane of latents: a VAE and adversarial variational Bayes where everything
can be integrated."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dgm_jax import core, priors, training
from dgm_jax.core import Task, lookup, require_at_least
from dgm_jax.densities import bernoulli, gaussian
from dgm_jax.evaluation.histogram import Cells, centers, counts, histogram_kl
from dgm_jax.models import adversarial_variational_bayes as avb_recipe
from dgm_jax.models import vae as vae_recipe
from dgm_jax.models.adversarial_variational_bayes import AdversarialVae, draw_posterior, terms
from dgm_jax.models.vae import Vae, posterior
from dgm_jax.networks import MLP, NoiseEncoder, ResidualCritic, from_flax, reshaped
from dgm_jax.objectives import elbo_surgery
from dgm_jax.run import Data, RunConfig

SHAPE = (2, 2, 1)  # an image of four binary pixels, of which one is on
NOISE_SIZE, HIDDEN = 64, (64, 64, 64)
GRID = Cells(-8.0, 8.0, 640)  # of the quadratures
# of the histograms of implicit posteriors: what q varies inside a bin is lost from its KL
BINS = Cells(-8.0, 8.0, 640)
NUM_DRAWS = 800_000  # of each implicit posterior
SHOWN = 2_000


class Preset(NamedTuple):
    """Adam's settings and the batch. AVB's rates never fall: the critic must keep up until the
    end."""

    rate: float  # of AVB's encoder and decoder
    critic_rate: float
    vae_rate: float  # of the VAE
    vae_schedule: str  # by which that falls
    b1: float  # of AVB's two optimizers
    batch_size: int


PRESETS = {
    "fast": Preset(4e-4, 2e-3, 2e-3, "cosine", 0.5, 256),
    "paper": Preset(2e-5, 1e-4, 2e-5, "constant", 0.9, 512),
}


@dataclasses.dataclass(frozen=True)
class FourPointsConfig(RunConfig):
    """VAE and AVB on four points."""

    model: tuple[str, ...] = ("vae", "avb")
    """Arms: vae (Gaussian posteriors) and avb (implicit posteriors)."""
    preset: str = "fast"
    """fast (high learning rates) or paper (for an accelerator: give --num_steps 100000)."""
    num_seeds: int = 8
    num_steps: int = 3_000
    log_every: int = 1_000
    num_critic_updates: int = 2
    """Of AVB, in a step, each on fresh draws."""
    critic_width: int = 256
    """Of the critic's residual blocks."""


def validate(config: FourPointsConfig) -> None:
    """Names and sizes, before anything is built."""
    lookup(PRESETS, config.preset, "preset")
    for name in config.model:
        lookup({"vae": 0, "avb": 0}, name, "model")
    require_at_least(1, config, "num_critic_updates", "critic_width")


def points():
    """The four images [4, 2, 2, 1]."""
    return jnp.eye(4).reshape(4, *SHAPE)


def build(config: FourPointsConfig, loaded: Data) -> Task:
    """One seed of one model; everything of the paper's table by integration over the plane."""
    preset, kind = PRESETS[config.preset], config.model[0]
    decoder = reshaped(from_flax(MLP((*HIDDEN, 4), "elu", "glorot")), SHAPE)
    prior = priors.standard_normal(2)

    def draw(arrays, data_key, index):
        which = jax.random.randint(jax.random.fold_in(data_key, index), (preset.batch_size,), 0, 4)
        return {"x": points()[which], "step": index}

    if kind == "vae":
        encoder = reshaped(from_flax(MLP((*HIDDEN, 4), "elu", "glorot")), (4,))
        recipe = Vae(encoder, decoder, 2, lambda encode: prior)
        model = vae_recipe(recipe, SHAPE)
        evaluate = functools.partial(_evaluate_vae, recipe)
        rate = training.learning_rate(preset.vae_schedule, preset.vae_rate, config.num_steps)
        optimizers = {"vae": optax.adam(rate)}
    else:
        critic = from_flax(ResidualCritic(config.critic_width))
        recipe = AdversarialVae(
            from_flax(NoiseEncoder((*HIDDEN, 2))), decoder, critic, prior, 2, NOISE_SIZE
        )
        model = avb_recipe(recipe, SHAPE, num_critic_updates=config.num_critic_updates)
        evaluate = functools.partial(_evaluate_avb, recipe)
        rates = {"vae": preset.rate, "critic": preset.critic_rate}
        optimizers = {name: optax.adam(rate, preset.b1) for name, rate in rates.items()}
    algorithm = functools.partial(training.alternating, model.players, optimizers)
    return Task(model.init, draw, algorithm, evaluate)


def _log_prior(z):
    return jnp.sum(gaussian.log_prob(z, 0.0, 1.0), axis=-1)


def on_grid(decoder, params, state, z):
    """log p(x_i | z) of the four points at z [G, 2]: [G, 4], nats."""

    def rows(some):
        out, _ = decoder.apply(params["decoder"], state["decoder"], some, train=False)
        return jnp.sum(bernoulli.log_prob(jnp.eye(4), out.reshape(-1, 1, 4)), axis=-1)

    return core.chunked(rows, z, 6_400)


def log_likelihoods(decoder, params, state):
    """(log p(x_i) [4] by quadrature, log p(x_i | z) [G, 4], log p(z) [G]) on the grid."""
    z = centers(GRID)
    log_x, log_z = on_grid(decoder, params, state, z), _log_prior(z)
    return jax.nn.logsumexp(log_x + log_z[:, None], axis=0) + jnp.log(GRID.area), log_x, log_z


def _evaluate_vae(recipe: Vae, train_state, arrays, key):
    """The posterior is Gaussian, so all expectations are integrals."""
    params, state = train_state.params, train_state.state
    log_p, log_x, log_z = log_likelihoods(recipe.decoder, params, state)
    loc, scale = posterior(recipe, params, state, points())
    log_q = jnp.sum(gaussian.log_prob(centers(GRID), loc[:, None], scale[:, None]), axis=-1)
    surgery = elbo_surgery.decompose_on_grid(log_q, log_z, GRID.area)
    reconstruction = jnp.sum(jnp.exp(log_q) * log_x.T, axis=1) * GRID.area
    z = loc[:, None] + scale[:, None] * core.normal(key, (4, SHOWN, 2))
    return _table(log_p, reconstruction, surgery.average_kl, surgery.marginal_kl) | {"z": z}


def _evaluate_avb(recipe: AdversarialVae, train_state, arrays, key):
    """The posterior is a sampler: its expectations are means over draws, its KL is that of a
    histogram."""
    params, state = train_state.params, train_state.state
    log_p, _, _ = log_likelihoods(recipe.decoder, params, state)

    def one(inputs):
        index, x = inputs
        many = jnp.broadcast_to(x, (NUM_DRAWS // 100, *SHAPE))

        def part(key):
            draw = draw_posterior(key, recipe, params, state, many)
            return (
                draw.z,
                on_grid(recipe.decoder, params, state, draw.z)[:, index],
                terms(jax.random.fold_in(key, 1), recipe, params, state, many[:100]).elbo,
            )

        z, log_x, critics = jax.lax.map(part, jax.random.split(jax.random.fold_in(key, index), 100))
        return (
            counts(z.reshape(-1, 2), BINS),
            jnp.mean(log_x),
            jnp.mean(critics),
            z.reshape(-1, 2)[:SHOWN],
        )

    found, reconstruction, critics, z = jax.lax.map(one, (jnp.arange(4), points()))
    each = [histogram_kl(found[i], _log_prior, BINS, NUM_DRAWS) for i in range(4)]
    marginal = histogram_kl(jnp.sum(found, axis=0), _log_prior, BINS, 4 * NUM_DRAWS)
    average_kl = jnp.mean(jnp.stack([kl.kl for kl in each]))
    table = _table(log_p, reconstruction, average_kl, marginal.kl)
    critic_elbo = jnp.mean(critics)
    return table | {
        "critic_elbo": critic_elbo,
        "overstatement": critic_elbo - table["elbo"],
        "outside": marginal.outside,
        "z": z,
    }


def _table(log_p, reconstruction, average_kl, marginal_kl):
    """The rows of the paper's table, means over the four points."""
    return {
        "log_likelihood": jnp.mean(log_p),
        "reconstruction_error": -jnp.mean(reconstruction) / 4,
        "elbo": jnp.mean(reconstruction) - average_kl,
        "marginal_kl": marginal_kl,
        "mutual_information": average_kl - marginal_kl,
    }
