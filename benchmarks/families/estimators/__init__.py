"""Gradient estimators of E[f(x)] over categorical variables, f a dense network: one estimate with
its gradient, at the smallest number of draws that the estimator needs."""

from benchmarks.contract import Benchmark, Side

NAMES = (
    "score_function",
    "score_function_leave_one_out",
    "nvil",
    "vimco",
    "muprop",
    "rebar",
    "relax",
    "straight_through",
    "gumbel_softmax",
    "straight_through_gumbel_softmax",
    "gumbel_rao",
    "reinmax",
)  # `exact` enumerates, and `disarm` is for two classes
SIZES = {"small": (8, 8, 64), "large": (49, 128, 256)}


def _benchmark(size: str, name: str) -> Benchmark:
    variables, classes, width = SIZES[size]
    options = {"name": name, "variables": variables, "classes": classes, "width": width}
    return Benchmark(
        name=f"estimator_{name}_{size}",
        family="estimators",
        size=f"{name}, {variables} variables of {classes}",
        unit="estimates",
        sides={"ours": Side("estimators.ours:estimate", options)},
        unchecked="no peer is measured",
    )


BENCHMARKS = [_benchmark(size, name) for size in SIZES for name in NAMES]
