"""Checks of whether a folder may be used for a run."""

import os
import pathlib
from typing import Any

from dgm_jax.core import RunDirectoryError, differences, require
from dgm_jax.store import records
from dgm_jax.store.ownership import LOCK, OWNER
from dgm_jax.store.reading import (
    CONFIG,
    ENVIRONMENT,
    FOLDERS,
    METRICS,
    SUMMARY,
    Stored,
    read_config,
)


def prepare(path: str | os.PathLike[str]) -> pathlib.Path:
    """Create a run folder if it is missing.

    Args:
        path: the folder.

    Returns:
        Its resolved path.

    Raises:
        RunDirectoryError: without touching it, if it holds files that are not a run, or cannot be
            a folder.
    """
    text = os.fspath(path)
    require(
        text.isprintable() and text.strip() != "",
        f"run folder {text!r}: the name has unprintable characters or is empty",
        RunDirectoryError,
    )
    root = pathlib.Path(text)
    try:
        # Existence first: another start may create the folder between the two questions.
        require(
            not root.exists() or root.is_dir(),
            f"run folder {text}: that is a file, not a folder",
            RunDirectoryError,
        )
        root.mkdir(parents=True, exist_ok=True)
        root = root.resolve()
        if not (root / CONFIG).exists():
            require_empty(root)
        for name in (LOCK, OWNER, CONFIG, ENVIRONMENT, METRICS, SUMMARY, *FOLDERS):
            records.contained(root, root / name)
    except OSError as error:
        raise RunDirectoryError(f"run folder {text}: {error.strerror or error}") from error
    return root


def require_empty(root: pathlib.Path) -> None:
    """Check that a folder without config.json holds only what a killed start may have left.

    Args:
        root: the folder.

    Raises:
        RunDirectoryError: if it holds anything else.
    """
    leftovers = {LOCK, OWNER, ENVIRONMENT, *FOLDERS}
    foreign = sorted(
        p.name
        for p in root.iterdir()
        if p.name not in leftovers and not (p.name.startswith(".") and p.name.endswith(".part"))
    )
    for name in FOLDERS:
        folder = root / name
        if folder.is_dir():
            foreign += sorted(f"{name}/{p.name}" for p in folder.iterdir())
    # Checked once more, since another start may have made it a run in the meantime.
    if foreign and not (root / CONFIG).exists():
        shown = ", ".join(foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        raise RunDirectoryError(
            f"{root} is not empty and holds no run ({shown}): "
            "choose an empty or new folder with --out"
        )


def require_same_run(
    root: pathlib.Path, experiment: str, config: dict[str, Any], usual: dict[str, Any]
) -> Stored:
    """Check that a folder holds this run.

    Args:
        root: the folder.
        experiment: name of the experiment.
        config: its settings.
        usual: values of settings that a record leaves out.

    Returns:
        The content of config.json.

    Raises:
        RunDirectoryError: if it is another run; the message names every differing setting with
            both of its values.
    """
    stored = read_config(root)
    require(
        stored.experiment == experiment,
        f"{root} holds another run: experiment {stored.experiment!r}, and this is {experiment!r}. "
        "Choose another folder with --out",
        RunDirectoryError,
    )
    changes = differences(stored.settings, config, usual=usual)
    require(
        not changes,
        f"{root} holds another run of {experiment}: {'; '.join(changes)}. "
        "Choose another folder with --out, or the same settings",
        RunDirectoryError,
    )
    return stored
