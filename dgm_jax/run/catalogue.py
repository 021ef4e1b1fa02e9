"""Experiments by name, by path and by module: this package's own, those of installed packages, and
those of a user. Needs no JAX."""

import importlib
import importlib.metadata
import importlib.util
import os
import pathlib
import pkgutil
import sys
from types import ModuleType

from dgm_jax.run.experiment import Experiment

GROUP = "dgm_jax.experiments"


ATTRIBUTE = "EXPERIMENT"


class NotAnExperiment(Exception):
    """Something that cannot be loaded, or is no experiment."""


def experiments() -> dict[str, importlib.metadata.EntryPoint]:
    """Entry points of all experiments by name.

    This package's own are what its folder holds. So a checkout knows them whether it is installed
    or not, and also where it comes before another one that is.
    """
    installed = {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}
    folder = importlib.import_module(GROUP).__path__
    own = [module.name for module in pkgutil.iter_modules(folder)]
    return installed | {
        name: importlib.metadata.EntryPoint(name, f"{GROUP}.{name}:EXPERIMENT", GROUP)
        for name in own
        if not name.startswith("_")
    }


def load_experiment(name: str) -> Experiment:
    """The experiment of a name that `experiments` has.

    Raises:
        NotAnExperiment: it cannot be imported, or is something else.
    """
    entry = experiments()[name]
    try:
        experiment = entry.load()
    except (Exception, SystemExit) as error:  # a module of others may do anything at its import
        raise NotAnExperiment(
            f"experiment {name!r} cannot be loaded from {entry.value}: {reason(error)}"
        ) from error
    if isinstance(experiment, Experiment):
        return experiment
    raise _something_else(experiment, f"experiment {name!r}", entry.value)


def is_own(name: str) -> bool:
    """Whether a name is a path or a module's, and so of no entry point."""
    return name.endswith(".py") or os.sep in name or "/" in name or "." in name


def load_own(name: str) -> Experiment:
    """The experiment of a user's own: `./FILE.py`, a package's folder, or `PACKAGE.MODULE`.

    The module has it as EXPERIMENT, or by the name after a colon: `./FILE.py:NAME`. It finds the
    modules beside its file, or below the working folder, as a script and `python -m` do.

    Raises:
        NotAnExperiment: there is no such file or module, importing it fails, or it has no
            experiment of that name.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or os.sep in attribute:
        place, attribute = name, ATTRIBUTE
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
    """The module of a file, or of a folder with __init__.py, under its plain name where that is
    free."""
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
    """An error as part of a sentence, on one line."""
    text = " ".join(str(error).split())
    if isinstance(error, ImportError) and text:
        return text
    return f"{type(error).__name__}: {text}"
