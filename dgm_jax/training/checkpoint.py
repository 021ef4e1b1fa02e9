"""Checkpoints between chunks, with orbax: atomic, the newest readable one wins, keep-k."""

import logging
from pathlib import Path

import orbax.checkpoint as ocp

from dgm_jax.core import PyTree

logging.getLogger("absl").setLevel(logging.ERROR)


class Checkpoints:
    """The checkpoints of one program in one folder, numbered by step.

    A save is complete or absent: orbax writes to a temporary folder and renames it. Of the
    complete ones the newest `keep` stay.
    """

    def __init__(self, folder: Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=True, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(Path(folder).resolve(), options=options)
        self._unreadable = set()

    def save(self, step: int, tree: PyTree) -> None:
        """Saves `tree` under `step`; returns when it is on disk. A step that is there already stays, unless it
        could not be read."""
        if step in self._unreadable:
            self._manager.delete(step)
            self._unreadable.remove(step)
        if step not in self._manager.all_steps():
            self._manager.save(step, args=ocp.args.StandardSave(tree))

    def restore_newest(self, abstract: PyTree) -> tuple[int, PyTree, list[str]]:
        """`(step, tree, notices)` of the newest checkpoint that can be read; step 0 and None if none can.

        abstract: a tree of `jax.ShapeDtypeStruct` with shardings; the arrays are placed accordingly, so a
        run may go on with another number of devices. A checkpoint that cannot be read is named
        in `notices` and left where it is, until its step is saved again.
        """
        notices = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                return step, self._manager.restore(step, args=ocp.args.StandardRestore(abstract)), notices
            except Exception as error:  # orbax raises many kinds; each is reported, and the next older one tried
                self._unreadable.add(step)
                notices.append(f"checkpoint {step} cannot be read ({type(error).__name__}: {str(error)[:200]})")
        return 0, None, notices

    def close(self) -> None:
        """Releases orbax's threads."""
        self._manager.close()
