"""Settings that were given or swept although no cell of a run reads them.

The experiment says which settings are read when (`Experiment.read_where`); nothing is built.
"""

import fnmatch
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dgm_jax.core import require
from dgm_jax.run.cells import Arm
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import StudyConfig, names_of


class Unread(NamedTuple):
    """A setting without effect.

    Attributes:
        sentence: what has no effect, and why.
        everywhere: whether it has no effect on any cell.
    """

    sentence: str
    everywhere: bool


def tell(
    experiment: Experiment,
    config: StudyConfig,
    grid: dict[str, tuple],
    cells: list[Arm],
    say: Callable[[str], None] | None,
    refuse: bool,
) -> None:
    """Reports settings without effect, and refuses those without effect on any cell.

    Args:
        experiment: of the run.
        config: its settings.
        grid: values of an ablation.
        cells: the run's arms.
        say: gets the sentences, one at a time.
        refuse: False for a run that is continued, which may be older than this rule.

    Raises:
        ConfigError: with `refuse`, for a setting that no cell reads.
    """
    for ignored in unread(experiment, config, grid, cells):
        require(not (refuse and ignored.everywhere), ignored.sentence)
        if say is not None:
            say(ignored.sentence)


def unread(
    experiment: Experiment, config: StudyConfig, grid: dict[str, tuple], cells: list[Arm]
) -> Iterator[Unread]:
    """Finds the settings without effect.

    A value that equals the setting's default counts as not given. A setting that is given for
    several cells has an effect if one of them reads it; one that is swept makes the cells that do
    not read it equal.

    Args:
        experiment: of the run.
        config: its settings.
        grid: values of an ablation.
        cells: the run's arms.

    Yields:
        One after the other, in the order of the settings.
    """
    defaults = experiment.config()
    for name in names_of(config):
        swept = name in grid
        if not swept and getattr(config, name) == getattr(defaults, name):
            continue
        needs = experiment.read_where.get(name, {})
        without = [cell for cell in cells if not _is_read(needs, cell.config)]
        everywhere = len(without) == len(cells)
        if everywhere or without and swept:
            yield Unread(_sentence(name, config, grid, needs, without, everywhere), everywhere)


def _is_read(needs: dict[str, tuple[str, ...]], config: StudyConfig) -> bool:
    return all(
        any(
            fnmatch.fnmatchcase(value, pattern) for value in _values(config, other) for pattern in p
        )
        for other, p in needs.items()
    )


def _values(config: StudyConfig, name: str) -> tuple[str, ...]:
    value = getattr(config, name)
    return tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)


def _sentence(name, config, grid, needs, without: list[Arm], everywhere: bool) -> str:
    """`noise_scale=0.1 has no effect: it is read where method is instance_noise, ...`."""
    value = ",".join(map(str, grid[name])) if name in grid else getattr(config, name)
    where = " and ".join(f"{other} is {_one_of(patterns)}" for other, patterns in needs.items())
    actual = "; ".join(
        f"{other} is {_one_of(dict.fromkeys(v for c in without for v in _values(c.config, other)))}"
        for other in needs
    )
    reason = f"it is read where {where}, and here {actual}"
    if everywhere:
        return f"{name}={value} has no effect: {reason}; leave it out"
    return f"{name}={value} has no effect on some cells, which will end the same: {reason}"


def _one_of(names) -> str:
    shown = ["not empty" if name == "?*" else name or "empty" for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
