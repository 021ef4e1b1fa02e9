"""Flows by flowjax."""

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families._shared import flowjax_couplings
from benchmarks.families.flows import BINS, HIDDEN
from benchmarks.families.flows.ours import moved_params


def run(kind: str, direction: str, dim: int, scanned: bool):
    """(function of arrays and x, arrays): one direction with its log-determinant."""
    bins = BINS if kind == "spline_flow" else 0
    params = moved_params(kind, dim)
    made = flowjax_couplings.stack(params, dim, HIDDEN, bins, scanned=scanned)
    arrays, rest = eqx.partition(made, eqx.is_array)

    def applied(arrays, x):
        flow = eqx.combine(arrays, rest)
        one = {"forward": flow.transform_and_log_det, "inverse": flow.inverse_and_log_det}
        return jax.vmap(one[direction])(x)

    return applied, arrays


def apply(kind: str, direction: str, dim: int, batch: int, scanned: bool = False) -> Case:
    """One direction, with the weights of ours."""
    function, arrays = run(kind, direction, dim, scanned)
    return shared.compiled(function, arrays, jnp.asarray(shared.normal(batch, dim)), count=batch)
