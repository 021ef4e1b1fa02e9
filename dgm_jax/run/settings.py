"""Settings of a run in two parts: what is computed, and how it is launched. Imports no JAX."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

Display = Literal["auto", "rich", "lines", "json", "quiet"]
Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """What is computed: settings that every experiment has. Subclasses add their own, flat, about
    twenty in all. They are a run's identity: one with other values is another run."""

    seed: int = 0
    """Root of all randomness, 0 to 2**32 - 1. Seed i of the run uses fold_in(seed, i)."""
    num_seeds: int = 5
    """Independent repetitions, trained at once; the report's intervals are over them."""
    num_steps: int = 10_000
    """Training steps of each seed."""
    log_every: int = 500
    """Steps between two evaluations; each writes a row of metrics.jsonl and a checkpoint."""


Optimizer = Literal["sgd", "momentum", "rmsprop", "adam", "adamw", "nadam", "adabelief", "lion"]
Schedule = Literal["constant", "linear", "cosine"]


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(StudyConfig):
    """Settings of an experiment whose optimizers may be chosen (`run.optimizer_of`).

    The defaults are the experiment's own optimizers, without weight decay and clipping.
    """

    optimizer: Literal["auto", Optimizer] = "auto"
    """Optimizer of every player; auto is the one that the experiment was made with, with its own
    b1 and b2. Learning rates stay as they are: another optimizer may need another."""
    b1: float | None = None
    """Decay of the mean of gradients, in [0, 1): Adam's b1, or momentum. None for the experiment's
    (auto) or the optimizer's usual one (0.9)."""
    b2: float | None = None
    """Decay of the mean of squared gradients, in [0, 1): Adam's b2. None for the experiment's
    (auto) or the optimizer's usual one (0.999; rmsprop 0.9, lion 0.99)."""
    weight_decay: float = 0.0
    """Decoupled weight decay, as AdamW's: an update also subtracts learning rate x weight_decay x
    parameter, from all parameters; adam with it is adamw. 0 for none."""
    clip_norm: float = 0.0
    """Largest Euclidean norm of a player's gradient, which is scaled down to it; 0 for no limit."""
    schedule: Literal["auto", Schedule] = "auto"
    """Learning rate after the warm-up: constant, or falling to zero at the last step, linear or
    along a cosine; auto is the experiment's own."""
    warmup_steps: int = 0
    """First steps, in which the learning rate rises linearly from zero; 0 for none."""


# What a grid may sweep in one program, and which optimizers read b1 and b2.
OPTIMIZER_SWEEPABLE = ("b1", "b2", "weight_decay", "clip_norm")
OPTIMIZER_READ_WHERE = {
    "b1": {"optimizer": ("auto", "momentum", "adam", "adamw", "nadam", "adabelief", "lion")},
    "b2": {"optimizer": ("auto", "rmsprop", "adam", "adamw", "nadam", "adabelief", "lion")},
}


@dataclasses.dataclass(frozen=True)
class LaunchConfig:
    """How a run is launched."""

    out: str = ""
    """Run folder; by default runs/NAME/DATE-TIME."""
    resume: bool = False
    """Continue the run in --out (without --out: the newest run of this experiment)."""
    devices: Literal["auto", "jit", "pmap"] = "auto"
    """auto, jit (lanes and batches sharded over all devices) or pmap (per-device batches)."""
    num_devices: int = 0
    """Number of devices, the first ones; 0 for all."""
    coordinator: str = ""
    """HOST:PORT of process 0 for a run in several processes, or auto for what JAX finds; left out
    under SLURM, Open MPI and on TPU pods."""
    num_processes: int = 0
    """Number of processes; 0 for what a launcher says, 1 to ignore it."""
    process_id: int = -1
    """Number of this process, from 0; -1 for what a launcher says."""
    strategy: Literal["auto", "vmap", "map"] = "auto"
    """How seeds share a device: vmap, map (one after the other) or auto."""
    lanes_at_once: int = 0
    """Seeds times arms on the devices at once; the others wait on the host for their turn. 0 for
    all."""
    microbatches: int = 1
    """Pieces of each batch whose gradients are taken one after the other and averaged: less memory,
    the same batch. Refused where the loss couples the examples of a batch."""
    shard_parameters: bool = False
    """Each device holds a part of every seed's parameters and of its optimizers' state, and all
    share each batch: for models that one device cannot hold."""
    convolutions: Literal["auto", "onednn", "plain", "lax"] = "auto"
    """On CPU: onednn, plain or lax (`dgm_jax.native`); auto takes onednn if it can be built."""
    data_on: Literal["auto", "device", "host"] = "auto"
    """Where training data are: device (whole, on each), host (sent ahead of the steps that read
    them) or auto (host if all data take more than a quarter of a device's memory)."""
    keep_best: str = ""
    """A metric of metrics.jsonl, METRIC (less is better) or METRIC:max: keep also the model of each
    seed's best evaluation."""
    report_every: int = 0
    """Evaluations between two reports, which take seconds each; 0 for one at the end."""
    progress: Display = "auto"
    """How progress is shown; auto is rich on a terminal, else lines."""
    profile: bool = False
    """Write a trace of some steps (jax.profiler) into the run folder."""
    trackers: tuple[Tracker, ...] = ()
    """Show values and plots in these tools too; each is an extra of the package."""


@dataclasses.dataclass(frozen=True)
class PlanConfig:
    """What a run is planned for."""

    devices: tuple[int, ...] = (1, 8, 64, 512)
    """Numbers of devices."""
    kind: str = "h100"
    """a100, h100, h200, b200, v4, v5e, v5p or v6e; here is this machine, measured."""
    products: Literal["default", "float32", "bfloat16"] = "default"
    """Precision of products: default is TF32 on GPUs and one pass of bfloat16 on TPUs, as JAX takes
    them, or bfloat16 where the experiment is given --precision bfloat16."""
    microbatches: int = 1
    """Pieces of each batch, as of a run. No other flag of a run's launch is planned: all lanes are
    on the devices at once, and every device has whole parameters."""
    compile: bool = False
    """Compile the steps for this machine, and set the formulas beside what XLA says."""


def names_of(config: Any) -> tuple[str, ...]:
    """The names of settings, in their order.

    Args:
        config: a configuration or its class.

    Returns:
        Names.
    """
    return tuple(field.name for field in dataclasses.fields(config))


def as_recorded(config: StudyConfig) -> dict[str, Any]:
    """The settings as files of a run have them.

    Settings of the optimizer were added when there were run folders already. They are recorded
    where they differ from their defaults, which are what all runs had before, so that folders of
    both kinds say the same of the same run.

    Args:
        config: a configuration.

    Returns:
        {setting: value}.
    """
    lacking = may_lack(type(config))
    return {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if name not in lacking or value != lacking[name]
    }


# Settings that experiments have got after runs were recorded without them.
_ADDED_LATER = {"remat": False, "precision": "float32"}


def may_lack(kind: type) -> dict[str, Any]:
    """The settings that files of a run lack if they have their defaults.

    Args:
        kind: the class of the settings.

    Returns:
        {setting: default}.
    """
    usual = dict(_ADDED_LATER)
    if issubclass(kind, OptimizerConfig):
        of_all = names_of(StudyConfig)
        added = (f for f in dataclasses.fields(OptimizerConfig) if f.name not in of_all)
        usual |= {field.name: field.default for field in added}
    own = {field.name: field.default for field in dataclasses.fields(kind)}
    return {name: value for name, value in usual.items() if name in own and own[name] == value}


class SettingsView:
    """Some settings of a configuration as attributes, and no others.

    Reading one of the others raises an AttributeError.

    Args:
        config: the configuration.
        names: the visible settings.
        why_not: the text of the error, with {name} in place of the setting's name.
    """

    def __init__(self, config: Any, names: Iterable[str], why_not: str):
        visible = {name: getattr(config, name) for name in names}
        vars(self).update(
            visible, _hidden=frozenset(names_of(config)) - set(visible), _why_not=why_not
        )

    def __getattr__(self, name: str):
        if name in vars(self).get("_hidden", ()):
            raise AttributeError(vars(self)["_why_not"].format(name=name))
        raise AttributeError(f"there is no setting {name!r}")

    def __setattr__(self, name: str, value):
        raise AttributeError(f"settings are constant: {name} cannot be set")
