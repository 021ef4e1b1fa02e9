"""What to run first on a fresh machine with a GPU or a TPU; `make accelerator` is this.

    python -m benchmarks.accelerator [--minutes 9] [--quick]

Three parts, in this order, until the minutes are used up; what had no time is named in the result.

1. rates: what the device computes and moves, beside its published figures where it is a known kind.
2. steps: seed-steps/s of the engine by number of seeds, for a GAN on a ring, a VQ-VAE on images and
   a DCGAN (the last also in bfloat16 products), beside the least time that `dgm-jax plan` gives.
   On a GPU with PyTorch: the ring GAN there, one seed, eagerly.
3. tests: the files of `TESTS`, on the device, each in a process of its own.

The result is benchmarks/results/accelerator_<device>.json. On a CPU everything is smaller.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

import jax

from benchmarks import gan_ring, harness
from dgm_jax import data, parallel
from dgm_jax.run import catalogue, memory, start
from dgm_jax.run.costs import step_cost
from dgm_jax.run.lanes import lanes_of, program_of
from dgm_jax.run.launch import Job
from dgm_jax.run.planning import untrained
from dgm_jax.run.scaling import step_times, this_machine

ROOT = pathlib.Path(__file__).parents[1]
# What a backend may compute differently: the engine, layouts over devices, convolutions, sums of
# products, quantization, and whole runs that are stopped and go on.
TESTS = (
    "tests/training/test_training_loop.py",
    "tests/parallel/test_parallel_seeds.py",
    "tests/parallel/test_parallel_catalogue.py",
    "tests/test_backend.py",
    "tests/networks/layers/test_convolution.py",
    "tests/quantization/test_quantization_nearest.py",
    "tests/run/test_launch.py",
)
CASES = {
    "gan_ring": "",
    "vqvae_images": "--data digits",
    "gan_images": "--data digits --feature_extractor pixels",
}
SEEDS = {"cpu": (1, 4), "other": (1, 16, 256)}
STEPS = {"cpu": 2, "other": 200}
KINDS = {"h100": "H100", "h200": "H200", "a100": "A100", "b200": "B200", "v4": "TPU v4"}
KINDS |= {"v5e": "TPU v5 lite", "v5p": "TPU v5p", "v6e": "TPU v6 lite"}


def published() -> parallel.Kind | None:
    """The published figures of the first device, if it is a known kind."""
    told = jax.devices()[0].device_kind
    names = [name for name, part in KINDS.items() if part.lower() in told.lower()]
    return parallel.KINDS[names[0]] if names else None


def rates() -> dict:
    """Measured and published figures of one device."""
    measured = this_machine(memory.memory_of(jax.devices()[0]).num_bytes)
    known = published()
    return {"measured": measured._asdict(), "published": known._asdict() if known else None}


def step_case(name: str, num_seeds: int, precision: str, num_steps: int) -> dict:
    """Seconds of a step of an experiment's first arm, all seeds at once, beside the plan's."""
    experiment = catalogue.load_experiment(name)
    settings = start.parse(experiment, [*CASES[name].split(), "--num_seeds", str(num_seeds)])
    groups, inputs = untrained(Job(experiment, settings.study, settings.launch, {}))
    arm = groups[0]._replace(arms=groups[0].arms[:1], swept=())
    keys, hyper = lanes_of(arm, arm.arms[0].config)
    cost = step_cost(experiment, arm, inputs)
    program = program_of(experiment, arm.arms[0].config, inputs)
    options = {"strategy": "vmap", "only": jax.devices()[:1]}
    with jax.default_matmul_precision(precision):
        spread = parallel.distribute(program, keys, hyper, **options)
        lanes, arrays = spread.init(keys, hyper), spread.place_data(inputs.arrays)
        begin = time.perf_counter()
        advance = spread.compile_advance(lanes, arrays)
        compile_seconds = time.perf_counter() - begin
    seconds = []
    for _ in range(4):  # the first call warms up
        begin = time.perf_counter()
        lanes, *_ = jax.block_until_ready(advance(lanes, arrays, num_steps))
        seconds.append((time.perf_counter() - begin) / num_steps)
    kind = published()
    least = step_times(cost, kind, num_seeds, 1, "default").step if kind else None
    return {
        "seed_steps_per_second": num_seeds / min(seconds[1:]),
        "seconds_of_a_step": seconds[1:],
        "least_seconds_by_plan": least,
        "compile_seconds": compile_seconds,
        "failed_seeds": int((jax.device_get(lanes.failed_at) >= 0).sum()),
    }


def torch_case() -> dict | None:
    """The ring GAN in PyTorch, one seed eagerly, where JAX has a GPU and so has PyTorch."""
    torch = harness.torch_or_none()
    if torch is None or harness.torch_device(torch) == "cpu":
        return None
    checks = gan_ring.check_losses(torch, data.load("ring", num_modes=8, radius=2.0, scale=0.1))
    case = gan_ring.torch_case(torch, True, torch.get_num_threads(), 200)
    samples = harness.measure({"torch": case}, 3, notify=lambda text: None)["torch"]
    return {"seed_steps_per_second": case.count / min(samples), "checks": checks}


def run_tests(file: str, seconds: float) -> dict:
    """The outcome of a file of tests on the device; products are computed in float32."""
    backend = jax.default_backend()
    platforms = "cpu" if backend == "cpu" else f"{'cuda' if backend == 'gpu' else backend},cpu"
    env = os.environ | {
        "JAX_PLATFORMS": platforms,
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    quick = ["--quick-compile"] if backend == "cpu" else []
    command = [sys.executable, "-m", "pytest", file, "-m", "not slow", *quick]
    begin = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return {"outcome": f"stopped after {seconds:.0f} s"}
    said = done.stdout.strip().splitlines() or ["nothing was printed"]
    failed = [line for line in said if line.startswith(("FAILED", "ERROR"))]
    outcome = {"outcome": said[-1], "failed": failed, "seconds": time.monotonic() - begin}
    return outcome | {"exit_code": done.returncode}


def steps(left) -> dict:
    """All cases of steps that there is time for."""
    on_cpu = jax.default_backend() == "cpu"
    kind = "cpu" if on_cpu else "other"
    found: dict = {}
    for name in CASES:
        for num_seeds in SEEDS[kind]:
            for precision in ("default", "bfloat16") if name == "gan_images" else ("default",):
                label = f"{name}, {num_seeds} seeds, {precision}"
                if left() < 60:
                    found[label] = "no time"
                    continue
                print(label, flush=True)
                found[label] = step_case(name, num_seeds, precision, STEPS[kind])
    return found


def main() -> int:
    """Measures, tests, writes; 1 if a test failed."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--minutes", type=float, default=9.0, help="all that it may take")
    made.add_argument("--quick", action="store_true", help="one case, no test; nothing is written")
    arguments = made.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    left = lambda: end - time.monotonic()
    if arguments.quick:
        print(step_case("gan_ring", 1, "default", 1))
        return 0
    content: dict = {"benchmark": "accelerator", "environment": harness.surroundings()}
    content["rates"] = rates()
    content["steps"] = steps(lambda: left() / 2)  # the other half is for tests
    content["torch"] = torch_case() if left() > 120 else "no time"
    content["tests"] = {}
    for file in TESTS:
        print(file, flush=True)
        enough = left() > 20
        content["tests"][file] = run_tests(file, left() - 5) if enough else {"outcome": "no time"}
    path = harness.write("accelerator", content)
    codes = [found.get("exit_code", 0) for found in content["tests"].values()]
    for file, found in content["tests"].items():
        print(f"{file}: {found['outcome']}")
    print(f"written: benchmarks/results/{path.name}")
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
