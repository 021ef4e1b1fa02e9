"""Annealed importance sampling: log p(x) by a path of distributions from a start that can be
sampled to the posterior.

f_beta(z) = start(z) exp(beta log_ratio(x, z)),  log_ratio = log p(x, z) - log start(z),  0 = beta_0
< ... < beta_T = 1,

z_0 ~ start, z_t ~ HMC that leaves f_{beta_t} invariant, log w = sum_t (beta_t - beta_{t-1})
log_ratio(x, z_{t-1}): then E[w] = p(x) (Neal 2001; Wu et al. 2017, "On the quantitative analysis of
decoder-based generative models"). A mean over chains makes log p(x) a lower bound in expectation.
Run backwards from an exact posterior sample, E[1 / w] = 1 / p(x), and the estimate is an upper
bound (Grosse et al. 2015; 2016, "Measuring the reliability of MCMC inference with bidirectional
Monte Carlo").

Step sizes are found in a pilot run of its own and then held fixed: adaptation during the run would
break both bounds. The increments are sums of log_ratio alone, for a prior start log p(x | z), with
compensated (Kahan) summation. Shapes: C chains, B rows of x, events *E.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import (
    Array,
    Key,
    at_least_float32,
    compensated_add,
    lookup,
    require,
    require_at_least,
    require_positive,
)
from dgm_jax.likelihood import hmc


class Path(NamedTuple):
    """Where chains start, and what leads from there to p(x, z). Functions of arrays; z is [n, b,
    *E], x is [b, ...].

    sample: `(key, x, n) -> z`. log_prob: `(x, z) -> [n, b]`, the start's log-density. log_ratio:
        `(x, z) -> [n, b]`,
    log p(x, z) - log_prob(x, z). Differentiable in z.
    """

    sample: Callable[[Key, Array, int], Array]
    log_prob: Callable[[Array, Array], Array]
    log_ratio: Callable[[Array, Array], Array]


class Annealed(NamedTuple):
    """log_weights [C, B]; acceptance [B], the mean probability over chains and transitions, or None
    where there is no transition."""

    log_weights: Array
    acceptance: Array | None


def from_prior(sample: Callable, log_prob: Callable, log_likelihood: Callable) -> Path:
    """Chains start at the prior; the path needs no encoder, so a decoder alone (a GAN's generator
    with an observation noise) can be measured.

    sample: `(key, n) -> [n, *E]`. log_prob: `z[..., *E] -> [...]`. log_likelihood:
        `(x, z[n, b, *E]) -> [n, b]`.
    """

    def start(key, x, n):
        flat = sample(key, n * x.shape[0])
        return flat.reshape(n, x.shape[0], *flat.shape[1:])

    return Path(start, lambda x, z: log_prob(z), log_likelihood)


def from_proposal(sample: Callable, log_prob: Callable, log_joint: Callable) -> Path:
    """Chains start at an encoder's q(z | x): `sample(key, x, n)`, `log_prob(x, z)` and
    `log_joint(x, z)` as in `Path`."""
    return Path(sample, log_prob, lambda x, z: log_joint(x, z) - log_prob(x, z))


def linear(num_steps: int) -> np.ndarray:
    """beta_t = t / T: [T + 1] in float64."""
    require(num_steps >= 1, f"num_steps must be at least 1; got {num_steps}")
    return np.arange(num_steps + 1) / num_steps


def sigmoid(num_steps: int, radius: float = 4.0) -> np.ndarray:
    """Equal steps of the logit from -radius to radius, rescaled to [0, 1]: dense at both ends
    (Grosse et al. 2015)."""
    require(radius > 0, f"radius must be positive; got {radius}")
    value = 1 / (1 + np.exp(-radius * (2 * linear(num_steps) - 1)))
    return (value - value[0]) / (value[-1] - value[0])


SCHEDULES = {"linear": linear, "sigmoid": sigmoid}


@dataclasses.dataclass(frozen=True)
class Settings:
    """num_steps T; num_chains C; schedule; leapfrog steps. The pilot moves `num_pilot` times at
    each of `num_knots` places of the schedule, towards the acceptance `target`, starting from
    `step_size`. `ConfigError` for what no run could use."""

    num_steps: int = 1000
    num_chains: int = 16
    schedule: str = "linear"
    num_leapfrog: int = 10
    target: float = 0.65
    step_size: float = 0.1
    num_knots: int = 10
    num_pilot: int = 20

    def __post_init__(self):
        lookup(SCHEDULES, self.schedule, "schedule")
        counts = "num_steps", "num_chains", "num_leapfrog", "num_knots", "num_pilot"
        require_at_least(1, self, *counts)
        require(
            0 < self.target < 1,
            f"target, an acceptance, must lie between 0 and 1; got {self.target}",
        )
        require_positive(self, "step_size")


def tune(key: Key, path: Path, x: Array, settings: Settings) -> Array:
    """Step sizes [num_knots, B] at evenly spaced places of the schedule, by a pilot run that is
    thrown away.

    At each knot log step_size follows the acceptance of the chains of each x (Robbins and Monro
    1951); the mean of the second half of its values is kept, and the next knot goes on from there.
    """
    key_start, key_run = jax.random.split(key)
    evaluate = _evaluate(path, x)
    start = evaluate(path.sample(key_start, x, settings.num_chains))
    betas = jnp.asarray(_knots(settings), start.z.dtype)
    half = settings.num_pilot // 2

    def knot(carry, inputs):
        beta, key_knot = inputs

        def move(inner, i):
            at, log_size, total = inner
            at, probability = hmc.transition(
                jax.random.fold_in(key_knot, i),
                at,
                evaluate,
                beta,
                jnp.exp(log_size),
                settings.num_leapfrog,
            )
            gain = (2 / jnp.sqrt(i + 1.0)).astype(log_size.dtype)
            excess = jnp.mean(probability, axis=0) - settings.target
            log_size = log_size + gain * excess.astype(log_size.dtype)
            return (at, log_size, total + jnp.where(i >= half, log_size, 0)), None

        at, log_size = carry
        (at, _, total), _ = jax.lax.scan(
            move, (at, log_size, jnp.zeros_like(log_size)), jnp.arange(settings.num_pilot)
        )
        log_size = total / (settings.num_pilot - half)
        return (at, log_size), log_size

    first = jnp.full(x.shape[0], math.log(settings.step_size), start.z.dtype)
    _, log_sizes = jax.lax.scan(
        knot, (start, first), (betas, jax.random.split(key_run, settings.num_knots))
    )
    return jnp.exp(log_sizes)


def forward(key: Key, path: Path, x: Array, step_sizes: Array, settings: Settings) -> Annealed:
    """Chains from the start to the posterior: E[exp(log_weights)] = p(x) for any step sizes
    [num_knots, B] that were fixed before. T = 1 makes no transition and is importance sampling from
    the start."""
    key_start, key_run = jax.random.split(key)
    z = path.sample(key_start, x, settings.num_chains)
    return _anneal(key_run, path, x, z, step_sizes, settings, backwards=False)


def reverse(
    key: Key, path: Path, x: Array, z: Array, step_sizes: Array, settings: Settings
) -> Annealed:
    """The same chain backwards from exact posterior samples z [C, B, *E] of x: E[exp(-log_weights)]
    = 1 / p(x)."""
    return _anneal(key, path, x, z, step_sizes, settings, backwards=True)


def _anneal(
    key: Key, path: Path, x: Array, z: Array, step_sizes: Array, settings: Settings, backwards: bool
) -> Annealed:
    """sum_t (beta_t - beta_{t-1}) log_ratio(z_{t-1}), with z_t made by the transition at beta_t, t
    = 1 .. T - 1."""
    evaluate = _evaluate(path, x)
    start = evaluate(z)
    dtype = start.ratio.dtype
    beta = SCHEDULES[settings.schedule](settings.num_steps)
    gaps = np.diff(beta)
    inner = np.arange(1, settings.num_steps)
    # Forwards z_{t-1} is weighted and then moved at beta_t; backwards z_t is weighted first, then
    # moved at beta_t.
    weights = gaps[:-1]
    if backwards:
        inner, weights = inner[::-1], gaps[:0:-1]
    last = gaps[0] if backwards else gaps[-1]

    def step(carry, inputs):
        at, total, lost, accepted = carry
        t, beta_t, gap = inputs
        total, lost = compensated_add(total, lost, gap * at.ratio)
        size = _interpolate(step_sizes, t / settings.num_steps)
        at, probability = hmc.transition(
            jax.random.fold_in(key, t), at, evaluate, beta_t, size, settings.num_leapfrog
        )
        accepted = accepted + jnp.mean(probability, axis=0).astype(dtype)
        return (at, total, lost, accepted), None

    zero = jnp.zeros_like(start.ratio)
    inputs = jnp.asarray(inner), jnp.asarray(beta[inner], dtype), jnp.asarray(weights, dtype)
    (end, total, lost, accepted), _ = jax.lax.scan(step, (start, zero, zero, zero[0]), inputs)
    total, _ = compensated_add(total, lost, last * end.ratio)
    moves = settings.num_steps - 1
    return Annealed(total, accepted / moves if moves > 0 else None)


def _evaluate(path: Path, x: Array) -> Callable[[Array], hmc.Point]:
    """Both densities at z, all of it in at least float32."""

    def evaluate(z):
        return hmc.point(
            lambda z: at_least_float32(path.log_prob(x, z)),
            lambda z: at_least_float32(path.log_ratio(x, z)),
            at_least_float32(z),
        )

    return evaluate


def _knots(settings: Settings) -> np.ndarray:
    """beta at `num_knots` evenly spaced places (k + 1/2) / K of the schedule's index."""
    num = 2 * settings.num_knots
    return SCHEDULES[settings.schedule](num)[1::2]


def _interpolate(step_sizes: Array, place: Array) -> Array:
    """[B]: between knots at (k + 1/2) / K, in the logarithm, constant beyond the ends."""
    num = step_sizes.shape[0]
    position = jnp.clip(place * num - 0.5, 0, num - 1)
    low = jnp.floor(position).astype(jnp.int32)
    share = (position - low).astype(step_sizes.dtype)
    logs = jnp.log(step_sizes)
    return jnp.exp((1 - share) * logs[low] + share * logs[jnp.minimum(low + 1, num - 1)])
