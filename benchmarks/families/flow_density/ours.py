"""A flow on the library's engine."""

import functools

import jax.numpy as jnp
import optax

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families.flow_density import COUPLINGS, NUM_ROWS
from dgm_jax import flows, training
from dgm_jax.core import Aux, Bijection, Player, Task
from dgm_jax.densities import gaussian


def flow_of(dim: int, hidden: int, bins: int) -> Bijection:
    """From noise to data."""
    options = {"kind": "spline", "num_bins": bins} if bins else {"kind": "affine"}
    return flows.coupling_flow(dim, COUPLINGS, (hidden, hidden), **options)


def loss(flow: Bijection, params, x):
    """Negative log-likelihood, a mean over rows."""
    z, log_det = flow.inverse_and_log_det(params, x)
    return -jnp.mean(jnp.sum(gaussian.log_prob(z, 0.0, 1.0), axis=-1) + log_det)


def task(dim: int, hidden: int, batch: int, bins: int = 0) -> Task:
    """The flow on random batches, without evaluation."""
    flow = flow_of(dim, hidden, bins)

    def player_loss(params, state, drawn, key):
        del key
        return loss(flow, params["flow"], drawn["x"]), Aux(state, {})

    players = {"flow": Player(("flow",), player_loss)}
    algorithm = functools.partial(training.alternating, players, {"flow": optax.adam(1e-3)})
    draw = shared.random_batches(NUM_ROWS, batch, jnp.asarray)
    return Task(lambda key: ({"flow": flow.init(key)}, {}), draw, algorithm, shared.no_evaluation)


def engine(shape: dict[str, int], seeds: int, steps: int) -> Case:
    """Steps on the library's engine."""
    made, rows = task(**shape), {"image": shared.normal(NUM_ROWS, shape["dim"])}
    return shared.engine(lambda hyper: made, rows, seeds, steps)
