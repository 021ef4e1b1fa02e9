"""Recipes: one model a file, put together from networks, objectives and priors."""

from dgm_jax.models.gan import PENALTIES, Penalty, gan
from dgm_jax.models.toy_gan import METHODS, PROTOCOLS, Method, ToyProtocol, toy_gan

MODELS = {"gan": gan, "toy_gan": toy_gan}

__all__ = ["METHODS", "MODELS", "Method", "PENALTIES", "PROTOCOLS", "Penalty", "ToyProtocol", "gan", "toy_gan"]
