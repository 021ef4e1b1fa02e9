"""A game in one variable for tests of whole runs: w descends (w - x)^2 / 2 for noisy x around
`target`."""

import dataclasses
import json
import os
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import optax

from dgm_jax import training
from dgm_jax.core import Aux, Model, Player, Task, lookup
from dgm_jax.run import Experiment, Inputs, StudyConfig, main


@dataclasses.dataclass(frozen=True)
class Tiny(StudyConfig):
    """A game in one variable."""

    kind: tuple[str, ...] = ("plain",)
    """Arms: plain, or half (half the learning rate)."""
    rate: float = 0.1
    """Learning rate."""
    poison: float = 1e9
    """A seed whose first number is larger than this stops being finite at step 5."""


def init(key):
    w = jax.random.normal(key)
    return {"p": {"w": w, "start": w}}, {}


def model(config, hyper, dataset):
    """A Gaussian around the variable, with a standard deviation of 1."""

    def sample(params, state, key, num_samples):
        return params["p"]["w"] + jax.random.normal(key, (num_samples,))

    return Model(init, {}, sample)


def build(config, hyper, inputs):
    """One variable by SGD."""
    rate = hyper["rate"] / 2 if config.kind[0] == "half" else hyper["rate"]

    def loss(params, state, batch, key):
        sick = (params["p"]["start"] > hyper["poison"]) & (batch["index"][0] == 5)
        value = jnp.mean((params["p"]["w"] - batch["x"]) ** 2) / 2
        return value + jnp.where(sick, jnp.nan, 0.0), Aux(state, {"seen": jnp.mean(batch["x"])})

    def draw(arrays, data_key, index):
        noise = jax.random.normal(jax.random.fold_in(data_key, index), (8,))
        return {"x": arrays["target"] + noise, "index": jnp.broadcast_to(index, (8,))}

    def evaluate(train_state, arrays, key):
        w = train_state.params["p"]["w"]
        return {
            "w": w,
            "error": jnp.abs(w - arrays["target"]),
            "picture": jnp.stack([w, jax.random.normal(key)]),
        }

    players = {"p": Player(("p",), loss)}
    freeze_start = optax.masked(
        optax.set_to_zero(), lambda tree: {"p": {"w": False, "start": True}}
    )
    optimizer = optax.chain(optax.sgd(rate), freeze_start)
    return Task(init, draw, partial(training.alternating, players, {"p": optimizer}), evaluate)


def validate(config):
    for kind in config.kind:
        lookup({"plain": 0, "half": 0}, kind, "kind")


def tiny(**changes) -> Experiment:
    return Experiment(
        **{
            "name": "tiny",
            "config": Tiny,
            "load": lambda settings, needed: Inputs(
                {"target": jnp.float32(2.0)}, {"name": "number", "identity": "number"}
            ),
            "build": build,
            "model": model,
            "validate": validate,
            "headline": ("error",),
            "sweepable": ("rate", "poison"),
            "arm_field": "kind",
            **changes,
        }
    )


EXPERIMENT = tiny()
BASIC = "--num_steps 30 --log_every 10 --num_devices 1 --progress quiet".split()


def run(out, *flags, experiment=None, grid=None):
    return main(experiment or tiny(), [*BASIC, "--num_seeds", "3", "--out", str(out), *flags], grid)


def summary_of(out):
    return json.loads((pathlib.Path(out) / "summary.json").read_text())


def rows_of(out):
    return [
        json.loads(line) for line in (pathlib.Path(out) / "metrics.jsonl").read_text().splitlines()
    ]


def stopping(number, at, **changes):
    """The tiny experiment, with changes, which sends itself a signal at its `at`-th evaluation."""
    calls = []

    def summarize(arrays, config, inputs):
        calls.append(0)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return {name: value for name, value in arrays.items() if value.ndim == 1}

    return tiny(summarize=summarize, **changes)


def with_final_evaluation(config, hyper, inputs):
    """`build` with a figure that is worked out after the last step only."""

    def evaluate_final(train_state, arrays, key):
        return {"square": jnp.square(train_state.params["p"]["w"]), "late_picture": jnp.ones((2,))}

    return build(config, hyper, inputs)._replace(evaluate_final=evaluate_final)


def first_number(seed):
    """Where w starts in a run of seed 0."""
    key = jax.random.split(jax.random.fold_in(jax.random.key(0), seed), 3)[0]
    return float(jax.random.normal(key))


def batch_means(seed, num_steps):
    """The mean of each batch of a run of seed 0."""
    key_train = jax.random.split(jax.random.fold_in(jax.random.key(0), seed), 3)[1]
    data_key = jax.random.split(key_train)[1]
    keys = jax.vmap(lambda i: jax.random.fold_in(data_key, i))(jnp.arange(num_steps))
    return [
        2.0 + float(noise) for noise in jax.vmap(lambda k: jax.random.normal(k, (8,)))(keys).mean(1)
    ]
