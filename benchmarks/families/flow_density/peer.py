"""The flow by flowjax, trained on its loss."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from flowjax.distributions import StandardNormal, Transformed
from flowjax.train.losses import MaximumLikelihoodLoss

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families._shared import flowjax_couplings
from benchmarks.families.flow_density import NUM_ROWS
from benchmarks.families.flow_density.ours import flow_of


def parts(params, shape: dict[str, int], scanned: bool):
    """(what is trained, the rest) of the distribution with the weights of ours."""
    dim, hidden = shape["dim"], (shape["hidden"],) * 2
    made = flowjax_couplings.stack(params, dim, hidden, shape.get("bins", 0), scanned=scanned)
    return eqx.partition(Transformed(StandardNormal((dim,)), made), eqx.is_inexact_array)


def train(shape: dict[str, int], steps: int, seeds: int, scanned: bool = False) -> Case:
    """Steps of all seeds in one compiled call, on random rows."""
    flow = flow_of(shape["dim"], shape["hidden"], shape.get("bins", 0))
    keys = jax.random.split(jax.random.key(0), seeds)
    made = [parts(flow.init(key), shape, scanned) for key in keys]
    trained = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(own for own, _ in made))
    rest, loss, adam = made[0][1], MaximumLikelihoodLoss(), optax.adam(1e-3)

    def step(rows, carry):
        trained, moments, key = carry
        key, own = jax.random.split(key)
        x = rows[jax.random.randint(own, (shape["batch"],), 0, NUM_ROWS)]
        value, slopes = eqx.filter_value_and_grad(loss)(trained, rest, x)
        updates, moments = adam.update(slopes, moments, trained)
        return (eqx.apply_updates(trained, updates), moments, key), value

    rows = jnp.asarray(shared.normal(NUM_ROWS, shape["dim"]))
    start = trained, jax.vmap(adam.init)(trained), keys
    return shared.repeated(step, start, rows, seeds=seeds, steps=steps)
