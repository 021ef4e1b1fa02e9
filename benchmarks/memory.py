"""What `dgm-jax check` says of a run's memory, beside what the run takes.

    python -m benchmarks.memory [--cases gan_ring ...] [--quick]

Each case is an experiment in sizes where its programs hold hundreds of megabytes. Two processes of
their own import its functions and start JAX's CPU backend; what is resident then (VmRSS of
/proc/self/status) is the baseline. One compiles the programs and estimates, as `dgm-jax check`
does. The other makes the whole run, from loading data to the report, and says the peak of its
resident memory (VmHWM). Both are compared over the baseline.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile

import jax

from benchmarks import machine, records
from dgm_jax.run import catalogue, fitting, start
from dgm_jax.run.cells import groups
from dgm_jax.run.lanes import distribute_group, lanes_of
from dgm_jax.run.launch import Job
from dgm_jax.run.programs import Programs
from dgm_jax.terminal.progress import Progress

_TWO_ROWS = "--num_steps 2 --log_every 1"
CASES = {
    "gan_ring": f"--num_seeds 100 {_TWO_ROWS}",
    "gan_images": (
        "--data digits --feature_extractor pixels --strategy vmap --num_seeds 8 --batch_size 1024"
        f" {_TWO_ROWS}"
    ),
    "vqvae_images": f"--data digits --strategy vmap --num_seeds 6 --batch_size 1024 {_TWO_ROWS}",
    "gumbel_vae_images": (
        "--data digits --estimator gumbel_softmax --num_seeds 60 --num_eval 200 --num_importance"
        f" 1000 {_TWO_ROWS}"
    ),
    "avb_four_points": ("--model avb --num_seeds 6 --critic_width 512 --num_steps 1 --log_every 1"),
}
QUICK = {"gan_ring": "--num_seeds 2 --num_eval 100 --num_steps 1 --log_every 1"}


def status(name: str) -> int:
    """A line of /proc/self/status in bytes."""
    found = machine.status_bytes(name)
    if found is None:
        raise SystemExit("this system does not tell how much memory a process holds")
    return found


def job_of(name: str, flags: str) -> Job:
    """A run as its flags ask for it, on one device."""
    experiment = catalogue.load_experiment(name)
    settings = start.parse(experiment, [*flags.split(), "--num_devices", "1"])
    return Job(experiment, settings.study, settings.launch, {})


def estimated(name: str, flags: str) -> dict:
    """What a check says, over the baseline of this process."""
    job = job_of(name, flags)
    baseline = _baseline(job)
    job, cells = job.cells()
    with Progress("quiet") as progress:
        inputs = job.inputs(progress)
    programs = []
    for group in groups(job.experiment, cells):
        start_from = lanes_of(group, job.config)
        compiled = distribute_group(job.experiment, job.launch, group, inputs, *start_from)
        quiet = lambda what: contextlib.nullcontext()
        programs.append(Programs(group, compiled, start_from, inputs.arrays, quiet))
    found = fitting.require_all_fit(programs, job.config, job.launch)
    parts = {part.name: part.num_bytes for part in found.moment.parts}
    parts["loaded data and programs"] = found.taken - baseline
    return {
        "baseline": baseline,
        "bytes": found.num_bytes - baseline,
        "at": found.moment.name,
        "parts": parts,
    }


def measured(name: str, flags: str) -> dict:
    """The peak of a whole run in this process, over its baseline."""
    experiment = catalogue.load_experiment(name)
    baseline = _baseline(job_of(name, flags))
    with tempfile.TemporaryDirectory() as folder:
        launch = ["--num_devices", "1", "--progress", "quiet", "--out", f"{folder}/run"]
        code = start.main(experiment, [*flags.split(), *launch])
    if code:
        raise SystemExit(code)
    return {"baseline": baseline, "bytes": status("VmHWM") - baseline}


def _baseline(job: Job) -> int:
    assert job.experiment.functions and jax.devices()  # imported and started
    return status("VmRSS")


ROLES = {"estimated": estimated, "measured": measured}


def in_a_process(role: str, name: str, flags: str) -> dict:
    """One side of a case, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", "--role", role, name, flags]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(cases: dict[str, str]) -> dict[str, dict]:
    """{case: flags, both sides, and the estimate over the measured peak, less 1}."""
    found = {}
    print(f"{'case':<18}  {'estimate':>9}  {'measured':>9}  {'error':>7}  at")
    for name, flags in cases.items():
        sides = {role: in_a_process(role, name, flags) for role in ROLES}
        said, held = sides["estimated"], sides["measured"]
        error = said["bytes"] / held["bytes"] - 1
        found[name] = {"flags": flags, **sides, "error": error}
        sizes = f"{said['bytes'] / 1e6:6.0f} MB  {held['bytes'] / 1e6:6.0f} MB"
        print(f"{name:<18}  {sizes}  {error:+7.1%}  {said['at']}", flush=True)
    return found


def main() -> int:
    """Measures, prints, writes."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    made.add_argument("--quick", action="store_true", help="a small run; no measurement")
    made.add_argument("--role", nargs=3, metavar=("ROLE", "NAME", "FLAGS"), help="in a process")
    arguments = made.parse_args()
    if arguments.role:
        role, name, flags = arguments.role
        print(json.dumps(ROLES[role](name, flags)))
        return 0
    before, load = machine.surroundings(), machine.load_average()
    cases = QUICK if arguments.quick else {name: CASES[name] for name in arguments.cases}
    found = compare(cases)
    if arguments.quick:
        print("a quick run is no measurement: nothing is written")
        return 0
    content = {
        "benchmark": "memory",
        "unit": "bytes",
        "load_average": {"start": load, "end": machine.load_average()},
        "cases": found,
    }
    print(f"written: {records.write_other('memory', before, content)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
