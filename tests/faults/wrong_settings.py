"""Command lines with one wrong setting, over all experiments: none starts a run.

Those of one experiment are given in one child, one after the other. Survived is exit code 2 with a
sentence and no traceback, before anything is compiled or written. As a whole, 95 % of the sentences
must have the name of the wrong setting.
"""

import itertools
import json
import os
import random
from collections.abc import Iterator

import hostile_settings
from forked import Child
from runs import Case, Room

NAMED = 0.95


def trial(count: int, rng: random.Random, room: Room) -> Iterator[Case]:
    made = sorted(
        hostile_settings.mutations(count, rng.randrange(2**32)), key=lambda mutation: mutation.name
    )
    unnamed = []
    for _, of_one in itertools.groupby(made, key=lambda mutation: mutation.name):
        mutations = list(of_one)
        for mutation, (problem, named, said) in zip(
            mutations, _tried(mutations, room), strict=True
        ):
            yield Case(str(mutation), problem and f"{problem}; said: {said[-2000:]}")
            if not named and problem is None:
                unnamed.append(f"{mutation}: {said.strip()[-300:]}")
    share = 1 - len(unnamed) / len(made)
    problem = None if share >= NAMED else "\n".join(unnamed)
    yield Case(f"{share:.1%} have the name of what is wrong", problem, tries=0)


def _tried(mutations: list, room: Room) -> list[tuple[str | None, bool, str]]:
    below = room.fresh("settings")
    below.mkdir()
    ended = Child(lambda: _all(mutations, below), below).wait()
    if ended.code != 0:
        return [(f"the process of all of them: {ended}", False, "")] * len(mutations)
    return json.loads(ended.out)


def _all(mutations: list, below) -> int:
    from refused_settings import tried

    os.chdir(below)
    print(json.dumps([tried(mutation) for mutation in mutations]))
    return 0
