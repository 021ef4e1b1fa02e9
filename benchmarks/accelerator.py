"""What to run first on a fresh machine with a GPU or a TPU; `make accelerator` is this.

    python -m benchmarks.accelerator [--minutes 9] [--quick]

Three parts, in this order. Each case has a process and a time of its own, so that one that hangs or
crashes does not take the others with it; what had no time is named in the result.

1. rates: what the device computes and moves, beside its published figures where it is a known kind.
2. steps: seed-steps/s of the engine by number of seeds, for a GAN on a ring, a VQ-VAE on images and
   a DCGAN (the last also in bfloat16 products), beside the least time that `dgm-jax plan` gives.
   On a GPU with PyTorch: the ring GAN there, one seed, eagerly.
3. tests: the files of `TESTS`, on the device.

The result is benchmarks/results/DEVICE/jaxlib_VERSION/accelerator.json. On a CPU everything is
smaller.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

import jax

from benchmarks import machine, records
from dgm_jax import parallel
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
    "tests/networks/test_networks_convolution.py",
    "tests/quantization/test_nearest_code.py",
    "tests/run/test_launch.py",
)
TESTS_ON_CPU = ("tests/quantization/test_nearest_code.py", "tests/parallel/test_parallel_seeds.py")
CASES = {
    "gan_ring": "",
    "vqvae_images": "--data digits",
    "gan_images": "--data digits --feature_extractor pixels",
}
SMALL = {
    "gan_ring": "",
    "vqvae_images": "--batch_size 16 --width 16 --code_width 8 --num_codes 32",
    "gan_images": "--batch_size 16 --features 8",
}
RING = {"width": 128, "batch": 256}  # the shape of the ring GAN in PyTorch
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
    return {
        "measured": measured._asdict(),
        "published": known._asdict() if known else None,
    }


def step_case(name: str, num_seeds: int, precision: str, num_steps: int) -> dict:
    """Seconds of a step of an experiment's first arm, all seeds at once, beside the plan's."""
    experiment = catalogue.load_experiment(name)
    flags = CASES[name] + (f" {SMALL[name]}" if jax.default_backend() == "cpu" else "")
    settings = start.parse(experiment, [*flags.split(), "--num_seeds", str(num_seeds)])
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
    if importlib.util.find_spec("torch") is None or jax.default_backend() != "gpu":
        return None
    import torch

    from benchmarks.families.gan_ring import check, peer

    if peer.DEVICE == "cpu":
        return None
    checks = check.check(RING)
    case = peer.eager(RING, 200)
    seconds = []
    for _ in range(4):  # the first call warms up
        begin = time.perf_counter()
        case.call()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return {"seed_steps_per_second": case.count / min(seconds[1:]), "checks": checks}


def in_a_process(command: list[str], seconds: float, env: dict | None = None):
    """(exit code or None after so many seconds, lines of its output, seconds that it took)."""
    begin = time.monotonic()
    options = {"cwd": ROOT, "env": os.environ | (env or {}), "text": True, "check": False}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        done = subprocess.run([sys.executable, "-m", *command], timeout=seconds, **options, **pipes)
    except subprocess.TimeoutExpired:
        return None, [f"stopped after {seconds:.0f} s"], seconds
    lines = done.stdout.strip().splitlines() or ["nothing was printed"]
    return done.returncode, lines, time.monotonic() - begin


def one(words: list[str], seconds: float) -> object:
    """What a role returns, from a process of its own, or the last line of its error."""
    if seconds < 5:
        return "no time"
    print(" ".join(words), flush=True)
    code, lines, _ = in_a_process(["benchmarks.accelerator", "--role", *words], seconds)
    return json.loads(lines[-1]) if code == 0 else lines[-1]


def run_tests(file: str, platform: str, seconds: float) -> dict:
    """The outcome of a file of tests on the device; products are computed in float32."""
    if seconds < 10:
        return {"outcome": "no time"}
    print(file, flush=True)
    names = {"cpu": "cpu", "gpu": "cuda,cpu"}
    env = {
        "JAX_PLATFORMS": names.get(platform, f"{platform},cpu"),
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
    }
    quick = ["--quick-compile"] if platform == "cpu" else []
    code, lines, took = in_a_process(["pytest", file, "-m", "not slow", *quick], seconds, env)
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"outcome": lines[-1], "failed": failed, "seconds": took, "exit_code": code}


ROLES = {
    "platform": lambda: jax.default_backend(),
    "rates": rates,
    "step": lambda name, seeds, precision, steps: step_case(
        name, int(seeds), precision, int(steps)
    ),
    "torch": torch_case,
}


def step_cases(platform: str) -> list[list[str]]:
    """The words of the roles of all cases."""
    kind = "cpu" if platform == "cpu" else "other"
    return [
        ["step", name, str(num_seeds), precision, str(STEPS[kind])]
        for num_seeds in SEEDS[kind]
        for name in CASES
        for precision in (("default", "bfloat16") if name == "gan_images" else ("default",))
    ]


def all_parts(minutes: float) -> dict:
    """Everything, in so many minutes: half of them for steps, the rest for tests."""
    end = time.monotonic() + 60 * minutes
    left = lambda: end - time.monotonic()
    code, lines, _ = in_a_process(["benchmarks.accelerator", "--role", "platform"], left())
    if code:
        raise SystemExit(f"JAX finds no device: {lines[-1]}")
    platform = json.loads(lines[-1])
    reserved = 30 * minutes
    found: dict = {"platform": platform, "rates": one(["rates"], left() - reserved), "steps": {}}
    for words in step_cases(platform):
        seconds = min(120.0, left() - reserved)
        found["steps"][", ".join(words[1:])] = one(words, seconds)
    found["torch"] = one(["torch"], min(60.0, left() - reserved))
    found["tests"] = {}
    files = TESTS_ON_CPU if platform == "cpu" else TESTS
    for index, file in enumerate(files):
        share = left() / min(3, len(files) - index)  # what one leaves the next ones may use
        found["tests"][file] = run_tests(file, platform, share)
    return found


def main() -> int:
    """Measures, tests, writes; 1 if a test failed."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--minutes", type=float, default=9.0, help="all that it may take")
    made.add_argument("--quick", action="store_true", help="one case, no test; nothing is written")
    made.add_argument("--role", nargs="+", metavar="WORD", help="one case, in this process")
    arguments = made.parse_args()
    if arguments.role or arguments.quick:
        role, *words = arguments.role or ["step", "gan_ring", "1", "default", "1"]
        print(json.dumps(ROLES[role](*words)))
        return 0
    # This process asks for the device last: a TPU, and the memory of a GPU, has one owner.
    content: dict = {"benchmark": "accelerator", **all_parts(arguments.minutes)}
    for file, found in content["tests"].items():
        print(f"{file}: {found['outcome']}")
    written = records.write_other("accelerator", machine.surroundings(), content)
    print(f"written: {written}")
    return int(any(found.get("exit_code") for found in content["tests"].values()))


if __name__ == "__main__":
    sys.exit(main())
