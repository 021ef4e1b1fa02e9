"""What each part of the flag of `dgm_jax/_backend.py` does to speed on CPU.

    python -m benchmarks.xla_flags [--rounds 7] [--only "ring GAN"] [--quick]

XLA reads its flags once, so each value has a process of its own; all live at once, and in
each round every case runs in every process, one after the other, in an order that turns. Times are
milliseconds for each unit of work: of the clock, and of the process on all cores, which other work
on the machine disturbs less. Medians and raw samples go to
benchmarks/results/xla_flags_<jaxlib>_<device>.json, case by case; a case there already is replaced.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import gan_ring, harness, vqvae
from dgm_jax import _backend, data, native

VALUES = (
    "-reduce",
    "-reduce,-individual_convolution",
    "-reduce,-individual_dot",
    "-reduce,-individual_convolution,-individual_dot",
)


def repeated(function, operands, count: int) -> harness.Case:
    """`count` calls of one compiled function on the same operands."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*operands).compile()
    seconds = time.perf_counter() - start

    def call():
        for _ in range(count):
            done = compiled(*operands)
        jax.block_until_ready(done)

    return harness.Case(call, count, seconds)


def normal(*shape: int) -> jax.Array:
    """float32, the same at each call."""
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def products_in_a_scan(x, w):
    """Fifty times x <- x @ w, lane by lane."""
    return jax.lax.scan(lambda x, _: (x @ w, None), x, None, length=50)[0]


def weight_gradient(x, w):
    """Of a 3x3 convolution, "same" padding, channels last."""

    def loss(w):
        y = jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.sum(jnp.square(y))

    return jax.grad(loss)(w)


def ring_case(num_seeds: int, strategy: str, num_steps: int) -> harness.Case:
    """The ring GAN of `benchmarks.gan_ring` on the library's engine."""
    ring = data.load("ring", num_modes=8, radius=2.0, scale=0.1)
    return gan_ring.jax_case(ring, num_seeds, strategy, num_steps)


def vqvae_case() -> harness.Case:
    """One step of the VQ-VAE of `benchmarks.vqvae`, convolutions by `networks.plain`."""
    images = harness.noise_images(vqvae.NUM_IMAGES)
    with native.use_convolutions("plain"):
        return harness.engine_case(vqvae.task, {"image": images}, 1, "map", 1)


CASES = {
    "product 256x128x128": lambda: repeated(jnp.matmul, (normal(256, 128), normal(128, 128)), 100),
    "product 128x1152x25088": lambda: repeated(
        jnp.matmul, (normal(128, 1152), normal(1152, 25_088)), 1
    ),
    "8 products 256x128x128 in a scan": lambda: repeated(
        products_in_a_scan, (normal(8, 256, 128), normal(8, 128, 128) / 12), 10
    ),
    "convolution, weight gradient": lambda: repeated(
        weight_gradient, (normal(128, 14, 14, 64), normal(3, 3, 64, 64)), 1
    ),
    "convolution, weight gradient, 4 lanes": lambda: repeated(
        jax.vmap(weight_gradient), (normal(4, 32, 14, 14, 64), normal(4, 3, 3, 64, 64)), 1
    ),
    "ring GAN, step of 1 seed": functools.partial(ring_case, 1, "map", 50),
    "ring GAN, step of 8 seeds, vmap": functools.partial(ring_case, 8, "vmap", 10),
    "VQ-VAE, step of 1 seed": vqvae_case,
}


def work() -> None:
    """The process of one value: for each name that comes in, one sample of that case goes out."""
    cases = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in cases:
            cases[name] = CASES[name]()
            cases[name].call()
        before = time.perf_counter(), time.process_time()
        cases[name].call()
        after = time.perf_counter(), time.process_time()
        per_unit = [1e3 * (b - a) / cases[name].count for a, b in zip(before, after, strict=True)]
        print("sample", json.dumps(per_unit), flush=True)


def worker(value: str) -> subprocess.Popen:
    """A process with this value of the flag."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.xla_flags", "--work"],
        env={**os.environ, "XLA_FLAGS": f"{_backend.FLAG}={value}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(process: subprocess.Popen, name: str) -> list[float]:
    """[milliseconds of the clock, of the process] of one sample."""
    process.stdin.write(f"{name}\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("sample "):
            return json.loads(line.removeprefix("sample "))
    raise SystemExit(f"the process of {process.args} ended with {process.wait()} at {name!r}")


def measure(names: list[str], rounds: int):
    """Yields (case, {value: samples}); the first sample of each, which compiles, is not among
    them."""
    workers = {value: worker(value) for value in VALUES}
    try:
        for name in names:
            samples = {value: [] for value in VALUES}
            for index in range(rounds + 1):
                turn = index % len(VALUES)
                for value in VALUES[turn:] + VALUES[:turn]:
                    sample = ask(workers[value], name)
                    if index:
                        samples[value].append(sample)
            yield name, samples
    finally:
        for process in workers.values():
            process.kill()


def medians(samples: list) -> dict:
    """Medians of both times, beside the samples."""
    clock, processor = zip(*samples, strict=True)
    return {
        "median_ms": statistics.median(clock),
        "median_processor_ms": statistics.median(processor),
        "samples_ms": clock,
        "samples_processor_ms": processor,
    }


def show(name: str, by_value: dict[str, list]) -> None:
    """Prints one case."""
    print(name)
    for value, samples in by_value.items():
        row = medians(samples)
        print(
            f"  {value:50s} {row['median_ms']:10.3f} ms"
            f" {row['median_processor_ms']:10.3f} ms of the process",
            flush=True,
        )


def write(name: str, by_value: dict[str, list], rounds: int) -> None:
    """Puts one case into the file of this jaxlib."""
    title = f"xla_flags_{_backend.installed_version().replace('.', '_')}"
    path = harness.RESULTS / f"{title}_{harness.device_name()}.json"
    cases = json.loads(path.read_text())["cases"] if path.exists() else {}
    cases[name] = {
        "rounds": rounds,
        "environment": harness.surroundings(),
        "values": {value: medians(samples) for value, samples in by_value.items()},
    }
    harness.write(title, {"benchmark": "xla_flags", "unit": "ms", "cases": cases})


def main() -> int:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="samples of each case and value")
    parser.add_argument("--only", default="", help="cases whose name has this text")
    parser.add_argument("--quick", action="store_true", help="one round; writes nothing")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work()
        return 0
    names = [name for name in CASES if arguments.only in name]
    rounds = 1 if arguments.quick else arguments.rounds
    for name, by_value in measure(names, rounds):
        show(name, by_value)
        if not arguments.quick:
            write(name, by_value, rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
