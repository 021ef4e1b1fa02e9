"""Functions of every model with latents, written over its densities (`core.LatentModel`).

    log w = log p(x | z) + log p(z) - log q(z | x),  z ~ q(z | x)

Bounds on log p(x) and log-weights work for every family that has the densities they need; if one is
missing, the error names it and the family. A `model` is a `LatentModel` or a recipe that has one,
such as `models.Vae`. Everything is in nats. Networks are applied in their inference form, except in
`loss`, which trains them.

    bound                               is maximized                      needs
    analytic                            mean_s log p(x | z_s) - rate      entropy or rate of q
    of objectives.path_derivatives      see there                         log q(z | x), paths to z

The rate of "analytic" is -H(q) - mean_s log p(z_s) where the family has the entropy of q, and
KL(q || p) where it has that in closed form. Surgery and annealing are in `models.posteriors`.
"""

from collections.abc import Callable

from dgm_jax.core import Array, Key, LatentModel, Model, Params, Player, PyTree, State, checks
from dgm_jax.models._latent_loss import FREE_BITS_BY, FREE_BITS_COUPLING, loss, require_free_bits
from dgm_jax.models._latent_terms import (
    ANALYTIC,
    BOUNDS,
    Latent,
    densities_of,
    evaluate_sampled,
    evaluate_terms,
    fit_for,
    needed,
)
from dgm_jax.objectives.elbo import ElboTerms

__all__ = [
    "ANALYTIC",
    "BOUNDS",
    "FREE_BITS_BY",
    "FREE_BITS_COUPLING",
    "bound",
    "decode",
    "log_joint",
    "log_likelihood",
    "log_prior",
    "log_weights",
    "loss",
    "model_of",
    "posterior",
    "require_free_bits",
    "sample",
    "terms",
]


# Densities, in the inference form.


def posterior(model: Latent, params: Params, state: State, x: Array) -> PyTree:
    """Infer the approximate posterior q(z | x).

    Args:
        model: a `LatentModel`, or a recipe that has one.
        params: of the model, by part.
        state: of the model, by part.
        x: [B, ...].

    Returns:
        The tree of arrays [B, ...] that determines q: (loc, scale), logits, ...
    """
    return densities_of(model).posterior(params, state, x, train=False)[0]


def log_likelihood(model: Latent, params: Params, state: State, z: Array, x: Array) -> Array:
    """Evaluate log p(x | z).

    Args:
        model: a `LatentModel`, or a recipe that has one.
        params: of the model, by part.
        state: of the model, by part.
        z: [*S, B, *E].
        x: [B, ...], or one x [...] for all.

    Returns:
        [*S, B] in nats.
    """
    return densities_of(model).log_likelihood(params, state, z, x, train=False)[0]


def log_prior(model: Latent, params: Params, state: State, z: Array) -> Array:
    """Evaluate log p(z).

    Args:
        model: a `LatentModel`, or a recipe that has one.
        params: of the model, by part.
        state: of the model, by part.
        z: [*S, B, *E].

    Returns:
        [*S, B] in nats.

    Raises:
        ConfigError: the family has no log p(z).
    """
    return needed(densities_of(model), "log_prior", "log p(z)")(params, state, z)


def log_joint(model: Latent, params: Params, state: State, z: Array, x: Array) -> Array:
    """Evaluate log p(x, z) = log p(x | z) + log p(z).

    Args:
        model: a `LatentModel`, or a recipe that has one.
        params: of the model, by part.
        state: of the model, by part.
        z: [*S, B, *E].
        x: [B, ...], or one x [...] for all.

    Returns:
        [*S, B] in nats.

    Raises:
        ConfigError: the family has no log p(z).
    """
    log_x = log_likelihood(model, params, state, z, x)
    return log_x + log_prior(model, params, state, z)


def decode(model: Latent, params: Params, state: State, z: Array) -> Array:
    """Decode latents to the images that represent them.

    Args:
        model: a `LatentModel`, or a recipe that has one.
        params: of the model, by part.
        state: of the model, by part.
        z: [B, *E].

    Returns:
        Images [B, H, W, C] in [0, 1].
    """
    return densities_of(model).decode(params, state, z)


def sample(key: Key, model: Latent, params: Params, state: State, num_samples: int) -> Array:
    """Decode draws of the prior.

    Args:
        key: of the draws.
        model: a `LatentModel`, or a recipe that has one.
        params: of the model, by part.
        state: of the model, by part.
        num_samples: number of draws.

    Returns:
        Images [num_samples, H, W, C] in [0, 1].

    Raises:
        ConfigError: `key` is not one random key.
    """
    checks.one_key(key)
    densities = densities_of(model)
    z = densities.sample_prior(params, state, key, num_samples)
    return densities.decode(params, state, z)


# Bounds and weights.


def terms(
    key: Key,
    model: Latent,
    params: Params,
    state: State,
    x: Array,
    beta: Array | float = 1.0,
    *,
    num_samples: int | None = None,
) -> ElboTerms:
    """Evaluate the bound "analytic" and its terms for each example.

    Args:
        key: of the draws of z.
        model: a `LatentModel`, or a recipe that has one.
        params: of the model, by part.
        state: of the model, by part.
        x: [B, ...].
        beta: factor on the rate.
        num_samples: draws of z per example, which are averaged; None means one.

    Returns:
        The bound, log p(x | z) and the rate, [B] each, in nats.

    Raises:
        ConfigError: the family has neither an entropy nor a rate.
    """
    densities = fit_for(model, ANALYTIC)
    return evaluate_terms(key, densities, params, state, x, beta, num_samples, train=False).terms


def bound(
    key: Key,
    model: Latent,
    params: Params,
    state: State,
    x: Array,
    name: str = ANALYTIC,
    *,
    beta: Array | float = 1.0,
    num_samples: int | None = None,
) -> Array:
    """Evaluate a bound on log p(x) by name.

    Args:
        key: of the draws of z.
        model: a `LatentModel`, or a recipe that has one.
        params: of the model, by part.
        state: of the model, by part.
        x: [B, ...].
        name: of `BOUNDS`.
        beta: factor on the rate.
        num_samples: draws of z per example; None means one.

    Returns:
        [B] in nats, to be maximized.

    Raises:
        ConfigError: no bound has the name, or the family lacks what it needs.
    """
    densities = fit_for(model, name)
    if name == ANALYTIC:
        evaluation = evaluate_terms(
            key, densities, params, state, x, beta, num_samples, train=False
        )
    else:
        evaluation = evaluate_sampled(
            key, densities, params, state, x, name, beta, num_samples or 1, train=False
        )
    return evaluation.bound


def log_weights(
    key: Key, model: Latent, params: Params, state: State, x: Array, num_samples: int
) -> Array:
    """Compute the log-weights log p(x, z) - log q(z | x) of draws z ~ q.

    `objectives.iwae.bound` turns them into a bound, as does `likelihood.importance_weighted`.

    Args:
        key: of the draws of z.
        model: a `LatentModel`, or a recipe that has one.
        params: of the model, by part.
        state: of the model, by part.
        x: [B, ...].
        num_samples: draws of z per example.

    Returns:
        [num_samples, B] in nats.

    Raises:
        ConfigError: the family lacks log p(z) or log q(z | x).
    """
    densities = densities_of(model)
    log_q = needed(densities, "log_posterior", "log p(x, z) / q(z | x)")
    q = posterior(densities, params, state, x)
    z = densities.sample_posterior(key, q, num_samples)
    return log_joint(densities, params, state, z, x) - log_q(q, z)


def model_of(
    densities: LatentModel,
    init: Callable[[Key], tuple[Params, State]],
    players: dict[str, Player],
) -> Model:
    """Make a family's `Model`, whose samples are decoded draws of the prior.

    Args:
        densities: of the family.
        init: `key -> (params, state)`, both by part.
        players: by name, in the order in which they move.

    Returns:
        The model.
    """

    def draw(params: Params, state: State, key: Key, num_samples: int) -> Array:
        return sample(key, densities, params, state, num_samples)

    return Model(init, players, draw, densities.decode, densities)
