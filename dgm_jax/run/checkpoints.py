"""The checkpoints of a group of arms, opened when they are first needed.

orbax takes seconds to import, and the first step of a new run does not wait for it.
"""

import functools
import pathlib
from typing import TYPE_CHECKING, Any

from dgm_jax.parallel import processes
from dgm_jax.terminal import signals

if TYPE_CHECKING:
    from dgm_jax.training.checkpoint import Checkpoints
    from dgm_jax.training.shared_checkpoints import SharedCheckpoints


class GroupCheckpoints:
    """The checkpoints of a group, whose folder is made at once.

    Args:
        folder: as `training.checkpoint.Checkpoints`.
        identity: as there.
        usual: as there.
    """

    def __init__(
        self, folder: pathlib.Path, identity: dict[str, Any], usual: dict[str, Any]
    ) -> None:
        self._start_from = folder, identity, usual
        if processes.is_first():
            folder.mkdir(parents=True, exist_ok=True)

    @functools.cached_property
    def opened(self) -> "Checkpoints | SharedCheckpoints":
        """The checkpoints, of one process or of several."""
        with signals.held():  # raised after the checkpoint is saved
            from dgm_jax.training.shared_checkpoints import checkpoints_of

        return checkpoints_of(*self._start_from)

    def close(self) -> None:
        """Releases orbax's threads, if there are any."""
        if "opened" in vars(self):
            self.opened.close()
