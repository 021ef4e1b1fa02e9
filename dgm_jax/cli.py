"""The command `dgm-jax`, with its flags parsed by tyro.

    dgm-jax list | run | ablate | resume | sample | export | report | compare | check | plan

Experiments are found by their entry points (group `dgm_jax.experiments`), so that any package can
add its own; one in a file or module is named by its path or by the module (`./mine.py`,
`package.module`). Listing, help and wrong flags need no JAX; it is imported when something runs.
"""

import difflib
import importlib.metadata
import platform
import sys
from collections.abc import Callable
from typing import Annotated

import tyro
from tyro.conf import Positional

from dgm_jax import __version__, _cache
from dgm_jax.run import catalogue, exporting, listing, reporting, resuming, sampling, start
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.exporting import ExportConfig
from dgm_jax.run.resuming import Resume
from dgm_jax.run.sampling import SampleConfig
from dgm_jax.terminal import console, examples, signals

NAMES = "As `dgm-jax list` has it, or one of your own: ./FILE.py or PACKAGE.MODULE."
Name = Annotated[Positional[str], tyro.conf.arg(metavar="NAME", help=NAMES)]
Folder = Annotated[Positional[str], tyro.conf.arg(metavar="FOLDER", help="Run folder.")]


class UsageError(Exception):
    """A command line that cannot be understood."""


def main(argv: list[str] | None = None) -> int:
    """Run a command of `dgm-jax`.

    Args:
        argv: the arguments; None for those of the process, which then ends with the command.

    Returns:
        The exit code: 0, 2 for mistakes that the user can correct, 141 if nothing reads the output,
        or 128 plus the number of the signal that has stopped the command.

    Raises:
        SystemExit: with 0 after a help text, with 2 after the parser has explained a mistake.
    """
    if argv is None:
        _cache.keep_compiled_programs()
    arguments = sys.argv[1:] if argv is None else argv
    return console.guarded(lambda: _main(arguments), ends_process=argv is None)


def _main(argv: list[str]) -> int:
    """Print the versions or run a command; explain mistakes on standard error."""
    if argv in (["--version"], ["-V"]):
        print(_versions())
        return 0
    try:
        with examples.after_help(argv):
            return _command(argv)
    except UsageError as error:
        console.tell(f"error: {error}")
        return 2


def _versions() -> str:
    """Return the versions of this package and of what its results depend on, importing nothing."""
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib"))
    return f"dgm-jax {__version__} ({packages}, Python {platform.python_version()})"


def _command(argv: list[str]) -> int:
    """Run the command that `argv` names."""
    if argv[:1] and argv[0] in STUDIES and argv[1:] and not argv[1].startswith("-"):
        command, name, *flags = argv
        return STUDIES[command](_experiment(name), flags, console.typed((command, name), flags))
    return tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        args=argv,
        prog="dgm-jax",
        description="Deep generative models: experiments over many seeds. `dgm-jax COMMAND --help`"
        " has examples; `dgm-jax --version` names the versions.",
    )


def _experiment(name: str) -> Experiment:
    """Load an experiment by name, or raise UsageError."""
    known = sorted(catalogue.experiments())
    if name not in known and not catalogue.is_own(name):
        matches = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" (did you mean {matches[0]!r}?)" if matches else ""
        raise UsageError(
            f"unknown experiment {name!r}{hint}; known: {', '.join(known)}; one of your own is"
            " given as ./FILE.py or PACKAGE.MODULE"
        )
    try:
        with signals.importing():
            load = catalogue.load_experiment if name in known else catalogue.load_own
            return load(name)
    except catalogue.NotAnExperiment as error:
        raise UsageError(str(error)) from error


def list_experiments() -> int:
    """Experiments by chapter, one line each."""
    print(console.printable(listing.listed(), keep_lines=True))
    for complaint in catalogue.complaints():
        console.tell(complaint)
    return 0


def run(name: Name) -> int:
    """Run an experiment; `dgm-jax run NAME --help` shows its flags."""
    return start.main(_experiment(name), [], command=console.typed(("run", name), []))


def ablate(name: Name) -> int:
    """Run an experiment over a grid, --grid FIELD=A,B ...; numbers share one compiled program."""
    return start.ablate(_experiment(name), [], console.typed(("ablate", name), []))


def check(name: Name) -> int:
    """Look at settings, data and shapes of a run or, with --grid, an ablation; trains nothing."""
    return start.check(_experiment(name), [], command=console.typed(("check", name), []))


def plan(name: Name) -> int:
    """Say what a run would need on so many accelerators, --devices N --kind KIND; runs nothing."""
    return start.plan(_experiment(name), [], console.typed(("plan", name), []))


def resume(settings: tyro.conf.OmitArgPrefixes[Resume]) -> int:
    """Continue a run as it was started, or train a finished one on, in a new folder."""
    _require_folder(settings.folder)
    return resuming.resume(settings)


def sample(folder: Folder, settings: tyro.conf.OmitArgPrefixes[SampleConfig]) -> int:
    """Draw samples of what a run has trained, as a picture or as arrays: of a finished run, or of
    the newest checkpoint of an unfinished one. The data set is not needed."""
    _require_folder(folder)
    return sampling.sample(folder, settings)


def export(folder: Folder, settings: tyro.conf.OmitArgPrefixes[ExportConfig]) -> int:
    """Write a trained model as safetensors, a StableHLO program that samples it, and a card."""
    _require_folder(folder)
    return exporting.export(folder, settings)


def report(folder: Folder) -> int:
    """Build report.html of a run folder again."""
    _require_folder(folder)
    return reporting.report(folder)


def compare(folders: Positional[tuple[str, ...]], out: str = "comparison.html") -> int:
    """Put the headline values of several run folders into one table, and one page, --out."""
    return reporting.compare(folders, out)


def _require_folder(folder: str) -> None:
    """Refuse an empty name, lest an empty shell variable mean the current folder."""
    if not folder.strip():
        raise UsageError("expected the folder of a run, got an empty name")


COMMANDS: dict[str, Callable] = {
    "list": list_experiments,
    "run": run,
    "ablate": ablate,
    "resume": resume,
    "sample": sample,
    "export": export,
    "report": report,
    "compare": compare,
    "check": check,
    "plan": plan,
}
# With the name of an experiment, its flags determine how the rest of the line is parsed; without a
# name, and for help, the functions of the same names above are enough.
STUDIES: dict[str, Callable] = {
    "run": lambda experiment, flags, command: start.main(experiment, flags, command=command),
    "ablate": start.ablate,
    "check": lambda experiment, flags, command: start.check(experiment, flags, command=command),
    "plan": start.plan,
}

if __name__ == "__main__":
    sys.exit(main())
