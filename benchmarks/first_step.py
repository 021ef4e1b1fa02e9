"""What every experiment waits for before its first step: by cause, without compiled programs in the
cache and with them.

    python -m benchmarks.first_step [NAME ...]   every experiment, or those that are named
    python -m benchmarks.first_step --quick      shows that it runs: one experiment, nothing written

Each experiment runs as `dgm-jax run NAME --log_every 1` does, with its defaults otherwise, in a
process of its own that ends when the first step is made and all programs are compiled. It runs once
with an empty cache of compiled programs, then once more. The code of oneDNN is built, modules are
kept as bytecode, and the classifier that some experiments need is trained, before anything is
measured. Seconds are given twice: of the clock, from the start of the process, and of the
processor, over all threads; on a busy machine only the latter say something. JAX reports when it
traces, lowers and compiles (or reads a compiled program from the cache); all other time belongs to
the stage that the run is in:

    imports    Python, the library and the experiment's functions
    opening    settings, the run folder, the record of the environment
    data       loading data, and what an experiment computes from them before it trains
    preparing  everything else before the first step, such as shapes, placement, Python's own work
    step       the first step, beside which a run traces and compiles what the step does not need
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

from benchmarks import records

STAGES = ("imports", "opening", "data", "preparing", "step")
EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowering",
    "/jax/core/compile/backend_compile_duration": "compiling",
}
COLUMNS = ("imports", "opening", "data", *EVENTS.values(), "preparing", "step")
_QUICK = "--num_seeds 2 --num_steps 2 --num_eval 20".split()


class Split:
    """Divides time among causes; what is nested counts where it is innermost.

    Args:
        first: the cause at the beginning.
        began: the clocks at the beginning of the process.
        clocks: seconds of each clock now.
    """

    def __init__(self, first: str, began: tuple[float, ...], clocks: Callable[[], tuple]) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._stack = [first]
        self._last = began
        self._clocks = clocks
        self._is_over = False

    def _settle(self) -> None:
        if self._is_over:
            return
        now = self._clocks()
        spent = self.seconds.setdefault(self._stack[-1], [0.0] * len(now))
        for index, (before, after) in enumerate(zip(self._last, now, strict=True)):
            spent[index] += after - before
        self._last = now

    @property
    def now(self) -> str:
        """The stage."""
        return self._stack[0]

    def end(self) -> None:
        """What follows counts nowhere; any thread may say so."""
        self._settle()
        self._is_over = True

    def stage(self, name: str) -> None:
        """From here on what has no other cause belongs to this stage."""
        self._settle()
        self._stack[0] = name

    def enter(self, cause: str) -> None:
        """A cause begins."""
        self._settle()
        self._stack.append(cause)

    def leave(self) -> None:
        """The innermost cause ends."""
        self._settle()
        self._stack.pop()


class _Reached(BaseException):
    """The first step is made."""


def measured(name: str, flags: list[str], began: float) -> dict:
    """Runs an experiment in this process up to its first step; JAX must not be imported yet."""
    clocks = lambda: (time.time(), time.process_time())
    split = Split("imports", (began, 0.0), clocks)
    from dgm_jax import _cache, cli
    from dgm_jax.run import catalogue
    from dgm_jax.terminal import console

    _cache.keep_compiled_programs()
    console.collect_seldom()
    import jax

    from dgm_jax import training
    from dgm_jax.run import launch

    programs = _listen(split, jax.monitoring)
    assert catalogue.load_experiment(name).functions  # imported
    split.stage("opening")
    _mark_stages(split, launch, training, jax.block_until_ready)
    with contextlib.suppress(_Reached):
        raise SystemExit(cli.main(["run", name, *flags]) or 1)  # it must not come to an end
    return {
        "seconds": {cause: split.seconds.get(cause, [0.0, 0.0]) for cause in COLUMNS},
        "programs": programs["/jax/core/compile/backend_compile_duration"],
        "from_cache": programs["/jax/compilation_cache/cache_hits"],
    }


def _listen(split: Split, monitoring) -> dict[str, int]:
    """Tells the split what JAX does; returns counts of events, which go on being counted."""
    counts = dict.fromkeys((*EVENTS, "/jax/compilation_cache/cache_hits"), 0)

    def is_waited_for() -> bool:
        # Of several threads the first step waits for the main one, until it begins itself.
        return threading.current_thread() is threading.main_thread() and split.now != "step"

    def begins(event: str, value: float, **_) -> None:
        if event in EVENTS and is_waited_for():
            split.enter(EVENTS[event])

    def ends(event: str, seconds: float, **_) -> None:
        if event in EVENTS:
            counts[event] += 1
            if is_waited_for():
                split.leave()

    def happens(event: str, **_) -> None:
        if event in counts:
            counts[event] += 1

    monitoring.register_scalar_listener(begins)
    monitoring.register_event_duration_secs_listener(ends)
    monitoring.register_event_listener(happens)
    return counts


def _mark_stages(split: Split, launch, training, ready: Callable) -> None:
    """Changes stages where a run does, and ends it after the first step."""
    inputs, run, in_parts = launch.Job.inputs, training.run, training.in_parts

    def loading(*arguments):
        split.stage("data")
        result = inputs(*arguments)
        split.stage("preparing")
        return result

    def chunks(advance, *arguments, **options):
        def advancing(*of):
            split.stage("step")
            return advance(*of)

        return run(advancing, *arguments, **options)

    def parts(program, **options):
        def one(*of):
            ready(program(*of))
            split.end()
            raise _Reached  # once what is compiled beside the step is done

        return in_parts(one, **options)

    launch.Job.inputs = loading
    training.run = chunks
    training.in_parts = parts


def in_a_process(name: str, flags: list[str], environment: dict[str, str]) -> dict:
    """What a process of its own measures."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.first_step"]
    command += ["--role", name, json.dumps(flags), str(time.time())]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def environment_of(cache: pathlib.Path) -> dict[str, str]:
    """This process's, with a cache of its own, and modules that are kept as bytecode."""
    left_out = ("JAX_COMPILATION_CACHE", "PYTHONDONTWRITEBYTECODE")
    found = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    return {**found, "DGM_JAX_CACHE_DIR": str(cache)}


def prepare(folder: pathlib.Path, environment: dict[str, str]) -> pathlib.Path:
    """Builds oneDNN's code and trains a classifier for a few steps; returns its folder."""
    out = folder / "classifier"
    flags = ["--num_steps", "2", "--log_every", "2", "--progress", "quiet", "--out", str(out)]
    command = [sys.executable, "-W", "ignore", "-m", "dgm_jax", "run", "feature_classifier", *flags]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return out


def both(name: str, given: list[str], folder: pathlib.Path, environment: dict[str, str]) -> dict:
    """{"cold", "warm"} of an experiment."""
    shutil.rmtree(folder / "cache" / "programs", ignore_errors=True)
    found = {}
    for side in ("cold", "warm"):
        out = tempfile.mkdtemp(dir=folder)
        flags = ["--log_every", "1", "--progress", "quiet", "--out", f"{out}/run", *given]
        found[side] = in_a_process(name, flags, environment)
        shutil.rmtree(out)
    return found


def row(name: str, side: str, found: dict, clock: int = 1) -> str:
    """A line of the table, in seconds of the processor, with the whole by the clock behind it."""
    seconds = found["seconds"]
    parts = "".join(f"{seconds[cause][clock]:>10.2f}" for cause in COLUMNS)
    wall, processor = (sum(spent[index] for spent in seconds.values()) for index in (0, 1))
    programs = f"{found['from_cache']:>4}/{found['programs']:<4}"
    return f"{name:<26}{side:<5}{processor:>8.2f}{wall:>8.2f}  {programs}{parts}"


def compare(names: list[str], quick: bool) -> dict[str, dict]:
    """Measures experiments, all without names, and prints a line for each side."""
    from dgm_jax.run import catalogue

    found = {}
    print(f"{'':<31}{'all':>8}{'clock':>8}  cached   {''.join(f'{c:>10}' for c in COLUMNS)}")
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        environment = environment_of(place / "cache")
        fields = {
            name: {f.name for f in dataclasses.fields(catalogue.load_experiment(name).config)}
            for name in names or sorted(catalogue.experiments())
        }
        has_images = any("data" in of_one for of_one in fields.values())
        classifier = prepare(place, environment) if has_images else None
        for name, of_one in fields.items():
            given = ["--classifier", str(classifier)] if "classifier" in of_one else []
            found[name] = both(name, _QUICK if quick else given, place, environment)
            print(*(row(name, side, found[name][side]) for side in found[name]), sep="\n")
            sys.stdout.flush()
    return found


def main() -> int:
    """Measures, prints, writes."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("names", nargs="*", metavar="NAME", help="experiments; all by default")
    made.add_argument("--quick", action="store_true", help="the ring, small; no measurement")
    made.add_argument("--role", nargs=3, metavar=("NAME", "FLAGS", "BEGAN"), help="in a process")
    arguments = made.parse_args()
    if arguments.role:
        name, flags, began = arguments.role
        print(json.dumps(measured(name, json.loads(flags), float(began))))
        return 0
    from benchmarks import machine

    load = machine.load_average()
    found = compare(["gan_ring"] if arguments.quick else arguments.names, arguments.quick)
    if arguments.quick or arguments.names:
        print("nothing is written but by a measurement of all experiments")
        return 0
    content = {
        "benchmark": "first_step",
        "unit": "seconds of the clock and of the processor",
        "load_average": {"start": load, "end": machine.load_average()},
        "experiments": found,
    }
    print(f"written: {records.write_other('first_step', machine.surroundings(), content)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
