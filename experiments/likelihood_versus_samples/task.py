"""One number fitted by maximum likelihood; likelihood and samples measured beside it."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

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
from dgm_jax.experiments.likelihood_versus_samples.figures import figures
from dgm_jax.experiments.likelihood_versus_samples.problem import measure, truth
from dgm_jax.models.one_parameter import noise, pick
from dgm_jax.run import Inputs

__all__ = ["build", "figures", "finalise", "load", "model", "references", "validate"]

THEIS = "Theis et al. 2016: log 100 nats in any dimension"
LIMIT = "closed form of isolated kernels"
PERFECT = "perfect sampler, 1 - exp(-9/2)"


def validate(config: Config) -> None:
    """Known arms and sizes."""
    for arm in config.arm:
        parse(arm)
    require_at_least(1, config, "num_kernels", "num_eval", "batch_size")
    require_positive(config, "learning_rate")


def load(settings, needed) -> Inputs:
    """No arrays: points are drawn on the device inside the compiled step."""
    name = "a ring of eight Gaussians and the same noise in further dimensions"
    return Inputs({}, {"name": name})


def model(config: Config, hyper, dataset) -> Model:
    """One number, fitted by maximum likelihood; its state has the training points."""
    name, dim = parse(config.arm[0])
    data = truth(dim)
    family = FAMILIES[name](data)

    def init(key):
        raw = jnp.float32(family.raw_of(STARTS[name]))
        return {"model": raw}, {"model": data.sample(key, config.num_kernels)}

    def loss(params, state, batch, key):
        centres = state["model"]
        x = (
            centres[pick(batch["choice"], config.num_kernels)]
            if name == "memorised"
            else batch["x"]
        )
        return -jnp.mean(family.log_prob(params["model"], centres, x)), Aux(state, {})

    def sample(params, state, key, num_samples):
        return family.sample(params["model"], state["model"], noise(key, data, num_samples))

    return Model(init, {"fit": Player(("model",), loss)}, sample)


def build(config: Config, hyper, inputs: Inputs) -> Task:
    """One seed: its own training points; maximum likelihood of one number; likelihood and samples
    measured."""
    name, dim = parse(config.arm[0])
    data = truth(dim)
    family, game = FAMILIES[name](data), model(config, hyper, inputs.identity)

    def draw(arrays, data_key, index):
        key = jax.random.fold_in(data_key, index)
        if name == "memorised":
            return {"choice": uniform(key, (config.batch_size,))}
        return {"x": data.sample(key, config.batch_size)}

    def evaluate(train_state, arrays, key):
        key_x, key_noise = jax.random.split(key)
        raw, centres = train_state.params["model"], train_state.state["model"]
        x, drawn = data.sample(key_x, config.num_eval), noise(key_noise, data, config.num_eval)
        rungs = jnp.array([family.raw_of(value) for value in LADDERS[name]])
        found = jax.lax.map(
            lambda at: measure(family, data, at, centres, x, drawn), jnp.append(rungs, raw)
        )
        return {
            **{metric: value[-1] for metric, value in found.items()},
            **{f"ladder_{metric}": value[:-1] for metric, value in found.items()},
            family.parameter: family.natural(raw),
            "perfect_valid": data.valid(drawn.exact),
        }

    optimizers = {"fit": optax.adam(hyper["learning_rate"])}
    algorithm = functools.partial(training.simultaneous, game.players, optimizers)
    return Task(game.init, draw, algorithm, evaluate)


def finalise(arrays, config: Config, inputs: Inputs) -> dict[str, np.ndarray]:
    """The fitted model, and `extreme_*`: the same figures with 99 % junk, or with the narrowest
    kernels."""
    name, _ = parse(config.arm[0])
    fitted = {key: value for key, value in arrays.items() if value.ndim == 1}
    if name not in EXTREMES:
        return fitted
    rung = LADDERS[name].index(EXTREMES[name])
    return fitted | {
        f"extreme_{k[7:]}": v[:, rung] for k, v in arrays.items() if k.startswith("ladder_")
    }


def references(config: Config) -> list[dict]:
    """The bound for junk; for kernels their limit, and the share of valid samples of a perfect
    sampler."""
    (name, dim), log_100, valid = parse(config.arm[0]), math.log(100), expected_valid()
    if name == "junk":
        return _rows(
            ("extreme_cost", log_100, 0.01, THEIS),
            ("extreme_cost_per_dim", log_100 / dim, 0.01 / dim, THEIS),
            ("extreme_valid", 0.01 * valid, 0.001, PERFECT + ", times .01"),
        )
    if name == "memorised":  # whose width has had the time to fall
        return (
            _rows(("valid", valid, 0.005, PERFECT)) if config.num_steps >= Config.num_steps else []
        )
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
