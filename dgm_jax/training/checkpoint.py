"""Checkpoints between chunks, written with orbax.

Saving is atomic. Each checkpoint is sealed with the identity of its run and the hash of its bits; a
run resumes from the newest sound one, and the newest few are kept.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from dgm_jax.core import Lane, PyTree, RunDirectoryError, differences, require, tree_sha256
from dgm_jax.training._orbax import alone, without_messages
from dgm_jax.training.lanes_file import RestoreLanes, SaveLanes

LANES = "lanes"  # the item that holds the arrays
SEAL = "seal"  # the item that says to which run they belong, their types and their hash
_OLD_SEAL = {"sha256", "leaves", "leaves_sha256"}  # entries before seals named run and step


class Checkpoints:
    """The checkpoints of one program in one folder, numbered by step.

    A save is complete or absent: orbax writes to a temporary folder and renames it. The newest
    `keep` complete ones are kept. Each carries the SHA-256 of its arrays, so that a damaged one is
    never used, and the identity of its run and its step, so that one of another run, or renamed to
    another step, is not used either.

    Args:
        folder: folder of the checkpoints; it is created.
        identity: what distinguishes this program's run from every other, as JSON values: the run's
            random name, the experiment, the arms, the settings, the data.
        usual: values of entries that an identity leaves out, for refusals.
        keep: number of checkpoints to keep.
        read_only: whether the folder, which must exist then, is left unchanged whatever it holds;
            nothing can be saved then.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict[str, Any],
        keep: int = 2,
        *,
        usual: dict[str, Any] | None = None,
        read_only: bool = False,
    ) -> None:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=False,
            read_only=read_only,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=not read_only,
            multiprocessing_options=alone(),
        )
        self._folder = Path(folder).resolve()
        self._identity = json.loads(json.dumps(identity))  # as read from JSON: lists, no tuples
        self._usual = usual
        self._read_only = read_only
        if not read_only:
            self._folder.mkdir(parents=True, exist_ok=True)
        with without_messages():
            self._manager = ocp.CheckpointManager(
                self._folder, options=options, item_names=(LANES, SEAL)
            )

    def save(self, step: int, lanes: Lane, rows: Sequence[dict[str, Any]] = ()) -> None:
        """Save lanes under a step; returns when they are on disk.

        A step that was saved before is left as it is.

        Args:
            step: number of steps made.
            lanes: the lanes.
            rows: what was logged at this step, as JSON values, one row for each arm. They are
                sealed with the arrays, and `rows_at` returns them.

        Raises:
            RunDirectoryError: if it cannot be written (for example, the disk is full); older
                checkpoints are unchanged.
        """
        if step in self._manager.all_steps():
            return
        content = {
            "identity": self._identity,
            "step": step,
            "leaves": _leaves(lanes),
            "sha256": tree_sha256(lanes),
            "rows": list(rows),
        }
        seal = {**content, "seal_sha256": _sha256(content)}
        items = ocp.args.Composite(**{LANES: SaveLanes(lanes), SEAL: ocp.args.JsonSave(seal)})
        try:
            with without_messages():
                written = self._manager.save(step, args=items, force=True)
        except (OSError, ValueError) as error:  # tensorstore's errors of the disk are ValueErrors
            reason = f"checkpoint {step} cannot be written to {self._folder}: {str(error)[:200]}"
            raise RunDirectoryError(reason) from error
        require(written, f"checkpoint {step} was not written to {self._folder}", RunDirectoryError)

    def restore_newest(self, abstract: PyTree) -> tuple[int, Lane | None, list[str]]:
        """Restore the newest checkpoint that can be read.

        Newer ones that are damaged are named in the notices and, unless the folder is read only,
        renamed to damaged-STEP, so that their step can be saved again. Exhausted memory is not
        damage; that error is passed on.

        Args:
            abstract: lanes of `jax.ShapeDtypeStruct` with shardings; the arrays are placed
                accordingly, so a run may resume on another number of devices.

        Returns:
            `(step, lanes, notices)`; step 0 and None if there is no checkpoint.

        Raises:
            RunDirectoryError: if a checkpoint belongs to another run, is named by another step, is
                of a version that did not record its run, or holds arrays of other names, shapes or
                dtypes (the program has changed); or if none can be read. The folder is left
                unchanged.
        """
        damaged = []
        notices = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                with without_messages():
                    lanes = self._restore(step, abstract)
            except (RunDirectoryError, MemoryError, jax.errors.JaxRuntimeError):
                raise
            # orbax raises many kinds; each is reported, and the next older checkpoint tried
            except Exception as error:
                damaged.append(step)
                reason = f"{type(error).__name__}: {str(error)[:200]}"
                notices.append(f"checkpoint {step} cannot be read ({reason})")
            else:
                if not self._read_only:
                    self._set_aside(damaged)
                return step, lanes, notices
        hint = f"put a copy of {self._folder} back, or begin again in another folder with --out"
        require(not damaged, f"{'; '.join(notices)}: {hint}", RunDirectoryError)
        return 0, None, notices

    def rows_at(self, step: int) -> list[dict[str, Any]]:
        """Read the rows that were saved with a checkpoint.

        Args:
            step: of a checkpoint that `restore_newest` has returned.

        Returns:
            The rows.

        Raises:
            RunDirectoryError: if the checkpoint belongs to another run.
            ValueError: if it is damaged.
        """
        with without_messages():
            return self._seal(step)["rows"]

    def _seal(self, step: int) -> dict[str, Any]:
        """The seal of a step, after a check that it belongs to this run."""
        items = ocp.args.Composite(**{SEAL: ocp.args.JsonRestore()})
        seal = self._manager.restore(step, args=items)[SEAL]
        self._require_same_run(step, seal)
        return seal

    def _restore(self, step: int, abstract: PyTree) -> Lane:
        seal = self._seal(step)
        _require_same_leaves(step, seal["leaves"], _leaves(abstract))
        items = ocp.args.Composite(**{LANES: RestoreLanes(abstract)})
        lanes = self._manager.restore(step, args=items)[LANES]
        if _leaves(lanes) != seal["leaves"] or tree_sha256(lanes) != seal["sha256"]:
            raise ValueError("the arrays are not the ones that were saved: their SHA-256 differs")
        _require_at(step, lanes, self._folder)
        return lanes

    def _require_same_run(self, step: int, seal: dict[str, Any]) -> None:
        """ValueError for a damaged seal; RunDirectoryError for the sound seal of something else."""
        where = f"checkpoint {step} in {self._folder}"
        restart = "begin again in another folder with --out"
        is_old = set(seal) == _OLD_SEAL and _sha256(seal["leaves"]) == seal["leaves_sha256"]
        require(
            not is_old,
            f"{where} was written by a version that did not note which run a checkpoint belongs"
            f" to: go on with that version, or {restart}",
            RunDirectoryError,
        )
        require_sound_seal(seal)
        changes = differences(seal["identity"], self._identity, usual=self._usual)
        require(
            not changes,
            f"{where} belongs to another run: {_first_five(changes)}. Put this run's own"
            f" checkpoints back, or {restart}",
            RunDirectoryError,
        )
        require(
            seal["step"] == step,
            f"{where} is checkpoint {seal['step']} under another name: rename it to"
            f" {seal['step']}, or remove it",
            RunDirectoryError,
        )

    def _set_aside(self, steps: list[int]) -> None:
        """Rename damaged checkpoints."""
        for step in steps:
            names = itertools.chain(
                [f"damaged-{step}"], (f"damaged-{step}-{i}" for i in itertools.count(1))
            )
            name = next(name for name in names if not (self._folder / name).exists())
            (self._folder / str(step)).rename(self._folder / name)
        if steps:
            self._manager.reload()

    def close(self) -> None:
        """Release orbax's threads."""
        self._manager.close()


def _leaves(tree: PyTree) -> dict[str, str]:
    """{path: dtype and shape} of every leaf."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves}


def require_sound_seal(seal: dict[str, Any]) -> None:
    """Check that a seal is the one that was saved.

    Args:
        seal: with its own hash.

    Raises:
        ValueError: if it is not.
    """
    content = {name: value for name, value in seal.items() if name != "seal_sha256"}
    if _sha256(content) != seal["seal_sha256"]:
        raise ValueError("its seal is not the one that was saved")


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _first_five(texts: list[str]) -> str:
    """The first five, with an ellipsis if there are more."""
    shown = texts[:5]
    if len(texts) > 5:
        shown.append("...")
    return "; ".join(shown)


def _require_at(step: int, lanes: Lane, folder: Path) -> None:
    """Check that running lanes have made all steps, and diverged ones no more than that."""
    steps_made, failed_at = jax.device_get((lanes.train_state.step, lanes.failed_at))
    fits = np.where(failed_at < 0, steps_made == step, steps_made <= step)
    require(
        bool(np.all(fits)),
        f"checkpoint {step} in {folder} holds lanes after {np.unique(steps_made).tolist()} steps:"
        " it was saved under a wrong step; remove it",
        RunDirectoryError,
    )


def _require_same_leaves(step: int, stored: dict[str, str], expected: dict[str, str]) -> None:
    """Check that a checkpoint has the leaves that this program expects."""
    changes = []
    for name in {**expected, **stored}:
        stored_type = stored.get(name, "absent")
        expected_type = expected.get(name, "absent")
        if stored_type != expected_type:
            changes.append(f"{name}: {stored_type} there, {expected_type} here")
    require(
        not changes,
        f"checkpoint {step} was made by another program: {_first_five(changes)}. Go on with the"
        " code that made it, or choose another folder with --out",
        RunDirectoryError,
    )
