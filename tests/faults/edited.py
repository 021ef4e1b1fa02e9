"""Files of a run folder edited, damaged, lost or replaced: what is due comes, and no traceback.

The run is the tiny game, stopped after five of its six rows, or at work, or finished. What is due
after an edit stands in `edits.py`:

REFUSED     exit code 2 and a sentence.
FINISHED    exit code 0 with the undisturbed run's parameters. Where rows are missing or damaged in
            the end, whatever their order, something has been said about rows.
EITHER      one of the two.

A run that was edited while it worked is resumed after it, and one of the two is due again.
"""

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import edits
from disks import mount, small_disk
from edits import EITHER, FINISHED, REFUSED, Edit
from forked import Ended
from runs import TINY, Case, Room, Skipped, difference, refusal, sample, stopped_run, tiny_run

AT = 4  # the evaluation at which a run that works is edited


def trial(count: int, rng: random.Random, room: Room) -> Iterator[Case]:
    attempts = [(name, _after_stop, edit) for name, edit in edits.STOPPED.items()]
    attempts += [(f"at work, {name}", _at_work, edit) for name, edit in edits.WORKING.items()]
    attempts += [(name, _when_done, edit) for name, edit in edits.DONE.items()]
    attempts += [(f"read-only, {name}", _read_only, name) for name in ("new", "stopped")]
    for name, attempt, edit in sample(attempts, count, rng):
        try:
            yield Case(name, attempt(edit, room))
        except Skipped as reason:
            yield Case(f"{name}: skipped, {reason}", tries=0)


def _after_stop(edit: Edit, room: Room) -> str | None:
    out = stopped_run(room)
    edit.do(out)
    return _judged(edit.due, out, _started(out, *edit.flags), room)


def _when_done(edit: Edit, room: Room) -> str | None:
    out = room.fresh("done")
    shutil.copytree(room.alone(TINY).folder, out, symlinks=True)
    edit.do(out)
    return _judged(edit.due, out, _started(out, *edit.flags), room)


def _at_work(edit: Edit, room: Room) -> str | None:
    """The run itself edits its folder, between two of its rows."""
    out, seen = room.fresh("working"), []

    def summarize(arrays, config, inputs):
        del config, inputs
        seen.append(0)
        if len(seen) == AT:
            edit.do(out)
        return {name: value for name, value in arrays.items() if value.ndim == 1}

    ended = tiny_run(summarize=summarize).start(out).wait()
    problem = _judged(edit.due, out, ended, room)
    if ended.code == 2 and not out.exists() and "is sound" in ended.err:
        return f"the folder is gone, and what was in it is called sound: {ended}"
    if problem is not None:
        return problem
    again = _started(out, "--resume")
    if ended.code == 0 == again.code:  # it was finished, and what is to be said of rows was said
        return difference(out, room.alone(TINY), rows=False)
    problem = _judged(edit.due, out, again, room)
    return problem and f"then --resume: {problem}"


def _read_only(which: str, room: Room) -> str | None:
    with small_disk(room.fresh("read-only"), 16_384) as disk:
        out = disk / "run"
        if which == "stopped":
            shutil.copytree(stopped_run(room), out, symlinks=True)
        mount("-o", "remount,ro", str(disk))
        return _judged(REFUSED, out, _started(out, "--resume"), room)


def _started(out: Path, *flags: str) -> Ended:
    """Another start; a flag stands before the run's own of that name."""
    own = list(TINY.flags)
    for flag in flags:
        if flag in own:
            place = own.index(flag)
            del own[place : place + 2]
    return TINY._replace(flags=tuple(own)).start(out, *flags).wait()


def _judged(due: str, out: Path, ended: Ended, room: Room) -> str | None:
    if "Traceback" in ended.err or "Traceback" in ended.out:
        return f"a traceback: {ended}"
    if ended.code == 0 and due in (FINISHED, EITHER):
        return _finished(out, ended, room)
    if ended.code == 2 and due in (REFUSED, EITHER):
        return refusal(ended)
    return f"it must be {due}: {ended}"


def _finished(out: Path, ended: Ended, room: Room) -> str | None:
    alone = room.alone(TINY)
    problem = difference(out, alone, rows=False)
    if problem is None and not re.search(r"\brows?\b|metrics\.jsonl", ended.err):
        problem = difference(out, alone, in_order=False)
    return problem and f"{problem}; {ended}"
