"""Which trackers there are, and whether their packages are installed."""

import importlib
import importlib.util
from collections.abc import Sequence
from typing import NamedTuple

from dgm_jax.core import lookup, require
from dgm_jax.trackers.contract import Tracker


class Entry(NamedTuple):
    """A tracker that can be chosen.

    Attributes:
        package: what it imports.
        module: where its adapter is.
        adapter: name of the adapter's class.
    """

    package: str
    module: str
    adapter: str

    def make(self) -> Tracker:
        """Import the adapter; its package is imported when it starts.

        Returns:
            A tracker that has not started.
        """
        return getattr(importlib.import_module(self.module), self.adapter)()


TRACKERS = {
    "tensorboard": Entry("tensorboardX", "dgm_jax.trackers.tensorboard", "TensorBoard"),
    "wandb": Entry("wandb", "dgm_jax.trackers.wandb", "Wandb"),
    "mlflow": Entry("mlflow", "dgm_jax.trackers.mlflow", "Mlflow"),
    "trackio": Entry("trackio", "dgm_jax.trackers.trackio", "Trackio"),
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
