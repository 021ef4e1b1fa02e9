"""The log-ratio of two densities from a classifier of their samples, and how far to trust it.

With as many draws of q1 (label 1) as of q2 (label 0), the best classifier is D = sigmoid(T*) with

    T* = log q1 / q2 = log D / (1 - D),    KL(q1 || q2) = E_q1[T*].

The logit *is* the log-ratio (Sugiyama, Suzuki and Kanamori 2012, "Density ratio estimation in
machine learning"; Mescheder et al. 2017, Prop. 1). Lecture slides print KL ~ D / (1 - D), without
the logarithm and the expectation: for q1 = N(.5, .7^2), q2 = N(0, 1) the KL is .22667, while
E_q1[D / (1 - D)] = 1.37188 (and its logarithm .31618). e^T overflows float32 from T = 89 and 1 - D
is zero from T = 17, so everything here works on logits.

A classifier that underfits gives too small a KL; separable samples leave T undetermined: for
N(6, .1^2) against N(0, 1) (KL 19.8) logistic regression on the right features can give any value.
`diagnose` reveals both.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, LogMeanExp, at_least_float32, log_mean_exp, require, widened


class RatioError(NamedTuple):
    """T against the true log-ratio over some draws, in nats.

    Attributes:
        root_mean_square: root of the mean squared error.
        bias: mean error.
    """

    root_mean_square: Array
    bias: Array


class Diagnosis(NamedTuple):
    """What `diagnose` reports; scalars in nats except for the histograms.

    Attributes:
        loss: `logistic_loss`; in expectation not below 2 log 2 - 2 JSD.
        js: `js_estimate`.
        kl: `kl_estimate`.
        kl_bound: `donsker_varadhan`, in expectation at most KL(q1 || q2), up to the bias of its
            logarithm.
        log_normaliser: log E_q2[e^T], 0 for the true ratio.
        log_inverse_normaliser: log E_q1[e^-T], 0 as well.
        histogram_q1: shares of D = sigmoid(T) in equal bins of [0, 1] over draws of q1; if
            everything is in the end bins, the samples are separable.
        histogram_q2: the same over draws of q2.
    """

    loss: Array
    js: Array
    kl: Array
    kl_bound: Array
    log_normaliser: LogMeanExp
    log_inverse_normaliser: LogMeanExp
    histogram_q1: Array
    histogram_q2: Array


def logistic_loss(logits_q1: Array, logits_q2: Array) -> Array:
    """mean softplus(-T) over draws of q1 + mean softplus(T) over draws of q2, to be minimized.

    That is -E_q1[log D] - E_q2[log(1 - D)], the sum of two means: 2 log 2 - 2 JSD(q1, q2) at
    T = log q1 / q2, and 2 log 2 for T = 0.

    Args:
        logits_q1: T at draws of q1, of any shape.
        logits_q2: T at draws of q2, of any shape; the numbers of draws may differ.

    Returns:
        A scalar in nats.

    Raises:
        ConfigError: no draws.

    Example:
        >>> print(f"{density_ratio.logistic_loss(jnp.zeros(3), jnp.zeros(2)):.4f}")  # 2 log 2
        1.3863
    """
    _require_draws(logits_q1=logits_q1, logits_q2=logits_q2)
    logits_q1, logits_q2 = widened(logits_q1, logits_q2)
    return jnp.mean(jax.nn.softplus(-logits_q1)) + jnp.mean(jax.nn.softplus(logits_q2))


def kl_estimate(logits_q1: Array) -> Array:
    """KL(q1 || q2) as the mean of the raw logits T = log D / (1 - D) over draws of q1.

    Correct for T = log q1 / q2 only, and no bound for another T: it may be above the KL, below it,
    or negative. (The mean of D / (1 - D), as printed on some slides, is E_q1[q1 / q2] and no KL.)

    Args:
        logits_q1: T at draws of q1, of any shape.

    Returns:
        A scalar in nats.

    Raises:
        ConfigError: no draws.

    Example:
        >>> density_ratio.kl_estimate(jnp.array([1.0, 2.0])).item()
        1.5
    """
    _require_draws(logits_q1=logits_q1)
    return jnp.mean(at_least_float32(logits_q1))


def js_estimate(loss: Array) -> Array:
    """JSD(q1, q2) = log 2 - loss / 2; in expectation a lower bound for any classifier.

    Args:
        loss: `logistic_loss`, in nats.

    Returns:
        Nats, of the shape of `loss`.

    Example:
        >>> print(f"{density_ratio.js_estimate(0.0):.4f}")  # separable: log 2
        0.6931
    """
    return math.log(2) - loss / 2


def donsker_varadhan(logits_q1: Array, logits_q2: Array) -> Array:
    """E_q1[T] - log E_q2[e^T] <= KL(q1 || q2) for any T.

    With equality for T = log q1 / q2 + constant. Donsker and Varadhan 1983; Belghazi et al. 2018,
    "Mutual information neural estimation". The logarithm of a mean over n draws biases it upwards,
    by about half the relative variance of e^T under q2, divided by n.

    Args:
        logits_q1: T at draws of q1, of any shape.
        logits_q2: T at draws of q2, of any shape.

    Returns:
        A scalar in nats.

    Raises:
        ConfigError: no draws.

    Example:
        >>> density_ratio.donsker_varadhan(jnp.array([3.0]), jnp.array([1.0])).item()
        2.0
    """
    return kl_estimate(logits_q1) - log_mean_exp(logits_q2).value


def f_divergence_bound(logits_q1: Array, logits_q2: Array) -> Array:
    """E_q1[T] - E_q2[e^T] + 1 <= KL(q1 || q2) for any T, unbiased.

    With equality for T = log q1 / q2; never above `donsker_varadhan`. Nguyen, Wainwright and Jordan
    2010; Nowozin et al. 2016, with f(u) = u log u and 1 + T for their T.

    Args:
        logits_q1: T at draws of q1, of any shape.
        logits_q2: T at draws of q2, of any shape.

    Returns:
        A scalar in nats.

    Raises:
        ConfigError: no draws.

    Example:
        >>> density_ratio.f_divergence_bound(jnp.array([3.0]), jnp.array([0.0])).item()
        3.0
    """
    return kl_estimate(logits_q1) - jnp.expm1(log_mean_exp(logits_q2).value)


def diagnose(
    logits_q1: Array,
    logits_q2: Array,
    num_bins: int = 20,
) -> Diagnosis:
    """How a fitted T behaves on fresh draws of q1 and q2; the draws it was fitted on flatter it.

    Signs of a bad ratio: a log-normalizer several standard errors from 0, a tiny effective sample
    size, `kl` far above `kl_bound`, a histogram with everything at 0 and 1.

    Args:
        logits_q1: T at draws of q1, of any shape.
        logits_q2: T at draws of q2, of any shape.
        num_bins: of the histograms.

    Returns:
        A `Diagnosis`.

    Raises:
        ConfigError: no draws, or no bins.

    Example:
        >>> diagnosis = density_ratio.diagnose(jnp.zeros(4), jnp.zeros(4), num_bins=2)
        >>> diagnosis.log_normaliser.value.item(), diagnosis.histogram_q1.tolist()
        (0.0, [0.0, 1.0])
    """
    require(num_bins >= 1, f"num_bins must be at least 1; got {num_bins}")
    loss = logistic_loss(logits_q1, logits_q2)
    return Diagnosis(
        loss=loss,
        js=js_estimate(loss),
        kl=kl_estimate(logits_q1),
        kl_bound=donsker_varadhan(logits_q1, logits_q2),
        log_normaliser=log_mean_exp(logits_q2),
        log_inverse_normaliser=log_mean_exp(jnp.negative(logits_q1)),
        histogram_q1=_histogram(logits_q1, num_bins),
        histogram_q2=_histogram(logits_q2, num_bins),
    )


def ratio_error(logits: Array, log_ratio: Array) -> RatioError:
    """T against the analytic log q1 / q2 at the same points.

    Args:
        logits: T, [*B], in nats.
        log_ratio: log q1 / q2, [*B], in nats.

    Returns:
        Root mean squared error and bias, scalars in nats.

    Raises:
        ConfigError: different shapes.

    Example:
        >>> error = density_ratio.ratio_error(jnp.array([1.0, -1.0]), jnp.zeros(2))
        >>> error.root_mean_square.item(), error.bias.item()
        (1.0, 0.0)
    """
    shape = jnp.shape(logits)
    ratio_shape = jnp.shape(log_ratio)
    require(
        shape == ratio_shape,
        f"logits and log_ratio must have one shape; got {shape} and {ratio_shape}",
    )
    logits, log_ratio = widened(logits, log_ratio)
    error = logits - log_ratio
    return RatioError(jnp.sqrt(jnp.mean(jnp.square(error))), jnp.mean(error))


def _histogram(logits: Array, num_bins: int) -> Array:
    """Shares [num_bins] of sigmoid(T) in equal bins of [0, 1].

    Each bin includes its lower edge, the last one both. NaN is in no bin.
    """
    shares = jax.nn.sigmoid(jnp.ravel(at_least_float32(logits)))
    index = jnp.clip(jnp.floor(shares * num_bins), 0, num_bins - 1)
    index = jnp.where(jnp.isnan(shares), num_bins, index).astype(jnp.int32)  # into no bin
    counts = jnp.zeros(num_bins + 1, shares.dtype).at[index].add(1)
    return counts[:-1] / index.size


def _require_draws(**logits: Array) -> None:
    for name, values in logits.items():
        shape = jnp.shape(values)
        require(math.prod(shape) >= 1, f"{name} must hold at least one draw; got shape {shape}")
