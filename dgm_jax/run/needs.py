"""The runs of other experiments that a run needs: where they are, and whether they are usable."""

import pathlib

from dgm_jax.core import ConfigError, DataError, RunDirectoryError, lookup, require
from dgm_jax.run import catalogue
from dgm_jax.run.experiment import Experiment, Need
from dgm_jax.store.reading import read_summary


def finished_folder(need: Need) -> pathlib.Path | None:
    """The folder of a need.

    Args:
        need: the run that is needed.

    Returns:
        The folder if it holds a finished run; None if that must be trained first.

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
        is_users = need.settings is None
        require(not is_users, f"{folder} holds no finished run of {need.experiment}", DataError)
        return None
    name = summary["experiment"]
    require(
        name == need.experiment,
        f"{folder} holds a run of {name!r}, not of {need.experiment}",
        ConfigError,
    )
    return folder


def needed_experiment(need: Need) -> Experiment:
    """The experiment of a need.

    Args:
        need: the run that is needed.

    Returns:
        The experiment.

    Raises:
        ConfigError: there is none of that name, or it cannot be loaded.
    """
    lookup(catalogue.experiments(), need.experiment, "experiment")
    try:
        return catalogue.load_experiment(need.experiment)
    except catalogue.NotAnExperiment as error:
        raise ConfigError(str(error)) from error
