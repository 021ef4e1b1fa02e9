"""A normalizing flow on vectors, trained by maximum likelihood over several seeds at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax import flows, priors, training
from dgm_jax.core import Aux, Gather, Player, Task
from dgm_jax.data import shuffled_positions

FLOW = "flow"


def flow_task(size: int, num_examples: int, num_steps: int, batch_size: int = 256) -> Task:
    """-E log p(x), p a chain of spline couplings; evaluated on held-out rows, in nats."""
    density = priors.flow(flows.coupling_flow(size, 4, (32,), kind="spline"), size)

    def init(key):
        return {FLOW: density.init(key)}, {FLOW: {}}

    def loss(params, state, batch, key):
        return -jnp.mean(density.log_prob(params[FLOW], batch)), Aux(state, {})

    def evaluate(train_state, data, key):
        params = train_state.params[FLOW]
        return {
            "test_nats": -jnp.mean(density.log_prob(params, data["test"])),
            "samples": density.sample(params, key, 1_000),
        }

    rate = optax.cosine_decay_schedule(2e-3, num_steps)
    players, optimizers = {FLOW: Player((FLOW,), loss)}, {FLOW: optax.adam(rate)}
    return Task(
        init,
        Gather(
            lambda key, index: shuffled_positions(key, index, batch_size, num_examples),
            lambda data, rows, key, index: data["train"][rows],
        ),
        functools.partial(training.alternating, players, optimizers),
        evaluate,
    )


def fit(train: np.ndarray, test: np.ndarray, num_steps: int, num_seeds: int):
    """The result of `training.train` over the seeds."""
    task = flow_task(train.shape[1], len(train), num_steps)
    keys = jax.random.split(jax.random.key(0), num_seeds)
    return training.train(task, keys, {"train": train, "test": test}, num_steps)
