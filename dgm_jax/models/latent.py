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

import jax.numpy as jnp

from dgm_jax.core import (
    Array,
    Aux,
    Key,
    LatentModel,
    LossFn,
    Model,
    Params,
    Player,
    PyTree,
    State,
    checks,
    lookup,
    require,
)
from dgm_jax.models._latent_terms import (
    ANALYTIC,
    Latent,
    densities_of,
    evaluate_sampled,
    evaluate_terms,
    fit_for,
    needed,
)
from dgm_jax.models._latent_terms import BOUNDS as BOUNDS
from dgm_jax.objectives.elbo import ElboTerms
from dgm_jax.objectives.free_bits import free_bits as with_floor

FREE_BITS_BY = ("all", "latent")
# The reason why a loss with free bits is not a mean over examples.
FREE_BITS_COUPLING = "free bits compare the mean rate of the batch with their floor"


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


# Training.


def loss(
    model: Latent,
    *,
    beta: Callable[[Array], Array | float] | None = None,
    bound: str = ANALYTIC,
    num_samples: int | None = None,
    free_bits: float = 0.0,
    free_bits_by: str = "all",
) -> LossFn:
    """Make a player's loss: the negative bound, averaged over examples.

    Networks are in their training form: batch statistics move, and dropout has its own keys. A
    prior that depends on the encoder, such as a VampPrior, sees it in the inference form.

    Args:
        model: a `LatentModel`, or a recipe that has one.
        beta: `step -> factor on the KL term`, such as
            `partial(objectives.elbo.warm_up, num_steps=n)`; None means 1 at every step.
        bound: a name of `BOUNDS`.
        num_samples: draws of z per example; None means one.
        free_bits: nats of the rate that cost nothing, for each group of latents; only for
            "analytic".
        free_bits_by: what a group is: "all" latents together, or each "latent", which needs the
            rate in closed form. The floor is on the mean over the batch (`FREE_BITS_COUPLING`).

    Returns:
        The loss of a batch `{"x": [B, ...], "step": int32[]}`, in nats. Metrics: `elbo`,
        `log_likelihood` and `kl` at beta = 1 and without free bits, and for the bounds of
        `path_derivatives` the `bound` itself at beta = 1.

    Raises:
        ConfigError: an unknown name, a number out of range, or a family that lacks what the bound
            needs.
    """
    densities = fit_for(model, bound)
    _require_options(densities, bound, num_samples, free_bits, free_bits_by)

    def evaluate(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        checks.batch(batch, densities.name, x=None, step=None)
        x = batch["x"]
        factor = 1.0 if beta is None else beta(batch["step"])
        if bound != ANALYTIC:
            options = params, state, x, bound, factor, num_samples or 1
            evaluation = evaluate_sampled(key, densities, *options, train=True)
            return -jnp.mean(evaluation.bound), Aux(evaluation.state, evaluation.metrics())
        options = params, state, x, factor, num_samples
        evaluation = evaluate_terms(key, densities, *options, train=True)
        value = -jnp.mean(evaluation.bound)
        if free_bits > 0:
            rate = evaluation.terms.kl[:, None]
            if free_bits_by == "latent":
                rate = needed(densities, "rate", "free_bits")(params, state, evaluation.q)
            rate = with_floor(rate.reshape(rate.shape[0], -1), free_bits)
            value = factor * rate - jnp.mean(evaluation.terms.log_likelihood)
        return value, Aux(evaluation.state, evaluation.metrics())

    return evaluate


def require_free_bits(free_bits: float, bound: str) -> None:
    """Refuse free bits that are negative or go with another bound than "analytic".

    Args:
        free_bits: in nats.
        bound: a name of `BOUNDS`.

    Raises:
        ConfigError: free_bits is negative, or positive with another bound than "analytic".
    """
    require(free_bits >= 0, f"free_bits must be at least 0 nats, got {free_bits}")
    require(
        free_bits == 0 or bound == ANALYTIC,
        f"free_bits={free_bits} goes with bound={ANALYTIC!r}, which has a rate of its own; got"
        f" bound={bound!r}",
    )


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


def _require_options(
    densities: LatentModel,
    bound: str,
    num_samples: int | None,
    free_bits: float,
    free_bits_by: str,
) -> None:
    require(
        num_samples is None or num_samples >= 1,
        f"num_samples must be at least 1, or None for one draw; got {num_samples}",
    )
    require_free_bits(free_bits, bound)
    lookup(dict.fromkeys(FREE_BITS_BY), free_bits_by, "group of latents (free_bits_by)")
    if free_bits > 0 and free_bits_by == "latent":
        needed(densities, "rate", "free_bits_by='latent'")
