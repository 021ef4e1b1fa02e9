"""What every room may import: contracts, numerics, errors. No behaviour of its own."""

from dgm_jax.core.errors import ConfigError, DataError, DgmError, RunDirectoryError
from dgm_jax.core.errors import did_you_mean, lookup, require, require_at_least, require_positive
from dgm_jax.core.numerics import LogMeanExp, chunked, even_chunks, log_mean_exp, logistic_draw, normal, uniform
from dgm_jax.core.trees import all_finite, select_tree, tree_sha256, tree_size
from dgm_jax.core.types import SOLO, Algorithm, Array, Aux, Bijection, Key, Lane, LaneProgram, LossFn, Metrics, Model
from dgm_jax.core.types import Network, Params, Player, Prior, PyTree, Replica, Task, TrainState

__all__ = [
    "Algorithm", "Array", "Aux", "Bijection", "ConfigError", "DataError", "DgmError", "Key", "Lane", "LaneProgram",
    "LogMeanExp", "LossFn", "Metrics", "Model", "Network", "Params", "Player", "Prior", "PyTree", "Replica",
    "RunDirectoryError", "SOLO", "Task", "TrainState", "all_finite", "chunked", "did_you_mean", "even_chunks",
    "log_mean_exp", "logistic_draw", "lookup", "normal", "require", "require_at_least", "require_positive",
    "select_tree", "tree_sha256", "tree_size", "uniform",
]
