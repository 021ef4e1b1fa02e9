"""The evaluation of a bound on log p(x) over the densities of a model: what `latent` is made of."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax.numpy as jnp

from dgm_jax.core import Array, LatentModel, PyTree, State, lookup, named_key, require
from dgm_jax.objectives import path_derivatives
from dgm_jax.objectives.elbo import ElboTerms, elbo

ANALYTIC = "analytic"
BOUNDS = (ANALYTIC, *path_derivatives.BOUNDS)


class HasLatentModel(Protocol):
    """A recipe that declares its densities, such as `models.Vae`."""

    def latent_model(self) -> LatentModel:
        """Its densities."""
        ...


Latent = LatentModel | HasLatentModel

_MEANING = {
    "log_prior": "the density log p(z)",
    "log_posterior": "the density log q(z | x)",
    "rate": "KL(q(z | x) || p(z)) by latent in closed form",
    "reparameterized": "draws z that are differentiable functions of q(z | x)",
}


def densities_of(model: Latent) -> LatentModel:
    """The densities of a model or recipe."""
    return model if isinstance(model, LatentModel) else model.latent_model()


def needed(model: LatentModel, field: str, needed_by: str) -> Callable:
    """A field of `LatentModel` that a family may lack.

    Raises:
      ConfigError: it does; the message says what is needed by what, and names the family.
    """
    found = getattr(model, field)
    require(
        found not in (None, False),
        f"{needed_by} needs {_MEANING[field]}, which {model.name} does not have",
    )
    return found


class Found(NamedTuple):
    """One evaluation of a bound, [B].

    plain_bound: without the factor on the rate; of `evaluate_sampled` only.
    """

    terms: ElboTerms
    q: PyTree
    state: State
    bound: Array
    plain_bound: Array | None = None

    def metrics(self) -> dict[str, Array]:
        """Means over examples, at beta = 1."""
        log_x, kl = jnp.mean(self.terms.log_likelihood), jnp.mean(self.terms.kl)
        metrics = {"elbo": log_x - kl, "log_likelihood": log_x, "kl": kl}
        if self.plain_bound is not None:
            metrics["bound"] = jnp.mean(self.plain_bound)
        return metrics


def fit_for(model: Latent, bound: str) -> LatentModel:
    """The densities; ConfigError for an unknown bound and for a family without what it needs."""
    lookup(dict.fromkeys(BOUNDS), bound, "bound")
    densities = densities_of(model)
    if bound == ANALYTIC:
        require(
            densities.entropy is not None or densities.rate is not None,
            f"bound={bound!r} needs the entropy of q(z | x) or its KL to the prior in closed form,"
            f" neither of which {densities.name} has",
        )
        fields = () if densities.entropy is None else ("log_prior",)
    else:
        fields = ("log_posterior", "log_prior", "reparameterized")
    for field in fields:
        needed(densities, field, f"bound={bound!r}")
    return densities


def _infer(key, model, params, state, x, num_samples, train):
    """(q, z ~ q, log p(x | z) as a function of z, which gives the moved state too)."""
    key_encoder, key_decoder = (
        named_key(key, f"{part} dropout") for part in ("encoder", "decoder")
    )
    q, moved = model.posterior(params, state, x, train=train, key=key_encoder)

    def log_x_of(z):
        return model.log_likelihood(params, moved, z, x, train=train, key=key_decoder)

    return q, model.sample_posterior(key, q, num_samples), log_x_of


def evaluate_terms(key, model, params, state, x, beta, num_samples, *, train) -> Found:
    """The bound "analytic"."""
    q, z, log_x_of = _infer(key, model, params, state, x, num_samples, train)
    if model.entropy is None:
        kl = _over_latents(model.rate(params, state, q))
    else:
        kl = -_over_latents(model.entropy(q)) - model.log_prior(params, state, z)
    log_x, moved = log_x_of(z)
    if num_samples is not None:
        log_x = jnp.mean(log_x, axis=0)
        kl = kl if model.entropy is None else jnp.mean(kl, axis=0)
    found = elbo(log_x, kl, beta)
    return Found(found, q, moved, found.elbo)


def evaluate_sampled(key, model, params, state, x, name, beta, num_samples, *, train) -> Found:
    """A bound of `path_derivatives`."""
    q, z, log_x_of = _infer(key, model, params, state, x, num_samples, train)

    def tempered(z):
        return log_x_of(z)[0] + beta * model.log_prior(params, state, z)

    bound = path_derivatives.BOUNDS[name]
    value = bound(z, q, tempered, model.log_posterior, beta)
    # Values and state only: the same numbers as inside the bound, which are computed once.
    log_x, moved = log_x_of(z)
    rate = model.log_posterior(q, z) - model.log_prior(params, state, z)
    plain = bound(z, q, lambda z: log_x, lambda q, z: rate)
    return Found(elbo(jnp.mean(log_x, 0), jnp.mean(rate, 0), beta), q, moved, value, plain)


def _over_latents(by_latent: Array) -> Array:
    """[B, *J] -> [B]."""
    return jnp.sum(by_latent, axis=tuple(range(1, by_latent.ndim)))
