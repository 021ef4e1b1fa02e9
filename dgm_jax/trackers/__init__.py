"""Copies of a run's values and plots in TensorBoard, Weights & Biases, MLflow and trackio.

The run folder has everything; a tracker only shows it elsewhere. So no tracker can harm a run: each
one works in a thread of its own, and one that raises or hangs is dropped with a notice.
"""

from dgm_jax.trackers.contract import Picture, Record, TrackedRun, Tracker
from dgm_jax.trackers.hub import Trackers
from dgm_jax.trackers.registry import TRACKERS, require_installed

__all__ = [
    "TRACKERS",
    "Picture",
    "Record",
    "TrackedRun",
    "Tracker",
    "Trackers",
    "require_installed",
]
