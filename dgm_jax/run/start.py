"""From a command line to settings; JAX is imported when they are understood."""

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import LaunchConfig
from dgm_jax.terminal import console, signals
from dgm_jax.terminal.console import Command


def main(
    experiment: Experiment,
    argv: Sequence[str] | None = None,
    grid: dict[str, tuple] | None = None,
    command: Command | None = None,
) -> int:
    """Runs an experiment from the command line; returns the exit code.

    0 done, 2 settings, data, folder or disk that the caller can mend, 6 every seed diverged,
    130 or 143 stopped by Ctrl-C or SIGTERM; what was saved is sound.
    grid: settings with the values an ablation gives them.
    command: what was typed, if it was not this experiment's own module; it is repeated in help
        texts and, for a run that was stopped, as the command that goes on.
    """
    ends_process = argv is None
    if argv is None:
        argv = sys.argv[1:]
        command = command or console.typed((), argv)
    return console.guarded(lambda: _main(experiment, argv, grid or {}, command), ends_process)


def _main(experiment: Experiment, argv: Sequence[str], grid, command: Command | None) -> int:
    config, launch = parse(experiment, argv, command)
    with signals.importing():
        from dgm_jax.run.launch import Job, run

    return run(Job(experiment, config, launch, grid), command)


def check(
    experiment: Experiment,
    argv: Sequence[str] | None = None,
    grid: dict[str, tuple] | None = None,
    command: Command | None = None,
) -> int:
    """Settings, data and shapes of a run or an ablation, without training: what would be compiled,
    on what, and which runs of other experiments would be trained first."""
    config, launch = parse(experiment, sys.argv[1:] if argv is None else argv, command)
    with signals.importing():
        from dgm_jax.run.launch import Job
        from dgm_jax.run.launch import check as check_job

    return check_job(Job(experiment, config, launch, grid or {}))


def parse(
    experiment: Experiment, argv: Sequence[str], command: Command | None = None
) -> tuple[Any, LaunchConfig]:
    """Flags into (the experiment's configuration, how it is launched).

    tyro explains mistakes, suggests names and leaves the program with 2.
    """
    import tyro

    flat = tyro.conf.OmitArgPrefixes
    both = dataclasses.make_dataclass(
        "Settings",
        [
            (
                "study",
                flat[experiment.config],
                dataclasses.field(default_factory=experiment.config),
            ),
            ("launch", flat[LaunchConfig], dataclasses.field(default_factory=LaunchConfig)),
        ],
    )
    program = shlex.join(command.program) if command else experiment.name
    found = tyro.cli(both, args=argv, prog=program, description="")
    return found.study, found.launch
