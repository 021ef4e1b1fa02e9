"""Memory of a training step with rematerialization, microbatches and shared parameters.

    python -m benchmarks.step_memory
    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m benchmarks.step_memory --devices 8

Compiles the steps of `vqvae_images` with a codebook that is trained by gradient (its batch is not
coupled) and a deep prior, and prints what the compiler says of them: bytes of state on one device,
and of working memory. Nothing runs. With several devices, what they hold each.
"""

import argparse
import contextlib

from benchmarks import harness
from dgm_jax.run import catalogue, memory, start
from dgm_jax.run.cells import groups
from dgm_jax.run.lanes import distribute_group, lanes_of
from dgm_jax.run.launch import Job
from dgm_jax.run.programs import Programs
from dgm_jax.terminal.progress import Progress

BASE = (
    "--data fashion_mnist --quantizer codebook_loss --num_seeds 1 --batch_size 256 --prior_layers 4"
)
ONE_DEVICE = (
    "",
    "--microbatches 2",
    "--microbatches 4",
    "--remat",
    "--remat --microbatches 4",
)
SEVERAL = ("", "--shard_parameters")
QUICK = "--data digits --quantizer codebook_loss --num_seeds 1 --batch_size 8"


def sizes(flags: str, num_devices: int) -> dict[str, int]:
    """Bytes on one device: state of the lanes, and working memory of the steps."""
    experiment = catalogue.load_experiment("vqvae_images")
    settings = start.parse(experiment, [*flags.split(), "--num_devices", str(num_devices)])
    job, cells = Job(experiment, settings.study, settings.launch, {}).resolved().cells()
    inputs = job.inputs(Progress("quiet"))
    (group,) = groups(experiment, cells)
    start_from = lanes_of(group, job.config)
    distributed = distribute_group(experiment, job.launch, group, inputs, *start_from)
    silent = lambda what: contextlib.nullcontext()
    programs = Programs(group, distributed, start_from, inputs.arrays, silent)
    working = programs.advance.compiled.memory_analysis().temp_size_in_bytes
    return {"state": memory.tree_bytes(programs.shapes), "working": working}


def main() -> None:
    """Prints a line for each case, and writes the file of results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="tiny, and only the first case")
    arguments = parser.parse_args()
    cases = ONE_DEVICE if arguments.devices == 1 else SEVERAL
    base = QUICK if arguments.quick else BASE
    results = {}
    for flags in cases[:1] if arguments.quick else cases:
        found = sizes(f"{base} {flags}", arguments.devices)
        results[flags or "none"] = found
        megabytes = {name: f"{num_bytes / 1e6:,.1f} MB" for name, num_bytes in found.items()}
        print(f"{flags or 'none':30} {megabytes}", flush=True)
    if not arguments.quick:
        content = {"base": base, "devices": arguments.devices, "bytes": results}
        about = harness.surroundings()
        harness.write(
            f"step_memory_{arguments.devices}_devices", {"surroundings": about, **content}
        )


if __name__ == "__main__":
    main()
