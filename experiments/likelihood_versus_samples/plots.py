"""Plots of what junk costs over the dimensions, and of kernels over their width."""

import math
from typing import Any

import numpy as np

from dgm_jax import plotting
from dgm_jax.evaluation import expected_valid
from dgm_jax.experiments.likelihood_versus_samples.arms import EXTREMES, LADDERS, parse
from dgm_jax.run import ArmResult, Inputs

FLOOR = -20.0  # log-likelihoods are cut here in plots

Plots = dict[str, tuple[Any, str]]


def plots(results: list[ArmResult], inputs: Inputs) -> Plots:
    """Plot what junk costs over the dimensions; likelihood and samples over the kernels' width.

    Args:
        results: the finished arms.
        inputs: arrays, identity and context of the run.

    Returns:
        {name: (plot, caption)}.
    """
    plots: Plots = {}
    costs = {}
    for result in results:
        name, dim = parse(result.config.arm[0])
        if name == "junk":
            rung = LADDERS[name].index(EXTREMES[name])
            costs[dim] = result.arrays["ladder_cost_per_dim"][:, rung]
        else:
            plots |= _over_width(result, LADDERS[name])
    if costs:
        plots["cost_of_junk"] = _cost_of_junk(costs)
    return plots


def _over_width(result: ArmResult, ladder: tuple[float, ...]) -> Plots:
    """Likelihood and valid samples over the width of kernels."""
    arrays = result.arrays
    options = {"xlabel": "width of the kernels", "title": result.name, "log_x": True}
    likelihoods = {
        kind: np.maximum(arrays[f"ladder_{kind}_log_prob"].T, FLOOR) for kind in ("test", "train")
    }
    likelihood = plotting.lines(
        ladder,
        likelihoods,
        ylabel="mean log q, nats",
        levels={"true density, test": float(arrays["true_log_prob"].mean())},
        **options,
    )
    valid = plotting.lines(
        ladder,
        {"kernels": arrays["ladder_valid"].T},
        ylabel="valid samples",
        levels={"perfect sampler": expected_valid()},
        **options,
    )
    return {
        f"likelihood_{result.name}": (
            likelihood,
            f"Log-likelihood over the width, cut at {FLOOR:g} nats.",
        ),
        f"valid_{result.name}": (
            valid,
            "Share of samples within three sigma of a mode over the width.",
        ),
    }


def _cost_of_junk(costs: dict[int, np.ndarray]) -> tuple[Any, str]:
    """The cost for each dimension, [S] by the number of dimensions."""
    dims = np.array(sorted(costs))
    curves = {
        "measured": np.stack([costs[d] for d in dims]),
        "log 100 / d": math.log(100) / dims,
    }
    labels = {"xlabel": "dimensions d", "ylabel": "nats for each dimension"}
    figure = plotting.lines(dims, curves, log_x=True, log_y=True, **labels)
    return figure, "What 99 % junk costs in log-likelihood for each dimension."
