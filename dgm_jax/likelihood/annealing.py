"""Annealed importance sampling: log p(x) along a path from a simple start to the posterior.

f_beta(z) = start(z) exp(beta log_ratio(x, z)),  log_ratio = log p(x, z) - log start(z),
0 = beta_0 < ... < beta_T = 1,

z_0 ~ start, z_t ~ HMC that leaves f_{beta_t} invariant, log w = sum_t (beta_t - beta_{t-1})
log_ratio(x, z_{t-1}): then E[w] = p(x) (Neal 2001; Wu et al. 2017, "On the quantitative analysis of
decoder-based generative models"). A mean over chains makes log p(x) a lower bound in expectation.
Run backwards from an exact posterior sample, E[1 / w] = 1 / p(x), and the estimate is an upper
bound (Grosse et al. 2015; 2016, "Measuring the reliability of MCMC inference with bidirectional
Monte Carlo").

Step sizes are tuned in a separate pilot run and then held fixed: adaptation during the run would
invalidate both bounds. The increments are sums of log_ratio alone, for a prior start log p(x | z),
with compensated (Kahan) summation. Shapes: C chains, B rows of x, events *E.
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
from dgm_jax.likelihood._paths import Path, from_prior, from_proposal
from dgm_jax.likelihood._schedules import SCHEDULES, linear, sigmoid

__all__ = [
    "SCHEDULES",
    "Annealed",
    "Path",
    "Settings",
    "forward",
    "from_prior",
    "from_proposal",
    "linear",
    "reverse",
    "sigmoid",
    "tune",
]


class Annealed(NamedTuple):
    """The result of annealed chains.

    Attributes:
        log_weights: [C, B], in nats.
        acceptance: [B], the mean probability over chains and transitions; None if there is no
            transition.
    """

    log_weights: Array
    acceptance: Array | None


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of annealed importance sampling and of the pilot run that tunes its step sizes.

    Attributes:
        num_steps: T, the number of intermediate distributions.
        num_chains: C.
        schedule: of beta, a name of `SCHEDULES`.
        num_leapfrog: leapfrog steps of a transition.
        target: acceptance that the pilot run aims at, between 0 and 1.
        step_size: where the pilot run starts.
        num_knots: positions in the schedule at which step sizes are tuned.
        num_pilot: transitions of the pilot run at each knot.

    Raises:
        ConfigError: a value that no run could use.
    """

    num_steps: int = 1000
    num_chains: int = 16
    schedule: str = "linear"
    num_leapfrog: int = 10
    target: float = 0.65
    step_size: float = 0.1
    num_knots: int = 10
    num_pilot: int = 20

    def __post_init__(self) -> None:
        lookup(SCHEDULES, self.schedule, "schedule")
        counts = ("num_steps", "num_chains", "num_leapfrog", "num_knots", "num_pilot")
        require_at_least(1, self, *counts)
        require(
            0 < self.target < 1,
            f"target, an acceptance, must lie between 0 and 1; got {self.target}",
        )
        require_positive(self, "step_size")


def tune(key: Key, path: Path, x: Array, settings: Settings) -> Array:
    """Tune step sizes at evenly spaced positions of the schedule, by a pilot run that is discarded.

    At each knot log step_size follows the acceptance of the chains of each x (Robbins and Monro
    1951); the mean of the second half of its values is kept, and the next knot starts from there.

    Args:
        key: a typed key.
        path: from the start to p(x, z).
        x: [B, ...].
        settings: of annealing.

    Returns:
        Step sizes [num_knots, B], in the unit of z.

    Example:
        >>> density = lambda x, z: -jnp.sum(z**2, axis=-1) / 2
        >>> path = Path(lambda key, x, n: jnp.ones((n, len(x), 1)), density, density)
        >>> settings = Settings(num_chains=2, num_leapfrog=1, num_knots=2, num_pilot=2)
        >>> annealing.tune(jax.random.key(0), path, jnp.zeros(3), settings).shape
        (2, 3)
    """
    key_start, key_run = jax.random.split(key)
    evaluate = _evaluate(path, x)
    start = evaluate(path.sample(key_start, x, settings.num_chains))
    betas = jnp.asarray(_knots(settings), start.z.dtype)
    half = settings.num_pilot // 2

    def knot(
        carry: tuple[hmc.Point, Array], inputs: tuple[Array, Key]
    ) -> tuple[tuple[hmc.Point, Array], Array]:
        beta, key_knot = inputs

        def move(
            inner: tuple[hmc.Point, Array, Array], i: Array
        ) -> tuple[tuple[hmc.Point, Array, Array], None]:
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
    """Chains from the start to the posterior: E[exp(log_weights)] = p(x).

    That holds for any step sizes that were fixed before. T = 1 makes no transition and is
    importance sampling from the start.

    Args:
        key: a typed key.
        path: from the start to p(x, z).
        x: [B, ...].
        step_sizes: [num_knots, B], of `tune`.
        settings: of annealing.

    Returns:
        Log-weights [C, B] and acceptance [B].

    Example:
        >>> path = from_proposal(
        ...     lambda key, x, n: jnp.zeros((n, len(x), 1)),
        ...     lambda x, z: jnp.sum(0 * z, axis=-1),
        ...     lambda x, z: jnp.sum(0 * z, axis=-1) - 3,
        ... )
        >>> settings = Settings(num_steps=1, num_chains=2)
        >>> key, x, sizes = jax.random.key(0), jnp.zeros(1), jnp.ones((10, 1))
        >>> annealing.forward(key, path, x, sizes, settings).log_weights.tolist()
        [[-3.0], [-3.0]]
    """
    key_start, key_run = jax.random.split(key)
    z = path.sample(key_start, x, settings.num_chains)
    return _anneal(key_run, path, x, z, step_sizes, settings, backwards=False)


def reverse(
    key: Key, path: Path, x: Array, z: Array, step_sizes: Array, settings: Settings
) -> Annealed:
    """The same chain backwards from exact posterior samples: E[exp(-log_weights)] = 1 / p(x).

    Args:
        key: a typed key.
        path: from the start to p(x, z).
        x: [B, ...].
        z: exact draws of p(z | x), [C, B, *E].
        step_sizes: [num_knots, B], of `tune`.
        settings: of annealing.

    Returns:
        Log-weights [C, B] and acceptance [B].

    Example:
        >>> path = from_proposal(
        ...     lambda key, x, n: jnp.zeros((n, len(x), 1)),
        ...     lambda x, z: jnp.sum(0 * z, axis=-1),
        ...     lambda x, z: jnp.sum(0 * z, axis=-1) - 3,
        ... )
        >>> settings = Settings(num_steps=1, num_chains=1)
        >>> key, x, z = jax.random.key(0), jnp.zeros(1), jnp.zeros((1, 1, 1))
        >>> annealing.reverse(key, path, x, z, jnp.ones((10, 1)), settings).log_weights.tolist()
        [[-3.0]]
    """
    return _anneal(key, path, x, z, step_sizes, settings, backwards=True)


def _anneal(
    key: Key, path: Path, x: Array, z: Array, step_sizes: Array, settings: Settings, backwards: bool
) -> Annealed:
    """sum_t (beta_t - beta_{t-1}) log_ratio(z_{t-1}), z_t from the transition at beta_t, t < T."""
    evaluate = _evaluate(path, x)
    start = evaluate(z)
    dtype = start.ratio.dtype
    beta = SCHEDULES[settings.schedule](settings.num_steps)
    gaps = np.diff(beta)
    inner = np.arange(1, settings.num_steps)
    # Forwards z_{t-1} is weighted and then moved at beta_t; backwards z_t is weighted first, then
    # moved at beta_t.
    weights = gaps[:-1]
    last = gaps[-1]
    if backwards:
        inner = inner[::-1]
        weights = gaps[:0:-1]
        last = gaps[0]

    def step(
        carry: tuple[hmc.Point, Array, Array, Array], inputs: tuple[Array, Array, Array]
    ) -> tuple[tuple[hmc.Point, Array, Array, Array], None]:
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
    inputs = (jnp.asarray(inner), jnp.asarray(beta[inner], dtype), jnp.asarray(weights, dtype))
    (end, total, lost, accepted), _ = jax.lax.scan(step, (start, zero, zero, zero[0]), inputs)
    total, _ = compensated_add(total, lost, last * end.ratio)
    moves = settings.num_steps - 1
    return Annealed(total, accepted / moves if moves > 0 else None)


def _evaluate(path: Path, x: Array) -> Callable[[Array], hmc.Point]:
    """Both densities at z, all of it in at least float32."""

    def evaluate(z: Array) -> hmc.Point:
        return hmc.point(
            lambda z: at_least_float32(path.log_prob(x, z)),
            lambda z: at_least_float32(path.log_ratio(x, z)),
            at_least_float32(z),
        )

    return evaluate


def _knots(settings: Settings) -> np.ndarray:
    """beta at `num_knots` evenly spaced positions (k + 1/2) / K of the schedule's index."""
    num = 2 * settings.num_knots
    return SCHEDULES[settings.schedule](num)[1::2]


def _interpolate(step_sizes: Array, position: Array) -> Array:
    """[B]: between knots at (k + 1/2) / K, linear in the logarithm, constant beyond the ends."""
    num = step_sizes.shape[0]
    index = jnp.clip(position * num - 0.5, 0, num - 1)
    low = jnp.floor(index).astype(jnp.int32)
    share = (index - low).astype(step_sizes.dtype)
    logs = jnp.log(step_sizes)
    return jnp.exp((1 - share) * logs[low] + share * logs[jnp.minimum(low + 1, num - 1)])
