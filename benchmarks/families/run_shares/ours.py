"""Chunks of the experiment `gan_ring`, and what a run does between them."""

import pathlib
import tempfile
from typing import Any

import jax

from benchmarks.contract import Case
from dgm_jax import training
from dgm_jax.run import catalogue, start
from dgm_jax.run.cells import groups
from dgm_jax.run.lanes import distribute_group, lanes_of
from dgm_jax.run.launch import Job
from dgm_jax.store.directory import RunDirectory
from dgm_jax.terminal.progress import Progress
from dgm_jax.training.checkpoint import Checkpoints

_FOLDERS: list[tempfile.TemporaryDirectory] = []  # live as long as this process


class Run:
    """A run by hand.

    Args:
        seeds: lanes.
        parts: of "evaluation", "row" and "checkpoint".
    """

    def __init__(self, seeds: int, parts: list[str]) -> None:
        experiment = catalogue.load_experiment("gan_ring")
        settings = start.parse(experiment, ["--num_seeds", str(seeds), "--num_devices", "1"])
        job, cells = Job(experiment, settings.study, settings.launch, {}).cells()
        with Progress("quiet") as progress:
            inputs = job.inputs(progress)
        (group,) = groups(experiment, cells)
        keys, hyper = lanes_of(group, job.config)
        compiled = distribute_group(experiment, job.launch, group, inputs, keys, hyper)
        self.lanes, self._data = compiled.init(keys, hyper), compiled.place_data(inputs.arrays)
        self._advance = training.in_parts(compiled.compile_advance(self.lanes, self._data))
        self._evaluate = self._directory = self._checkpoints = None
        if "evaluation" in parts:
            self._evaluate = compiled.compile_evaluate(self.lanes, self._data)
        _FOLDERS.append(tempfile.TemporaryDirectory())
        root = pathlib.Path(_FOLDERS[-1].name, "run")
        if "row" in parts:
            self._directory = RunDirectory.create(root, "chunks", {"seeds": seeds})
        if "checkpoint" in parts:
            folder = root / "checkpoints" / "vanilla"
            self._checkpoints = Checkpoints(folder, {"benchmark": "chunks"})
        self.step = 0

    def chunk(self, steps: int) -> dict[str, Any]:
        """Steps, then the parts."""
        self.lanes, metrics = self._advance(self.lanes, self._data, steps)
        self.step += steps
        seen = jax.device_get(metrics)
        if self._evaluate is not None:
            found = jax.device_get(self._evaluate(self.lanes, self._data))
            seen |= {name: value for name, value in found.items() if value.ndim == 1}
        if self._directory is not None:
            self._directory.append_row({"step": self.step, "arm": "vanilla", **seen})
        if self._checkpoints is not None:
            self._checkpoints.save(self.step, self.lanes)
        return seen


def chunks(parts: list[str], seeds: int, steps: int) -> Case:
    """One chunk a call."""
    run = Run(seeds, parts)
    return Case(lambda: run.chunk(steps), seeds * steps)
