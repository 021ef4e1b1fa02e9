"""Checkpoints between chunks, with orbax: atomic, checked by a hash, the newest sound one wins,
keep-k."""

import hashlib
import json
import logging
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from dgm_jax.core import PyTree, RunDirectoryError, require, tree_sha256

logging.getLogger("absl").setLevel(logging.ERROR)

LANES, SEAL = "lanes", "seal"  # the arrays; what they are and the hash of their bits


class Checkpoints:
    """The checkpoints of one program in one folder, numbered by step.

    A save is complete or absent: orbax writes to a temporary folder and renames it. Of the complete
    ones the newest `keep` stay. Each carries the SHA-256 of its arrays, so that a damaged one is
    never used.
    """

    def __init__(self, folder: Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=True,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
        )
        self._folder = Path(folder).resolve()
        self._manager = ocp.CheckpointManager(
            self._folder, options=options, item_names=(LANES, SEAL)
        )

    def save(self, step: int, tree: PyTree) -> None:
        """Saves `tree` under `step`; returns when it is on disk. A step that is there already
        stays.

        Raises RunDirectoryError where it cannot be written (a full disk, say); older ones are as
        they were.
        """
        if step in self._manager.all_steps():
            return
        leaves = _leaves(tree)
        seal = {"sha256": tree_sha256(tree), "leaves": leaves, "leaves_sha256": _sha256(leaves)}
        items = ocp.args.Composite(
            **{LANES: ocp.args.StandardSave(tree), SEAL: ocp.args.JsonSave(seal)}
        )
        try:
            written = self._manager.save(step, args=items, force=True)
        except (OSError, ValueError) as error:  # tensorstore's errors of the disk are ValueErrors
            reason = f"checkpoint {step} cannot be written to {self._folder}: {str(error)[:200]}"
            raise RunDirectoryError(reason) from error
        require(written, f"checkpoint {step} was not written to {self._folder}", RunDirectoryError)

    def restore_newest(self, abstract: PyTree) -> tuple[int, PyTree, list[str]]:
        """`(step, tree, notices)` of the newest checkpoint that can be read; step 0 and None where
        there is none.

        abstract: a tree of `jax.ShapeDtypeStruct` with shardings; the arrays are placed
            accordingly, so a run may go
        on with another number of devices. A damaged checkpoint newer than the one restored is named
        in `notices` and set aside under the name damaged-STEP, so that its step can be saved again.

        Raises RunDirectoryError, and leaves the folder as it is, where a checkpoint holds arrays of
        other names, shapes or dtypes (the program has changed) and where there are checkpoints of
        which none can be read. An exhausted memory is no damage: that error is passed on.
        """
        damaged, notices = [], []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                tree = self._restore(step, abstract)
            except (RunDirectoryError, MemoryError, jax.errors.JaxRuntimeError):
                raise
            # orbax raises many kinds; each is reported, and the next older one tried
            except Exception as error:
                damaged.append(step)
                notices.append(
                    f"checkpoint {step} cannot be read ({type(error).__name__}: {str(error)[:200]})"
                )
            else:
                self._set_aside(damaged)
                return step, tree, notices
        hint = f"remove {self._folder} to begin again at step 0"
        require(not damaged, f"{'; '.join(notices)}: {hint}", RunDirectoryError)
        return 0, None, notices

    def _restore(self, step: int, abstract: PyTree) -> PyTree:
        seal = self._manager.restore(
            step, args=ocp.args.Composite(**{SEAL: ocp.args.JsonRestore()})
        )[SEAL]
        if _sha256(seal["leaves"]) != seal["leaves_sha256"]:
            raise ValueError("the list of its arrays is not the one that was saved")
        _require_same_leaves(step, seal["leaves"], _leaves(abstract))
        items = ocp.args.Composite(**{LANES: ocp.args.StandardRestore(abstract)})
        tree = self._manager.restore(step, args=items)[LANES]
        if _leaves(tree) != seal["leaves"] or tree_sha256(tree) != seal["sha256"]:
            raise ValueError("the arrays are not the ones that were saved: their SHA-256 differs")
        return tree

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


def _leaves(tree: PyTree) -> dict[str, str]:
    """Path -> dtype and shape of every leaf."""
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in paths}


def _sha256(content) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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
