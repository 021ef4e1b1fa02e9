"""`dgm-jax check`: describes a run without training."""

import contextlib
import pathlib

import jax

from dgm_jax import native
from dgm_jax.core import DgmError, tree_size
from dgm_jax.run import fitting, memory
from dgm_jax.run.cells import Arm, groups
from dgm_jax.run.experiment import Need
from dgm_jax.run.lanes import distribute_group, lanes_of, placement_in
from dgm_jax.run.launch import Job, inputs_of
from dgm_jax.run.needs import finished_folder
from dgm_jax.run.programs import Programs
from dgm_jax.terminal import console


def check(job: Job, compiles: bool = True) -> int:
    """Checks settings, data and shapes without training, and prints what would run on what.

    Args:
        job: the run.
        compiles: whether to compile the programs, to say also how much memory they need.

    Returns:
        The exit code.
    """
    try:
        guard = memory.exhaustion_told(memory.advice(job.config))
        with native.use_convolutions(job.launch.convolutions), guard:
            job = job.resolved()
            for sentence in job.chosen:
                print(sentence)
            _check(*job.cells(say=print), compiles)
    except DgmError as error:
        console.tell(f"error: {error}")
        return error.exit_code
    print("ok")
    return 0


def _check(job: Job, cells: list[Arm], compiles: bool) -> None:
    experiment = job.experiment
    inputs = inputs_of(job, _or_say_so)
    print(f"data: {inputs.identity.get('identity', inputs.identity.get('name', 'none'))}")
    print(
        f"devices: {jax.device_count()} x {jax.devices()[0].device_kind} ({jax.default_backend()})"
    )
    programs = []
    for group in groups(experiment, cells):
        start_from = lanes_of(group, job.config)
        compiled = distribute_group(experiment, job.launch, group, inputs, *start_from)
        silent = lambda what: contextlib.nullcontext()
        placement = placement_in(job.launch, group, compiled, inputs, start_from)
        programs.append(Programs(group, compiled, start_from, inputs.arrays, silent, placement))
        lanes = programs[-1].shapes
        sizes = {
            part: tree_size(tree) // compiled.num_places
            for part, tree in lanes.train_state.params.items()
        }
        compiled.trace(lanes, placement.steps_read)
        parameters = ", ".join(f"{part} {size:,}" for part, size in sizes.items())
        where = f"{_lanes(programs[-1])} by {compiled.strategy}, {compiled.layout}"
        print(f"{group.name}: {where}; parameters: {parameters}")
        if placement.on == "host":
            print(f"{group.name}: {placement}")
    if compiles:
        print(f"memory: {fitting.require_all_fit(programs, job.config, job.launch)}")


def _lanes(programs: Programs) -> str:
    """How many lanes there are, at once and as padding."""
    turns = programs.turns
    padding = programs.distributed.num_places - turns.at_once
    at_once = f", {turns.at_once} at once" if turns.count > 1 else ""
    behind = f" (and {padding} of padding)" if padding else ""
    return f"{programs.num_lanes} lanes{at_once}{behind}"


def _or_say_so(need: Need) -> pathlib.Path | None:
    folder = finished_folder(need)
    if folder is None:
        print(f"{need.experiment}: none in {need.folder} yet; a run trains it first")
    return folder
