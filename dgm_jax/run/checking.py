"""`dgm-jax check`: settings, data and shapes of a run, without training."""

import pathlib

import jax

from dgm_jax import native
from dgm_jax.core import DgmError, tree_size
from dgm_jax.run.ablation import shared_inputs, variants
from dgm_jax.run.cells import Arm, groups
from dgm_jax.run.experiment import Need
from dgm_jax.run.lanes import distribute_group, lanes_of
from dgm_jax.run.launch import Job, folders_of
from dgm_jax.run.needs import finished_folder
from dgm_jax.terminal import console


def check(job: Job) -> int:
    """Settings, data and shapes, without training: what would be compiled, on what."""
    try:
        with native.use_convolutions(job.launch.convolutions):
            job = job.resolved()
            for sentence in job.chosen:
                print(sentence)
            _check(*job.cells())
    except DgmError as error:
        console.tell(f"error: {error}")
        return error.exit_code
    print("ok")
    return 0


def _check(job: Job, cells: list[Arm]) -> None:
    experiment = job.experiment
    found = variants(experiment, job.config, job.grid)
    needed = [folders_of(experiment, variant.settings, _or_say_so) for variant in found]
    inputs = shared_inputs(experiment, found, needed)
    print(f"data: {inputs.identity.get('identity', inputs.identity.get('name', 'none'))}")
    print(
        f"devices: {jax.device_count()} x {jax.devices()[0].device_kind} ({jax.default_backend()})"
    )
    for group in groups(experiment, cells):
        keys, hyper = lanes_of(group, job.config)
        compiled = distribute_group(experiment, job.launch, group, inputs, keys, hyper)
        lanes = compiled.abstract(keys, hyper)
        sizes = {
            part: tree_size(tree) // len(keys) for part, tree in lanes.train_state.params.items()
        }
        compiled.trace(lanes, inputs.arrays)
        parameters = ", ".join(f"{part} {size:,}" for part, size in sizes.items())
        where = f"{len(keys)} lanes by {compiled.strategy}, {compiled.layout}"
        print(f"{group.name}: {where}; parameters: {parameters}")


def _or_say_so(need: Need) -> pathlib.Path | None:
    found = finished_folder(need)
    if found is None:
        print(f"{need.experiment}: none in {need.folder} yet; a run trains it first")
    return found
