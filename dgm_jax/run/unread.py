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
        value = getattr(config, name)
        default = getattr(defaults, name)
        if not swept and value == default:
            continue
        needs = experiment.read_where.get(name, {})
        without = [cell for cell in cells if not _is_read(needs, cell.config)]
        everywhere = len(without) == len(cells)
        if everywhere or without and swept:
            sentence = _sentence(name, config, grid, needs, without, everywhere)
            yield Unread(sentence, everywhere)


def _is_read(needs: dict[str, tuple[str, ...]], config: StudyConfig) -> bool:
    for other, patterns in needs.items():
        values = _values(config, other)
        if not any(_matches(value, patterns) for value in values):
            return False
    return True


def _matches(value: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns matches."""
    return any(fnmatch.fnmatchcase(value, pattern) for pattern in patterns)


def _values(config: StudyConfig, name: str) -> tuple[str, ...]:
    value = getattr(config, name)
    if isinstance(value, tuple):
        return tuple(map(str, value))
    return (str(value),)


def _sentence(name, config, grid, needs, without: list[Arm], everywhere: bool) -> str:
    """`noise_scale=0.1 has no effect: it is read where method is instance_noise, ...`."""
    if name in grid:
        value = ",".join(map(str, grid[name]))
    else:
        value = getattr(config, name)
    required = []
    actual = []
    for other, patterns in needs.items():
        required.append(f"{other} is {_one_of(patterns)}")
        values = _different_values(without, other)
        actual.append(f"{other} is {_one_of(values)}")
    where = " and ".join(required)
    here = "; ".join(actual)
    reason = f"it is read where {where}, and here {here}"
    if everywhere:
        return f"{name}={value} has no effect: {reason}; leave it out"
    return f"{name}={value} has no effect on some cells, which will end the same: {reason}"


def _different_values(cells: list[Arm], name: str) -> list[str]:
    """A setting's values in some cells, each once."""
    values: dict[str, None] = {}
    for cell in cells:
        for value in _values(cell.config, name):
            values[value] = None
    return list(values)


def _one_of(names) -> str:
    """`a, b or c`; a pattern that takes any text but the empty one is `not empty`."""
    shown = ["not empty" if name == "?*" else name or "empty" for name in names]
    if len(shown) == 1:
        return shown[0]
    others = ", ".join(shown[:-1])
    return f"{others} or {shown[-1]}"
