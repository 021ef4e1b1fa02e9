"""Hostile files over the readers of image folders, npz files and IDX files.

All of them are read in one process of their own (`helpers/read_hostile.py`), which must hold less
than 1 GB of memory at any time. Survived is a set that is read, or refused by an error of the
library's own within a minute, while no program is started, nothing is unpickled and no file is
opened for writing.
"""

import collections
import random
from collections.abc import Iterator

import read_hostile
from runs import Case, Room

MOST_BYTES = 10**9


def trial(count: int, rng: random.Random, room: Room) -> Iterator[Case]:
    seed = rng.randrange(2**31)
    _, found = read_hostile.read_apart(room.fresh("hostile"), count, seed)
    for raised in found["raw"]:
        yield Case(f"raised, seed {seed}", raised)
    fine = collections.Counter(found["loaded"]) + collections.Counter(found["refused"])
    for reader, tries in sorted(fine.items()):
        told = f"{found['refused'].get(reader, 0)} refused"
        yield Case(f"{reader}, {told}, seed {seed}", None, tries)
    for event in found["ran"]:
        yield Case(f"an event, seed {seed}", event)
    if found["canary"]:
        yield Case(f"contents, seed {seed}", "the canary was made")
    if found["peak_bytes"] >= MOST_BYTES:
        yield Case(f"memory, seed {seed}", f"{found['peak_bytes']} bytes at the most")
