"""metrics.jsonl: one row per logged step, appended, whole or not at all; and compared with the
steps that were logged."""

import contextlib
import os
import pathlib
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from dgm_jax.core import json_values
from dgm_jax.store import records


class Rows:
    """The rows of one file. Every call closes over one lock, so threads may share it."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._descriptor, self._writing = None, threading.RLock()

    def append(self, row: dict) -> None:
        """Adds a row and flushes it to the disk; arrays become lists, NaN and infinity null.

        Where the disk refuses (full, say) the part that was written is taken back before the error
        is raised.
        """
        line = json_values.dumps(row).encode() + b"\n"
        with self._writing:
            if self._descriptor is not None and self._is_elsewhere(self._descriptor):
                self.close()
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            before = os.fstat(self._descriptor).st_size
            try:
                # a disk that is nearly full takes a part and refuses the rest in the next call
                while line:
                    line = line[os.write(self._descriptor, line) :]
                os.fsync(self._descriptor)
            except OSError as error:
                os.ftruncate(self._descriptor, before)
                self.close()
                raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _is_elsewhere(self, descriptor: int) -> bool:
        """Whether the open file is no longer the one of that name: deleted, or another one's."""
        with contextlib.suppress(OSError):
            return not os.path.samestat(os.stat(self.path), os.stat(descriptor))
        return True

    def mend(self) -> list[str]:
        """Drops a torn last line, and sets aside what is no file; returns sentences about that."""
        with self._writing:
            self.close()
            if self.path.exists() and not self.path.is_file():
                return [f"{self.path} is no file: it is now {records.set_aside(self.path).name}"]
            content = self._content()
            whole = b"".join(line for line, _ in records.split_lines(content))
            if whole != content:
                records.write_atomically(self.path, whole)
            return []

    def settle(
        self,
        arms: Collection[str],
        logged: Mapping[str, Collection[int]],
        known: Sequence[dict] = (),
    ) -> list[str]:
        """Makes the rows of some arms those of the steps that were logged, as far as they are
        there. What stays, stays byte for byte; atomic.

        Later rows are dropped, since their steps will be made again. Of doubled ones the first
        stays. Lines that are no rows of a step and an arm of this run are moved to a file
        metrics.damaged.jsonl.

        Args:
            arms: names of all arms of the run. Rows of those that `logged` does not name stay.
            logged: {arm: steps} up to the checkpoint that the arm is at.
            known: rows that the checkpoint has; they are put in where they are missing.

        Returns:
            Sentences about what was doubled, damaged or is missing.
        """
        with self._writing:
            self.close()
            content = self._content()
            sorted_rows = _sort(content, arms, logged)
            said = sorted_rows.put_back(known, logged) + sorted_rows.about(logged)
            if b"".join(sorted_rows.kept) != content:
                said += self._replace(b"".join(sorted_rows.kept), sorted_rows.damaged)
            return said

    def _replace(self, kept: bytes, damaged: list[bytes]) -> list[str]:
        said = []
        if damaged:
            file = records.aside(self.path)
            records.write_atomically(file, b"".join(damaged))
            said = [f"{self.path}: {len(damaged)} damaged rows are now in {file.name}"]
        records.write_atomically(self.path, kept)
        return said

    def _content(self) -> bytes:
        return self.path.read_bytes() if self.path.is_file() else b""

    def close(self) -> None:
        """Closes the file; the next row opens it again."""
        with self._writing:
            if self._descriptor is not None:
                descriptor, self._descriptor = self._descriptor, None
                os.close(descriptor)


class _Sorted(NamedTuple):
    """The lines of a file, and the places (arm, step) that they have."""

    kept: list[bytes]
    damaged: list[bytes]
    seen: set[tuple[str, int]]
    doubled: set[tuple[str, int]]

    def put_back(self, known: Sequence[dict], arms: Collection[str]) -> list[str]:
        """Adds rows that are missing; returns sentences about them."""
        said = []
        for row in known:
            place = _place(row, arms)
            if place is not None and place not in self.seen:
                self.seen.add(place)
                self.kept.append(json_values.dumps(row).encode() + b"\n")
                said.append(f"{place[0]}: the row of step {place[1]} was lost and is put back")
        return said

    def about(self, logged: Mapping[str, Collection[int]]) -> list[str]:
        """Sentences about what is doubled or missing: the first five steps of each arm."""
        said = []
        for arm, steps in logged.items():
            twice = sorted(step for name, step in self.doubled if name == arm)
            missing = sorted(step for step in steps if (arm, step) not in self.seen)
            said += [f"{arm}: rows of steps {_some(twice)} were there twice"] if twice else []
            said += [f"{arm}: rows of steps {_some(missing)} are missing"] if missing else []
        return said


def _sort(content: bytes, arms: Collection[str], logged: Mapping[str, Collection[int]]) -> _Sorted:
    """Which lines stay, and which are damaged; later and doubled rows are neither."""
    found = _Sorted([], [], set(), set())
    last = {arm: max(steps, default=0) for arm, steps in logged.items()}
    for line, row in records.split_lines(content):
        place = _place(row, arms)
        if place is None:
            found.damaged.append(line)
        elif place[0] not in logged:
            found.kept.append(line)
        elif place in found.seen:
            found.doubled.add(place)
        elif place[1] in logged[place[0]]:
            found.seen.add(place)
            found.kept.append(line)
        elif place[1] < last[place[0]]:
            found.damaged.append(line)
    return found


def _place(row: dict | None, arms: Collection[str]) -> tuple[str, int] | None:
    """(arm, step) of a row, or None where it is no row of these arms."""
    arm, step = (row.get("arm"), row.get("step")) if row else (None, None)
    if not isinstance(arm, str) or arm not in arms:
        return None
    return (arm, step) if isinstance(step, int) and step > 0 and step is not True else None


def _some(steps: list[int]) -> str:
    return ", ".join(map(str, steps[:5])) + (f" and {len(steps) - 5} more" if steps[5:] else "")
