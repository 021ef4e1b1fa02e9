"""What a run needs of other experiments: where it is, and whether it is what it should be."""

import pathlib

from dgm_jax.core import ConfigError, DataError, RunDirectoryError, lookup, require
from dgm_jax.run import catalogue
from dgm_jax.run.experiment import Experiment, Need
from dgm_jax.store.reading import read_summary


def finished_folder(need: Need) -> pathlib.Path | None:
    """The folder of a need where it holds a finished run, or None where that is to be trained.

    Raises:
        DataError: the folder is the user's own (no settings) and holds no finished run.
        ConfigError: it holds a run of another experiment.
    """
    folder = pathlib.Path(need.folder)
    try:
        summary = read_summary(folder)
    except RunDirectoryError:  # not finished; the run that is trained there says so
        summary = None
    if summary is None:
        own = need.settings is None
        require(not own, f"{folder} holds no finished run of {need.experiment}", DataError)
        return None
    held = summary["experiment"]
    require(
        held == need.experiment,
        f"{folder} holds a run of {held!r}, not of {need.experiment}",
        ConfigError,
    )
    return folder


def needed_experiment(need: Need) -> Experiment:
    """The experiment that trains what is needed; ConfigError where there is none of that name."""
    lookup(catalogue.experiments(), need.experiment, "experiment")
    try:
        return catalogue.load_experiment(need.experiment)
    except catalogue.NotAnExperiment as error:
        raise ConfigError(str(error)) from error
