"""Which trackers there are, and whether their packages are installed."""

import importlib.util
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dgm_jax.core import lookup, require
from dgm_jax.trackers.contract import Tracker


class Entry(NamedTuple):
    """A tracker that can be chosen.

    Attributes:
        package: what it imports when it starts.
        make: returns a tracker that has not started.
    """

    package: str
    make: Callable[[], Tracker]


def _tensorboard() -> Tracker:
    from dgm_jax.trackers.tensorboard import TensorBoard

    return TensorBoard()


def _wandb() -> Tracker:
    from dgm_jax.trackers.wandb import Wandb

    return Wandb()


def _mlflow() -> Tracker:
    from dgm_jax.trackers.mlflow import Mlflow

    return Mlflow()


def _trackio() -> Tracker:
    from dgm_jax.trackers.trackio import Trackio

    return Trackio()


TRACKERS = {
    "tensorboard": Entry("tensorboardX", _tensorboard),
    "wandb": Entry("wandb", _wandb),
    "mlflow": Entry("mlflow", _mlflow),
    "trackio": Entry("trackio", _trackio),
}


def require_installed(names: Sequence[str]) -> None:
    """Check that the packages of trackers are installed; imports none of them.

    Args:
        names: of `TRACKERS`.

    Raises:
        ConfigError: an unknown or repeated name, or a package that is not installed.
    """
    require(len(set(names)) == len(names), f"each tracker once, got trackers {list(names)}")
    for name in names:
        package = lookup(TRACKERS, name, "tracker").package
        require(
            importlib.util.find_spec(package) is not None,
            f"tracker {name} needs the package {package}, which is not installed:"
            f' pip install "dgm_jax[{name}]"',
        )
