"""What an experiment is, and how its settings become lanes of compiled programs.

An `Experiment` is data: a configuration class and pure functions. `launch.main` drives it.
Its settings expand into *arms* (a method, or a cell of an ablation), each trained with the same
seeds. Arms that differ only in numbers share one program: their lanes ride on one axis.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import PyTree, Task, did_you_mean, require


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Settings that every experiment has; subclasses add their own, flat, about twenty in all."""

    seed: int = 0
    """Root of all randomness; seed i of the run uses fold_in(seed, i)."""
    num_seeds: int = 5
    """Seeds trained at once."""
    num_steps: int = 10_000
    """Steps of the game."""
    log_every: int = 500
    """Steps between two rows of metrics.jsonl; evaluation and checkpoint happen there too."""
    out: str = ""
    """Run folder; by default runs/NAME/DATE-TIME."""
    resume: bool = False
    """Continue the run in --out (without --out: the newest run of this experiment)."""
    devices: str = "auto"
    """auto, jit (lanes and batches sharded over all devices) or pmap (per-device batches)."""
    strategy: str = "auto"
    """How seeds share a device: vmap, map (one after the other) or auto."""
    convolutions: str = "auto"
    """On CPU onednn, plain or lax (`dgm_jax.native`); auto takes onednn where it can be built."""
    progress: str = "auto"
    """auto, rich, lines, json or quiet."""


class Data(NamedTuple):
    """What a run sees. arrays: put on the devices. identity: one dictionary for the record.
    dataset: anything else that `build` and `figures` want (densities, class names)."""

    arrays: PyTree
    identity: dict[str, Any]
    dataset: Any = None


class ArmResult(NamedTuple):
    """A finished arm: its settings, and the last evaluation's arrays, [num_seeds, ...] each."""

    name: str
    config: RunConfig
    arrays: dict[str, np.ndarray]


def _scalars(arrays, config, data) -> dict[str, np.ndarray]:
    """The evaluation's scalars, one figure a seed: the default `finalise`."""
    del config, data
    return {name: value for name, value in arrays.items() if value.ndim == 1}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A study: settings, data, a task, and how its result is shown.

    config: a frozen dataclass derived from `RunConfig`.
    load: `config -> Data`, checked before anything compiles.
    build: `(config, data) -> Task`; in an ablation the float settings of `config` are tracers, on
        which Python must not branch, but for those in `static`.
    distribute: `parallel.distribute`, which compiles lanes for the devices at hand.
    validate: `config -> None`, raises `DgmError` on settings that no run could use.
    finalise: `({name: [S, ...]}, config, data) -> {metric: [S]}` on the host, at every evaluation.
    figures: `([ArmResult], data) -> {name: (figure, caption)}` at the end.
    snapshots: the same for a picture at each evaluation, `(ArmResult, data, step)`.
    references: `config -> [{"metric", "published", "spread", "source"}]`; `"context": True` in a
        row says that the figure is of other data or another protocol, so no verdict is given.
    headline: metrics of the table on the terminal; all of them are in summary.json.
    arm_field: the setting, a tuple of names, that lists the arms.
    static: float settings that `build` cannot take as tracers, since Python branches on them: an
        ablation compiles a program for each of their values. Settings that are lists of floats
        never become tracers.
    rank_by: a metric, smaller is better, by whose mean the arms are ranked at the end.
    """

    name: str
    config: type[RunConfig]
    load: Callable[[Any], Data]  # Any: a `config`
    build: Callable[[Any, Data], Task]
    distribute: Callable
    validate: Callable[[Any], None] = lambda config: None
    finalise: Callable[..., dict[str, np.ndarray]] = _scalars
    figures: Callable[..., dict] = lambda results, data: {}
    snapshots: Callable[..., dict] = lambda result, data, step: {}
    references: Callable[[Any], list[dict]] = lambda config: []
    headline: tuple[str, ...] = ()
    explanations: dict[str, str] = dataclasses.field(default_factory=dict)
    arm_field: str | None = None
    static: tuple[str, ...] = ()
    rank_by: str | None = None


class Arm(NamedTuple):
    """One cell of a run: a name and its settings."""

    name: str
    config: RunConfig


class Group(NamedTuple):
    """Arms that one program trains: they differ in `swept`, numbers only."""

    arms: tuple[Arm, ...]
    swept: tuple[str, ...]

    @property
    def name(self) -> str:
        """For progress and folder names."""
        return (
            self.arms[0].name
            if len(self.arms) == 1
            else f"{self.arms[0].name} and {len(self.arms) - 1} more"
        )


def validate(
    experiment: Experiment, config: RunConfig, grid: dict[str, tuple] | None = None
) -> None:
    """Raises `ConfigError` naming the setting, what it must be and what it is; looks at every cell
    of the grid."""
    for name in ("num_seeds", "num_steps", "log_every"):
        value = getattr(config, name)
        require(value >= 1, f"{name} must be at least 1, got {value}")
    # A key is made of 32 bits of the seed: a larger one would be some smaller seed's run.
    require(
        0 <= config.seed < 2**32, f"seed must be at least 0 and less than 2**32, got {config.seed}"
    )
    for cell in (Arm("", config), *arms(experiment, config, grid)):
        _require_finite(cell.config)
    for cell in arms(experiment, config, grid):
        experiment.validate(cell.config)


def _require_finite(config: RunConfig) -> None:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for number in value if isinstance(value, tuple) else (value,):
            finite = not isinstance(number, float) or math.isfinite(number)
            require(finite, f"{field.name} must be finite, got {number}")


def arms(
    experiment: Experiment, config: RunConfig, grid: dict[str, tuple] | None = None
) -> list[Arm]:
    """The cells of a run: every value of `arm_field` times every point of `grid`."""
    axes = dict(grid or {})
    known = {field.name for field in dataclasses.fields(config)}
    for name in axes:
        require(
            name in known, f"{experiment.name} has no setting {name!r}{did_you_mean(name, known)}"
        )
    names = ",".join(map(str, axes.get("data", ())))
    require(
        "," not in names, f"data={names}: all cells of a run share their data: start a run for each"
    )
    if experiment.arm_field and experiment.arm_field not in axes:
        axes = {experiment.arm_field: getattr(config, experiment.arm_field), **axes}
    cells = []
    for point in itertools.product(*axes.values()):
        chosen = dict(zip(axes, point, strict=True))
        label = [v if k == experiment.arm_field else f"{k}={v}" for k, v in chosen.items()]
        cells.append(
            Arm(", ".join(map(str, label)) or experiment.name, with_settings(config, chosen))
        )
    names = [cell.name for cell in cells]
    require(
        bool(names) and len(set(names)) == len(names),
        f"arms must be different and at least one, got {names}",
    )
    return cells


def with_settings(config: RunConfig, chosen: dict[str, Any]) -> RunConfig:
    """`config` with one value for each chosen setting; a setting that is a list gets a list of that
    one."""
    values = {k: (v,) if isinstance(getattr(config, k), tuple) else v for k, v in chosen.items()}
    return dataclasses.replace(config, **values)


def groups(
    cells: list[Arm], grid: dict[str, tuple] | None = None, static: tuple[str, ...] = ()
) -> list[Group]:
    """Cells that share a program: equal but for float settings of the grid that are not
    `static`."""

    def rides(name, values):
        held = getattr(cells[0].config, name)  # a list of floats stays a list
        return (
            name not in static
            and not isinstance(held, tuple)
            and all(isinstance(v, float) for v in values)
        )

    swept = tuple(name for name, values in (grid or {}).items() if rides(name, values))
    found: dict[Any, list[Arm]] = {}
    for cell in cells:
        found.setdefault(
            dataclasses.replace(cell.config, **{name: 0.0 for name in swept}), []
        ).append(cell)
    return [Group(tuple(same), swept if len(same) > 1 else ()) for same in found.values()]
