"""Checkpoints of a run of several processes: process 0 has the folder, and the others have none.

A checkpoint is one file of whole arrays, whatever the number of processes, so that any number can
go on from it: process 0 gathers the lanes to write it, and sends what it reads to all. orbax's own
multi-process storage would write a part from each process, into a folder that all must share, and
holds some kilobytes of memory per save (see `training.lanes_file`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from dgm_jax.core import Lane, PyTree, is_key
from dgm_jax.parallel import mesh, processes
from dgm_jax.training.checkpoint import Checkpoints
from dgm_jax.training.lanes_file import key_generator


class SharedCheckpoints:
    """`training.checkpoint.Checkpoints` in process 0, for all processes.

    All processes have to call every method, but `close`.

    Args:
        folder: as `Checkpoints`.
        identity: as `Checkpoints`.
        usual: as `Checkpoints`.
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], *, usual: dict[str, Any] | None = None
    ) -> None:
        is_first = processes.is_first()
        self._own = Checkpoints(folder, identity, usual=usual) if is_first else None

    def save(self, step: int, lanes: Lane, rows: Sequence[dict[str, Any]] = ()) -> None:
        """Save lanes as `Checkpoints.save` does.

        Args:
            step: number of steps made.
            lanes: the lanes, spread over all processes.
            rows: of process 0.

        Raises:
            RunDirectoryError: if process 0 cannot write it.
        """
        whole = processes.fetched(lanes)
        processes.from_first(lambda: self._first.save(step, whole, rows))

    def restore_newest(self, abstract: PyTree) -> tuple[int, Lane | None, list[str]]:
        """Restore as `Checkpoints.restore_newest` does.

        Args:
            abstract: lanes of `jax.ShapeDtypeStruct` with shardings over all processes.

        Returns:
            `(step, lanes, notices)`.

        Raises:
            RunDirectoryError: as `Checkpoints.restore_newest`, in every process.
        """
        on_host = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), abstract)
        restored = []

        def restore() -> tuple[int, bool, list[str]]:
            step, lanes, notices = self._first.restore_newest(on_host)
            restored.append(lanes)
            return step, lanes is not None, notices

        step, is_some, notices = processes.from_first(restore)
        if not is_some:
            return step, None, notices
        words = processes.broadcast(restored.pop() if restored else None, on_host)
        return step, jax.tree.map(_placed, words, abstract), notices

    def rows_at(self, step: int) -> list[dict[str, Any]]:
        """Read the rows of a checkpoint as `Checkpoints.rows_at` does.

        Args:
            step: of a checkpoint that `restore_newest` has returned.

        Returns:
            The rows.
        """
        return processes.from_first(lambda: self._first.rows_at(step))

    @property
    def _first(self) -> Checkpoints:
        assert self._own is not None
        return self._own

    def close(self) -> None:
        """Release orbax's threads."""
        if self._own is not None:
            self._own.close()


def _placed(words: Any, like: jax.ShapeDtypeStruct) -> jax.Array:
    """An array, or an array of keys by their words, on the devices of all processes."""
    if not is_key(like):
        return mesh.place(words, like.sharding)
    return jax.random.wrap_key_data(mesh.place(words, like.sharding), impl=key_generator(like))


def checkpoints_of(
    folder: Path, identity: dict[str, Any], usual: dict[str, Any]
) -> Checkpoints | SharedCheckpoints:
    """Open the checkpoints of a program, for one process or for several.

    Args:
        folder: as `Checkpoints`.
        identity: as `Checkpoints`.
        usual: as `Checkpoints`.

    Returns:
        The checkpoints.
    """
    kind = SharedCheckpoints if processes.several() else Checkpoints
    return kind(folder, identity, usual=usual)
