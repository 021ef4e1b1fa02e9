"""Great likelihood with poor samples, and perfect samples with terrible likelihood.

    python -m experiments.likelihood_versus_samples
    python -m experiments.likelihood_versus_samples --arm junk_8 junk_3072 memorised_16

Theis, van den Oord and Bethge 2016, on a ring of Gaussians extended to d dimensions, whose density
is known.
`junk_d`: q = w p + (1 - w) r with r far from the data. At w = .01, 99 % of the samples are junk,
and the log-likelihood is at most log 100 = 4.605 nats below the truth: 4.605 / d for each
dimension. Maximum likelihood then learns w.
`kernels_d`, `memorised_d`: narrow Gaussians on 1,000 training points. As their width falls the
samples become perfect and the test log-likelihood falls without bound, while that of the training
points rises. `kernels` learns the width on fresh data; `memorised` on its own training points,
where maximum likelihood drives it to zero. Measured (2026-11-22, 5 seeds): .9 % valid samples cost
4.598, 4.605 and 4.605 nats in 2, 32 and 512 dimensions, of -.3, 26 and 450.
Kernels of width .0001 have 98.7 % valid samples (exact ones 98.8 %), a test log-likelihood of
-39,600 and 9.7 on their training points; the width learned on fresh data is .052, with -.380
against -.314 for the truth and 97.1 % valid.
"""

import dataclasses
import functools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax import parallel, plotting, training
from dgm_jax.core import (
    Aux,
    Player,
    Task,
    lookup,
    require,
    require_at_least,
    require_positive,
    uniform,
)
from dgm_jax.evaluation import expected_valid
from dgm_jax.run import Data, Experiment, RunConfig, main
from dgm_jax.studies.likelihood_versus_samples import FAMILIES, measure, noise, pick, truth

THEIS = "Theis et al. 2016: log 100 nats in any dimension"
LIMIT = "closed form of isolated kernels"
PERFECT = "perfect sampler, 1 - exp(-9/2)"
FLOOR = -20.0  # figures of log-likelihoods are cut here
# rungs of the ladder that the table shows: 99 % junk, the narrowest kernels
EXTREMES = {"junk": 0.01, "kernels": 1e-4}


@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
    """How far apart can likelihood and samples be?"""

    arm: tuple[str, ...] = ("junk_2", "junk_32", "junk_512", "kernels_2", "memorised_2")
    """FAMILY_DIMENSIONS: junk, kernels or memorised, and the number of dimensions."""
    num_steps: int = 400
    log_every: int = 100
    num_kernels: int = 1_000
    """Training points, drawn afresh for each seed."""
    num_eval: int = 1_000
    """Test points, and samples of the model, at each evaluation."""
    batch_size: int = 200
    """Fresh points in a step."""
    learning_rate: float = 0.02
    """Adam's, for the logit of w or the logarithm of the width."""


def parse(arm: str) -> tuple[str, int]:
    """The family and the number of dimensions of an arm."""
    name, _, dim = arm.rpartition("_")
    lookup(FAMILIES, name, "family (arms are FAMILY_DIMENSIONS, such as junk_32)")
    require(
        dim.isdecimal() and 2 <= int(dim) <= 10_000,
        f"arm {arm!r} must end in 2 to 10000 dimensions, got {dim!r}",
    )
    return name, int(dim)


def validate(config: Config) -> None:
    """Known arms and sizes."""
    for arm in config.arm:
        parse(arm)
    require_at_least(1, config, "num_kernels", "num_eval", "batch_size")
    require_positive(config, "learning_rate")


def build(config: Config, loaded: Data) -> Task:
    """One seed: its own training points; maximum likelihood of one number; likelihood and samples
    measured."""
    name, dim = parse(config.arm[0])
    data = truth(dim)
    family = FAMILIES[name](data)

    def init(key):
        raw = jnp.float32(family.raw_of(family.start))
        return {"model": raw}, {"model": data.sample(key, config.num_kernels)}

    def draw(arrays, data_key, index):
        key = jax.random.fold_in(data_key, index)
        if name == "memorised":
            return {"choice": uniform(key, (config.batch_size,))}
        return {"x": data.sample(key, config.batch_size)}

    def loss(params, state, batch, key):
        centres = state["model"]
        x = (
            centres[pick(batch["choice"], config.num_kernels)]
            if name == "memorised"
            else batch["x"]
        )
        return -jnp.mean(family.log_prob(params["model"], centres, x)), Aux(state, {})

    def evaluate(train_state, arrays, key):
        key_x, key_noise = jax.random.split(key)
        raw, centres = train_state.params["model"], train_state.state["model"]
        x, drawn = data.sample(key_x, config.num_eval), noise(key_noise, data, config.num_eval)
        rungs = jnp.array([family.raw_of(value) for value in family.ladder])
        found = jax.lax.map(
            lambda at: measure(family, data, at, centres, x, drawn), jnp.append(rungs, raw)
        )
        return {
            **{name: value[-1] for name, value in found.items()},
            **{f"ladder_{name}": value[:-1] for name, value in found.items()},
            family.parameter: family.natural(raw),
            "perfect_valid": data.valid(drawn.exact),
        }

    players = {"fit": Player(("model",), loss)}
    optimizers = {"fit": optax.adam(config.learning_rate)}
    return Task(init, draw, functools.partial(training.simultaneous, players, optimizers), evaluate)


def finalise(arrays, config: Config, loaded: Data) -> dict[str, np.ndarray]:
    """The fitted model, and `extreme_*`: the same figures with 99 % junk, or with the narrowest
    kernels."""
    name, dim = parse(config.arm[0])
    fitted = {key: value for key, value in arrays.items() if value.ndim == 1}
    if name not in EXTREMES:
        return fitted
    rung = FAMILIES[name](truth(dim)).ladder.index(EXTREMES[name])
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


def figures(results, loaded: Data) -> dict:
    """What junk costs over the dimensions; likelihood and samples over the width of kernels."""
    found, costs = {}, {}
    for result in results:
        name, dim = parse(result.name)
        ladder, arrays = FAMILIES[name](truth(dim)).ladder, result.arrays
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


EXPERIMENT = Experiment(
    name="likelihood_versus_samples",
    config=Config,
    load=lambda config: Data(
        {}, {"name": "a ring of eight Gaussians and the same noise in further dimensions"}
    ),
    build=build,
    distribute=parallel.distribute,
    validate=validate,
    finalise=finalise,
    figures=figures,
    references=references,
    headline=(
        "extreme_cost",
        "extreme_cost_per_dim",
        "extreme_test_log_prob",
        "extreme_train_log_prob",
        "extreme_valid",
        "perfect_valid",
        "weight",
        "width",
        "true_log_prob",
        "test_log_prob",
        "train_log_prob",
        "valid",
    ),
    explanations={
        "test_log_prob": "Mean log q over fresh test points, nats, of the model that was fitted.",
        "true_log_prob": (
            "Mean log p over the same points: the most that any model can have on average."
        ),
        "train_log_prob": "Mean log q over the training points that carry the kernels.",
        "cost": "true_log_prob - test_log_prob: an estimate of KL(p || q), nats.",
        "worst_cost": "The largest log p - log q over the test points.",
        "valid": (
            "Share of the model's samples within three sigma (in d dimensions the equivalent"
            " radius) of a mode."
        ),
        "perfect_valid": "The same share of exact samples of the data.",
        "weight": "The fitted w: the share of samples that are not junk.",
        "width": "The fitted width of the kernels; a mode has .1.",
        **{
            f"extreme_{name}": (
                f"{name} with 99 % junk (junk), or kernels of width .0001 (kernels); nothing is"
                " fitted."
            )
            for name in (
                "cost",
                "cost_per_dim",
                "worst_cost",
                "test_log_prob",
                "train_log_prob",
                "valid",
            )
        },
    },
    arm_field="arm",
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
