"""Estimators that use values of the objective at drawn points only: the score function and its
baselines.

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
    key: Key, objective: Objective, logits: Array, *, num_samples: int = 1
) -> Estimate:
    """Mean over samples of f(x) (x - p). Unbiased.

    REINFORCE without a baseline: Williams (1992); Glynn (1990). Cost: num_samples values.
    """
    score, values = _draw(key, objective, logits, num_samples)
    return Estimate(jnp.mean(values), jnp.mean(scale_rows(values, score), axis=0))


def score_function_leave_one_out(
    key: Key, objective: Objective, logits: Array, *, num_samples: int = 2
) -> Estimate:
    """Mean over i of (f(x_i) - mean of f over the other samples) (x_i - p). Unbiased.

    RLOO: Kool et al. (2019), "Buy 4 REINFORCE samples, get a baseline for free!", section 3.
    Written as sum_i (f_i - mean f) (x_i - p) / (n - 1), the same number. Cost: num_samples
    values, at least 2.
    """
    require(num_samples >= 2, f"leaving one out needs num_samples >= 2, got {num_samples}")
    score, values = _draw(key, objective, logits, num_samples)
    centred = (values - jnp.mean(values)) / (num_samples - 1)
    return Estimate(jnp.mean(values), jnp.sum(scale_rows(centred, score), axis=0))


def nvil(
    key: Key,
    objective: Objective,
    logits: Array,
    *,
    num_samples: int = 2,
    decay: Array | float = 0.8,
    baseline: Array | None = None,
) -> Estimate:
    """Mean over i of (f(x_i) - c_i) (x_i - p), with c_i a running mean of the values before i.
    Unbiased.

    The baseline of Mnih and Gregor (2014), section 2.3, c <- decay c + (1 - decay) f, run
    over the samples of this one call, so that the estimator keeps no state: c_i depends
    on earlier samples only. In training, hand over the running mean as `baseline`, and
    move it with `value`: c <- decay c + (1 - decay) estimate.value. Without one, c_1 = 0
    and the mean is divided by its total weight 1 - decay^(i-1), so that a constant
    objective is cancelled from the second sample on. Their division by a running
    standard deviation is left out: it changes the mean. Their input-dependent baseline
    is a learned `baseline`. Cost: num_samples values.
    """
    checks.within(decay, "decay", 0, 1, below=True)
    score, values = _draw(key, objective, logits, num_samples)
    lag = np.arange(num_samples)[:, None] - np.arange(num_samples)[None, :]
    known = checks.is_known(decay)
    xp, decay = (np, float(decay)) if known else (jnp, jnp.asarray(decay, values.dtype))
    past = xp.where(lag > 0, (1 - decay) * decay ** np.maximum(lag - 1, 0), 0.0)
    if baseline is None:
        past, start = past / xp.maximum(past.sum(-1, keepdims=True), 1e-30), 0.0
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
    """sum_i (L(f_1..f_n) - L(f with f_i replaced by the mean of the others)) (x_i - p). Unbiased
    for E[L].

    VIMCO (Mnih and Rezende, 2016, the per-sample learning signal) for a multi-sample
    objective L over n = num_samples draws:

    - "mean": L = (1/n) sum_i f_i, whose expectation is E[f] for every n. This is the
      objective of every other estimator here, and the estimator is then, number for
      number, the leave-one-out score function.
    - "log_mean_exp": L = log (1/n) sum_i exp f_i, the bound of the paper, with f the log
      weight log p(x, z) / q(z | x). The mean of the others is then the geometric mean of
      their weights, as in the paper. E[L] is not E[f] (by Jensen it lies above), so
      compare its gradient with the enumeration of all n-tuples. Where f itself depends on
      the logits, `expectation` adds the derivative of L through f.

    Cost: num_samples values, at least 2.
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
    replaced = jnp.where(jnp.eye(num_samples, dtype=bool), others[:, None], values[None, :])
    total = combine(values, axis=-1)
    return Estimate(total, jnp.sum(scale_rows(total - combine(replaced, axis=-1), score), axis=0))


def _draw(key: Key, objective: Objective, logits: Array, num_samples: int) -> tuple[Array, Array]:
    """The scores [n, *E, K] of n draws, and the values [n] of the objective there."""
    logits = prepare(logits)
    x = draw_one_hot(key, logits, num_samples)
    return x - jax.nn.softmax(logits, axis=-1), evaluate(objective, x)
