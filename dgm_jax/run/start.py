"""From a command line to settings; JAX is imported only after they are parsed."""

import dataclasses
import itertools
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from dgm_jax import _cache
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import LaunchConfig, PlanConfig, names_of
from dgm_jax.run.watching import watched
from dgm_jax.terminal import console, signals
from dgm_jax.terminal.console import Command

MISTAKE = 2
GRID_HELP = (
    "FIELD=VALUE,VALUE ...: a cell for each combination of values. Of numbers also a range:"
    " log:1e-5..1e-2:6 or lin:0..1:5, evenly spaced with both ends; random:log:1e-5..1e-2:8, drawn"
    " (a seed may follow, :8:SEED)."
)


class Settings(NamedTuple):
    """What the flags say.

    Attributes:
        study: what is computed.
        launch: how it is launched; a `PlanConfig` for a plan.
        grid: the cells of --grid as they were typed.
        compile: whether a check compiles.
    """

    study: Any
    launch: Any
    grid: tuple[str, ...] = ()
    compile: bool = True


def main(
    experiment: Experiment,
    argv: Sequence[str] | None = None,
    grid: dict[str, tuple] | None = None,
    command: Command | None = None,
) -> int:
    """Runs an experiment from the command line.

    Args:
        experiment: what to run.
        argv: the flags; None for those of the process.
        grid: settings with the values that an ablation gives them.
        command: what was typed, if it was not this experiment's own module. It is repeated in help
            texts and, after a stop, in the command that continues the run.

    Returns:
        The exit code: 0 done, 2 settings, data, folder or disk that the caller can fix, 6 every
        seed diverged, 130 or 143 stopped by Ctrl-C or SIGTERM; what was saved is sound.
    """
    ends_process = argv is None
    if argv is None:
        _cache.keep_compiled_programs()
        argv = sys.argv[1:]
        command = command or console.typed((), argv)
    return console.guarded(lambda: _main(experiment, argv, grid or {}, command), ends_process)


def _main(experiment: Experiment, argv: Sequence[str], grid, command: Command | None) -> int:
    settings = parse(experiment, argv, command)
    code = watched(settings.launch)
    if code is not None:
        return code
    with signals.importing():
        from dgm_jax.run.launch import Job, run

    return run(Job(experiment, settings.study, settings.launch, grid), command)


def ablate(experiment: Experiment, argv: Sequence[str], command: Command | None = None) -> int:
    """Runs an experiment over the cells of the flag --grid.

    Args:
        experiment: what to run.
        argv: the flags.
        command: what was typed.

    Returns:
        The exit code, as of `main`.
    """
    settings = parse(experiment, argv, command, with_grid=True)
    if not settings.grid:
        console.tell("error: ablate needs --grid FIELD=VALUE,VALUE ...")
        return MISTAKE
    code = watched(settings.launch)
    if code is not None:
        return code
    with signals.importing():
        from dgm_jax.run.launch import Job, run

    job = _with_grid(Job(experiment, settings.study, settings.launch, {}), settings.grid)
    return MISTAKE if job is None else run(job, command)


def check(
    experiment: Experiment,
    argv: Sequence[str] | None = None,
    grid: dict[str, tuple] | None = None,
    command: Command | None = None,
) -> int:
    """Checks settings, data and shapes of a run or an ablation, without training.

    Prints what would run on what, which runs of other experiments would be trained first, and how
    much memory it would need. The last takes compiled programs, which --no-compile leaves out.

    Args:
        experiment: what to check.
        argv: the flags; None for those of the process.
        grid: settings with the values that an ablation gives them; None for the flag --grid.
        command: what was typed.

    Returns:
        The exit code, as of `main`.
    """
    argv = sys.argv[1:] if argv is None else argv
    settings = parse(experiment, argv, command, with_grid=grid is None, is_check=True)
    with signals.importing():
        from dgm_jax.run.checking import check as check_job
        from dgm_jax.run.launch import Job

    job = Job(experiment, settings.study, settings.launch, grid or {})
    job = _with_grid(job, settings.grid)
    return MISTAKE if job is None else check_job(job, settings.compile)


def plan(experiment: Experiment, argv: Sequence[str], command: Command | None = None) -> int:
    """Prints what a run would need on accelerators; trains and, unless asked, compiles nothing.

    Args:
        experiment: what to plan.
        argv: the flags: settings of the experiment, and those of `PlanConfig`.
        command: what was typed.

    Returns:
        The exit code, as of `main`.
    """
    taken = set(names_of(PlanConfig)) & set(names_of(experiment.config))
    if taken:
        name = min(taken)
        console.tell(f"error: {experiment.name} has a setting {name!r} as dgm-jax plan has")
        return MISTAKE
    settings = parse(experiment, argv, command, how=PlanConfig)
    with signals.importing():
        from dgm_jax.run.launch import Job
        from dgm_jax.run.planning import plan as plan_job

    launch = LaunchConfig(num_devices=1, microbatches=settings.launch.microbatches)
    return plan_job(Job(experiment, settings.study, launch, {}), settings.launch)


def _with_grid(job, cells: tuple[str, ...]):
    """The job with the cells of --grid; None after an error, which is printed."""
    with signals.importing():
        from dgm_jax.core import DgmError
        from dgm_jax.run.cells import parse_grid

    try:
        return job._replace(grid=job.grid | parse_grid(job.experiment, list(cells)))
    except DgmError as error:
        console.tell(f"error: {error}")
        return None


def parse(
    experiment: Experiment,
    argv: Sequence[str],
    command: Command | None = None,
    with_grid: bool = False,
    is_check: bool = False,
    how: type = LaunchConfig,
) -> Settings:
    """Parses flags into settings of the experiment and of its launch.

    Args:
        experiment: whose settings they are.
        argv: the flags.
        command: what was typed, for help texts.
        with_grid: whether there is a flag --grid.
        is_check: whether there is a flag --compile.
        how: the class of the settings that say how it is launched.

    Returns:
        The settings.

    Raises:
        SystemExit: with 2 after an explanation: tyro found a mistake, --grid is given twice, or a
            switch has a value.
    """
    import tyro

    _require_one_grid(argv)
    _require_no_initials((experiment.config, how), argv)
    _require_no_values_of_switches((experiment.config, how), argv)
    kind = _flags(experiment.config, how, with_grid, is_check)
    program = shlex.join(command.program) if command else experiment.name
    try:
        flags = tyro.cli(kind, args=argv, prog=program, description="")
    except Exception as error:  # settings of another package may be anything
        message = f"settings of experiment {experiment.name} cannot be read"
        console.tell(f"error: {message}: {type(error).__name__}: {error}")
        raise SystemExit(MISTAKE) from error
    grid = getattr(flags, "grid", ())
    compiles = getattr(flags, "compile", True)
    return Settings(flags.study, flags.launch, grid, compiles)


def _flags(study: type, how: type, with_grid: bool, is_check: bool) -> type:
    """The dataclass of all flags, with the names of the fields of `Settings`."""
    import tyro

    flat = tyro.conf.OmitArgPrefixes
    fields = [
        ("study", flat[study], dataclasses.field(default_factory=study)),
        ("launch", flat[how], dataclasses.field(default_factory=how)),
    ]
    if with_grid:
        about = tyro.conf.arg(help=GRID_HELP)
        fields.append(("grid", Annotated[tuple[str, ...], about], dataclasses.field(default=())))
    if is_check:
        about = tyro.conf.arg(help="Compile the programs and say how much memory a run needs.")
        fields.append(("compile", Annotated[bool, about], dataclasses.field(default=True)))
    return dataclasses.make_dataclass("Flags", fields)


def _require_one_grid(argv: Sequence[str]) -> None:
    """Refuses a second --grid.

    Of any other flag that is given twice the last counts, so that a script's flags can be
    overridden; but two grids look like the axes of one.
    """
    if sum(word.split("=")[0] == "--grid" for word in argv) > 1:
        console.tell("error: give --grid once, with all its fields: --grid FIELD=A,B FIELD=A,B")
        raise SystemExit(MISTAKE)


def _require_no_initials(kinds: tuple[type, ...], argv: Sequence[str]) -> None:
    """Refuses `--lr` with the flag whose words begin so; tyro suggests what is spelt alike."""
    names = [name for kind in kinds for name in names_of(kind)]
    short = {"--" + "".join(word[:1] for word in n.split("_")): n for n in names if "_" in n}
    for word in argv:
        flag = word.partition("=")[0]
        if flag in short and flag[2:] not in names:
            console.tell(f"error: there is no flag {flag} (did you mean --{short[flag]}?)")
            raise SystemExit(MISTAKE)


def _require_no_values_of_switches(kinds: tuple[type, ...], argv: Sequence[str]) -> None:
    """Refuses `--spectral True`, which would be a switch and a stray word."""
    names = [f.name for kind in kinds for f in dataclasses.fields(kind) if f.type in (bool, "bool")]
    switches = {f"--{before}{name}": name for name in names for before in ("", "no_")}
    for word, after in itertools.zip_longest(argv, argv[1:], fillvalue="-"):
        flag, equals, value = word.partition("=")
        value = value if equals else after
        name = switches.get(flag.replace("-", "_").replace("__", "--", 1))
        if name and (equals or not value.startswith("-")):
            console.tell(f"error: {name} takes no value: --{name} or --no-{name}, got {value!r}")
            raise SystemExit(MISTAKE)
