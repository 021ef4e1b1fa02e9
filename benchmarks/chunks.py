"""What happens between chunks: its share of a run's time, and the memory that it keeps.

    python -m benchmarks.chunks [--rounds 9] [--steps 500] [--seeds 5] [--chunks 2000] [--quick]

The ring GAN of `benchmarks.gan_ring`. Time: chunks of `--steps` steps, as a default run has them,
with a row of metrics.jsonl, a checkpoint and a report to the progress display after each, beside
chunks without. Memory: the anonymous resident memory (RssAnon of /proc/self/status) over `--chunks`
chunks of one step, each with row, checkpoint and report; it should be level after the first ones.
"""

import pathlib
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import gan_ring, harness
from dgm_jax import data, parallel, training
from dgm_jax.store.directory import RunDirectory
from dgm_jax.terminal.progress import Progress
from dgm_jax.training.checkpoint import Checkpoints


class Host:
    """What a run does between chunks."""

    def __init__(self, folder: pathlib.Path, num_seeds: int, progress: Progress):
        self.directory = RunDirectory.create(folder, "chunks", {"num_seeds": num_seeds})
        self.checkpoints = Checkpoints(folder / "checkpoints" / "vanilla", {"benchmark": "chunks"})
        self.progress, self.step, self.seconds = progress, 0, []

    def log(self, lanes, metrics, num_steps: int) -> None:
        """A row, a checkpoint and a report."""
        start = time.perf_counter()
        self.step += num_steps
        seen = jax.device_get(metrics)
        self.directory.append_row({"step": self.step, "arm": "vanilla", **seen})
        self.checkpoints.save(self.step, lanes)
        self.progress.update(self.step, seen)
        self.seconds.append(time.perf_counter() - start)


def engine(num_seeds: int):
    """(fresh lanes, `advance(lanes, data, num_steps)`, seconds of compiling)."""
    dataset = data.load("ring", num_modes=8, radius=2.0, scale=0.1)
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(num_seeds))
    program = training.lane_program(lambda hyper: gan_ring.task(dataset))
    compiled = parallel.distribute(program, keys, {}, only=jax.devices()[:1])
    lanes = compiled.init(keys, {})
    start = time.perf_counter()
    advance = training.in_parts(compiled.compile_advance(lanes, {}))
    return lambda: compiled.init(keys, {}), advance, time.perf_counter() - start


def chunk_case(fresh, advance, num_seeds, num_steps, host, seconds) -> harness.Case:
    """A chunk and, where there is a host, what it does after it."""
    holder = [fresh()]

    def call():
        holder[0], metrics = advance(holder[0], {}, num_steps)
        if host is not None:
            host.log(holder[0], metrics, num_steps)

    return harness.Case(call, num_seeds * num_steps, seconds)


def anonymous_memory() -> int | None:
    """RssAnon of this process in bytes; None where the system does not tell."""
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")]
    return found[0] if found else None


def memory(fresh, advance, host: Host, num_chunks: int) -> dict[str, int | None]:
    """{chunks: bytes}, twenty times on the way."""
    lanes, found = fresh(), {}
    for chunk in range(1, num_chunks + 1):
        lanes, metrics = advance(lanes, {}, 1)
        host.log(lanes, metrics, 1)
        if chunk % max(1, num_chunks // 20) == 0:
            found[str(chunk)] = anonymous_memory()
    return found


def main() -> int:
    """Measures, prints, writes."""
    made = harness.parser(__doc__.splitlines()[0], steps=500, seeds=[5])
    made.add_argument("--chunks", type=int, default=2000, help="chunks of one step, for memory")
    arguments = made.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.steps, arguments.chunks = 2, 1, 20
    num_seeds = arguments.seeds[0]
    fresh, advance, seconds = engine(num_seeds)
    with tempfile.TemporaryDirectory() as folder, Progress("quiet") as progress:
        total = arguments.chunks + arguments.steps * (arguments.rounds + 1)
        with progress.training("vanilla", total, num_seeds):
            host = Host(pathlib.Path(folder) / "memory", num_seeds, progress)
            kept = memory(fresh, advance, host, arguments.chunks)
            host = Host(pathlib.Path(folder) / "time", num_seeds, progress)
            case = lambda host: chunk_case(
                fresh, advance, num_seeds, arguments.steps, host, seconds
            )
            cases = {"without": case(None), "row, checkpoint and report": case(host)}
            checks = {"anonymous_memory_bytes": kept, "seconds_between_chunks": host.seconds}
            content = harness.report(
                "chunks", cases, checks, arguments, "seed-steps/s", peer="without"
            )
    chunk = 1 / content["cases"]["without"]["per_second"] * num_seeds * arguments.steps
    print(f"between chunks: {np.median(host.seconds) / chunk:.2%} of a chunk's {chunk:.2f} s")
    for chunks, size in kept.items():
        print(f"{chunks:>6} chunks: {size / 1e6:.1f} MB" if size else "RssAnon is not known here")
    return 0


if __name__ == "__main__":
    sys.exit(main())
