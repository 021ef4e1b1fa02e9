"""`dgm-jax report` and `dgm-jax compare`: pages of run folders.

Where the folders say nothing about how their metrics are shown, their experiments do.
"""

import os
import pathlib

from dgm_jax.run import catalogue
from dgm_jax.terminal import console, signals


def report(folder: str) -> int:
    """Builds report.html of a run folder again.

    Args:
        folder: of the run.

    Returns:
        The exit code.
    """
    with signals.importing():
        from dgm_jax.core import DgmError
        from dgm_jax.report import write_report

    try:
        print(f"report: {write_report(folder, display_of(folder))}")
    except DgmError as error:
        console.tell(f"error: {error}")
        return error.exit_code
    return 0


def compare(folders: tuple[str, ...], out: str) -> int:
    """Prints the headline of several run folders as one table, and writes one page.

    Args:
        folders: of the runs.
        out: path of the page.

    Returns:
        The exit code.
    """
    with signals.importing():
        from dgm_jax.core import DgmError
        from dgm_jax.report.comparison import compare as compare_runs

    try:
        table, page = compare_runs(folders, out, [display_of(folder) for folder in folders])
    except DgmError as error:
        console.tell(f"error: {error}")
        return error.exit_code
    print(table, f"page: {page}", sep="\n")
    return 0


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
