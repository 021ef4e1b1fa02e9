"""The report: one HTML file, made from nothing but the files of the run folder.

It contains its pictures, makes no network request, runs no script, and escapes every text that
comes from the folder. It can also be made of a run that is still going on or was killed.

The first screen has the headline values of every arm and the final pictures; then come the curves;
everything else is folded. Beside the entries that every summary.json has, the report shows these
if they exist: `arms` (list of names), `display` (`report.display.Display`), `explanations`
(metric -> sentence), `differences` (rows of `paired_difference` with `metric`, `arm`, `baseline`),
`dataset` (what was trained on), `num_parameters` (arm -> number), `timing` (arm -> values), `notes`
(sentences).
"""

import pathlib

import jinja2

from dgm_jax.core import RunDirectoryError, require
from dgm_jax.report.content import RunFiles, page_content
from dgm_jax.report.render import render
from dgm_jax.store import environment, records
from dgm_jax.store.reading import CONFIG, SUMMARY, PathLike


def write_report(
    path: PathLike, display: dict | None = None, *, refresh: int | None = None
) -> pathlib.Path:
    """Writes report.html into a run folder from the files in it, finished or not.

    Args:
        path: the folder.
        display: what the experiment says about its metrics (`Experiment.display`), for a folder
            whose summary.json does not have it.
        refresh: seconds after which a browser reloads the page of an unfinished run; None for
            never.

    Returns:
        The path of the page.

    Raises:
        RunDirectoryError: the folder holds no run, or a file in it is damaged.
    """
    root = pathlib.Path(path)
    require(
        (root / CONFIG).is_file(), f"{root} holds no run: there is no {CONFIG}", RunDirectoryError
    )
    target = records.contained(root, root / "report.html")
    run = RunFiles(root, display)
    made = {"made": environment.utc_now(), "refresh": None if run.summary else refresh}
    try:
        text = render("page.html.jinja", page_content(run) | made)
    except jinja2.UndefinedError as error:
        raise RunDirectoryError(
            f"{SUMMARY} lacks an entry that the report needs: {error}"
        ) from error
    records.write_atomically(target, text)
    return target
