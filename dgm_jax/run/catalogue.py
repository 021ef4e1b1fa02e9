"""Experiments by name: this package's own and those of installed packages. Needs no JAX."""

import importlib
import importlib.metadata
import pkgutil

from dgm_jax.run.experiment import Experiment

GROUP = "dgm_jax.experiments"


class NotAnExperiment(Exception):
    """An entry point that cannot be loaded, or is something else."""


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
    if not isinstance(experiment, Experiment):
        kind = type(experiment).__name__
        raise NotAnExperiment(
            f"experiment {name!r} must be a dgm_jax.run.Experiment, {entry.value} is a {kind}"
        )
    return experiment


def reason(error: BaseException) -> str:
    """An error as part of a sentence, on one line."""
    text = " ".join(str(error).split())
    if isinstance(error, ImportError) and text:
        return text
    return f"{type(error).__name__}: {text}"
