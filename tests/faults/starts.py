"""Many starts at once in one folder: one trains, the others are refused and name it."""

import os
import random
import time
from collections.abc import Iterator

import jax.numpy as jnp
from runs import Case, Game, Room, difference, refusal, tiny_run

from dgm_jax.run import Inputs


def trial(count: int, rng: random.Random, room: Room) -> Iterator[Case]:
    """One round of `count` starts. The winner waits in `load` until all others have ended."""
    del rng
    out, gate = room.fresh("starts"), room.fresh("gate")
    game = _waiting(gate)
    children = [game.start(out) for _ in range(count)]
    end = time.monotonic() + 300
    while sum(not child.has_ended(0) for child in children) > 1 and time.monotonic() < end:
        time.sleep(0.05)
    gate.touch()
    ended = [child.wait() for child in children]
    winners = [child.pid for child, how in zip(children, ended, strict=True) if how.code == 0]
    if len(winners) != 1:
        yield Case(f"{count} starts", f"{len(winners)} winners: {[e.code for e in ended]}", count)
        return
    alone = room.alone(tiny_run())
    for child, how in zip(children, ended, strict=True):
        if child.pid == winners[0]:
            yield Case("the winner", difference(out, alone))
        else:
            named = f"process {winners[0]}" in how.err
            yield Case("a loser", refusal(how) or (None if named else f"not named: {how}"))


def _waiting(gate) -> Game:
    def load(settings, needed):
        del settings, needed
        while not os.path.exists(gate):
            time.sleep(0.05)
        return Inputs({"target": jnp.float32(2.0)}, {"name": "number", "identity": "number"})

    return tiny_run(load=load)
