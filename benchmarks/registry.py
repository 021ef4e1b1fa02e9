"""All benchmarks, in the order in which they are measured: what costs least first."""

import importlib
import pkgutil

from benchmarks import families
from benchmarks.contract import FAMILIES, Benchmark


def all_benchmarks() -> dict[str, Benchmark]:
    """{name: benchmark} of every family: one seed before several, small before large."""
    names = sorted(module.name for module in pkgutil.iter_modules(families.__path__))
    found = [
        benchmark
        for name in names
        if not name.startswith("_")
        for benchmark in importlib.import_module(f"{FAMILIES}.{name}").BENCHMARKS
    ]
    found.sort(key=lambda benchmark: (benchmark.seeds, benchmark.size.endswith("large")))
    by_name = {benchmark.name: benchmark for benchmark in found}
    if len(by_name) < len(found):
        raise ValueError("two benchmarks have the same name")
    return by_name


def chosen(names: list[str]) -> list[Benchmark]:
    """Those whose name, or whose family, is among the names; all for no names.

    Raises:
        KeyError: a name that is neither.
    """
    everything = all_benchmarks()
    if not names:
        return list(everything.values())
    known = set(everything) | {benchmark.family for benchmark in everything.values()}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise KeyError(f"no benchmark or family {', '.join(unknown)}; --list shows them")
    return [b for b in everything.values() if b.name in names or b.family in names]
