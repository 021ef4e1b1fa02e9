"""Whether a folder may be taken for a run."""

import os
import pathlib

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


def prepare(path) -> pathlib.Path:
    """The folder, made if it was missing; refused, untouched, where it holds files that are no
    run."""
    text = os.fspath(path)
    require(
        text.isprintable() and text.strip() != "",
        f"run folder {text!r}: the name has unprintable characters or is empty",
        RunDirectoryError,
    )
    root = pathlib.Path(text)
    try:
        require(
            root.is_dir() or not root.exists(),
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


def require_empty(root):
    """A folder without config.json may hold what a start that was killed left there, and nothing
    else."""
    own = {LOCK, OWNER, ENVIRONMENT, *FOLDERS}
    foreign = sorted(
        p.name
        for p in root.iterdir()
        if p.name not in own and not (p.name.startswith(".") and p.name.endswith(".part"))
    )
    for folder in (root / name for name in FOLDERS):
        foreign += (
            sorted(f"{folder.name}/{p.name}" for p in folder.iterdir()) if folder.is_dir() else []
        )
    # asked again, since another start may have made it a run meanwhile
    if foreign and not (root / CONFIG).exists():
        shown = ", ".join(foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        raise RunDirectoryError(
            f"{root} is not empty and holds no run ({shown}): "
            "choose an empty or new folder with --out"
        )


def require_same_run(root, experiment: str, config: dict) -> Stored:
    """What config.json says; raises with every differing setting and both of its values."""
    stored = read_config(root)
    require(
        stored.experiment == experiment,
        f"{root} holds another run: experiment {stored.experiment!r}, and this is {experiment!r}. "
        "Choose another folder with --out",
        RunDirectoryError,
    )
    changes = differences(stored.settings, config)
    require(
        not changes,
        f"{root} holds another run of {experiment}: {'; '.join(changes)}. "
        "Choose another folder with --out, or the same settings",
        RunDirectoryError,
    )
    return stored
