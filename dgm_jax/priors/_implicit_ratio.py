"""A known prior times a learned density ratio: the optimal prior without the sum over the data."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import (
    Array,
    Key,
    LogMeanExp,
    Prior,
    PyTree,
    checks,
    log_mean_exp,
    require,
    uniform,
)

# (ratio_params, z[*B, ...]) -> T(z) [*B], the log of a density ratio: the raw logit of a
# discriminator.
LogRatio = Callable[[PyTree, Array], Array]


class ImplicitRatio(NamedTuple):
    """A `Prior` with one field more. normalised: False where `log_prob` lacks log Z."""

    init: Callable[[Key], PyTree]
    sample: Callable[[PyTree, Key, int], Array]
    log_prob: Callable[[PyTree, Array], Array]
    normalised: bool


def implicit_ratio(
    base: Prior,
    log_ratio: LogRatio,
    init_ratio: Callable[[Key], PyTree],
    *,
    log_normaliser: Array | None = None,
    num_candidates: int = 64,
) -> ImplicitRatio:
    """p(z) = base(z) exp(T(z)) / Z with Z = E_base exp(T), in nats.

    Takahashi et al. 2019, "Variational autoencoder with implicit optimal priors": with T = log q(z)
    / base(z), learned by a discriminator, p is the aggregated posterior q, and KL(q(z|x) || p) =
    KL(q(z|x) || base) - E T.

    log_prob is log base(z) + T(z), NOT normalised and marked so, unless `log_normaliser` is given:
    then it is less that. For an imperfect T, Z is not 1, and a likelihood without it is none;
    `estimate_log_normaliser` estimates it.

    sample is sampling-importance-resampling: each draw picks one of `num_candidates` candidates of
    its own from the base, with probabilities proportional to exp(T). Draws are independent; their
    law tends to p as the candidates grow in number, and is the base for one. No gradient passes
    through the choice.

    params: {"base": ..., "ratio": ...}.
    """
    checks.whole(num_candidates, "num_candidates")

    def init(key):
        key_base, key_ratio = jax.random.split(key)
        return {"base": base.init(key_base), "ratio": init_ratio(key_ratio)}

    def sample(params, key, n):
        key_candidates, key_choice = jax.random.split(key)
        z = base.sample(params["base"], key_candidates, n * num_candidates)
        scores = log_ratio(params["ratio"], z).reshape(n, num_candidates)
        tiny = float(jnp.finfo(jnp.float32).tiny)
        noise = -jnp.log(-jnp.log(uniform(key_choice, scores.shape, minval=tiny)))
        chosen = jnp.argmax(scores + noise, -1)  # the Gumbel-max trick
        return z[jnp.arange(n) * num_candidates + chosen]

    def log_prob(params, z):
        value = base.log_prob(params["base"], z) + log_ratio(params["ratio"], z)
        return value if log_normaliser is None else value - log_normaliser

    return ImplicitRatio(init, sample, log_prob, log_normaliser is not None)


def estimate_log_normaliser(
    key: Key, base: Prior, log_ratio: LogRatio, params: PyTree, n: int = 10_000
) -> LogMeanExp:
    """log 1/n sum_i exp(T(z_i)) with z_i ~ base: the log of an unbiased estimate of Z, so itself
    low by Jensen's gap.

    `params` are those of `implicit_ratio`. Raises `ConfigError` for n < 2, which has no standard
    error.
    """
    require(checks.is_whole(n) and n >= 2, f"n must be at least 2; got {n!r}")
    return log_mean_exp(log_ratio(params["ratio"], base.sample(params["base"], key, n)))
