"""Disks that are full: the run ends with a sentence, and goes on once there is room."""

import contextlib
import pathlib
import random
import shutil
import subprocess
from collections.abc import Iterator

from runs import TINY, Case, Room, Skipped, difference, refusal

SMALLEST, LARGEST = 16, 2048  # KiB
MOST_LINES = 5  # on standard error


def trial(count: int, rng: random.Random, room: Room) -> Iterator[Case]:
    """`count` sizes, evenly spread by their logarithm and then shifted a little."""
    room.alone(TINY)
    for i in range(count):
        part = (i + rng.random()) / count
        size = int(SMALLEST * (LARGEST / SMALLEST) ** part) // 4 * 4  # whole pages
        with small_disk(room.fresh("disk"), size) as disk:
            yield Case(f"a disk of {size} KiB", _filled(disk, room))


def _filled(disk: pathlib.Path, room: Room) -> str | None:
    out = disk / "run"
    ended = TINY.start(out).wait()
    if ended.code == 0:
        return difference(out, room.alone(TINY))
    problem = refusal(ended, MOST_LINES)
    if problem is not None:
        return problem
    mount("-o", "remount,size=64m", str(disk))
    return room.finish(TINY, out)


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, kib: int):
    """A file system in memory of so many KiB, or `Skipped`."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={kib}k", "none", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise Skipped(f"no file system can be mounted here: {error}") from error
    if done.returncode:
        raise Skipped(f"no file system can be mounted here: {done.stderr.strip()}")
