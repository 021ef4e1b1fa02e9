"""`dgm-jax list | run | ablate | report | check`.

Experiments are found by their entry points (group `dgm_jax.experiments`), so a package of yours
may add its own. Listing, help and wrong flags need no JAX; it is imported when something runs.
"""

import ast
import importlib.util
import sys

from dgm_jax.run import catalogue, start
from dgm_jax.terminal import console, signals

USAGE = """usage: dgm-jax COMMAND ...

  list                              experiments, one line each
  run NAME [--flags]                run one; `dgm-jax run NAME --help` shows its flags
  ablate NAME --grid FIELD=A,B ...  one run over a grid; numbers share one compiled program
  report FOLDER                     rebuild report.html of a run folder
  check NAME [--flags] [--grid ...] settings, data and shapes without training
"""


class UsageError(Exception):
    """A command line that cannot be understood."""


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code (2 for a command that cannot be understood, 141 where
    nobody reads what it prints)."""
    arguments = sys.argv[1:] if argv is None else argv
    return console.guarded(lambda: _main(arguments), ends_process=argv is None)


def _main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if argv else 2
    command, *rest = argv
    try:
        chosen = _nearest(COMMANDS, command, "command")
        if rest and rest[0] in ("-h", "--help"):
            print(USAGE, end="")
            return 0
        return chosen(rest)
    except UsageError as error:
        console.tell(f"error: {error}")
        return 2


def _nearest(known, name: str, kind: str):
    """`known[name]`, or a UsageError with the nearest name."""
    if name in known:
        return known[name]
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise UsageError(f"unknown {kind} {name!r}{hint}; known: {', '.join(sorted(known))}")


def _load(arguments: list[str]):
    if not arguments or arguments[0].startswith("-"):
        raise UsageError(
            f"name an experiment first; known: {', '.join(sorted(catalogue.experiments()))}"
        )
    name, *rest = arguments
    _nearest(catalogue.experiments(), name, "experiment")
    try:
        with signals.importing():
            return catalogue.load_experiment(name), rest
    except catalogue.NotAnExperiment as error:
        raise UsageError(str(error)) from error


def _list(arguments: list[str]) -> int:
    if arguments:
        raise UsageError(f"list takes no arguments, got {' '.join(arguments)}")
    found = catalogue.experiments()
    width = max(map(len, found), default=0)
    for name in sorted(found):
        try:
            about = _first_paragraph(found[name].module)
        except (Exception, SystemExit) as error:  # one broken package costs its own line only
            about = f"cannot be read: {catalogue.reason(error)}"
        print(f"{name.ljust(width)}  {about}".rstrip())
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


def _run(arguments: list[str]) -> int:
    experiment, rest = _load(arguments)
    return start.main(experiment, rest, command=console.typed(("run", arguments[0]), rest))


def _with_grid(experiment, rest: list[str]):
    """(grid, flags) of a command line with `--grid FIELD=VALUE,VALUE ...` somewhere."""
    cells, flags = [], rest
    if "--grid" in rest:
        at = rest.index("--grid")
        tail = rest[at + 1 :]
        count = next((i for i, word in enumerate(tail) if word.startswith("-")), len(tail))
        cells, flags = tail[:count], rest[:at] + tail[count:]
    if "--grid" in flags:
        raise UsageError(
            "give --grid once, with all its fields: --grid FIELD=VALUE,VALUE FIELD=VALUE,VALUE"
        )
    if "--grid" in rest and not cells:
        raise UsageError("--grid needs FIELD=VALUE,VALUE ...")
    if not cells:
        return {}, flags
    with signals.importing():
        from dgm_jax.core import DgmError
        from dgm_jax.run.ablation import parse_grid

    try:
        return parse_grid(experiment, cells), flags
    except DgmError as error:
        raise UsageError(str(error)) from error


def _ablate(arguments: list[str]) -> int:
    experiment, rest = _load(arguments)
    grid, flags = _with_grid(experiment, rest)
    if not grid and not {"-h", "--help"} & set(flags):
        raise UsageError("ablate needs --grid FIELD=VALUE,VALUE ...")
    return start.main(experiment, flags, grid, console.typed(("ablate", arguments[0]), rest))


def _report(arguments: list[str]) -> int:
    if len(arguments) != 1:
        raise UsageError(f"report takes one run folder, got {len(arguments)} arguments")
    with signals.importing():
        from dgm_jax.core import DgmError
        from dgm_jax.report import write_report

    try:
        print(f"report: {write_report(arguments[0])}")
    except DgmError as error:
        raise UsageError(str(error)) from error
    return 0


def _check(arguments: list[str]) -> int:
    experiment, rest = _load(arguments)
    grid, flags = _with_grid(experiment, rest)
    return start.check(experiment, flags, grid, console.typed(("check", arguments[0]), rest))


COMMANDS = {"ablate": _ablate, "check": _check, "list": _list, "report": _report, "run": _run}

if __name__ == "__main__":
    sys.exit(main())
