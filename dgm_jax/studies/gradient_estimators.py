"""Moments of gradient estimators, gathered by the engine: a step of the run is a batch of
independent estimates."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Algorithm, Array, Key, Replica, StepInfo, Task, TrainState, lookup
from dgm_jax.sampling.estimators import ESTIMATORS, HAS_TEMPERATURE


class Moments(NamedTuple):
    """Count, mean and sum of squared deviations of what was seen so far."""

    count: Array  # float32[]
    mean: Array  # [...]
    squares: Array  # [...]

    def merge(self, values: Array) -> "Moments":
        """With the values[n, ...] of a new batch (Chan, Golub and LeVeque 1979, eq. 2.1): no large
        sums cancel."""
        own, new = self.count, values.shape[0]
        mean = jnp.mean(values, axis=0)
        shift = mean - self.mean
        total = own + new
        squares = (
            self.squares + jnp.sum((values - mean) ** 2, axis=0) + shift**2 * own * new / total
        )
        return Moments(total, self.mean + shift * new / total, squares)


def toy_gradient(key: Key, name: str, target, probability, temperature=None) -> Array:
    """One estimate of d/dl E[(b - target)^2] for b ~ Bernoulli(sigmoid(l)) with sigmoid(l) =
    probability: a scalar.

    The problem of Tucker et al. 2017, section 5.1 (target .45), and Grathwohl et al. 2018, section
    4.1 (.499). Exact
    value: (1 - 2 target) probability (1 - probability).
    """
    logits = jnp.stack(
        [jnp.zeros_like(probability), jnp.log(probability) - jnp.log1p(-probability)]
    )
    options = {} if temperature is None else {"temperature": temperature}
    estimator = lookup(ESTIMATORS, name, "gradient estimator")
    return estimator(key, lambda x: (x[..., 1] - target) ** 2, logits, **options).gradient[1]


def evaluations(name: str) -> int:
    """Points at which one estimate asks for the objective (or for its derivative there), counted
    while tracing."""
    seen = []

    def objective(x):
        seen.append(int(np.prod(x.shape[:-1])))
        return x[..., 1]

    jax.eval_shape(lambda key: ESTIMATORS[name](key, objective, jnp.zeros(2)), jax.random.key(0))
    return sum(seen)


def settings(
    name: str, probabilities: tuple[float, ...], temperatures: tuple[float, ...]
) -> list[tuple]:
    """(probability, temperature) of every cell; one cell a probability where the estimator has no
    temperature."""
    return [
        (p, t)
        for p in probabilities
        for t in (temperatures if name in HAS_TEMPERATURE else (None,))
    ]


def moments_task(name: str, target, cells: list[tuple], batch_size: int) -> Task:
    """`batch_size` estimates a step in each cell; the state is their moments, and there is nothing
    to train.

    Every cell sees the same keys, so differences between cells are paired.
    """
    probability = jnp.array([p for p, _ in cells], jnp.float32)
    heated = cells[0][1] is not None
    temperature = jnp.array([t for _, t in cells], jnp.float32) if heated else None

    def estimates(key):
        one = functools.partial(toy_gradient, key, name, target)
        return jax.vmap(one)(probability, temperature) if heated else jax.vmap(one)(probability)

    def init(key):
        zeros = jnp.zeros(len(cells))
        return {}, {"moments": Moments(jnp.float32(0), zeros, zeros)}

    def step(train_state, draw):
        gradients = jax.vmap(estimates)(draw(train_state.step))
        moments = train_state.state["moments"].merge(gradients)
        moved = train_state._replace(step=train_state.step + 1, state={"moments": moments})
        return moved, StepInfo(losses={}, metrics={})

    def algorithm(replica: Replica) -> Algorithm:
        del replica
        return Algorithm(
            lambda key, params, state: TrainState(jnp.int32(0), key, key, params, state, {}), step
        )

    def evaluate(train_state, arrays, key):
        count, mean, squares = train_state.state["moments"]
        return {"count": count, "mean": mean, "variance": squares / jnp.maximum(count - 1, 1)}

    def draw(arrays, data_key, index):
        return jax.random.split(jax.random.fold_in(data_key, index), batch_size)

    return Task(init, draw, algorithm, evaluate, batch_coupling="moments of the whole batch")
