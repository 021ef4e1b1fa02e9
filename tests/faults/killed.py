"""SIGKILL at any moment, also while resuming: the run ends with the bits of an undisturbed one."""

import random
import re
import signal
from collections.abc import Iterator

from forked import Act, Child
from runs import TINY, Case, Game, Room, real_runs

# Half of the moments are aimed at an operation on a file, the others fall anywhere in the run.
AIMS = {
    "a checkpoint's temporary folder": r"(open|mkdir) .*checkpoints/.*(tmp|part)",
    "a checkpoint's rename": r"rename .*checkpoints/",
    "a checkpoint's removal": r"(remove|rmdir|rmtree) .*checkpoints/",
    "a .part file": r"open .*\.part$",
    "a .part file's rename": r"rename .*\.part ",
    "a picture": r"(open|rename) .*figures/.*\.part",
    "the parameters": r"(open|rename) .*(parameters|models)/",
    "the summary": r"(open|rename) .*summary\.json",
    "the report": r"(open|rename) .*report\.html",
    "any file": r".",
}


def trial(count: int, rng: random.Random, room: Room) -> Iterator[Case]:
    """`count` kills, shared between the runs."""
    games = (TINY,) if room.short else real_runs()
    for number, game in enumerate(games):
        share = count // len(games) + (number < count % len(games))
        yield from _kills(game, share, rng, room)


def _kills(game: Game, count: int, rng: random.Random, room: Room) -> Iterator[Case]:
    alone = room.alone(game)
    left, aims = count, [name for name in AIMS if alone.count(re.compile(AIMS[name]))]
    rng.shuffle(aims)
    for number in range(4 * count):
        if left <= 0:
            return
        # every other run is killed again while it resumes
        wanted = min(left, 1 if number % 2 == 0 else rng.randint(2, 3))
        case = _disturbed(game, wanted, aims, rng, room)
        left -= case.tries
        if case.tries or case.problem:
            yield case
    yield Case(f"{game.name}: {left} kills came too late", "runs end before they can be killed")


def _disturbed(game: Game, kills: int, aims: list[str], rng: random.Random, room: Room) -> Case:
    """One run, killed up to so many times, then finished."""
    out, moments, delivered = room.fresh("killed"), [], 0
    name = lambda: f"{game.name} killed {'; then '.join(moments)}"
    for _ in range(kills):
        child, moment = _started(game, out, aims, rng, room)
        ended = child.wait()
        if ended.code == 0:  # it was done before its moment came
            break
        moments.append(moment)
        delivered += 1
        if ended.code != -signal.SIGKILL:
            return Case(name(), str(ended), delivered)
    return Case(name(), room.finish(game, out), delivered)


def _started(game: Game, out, aims, rng: random.Random, room: Room) -> tuple[Child, str]:
    """A start of the run with a kill on its way, and when that comes."""
    alone = room.alone(game)
    if rng.random() < 0.5:
        aims.append(aims.pop(0))
        pattern = AIMS[aims[-1]]
        times = alone.count(re.compile(pattern))
        later = rng.choice((0.0, rng.uniform(0.0, 0.02)))
        act = Act(signal.SIGKILL, pattern, rng.randint(1, times), later)
        return game.start(out, "--resume", act=act), f"at {aims[-1]} ({act})"
    pause = rng.uniform(0.0, alone.seconds)
    child = game.start(out, "--resume")
    if not child.has_ended(pause):
        child.send(signal.SIGKILL)
    return child, f"after {pause:.3f} s"
