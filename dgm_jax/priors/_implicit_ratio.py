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
    """A `Prior` with one more field.

    Attributes:
        init: `key -> params`.
        sample: `(params, key, n) -> z [n, ...]`.
        log_prob: `(params, z [*B, ...]) -> [*B]` in nats.
        normalized: False if `log_prob` lacks the constant -log Z.
    """

    init: Callable[[Key], PyTree]
    sample: Callable[[PyTree, Key, int], Array]
    log_prob: Callable[[PyTree, Array], Array]
    normalized: bool


def implicit_ratio(
    base: Prior,
    log_ratio: LogRatio,
    init_ratio: Callable[[Key], PyTree],
    *,
    log_normalizer: Array | None = None,
    num_candidates: int = 64,
) -> ImplicitRatio:
    """Multiply a known prior by a learned density ratio.

    p(z) = base(z) exp(T(z)) / Z with Z = E_base exp(T).

    Takahashi et al. 2019, "Variational autoencoder with implicit optimal priors": with
    T = log q(z) / base(z), learned by a discriminator, p is the aggregated posterior q, and
    KL(q(z|x) || p) = KL(q(z|x) || base) - E T.

    log_prob is log base(z) + T(z). It is NOT normalized, and says so in `normalized`, unless
    `log_normalizer` is given, which is then subtracted. For an imperfect T, Z is not 1, and a value
    without it is not a likelihood; `estimate_log_normalizer` estimates log Z.

    sample is sampling-importance-resampling: each draw picks one of its own `num_candidates`
    candidates from the base, with probabilities proportional to exp(T). Draws are independent;
    their distribution is the base for one candidate and tends to p as the candidates grow in
    number. No gradient passes through the choice.

    Args:
        base: a normalized prior that can be sampled.
        log_ratio: T, `(ratio_params, z [*B, ...]) -> [*B]` in nats.
        init_ratio: `key -> ratio_params`.
        log_normalizer: log Z in nats, if known.
        num_candidates: candidates for each draw.

    Returns:
        A prior over z [*B, ...], in nats, with params {"base": ..., "ratio": ...}.

    Raises:
        ConfigError: num_candidates is not a positive integer.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dgm_jax import priors
        >>> tilt = lambda slope, z: slope * z[..., 0]  # moves the mean of N(0, 1) to the slope
        >>> base = priors.standard_normal(1)
        >>> init = lambda key: jnp.array(1.0)
        >>> prior = priors.implicit_ratio(base, tilt, init, log_normalizer=0.5)
        >>> params = prior.init(jax.random.key(0))
        >>> print(f"{prior.log_prob(params, jnp.ones(1)):.4f}")  # log N(1; 1, 1)
        -0.9189
    """
    checks.whole(num_candidates, "num_candidates")

    def init(key: Key) -> PyTree:
        key_base, key_ratio = jax.random.split(key)
        return {"base": base.init(key_base), "ratio": init_ratio(key_ratio)}

    def sample(params: PyTree, key: Key, n: int) -> Array:
        key_candidates, key_choice = jax.random.split(key)
        z = base.sample(params["base"], key_candidates, n * num_candidates)
        scores = log_ratio(params["ratio"], z).reshape(n, num_candidates)
        tiny = float(jnp.finfo(jnp.float32).tiny)
        noise = -jnp.log(-jnp.log(uniform(key_choice, scores.shape, minval=tiny)))
        chosen = jnp.argmax(scores + noise, -1)  # the Gumbel-max trick
        return z[jnp.arange(n) * num_candidates + chosen]

    def log_prob(params: PyTree, z: Array) -> Array:
        value = base.log_prob(params["base"], z) + log_ratio(params["ratio"], z)
        return value if log_normalizer is None else value - log_normalizer

    return ImplicitRatio(init, sample, log_prob, log_normalizer is not None)


def estimate_log_normalizer(
    key: Key, base: Prior, log_ratio: LogRatio, params: PyTree, n: int = 10_000
) -> LogMeanExp:
    """Estimate the log-normalizer of an `implicit_ratio` prior.

    log 1/n sum_i exp(T(z_i)) with z_i ~ base: the log of an unbiased estimate of Z, so by Jensen's
    inequality too low on average.

    Args:
        key: of the draws.
        base: the base prior.
        log_ratio: T, `(ratio_params, z [*B, ...]) -> [*B]` in nats.
        params: those of `implicit_ratio`, {"base": ..., "ratio": ...}.
        n: number of draws.

    Returns:
        The estimate in nats, with its standard error.

    Raises:
        ConfigError: n is below 2, for which there is no standard error.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dgm_jax import priors
        >>> constant = lambda value, z: jnp.full(z.shape[:-1], value)
        >>> params = {"base": {}, "ratio": 2.0}
        >>> key = jax.random.key(0)
        >>> base = priors.standard_normal(1)
        >>> estimate = priors.estimate_log_normalizer(key, base, constant, params, 10)
        >>> print(f"{estimate.value:.4f} {estimate.standard_error:.4f}")
        2.0000 0.0000
    """
    require(checks.is_whole(n) and n >= 2, f"n must be at least 2; got {n!r}")
    return log_mean_exp(log_ratio(params["ratio"], base.sample(params["base"], key, n)))
