"""What junk costs over the dimensions; likelihood and samples over the width of kernels."""

import math

import numpy as np

from dgm_jax import plotting
from dgm_jax.evaluation import expected_valid
from dgm_jax.experiments.likelihood_versus_samples.arms import EXTREMES, LADDERS, parse
from dgm_jax.run import Inputs

FLOOR = -20.0  # figures of log-likelihoods are cut here


def figures(results, inputs: Inputs) -> dict:
    """What junk costs over the dimensions; likelihood and samples over the width of kernels."""
    found, costs = {}, {}
    for result in results:
        name, dim = parse(result.config.arm[0])
        ladder, arrays = LADDERS[name], result.arrays
        if name == "junk":
            costs[dim] = arrays["ladder_cost_per_dim"][:, ladder.index(EXTREMES[name])]
            continue
        likelihoods = {
            kind: np.maximum(arrays[f"ladder_{kind}_log_prob"].T, FLOOR)
            for kind in ("test", "train")
        }
        shown = {"xlabel": "width of the kernels", "title": result.name, "log_x": True}
        levels = {"true density, test": float(arrays["true_log_prob"].mean())}
        figure = plotting.lines(
            ladder, likelihoods, ylabel="mean log q, nats", levels=levels, **shown
        )
        found[f"likelihood_{result.name}"] = (
            figure,
            f"Log-likelihood over the width, cut at {FLOOR:g} nats.",
        )
        levels = {"perfect sampler": expected_valid()}
        curves = {"kernels": arrays["ladder_valid"].T}
        figure = plotting.lines(ladder, curves, ylabel="valid samples", levels=levels, **shown)
        found[f"valid_{result.name}"] = (
            figure,
            "Share of samples within three sigma of a mode over the width.",
        )
    if costs:
        dims = np.array(sorted(costs))
        curves = {
            "measured": np.stack([costs[d] for d in dims]),
            "log 100 / d": math.log(100) / dims,
        }
        labels = {"xlabel": "dimensions d", "ylabel": "nats for each dimension"}
        figure = plotting.lines(dims, curves, log_x=True, log_y=True, **labels)
        found["cost_of_junk"] = (
            figure,
            "What 99 % junk costs in log-likelihood for each dimension.",
        )
    return found
