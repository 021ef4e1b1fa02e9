"""`dgm-jax report` and `dgm-jax compare`: pages of run folders.

Where the folders say nothing about how their metrics are shown, their experiments do.
"""

import os
import pathlib

from dgm_jax.run import catalogue
from dgm_jax.run.answers import answered
from dgm_jax.terminal import signals


def report(folder: str) -> int:
    """Builds report.html of a run folder again.

    Args:
        folder: of the run.

    Returns:
        The exit code.
    """
    with signals.importing():
        from dgm_jax.report import write_report

    return answered(lambda: f"report: {write_report(folder, display_of(folder))}")


def compare(folders: tuple[str, ...], out: str) -> int:
    """Prints the headline of several run folders as one table, and writes one page.

    Args:
        folders: of the runs.
        out: path of the page.

    Returns:
        The exit code.
    """
    with signals.importing():
        from dgm_jax.report.comparison import compare as compare_runs

    def compared() -> str:
        table, page = compare_runs(folders, out, [display_of(folder) for folder in folders])
        return f"{table}\npage: {page}"

    return answered(compared)


def display_of(folder: str | os.PathLike[str]) -> dict | None:
    """What the experiment of a run says about its metrics.

    Args:
        folder: of the run.

    Returns:
        The content of `Experiment.display`; None if the folder holds no run or the experiment is
        not installed.
    """
    from dgm_jax.core import RunDirectoryError
    from dgm_jax.store.reading import read_config

    try:
        name = read_config(pathlib.Path(folder)).experiment
        return catalogue.load_experiment(name).display()
    except (RunDirectoryError, KeyError, catalogue.NotAnExperiment):
        return None
