"""The transformer on the library's engine."""

import functools

import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families.transformer import HEADS, IDS, NUM_ROWS
from dgm_jax import training
from dgm_jax.core import Task
from dgm_jax.models import Autoregressive, autoregressive
from dgm_jax.networks import CausalNetwork, Transformer, from_transformer, in_precision


def network(width: int, layers: int, length: int) -> CausalNetwork:
    """Over `IDS` ids."""
    module = Transformer(IDS, length, width=width, num_layers=layers, num_heads=HEADS)
    return from_transformer(module)


def model(width: int, layers: int, length: int, precision: str = "float32") -> Autoregressive:
    """The recipe."""
    return autoregressive(in_precision(network(width, layers, length), precision))


def tokens(length: int) -> np.ndarray:
    """Random rows."""
    return np.random.default_rng(0).integers(0, IDS, (NUM_ROWS, length), dtype=np.int32)


def task(width: int, layers: int, length: int, batch: int, precision: str = "float32") -> Task:
    """On random batches, without evaluation."""
    made = model(width, layers, length, precision)
    draw = shared.random_batches(NUM_ROWS, batch, jnp.asarray)
    optimizers = dict.fromkeys(made.players, optax.adam(3e-4))
    algorithm = functools.partial(training.alternating, made.players, optimizers)
    return Task(made.init, draw, algorithm, shared.no_evaluation)


def engine(
    shape: dict[str, int],
    seeds: int,
    steps: int,
    precision: str = "float32",
    strategy: str = "auto",
) -> Case:
    """Steps on the library's engine."""
    made, rows = task(**shape, precision=precision), {"image": tokens(shape["length"])}
    return shared.engine(lambda hyper: made, rows, seeds, steps, strategy=strategy)
