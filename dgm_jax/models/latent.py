"""What a model with latents can do, written once over its densities (`core.LatentModel`).

    log w = log p(x | z) + log p(z) - log q(z | x),  z ~ q(z | x)

Bounds on log p(x) and log-weights go with every family that has the densities they need; what a
family lacks is refused by name. A `model` is a `LatentModel` or what has one, such as `models.Vae`.
Everything is in nats, and in the inference form of the networks but for `loss`, which trains them.

    bound                               is maximised                      needs
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
# Why a loss with free bits is not a mean over examples.
FREE_BITS_COUPLING = "free bits compare the mean rate of the batch with their floor"


# Densities, in the inference form.


def posterior(model: Latent, params: Params, state: State, x: Array) -> PyTree:
    """q(z | x) of x [B, ...], the tree of arrays that fixes it: (loc, scale), logits, ..."""
    return densities_of(model).posterior(params, state, x, train=False)[0]


def log_likelihood(model: Latent, params: Params, state: State, z: Array, x: Array) -> Array:
    """log p(x | z) of z [*S, B, *E] and x [B, ...], or one x [...] for all: [*S, B]."""
    return densities_of(model).log_likelihood(params, state, z, x, train=False)[0]


def log_prior(model: Latent, params: Params, state: State, z: Array) -> Array:
    """log p(z) of z [*S, B, *E]: [*S, B]."""
    return needed(densities_of(model), "log_prior", "log p(z)")(params, state, z)


def log_joint(model: Latent, params: Params, state: State, z: Array, x: Array) -> Array:
    """log p(x, z), shapes as in `log_likelihood`."""
    log_x = log_likelihood(model, params, state, z, x)
    return log_x + log_prior(model, params, state, z)


def decode(model: Latent, params: Params, state: State, z: Array) -> Array:
    """What is shown for z [B, *E]: images [B, H, W, C] in [0, 1]."""
    return densities_of(model).decode(params, state, z)


def sample(key: Key, model: Latent, params: Params, state: State, num_samples: int) -> Array:
    """What is shown for draws of the prior."""
    checks.one_key(key)
    densities = densities_of(model)
    return densities.decode(params, state, densities.sample_prior(params, state, key, num_samples))


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
    """The bound "analytic" of each example x [B, ...] and its terms, [B] each.

    Args:
      beta: factor on the rate.
      num_samples: draws of z an example, whose mean is taken; None is one.

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
    """The bound on log p(x) of that name of `BOUNDS`, [B], to be maximised.

    Raises:
      ConfigError: no bound has the name, or the family lacks what it needs.
    """
    densities = fit_for(model, name)
    if name == ANALYTIC:
        found = evaluate_terms(key, densities, params, state, x, beta, num_samples, train=False)
        return found.bound
    options = name, beta, num_samples or 1
    return evaluate_sampled(key, densities, params, state, x, *options, train=False).bound


def log_weights(
    key: Key, model: Latent, params: Params, state: State, x: Array, num_samples: int
) -> Array:
    """log p(x, z) - log q(z | x) for draws z ~ q: [num_samples, B]. `objectives.iwae.bound` makes
    a bound of them, as does `likelihood.importance_weighted`."""
    densities = densities_of(model)
    log_q = needed(densities, "log_posterior", "log p(x, z) / q(z | x)")
    q = posterior(densities, params, state, x)
    z = densities.sample_posterior(key, q, num_samples)
    return log_joint(densities, params, state, z, x) - log_q(q, z)


# Training.


def loss(
    model: Latent,
    *,
    beta: Callable[[Array], Array | float] = lambda step: 1.0,
    bound: str = ANALYTIC,
    num_samples: int | None = None,
    free_bits: float = 0.0,
    free_bits_by: str = "all",
) -> LossFn:
    """The negative bound, a mean over examples, as a player's loss.

    Networks are in their training form: batch statistics move, and dropout has keys of its own. A
    prior that looks at the encoder, such as a VampPrior, sees it in the inference form.

    Args:
      beta: `step -> factor on the rate`, such as `partial(objectives.elbo.warm_up, num_steps=n)`.
      bound: a name of `BOUNDS`.
      num_samples: draws of z an example; None is one.
      free_bits: nats of the rate that cost nothing, for each group of latents; of "analytic" only.
      free_bits_by: what a group is: "all" latents together, or each "latent", which needs the rate
        in closed form. The floor is on the mean over the batch (`FREE_BITS_COUPLING`).

    Returns:
      The loss of a batch `{"x": [B, ...], "step": int32[]}`. Metrics: `elbo`, `log_likelihood` and
      `kl` at beta = 1 and without free bits, and for the bounds of `path_derivatives` the `bound`
      itself at beta = 1.

    Raises:
      ConfigError: an unknown name, a number out of range, or a family without what the bound needs.
    """
    densities = fit_for(model, bound)
    _require_options(densities, bound, num_samples, free_bits, free_bits_by)

    def evaluate(params, state, batch, key):
        checks.batch(batch, densities.name, x=None, step=None)
        x, factor = batch["x"], beta(batch["step"])
        if bound != ANALYTIC:
            options = params, state, x, bound, factor, num_samples or 1
            found = evaluate_sampled(key, densities, *options, train=True)
            return -jnp.mean(found.bound), Aux(found.state, found.metrics())
        found = evaluate_terms(key, densities, params, state, x, factor, num_samples, train=True)
        value = -jnp.mean(found.bound)
        if free_bits > 0:
            rate = found.terms.kl[:, None]
            if free_bits_by == "latent":
                rate = needed(densities, "rate", "free_bits")(params, state, found.q)
            rate = with_floor(rate.reshape(rate.shape[0], -1), free_bits)
            value = factor * rate - jnp.mean(found.terms.log_likelihood)
        return value, Aux(found.state, found.metrics())

    return evaluate


def require_free_bits(free_bits: float, bound: str) -> None:
    """ConfigError unless free_bits is at least 0, and 0 for all bounds but "analytic"."""
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
    """A family's `Model`: samples are decoded draws of the prior."""

    def draw(params, state, key, num_samples):
        return sample(key, densities, params, state, num_samples)

    return Model(init, players, draw, densities.decode, densities)


def _require_options(densities, bound, num_samples, free_bits, free_bits_by) -> None:
    require(
        num_samples is None or num_samples >= 1,
        f"num_samples must be at least 1, or None for one draw; got {num_samples}",
    )
    require_free_bits(free_bits, bound)
    lookup(dict.fromkeys(FREE_BITS_BY), free_bits_by, "group of latents (free_bits_by)")
    if free_bits > 0 and free_bits_by == "latent":
        needed(densities, "rate", "free_bits_by='latent'")
