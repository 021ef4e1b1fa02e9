"""SIGTERM and Ctrl-C at any moment: the run stops with its exit code and resumes to the same
bits."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from forked import Act, Ended
from runs import TINY, Case, Game, Room, difference, real_runs

TERM, INT = signal.SIGTERM, signal.SIGINT
# Moments by the operation on a file before which they come, or some time after it.
AIMS = {
    "loading data": (r"rename .*config\.json", 0.05),
    "compiling": (r"rename .*config\.json", 0.5),  # loading takes less in these games
    "the first row": (r"open .*metrics\.jsonl", 0.0),
    "training": (r"rename .*checkpoints/", 0.2),
    "a checkpoint": (r"mkdir .*checkpoints/.*tmp", 0.01),
    "a picture": (r"rename .*figures/.*\.part ", 0.0),
    "the last checkpoint": (r"rename .*checkpoints/", 0.0),
    "the models": (r"open .*(parameters|models)/.*\.part", 0.0),
    "the summary": (r"rename .*summary\.json", 0.0),
    "the report": (r"rename .*report\.html", 0.0),
}
LAST = {"the last checkpoint"}  # which comes at the last of the operations
EARLY = 3  # of twenty, in programs that have not imported JAX yet


def trial(count: int, rng: random.Random, room: Room) -> Iterator[Case]:
    game = (TINY if room.short else real_runs()[0])._replace(progress="lines")
    early = 0 if room.short else max(1, count * EARLY // 20)
    alone = room.alone(game)
    aims = [name for name, (pattern, _) in AIMS.items() if alone.count(re.compile(pattern))]
    rng.shuffle(aims)
    for number in range(count):
        signals = _signals(rng)
        if number < early:
            yield _of_a_program(game, signals, rng, room)
        elif number % 3 == 0:
            yield _by_the_clock(game, signals, rng, room)
        else:
            aims.append(aims.pop(0))
            yield _aimed(game, aims[-1], signals, rng, room)


def _signals(rng: random.Random) -> tuple[int, tuple[int, float] | None]:
    """The signal, and perhaps a second one with the seconds between them."""
    first = rng.choice((TERM, INT))
    again = None if rng.random() < 0.6 else (rng.choice((first, INT)), rng.uniform(0.0, 0.3))
    return first, again


def _aimed(game: Game, aim: str, signals, rng: random.Random, room: Room) -> Case:
    pattern, later = AIMS[aim]
    there = room.alone(game).count(re.compile(pattern))
    occurrence = there if aim in LAST else rng.randint(1, there)
    act = Act(signals[0], pattern, occurrence, rng.uniform(0.0, later), signals[1])
    out = room.fresh("signalled")
    ended = game.start(out, act=act).wait()
    return _judged(f"{game.name}, {aim}: {act}", game, out, ended, signals, room)


def _by_the_clock(game: Game, signals, rng: random.Random, room: Room) -> Case:
    pause = rng.uniform(0.02, room.alone(game).seconds)
    while True:
        out = room.fresh("signalled")
        child = game.start(out)
        if not child.has_ended(pause):
            break
        pause /= 2  # the machine is quicker than it was for the undisturbed run
    child.send(signals[0])
    if signals[1] is not None and not child.has_ended(signals[1][1]):
        child.send(signals[1][0])
    name = f"{game.name}, {_words(signals)} after {pause:.3f} s"
    return _judged(name, game, out, child.wait(), signals, room)


def _of_a_program(game: Game, signals, rng: random.Random, room: Room) -> Case:
    """`python -m experiments.NAME`, while it imports or begins."""
    out, pause = room.fresh("signalled"), rng.uniform(0.3, 6.0)
    words = [sys.executable, "-m", f"experiments.{game.name}", *game.flags, "--out", str(out)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    program = subprocess.Popen(words, cwd=Path(__file__).parents[2], text=True, **streams)
    time.sleep(pause)
    program.send_signal(signals[0])
    if signals[1] is not None:
        time.sleep(signals[1][1])
        program.send_signal(signals[1][0])
    said = program.communicate()
    ended = Ended(program.returncode, *said, 0)
    name = f"python -m experiments.{game.name}, {_words(signals)} after {pause:.3f} s"
    return _judged(name, game, out, ended, signals, room)


def _words(signals) -> str:
    first, again = signals
    then = f" and {signal.Signals(again[0]).name} {again[1]:.3f} s later" if again else ""
    return signal.Signals(first).name + then


def _judged(name: str, game: Game, out, ended: Ended, signals, room: Room) -> Case:
    sent = {signals[0], *(signals[1] or ())[:1]}
    codes = {128 + number for number in sent} | {-number for number in sent}
    if ended.code not in codes | {0}:
        return Case(name, f"expected one of {sorted(codes)}: {ended}")
    if "Traceback" in ended.err or "Traceback" in ended.out:
        return Case(name, f"a traceback: {ended}")
    if ended.code == 0:
        return Case(name, difference(out, room.alone(game)))
    if os.path.exists(out / "summary.json"):
        return Case(name, difference(out, room.alone(game)) or room.finish(game, out))
    return Case(name, room.finish(game, out))
