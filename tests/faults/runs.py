"""The runs that are disturbed, what each ends with when nothing disturbs it, and the comparison."""

import collections
import dataclasses
import importlib
import json
import pathlib
import random
import shutil
import signal
import sys
import time
from typing import NamedTuple

from forked import WATCHED, Act, Child, Ended, operation
from tiny_game import stopping, tiny

from dgm_jax.run import Experiment, main
from dgm_jax.run.catalogue import load_experiment

# What a run imports when it comes to it: here once, instead of in each child.
for _name in (
    "dgm_jax.plotting",
    "dgm_jax.report",
    "dgm_jax.run.launch",
    "jaxlib.mlir.dialects.mhlo",
    "matplotlib.backends.backend_agg",
    "PIL.JpegImagePlugin",
    "tyro._backends._tyro_backend",
):
    importlib.import_module(_name)


class Skipped(Exception):
    """Why a fault cannot be tried on this machine."""


class Case(NamedTuple):
    """One thing that was tried: what it was, how often (kills of one run), and what went wrong."""

    name: str
    problem: str | None = None
    tries: int = 1


class Game(NamedTuple):
    """A run: an experiment with its flags, and what it shows meanwhile."""

    name: str
    experiment: Experiment
    flags: tuple[str, ...]
    progress: str = "quiet"

    def work(self, out, *flags: str):
        """`() -> exit code`: the run as the only work of a child, like that of a command line."""
        arguments = [*self.flags, "--progress", self.progress, "--out", str(out), *flags]

        def run():
            sys.argv = [self.name, *arguments]
            return main(self.experiment)

        return run

    def start(self, out, *flags: str, act: Act | None = None) -> Child:
        return Child(self.work(out, *flags), pathlib.Path(out), act)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def tiny_run(flags: str = "", **changes) -> Game:
    """The tiny game: two arms, three seeds, three chunks of ten steps."""
    small = "--num_seeds 3 --num_steps 30 --log_every 10 --kind plain half"
    return Game("tiny", tiny(**changes), _words(f"{small} {flags}"))


TINY = tiny_run()


def real_runs() -> tuple[Game, ...]:
    """A GAN (two arms, two seeds), a VQ-VAE and AVB, as short as they go."""
    ring = """--method vanilla packed2 --num_seeds 2 --num_steps 40 --log_every 10 --batch_size 16
        --num_eval 100"""
    vqvae = """--data digits --num_seeds 2 --num_steps 20 --log_every 5 --batch_size 16
        --num_codes 8 --code_width 4 --width 4 --prior_width 8 --prior_layers 1"""
    four_points = "--num_seeds 1 --num_steps 20 --log_every 5 --critic_width 8"
    flags = {"gan_ring": ring, "vqvae_images": vqvae, "avb_four_points": four_points}
    return tuple(Game(name, load_experiment(name), _words(text)) for name, text in flags.items())


class Undisturbed(NamedTuple):
    """What a run ends with when nothing disturbs it.

    seconds: from its start, with all programs in the cache.
    operations: on files, in their order, as `forked.operation` writes them.
    """

    folder: pathlib.Path
    seconds: float
    operations: list[str]

    def count(self, pattern) -> int:
        return sum(bool(pattern.search(text)) for text in self.operations)


@dataclasses.dataclass
class Room:
    """A folder for what is tried, and the undisturbed runs so far."""

    path: pathlib.Path
    short: bool
    undisturbed: dict[tuple, Undisturbed] = dataclasses.field(default_factory=dict)
    stopped: dict[tuple, pathlib.Path] = dataclasses.field(default_factory=dict)
    numbers: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    def fresh(self, name: str) -> pathlib.Path:
        """A path that nothing has used."""
        self.numbers[name] += 1
        return self.path / f"{name}-{self.numbers[name]}"

    def alone(self, game: Game) -> Undisturbed:
        """The undisturbed run; made twice, so that the programs are compiled and the bits are seen
        to be the same."""
        if (game.name, game.flags) not in self.undisturbed:
            first, second = self.fresh(f"{game.name}-alone"), self.fresh(f"{game.name}-alone")
            log = self.path / "operations"
            for out in (first, second):
                start = time.monotonic()
                ended = Child(_recorded(game.work(out), out, log), out).wait()
                seconds = time.monotonic() - start
                if ended.code != 0:
                    raise RuntimeError(f"{game.name}, undisturbed: {ended}")
            found = Undisturbed(first, seconds, log.read_text().splitlines())
            problem = difference(second, found)
            if problem is not None:
                raise RuntimeError(f"{game.name}, two undisturbed runs: {problem}")
            shutil.rmtree(second)
            self.undisturbed[game.name, game.flags] = found
        return self.undisturbed[game.name, game.flags]

    def finish(self, game: Game, out, *flags: str) -> str | None:
        """Resumes a run to its end; what is wrong with that end, or None."""
        ended = game.start(out, "--resume", *flags).wait()
        if ended.code != 0:
            return f"--resume: {ended}"
        return difference(out, self.alone(game))


def _recorded(work, below: pathlib.Path, log: pathlib.Path):
    """`work` that writes down its operations on files below a folder."""

    def recorded():
        seen = []

        def hook(event, arguments):
            if event in WATCHED and any(str(below) in str(a) for a in arguments[:2]):
                seen.append(operation(event, arguments).replace("\n", " "))

        sys.addaudithook(hook)
        code = work()
        log.write_text("\n".join(seen))
        return code

    return recorded


def summary_of(out) -> dict:
    return json.loads((pathlib.Path(out) / "summary.json").read_text())


def rows_of(out) -> list[dict]:
    text = (pathlib.Path(out) / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def difference(out, alone: Undisturbed, *, rows: bool = True, in_order: bool = True) -> str | None:
    """How a finished run differs from the undisturbed one; None where parameters and rows are the
    same, each step once for each arm.

    rows: without them only the parameters are compared. in_order: whether the rows' order counts.
    """
    try:
        ours, theirs = summary_of(out), summary_of(alone.folder)
        found, expected = rows_of(out) if rows else [], rows_of(alone.folder) if rows else []
    except (OSError, ValueError) as error:
        return f"the run is not finished: {type(error).__name__}: {error}"
    if not in_order:
        found, expected = (sorted(part, key=json.dumps) for part in (found, expected))
    hashes = [s.get("final_params_sha256") for s in (ours, theirs)]
    if hashes[0] != hashes[1]:
        return f"final_params_sha256 is {hashes[0]}, undisturbed {hashes[1]}"
    steps = [[_place(row) for row in part] for part in (found, expected)]
    if steps[0] != steps[1]:
        return f"rows (arm, step) are {steps[0]}, undisturbed {steps[1]}"
    unequal = [mine for mine, other in zip(found, expected, strict=True) if mine != other]
    return f"row differs: {unequal[0]}" if unequal else None


def _place(row) -> tuple:
    return (row.get("arm"), row.get("step")) if isinstance(row, dict) else (row,)


def refusal(ended: Ended, most_lines: int | None = None) -> str | None:
    """What is wrong with a refusal, which is exit code 2 and a sentence; None where nothing is."""
    lines = [line for line in ended.err.splitlines() if line.strip()]
    if ended.code != 2:
        return f"expected exit code 2: {ended}"
    if "Traceback" in ended.err or "Traceback" in ended.out:
        return f"a traceback: {ended}"
    if not any(len(line.split()) >= 4 for line in lines):
        return f"no sentence: {ended}"
    if most_lines is not None and len(lines) > most_lines:
        return f"{len(lines)} lines on standard error: {ended}"
    return None


def sample(cases: list, count: int, rng: random.Random) -> list:
    """`count` of the cases in their order; all of them where there are no more."""
    if count >= len(cases):
        return cases
    return [cases[i] for i in sorted(rng.sample(range(len(cases)), count))]


def stopped_run(room: Room, flags: str = "", at: int = 5, **changes) -> pathlib.Path:
    """A copy of a run of the tiny game that SIGTERM has stopped at its `at`-th row.

    At the fifth its first arm is finished, with checkpoints 20 and 30, and its second has 10 and
    20.
    """
    key = (flags, at, *changes)
    if key not in room.stopped:
        game = tiny_run(flags)
        game = game._replace(experiment=stopping(signal.SIGTERM, at, **changes))
        out = room.fresh("stopped")
        ended = game.start(out).wait()
        if ended.code != 143:
            raise RuntimeError(f"a run that stops itself: {ended}")
        room.stopped[key] = out
    copy = room.fresh("copy")
    shutil.copytree(room.stopped[key], copy, symlinks=True)
    return copy
