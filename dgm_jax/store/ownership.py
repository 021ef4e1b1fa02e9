"""The owner of a run folder: one process at a time."""

import contextlib
import os
import pathlib
import socket
import time
from typing import Any

import filelock

from dgm_jax.core import RunDirectoryError, json_values
from dgm_jax.store import environment, records

LOCK = ".lock"
OWNER = ".owner.json"


def _owner_now() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "start": environment.utc_now()}


def acquire(root: pathlib.Path) -> filelock.BaseFileLock:
    """Lock a run folder.

    The operating system holds the lock (flock), so it is released when its owner ends, however it
    ends.

    Args:
        root: the folder.

    Returns:
        The lock.

    Raises:
        RunDirectoryError: if another process holds it, which the message names, or the folder
            cannot be locked.
    """
    lock = filelock.FileLock(root / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        owner = _read_owner(root)
        who = "another process"
        if owner:
            who = (
                f"process {owner.get('pid')} on host {owner.get('host')!r} since"
                f" {owner.get('start')}"
            )
        raise RunDirectoryError(
            f"{root} is in use by {who}: wait for it, or choose another folder with --out"
        ) from None
    except (OSError, NotImplementedError) as error:
        raise RunDirectoryError(f"{root}: the folder cannot be locked: {error}") from error
    try:
        records.write_atomically(root / OWNER, json_values.dumps(_owner_now()))
    except BaseException:
        lock.release()
        raise
    return lock


def release(root: pathlib.Path, lock: filelock.BaseFileLock) -> None:
    """Release the lock of a run folder.

    Args:
        root: the folder.
        lock: its lock.
    """
    (root / OWNER).unlink(missing_ok=True)
    lock.release()


def _read_owner(root: pathlib.Path, patience: float = 10.0) -> dict[str, Any] | None:
    """What the owner wrote about itself.

    A missing file, or a dead process in it, gets `patience` seconds to be replaced, since on a slow
    disk some time may pass between the owner's lock and its file.
    """
    end = time.monotonic() + patience
    while True:
        with contextlib.suppress(RunDirectoryError):
            owner = records.read_json(root / OWNER)
            if owner.get("host") != socket.gethostname() or _alive(owner.get("pid")):
                return owner
        if time.monotonic() > end:
            return None
        time.sleep(0.05)


def _alive(pid: Any) -> bool:
    """Whether a process with that number exists on this machine."""
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, TypeError, ValueError, OverflowError):
        return False
    return True
