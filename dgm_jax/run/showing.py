"""What a finished run shows: its headline, and its report once more."""

import contextlib
import pathlib

from dgm_jax.report import summaries
from dgm_jax.report.page import write_report
from dgm_jax.report.table import format_sweep, format_table
from dgm_jax.run.experiment import Experiment
from dgm_jax.store.reading import METRICS, read_summary
from dgm_jax.terminal import console
from dgm_jax.terminal.progress import Progress


def report_again(folder: pathlib.Path, experiment: Experiment, progress: Progress) -> dict:
    """Rebuilds the report of a finished run.

    Args:
        folder: of the run.
        experiment: of the run.
        progress: shows where the report is.

    Returns:
        The summary of the run.
    """
    if not (folder / METRICS).is_file():
        progress.notice(f"{folder} has lost its {METRICS}: the report has no curves")
    progress.notice(
        f"{folder} is finished; its report: {write_report(folder, experiment.display())}"
    )
    return summaries.nested(read_summary(folder) or {})


def show(experiment: Experiment, summary: dict, report: pathlib.Path, *, is_sweep: bool) -> None:
    """Prints the headline. If it cannot be written, the run is finished all the same.

    Args:
        experiment: of the run.
        summary: of the run.
        report: the page.
        is_sweep: whether the run has a grid.
    """
    text = [
        format_sweep(summary, experiment.display())
        if is_sweep
        else format_table(summary, experiment.headline),
        *summary["notes"],
        f"report: {report}",
    ]
    try:
        with contextlib.suppress(BrokenPipeError):  # nobody reads it
            print(*text, sep="\n", flush=True)
    except (OSError, ValueError) as error:
        console.tell(f"the run is finished, but its result cannot be shown ({error}): {report}")
    console.silence_what_is_broken()
