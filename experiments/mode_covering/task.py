"""Descent of a divergence on a grid, and its global minimum."""

import functools
import math
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import plotting, training
from dgm_jax.core import (
    Array,
    Aux,
    Model,
    Params,
    Player,
    Task,
    lookup,
    normal,
    require,
    require_positive,
    uniform,
)
from dgm_jax.densities import gaussian, mixture
from dgm_jax.experiments.mode_covering import Config
from dgm_jax.objectives import divergences
from dgm_jax.run import ArmResult, Inputs, optimizer_of
from dgm_jax.run.settings import SettingsView

SCALE = 0.5  # of both modes
# The midpoint rule is exact up to rounding for a Gaussian of at least twice this scale.
SPACING = 0.05

_NUMBER = re.compile(r"(?=.*[0-9])[0-9]{0,9}\.?[0-9]{0,9}")

DIVERGENCES = {
    "kl": divergences.kl_on_grid,
    "reverse_kl": lambda log_p, log_q, spacing: divergences.kl_on_grid(log_q, log_p, spacing),
    "js": divergences.js_on_grid,
}

MINIMA = (
    "global minimum by quadrature and scipy.optimize (KL: moments of p), +- half a unit of the last"
    " digit"
)
# arm -> |mu|, sigma and value at the global minimum, with half a unit of the last digit
GLOBAL = {
    "kl_2": ((0.0, 5e-4), (2.0616, 5e-5), (0.72355, 5e-6)),
    "reverse_kl_2": ((1.9998, 5e-5), (0.5004, 5e-5), (0.69305, 5e-6)),
    "js_2": ((0.0, 5e-4), (2.0424, 5e-5), (0.20096, 5e-6)),
    "kl_3": ((0.0, 5e-4), (3.0414, 5e-5), (1.11231, 5e-6)),
    "reverse_kl_3": ((3.0000, 5e-5), (0.5000, 5e-5), (0.69315, 5e-6)),
    "js_3": ((3.0000, 5e-5), (0.5000, 5e-5), (0.21576, 5e-6)),
}


def parse(arm: str) -> tuple[str, float]:
    """Split an arm's name, such as js_2.5.

    Args:
        arm: DIVERGENCE_D.

    Returns:
        The divergence, and half the distance of the modes.

    Raises:
        ConfigError: for another form, or a distance out of range.
    """
    name, _, distance = arm.rpartition("_")
    lookup(DIVERGENCES, name, "divergence (arms are DIVERGENCE_D, such as js_2.5)")
    half = float(distance) if _NUMBER.fullmatch(distance) else math.nan
    require(
        0 < half <= 20,
        f"arm {arm!r} must end in half the distance of the modes, in (0, 20], got {distance!r}",
    )
    return name, half


def validate(config: Config) -> None:
    """Check that arms name a divergence and a distance.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    for arm in config.arm:
        parse(arm)
    require_positive(config, "learning_rate")


def grid(half: float) -> jax.Array:
    """Make the grid, wide enough for p and for the widest q.

    Args:
        half: half the distance of the modes.

    Returns:
        [G].
    """
    reach = math.ceil((6 + 5 * half) / SPACING)
    return SPACING * jnp.arange(-reach, reach + 1)


def log_p(x: Array, half: float) -> Array:
    """Compute the log-density of the two modes.

    Args:
        x: [G].
        half: half the distance of the modes.

    Returns:
        [G], nats.
    """
    points = x[:, None]
    log_weights = jnp.log(jnp.full(2, 0.5))
    means = jnp.array([[-half], [half]])
    return mixture.log_prob(points, log_weights, means, SCALE)


def divergence(arm: str, loc: Array, scale: Array) -> Array:
    """Compute the arm's divergence between p and N(loc, scale^2).

    Args:
        arm: its name.
        loc: a scalar.
        scale: a scalar.

    Returns:
        A scalar, nats.
    """
    name, half = parse(arm)
    x = grid(half)
    log_density = log_p(x, half)
    log_q = gaussian.log_prob(x, loc, scale)
    return DIVERGENCES[name](log_density, log_q, SPACING)


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Make the inputs: the density is known, so there are no data.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    return Inputs({}, {"name": f"two Gaussians of scale {SCALE} in one dimension, known density"})


def _value(arm: str, params: Params) -> Array:
    q = params["gaussian"]
    scale = jnp.exp(q["log_scale"])
    return divergence(arm, q["loc"], scale)


def model(config: Config, hyper: dict[str, Any], dataset: dict[str, Any]) -> Model:
    """Make a Gaussian that is fitted by the arm's divergence; samples are [num_samples].

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.

    Returns:
        The model.
    """
    arm = config.arm[0]
    _, half = parse(arm)

    def init(key):
        key_loc, key_scale = jax.random.split(key)
        loc = uniform(key_loc, (), minval=-1.5 * half, maxval=1.5 * half)
        log_scale = uniform(key_scale, (), minval=math.log(SCALE), maxval=math.log(2 * half))
        return {"gaussian": {"loc": loc, "log_scale": log_scale}}, {}

    def loss(params, state, batch, key):
        return _value(arm, params), Aux(state, {})

    def sample(params, state, key, num_samples):
        q = params["gaussian"]
        scale = jnp.exp(q["log_scale"])
        noise = normal(key, (num_samples,))
        return q["loc"] + scale * noise

    return Model(init, {"fit": Player(("gaussian",), loss)}, sample)


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed: a Gaussian descends a divergence from a random start.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    arm = config.arm[0]
    game = model(config, hyper, inputs.identity)

    def evaluate(train_state, arrays, key):
        q = train_state.params["gaussian"]
        return {
            "mu": q["loc"],
            "sigma": jnp.exp(q["log_scale"]),
            "value": _value(arm, train_state.params),
        }

    optimizer = optimizer_of(config, hyper, hyper["learning_rate"], schedule="cosine")
    algorithm = functools.partial(training.simultaneous, game.players, {"fit": optimizer})
    return Task(game.init, lambda arrays, data_key, index: {}, algorithm, evaluate)


def summarize(arrays: dict[str, Any], config: Config, inputs: Inputs) -> dict[str, np.ndarray]:
    """Collect every seed's fit, and the best of them.

    Args:
        arrays: results of the last evaluation, [num_seeds, ...] each.
        config: the settings.
        inputs: arrays, identity and context of the run.

    Returns:
        {metric: [num_seeds]}.
    """
    mu = np.asarray(arrays["mu"], np.float64)
    sigma = np.asarray(arrays["sigma"], np.float64)
    value = np.asarray(arrays["value"], np.float64)
    _, half = parse(config.arm[0])
    best = int(np.argmin(value))
    metrics = {"mu": mu, "abs_mu": np.abs(mu), "sigma": sigma, "value": value}
    for name in ("abs_mu", "sigma", "value"):
        metrics[f"global_{name}"] = np.full(mu.shape, metrics[name][best])
    reaches_global = value < value[best] + 1e-3
    covers = np.abs(mu) < half / 2
    metrics["reaches_global"] = reaches_global.astype(np.float64)
    metrics["covers"] = covers.astype(np.float64)
    return metrics


def references(config: Config) -> list[dict[str, Any]]:
    """The global minimum of this arm.

    Args:
        config: the settings.

    Returns:
        Rows with metric, published value, spread and source.
    """
    arm = config.arm[0]
    if arm not in GLOBAL:
        return []
    names = ("global_abs_mu", "global_sigma", "global_value")
    rows = []
    for name, (value, spread) in zip(names, GLOBAL[arm], strict=True):
        rows.append({"metric": name, "published": value, "spread": spread, "source": MINIMA})
    return rows


def plots(results: list[ArmResult], inputs: Inputs) -> dict[str, tuple[Any, str]]:
    """Plot, for each separation, p and the best fit of every divergence.

    Args:
        results: the finished arms.
        inputs: arrays, identity and context of the run.

    Returns:
        {name: (plot, caption)}.
    """
    by_half = {}
    for result in results:
        _, half = parse(result.config.arm[0])
        by_half.setdefault(half, []).append(result)
    plots = {}
    for half in sorted(by_half):
        x = np.arange(-3 * half, 3 * half, SPACING)
        points = jnp.asarray(x)
        curves = {"p": np.exp(log_p(points, half))}
        for result in by_half[half]:
            best = np.argmin(result.arrays["value"])
            loc = result.arrays["mu"][best]
            scale = result.arrays["sigma"][best]
            log_q = gaussian.log_prob(points, loc, scale)
            curves[f"q of {result.name}"] = np.exp(log_q)
        title = f"half-separation {half:g}"
        figure = plotting.lines(x, curves, title=title, xlabel="x", ylabel="density")
        caption = (
            f"Two modes at +-{half:g}, and the best Gaussian of each divergence over all seeds."
        )
        plots[f"fits_{half:g}"] = (figure, caption)
    return plots
