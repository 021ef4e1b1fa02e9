"""Experiments by name, path and module: this package's, other installed packages' and the user's.

Needs no JAX.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import pathlib
import pkgutil
import sys
from types import ModuleType

from dgm_jax.run.experiment import Experiment
from dgm_jax.terminal.signals import Interrupted

GROUP = "dgm_jax.experiments"


ATTRIBUTE = "EXPERIMENT"


class NotAnExperiment(Exception):
    """Raised for something that cannot be loaded or is not an experiment."""


def experiments() -> dict[str, importlib.metadata.EntryPoint]:
    """Lists all experiments.

    This package's experiments are the files in its folder, so a checkout knows them whether or not
    it is installed, and even if another installation exists. Other packages cannot take their
    names.

    Returns:
        {name: entry point}.
    """
    return {entry.name: entry for entry in _installed()[0]} | _own()


def complaints() -> list[str]:
    """Lists what other packages offer but cannot be used.

    Returns:
        Sentences on entry points that cannot be read, and on experiments whose name is taken.
    """
    entries, unreadable = _installed()
    reached = experiments()
    taken = [entry for entry in entries if reached[entry.name].value != entry.value]
    return unreadable + [
        f"{entry.value} is not listed: {reached[entry.name].value} has the name {entry.name!r}"
        for entry in taken
        if not _is_ours(entry)
    ]


def _installed() -> tuple[list[importlib.metadata.EntryPoint], list[str]]:
    """Entry points of all installed packages, and sentences on packages that cannot be read.

    Packages that come first on the path are listed last.
    """
    names = set()
    by_package = []
    unreadable = []
    for distribution in importlib.metadata.distributions():
        try:
            if GROUP not in (distribution.read_text("entry_points.txt") or ""):
                continue
            name = distribution.metadata["Name"]
            entries = [entry for entry in distribution.entry_points if entry.group == GROUP]
        except Exception as error:  # a package may be damaged in any way
            where = getattr(distribution, "_path", "an installed package")
            unreadable.append(f"{where}: its entry points cannot be read: {reason(error)}")
            continue
        if name not in names:
            by_package.append(entries)
        names.add(name)
    return [entry for entries in reversed(by_package) for entry in entries], unreadable


def _own() -> dict[str, importlib.metadata.EntryPoint]:
    folder = importlib.import_module(GROUP).__path__
    names = [module.name for module in pkgutil.iter_modules(folder)]
    return {
        name: importlib.metadata.EntryPoint(name, f"{GROUP}.{name}:EXPERIMENT", GROUP)
        for name in names
        if not name.startswith("_")
    }


def _is_ours(entry: importlib.metadata.EntryPoint) -> bool:
    return entry.value.split(":")[0].split(".")[0] in ("dgm_jax", "experiments")


def load_experiment(name: str) -> Experiment:
    """Loads an installed experiment.

    Args:
        name: a key of `experiments`.

    Returns:
        The experiment.

    Raises:
        NotAnExperiment: it cannot be imported, or is something else.
    """
    entry = experiments()[name]
    try:
        experiment = entry.load()
    except (Interrupted, KeyboardInterrupt):
        raise
    except BaseException as error:  # a module of others may do anything at its import
        raise NotAnExperiment(
            f"experiment {name!r} cannot be loaded from {entry.value}: {reason(error)}"
        ) from error
    if isinstance(experiment, Experiment):
        return experiment
    raise _something_else(experiment, f"experiment {name!r}", entry.value)


def is_own(name: str) -> bool:
    """Whether a name is a path or the name of a module, rather than of an entry point.

    Args:
        name: as it was typed.

    Returns:
        True or False.
    """
    return name.endswith(".py") or os.sep in name or "/" in name or "." in name


def load_own(name: str) -> Experiment:
    """Loads a user's own experiment.

    Its module can import the modules beside its file, or below the working folder, as a script and
    `python -m` can.

    Args:
        name: `./FILE.py`, a package's folder, or `PACKAGE.MODULE`. The module defines the
            experiment as EXPERIMENT, or under the name after a colon: `./FILE.py:NAME`.

    Returns:
        The experiment.

    Raises:
        NotAnExperiment: there is no such file or module, importing it fails, or it has no
            experiment of that name.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or os.sep in attribute:
        place = name
        attribute = ATTRIBUTE
    is_path = place.endswith(".py") or "/" in place or os.sep in place
    module = _of_file(place) if is_path else _of_module(place)
    if not hasattr(module, attribute):
        raise NotAnExperiment(
            f"{place} has no {attribute}: an experiment's module ends with"
            f" {attribute} = dgm_jax.run.Experiment(...)"
        )
    experiment = getattr(module, attribute)
    if isinstance(experiment, Experiment):
        return experiment
    raise _something_else(experiment, f"{place}: {attribute}", attribute)


def _something_else(value, what: str, told: str) -> NotAnExperiment:
    kind = type(value).__name__
    return NotAnExperiment(f"{what} must be a dgm_jax.run.Experiment, {told} is a {kind}")


def _of_file(place: str) -> ModuleType:
    """Imports a file, or a folder with __init__.py, under its plain name if that is free."""
    path = pathlib.Path(place).resolve()
    file = path / "__init__.py" if path.is_dir() else path
    if not file.is_file():
        raise NotAnExperiment(f"no experiment in {place}: there is no file {file}")
    name = path.stem if path.stem not in sys.modules else f"experiment_of_{path.stem}"
    inside = [str(path)] if path.is_dir() else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=inside)
    if spec is None or spec.loader is None:
        raise NotAnExperiment(f"no experiment in {place}: {file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    sys.modules[name] = module  # dataclasses look up the types of their fields there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise NotAnExperiment(f"{place} cannot be imported: {reason(error)}") from error
    return module


def _of_module(name: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise NotAnExperiment(f"{name} cannot be imported: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """An error as part of a sentence, on one line.

    Args:
        error: any error.

    Returns:
        Its text, after its type unless it is an ImportError.
    """
    try:
        text = " ".join(str(error).split())
    except Exception:  # an error of others may not even have a text
        text = ""
    if isinstance(error, ImportError) and text:
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")
