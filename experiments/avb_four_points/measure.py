"""The quantities of the paper's table, by integration over the plane of latents."""

from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array, Key, Metrics, Network, Params, State, TrainState
from dgm_jax.densities import bernoulli, gaussian
from dgm_jax.evaluation.histogram import Cells, centers, counts, histogram_kl
from dgm_jax.models import AdversarialVae, Vae, avb_draw, avb_terms
from dgm_jax.models.latent import posterior
from dgm_jax.objectives import elbo_surgery

SHAPE = (2, 2, 1)  # an image of four binary pixels, of which one is on
GRID = Cells(-8.0, 8.0, 640)  # of the quadratures
# Of the histograms of implicit posteriors; variation of q inside a bin is lost from its KL.
BINS = Cells(-8.0, 8.0, 640)
NUM_DRAWS = 800_000  # of each implicit posterior
NUM_PARTS = 100  # in which they are drawn
SHOWN = 2_000


def points() -> Array:
    """The four images [4, 2, 2, 1]."""
    return jnp.eye(4).reshape(4, *SHAPE)


def _log_prior(z: Array) -> Array:
    log_probs = gaussian.log_prob(z, 0.0, 1.0)
    return jnp.sum(log_probs, axis=-1)


def on_grid(decoder: Network, params: Params, state: State, z: Array) -> Array:
    """Compute log p(x_i | z) of the four points.

    Args:
        decoder: the decoder's network.
        params: parameters by part.
        state: model state by part.
        z: [G, 2].

    Returns:
        [G, 4], nats.
    """

    def log_prob(rows: Array) -> Array:
        out, _ = decoder.apply(params["decoder"], state["decoder"], rows, train=False)
        pixels = jnp.eye(4)
        logits = out.reshape(-1, 1, 4)
        log_probs = bernoulli.log_prob(pixels, logits)
        return jnp.sum(log_probs, axis=-1)

    return core.chunked(log_prob, z, 6_400)


def log_likelihoods(decoder: Network, params: Params, state: State) -> tuple[Array, Array, Array]:
    """Compute log p(x_i) by quadrature, with its parts on the grid.

    Args:
        decoder: the decoder's network.
        params: parameters by part.
        state: model state by part.

    Returns:
        log p(x_i) [4], log p(x_i | z) [G, 4] and log p(z) [G], nats.
    """
    z = centers(GRID)
    log_x = on_grid(decoder, params, state, z)
    log_z = _log_prior(z)
    log_joint = log_x + log_z[:, None]
    log_p = jax.nn.logsumexp(log_joint, axis=0) + jnp.log(GRID.area)
    return log_p, log_x, log_z


def evaluate_vae(recipe: Vae, train_state: TrainState, arrays: dict[str, Any], key: Key) -> Metrics:
    """Evaluate the VAE: its posterior is Gaussian, so all expectations are integrals.

    Args:
        recipe: the VAE.
        train_state: the trained state.
        arrays: not used.
        key: random key of the draws that are plotted.

    Returns:
        The rows of the table, and draws "z" of the posteriors.
    """
    params = train_state.params
    state = train_state.state
    log_p, log_x, log_z = log_likelihoods(recipe.decoder, params, state)
    loc, scale = posterior(recipe, params, state, points())
    loc = loc[:, None]
    scale = scale[:, None]
    log_probs = gaussian.log_prob(centers(GRID), loc, scale)
    log_q = jnp.sum(log_probs, axis=-1)
    surgery = elbo_surgery.decompose_on_grid(log_q, log_z, GRID.area)
    q = jnp.exp(log_q)
    reconstruction = jnp.sum(q * log_x.T, axis=1) * GRID.area
    z = loc + scale * core.normal(key, (4, SHOWN, 2))
    table = _table(log_p, reconstruction, surgery.average_kl, surgery.marginal_kl)
    return table | {"z": z}


def evaluate_avb(
    recipe: AdversarialVae, train_state: TrainState, arrays: dict[str, Any], key: Key
) -> Metrics:
    """Evaluate AVB: expectations are means over draws, and the KL is that of a histogram.

    Args:
        recipe: the model.
        train_state: the trained state.
        arrays: not used.
        key: random key of the draws.

    Returns:
        The rows of the table, the critic's bound, and draws "z" of the posteriors.
    """
    params = train_state.params
    state = train_state.state
    log_p, _, _ = log_likelihoods(recipe.decoder, params, state)

    def draw_point(index_and_point: tuple[Array, Array]) -> tuple[Array, Array, Array, Array]:
        index, x = index_and_point
        part_size = NUM_DRAWS // NUM_PARTS
        batch = jnp.broadcast_to(x, (part_size, *SHAPE))

        def draw_part(key: Key) -> tuple[Array, Array, Array]:
            draw = avb_draw(key, recipe, params, state, batch)
            log_x_of_points = on_grid(recipe.decoder, params, state, draw.z)
            log_x = log_x_of_points[:, index]
            key_terms = jax.random.fold_in(key, 1)
            terms = avb_terms(key_terms, recipe, params, state, batch[:100])
            return draw.z, log_x, terms.elbo

        key_point = jax.random.fold_in(key, index)
        keys = jax.random.split(key_point, NUM_PARTS)
        z, log_x, bounds = jax.lax.map(draw_part, keys)
        z = z.reshape(-1, 2)
        return counts(z, BINS), jnp.mean(log_x), jnp.mean(bounds), z[:SHOWN]

    indices = jnp.arange(4)
    in_bins, reconstruction, bounds, z = jax.lax.map(draw_point, (indices, points()))
    kls = []
    for i in range(4):
        histogram = histogram_kl(in_bins[i], _log_prior, BINS, NUM_DRAWS)
        kls.append(histogram.kl)
    in_bins_of_all = jnp.sum(in_bins, axis=0)
    marginal = histogram_kl(in_bins_of_all, _log_prior, BINS, 4 * NUM_DRAWS)
    average_kl = jnp.mean(jnp.stack(kls))
    table = _table(log_p, reconstruction, average_kl, marginal.kl)
    critic_elbo = jnp.mean(bounds)
    return table | {
        "critic_elbo": critic_elbo,
        "overstatement": critic_elbo - table["elbo"],
        "outside": marginal.outside,
        "z": z,
    }


def _table(log_p: Array, reconstruction: Array, average_kl: Array, marginal_kl: Array) -> Metrics:
    """The rows of the paper's table, means over the four points."""
    mean_reconstruction = jnp.mean(reconstruction)
    return {
        "log_likelihood": jnp.mean(log_p),
        "reconstruction_error": -mean_reconstruction / 4,
        "elbo": mean_reconstruction - average_kl,
        "marginal_kl": marginal_kl,
        "mutual_information": average_kl - marginal_kl,
    }
