"""The description of an experiment: its settings, and functions that are imported when it runs.

An `Experiment` is data, and its own module imports no JAX, so that flags are explained and wrong
ones refused at once. `run.main` runs it.
"""

import dataclasses
import functools
import importlib
import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dgm_jax.run.settings import LaunchConfig, SettingsView, StudyConfig, names_of
from dgm_jax.terminal import signals

if TYPE_CHECKING:
    import numpy as np

    from dgm_jax.core import Model, Task
    from dgm_jax.trackers import Tracker


Direction = Literal["higher", "lower"]


class Inputs(NamedTuple):
    """The data of a run.

    Attributes:
        arrays: a tree of arrays that is put on the devices.
        identity: a dictionary for the record; a resumed run must see the same.
        context: anything else that `build` and `plots` need (densities, class names).
    """

    arrays: Any
    identity: dict[str, Any]
    context: Any = None


class Need(NamedTuple):
    """A finished run of another experiment that a run reads.

    Attributes:
        experiment: its name, as `dgm-jax list` has it.
        settings: {name: value} of the settings that differ from their defaults. A run that is
            missing or unfinished is trained first. None for a folder of the user's own: it must
            hold a finished run already, whatever its settings are.
        folder: where it is.
    """

    experiment: str
    settings: dict[str, Any] | None
    folder: str


class ArmResult(NamedTuple):
    """A finished arm.

    Attributes:
        name: of the arm.
        config: its settings.
        arrays: the last evaluation, {name: [num_seeds, ...]}.
    """

    name: str
    config: Any
    arrays: "dict[str, np.ndarray]"


def _scalars(arrays, config, inputs) -> "dict[str, np.ndarray]":
    """The evaluation's scalars, one number for each seed: the default `summarize`."""
    del config, inputs
    return {name: value for name, value in arrays.items() if value.ndim == 1}


class Functions(NamedTuple):
    """The functions of an experiment; all but `load` and `build` may be left out.

    Attributes:
        load: `(settings, needed) -> Inputs`, called before anything compiles. `settings` has those
            that `Experiment.data_settings` names. `needed` has the folder of each of `needs`, or
            None if `dgm-jax check`, which trains nothing, finds no run there.
        build: `(config, hyper, inputs) -> Task`, one seed's run as pure functions. `config` has all
            settings but the sweepable ones, which are `hyper[name]`: a tracer if lanes of one
            program differ in it, otherwise the number (or None) of the configuration.
        needs: `settings -> (Need, ...)`, of the same settings as `load`.
        model: `(config, hyper, dataset) -> core.Model`, the recipe that `build` uses, from the
            recorded description of the data (`Inputs.identity` as JSON has it: lists, no tuples),
            so that a trained model can be loaded without the data. Parameters and state of its
            `init` have the structure of a lane's. None if no usable model is trained.
        prompt: `(config, dataset, text) -> {name: value}`, keyword arguments of the model's
            `sample` for a text; None if samples are not made from texts.
        resolve: `config -> (config, sentences)`: replaces settings that leave something open, such
            as data "auto", by what they mean on this machine, before the run is recorded, and says
            what was chosen.
        validate: `config -> None`, raises `DgmError` on settings that no run could use.
        summarize: `({name: [S, ...]}, config, inputs) -> {metric: [S]}` on the host, at every
            evaluation; by default the scalars.
        plots: `([ArmResult], inputs) -> {name: (figure, caption)}` at the end.
        snapshots: `(ArmResult, inputs, step) -> ` the same for a picture at each evaluation.
        references: `config -> [{"metric", "published", "spread", "source"}]`; `"context": True` in
            a row says that the number is of other data or another protocol, so no verdict is given.
    """

    load: Callable[[Any, tuple], Inputs]
    build: "Callable[[Any, dict[str, Any], Inputs], Task]"
    needs: Callable[[Any], tuple[Need, ...]] = lambda settings: ()
    model: "Callable[[Any, dict[str, Any], dict[str, Any]], Model] | None" = None
    prompt: Callable[[Any, dict[str, Any], str], dict[str, Any]] | None = None
    resolve: Callable[[Any], tuple[Any, tuple[str, ...]]] = lambda config: (config, ())
    validate: Callable[[Any], None] = lambda config: None
    summarize: "Callable[..., dict[str, np.ndarray]]" = _scalars
    plots: Callable[..., dict] = lambda results, inputs: {}
    snapshots: Callable[..., dict] = lambda result, inputs, step: {}
    references: Callable[[Any], list[dict]] = lambda config: []


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Settings, functions, and how the result is shown.

    Attributes:
        name: of the experiment.
        config: a frozen dataclass derived from `StudyConfig`.
        task: dotted name of the module that defines the `Functions` by their names, imported when
            the experiment runs. An experiment in one file gives the functions as fields instead; a
            field takes precedence over a function of the module.
        sweepable: float settings that `build` takes from `hyper`. Lanes that differ only in them
            share a program; a grid over any other setting compiles a program for each value.
        data_settings: the settings that `load` and `needs` read.
        headline: metrics of the table in the terminal and of the report's first table; summary.json
            has all of them.
        explanations: {metric: sentence} for the report.
        better: metric -> "higher" or "lower", for metrics that have a direction. Unless `rank_by`
            says otherwise, the report ranks by the first of the headline that has one.
        ranges: metric -> (least, most) possible value, None for an open end.
        levels: metric -> the metric of a perfect sampler or a floor, which the report draws as a
            dashed line in its chart.
        arm_field: the setting, a tuple of names, that lists the arms.
        read_where: {setting: {another: patterns}} of settings that not every cell reads: only one
            in which each of the others has a value that matches a pattern (`fnmatch`). All cells
            read the other settings. A setting that no cell of a run reads is refused.
        rank_by: a metric, smaller is better, by whose mean the arms are ranked at the end.
        chapter: the heading under which `dgm-jax list` shows the experiment.
        trackers: {name: function that returns a `dgm_jax.trackers.Tracker`} of the experiment's own
            for every run, beside those of `--trackers`.
        load, build, needs, model, prompt, resolve, validate, summarize, plots, snapshots,
            references: as in `Functions`.
    """

    name: str
    config: type[StudyConfig]
    task: str | None = None
    sweepable: tuple[str, ...] = ()
    data_settings: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()
    explanations: dict[str, str] = dataclasses.field(default_factory=dict)
    better: dict[str, Direction] = dataclasses.field(default_factory=dict)
    ranges: dict[str, tuple[float | None, float | None]] = dataclasses.field(default_factory=dict)
    levels: dict[str, str] = dataclasses.field(default_factory=dict)
    arm_field: str | None = None
    read_where: dict[str, dict[str, tuple[str, ...]]] = dataclasses.field(default_factory=dict)
    rank_by: str | None = None
    chapter: str = ""
    trackers: "dict[str, Callable[[], Tracker]]" = dataclasses.field(default_factory=dict)
    load: Callable | None = None
    build: Callable | None = None
    needs: Callable | None = None
    model: Callable | None = None
    prompt: Callable | None = None
    resolve: Callable | None = None
    validate: Callable | None = None
    summarize: Callable | None = None
    plots: Callable | None = None
    snapshots: Callable | None = None
    references: Callable | None = None

    def __post_init__(self):
        known = names_of(self.config)
        taken = [name for name in names_of(LaunchConfig) if name in known]
        _refuse(taken, f"{self.name}: a setting may not be named as one of every launch")
        taken = [name for name in _IN_CONFIG_FILE if name in known]
        _refuse(taken, f"{self.name}: a setting may not be named as an entry of config.json")
        self._require_settings("sweepable", self.sweepable)
        self._require_settings("data_settings", self.data_settings)
        twice = [name for name in self.sweepable if self.sweepable.count(name) > 1]
        _refuse(twice, f"sweepable of {self.name} has a name twice:")
        conditional = list(self.read_where)
        for name, where in self.read_where.items():
            conditional.extend(where)
            empty = [other for other, patterns in where.items() if not patterns]
            _refuse(empty, f"read_where of {self.name}: {name} has no pattern for")
        self._require_settings("read_where", conditional)
        if self.arm_field:
            self._require_settings("arm_field", [self.arm_field])

    def _require_settings(self, role: str, names: Iterable[str]) -> None:
        """Refuses a name that is none of the settings."""
        known = names_of(self.config)
        unknown = [name for name in names if name not in known]
        config = self.config.__name__
        _refuse(unknown, f"{role} of {self.name}: {config} has no setting")

    def display(self) -> dict[str, Any]:
        """Returns what the report needs to know about the metrics, as summary.json has it."""
        names = ("headline", "better", "ranges", "levels", "rank_by", "explanations")
        return {name: getattr(self, name) for name in names}

    @functools.cached_property
    def functions(self) -> Functions:
        """The functions: fields, and for the others those of the module `task`.

        Raises:
            ConfigError: the module cannot be imported, or `load` or `build` is missing.
        """
        module = self._module()
        functions = {}
        for name in _NAMES:
            given = getattr(self, name)
            functions[name] = given or getattr(module, name, None)
        for name in ("load", "build"):
            if functions[name] is None:
                from dgm_jax.core import ConfigError

                where = self.task or "its fields, and no task is named"
                message = f"experiment {self.name} has no function {name} in {where}"
                raise ConfigError(message)
        defined = {name: value for name, value in functions.items() if value is not None}
        return Functions(**defined)

    def _module(self):
        try:
            with signals.importing():
                if not self.task:
                    return None
                return importlib.import_module(self.task)
        except Exception as error:  # it may be the module of another package
            from dgm_jax.core import ConfigError

            *_, (frame, line) = traceback.walk_tb(error.__traceback__)
            place = f"{frame.f_code.co_filename}, line {line}"
            description = f"{type(error).__name__}: {error}"
            cause = " ".join(description.split())
            message = f"experiment {self.name}: {self.task} cannot be imported: {cause} ({place})"
            raise ConfigError(message) from error

    def data_view(self, config: StudyConfig) -> SettingsView:
        """Returns what `load` and `needs` see of a configuration.

        Args:
            config: the settings.

        Returns:
            The settings that `data_settings` names.
        """
        why_not = f"load of {self.name} reads {{name}}: name it in Experiment.data_settings"
        return SettingsView(config, self.data_settings, why_not)

    def build_view(self, config: StudyConfig) -> tuple[SettingsView, dict[str, Any]]:
        """Returns what `build` sees of a configuration.

        Args:
            config: the settings.

        Returns:
            All settings that are not sweepable, and {sweepable: value}.
        """
        rest = [name for name in names_of(config) if name not in self.sweepable]
        why_not = f"{{name}} of {self.name} is sweepable: build takes hyper['{{name}}']"
        hyper = {name: getattr(config, name) for name in self.sweepable}
        return SettingsView(config, rest, why_not), hyper


_NAMES = Functions._fields
# What config.json has beside the settings; store.reading.RESERVED and the grid.
_IN_CONFIG_FILE = ("experiment", "format", "run_id", "parent", "grid")


def _refuse(wrong: list[str], message: str) -> None:
    if wrong:
        from dgm_jax.core import ConfigError

        raise ConfigError(f"{message} {wrong[0]!r}")
