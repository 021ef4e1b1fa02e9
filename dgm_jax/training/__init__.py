"""The training engine: players move, steps run in compiled chunks, states are saved in between."""

from dgm_jax.training._train import TrainResult, train
from dgm_jax.training.averaging import average_of, averaged, with_average
from dgm_jax.training.game import look_ahead, move
from dgm_jax.training.gathering import gathering_moments
from dgm_jax.training.loop import Chunk, lane_program, run
from dgm_jax.training.optimizers import OPTIMIZERS, Optimizer, optimizer
from dgm_jax.training.parts import in_parts
from dgm_jax.training.players import (
    DYNAMICS,
    alternating,
    consensus,
    extragradient,
    optimistic,
    simultaneous,
)
from dgm_jax.training.schedules import SCHEDULES, learning_rate
from dgm_jax.training.setup import Game, make_game
from dgm_jax.training.steps import advance_lane

__all__ = [
    "DYNAMICS",
    "OPTIMIZERS",
    "SCHEDULES",
    "Chunk",
    "Game",
    "Optimizer",
    "TrainResult",
    "advance_lane",
    "alternating",
    "average_of",
    "averaged",
    "consensus",
    "extragradient",
    "gathering_moments",
    "in_parts",
    "lane_program",
    "learning_rate",
    "look_ahead",
    "make_game",
    "move",
    "optimistic",
    "optimizer",
    "run",
    "simultaneous",
    "train",
    "with_average",
]
