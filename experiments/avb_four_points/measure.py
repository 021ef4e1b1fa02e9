"""Everything of the paper's table by integration over the plane of latents."""

import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.densities import bernoulli, gaussian
from dgm_jax.evaluation.histogram import Cells, centers, counts, histogram_kl
from dgm_jax.models import AdversarialVae, Vae, avb_draw, avb_terms
from dgm_jax.models.latent import posterior
from dgm_jax.objectives import elbo_surgery

SHAPE = (2, 2, 1)  # an image of four binary pixels, of which one is on
GRID = Cells(-8.0, 8.0, 640)  # of the quadratures
# of the histograms of implicit posteriors: what q varies inside a bin is lost from its KL
BINS = Cells(-8.0, 8.0, 640)
NUM_DRAWS = 800_000  # of each implicit posterior
SHOWN = 2_000


def points():
    """The four images [4, 2, 2, 1]."""
    return jnp.eye(4).reshape(4, *SHAPE)


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


def evaluate_vae(recipe: Vae, train_state, arrays, key):
    """The posterior is Gaussian, so all expectations are integrals."""
    params, state = train_state.params, train_state.state
    log_p, log_x, log_z = log_likelihoods(recipe.decoder, params, state)
    loc, scale = posterior(recipe, params, state, points())
    log_q = jnp.sum(gaussian.log_prob(centers(GRID), loc[:, None], scale[:, None]), axis=-1)
    surgery = elbo_surgery.decompose_on_grid(log_q, log_z, GRID.area)
    reconstruction = jnp.sum(jnp.exp(log_q) * log_x.T, axis=1) * GRID.area
    z = loc[:, None] + scale[:, None] * core.normal(key, (4, SHOWN, 2))
    return _table(log_p, reconstruction, surgery.average_kl, surgery.marginal_kl) | {"z": z}


def evaluate_avb(recipe: AdversarialVae, train_state, arrays, key):
    """The posterior is a sampler: its expectations are means over draws, its KL is that of a
    histogram."""
    params, state = train_state.params, train_state.state
    log_p, _, _ = log_likelihoods(recipe.decoder, params, state)

    def one(inputs):
        index, x = inputs
        many = jnp.broadcast_to(x, (NUM_DRAWS // 100, *SHAPE))

        def part(key):
            draw = avb_draw(key, recipe, params, state, many)
            return (
                draw.z,
                on_grid(recipe.decoder, params, state, draw.z)[:, index],
                avb_terms(jax.random.fold_in(key, 1), recipe, params, state, many[:100]).elbo,
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
