"""A checkpoint read without the program that made it: for who has a folder, and not the data."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import orbax.checkpoint as ocp

from dgm_jax.core import sha256_of
from dgm_jax.training.checkpoint import LANES, SEAL, require_sound_seal
from dgm_jax.training.lanes_file import FILE, read_named


class StoredCheckpoint(NamedTuple):
    """A checkpoint read without the program that made it.

    arrays: of the lanes by path, such as `train_state/params/generator/Dense_0/kernel`.
    """

    step: int
    identity: dict
    arrays: dict[str, Any]


def read_newest(folder: Path) -> tuple[StoredCheckpoint | None, list[str]]:
    """The newest checkpoint in a folder whose arrays are those that were saved.

    Changes nothing, so a run may be writing there. Whether it is the right run's is for the caller
    to say, by the identity.

    Returns:
      The checkpoint, or None where none is sound; and of each newer one that is damaged a sentence.
    """
    notices = []
    if not Path(folder).is_dir():
        return None, notices
    options = ocp.CheckpointManagerOptions(read_only=True)
    names = (LANES, SEAL)
    with ocp.CheckpointManager(
        Path(folder).resolve(), options=options, item_names=names
    ) as manager:
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
    saved = read_named(Path(str(manager.directory)) / str(step) / LANES / FILE, seal["leaves"])
    if sha256_of(saved) != seal["sha256"]:
        raise ValueError("the arrays are not the ones that were saved: their SHA-256 differs")
    return StoredCheckpoint(step, seal["identity"], {_simple(path): x for path, x in saved.items()})


_KEY = re.compile(r"\['((?:[^'\\]|\\.)*)'\]|\[(\d+)\]|\.(\w+)")


def _simple(path: str) -> str:
    """`.params['generator'][0]` as `params/generator/0`."""
    return "/".join(next(part for part in found if part) for found in _KEY.findall(path))
