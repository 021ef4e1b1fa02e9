"""Experiments by name: this package's own and those of installed packages. Needs no JAX."""

import importlib
import importlib.metadata
import pkgutil

from dgm_jax.run.experiment import Experiment
from dgm_jax.terminal.signals import Interrupted

GROUP = "dgm_jax.experiments"


class NotAnExperiment(Exception):
    """An entry point that cannot be loaded, or is something else."""


def experiments() -> dict[str, importlib.metadata.EntryPoint]:
    """Entry points of all experiments by name.

    This package's own are what its folder holds. So a checkout knows them whether it is installed
    or not, and also where it comes before another one that is. A name of theirs cannot be taken by
    another package.
    """
    return {entry.name: entry for entry in _installed()[0]} | _own()


def complaints() -> list[str]:
    """Sentences on what other packages offer in vain: what cannot be read, and experiments whose
    name another one has."""
    entries, unreadable = _installed()
    reached = experiments()
    taken = [entry for entry in entries if reached[entry.name].value != entry.value]
    return unreadable + [
        f"{entry.value} is not listed: {reached[entry.name].value} has the name {entry.name!r}"
        for entry in taken
        if not _is_ours(entry)
    ]


def _installed() -> tuple[list[importlib.metadata.EntryPoint], list[str]]:
    """Entry points of all installed packages, those that come first on the path last, and a
    sentence on each package of which they cannot be read."""
    seen, found, unreadable = set(), [], []
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
        if name not in seen:
            found.append(entries)
        seen.add(name)
    return [entry for entries in reversed(found) for entry in entries], unreadable


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
    """The experiment of a name that `experiments` has.

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
    if not isinstance(experiment, Experiment):
        kind = type(experiment).__name__
        raise NotAnExperiment(
            f"experiment {name!r} must be a dgm_jax.run.Experiment, {entry.value} is a {kind}"
        )
    return experiment


def reason(error: BaseException) -> str:
    """An error as part of a sentence, on one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an error of others may not even have a text
        text = ""
    if isinstance(error, ImportError) and text:
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")
