"""What a change does to the bits: a short form of every experiment at two revisions, on this
machine.

    python tools/compare_runs.py BASE                      # BASE against the working tree
    python tools/compare_runs.py BASE HEAD                 # one commit against another
    python tools/compare_runs.py BASE --only gan_ring --keep /some/empty/folder

Each experiment runs as `python -m experiments.NAME FLAGS` in a copy of each revision (the working
tree runs where it is), with this interpreter and this environment, less PYTHONPATH. Compared are
the SHA-256 of every arm's final parameters, every figure of its last row of metrics.jsonl, its
number of rows and its failed seeds; timings are not. Nothing is stored, since other processors give
other bits. Exit code: 0 all equal, 1 something changed, 2 something could not be compared.

The flags of XLA decide about bits, and dgm_jax adds one of its own at import: which flags each side
ends with is printed first. Both sides share a temporary cache of compiled programs (or the one of
JAX_COMPILATION_CACHE_DIR): JAX knows a program by its operations, its options and those flags, so
what is equal compiles once, and what is not is compiled anew.
"""

import argparse
import asyncio
import collections
import io
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from typing import NamedTuple

from run_folders import NotComparable, compare_arms, read_run

TABLE = tomllib.loads(pathlib.Path(__file__).with_name("short_forms.toml").read_text("utf-8"))
SHORT_FORMS: dict[str, str] = TABLE["experiments"]
CLASSIFIER, ITS_FOLDER = "feature_classifier", "{classifier}"
RAN = (0, 6)  # exit codes that leave a summary: done, and every seed diverged
OUTCOMES = ("equal", "changed", "not compared")
NOT_THE_ERROR = ("For full helptext", "For simplicity, JAX has removed")


class Side(NamedTuple):
    """A revision: its name, its tree, where its run folders go, its experiments and XLA's flags."""

    name: str
    tree: pathlib.Path
    runs: pathlib.Path
    experiments: frozenset[str]
    xla_flags: str


def last_words(errors: str) -> str:
    """The line of standard error that says what went wrong: the last one, or the first in a box."""
    lines = [(line[:1] == "│", line.strip("╭╮╰╯│─- ")) for line in errors.splitlines()]
    lines = [(boxed, line) for boxed, line in lines if line and not line.startswith(NOT_THE_ERROR)]
    boxed = [line for boxed, line in lines if boxed]
    return boxed[0] if boxed else lines[-1][1] if lines else "no message"


def environment(xla_flags: str | None, cache: pathlib.Path) -> dict[str, str]:
    """The caller's, with nothing that leads Python out of a tree; the same for both sides."""
    found = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    found |= {"PYTHONHASHSEED": "0", "COLUMNS": "200"}
    found.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    found.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    return found if xla_flags is None else found | {"XLA_FLAGS": xla_flags}


def git(*arguments: str) -> bytes:
    """Output of a git command in the current folder; `NotComparable` with its error."""
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    if done.returncode:
        raise NotComparable(f"git {' '.join(arguments)}: {last_words(done.stderr.decode())}")
    return done.stdout


def make_side(
    label: str, revision: str | None, tree: pathlib.Path, runs: pathlib.Path, env
) -> Side:
    """A revision's files unpacked into `tree`, or the working tree where it is."""
    root = git("rev-parse", "--show-toplevel").decode().rstrip("\n")
    if revision is None:
        tree, name = pathlib.Path(root), f"{label}, the working tree"
    else:
        commit = git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
        name = f"{label}, {revision} ({commit.decode()[:10]})"
        archive = io.BytesIO(git("-C", root, "archive", "--format=tar", commit.decode().strip()))
        tarfile.open(fileobj=archive).extractall(tree, filter="data")
    try:
        project = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))["project"]
        names = frozenset(project["entry-points"]["dgm_jax.experiments"])
    except (OSError, KeyError) as error:
        raise NotComparable(f"{name}: pyproject.toml lists no experiments: {error!r}") from error
    probe = "import os, dgm_jax; print(dgm_jax.__file__); print(os.environ.get('XLA_FLAGS', ''))"
    command = [sys.executable, "-c", probe]
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotComparable(f"{name}: dgm_jax cannot be imported: {last_words(done.stderr)}")
    where, flags = done.stdout.split("\n")[:2]
    if not pathlib.Path(where).resolve().is_relative_to(tree.resolve()):
        raise NotComparable(f"{name}: dgm_jax was imported from {where}, not from {tree}")
    return Side(name, tree, runs, names, flags)


async def run_short_form(side: Side, name: str, env) -> str:
    """Leaves the run folder side.runs/name; returns why it could not, or an empty text."""
    words = f"{TABLE['common']} {SHORT_FORMS[name]} --out {{out}}".split()
    folders = {ITS_FOLDER: str(side.runs / CLASSIFIER), "{out}": str(side.runs / name)}
    command = [sys.executable, "-m", f"experiments.{name}", *(folders.get(w, w) for w in words)]
    start = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=side.tree,
        env=env,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await process.communicate()
    finally:
        if process.returncode is None:  # Ctrl-C; a polite signal would wait for a compilation
            process.kill()
            await process.wait()
    print(f"{name}, {side.name}: {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
    failed = process.returncode not in RAN
    return f"exit code {process.returncode}: {last_words(errors.decode())}" if failed else ""


async def run_all(sides, names: list[str], jobs: int, env) -> dict[tuple[str, str], str]:
    """{(side, experiment): why it did not run, or an empty text}, `jobs` at a time.

    A classifier trains before those it judges, and the first side fills the cache for the second.
    """
    places, tasks = asyncio.Semaphore(jobs), {}
    judged = {name for name in names if ITS_FOLDER in SHORT_FORMS.get(name, "")}

    async def in_turn(side, name):
        first = {(side.name, CLASSIFIER)} if name in judged else set()
        first |= {(other.name, name) for other in sides[: sides.index(side)]}
        for key in first & tasks.keys():
            await tasks[key]
        async with places:
            return await run_short_form(side, name, env)

    async with asyncio.TaskGroup() as group:
        for name in dict.fromkeys([CLASSIFIER] * bool(judged) + names):
            for side in sides:
                if name in side.experiments and name in SHORT_FORMS:
                    tasks[side.name, name] = group.create_task(in_turn(side, name))
    return {key: task.result() for key, task in tasks.items()}


def judge(name: str, sides, failures) -> tuple[str, int, list[str]]:
    """("equal", "changed" or "not compared", the number of arms, why) of an experiment."""
    if name not in SHORT_FORMS:
        return "not compared", 0, ["it has no short form in tools/short_forms.toml"]
    there = [side for side in sides if name in side.experiments]
    if len(there) == 1:
        return "not compared", 0, [f"only at {there[0].name}"]
    lines, runs = [], []
    for side in there:
        try:
            if failures[side.name, name]:
                raise NotComparable(failures[side.name, name])
            runs.append(read_run(side.runs / name))
        except NotComparable as error:
            lines.append(f"{side.name}: {error}")
    if lines:
        return "not compared", len(runs[0]) if runs else 0, lines
    lines = compare_arms(*runs)
    return "changed" if lines else "equal", len(runs[0]), lines


def compare(arguments) -> int:
    """Runs, compares and prints; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="compare_runs_") as temporary:
        folder = pathlib.Path(temporary)
        env = environment(arguments.xla_flags, folder / "compiled")
        runs = pathlib.Path(arguments.keep).resolve() if arguments.keep else folder / "runs"
        if runs.is_dir() and any(runs.iterdir()):
            raise NotComparable(f"--keep must be an empty or a new folder; {runs} is neither")
        sides = [
            make_side(label, revision, folder / label, runs / label, env)
            for label, revision in (("base", arguments.base), ("head", arguments.head))
        ]
        for side in sides:
            print(f"{side.name}: XLA_FLAGS={side.xla_flags!r}", flush=True)
        known = sorted(sides[0].experiments | sides[1].experiments)
        if unknown := [name for name in arguments.only if name not in known]:
            raise NotComparable(f"--only {unknown[0]}: no such experiment; there are {known}")
        names = [name for name in known if name in (arguments.only or known)]
        failures = asyncio.run(run_all(sides, names, arguments.jobs, env))
        found = {name: judge(name, sides, failures) for name in names}
    for name, (outcome, num_arms, lines) in found.items():
        print(f"{name:<28}{num_arms:>3} arms  {outcome}", *lines, sep="\n        ")
    count = collections.Counter(outcome for outcome, _, _ in found.values())
    equal, changed, not_compared = (count[kind] for kind in OUTCOMES)
    print(f"{equal} equal, {changed} changed, {not_compared} could not be compared")
    return 2 if not_compared else 1 if changed else 0


XLA_HELP = """one value of XLA_FLAGS for both sides. dgm_jax adds to it at import each flag of its
own that the text does not name: name them all, or the sides may still differ (what each ends with
is printed first)"""


def main(argv: list[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", help="any git revision")
    parser.add_argument("head", nargs="?", help="another one; by default the working tree")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="experiments")
    parser.add_argument("--keep", metavar="FOLDER", help="leave the run folders there")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time")
    parser.add_argument("--xla_flags", metavar="TEXT", help=XLA_HELP)
    arguments = parser.parse_args(argv)
    if arguments.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {arguments.jobs}")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return compare(arguments)
    except NotComparable as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing is left behind but --keep", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
