"""Checkpoints between chunks, with orbax: atomic, sealed with the run that they belong to and the
hash of their bits, the newest sound one wins, keep-k."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from dgm_jax.core import Lane, PyTree, RunDirectoryError, differences, require, tree_sha256
from dgm_jax.training.lanes_file import RestoreLanes, SaveLanes

LANES, SEAL = "lanes", "seal"  # the arrays; whose they are, what they are, the hash of their bits
_OLD_SEAL = {"sha256", "leaves", "leaves_sha256"}  # before seals named their run and step


class Checkpoints:
    """The checkpoints of one program in one folder, numbered by step.

    A save is complete or absent: orbax writes to a temporary folder and renames it. Of the complete
    ones the newest `keep` stay. Each carries the SHA-256 of its arrays, so that a damaged one is
    never used, and the identity of its run with its step, so that one of another run, or under
    another step's name, is not taken for this run's own.

    Args:
      folder: where they are; it is made.
      identity: what tells this program's run from every other, as JSON knows it: the run's own
        random name, the experiment, the arms, the settings, the data.
      keep: how many stay.
      read_only: whether the folder, which must be there then, stays as it is whatever is found in
        it; nothing can be saved then.
    """

    def __init__(self, folder: Path, identity: dict, keep: int = 2, *, read_only: bool = False):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=not read_only,
            read_only=read_only,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=not read_only,
        )
        self._folder = Path(folder).resolve()
        self._identity = json.loads(json.dumps(identity))  # as it will be read: lists, no tuples
        self._read_only = read_only
        with _without_orbax_messages():
            self._manager = ocp.CheckpointManager(
                self._folder, options=options, item_names=(LANES, SEAL)
            )

    def save(self, step: int, lanes: Lane, rows: Sequence[dict] = ()) -> None:
        """Saves `lanes` under `step`; returns when it is on disk. A step that is there already
        stays.

        Args:
          step: steps made.
          lanes: what is saved.
          rows: what was logged at this step, as JSON knows it, one row for each arm. They are
            sealed with the arrays, and `rows_at` gives them back.

        Raises:
          RunDirectoryError: it cannot be written (a full disk, say); older ones are as they were.
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
            with _without_orbax_messages():
                written = self._manager.save(step, args=items, force=True)
        except (OSError, ValueError) as error:  # tensorstore's errors of the disk are ValueErrors
            reason = f"checkpoint {step} cannot be written to {self._folder}: {str(error)[:200]}"
            raise RunDirectoryError(reason) from error
        require(written, f"checkpoint {step} was not written to {self._folder}", RunDirectoryError)

    def restore_newest(self, abstract: PyTree) -> tuple[int, Lane | None, list[str]]:
        """The newest checkpoint that can be read.

        A damaged checkpoint newer than that one is named in the notices and, unless the folder is
        read only, set aside under the name damaged-STEP, so that its step can be saved again. An
        exhausted memory is no damage: that error is passed on.

        Args:
          abstract: lanes of `jax.ShapeDtypeStruct` with shardings; the arrays are placed
            accordingly, so a run may go on with another number of devices.

        Returns:
          `(step, lanes, notices)`; step 0 and None where there is no checkpoint.

        Raises:
          RunDirectoryError: a checkpoint belongs to another run, stands under the name of another
            step, is of a version that did not say where it belongs, or holds arrays of other names,
            shapes or dtypes (the program has changed); or none of those that are there can be read.
            The folder stays as it is.
        """
        damaged, notices = [], []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                with _without_orbax_messages():
                    lanes = self._restore(step, abstract)
            except (RunDirectoryError, MemoryError, jax.errors.JaxRuntimeError):
                raise
            # orbax raises many kinds; each is reported, and the next older one tried
            except Exception as error:
                damaged.append(step)
                notices.append(
                    f"checkpoint {step} cannot be read ({type(error).__name__}: {str(error)[:200]})"
                )
            else:
                if not self._read_only:
                    self._set_aside(damaged)
                return step, lanes, notices
        hint = f"put a copy of {self._folder} back, or begin again in another folder with --out"
        require(not damaged, f"{'; '.join(notices)}: {hint}", RunDirectoryError)
        return 0, None, notices

    def rows_at(self, step: int) -> list[dict]:
        """The rows that were saved with a checkpoint that `restore_newest` has returned."""
        with _without_orbax_messages():
            return self._seal(step)["rows"]

    def _seal(self, step: int) -> dict:
        """The seal of this run's own checkpoint of that step."""
        seal = self._manager.restore(
            step, args=ocp.args.Composite(**{SEAL: ocp.args.JsonRestore()})
        )[SEAL]
        self._require_own(step, seal)
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

    def _require_own(self, step: int, seal: dict) -> None:
        """ValueError for a damaged seal; RunDirectoryError for the sound seal of something else."""
        where = f"checkpoint {step} in {self._folder}"
        again = "begin again in another folder with --out"
        old = set(seal) == _OLD_SEAL and _sha256(seal["leaves"]) == seal["leaves_sha256"]
        require(
            not old,
            f"{where} was written by a version that did not note which run a checkpoint belongs"
            f" to: go on with that version, or {again}",
            RunDirectoryError,
        )
        require_sound_seal(seal)
        changes = differences(seal["identity"], self._identity)
        shown = changes[:5] + ["..."] * (len(changes) > 5)
        require(
            not changes,
            f"{where} belongs to another run: {'; '.join(shown)}. Put this run's own checkpoints"
            f" back, or {again}",
            RunDirectoryError,
        )
        require(
            seal["step"] == step,
            f"{where} is checkpoint {seal['step']} under another name: rename it to"
            f" {seal['step']}, or remove it",
            RunDirectoryError,
        )

    def _set_aside(self, steps: list[int]) -> None:
        for step in steps:
            name, again = f"damaged-{step}", 1
            while (self._folder / name).exists():
                name, again = f"damaged-{step}-{again}", again + 1
            (self._folder / str(step)).rename(self._folder / name)
        if steps:
            self._manager.reload()

    def close(self) -> None:
        """Releases orbax's threads."""
        self._manager.close()


@contextlib.contextmanager
def _without_orbax_messages():
    """What orbax logs through absl is kept back meanwhile: its warnings are of no use to a run, and
    its errors are raised as well, and reported from there."""
    logger, silent = logging.getLogger("absl"), lambda record: False
    logger.addFilter(silent)
    try:
        yield
    finally:
        logger.removeFilter(silent)


def _leaves(tree: PyTree) -> dict[str, str]:
    """Path -> dtype and shape of every leaf."""
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in paths}


def require_sound_seal(seal: dict) -> None:
    """ValueError unless a seal is the one that was saved."""
    content = {name: value for name, value in seal.items() if name != "seal_sha256"}
    if _sha256(content) != seal["seal_sha256"]:
        raise ValueError("its seal is not the one that was saved")


def _sha256(content) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _require_at(step: int, lanes: Lane, folder: Path) -> None:
    """Lanes that are well have made all steps; those that have failed stopped on the way."""
    made, failed_at = jax.device_get((lanes.train_state.step, lanes.failed_at))
    fits = np.where(failed_at < 0, made == step, made <= step)
    require(
        bool(np.all(fits)),
        f"checkpoint {step} in {folder} holds lanes after {np.unique(made).tolist()} steps:"
        " it was saved under a wrong step; remove it",
        RunDirectoryError,
    )


def _require_same_leaves(step: int, found: dict[str, str], expected: dict[str, str]) -> None:
    """Names up to five leaves that differ."""
    names = [name for name in {**expected, **found} if found.get(name) != expected.get(name)]
    rows = [
        f"{n}: {found.get(n, 'absent')} there, {expected.get(n, 'absent')} here" for n in names[:5]
    ]
    rows += ["..."] * (len(names) > 5)
    require(
        not names,
        f"checkpoint {step} was made by another program: {'; '.join(rows)}. Go on with the code"
        " that made it, or choose another folder with --out",
        RunDirectoryError,
    )
