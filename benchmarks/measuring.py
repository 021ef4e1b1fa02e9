"""One benchmark from its declaration to its record.

The check comes first, in a process of its own. Then each side is prepared in a process of its own
(imported, compiled, called twice), all of them live at once, and rounds are taken in turns: in each
round every side is sampled once, in an order that turns, so that a slow minute of the machine falls
on all alike. A sample is as many calls as take a fifth of a second. A process that lives as long as
the command measures the peak of products and of copies in the same rounds.
"""

import datetime
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from benchmarks import machine, records
from benchmarks.contract import Benchmark, Side
from benchmarks.processes import Worker, WorkerError

SAMPLE_SECONDS, MOST_CALLS = 0.2, 10_000
PEAKS = {
    "products": Side("machine.ours:product", {"size": 1_024}),
    "products_by_numpy": Side("machine.ours:product_by_numpy", {"size": 1_024}),
    "copies": Side("machine.ours:copy", {"megabytes": 128}),
}


class Process(Protocol):
    """What a side's process answers; `processes.Worker` is one."""

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


Start = Callable[[Mapping[str, str]], Process]


class Plan(NamedTuple):
    """How much is measured.

    Attributes:
        rounds: samples of each side.
        quick: one call a sample, one step a call, slow sides left out: it shows that a side runs.
    """

    rounds: int = 9
    quick: bool = False


class Sampled(NamedTuple):
    """One side that is ready: its process, its name there, and calls of a sample."""

    process: Process
    name: str
    calls: int


def calls_of(warm_seconds: float, plan: Plan) -> int:
    """Calls of one sample."""
    if plan.quick:
        return 1
    wanted = math.ceil(SAMPLE_SECONDS / max(warm_seconds, SAMPLE_SECONDS / MOST_CALLS))
    return max(1, wanted)


def interleaved(sides: Mapping[str, Sampled], rounds: int) -> dict[str, list[dict[str, float]]]:
    """{side: a sample of each round}, in an order that turns with the round."""
    names = list(sides)
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for index in range(rounds):
        turn = index % len(names)
        for name in names[turn:] + names[:turn]:
            process, known_as, calls = sides[name]
            samples[name].append(process.ask("sample", name=known_as, calls=calls))
    return samples


def options_of(side: Side, plan: Plan) -> dict[str, Any]:
    """The side's options; one step where the plan is quick."""
    options = dict(side.options)
    return options | {"steps": 1} if plan.quick and "steps" in options else options


class Peaks:
    """The process that measures what the machine can do, as long as the command lives."""

    def __init__(self, start: Start, plan: Plan, sides: Mapping[str, Side] = PEAKS) -> None:
        self.process = start({})
        self.sides: dict[str, Sampled] = {}
        self.counts: dict[str, float] = {}
        self.environment = self.process.ask("describe")
        for name, side in sides.items():
            arguments = {"name": name, "target": side.target, "options": dict(side.options)}
            ready = self.process.ask("prepare", **arguments)
            self.counts[name] = ready["count"]
            self.sides[name] = Sampled(self.process, name, calls_of(ready["stages"]["warm"], plan))

    def rates(self, samples: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, list[float]]:
        """Operations, or bytes, per second of each round."""
        work = {name: self.counts[name] * self.sides[name].calls for name in self.sides}
        return {name: [work[name] / s["seconds"] for s in samples[name]] for name in self.sides}


def measure(
    benchmark: Benchmark,
    plan: Plan,
    peaks: Peaks,
    start: Start = Worker,
    known: dict[str, dict[str, Any]] | None = None,
) -> records.Record:
    """Checks and measures a benchmark.

    Args:
        benchmark: what to measure.
        plan: how much.
        peaks: the process that measures the machine in the same rounds.
        start: makes a process of the environment variables of a side.
        known: results of checks, which several benchmarks may share; added to.

    Returns:
        The record. A side that failed has its "error" in place of samples.

    Raises:
        WorkerError: the check failed, or a process ended while it was sampled.
    """
    load, known = machine.load_average(), {} if known is None else known
    question = str((benchmark.check, benchmark.unchecked))
    if question not in known:
        known[question] = checked(benchmark, plan, start)
    rows, of_machine = sampled(benchmark, plan, peaks, start)
    return record_of(benchmark, plan, peaks.environment, load, known[question], rows, of_machine)


def sampled(
    benchmark: Benchmark, plan: Plan, peaks: Peaks, start: Start
) -> tuple[dict[str, dict[str, Any]], dict[str, list[float]]]:
    """({side: what was measured}, rates of the machine's peaks)."""
    processes, ready, rows = {}, {}, {}
    try:
        for name, side in benchmark.sides.items():
            if not (plan.quick and side.slow):
                processes[name] = start(side.environment)
                rows[name], ready[name] = prepared(processes[name], name, side, plan)
        working = {name: side for name, side in ready.items() if side is not None}
        if not working:
            raise WorkerError(f"no side could be prepared: {rows}")
        names = {name: f"peak of {name}" for name in peaks.sides}
        with_peaks = working | {names[name]: peaks.sides[name] for name in names}
        samples = interleaved(with_peaks, plan.rounds)
        for name in working:
            rows[name] |= {key: [s[key] for s in samples[name]] for key in samples[name][0]}
            rows[name] |= processes[name].ask("memory")
    finally:
        for process in processes.values():
            process.close()
    return rows, peaks.rates({name: samples[names[name]] for name in names})


def prepared(process: Process, name: str, side: Side, plan: Plan) -> tuple[dict, Sampled | None]:
    """(what is known of the side before its samples, the side; None if it failed)."""
    options = options_of(side, plan)
    row = {"role": side.role, "target": side.target, "options": options}
    row |= {"environment": dict(side.environment)} if side.environment else {}
    try:
        answer = process.ask("prepare", name=name, target=side.target, options=options)
    except WorkerError as error:
        return {**row, "error": str(error)}, None
    calls = calls_of(answer["stages"]["warm"], plan)
    return {**row, **answer, "calls": calls}, Sampled(process, name, calls)


def checked(benchmark: Benchmark, plan: Plan, start: Start) -> dict[str, Any]:
    """What the check says, from a process of its own."""
    if benchmark.check is None:
        return {"unchecked": benchmark.unchecked}
    process = start(benchmark.check.environment)
    try:
        options = options_of(benchmark.check, plan)
        return process.ask("check", target=benchmark.check.target, options=options)["facts"]
    except WorkerError as error:
        if not str(error).startswith("ModuleNotFoundError"):
            raise
        return {"unchecked": f"what the check needs is not installed: {error}"}
    finally:
        process.close()


def record_of(benchmark, plan, environment, load, checks, rows, of_machine) -> records.Record:
    """The record of a benchmark: what was declared, where it ran, and every sample."""
    return {
        "format": records.FORMAT,
        **{name: getattr(benchmark, name) for name in ("name", "family", "size", "seeds", "unit")},
        "flops": benchmark.flops,
        "num_bytes": benchmark.num_bytes,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": environment["device"],
        "rounds": plan.rounds,
        "quick": plan.quick,
        "checks": checks,
        "peaks": of_machine,
        "sides": rows,
        "load_average": {"start": load, "end": machine.load_average()},
        "environment": {name: value for name, value in environment.items() if name != "device"},
    }
