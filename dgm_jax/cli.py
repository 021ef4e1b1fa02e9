"""`dgm-jax list | run | ablate | resume | sample | export | report | compare | check`, by tyro.

Experiments are found by their entry points (group `dgm_jax.experiments`), so a package of yours
may add its own. Listing, help and wrong flags need no JAX; it is imported when something runs.
"""

import ast
import difflib
import importlib.util
import sys
from collections.abc import Callable

import tyro
from tyro.conf import Positional

from dgm_jax.run import catalogue, exporting, reporting, resuming, sampling, start
from dgm_jax.run.exporting import ExportConfig
from dgm_jax.run.resuming import Resume
from dgm_jax.run.sampling import SampleConfig
from dgm_jax.terminal import console, signals


class UsageError(Exception):
    """A command line that cannot be understood."""


def main(argv: list[str] | None = None) -> int:
    """Entry point.

    Returns:
        The exit code: 2 for what the caller can mend, 141 where nobody reads what is printed.

    Raises:
        SystemExit: with 0 after a help text, with 2 where the parser has explained a mistake.
    """
    arguments = sys.argv[1:] if argv is None else argv
    return console.guarded(lambda: _main(arguments), ends_process=argv is None)


def _main(argv: list[str]) -> int:
    try:
        if argv[:1] and argv[0] in STUDIES and argv[1:] and not argv[1].startswith("-"):
            command, name, *flags = argv
            return STUDIES[command](_experiment(name), flags, console.typed((command, name), flags))
        return tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            args=argv,
            prog="dgm-jax",
            description="Deep generative models: experiments over many seeds.",
        )
    except UsageError as error:
        console.tell(f"error: {error}")
        return 2


def _experiment(name: str):
    known = sorted(catalogue.experiments())
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UsageError(f"unknown experiment {name!r}{hint}; known: {', '.join(known)}")
    try:
        with signals.importing():
            return catalogue.load_experiment(name)
    except catalogue.NotAnExperiment as error:
        raise UsageError(str(error)) from error


def list_experiments() -> int:
    """Experiments, one line each."""
    entries = catalogue.experiments()
    width = max(map(len, entries), default=0)
    for name in sorted(entries):
        try:
            about = _first_paragraph(entries[name].module)
        except signals.Interrupted:
            raise
        except BaseException as error:  # one broken package costs its own line only
            about = f"cannot be read: {catalogue.reason(error)}"
        line = f"{name.ljust(width)}  {about}".rstrip().replace("\n", "\\n")
        print(console.printable(line))
    for complaint in catalogue.complaints():
        console.tell(complaint)
    return 0


def _first_paragraph(module: str) -> str:
    """First paragraph of a module's docstring as one line, read without importing the module."""
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise ImportError(f"there is no module {module}")
    if spec.origin is None:
        raise ImportError(f"{module} is a folder without __init__.py")
    read = getattr(spec.loader, "get_source", None)
    source = read(module) if read else None
    if source is None:
        raise ImportError(f"{module} has no Python source")
    about = ast.get_docstring(ast.parse(source, spec.origin)) or ""
    return " ".join(about.split("\n\n")[0].split())


def run(name: Positional[str]) -> int:
    """Run an experiment; `dgm-jax run NAME --help` shows its flags."""
    return start.main(_experiment(name), [], command=console.typed(("run", name), []))


def ablate(name: Positional[str]) -> int:
    """Run an experiment over a grid, --grid FIELD=A,B ...; numbers share one compiled program."""
    return start.ablate(_experiment(name), [], console.typed(("ablate", name), []))


def check(name: Positional[str]) -> int:
    """Look at settings, data and shapes of a run or, with --grid, an ablation; trains nothing."""
    return start.check(_experiment(name), [], command=console.typed(("check", name), []))


def resume(settings: tyro.conf.OmitArgPrefixes[Resume]) -> int:
    """Continue a run as it was started, or train a finished one on, in a new folder."""
    _require_folder(settings.folder)
    return resuming.resume(settings)


def sample(folder: Positional[str], settings: tyro.conf.OmitArgPrefixes[SampleConfig]) -> int:
    """Draw samples of what a run has trained, as a picture or as arrays: of a finished run, or of
    the newest checkpoint of an unfinished one. The data set need not be there."""
    _require_folder(folder)
    return sampling.sample(folder, settings)


def export(folder: Positional[str], settings: tyro.conf.OmitArgPrefixes[ExportConfig]) -> int:
    """Write a trained model as safetensors, a StableHLO program that samples it, and a card."""
    return exporting.export(folder, settings)


def report(folder: Positional[str]) -> int:
    """Build report.html of a run folder again."""
    _require_folder(folder)
    return reporting.report(folder)


def compare(folders: Positional[tuple[str, ...]], out: str = "comparison.html") -> int:
    """Put the headline values of several run folders into one table, and one page, --out."""
    return reporting.compare(folders, out)


def _require_folder(folder: str) -> None:
    """An empty variable of a shell must not mean the folder where one happens to stand."""
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
}
# Once an experiment is named, its flags say how the rest of the line is parsed; without a name,
# and for help, the functions of the same names above are enough.
STUDIES: dict[str, Callable] = {
    "run": lambda experiment, flags, command: start.main(experiment, flags, command=command),
    "ablate": start.ablate,
    "check": lambda experiment, flags, command: start.check(experiment, flags, command=command),
}

if __name__ == "__main__":
    sys.exit(main())
