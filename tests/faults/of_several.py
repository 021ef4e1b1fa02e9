"""SIGKILL of one process of a run of several: the others end too, and the run can go on."""

import random
import time
from collections.abc import Iterator

from process_group import Group
from runs import Case, Room, Undisturbed, difference

FLAGS = "--num_steps 30 --log_every 10 --num_seeds 4 --strategy map --progress quiet".split()
LIMIT_SECONDS = 30
# (processes, the one that is killed, processes that resume); every group has all four lanes
TRIES = ((2, 1, 2), (2, 0, 1), (4, 3, 2), (2, 1, 4))


def trial(count: int, rng: random.Random, room: Room) -> Iterator[Case]:
    """`count` of the tries, beside an undisturbed run in one process."""
    del rng
    alone = room.fresh("alone")
    [(code, _, errors)] = Group(1, "run", "--out", alone, *FLAGS).ended()
    if code != 0:
        raise RuntimeError(f"undisturbed: {code}, {errors}")
    for size, victim, resumed in TRIES[:count]:
        yield _killed(size, victim, resumed, Undisturbed(alone, 0.0, []), room)


def _killed(size: int, victim: int, resumed: int, alone: Undisturbed, room: Room) -> Case:
    out = room.fresh("group")
    start = time.monotonic()
    group = Group(size, "run", "--out", out, *FLAGS, victim=victim)
    ends = group.moments()
    last = max(ends) - ends[victim]
    ended = group.ended()
    at = time.monotonic()
    again = Group(resumed, "run", "--out", out, *FLAGS, "--resume").ended()
    name = (
        f"process {victim} of {size} killed {ends[victim] - start:.1f} s after the start, the"
        f" others ended {last:.1f} s later; resumed by {resumed} in {time.monotonic() - at:.1f} s"
    )
    wrong = [
        f"process {index}: {code}, {errors[-500:]}"
        for index, (code, _, errors) in enumerate(ended)
        if code != 7 or ("ended by SIGKILL" if index == victim else "another process") not in errors
    ]
    if last > LIMIT_SECONDS:
        return Case(name, "too late")
    wrong += [f"--resume: {code}, {errors[-500:]}" for code, _, errors in again if code != 0]
    return Case(name, "; ".join(wrong) or difference(out, alone, rows=False))
