"""Recipes: one model a file, put together from networks, objectives and priors."""

from dgm_jax.models.adversarial_variational_bayes import (
    AdversarialVae,
    adversarial_variational_bayes,
)
from dgm_jax.models.autoregressive import (
    Autoregressive,
    Samples,
    TextImage,
    autoregressive,
    code_prior,
)
from dgm_jax.models.dirac_gan import (
    DIRAC_GAMES,
    DiracGame,
    dirac_gan,
    dirac_optimizers,
    dirac_spectrum,
)
from dgm_jax.models.discrete_vae import discrete_vae
from dgm_jax.models.gan import PENALTIES, Penalty, gan
from dgm_jax.models.gumbel_vae import GumbelVae, gumbel_vae
from dgm_jax.models.toy_gan import METHODS, PROTOCOLS, Method, ToyProtocol, toy_gan
from dgm_jax.models.vae import Vae, vae
from dgm_jax.models.vqvae import VqVae, vqvae

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
    "DIRAC_GAMES",
    "METHODS",
    "MODELS",
    "PENALTIES",
    "PROTOCOLS",
    "AdversarialVae",
    "Autoregressive",
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
    "code_prior",
    "dirac_gan",
    "dirac_optimizers",
    "dirac_spectrum",
    "discrete_vae",
    "gan",
    "gumbel_vae",
    "toy_gan",
    "vae",
    "vqvae",
]
