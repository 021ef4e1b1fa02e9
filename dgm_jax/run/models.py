"""The models that a run leaves in `models/`.

For each arm these are the last one and, if asked for, the best by a metric, both for all seeds.
"""

import functools
import operator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import (
    ConfigError,
    Lane,
    PyTree,
    RunDirectoryError,
    did_you_mean,
    json_values,
    on_host,
    require,
)
from dgm_jax.parallel import processes
from dgm_jax.run.cells import Arm, Group
from dgm_jax.run.settings import as_recorded
from dgm_jax.store import records, weights
from dgm_jax.store.directory import RunDirectory
from dgm_jax.store.reading import read_environment

if TYPE_CHECKING:
    from dgm_jax.run.context import Run

LAST = "last"
BEST = "best"
WHICH = (LAST, BEST)


def file_name(arm: str, which: str = LAST) -> str:
    """The name, without ending, of an arm's files, which no other arm of the run has.

    Args:
        arm: its name.
        which: "last" or "best".

    Returns:
        The name.
    """
    name = records.safe_name(arm)
    if name.endswith((".best", ".before")):  # which are the endings of other files
        name = records.safe_name(f"{name} ")
    return name if which == LAST else f"{name}.{which}"


def identity_of(experiment: str, arm: Arm) -> dict[str, Any]:
    """The identity of a model, as its manifest states it.

    Args:
        experiment: its name.
        arm: name and settings.

    Returns:
        A dictionary of JSON values.
    """
    settings = json_values.plain(as_recorded(arm.config), "settings")
    return {"experiment": experiment, "arm": arm.name, "settings": settings}


def tree_of(lanes: Lane, index: int, num_seeds: int) -> PyTree:
    """The model of an arm.

    Args:
        lanes: of its group.
        index: of the arm in the group.
        num_seeds: S.

    Returns:
        {"params", "state"}, [S, ...], on the host.
    """
    state = lanes.train_state
    first = index * num_seeds
    of_arm = operator.itemgetter(slice(first, first + num_seeds))
    model = {"params": state.params, "state": state.state}
    if processes.several():  # no process can slice what it does not hold
        return jax.tree.map(of_arm, processes.fetched(model))
    return on_host(jax.tree.map(of_arm, model))


def save(run: "Run", arm: Arm, which: str, tree: PyTree, **more: Any) -> None:
    """Writes a model of an arm.

    Args:
        run: the run.
        arm: the arm.
        which: "last" or "best".
        tree: as `tree_of` returns it.
        more: entries of the manifest.
    """
    if not run.directory.writes:
        return
    about = {
        **identity_of(run.experiment.name, arm),
        "seeds": run.config.num_seeds,
        "dataset": json_values.plain(run.inputs.identity, "dataset"),
        **more,
    }
    weights.write_weights(run.directory.models, file_name(arm.name, which), tree, about)


class Criterion(NamedTuple):
    """What makes a model the best.

    Attributes:
        metric: its name.
        less: whether less of it is better.
    """

    metric: str
    less: bool


def criterion(text: str) -> Criterion | None:
    """Parses the flag --keep_best.

    Args:
        text: NAME, NAME:min, NAME:max or "".

    Returns:
        The criterion; None for "".

    Raises:
        ConfigError: the text ends in another word.
    """
    if not text:
        return None
    metric, _, goal = text.partition(":")
    message = "keep_best must be METRIC (less is better), METRIC:min or METRIC:max"
    is_criterion = bool(metric) and goal in ("", "min", "max")
    require(is_criterion, f"{message}, got {text!r}")
    return Criterion(metric, goal != "max")


def require_as_started(directory: RunDirectory, keep_best: str) -> None:
    """Requires that a run continues with the `keep_best` with which it was started.

    Otherwise the model that is kept would not be the best of all steps.

    Args:
        directory: of the run.
        keep_best: as given now.

    Raises:
        RunDirectoryError: it differs; in every process.
    """

    def check() -> None:
        launch = read_environment(directory.path).get("launch")
        before = launch.get("keep_best", "") if isinstance(launch, dict) else keep_best
        message = f"{directory.path} was started with keep_best={before!r}, not {keep_best!r}"
        remedy = "go on with that, or choose another folder with --out"
        require(before == keep_best, f"{message}: {remedy}", RunDirectoryError)

    if directory.resumed:
        processes.from_first(check)


class _Kept:
    """The best evaluation of one arm, for each seed.

    Attributes:
        tree: the model there.
        value: float64[S], the metric.
        step: int[S], or -1 if there is none yet.
    """

    def __init__(self, num_seeds: int):
        self.tree: PyTree = None
        self.value = np.full(num_seeds, np.nan)
        self.step = np.full(num_seeds, -1)

    def better(self, value: np.ndarray, less: bool) -> np.ndarray:
        """Says which seeds have improved; NaN and equal values are never better."""
        first = np.isnan(self.value) & ~np.isnan(value)
        improved = value < self.value if less else value > self.value
        return first | improved

    def take(self, better: np.ndarray, value: np.ndarray, step: int, tree: PyTree) -> None:
        """Replaces what has improved; before the first evaluation everything."""

        def choose(old, new):
            ones = [1] * (new.ndim - 1)
            return jnp.where(better.reshape(-1, *ones), new, old)

        self.tree = tree if self.tree is None else jax.tree.map(choose, self.tree, tree)
        self.value = np.where(better, value, self.value)
        self.step = np.where(better, step, self.step)


class Best:
    """The best evaluations of a group's arms so far; does nothing without a criterion.

    The files are at most one step ahead of the checkpoint, since a chunk writes its row, then its
    best model, then its checkpoint. A step that is made again has an equal value, which is not
    better, so a run that was killed ends with the same files.
    """

    def __init__(self, run: "Run", group: Group, lanes: Lane, start: int):
        """Reads what is stored already if the run continues.

        Args:
            run: the run.
            group: the arms.
            lanes: of the group.
            start: the step from which it continues; 0 for a fresh run.
        """
        self._run = run
        self._group = group
        self._seeds = run.config.num_seeds
        self._criterion = criterion(run.launch.keep_best)
        self._kept = [_Kept(self._seeds) for _ in group.arms]
        self._now: dict[str, np.ndarray] = {}
        if self._criterion is not None and start > 0:
            state = lanes.train_state  # its shapes are enough, so nothing has to be fetched
            shape = lambda x: jax.ShapeDtypeStruct((self._seeds, *x.shape[1:]), x.dtype)
            model = {"params": state.params, "state": state.state}
            like = jax.tree.map(shape, model)
            processes.from_first(functools.partial(self._read, like, self._criterion))

    def _read(self, like: PyTree, wanted: Criterion) -> None:
        models = self._run.directory.models
        for kept, arm in zip(self._kept, self._group.arms, strict=True):
            try:
                manifest = weights.read_manifest(models, file_name(arm.name, BEST))
                kept.value, kept.step = _columns(manifest.about, wanted, self._seeds)
                kept.tree = weights.read_weights(manifest, like)
            except RunDirectoryError as error:
                lost = f"the best model of {arm.name} is lost: {error}"
                again = f"remove {self._run.directory.checkpoints} to train again from step 0"
                raise RunDirectoryError(f"{lost}; {again}") from error

    def observe(self, arm: str, metrics: dict[str, np.ndarray]) -> None:
        """Notes an arm's metrics before their row is written.

        Args:
            arm: its name.
            metrics: {metric: [S]}.

        Raises:
            ConfigError: the criterion's metric is not among them.
        """
        if self._criterion is None:
            return
        name = self._criterion.metric
        known = sorted(metrics)
        near = did_you_mean(name, known)
        message = f"keep_best: {arm} has no metric {name!r}{near} at every evaluation"
        require(name in metrics, f"{message}; there are {', '.join(known)}", ConfigError)
        self._now[arm] = np.asarray(metrics[name], np.float64)

    def save(self, step: int, lanes: Lane) -> None:
        """Writes the models of the arms in which a seed has improved.

        Args:
            step: number of steps made.
            lanes: of the group.
        """
        if self._criterion is None:
            return
        pairs = zip(self._group.arms, self._kept, strict=True)
        for index, (arm, kept) in enumerate(pairs):
            value = self._now[arm.name]
            better = kept.better(value, self._criterion.less)
            is_due = bool(better.any()) or kept.tree is None
            if processes.agreed(is_due):
                tree = tree_of(lanes, index, self._seeds)
                kept.take(better, value, step, tree)
                about = {**self._criterion._asdict(), "value": kept.value}
                steps = [None if step < 0 else step for step in kept.step.tolist()]
                save(self._run, arm, BEST, kept.tree, step=steps, best=about)


def _columns(about: dict, wanted: Criterion, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """(value, step) of each seed from a manifest; RunDirectoryError for another criterion."""
    best = about.get("best")
    best = best if isinstance(best, dict) else {}
    stored = best.get("metric"), best.get("less")
    message = f"it was kept by {stored}, not by {tuple(wanted)}"
    require(stored == wanted, message, RunDirectoryError)
    value = _column(best.get("value"), seeds, np.nan)
    step = _column(about.get("step"), seeds, -1)
    return np.array(value, np.float64), np.array(step)


def _column(column, seeds: int, absent: float) -> list:
    """Numbers, one for each seed, with `absent` in place of None."""
    if isinstance(column, list) and len(column) == seeds:
        numbers = [absent if x is None else x for x in column]
        if all(isinstance(x, (int, float)) for x in numbers):
            return numbers
    raise RunDirectoryError(f"a value and a step for each of {seeds} seeds were expected")
