"""Checkpoints that are not a run's own: of other runs and arms, renamed, swapped, linked.

The run under attack is the tiny game, stopped: its first arm is finished, with checkpoints 20 and
30, its second has 10 and 20.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import jax.numpy as jnp
from runs import TINY, Case, Room, refusal, rows_of, sample, stopped_run

from dgm_jax.run import Inputs

Attack = Callable[[Path], tuple[str, ...] | None]  # of checkpoints/; may return more flags
FIRST, SECOND = "plain", "half"


def trial(count: int, rng: random.Random, room: Room) -> Iterator[Case]:
    attacks = _whole(room) | _of_another_arm(room) | _of_another_step() | _linked(room)
    for name, attack in sample(list(attacks.items()), count, rng):
        yield Case(name, _attacked(attack, room))


def _attacked(attack: Attack, room: Room) -> str | None:
    """It must be refused, and keep its rows."""
    out = stopped_run(room)
    flags = attack(out / "checkpoints") or ()
    rows = rows_of(out)
    ended = TINY.start(out, "--resume", *flags).wait()
    problem = refusal(ended)
    if problem is None and rows_of(out) != rows:
        return f"it was refused, but its rows have changed: {ended}"
    return problem


def _load(settings, needed):
    del settings, needed
    return Inputs({"target": jnp.float32(2.0)}, {"name": "other number", "identity": "other"})


def _whole(room: Room) -> dict[str, Attack]:
    """All checkpoints of a run that differs in one thing."""
    others = {
        "of another run of the same settings": {"flags": "--poison 1e9"},
        "of seed 7": {"flags": "--seed 7"},
        "of another learning rate": {"flags": "--rate 0.2"},
        "of a run of 60 steps": {"flags": "--num_steps 60", "at": 8},
        "of a run of two seeds": {"flags": "--num_seeds 2"},
        "of another experiment": {"name": "other"},
        "of other data": {"load": _load},
    }

    def attack(other):
        def put(checkpoints):
            shutil.rmtree(checkpoints)
            shutil.copytree(stopped_run(room, **other) / "checkpoints", checkpoints)

        return put

    by_map = {"of lanes one after the other": lambda checkpoints: ("--strategy", "map")}
    return {f"checkpoints {name}": attack(other) for name, other in others.items()} | by_map


def _of_another_arm(room: Room) -> dict[str, Attack]:
    def seven(arm, step):
        return stopped_run(room, "--seed 7") / "checkpoints" / arm / step

    def first_as_second(checkpoints):
        shutil.rmtree(checkpoints / SECOND)
        shutil.copytree(checkpoints / FIRST, checkpoints / SECOND)

    def swapped(checkpoints):
        _swap(checkpoints / FIRST, checkpoints / SECOND)

    def newest_of_seven(checkpoints):
        shutil.rmtree(checkpoints / SECOND / "20")
        shutil.copytree(seven(SECOND, "20"), checkpoints / SECOND / "20")

    def newest_of_first(checkpoints):
        shutil.copytree(checkpoints / FIRST / "30", checkpoints / SECOND / "30")

    return {
        "the first arm's as the second's": first_as_second,
        "two arms swapped": swapped,
        "the newest of seed 7, older ones its own": newest_of_seven,
        "the first arm's 30 as the second's": newest_of_first,
    }


def _of_another_step() -> dict[str, Attack]:
    def renamed(old, new):
        def attack(checkpoints):
            shutil.rmtree(checkpoints / SECOND / new, ignore_errors=True)
            (checkpoints / SECOND / old).rename(checkpoints / SECOND / new)

        return attack

    def copied(checkpoints):
        shutil.copytree(checkpoints / SECOND / "20", checkpoints / SECOND / "25")

    def swapped(checkpoints):
        _swap(checkpoints / SECOND / "10", checkpoints / SECOND / "20")

    return {
        "20 under the name of 30": renamed("20", "30"),
        "10 under the name of 20": renamed("10", "20"),
        "a copy of 20 as 25": copied,
        "10 and 20 swapped": swapped,
    }


def _linked(room: Room) -> dict[str, Attack]:
    def other():
        return stopped_run(room, "--seed 7") / "checkpoints"

    def link(name, target, replaced=False):
        def attack(checkpoints):
            path = checkpoints / name if name else checkpoints
            if replaced:
                shutil.rmtree(path)
            path.symlink_to(target() if callable(target) else target)

        return attack

    return {
        "a link 30 to 20": link(f"{SECOND}/30", "20"),
        "a link to 20 of another run": link(f"{SECOND}/20", lambda: other() / SECOND / "20", True),
        "a link to an arm of another run": link(SECOND, lambda: other() / SECOND, True),
        "a link to the checkpoints of another run": link("", other, True),
    }


def _swap(one: Path, two: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
