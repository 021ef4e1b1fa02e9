"""One number fitted by maximum likelihood, and measures of its likelihood and its samples."""

import functools
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import training
from dgm_jax.core import (
    Aux,
    Model,
    Player,
    Task,
    require_at_least,
    require_positive,
    uniform,
)
from dgm_jax.evaluation import expected_valid
from dgm_jax.experiments.likelihood_versus_samples import Config
from dgm_jax.experiments.likelihood_versus_samples.arms import (
    EXTREMES,
    FAMILIES,
    LADDERS,
    STARTS,
    parse,
)
from dgm_jax.experiments.likelihood_versus_samples.plots import plots
from dgm_jax.experiments.likelihood_versus_samples.problem import measure, truth
from dgm_jax.models.one_parameter import noise, pick
from dgm_jax.run import Inputs, optimizer_of
from dgm_jax.run.settings import SettingsView

__all__ = ["build", "load", "model", "plots", "references", "summarize", "validate"]

THEIS = "Theis et al. 2016: log 100 nats in any dimension"
LIMIT = "closed form of isolated kernels"
PERFECT = "perfect sampler, 1 - exp(-9/2)"


def validate(config: Config) -> None:
    """Check arms and sizes.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    for arm in config.arm:
        parse(arm)
    require_at_least(1, config, "num_kernels", "num_eval", "batch_size")
    require_positive(config, "learning_rate")


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Make the inputs: points are drawn on the device inside the compiled step.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    name = "a ring of eight Gaussians and the same noise in further dimensions"
    return Inputs({}, {"name": name})


def model(config: Config, hyper: dict[str, Any], dataset: dict[str, Any]) -> Model:
    """Make the model, one number fitted by maximum likelihood; its state is the training points.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.

    Returns:
        The model.
    """
    name, dim = parse(config.arm[0])
    data = truth(dim)
    family = FAMILIES[name](data)

    def init(key):
        raw = jnp.float32(family.raw_of(STARTS[name]))
        return {"model": raw}, {"model": data.sample(key, config.num_kernels)}

    def loss(params, state, batch, key):
        centers = state["model"]
        if name == "memorised":
            x = centers[pick(batch["choice"], config.num_kernels)]
        else:
            x = batch["x"]
        return -jnp.mean(family.log_prob(params["model"], centers, x)), Aux(state, {})

    def sample(params, state, key, num_samples):
        return family.sample(params["model"], state["model"], noise(key, data, num_samples))

    return Model(init, {"fit": Player(("model",), loss)}, sample)


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed with its own training points; likelihood and samples are measured.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    name, dim = parse(config.arm[0])
    data = truth(dim)
    family = FAMILIES[name](data)
    game = model(config, hyper, inputs.identity)

    def draw(arrays, data_key, index):
        key = jax.random.fold_in(data_key, index)
        if name == "memorised":
            return {"choice": uniform(key, (config.batch_size,))}
        return {"x": data.sample(key, config.batch_size)}

    def evaluate(train_state, arrays, key):
        key_x, key_noise = jax.random.split(key)
        raw = train_state.params["model"]
        centers = train_state.state["model"]
        x = data.sample(key_x, config.num_eval)
        drawn = noise(key_noise, data, config.num_eval)
        rungs = jnp.array([family.raw_of(value) for value in LADDERS[name]])
        measured = jax.lax.map(
            lambda value: measure(family, data, value, centers, x, drawn), jnp.append(rungs, raw)
        )
        return {
            **{metric: values[-1] for metric, values in measured.items()},
            **{f"ladder_{metric}": values[:-1] for metric, values in measured.items()},
            family.parameter: family.natural(raw),
            "perfect_valid": data.valid(drawn.exact),
        }

    optimizers = {"fit": optimizer_of(config, hyper, hyper["learning_rate"])}
    algorithm = functools.partial(training.simultaneous, game.players, optimizers)
    return Task(game.init, draw, algorithm, evaluate)


def summarize(arrays: dict[str, Any], config: Config, inputs: Inputs) -> dict[str, np.ndarray]:
    """Collect the fitted model's values, and the same with 99 % junk or the narrowest kernels.

    The latter are called `extreme_*`.

    Args:
        arrays: results of the last evaluation, [num_seeds, ...] each.
        config: the settings.
        inputs: arrays, identity and context of the run.

    Returns:
        {metric: [num_seeds]}.
    """
    name, _ = parse(config.arm[0])
    fitted = {key: value for key, value in arrays.items() if value.ndim == 1}
    if name not in EXTREMES:
        return fitted
    rung = LADDERS[name].index(EXTREMES[name])
    return fitted | {
        f"extreme_{key.removeprefix('ladder_')}": value[:, rung]
        for key, value in arrays.items()
        if key.startswith("ladder_")
    }


def references(config: Config) -> list[dict[str, Any]]:
    """The bound for junk; for kernels their limit, and the valid share of a perfect sampler.

    Args:
        config: the settings.

    Returns:
        Rows with metric, published value, spread and source.
    """
    name, dim = parse(config.arm[0])
    log_100 = math.log(100)
    valid = expected_valid()
    if name == "junk":
        return _rows(
            ("extreme_cost", log_100, 0.01, THEIS),
            ("extreme_cost_per_dim", log_100 / dim, 0.01 / dim, THEIS),
            ("extreme_valid", 0.01 * valid, 0.001, PERFECT + ", times .01"),
        )
    if name == "memorised":  # its width has converged after the default number of steps
        if config.num_steps < Config.num_steps:
            return []
        return _rows(("valid", valid, 0.005, PERFECT))
    limit = -math.log(config.num_kernels) - dim * (
        math.log(EXTREMES[name]) + math.log(2 * math.pi) / 2
    )
    return _rows(
        ("extreme_train_log_prob", limit, 0.05, LIMIT), ("extreme_valid", valid, 0.005, PERFECT)
    )


def _rows(*rows):
    return [
        {"metric": m, "published": p, "spread": s, "source": source} for m, p, s, source in rows
    ]
