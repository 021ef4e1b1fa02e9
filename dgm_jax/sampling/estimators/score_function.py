"""The score function and its baselines: estimators that need values of the objective only.

All rest on d E[f] = E[(f(x) - c) (x - p)], which holds for every c that does not depend on x.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Key, checks, log_mean_exp, require
from dgm_jax.sampling.estimators.estimate import (
    Estimate,
    Objective,
    draw_one_hot,
    evaluate,
    prepare,
    scale_rows,
)


def score_function(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    num_samples: int = 1,
) -> Estimate:
    """Score function: mean over samples of f(x) (x - p). Unbiased.

    REINFORCE without a baseline: Williams (1992); Glynn (1990). Cost: num_samples values.

    Args:
        key: a typed key.
        objective: f, `[*B, *E, K] -> [*B]`.
        logits: [*E, K].
        num_samples: number of draws.

    Returns:
        The estimate.

    Raises:
        ConfigError: num_samples below 1, or an objective of another shape.

    Example:
        >>> one = lambda x: jnp.ones(x.shape[:1])  # x - p is +-1/2 for two even classes
        >>> estimate = estimators.score_function(jax.random.key(0), one, jnp.zeros(2))
        >>> jnp.abs(estimate.gradient).tolist()
        [0.5, 0.5]
    """
    score, values = _draw(key, objective, logits, num_samples)
    return Estimate(jnp.mean(values), jnp.mean(scale_rows(values, score), axis=0))


def score_function_leave_one_out(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    num_samples: int = 2,
) -> Estimate:
    """RLOO: mean over i of (f(x_i) - mean of f over the other samples) (x_i - p). Unbiased.

    Kool et al. (2019), "Buy 4 REINFORCE samples, get a baseline for free!", section 3. Written as
    sum_i (f_i - mean f) (x_i - p) / (n - 1), the same number. Cost: num_samples values.

    Args:
        key: a typed key.
        objective: f, `[*B, *E, K] -> [*B]`.
        logits: [*E, K].
        num_samples: number of draws, at least 2.

    Returns:
        The estimate.

    Raises:
        ConfigError: num_samples below 2, or an objective of another shape.

    Example:
        >>> constant = lambda x: jnp.ones(x.shape[:1])  # its gradient is zero
        >>> estimators.score_function_leave_one_out(
        ...     jax.random.key(0), constant, jnp.zeros(2)
        ... ).gradient.tolist()
        [0.0, 0.0]
    """
    require(num_samples >= 2, f"leaving one out needs num_samples >= 2, got {num_samples}")
    score, values = _draw(key, objective, logits, num_samples)
    centered = (values - jnp.mean(values)) / (num_samples - 1)
    return Estimate(jnp.mean(values), jnp.sum(scale_rows(centered, score), axis=0))


def nvil(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    num_samples: int = 2,
    decay: Array | float = 0.8,
    baseline: Array | None = None,
) -> Estimate:
    """NVIL: mean over i of (f(x_i) - c_i) (x_i - p), c_i a mean of earlier values. Unbiased.

    The baseline of Mnih and Gregor (2014), section 2.3, c <- decay c + (1 - decay) f, run over the
    samples of this one call, so the estimator keeps no state: c_i depends on earlier samples only.
    Their division by a running standard deviation is left out: it changes the mean. Their
    input-dependent baseline is a learned `baseline`. Cost: num_samples values.

    Args:
        key: a typed key.
        objective: f, `[*B, *E, K] -> [*B]`.
        logits: [*E, K].
        num_samples: number of draws.
        decay: of the running mean, in [0, 1).
        baseline: the running mean before this call, a scalar. In training, keep it and move it with
            `value`: c <- decay c + (1 - decay) estimate.value. Without one, c_1 = 0 and the mean is
            divided by its total weight 1 - decay^(i-1), so a constant objective is cancelled from
            the second sample on.

    Returns:
        The estimate.

    Raises:
        ConfigError: num_samples below 1, a known decay outside [0, 1), or an objective of another
            shape.

    Example:
        >>> constant = lambda x: jnp.ones(x.shape[:1])  # cancelled by its running mean
        >>> estimators.nvil(
        ...     jax.random.key(0), constant, jnp.zeros(2), baseline=jnp.float32(1)
        ... ).gradient.tolist()
        [0.0, 0.0]
    """
    checks.within(decay, "decay", 0, 1, below=True)
    score, values = _draw(key, objective, logits, num_samples)
    # past[i, j] is the weight of sample j in the running mean before sample i.
    lag = np.arange(num_samples)[:, None] - np.arange(num_samples)[None, :]
    known = checks.is_known(decay)
    # A known decay is handled by NumPy, in float64 and outside the compiled program.
    xp, decay = (np, float(decay)) if known else (jnp, jnp.asarray(decay, values.dtype))
    past = xp.where(lag > 0, (1 - decay) * decay ** np.maximum(lag - 1, 0), 0.0)
    if baseline is None:
        past = past / xp.maximum(past.sum(-1, keepdims=True), 1e-30)
        start = 0.0
    else:
        start = jnp.asarray(decay ** np.arange(num_samples), values.dtype) * baseline
    running = jnp.sum(jnp.asarray(past, values.dtype) * values, axis=-1) + start
    return Estimate(jnp.mean(values), jnp.mean(scale_rows(values - running, score), axis=0))


def vimco(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    num_samples: int = 2,
    multi_sample: str = "mean",
) -> Estimate:
    """VIMCO: sum_i (L(f_1..f_n) - L(f with f_i replaced by the others' mean)) (x_i - p). Unbiased.

    Unbiased for E[L] of a multi-sample objective L over n = num_samples draws, with a learning
    signal per sample (Mnih and Rezende 2016). Cost: num_samples values.

    Args:
        key: a typed key.
        objective: f, `[*B, *E, K] -> [*B]`.
        logits: [*E, K].
        num_samples: n, at least 2.
        multi_sample: the objective L. "mean" is (1/n) sum_i f_i, whose expectation is E[f] for
            every n, as for every other estimator here; the estimator is then, number for number,
            the leave-one-out score function. "log_mean_exp" is log (1/n) sum_i exp f_i, the bound
            of the paper, with f the log-weight log p(x, z) / q(z | x); the mean of the others is
            then the geometric mean of their weights, as in the paper. E[L] is not E[f] (by Jensen
            it lies above), so compare its gradient with the enumeration of all n-tuples. Where f
            itself depends on the logits, `expectation` adds the derivative of L through f.

    Returns:
        The estimate.

    Raises:
        ConfigError: num_samples below 2, an unknown `multi_sample`, or an objective of another
            shape.

    Example:
        >>> constant = lambda x: jnp.ones(x.shape[:1])  # its gradient is zero
        >>> estimators.vimco(jax.random.key(0), constant, jnp.zeros(2)).gradient.tolist()
        [0.0, 0.0]
    """
    require(
        multi_sample in ("mean", "log_mean_exp"),
        f"multi_sample must be 'mean' or 'log_mean_exp', got {multi_sample!r}",
    )
    require(num_samples >= 2, f"leaving one out needs num_samples >= 2, got {num_samples}")
    score, values = _draw(key, objective, logits, num_samples)
    combine = jnp.mean
    if multi_sample == "log_mean_exp":
        combine = lambda values, axis: log_mean_exp(values, axis).value
    others = (jnp.sum(values) - values) / (num_samples - 1)
    # Row i holds all values, with the i-th replaced by the mean of the others.
    replaced = jnp.where(jnp.eye(num_samples, dtype=bool), others[:, None], values[None, :])
    total = combine(values, axis=-1)
    return Estimate(total, jnp.sum(scale_rows(total - combine(replaced, axis=-1), score), axis=0))


def _draw(key: Key, objective: Objective, logits: Array, num_samples: int) -> tuple[Array, Array]:
    """The scores [n, *E, K] of n draws, and the values [n] of the objective there."""
    logits = prepare(logits)
    x = draw_one_hot(key, logits, num_samples)
    return x - jax.nn.softmax(logits, axis=-1), evaluate(objective, x)
