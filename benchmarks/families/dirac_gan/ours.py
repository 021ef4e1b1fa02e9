"""The Dirac GAN on the library's engine."""

import functools

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from dgm_jax import training
from dgm_jax.core import Task
from dgm_jax.models import DIRAC_GAMES, dirac_gan, dirac_optimizers


def engine(game: str, seeds: int, steps: int) -> Case:
    """Steps on the library's engine."""
    made, optimizers = dirac_gan(DIRAC_GAMES[game]), dirac_optimizers(DIRAC_GAMES[game], 0.1)
    algorithm = functools.partial(training.alternating, made.players, optimizers)
    task = Task(made.init, lambda data, key, index: (), algorithm, shared.no_evaluation)
    return shared.engine(lambda hyper: task, {}, seeds, steps)
