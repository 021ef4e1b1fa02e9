"""Reads a checkpoint without the program that made it and without the data."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import orbax.checkpoint as ocp

from dgm_jax.core import sha256_of
from dgm_jax.training.checkpoint import LANES, SEAL, require_sound_seal
from dgm_jax.training.lanes_file import FILE, read_named


class StoredCheckpoint(NamedTuple):
    """A checkpoint, read without the program that made it.

    Attributes:
        step: number of steps made.
        identity: of its run.
        arrays: of the lanes by path, such as `train_state/params/generator/Dense_0/kernel`.
    """

    step: int
    identity: dict[str, Any]
    arrays: dict[str, Any]


def read_newest(folder: Path) -> tuple[StoredCheckpoint | None, list[str]]:
    """Read the newest sound checkpoint of a folder.

    Changes nothing, so a run may be writing to the folder. The caller must check by the identity
    that it is the right run's.

    Args:
        folder: folder of the checkpoints.

    Returns:
        The checkpoint, or None if none is sound; and a sentence for each newer one that is damaged.
    """
    notices = []
    if not Path(folder).is_dir():
        return None, notices
    manager = ocp.CheckpointManager(
        Path(folder).resolve(),
        options=ocp.CheckpointManagerOptions(read_only=True),
        item_names=(LANES, SEAL),
    )
    with manager:
        for step in sorted(manager.all_steps(), reverse=True):
            try:
                return _read(manager, step), notices
            except MemoryError:
                raise
            # orbax raises many kinds for a damaged checkpoint
            except Exception as error:
                reason = f"{type(error).__name__}: {str(error)[:200]}"
                notices.append(f"checkpoint {step} cannot be read ({reason})")
    return None, notices


def _read(manager: ocp.CheckpointManager, step: int) -> StoredCheckpoint:
    args = ocp.args.Composite(**{SEAL: ocp.args.JsonRestore()})
    seal = manager.restore(step, args=args)[SEAL]
    require_sound_seal(seal)
    if seal["step"] != step:
        raise ValueError(f"it is checkpoint {seal['step']} under another name")
    path = Path(str(manager.directory)) / str(step) / LANES / FILE
    saved = read_named(path, seal["leaves"])
    if sha256_of(saved) != seal["sha256"]:
        raise ValueError("the arrays are not the ones that were saved: their SHA-256 differs")
    arrays = {_simple(name): array for name, array in saved.items()}
    return StoredCheckpoint(step, seal["identity"], arrays)


_KEY = re.compile(r"\['((?:[^'\\]|\\.)*)'\]|\[(\d+)\]|\.(\w+)")


def _simple(path: str) -> str:
    """`.params['generator'][0]` as `params/generator/0`."""
    matches = _KEY.finditer(path)
    return "/".join(match[match.lastindex or 0] for match in matches)
