"""Moments of one estimator in every cell, and what they say about it."""

import functools

import jax
import numpy as np

from dgm_jax import plotting, training
from dgm_jax.core import RunningMoments, Task, lookup, require, require_at_least
from dgm_jax.experiments.gradient_estimators import Config
from dgm_jax.experiments.gradient_estimators.estimates import cells_of, estimate, evaluations
from dgm_jax.run import Inputs
from dgm_jax.sampling.estimators import ESTIMATORS, HAS_TEMPERATURE

QUADRATURE = "closed forms and quadrature over 4e6 points, t = .499"

# cell -> (mean, sd), t = .499; half a unit of the last digit of the mean, 5 % of the sd
MOMENTS = {
    "score_function": {"p0.5": (0.0005, 0.125), "p0.2": (0.00032, 0.100)},
    "straight_through": {"p0.5": (0.0005, 0.250), "p0.2": (-0.0957, 0.128)},
    "reinmax": {"p0.5_tau1": (0.0005, 0.250), "p0.2_tau1": (0.00032, 0.200)},
    "gumbel_softmax": {
        "p0.5_tau1": (0.000333, 0.069),
        "p0.5_tau0.5": (0.000429, 0.118),
        "p0.5_tau0.1": (0.000496, 0.288),
    },
    "straight_through_gumbel_softmax": {
        "p0.5_tau1": (0.000333, 0.183),
        "p0.5_tau0.5": (0.000429, 0.279),
        "p0.5_tau0.1": (0.000496, 0.645),
    },
}


def validate(config: Config) -> None:
    """Known estimators, probabilities inside (0, 1), positive temperatures."""
    for name in config.estimator:
        lookup(ESTIMATORS, name, "gradient estimator")
    for name, values in (("probability", config.probability), ("temperature", config.temperature)):
        require(
            len(values) > 0 and len(set(values)) == len(values),
            f"{name} needs different values, got {values}",
        )
    require(
        all(0 < p < 1 for p in config.probability),
        f"probability must be in (0, 1), got {config.probability}",
    )
    require(
        all(0 < t < np.inf for t in config.temperature),
        f"temperature must be positive, got {config.temperature}",
    )
    require_at_least(2, config, "batch_size")
    require(config.budget >= 4, f"budget must be at least 4 evaluations, got {config.budget}")


def cells(config: Config) -> list[tuple]:
    """(probability, temperature or None) of each cell."""
    return cells_of(config.estimator[0], config.probability, config.temperature)


def label(probability: float, temperature: float | None) -> str:
    """p0.2_tau0.5, or p0.2."""
    return f"p{probability:g}" + ("" if temperature is None else f"_tau{temperature:g}")


def load(settings, needed) -> Inputs:
    """The problem is its name."""
    return Inputs({}, {"name": f"E[(b - {settings.target:g})^2], b Bernoulli"})


def build(config: Config, hyper, inputs: Inputs) -> Task:
    """One seed: moments of one estimator in all cells.

    The state is the moments, and there is nothing to train. Every cell sees the same keys, so
    differences between cells are paired.
    """
    where = cells(config)
    estimates = functools.partial(estimate, config.estimator[0], config.target, where)

    def init(key):
        return {}, {"moments": RunningMoments.empty((len(where),))}

    def draw(arrays, data_key, index):
        return jax.random.split(jax.random.fold_in(data_key, index), config.batch_size)

    def evaluate(train_state, arrays, key):
        moments = train_state.state["moments"]
        return {"count": moments.count, "mean": moments.mean, "variance": moments.variance()}

    return Task(
        init,
        draw,
        training.gathering_moments(jax.vmap(estimates)),
        evaluate,
        batch_coupling="moments of the whole batch",
    )


def finalise(arrays, config: Config, inputs: Inputs) -> dict[str, np.ndarray]:
    """Per seed and cell: bias, sd, rmse, signal-to-noise; and the error that a budget buys at the
    best temperature."""
    where = cells(config)
    count, mean, variance = (
        np.asarray(arrays[name], np.float64) for name in ("count", "mean", "variance")
    )
    probability = np.array([p for p, _ in where])
    exact = (1 - 2 * config.target) * probability * (1 - probability)
    bias = mean - exact
    # The square of an average over n estimates is too large by variance / n.
    squared_bias = np.maximum(bias**2 - variance / count[:, None], 0.0)
    cost = evaluations(config.estimator[0])
    at_budget = squared_bias + variance * cost / config.budget
    best = np.stack([at_budget[:, probability == p].min(axis=1) for p in config.probability])
    sd = np.sqrt(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        rmse, snr = np.sqrt(squared_bias + variance), np.abs(mean) / sd
    found = {"mean": mean, "bias": bias, "sd": sd, "rmse": rmse, "snr": snr}
    rows = {
        f"{name}_{label(*cell)}": value[:, i]
        for name, value in found.items()
        for i, cell in enumerate(where)
    }
    total = {
        "rmse_at_budget": np.sqrt(best.mean(axis=0)),
        "worst_bias": bias[np.arange(len(bias)), np.abs(bias).argmax(axis=1)],
        "best_snr": np.where(np.isfinite(found["snr"]), found["snr"], 0.0).max(axis=1),
        "evaluations": np.full(len(count), float(cost)),
    }
    return total | rows


def references(config: Config) -> list[dict]:
    """Closed forms of the mean and the sd, at t = .499."""
    name, rows = config.estimator[0], []
    known = {label(*cell) for cell in cells(config)} if config.target == 0.499 else set()
    for cell, (mean, sd) in MOMENTS.get(name, {}).items():
        if cell in known:
            rows.append(
                {"metric": f"mean_{cell}", "published": mean, "spread": 5e-5, "source": QUADRATURE}
            )
            rows.append(
                {"metric": f"sd_{cell}", "published": sd, "spread": 0.05 * sd, "source": QUADRATURE}
            )
    return rows


def figures(results, inputs: Inputs) -> dict:
    """Bias against standard deviation over the temperatures, for each probability."""
    config, found = results[0].config, {}
    heat = np.sort(np.array(config.temperature))
    for p in config.probability:
        for quantity, text in (
            ("rmse", "root mean squared error of one estimate"),
            ("bias", "|bias|"),
        ):
            curves = {}
            for result in results:
                name, metrics = (
                    result.config.estimator[0],
                    finalise(result.arrays, result.config, inputs),
                )
                if name != "exact":
                    own = [
                        metrics[f"{quantity}_{label(p, t if name in HAS_TEMPERATURE else None)}"]
                        for t in heat
                    ]
                    curves[name] = np.abs(np.mean(own, axis=1))
            if curves and len(heat) > 1:
                figure = plotting.lines(
                    heat,
                    curves,
                    title=f"p = {p:g}, t = {config.target:g}",
                    xlabel="temperature",
                    ylabel=text,
                    log_x=True,
                    log_y=True,
                )
                caption = f"{text} over the temperature at p = {p:g}; flat where there is none."
                found[f"{quantity}_p{p:g}"] = (figure, caption)
    return found
