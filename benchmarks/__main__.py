"""Measures the library beside its peers, and writes what was measured as a page.

    python -m benchmarks [NAME ...]          measures what has no results on this processor yet
    python -m benchmarks --minutes 20        begins no further benchmark after so many minutes
    python -m benchmarks --again NAME ...    measures even what has results
    python -m benchmarks --quick [NAME ...]  shows that each runs: one call, nothing is written
    python -m benchmarks --list              names, families and sides
    python -m benchmarks --compare A B       which benchmarks changed from results A to results B
    python -m benchmarks --page              docs/benchmarks.md and its plot from all results

NAME is a benchmark or a family.
"""

import argparse
import functools
import pathlib
import sys
import time
from collections.abc import Callable

from benchmarks import compare, measuring, records, registry, summaries
from benchmarks.contract import Benchmark
from benchmarks.processes import Worker, WorkerError


def parser() -> argparse.ArgumentParser:
    """The flags."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("names", nargs="*", metavar="NAME")
    made.add_argument("--list", action="store_true", help="names, families and sides")
    made.add_argument("--rounds", type=int, default=9, help="samples of each side (default 9)")
    made.add_argument("--quick", action="store_true", help="one call of each; no measurement")
    made.add_argument("--again", action="store_true", help="measure what has results already")
    made.add_argument("--minutes", type=float, help="begin no benchmark after so many minutes")
    made.add_argument("--out", type=pathlib.Path, default=records.RESULTS, help="folder of results")
    made.add_argument("--verbose", action="store_true", help="show what the processes print")
    made.add_argument("--compare", nargs=2, type=pathlib.Path, metavar=("A", "B"))
    made.add_argument("--margin", type=float, default=compare.MARGIN, help="of --compare")
    made.add_argument("--page", action="store_true", help="write docs/benchmarks.md and its plot")
    return made


def listing(benchmarks: list[Benchmark]) -> str:
    """A line for each benchmark."""
    return "\n".join(f"{b.name:45}  {b.family:30}  {', '.join(b.sides)}" for b in benchmarks)


def to_do(
    benchmarks: list[Benchmark], folder: pathlib.Path, environment: dict, again: bool
) -> list[Benchmark]:
    """Those without results of this harness on this processor and jaxlib, in their order."""

    def is_done(benchmark: Benchmark) -> bool:
        here = {**environment, "environment": environment, "name": benchmark.name}
        found = list(records.read(folder / records.place(here)))
        return any("earlier_format" not in record for record in found)

    return [benchmark for benchmark in benchmarks if again or not is_done(benchmark)]


def run_all(
    benchmarks: list[Benchmark],
    measure: Callable[[Benchmark], records.Record],
    keep: Callable[[records.Record], object],
    minutes: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[str]:
    """Measures one after the other and keeps each record at once; a failure does not stop the rest.

    Returns:
        Names of those that failed.
    """
    begin, failed = clock(), []
    for index, benchmark in enumerate(benchmarks):
        if minutes is not None and clock() - begin >= 60 * minutes:
            print(f"{minutes:g} minutes are over: {len(benchmarks) - index} left for next time")
            break
        print(f"[{index + 1}/{len(benchmarks)}] {benchmark.name}", flush=True)
        try:
            record = measure(benchmark)
        except WorkerError as error:
            print(f"  failed: {error}", flush=True)
            failed.append(benchmark.name)
            continue
        keep(record)
        print(described(record), flush=True)
    return failed


def described(record: records.Record) -> str:
    """The rates of all sides, and the ratio to the best peer."""
    lines = []
    for name, side in record["sides"].items():
        if side.get("seconds"):
            rate = summaries.intervals.median(records.rates(side))
            lines.append(f"  {rate.value:14.4g} {record['unit']}/s  {name}")
        else:
            lines.append(f"  {'failed':>14}  {name}: {side['error']}")
    row = summaries.row(record)
    if row is not None and row.ratio is not None:
        ratio = row.ratio
        lines.append(f"  ratio {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] to {row.peer}")
    return "\n".join(lines)


def measure_command(arguments: argparse.Namespace, benchmarks: list[Benchmark]) -> int:
    """Measures, and writes unless the run is quick."""
    plan = measuring.Plan(1 if arguments.quick else arguments.rounds, arguments.quick)
    start = functools.partial(Worker, verbose=arguments.verbose)
    peaks, known = measuring.Peaks(start, plan), {}
    try:
        if not arguments.quick:
            total = len(benchmarks)
            benchmarks = to_do(benchmarks, arguments.out, peaks.environment, arguments.again)
            print(f"{len(benchmarks)} to measure, of {total}; the others have results here")
        keep = (lambda record: None) if plan.quick else lambda r: records.write(arguments.out, r)
        measure = lambda benchmark: measuring.measure(benchmark, plan, peaks, start, known)
        failed = run_all(benchmarks, measure, keep, arguments.minutes)
    finally:
        peaks.process.close()
    if plan.quick:
        print("a quick run is no measurement: nothing is written")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def main(argv: list[str] | None = None) -> int:
    """Does what the flags say."""
    arguments = parser().parse_args(argv)
    if arguments.compare:
        print(compare.show(*arguments.compare, arguments.margin))
        return 0
    if arguments.page:
        from benchmarks import page

        print(f"written: {page.write(records.RESULTS)}")
        return 0
    try:
        benchmarks = registry.chosen(arguments.names)
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    if arguments.list:
        print(listing(benchmarks))
        return 0
    return measure_command(arguments, benchmarks)


if __name__ == "__main__":
    sys.exit(main())
