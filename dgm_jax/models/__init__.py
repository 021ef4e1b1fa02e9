"""Recipes: one model a file, put together from networks, objectives and priors."""

from dgm_jax.models.dirac_gan import DIRAC_GAMES, DiracGame, dirac_gan, dirac_optimizers
from dgm_jax.models.gan import PENALTIES, Penalty, gan
from dgm_jax.models.gumbel_vae import GumbelVae, gumbel_vae
from dgm_jax.models.toy_gan import METHODS, PROTOCOLS, Method, ToyProtocol, toy_gan

MODELS = {"dirac_gan": dirac_gan, "gan": gan, "gumbel_vae": gumbel_vae, "toy_gan": toy_gan}

__all__ = [
    "DIRAC_GAMES", "DiracGame", "GumbelVae", "METHODS", "MODELS", "Method", "PENALTIES", "PROTOCOLS", "Penalty",
    "ToyProtocol", "dirac_gan", "dirac_optimizers", "gan", "gumbel_vae", "toy_gan",
]
