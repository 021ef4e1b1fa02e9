"""The loss that trains a model with latents: the negative of a bound, for `latent`."""

from collections.abc import Callable

import jax.numpy as jnp

from dgm_jax.core import (
    Array,
    Aux,
    Key,
    LatentModel,
    LossFn,
    Params,
    PyTree,
    State,
    checks,
    lookup,
    require,
)
from dgm_jax.models._latent_terms import (
    ANALYTIC,
    Latent,
    evaluate_sampled,
    evaluate_terms,
    fit_for,
    needed,
)
from dgm_jax.objectives.free_bits import free_bits as with_floor

FREE_BITS_BY = ("all", "latent")
# The reason why a loss with free bits is not a mean over examples.
FREE_BITS_COUPLING = "free bits compare the mean rate of the batch with their floor"


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
    lookup(FREE_BITS_BY, free_bits_by, "group of latents (free_bits_by)")
    if free_bits > 0 and free_bits_by == "latent":
        needed(densities, "rate", "free_bits_by='latent'")
