"""Compares the rows of metrics.jsonl with the checkpoints from which a run continues."""

from dgm_jax.core import RunDirectoryError, require
from dgm_jax.run.cells import Group
from dgm_jax.run.settings import StudyConfig
from dgm_jax.store import records
from dgm_jax.store.directory import RunDirectory


def logged_steps(config: StudyConfig, parent: dict | None, step: int) -> set[int]:
    """The steps with a row: every `log_every`-th, and the last one of this run and of its parents.

    Args:
        config: settings of the study.
        parent: the record of the run that this one continues, if any.
        step: the last step.

    Returns:
        Steps up to `step`.
    """
    ends = {step}
    while parent:
        ends.add(parent["num_steps"])
        parent = parent.get("parent")
    every = range(config.log_every, step + 1, config.log_every)
    return {at for at in {*every, *ends} if 0 < at <= step}


def settle(
    directory: RunDirectory,
    config: StudyConfig,
    group: Group,
    arm_names: tuple[str, ...],
    step: int,
    rows: list[dict],
) -> list[str]:
    """Leaves in metrics.jsonl exactly the rows of a group's logged steps, as far as they exist.

    Args:
        directory: of the run.
        config: its settings.
        group: arms that are at `step`.
        arm_names: those of the whole run.
        step: of their checkpoint.
        rows: those in the checkpoint.

    Returns:
        Sentences about what was wrong.
    """
    logged = logged_steps(config, directory.parent, step)
    return directory.settle_rows(arm_names, {arm.name: logged for arm in group.arms}, rows)


def require_hardly_begun(directory: RunDirectory, config: StudyConfig, group: Group) -> None:
    """Requires that arms without a checkpoint have no rows past the first logged step.

    The rows of that step are written before its checkpoint, so they may exist.

    Args:
        directory: of the run.
        config: its settings.
        group: the arms.

    Raises:
        RunDirectoryError: there are later rows, so the checkpoints that they belong to are lost.
    """
    names = {arm.name for arm in group.arms}
    steps = [row.get("step") for row in directory.read_rows() if row.get("arm") in names]
    first = min(config.log_every, config.num_steps)
    last = max((step for step in steps if isinstance(step, int)), default=0)
    folder = directory.checkpoints / records.safe_name(group.name)
    require(
        last <= first,
        f"{directory.path} has rows of {group.name} up to step {last}, but no checkpoint of it: put"
        f" {folder} back as it was, or begin again in another folder with --out",
        RunDirectoryError,
    )
