"""The evaluation of a bound on log p(x) over the densities of a model, for `latent`."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax.numpy as jnp

from dgm_jax.core import (
    Array,
    Key,
    LatentModel,
    Params,
    PyTree,
    State,
    lookup,
    named_key,
    require,
)
from dgm_jax.objectives import path_derivatives
from dgm_jax.objectives.elbo import ElboTerms, elbo

ANALYTIC = "analytic"
BOUNDS = (ANALYTIC, *path_derivatives.BOUNDS)


class HasLatentModel(Protocol):
    """A recipe that declares its densities, such as `models.Vae`."""

    def latent_model(self) -> LatentModel:
        """Return its densities."""
        ...


Latent = LatentModel | HasLatentModel

_MEANING = {
    "log_prior": "the density log p(z)",
    "log_posterior": "the density log q(z | x)",
    "rate": "KL(q(z | x) || p(z)) by latent in closed form",
    "reparameterized": "draws z that are differentiable functions of q(z | x)",
}


def densities_of(model: Latent) -> LatentModel:
    """Return the densities of a model or recipe.

    Args:
        model: a `LatentModel`, or a recipe that has one.

    Returns:
        The densities.
    """
    return model if isinstance(model, LatentModel) else model.latent_model()


def needed(model: LatentModel, field: str, needed_by: str) -> Callable:
    """Return a field of `LatentModel` that a family may lack.

    Args:
        model: the densities.
        field: name of the field.
        needed_by: what needs it, for the message.

    Returns:
        The value of the field.

    Raises:
        ConfigError: the family lacks it; the message says what needs it, and names the family.
    """
    value = getattr(model, field)
    message = f"{needed_by} needs {_MEANING[field]}, which {model.name} does not have"
    require(value not in (None, False), message)
    return value


class BoundEvaluation(NamedTuple):
    """One evaluation of a bound.

    Attributes:
        terms: the ELBO and its terms, [B] each, in nats.
        q: the posterior.
        state: of the model after the evaluation.
        bound: [B], in nats.
        plain_bound: [B], without the factor on the rate; from `evaluate_sampled` only.
    """

    terms: ElboTerms
    q: PyTree
    state: State
    bound: Array
    plain_bound: Array | None = None

    def metrics(self) -> dict[str, Array]:
        """Average over examples, at beta = 1."""
        log_x = jnp.mean(self.terms.log_likelihood)
        kl = jnp.mean(self.terms.kl)
        metrics = {"elbo": log_x - kl, "log_likelihood": log_x, "kl": kl}
        if self.plain_bound is not None:
            metrics["bound"] = jnp.mean(self.plain_bound)
        return metrics


def fit_for(model: Latent, bound: str) -> LatentModel:
    """Return the densities of a model that has what a bound needs.

    Args:
        model: a `LatentModel`, or a recipe that has one.
        bound: a name of `BOUNDS`.

    Returns:
        The densities.

    Raises:
        ConfigError: no bound has the name, or the family lacks what it needs.
    """
    lookup(BOUNDS, bound, "bound")
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


def _infer(
    key: Key,
    model: LatentModel,
    params: Params,
    state: State,
    x: Array,
    num_samples: int | None,
    train: bool,
) -> tuple[PyTree, Array, Callable[[Array], tuple[Array, State]]]:
    """(q, z ~ q, log p(x | z) as a function of z, which also returns the moved state)."""
    key_encoder = named_key(key, "encoder dropout")
    key_decoder = named_key(key, "decoder dropout")
    q, moved = model.posterior(params, state, x, train=train, key=key_encoder)

    def log_x_of(z: Array) -> tuple[Array, State]:
        return model.log_likelihood(params, moved, z, x, train=train, key=key_decoder)

    return q, model.sample_posterior(key, q, num_samples), log_x_of


def evaluate_terms(
    key: Key,
    model: LatentModel,
    params: Params,
    state: State,
    x: Array,
    beta: Array | float,
    num_samples: int | None,
    *,
    train: bool,
) -> BoundEvaluation:
    """Evaluate the bound "analytic".

    Args:
        key: of the draws of z and of dropout.
        model: the densities.
        params: of the model, by part.
        state: of the model, by part.
        x: [B, ...].
        beta: factor on the rate.
        num_samples: draws of z per example; None means one.
        train: whether networks are in their training form.

    Returns:
        The bound and its terms, [B] each, in nats.
    """
    q, z, log_x_of = _infer(key, model, params, state, x, num_samples, train)
    if model.entropy is None:
        rate_of = needed(model, "rate", ANALYTIC)
        kl = _over_latents(rate_of(params, state, q))
    else:
        log_prior = needed(model, "log_prior", ANALYTIC)
        kl = -_over_latents(model.entropy(q)) - log_prior(params, state, z)
    log_x, moved = log_x_of(z)
    if num_samples is not None:
        log_x = jnp.mean(log_x, axis=0)
        kl = kl if model.entropy is None else jnp.mean(kl, axis=0)
    terms = elbo(log_x, kl, beta)
    return BoundEvaluation(terms, q, moved, terms.elbo)


def evaluate_sampled(
    key: Key,
    model: LatentModel,
    params: Params,
    state: State,
    x: Array,
    name: str,
    beta: Array | float,
    num_samples: int,
    *,
    train: bool,
) -> BoundEvaluation:
    """Evaluate a bound of `path_derivatives`.

    Args:
        key: of the draws of z and of dropout.
        model: the densities.
        params: of the model, by part.
        state: of the model, by part.
        x: [B, ...].
        name: of the bound.
        beta: factor on the rate.
        num_samples: draws of z per example.
        train: whether networks are in their training form.

    Returns:
        The bound and its terms, [B] each, in nats.
    """
    log_prior = needed(model, "log_prior", name)
    log_posterior = needed(model, "log_posterior", name)
    q, z, log_x_of = _infer(key, model, params, state, x, num_samples, train)

    def log_joint(z: Array) -> Array:
        return log_x_of(z)[0] + beta * log_prior(params, state, z)

    bound = path_derivatives.BOUNDS[name]
    value = bound(z, q, log_joint, log_posterior, beta)
    # For values and state only. These are the computations inside the bound, which XLA merges.
    log_x, moved = log_x_of(z)
    rate = log_posterior(q, z) - log_prior(params, state, z)
    plain = bound(z, q, lambda z: log_x, lambda q, z: rate)
    terms = elbo(jnp.mean(log_x, 0), jnp.mean(rate, 0), beta)
    return BoundEvaluation(terms, q, moved, value, plain)


def _over_latents(by_latent: Array) -> Array:
    """[B, *J] -> [B]."""
    return jnp.sum(by_latent, axis=tuple(range(1, by_latent.ndim)))
