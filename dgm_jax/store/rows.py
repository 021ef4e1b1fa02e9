"""metrics.jsonl: one row per logged step, appended as a whole or not at all."""

import contextlib
import os
import pathlib
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from dgm_jax.core import json_values
from dgm_jax.store import records


class Rows:
    """The rows of one file; every call holds one lock, so threads may share it."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._writing = threading.RLock()

    def append(self, row: dict[str, Any]) -> None:
        """Append a row and flush it to the disk.

        If the disk refuses (for example, because it is full), the part that was written is removed
        before the error is raised.

        Args:
            row: arrays become lists, NaN and infinity null.

        Raises:
            OSError: if it cannot be written.
        """
        line = _line(row)
        with self._writing:
            descriptor = self._opened()
            before = os.fstat(descriptor).st_size
            try:
                # A disk that is nearly full writes a part, and refuses the rest in the next call.
                while line:
                    num_written = os.write(descriptor, line)
                    line = line[num_written:]
                os.fsync(descriptor)
            except OSError as error:
                os.ftruncate(descriptor, before)
                self.close()
                raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _opened(self) -> int:
        """The descriptor of the file of that name, which is opened where it is not yet open."""
        if self._descriptor is not None and self._is_elsewhere(self._descriptor):
            self.close()
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._descriptor = os.open(self.path, flags, 0o666)
        return self._descriptor

    def _is_elsewhere(self, descriptor: int) -> bool:
        """Whether the open file is no longer the one of that name: deleted or replaced."""
        with contextlib.suppress(OSError):
            named = os.stat(self.path)
            opened = os.stat(descriptor)
            return not os.path.samestat(named, opened)
        return True

    def mend(self) -> list[str]:
        """Drop a last line cut short, and rename what is not a file.

        Returns:
            Sentences about that.
        """
        with self._writing:
            self.close()
            if self.path.exists() and not self.path.is_file():
                moved = records.set_aside(self.path)
                return [f"{self.path} is no file: it is now {moved.name}"]
            content = self._content()
            lines = records.split_lines(content)
            whole = b"".join(line for line, _ in lines)
            if whole != content:
                records.write_atomically(self.path, whole)
            return []

    def settle(
        self,
        arms: Collection[str],
        logged: Mapping[str, Collection[int]],
        known: Sequence[dict[str, Any]] = (),
    ) -> list[str]:
        """Make the rows of some arms those of the steps that were logged.

        Rows that are kept are unchanged, and the file is replaced atomically. Later rows are
        dropped, since their steps will be made again. Of duplicates the first is kept. Lines that
        are not rows of a step and an arm of this run are moved to a file metrics.damaged.jsonl.

        Args:
            arms: names of all arms of the run. Rows of those that `logged` does not name are kept.
            logged: {arm: steps} up to the checkpoint of the arm.
            known: rows of the checkpoint; those that are missing are restored.

        Returns:
            Sentences about what was duplicated or damaged, and what is missing.
        """
        with self._writing:
            self.close()
            content = self._content()
            lines = _sort(content, arms, logged)
            sentences = lines.put_back(known, logged)
            sentences += lines.about(logged)
            kept = b"".join(lines.kept)
            if kept != content:
                sentences += self._replace(kept, lines.damaged)
            return sentences

    def _replace(self, kept: bytes, damaged: list[bytes]) -> list[str]:
        """Write the kept lines, and the damaged ones to another file."""
        sentences = []
        if damaged:
            file = records.aside(self.path)
            records.write_atomically(file, b"".join(damaged))
            num_damaged = len(damaged)
            sentences.append(f"{self.path}: {num_damaged} damaged rows are now in {file.name}")
        records.write_atomically(self.path, kept)
        return sentences

    def _content(self) -> bytes:
        if not self.path.is_file():
            return b""
        return self.path.read_bytes()

    def close(self) -> None:
        """Close the file; the next row opens it again."""
        with self._writing:
            descriptor = self._descriptor
            self._descriptor = None
            if descriptor is not None:
                os.close(descriptor)


class _Lines(NamedTuple):
    """The lines of a file, and the places (arm, step) that they have."""

    kept: list[bytes]
    damaged: list[bytes]
    places: set[tuple[str, int]]
    duplicates: set[tuple[str, int]]

    def put_back(self, known: Sequence[dict[str, Any]], arms: Collection[str]) -> list[str]:
        """Add rows that are missing; returns sentences about them."""
        sentences = []
        for row in known:
            place = _place(row, arms)
            if place is None or place in self.places:
                continue
            arm, step = place
            self.places.add(place)
            self.kept.append(_line(row))
            sentences.append(f"{arm}: the row of step {step} was lost and is put back")
        return sentences

    def about(self, logged: Mapping[str, Collection[int]]) -> list[str]:
        """Sentences about what is duplicated or missing: the first five steps of each arm."""
        sentences = []
        for arm, steps in logged.items():
            twice = sorted(step for name, step in self.duplicates if name == arm)
            missing = sorted(step for step in steps if (arm, step) not in self.places)
            if twice:
                shown = _first_five(twice)
                sentences.append(f"{arm}: rows of steps {shown} were there twice")
            if missing:
                shown = _first_five(missing)
                sentences.append(f"{arm}: rows of steps {shown} are missing")
        return sentences


def _sort(content: bytes, arms: Collection[str], logged: Mapping[str, Collection[int]]) -> _Lines:
    """Which lines are kept, and which are damaged; later rows and duplicates are neither."""
    lines = _Lines([], [], set(), set())
    last = {arm: max(steps, default=0) for arm, steps in logged.items()}
    for line, row in records.split_lines(content):
        place = _place(row, arms)
        if place is None:
            lines.damaged.append(line)
            continue
        arm, step = place
        if arm not in logged:
            lines.kept.append(line)
        elif place in lines.places:
            lines.duplicates.add(place)
        elif step in logged[arm]:
            lines.places.add(place)
            lines.kept.append(line)
        elif step < last[arm]:
            lines.damaged.append(line)
    return lines


def _place(row: dict[str, Any] | None, arms: Collection[str]) -> tuple[str, int] | None:
    """(arm, step) of a row, or None if it is not a row of these arms."""
    if not row:
        return None
    arm = row.get("arm")
    step = row.get("step")
    if not isinstance(arm, str) or arm not in arms:
        return None
    if not isinstance(step, int) or step is True or step <= 0:
        return None
    return arm, step


def _line(row: dict[str, Any]) -> bytes:
    text = json_values.dumps(row)
    return text.encode() + b"\n"


def _first_five(steps: list[int]) -> str:
    shown = ", ".join(map(str, steps[:5]))
    num_more = len(steps) - 5
    if num_more <= 0:
        return shown
    return f"{shown} and {num_more} more"
