"""Moments of one estimator in every cell, and the measures that follow from them."""

import functools
import pathlib
from typing import Any

import jax
import numpy as np

from dgm_jax import plotting, training
from dgm_jax.core import RunningMoments, Task, lookup, require, require_at_least
from dgm_jax.experiments.gradient_estimators import Config
from dgm_jax.experiments.gradient_estimators.estimates import cells_of, estimate, evaluations
from dgm_jax.run import ArmResult, Inputs
from dgm_jax.run.settings import SettingsView
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
    """Check that estimators are known, probabilities inside (0, 1), temperatures positive.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    for name in config.estimator:
        lookup(ESTIMATORS, name, "gradient estimator")
    for name, values in (("probability", config.probability), ("temperature", config.temperature)):
        num_values = len(values)
        are_different = num_values > 0 and len(set(values)) == num_values
        require(are_different, f"{name} needs different values, got {values}")
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
    """List the cells of the arm's estimator.

    Args:
        config: the settings.

    Returns:
        (probability, temperature or None) of each cell.
    """
    return cells_of(config.estimator[0], config.probability, config.temperature)


def label(probability: float, temperature: float | None) -> str:
    """Name a cell, such as p0.2_tau0.5 or p0.2.

    Args:
        probability: of the cell.
        temperature: of the cell, or None.

    Returns:
        The name.
    """
    name = f"p{probability:g}"
    if temperature is None:
        return name
    return f"{name}_tau{temperature:g}"


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Make the inputs: the problem has no data.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    identity = {"name": f"E[(b - {settings.target:g})^2], b Bernoulli"}
    return Inputs({}, identity)


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """One seed: moments of one estimator in all cells.

    The state is the moments, and there is nothing to train. Every cell sees the same keys, so
    differences between cells are paired.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    cells_of_arm = cells(config)
    estimates = functools.partial(estimate, config.estimator[0], config.target, cells_of_arm)

    def init(key):
        num_cells = len(cells_of_arm)
        return {}, {"moments": RunningMoments.empty((num_cells,))}

    def draw(arrays, data_key, index):
        key = jax.random.fold_in(data_key, index)
        return jax.random.split(key, config.batch_size)

    def evaluate(train_state, arrays, key):
        moments = train_state.state["moments"]
        return {"count": moments.count, "mean": moments.mean, "variance": moments.variance()}

    algorithm = training.gathering_moments(jax.vmap(estimates))
    return Task(init, draw, algorithm, evaluate, batch_coupling="moments of the whole batch")


def summarize(arrays: dict[str, Any], config: Config, inputs: Inputs) -> dict[str, np.ndarray]:
    """Compute per seed and cell bias, sd, rmse and signal-to-noise, and the error of a budget.

    The error of a budget of evaluations is at the best temperature.

    Args:
        arrays: results of the last evaluation, [num_seeds, ...] each.
        config: the settings.
        inputs: arrays, identity and context of the run.

    Returns:
        {metric: [num_seeds]}.
    """
    names = [label(*cell) for cell in cells(config)]
    count = np.asarray(arrays["count"], np.float64)
    mean = np.asarray(arrays["mean"], np.float64)
    variance = np.asarray(arrays["variance"], np.float64)
    probability = np.array([p for p, _ in cells(config)])
    exact = (1 - 2 * config.target) * probability * (1 - probability)
    bias = mean - exact
    # The square of an average over n estimates is too large by variance / n.
    variance_of_mean = variance / count[:, None]
    squared_bias = np.maximum(bias**2 - variance_of_mean, 0.0)
    cost = evaluations(config.estimator[0])
    at_budget = squared_bias + variance * cost / config.budget
    best = []
    for p in config.probability:
        of_probability = at_budget[:, probability == p]
        best.append(of_probability.min(axis=1))
    sd = np.sqrt(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        rmse = np.sqrt(squared_bias + variance)
        snr = np.abs(mean) / sd
    seeds = np.arange(len(bias))
    worst = np.abs(bias).argmax(axis=1)
    finite_snr = np.where(np.isfinite(snr), snr, 0.0)
    metrics = {
        "rmse_at_budget": np.sqrt(np.mean(best, axis=0)),
        "worst_bias": bias[seeds, worst],
        "best_snr": finite_snr.max(axis=1),
        "evaluations": np.full(len(count), float(cost)),
    }
    by_cell = {"mean": mean, "bias": bias, "sd": sd, "rmse": rmse, "snr": snr}
    for measure, value in by_cell.items():
        for i, name in enumerate(names):
            metrics[f"{measure}_{name}"] = value[:, i]
    return metrics


def references(config: Config) -> list[dict[str, Any]]:
    """Closed forms of the mean and the sd, at t = .499.

    Args:
        config: the settings.

    Returns:
        Rows with metric, published value, spread and source.
    """
    if config.target != 0.499:
        return []
    names = {label(*cell) for cell in cells(config)}
    moments = MOMENTS.get(config.estimator[0], {})
    rows = []
    for name, (mean, sd) in moments.items():
        if name in names:
            rows.append(_reference(f"mean_{name}", mean, spread=5e-5))
            rows.append(_reference(f"sd_{name}", sd, spread=0.05 * sd))
    return rows


def _reference(metric: str, published: float, spread: float) -> dict[str, Any]:
    return {"metric": metric, "published": published, "spread": spread, "source": QUADRATURE}


def plots(results: list[ArmResult], inputs: Inputs) -> dict[str, tuple[Any, str]]:
    """Plot error and bias over the temperature, for each probability.

    Args:
        results: the finished arms.
        inputs: arrays, identity and context of the run.

    Returns:
        {name: (plot, caption)}.
    """
    plots = {}
    config = results[0].config
    temperatures = np.sort(np.array(config.temperature))
    measures = {"rmse": "root mean squared error of one estimate", "bias": "|bias|"}
    for p in config.probability:
        title = f"p = {p:g}, t = {config.target:g}"
        for measure, text in measures.items():
            curves = _curves(results, inputs, measure, p, temperatures)
            if not curves or len(temperatures) <= 1:
                continue
            figure = plotting.lines(
                temperatures,
                curves,
                title=title,
                xlabel="temperature",
                ylabel=text,
                log_x=True,
                log_y=True,
            )
            caption = f"{text} over the temperature at p = {p:g}; flat where there is none."
            plots[f"{measure}_p{p:g}"] = (figure, caption)
    return plots


def _curves(
    results: list[ArmResult],
    inputs: Inputs,
    measure: str,
    probability: float,
    temperatures: np.ndarray,
) -> dict[str, np.ndarray]:
    """|mean over seeds| of one measure at each temperature, by estimator."""
    curves = {}
    for result in results:
        name = result.config.estimator[0]
        metrics = summarize(result.arrays, result.config, inputs)
        if name == "exact":
            continue
        has_temperature = name in HAS_TEMPERATURE
        values = []
        for temperature in temperatures:
            cell = label(probability, temperature if has_temperature else None)
            values.append(metrics[f"{measure}_{cell}"])
        means = np.mean(values, axis=1)
        curves[name] = np.abs(means)
    return curves
