"""Recipes: one model per file, built from networks, objectives and priors.

The module of a family is private because its function has the same name: `models.vae` is the
function. `latent` and `posteriors` hold what works for every family with latents: bounds on
log p(x) by name, log-weights and free bits; moments of posteriors, ELBO surgery and the start of
annealing. Functions of one family carry its name, such as `vqvae_encode`.
"""

from dgm_jax.models import latent, posteriors
from dgm_jax.models._adversarial_variational_bayes import (
    AVB_BATCH_COUPLING,
    AdversarialVae,
    AvbDraw,
    adversarial_variational_bayes,
    avb_critic_logits,
    avb_draw,
    avb_terms,
)
from dgm_jax.models._autoregressive import (
    AUTOREGRESSIVE,
    Autoregressive,
    autoregressive,
    code_prior,
)
from dgm_jax.models._dirac_gan import (
    DIRAC_GAMES,
    DiracGame,
    dirac_gan,
    dirac_optimizers,
    dirac_spectrum,
    half_consensus,
    project_to_box,
    sorted_eigenvalues,
)
from dgm_jax.models._discrete_vae import (
    AUTOENCODER,
    RELAXATIONS,
    decode_tokens,
    discrete_vae,
    on_tokens,
    tokens_of,
)
from dgm_jax.models._gan import DISCRIMINATOR, GENERATOR, PENALTIES, Penalty, gan
from dgm_jax.models._gumbel_vae import GumbelVae, gumbel_vae
from dgm_jax.models._gumbel_vae_bounds import exact_log_prob, gumbel_bounds
from dgm_jax.models._text_image import TextImage
from dgm_jax.models._token_sampling import Samples
from dgm_jax.models._toy_gan import METHODS, PROTOCOLS, Method, ToyProtocol, toy_gan
from dgm_jax.models._vae import Vae, prior_of, vae
from dgm_jax.models._vqvae import vqvae
from dgm_jax.models._vqvae_densities import (
    VqVae,
    vqvae_codes,
    vqvae_decode,
    vqvae_encode,
    vqvae_log_likelihood,
    vqvae_log_prior,
    vqvae_uniform_log_prior,
)

MODELS = {
    "adversarial_variational_bayes": adversarial_variational_bayes,
    "autoregressive": autoregressive,
    "dirac_gan": dirac_gan,
    "discrete_vae": discrete_vae,
    "gan": gan,
    "gumbel_vae": gumbel_vae,
    "toy_gan": toy_gan,
    "vae": vae,
    "vqvae": vqvae,
}

__all__ = [
    "AUTOENCODER",
    "AUTOREGRESSIVE",
    "AVB_BATCH_COUPLING",
    "DIRAC_GAMES",
    "DISCRIMINATOR",
    "GENERATOR",
    "METHODS",
    "MODELS",
    "PENALTIES",
    "PROTOCOLS",
    "RELAXATIONS",
    "AdversarialVae",
    "Autoregressive",
    "AvbDraw",
    "DiracGame",
    "GumbelVae",
    "Method",
    "Penalty",
    "Samples",
    "TextImage",
    "ToyProtocol",
    "Vae",
    "VqVae",
    "adversarial_variational_bayes",
    "autoregressive",
    "avb_critic_logits",
    "avb_draw",
    "avb_terms",
    "code_prior",
    "decode_tokens",
    "dirac_gan",
    "dirac_optimizers",
    "dirac_spectrum",
    "discrete_vae",
    "exact_log_prob",
    "gan",
    "gumbel_bounds",
    "gumbel_vae",
    "half_consensus",
    "latent",
    "on_tokens",
    "posteriors",
    "prior_of",
    "project_to_box",
    "sorted_eigenvalues",
    "tokens_of",
    "toy_gan",
    "vae",
    "vqvae",
    "vqvae_codes",
    "vqvae_decode",
    "vqvae_encode",
    "vqvae_log_likelihood",
    "vqvae_log_prior",
    "vqvae_uniform_log_prior",
]
