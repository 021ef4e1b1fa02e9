"""Settings of a run in two parts: what is computed, and how it is launched. Imports no JAX."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

Display = Literal["auto", "rich", "lines", "json", "quiet"]


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """What is computed: settings that every experiment has. Subclasses add their own, flat, about
    twenty in all. They are a run's identity: one with other values is another run."""

    seed: int = 0
    """Root of all randomness; seed i of the run uses fold_in(seed, i)."""
    num_seeds: int = 5
    """Seeds trained at once."""
    num_steps: int = 10_000
    """Training steps."""
    log_every: int = 500
    """Steps between two rows of metrics.jsonl; evaluation and checkpoint happen there too."""


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
    keep_best: str = ""
    """A metric of metrics.jsonl, METRIC (less is better) or METRIC:max: keep also the model of each
    seed's best evaluation."""
    report_every: int = 0
    """Evaluations between two reports, which take seconds each; 0 for one at the end."""
    progress: Display = "auto"
    """How progress is shown; auto is rich on a terminal, else lines."""
    profile: bool = False
    """Write a trace of some steps (jax.profiler) into the run folder."""


def names_of(config: Any) -> tuple[str, ...]:
    """The names of settings, in their order.

    Args:
        config: a configuration or its class.

    Returns:
        Names.
    """
    return tuple(field.name for field in dataclasses.fields(config))


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
