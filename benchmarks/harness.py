"""How every benchmark here is measured.

A *case* is a function that does a known amount of work and returns when the work is done.
Compilation and one warm-up call come first and are timed apart. Then all cases run in rounds, each
once a round, in an order that turns with the round, so that a slow minute of the machine falls on
all of them alike. Cases are compared by the ratios of their samples of the same round. Nothing is
thrown away: the file of results has every sample.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import native, parallel, training
from dgm_jax.store import environment

RESULTS = pathlib.Path(__file__).parent / "results"


class Case(NamedTuple):
    """call: does `count` units of work (seed-steps, say) and blocks until they are done."""

    call: Callable[[], object]
    count: float
    compile_seconds: float = 0.0


def compiled_case(function, state, count: float) -> Case:
    """A case from a jitted `state -> state`; each call goes on from the last one's state, which it
    may overwrite."""
    start = time.perf_counter()
    run = function.lower(state).compile()
    seconds = time.perf_counter() - start
    holder = [state]

    def call():
        holder[0] = jax.block_until_ready(run(holder[0]))

    return Case(call, count, seconds)


def engine_case(task: Callable, data, num_seeds: int, strategy: str, num_steps: int) -> Case:
    """`num_steps` steps of `num_seeds` seeds of `task(hyper) -> Task` on the library's engine, in
    one compiled call."""
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(num_seeds))
    program = training.lane_program(task)
    compiled = parallel.distribute(program, keys, {}, strategy=strategy, only=jax.devices()[:1])
    lanes, data = compiled.init(keys, {}), compiled.place_data(data)
    start = time.perf_counter()
    advance = compiled.compile_advance(lanes, data)
    seconds = time.perf_counter() - start
    holder = [lanes]

    def call():
        holder[0], *_ = jax.block_until_ready(advance(holder[0], data, num_steps))

    return Case(call, num_seeds * num_steps, seconds)


def torch_device(torch) -> str:
    """Where PyTorch runs: on the GPU if JAX does too."""
    return "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"


def eager_case(torch, step: Callable[[], None], num_steps: int) -> Case:
    """`num_steps` calls of `step`, one seed, until the device is done."""

    def call():
        for _ in range(num_steps):
            step()
        if torch_device(torch) == "cuda":
            torch.cuda.synchronize()

    return Case(call, num_steps)


def engine_cases(task: Callable, data, arguments) -> dict[str, Case]:
    """The engine for every number of seeds, by every strategy; one seed is the same program by
    either."""
    cases = {}
    for num_seeds in arguments.seeds:
        for strategy in ("map",) if num_seeds == 1 else parallel.STRATEGIES:
            name = f"jax, {num_seeds} seeds, {strategy}"
            print(f"compiling {name}")
            cases[name] = engine_case(task, data, num_seeds, strategy, arguments.steps)
    return cases


def image_cases(task: Callable, images, arguments, peer: Callable) -> dict[str, Case]:
    """Cases of an image model: the engine on `{"image": images}`, and PyTorch, eagerly, with both
    layouts: `peer(torch, device, images, channels_last)` has a method `step`. Where
    convolutions are oneDNN's, one seed is also trained with plain ones."""
    cases, torch = engine_cases(task, {"image": images}, arguments), torch_or_none()
    if native.convolutions() == "onednn":
        with native.use_convolutions("plain"):
            plain = engine_case(task, {"image": images}, 1, "map", arguments.steps)
        cases["jax, 1 seed, plain convolutions"] = plain
    for channels_last in (False, True) if torch else ():
        name = f"torch eager, channels {'last' if channels_last else 'first'}"
        model = peer(torch, torch_device(torch), images, channels_last)
        cases[name] = eager_case(torch, model.step, arguments.steps)
    return cases


def noise_images(num: int) -> np.ndarray:
    """uint8 [num, 28, 28, 1]."""
    return np.random.default_rng(0).integers(0, 256, (num, 28, 28, 1), dtype=np.uint8)


def measure(cases: dict[str, Case], rounds: int, notify=print) -> dict[str, list[float]]:
    """{case: seconds of each round}, after one warm-up call each."""
    names = list(cases)
    for name in names:
        cases[name].call()
    samples = {name: [] for name in names}
    for index in range(rounds):
        turn = index % len(names)
        for name in names[turn:] + names[:turn]:
            start = time.perf_counter()
            cases[name].call()
            samples[name].append(time.perf_counter() - start)
        notify(f"round {index + 1} of {rounds}")
    return samples


def summarize(cases: dict[str, Case], samples: dict[str, list[float]]) -> dict:
    """Per case: units per second (median, least, most), compile seconds, raw seconds."""
    rows = {}
    for name, seconds in samples.items():
        rates = [cases[name].count / s for s in seconds]
        rows[name] = {
            "per_second": statistics.median(rates),
            "per_second_range": [min(rates), max(rates)],
            "count": cases[name].count,
            "compile_seconds": cases[name].compile_seconds,
            "samples_seconds": seconds,
        }
    return rows


def ratios(rows: dict, over: str) -> dict:
    """How many times faster each case is than the case `over`: median and range over rounds."""
    base = [rows[over]["count"] / s for s in rows[over]["samples_seconds"]]
    found = {}
    for name, row in rows.items():
        each = [row["count"] / s / b for s, b in zip(row["samples_seconds"], base, strict=True)]
        found[name] = {"median": statistics.median(each), "range": [min(each), max(each)]}
    return found


def torch_or_none():
    """The torch module, or None where PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        return None
    return torch


def surroundings() -> dict:
    """Versions, devices, processor, threads and how busy the machine is."""
    found = environment.collect_environment()
    torch = torch_or_none()
    found["versions"]["torch"] = torch.__version__ if torch else None
    found["threads"] = {
        "torch": torch.get_num_threads() if torch else None,
        "usable_cpus": (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        ),
        **{
            name: os.environ.get(name)
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS", "NPROC")
        },
    }
    found["load_average"] = os.getloadavg() if hasattr(os, "getloadavg") else None
    return found


def device_name() -> str:
    """The kind of the first JAX device, fit for a file name; of a CPU with its widest vectors,
    which decide more about speed than its maker does.

    Results are kept under these names, so they are not those of `store.records.safe_name`.
    """
    kind = jax.devices()[0].device_kind.lower()
    name = "".join(c if c.isalnum() else "_" for c in kind)
    return f"{name}{vector_extension()}" if jax.default_backend() == "cpu" else name


def vector_extension() -> str:
    """ "_avx512" or "_avx2" where Linux says so, else ""."""
    try:
        flags = set(pathlib.Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return ""
    if "avx512f" in flags:
        return "_avx512"
    return "_avx2" if "avx2" in flags else ""


def write(name: str, content: dict) -> pathlib.Path:
    """results/NAME_<device>.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}_{device_name()}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def table(rows: dict, against: dict, unit: str) -> str:
    """Rows for a person: rate, its range over rounds, and the ratio to the reference."""
    width = max(map(len, rows))
    lines = [f"{'case'.ljust(width)}  {unit:>14}  {'range':>23}  {'ratio':>6}  {'compile':>8}"]
    for name, row in rows.items():
        low, high = row["per_second_range"]
        lines.append(
            f"{name.ljust(width)}  {row['per_second']:14.1f}  {low:10.1f} to {high:9.1f}"
            f"  {against[name]['median']:6.2f}  {row['compile_seconds']:6.1f} s"
        )
    return "\n".join(lines)


def parser(description: str, **defaults) -> argparse.ArgumentParser:
    """Flags that every benchmark has: --rounds, --steps, --seeds, --quick."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument(
        "--rounds", type=int, default=defaults.get("rounds", 9), help="samples of each case"
    )
    made.add_argument("--steps", type=int, default=defaults["steps"], help="steps of one sample")
    made.add_argument(
        "--seeds", type=int, nargs="+", default=defaults["seeds"], help="numbers of seeds at once"
    )
    made.add_argument(
        "--quick", action="store_true", help="a few seconds, to see that it runs; no measurement"
    )
    return made


def parse(made: argparse.ArgumentParser) -> argparse.Namespace:
    """The flags; `--quick` takes two rounds of one step of the fewest seeds."""
    arguments = made.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.steps, arguments.seeds = 2, 1, arguments.seeds[:1]
    if torch_or_none() is None:
        print(
            "PyTorch is not installed (pip install dgm_jax[benchmark]): measuring JAX alone",
            file=sys.stderr,
        )
    return arguments


def fastest(rows: dict, prefix: str) -> str:
    """The case with the highest median rate among those whose name begins with `prefix`, or among
    all."""
    among = [name for name in rows if name.startswith(prefix)] or list(rows)
    return max(among, key=lambda name: rows[name]["per_second"])


def report(
    name: str, cases: dict[str, Case], checks: dict, arguments, unit: str, peer: str = "torch"
) -> dict:
    """Measures, prints, writes; returns what was written. Ratios are to the peer's fastest case."""
    before = surroundings()
    samples = measure(cases, arguments.rounds)
    rows = summarize(cases, samples)
    reference = fastest(rows, peer)
    against = ratios(rows, reference)
    content = {
        "benchmark": name,
        "unit": unit,
        "arguments": vars(arguments),
        "environment": before,
        "load_average_after": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "checks": checks,
        "reference": reference,
        "cases": rows,
        "ratios": against,
    }
    print(table(rows, against, unit))
    print(f"ratio: to {reference}")
    if arguments.quick:
        print("a quick run is no measurement: nothing is written")
    else:
        print(f"written: benchmarks/results/{write(name, content).name}")
    return content
