"""The lanes of a group of arms, and its program compiled for them."""

import jax
import jax.numpy as jnp

from dgm_jax import parallel, training
from dgm_jax.core import require
from dgm_jax.run import memory
from dgm_jax.run.cells import Group
from dgm_jax.run.experiment import Experiment, Inputs
from dgm_jax.run.settings import LaunchConfig, StudyConfig


def distribute_group(
    experiment: Experiment, launch: LaunchConfig, group: Group, inputs: Inputs, keys, hyper
):
    """The group's program over all its lanes: `parallel.Distributed`.

    hyper: {name: float32[L]} of the settings in which lanes differ.

    Raises:
        ConfigError: what cannot be built or shared, and lanes whose state alone does not fit.
    """
    config, fixed = experiment.build_view(group.arms[0].config)
    build = experiment.functions.build
    program = training.lane_program(lambda lane: build(config, fixed | lane, inputs))
    options = {"strategy": launch.strategy, "devices": launch.devices}
    devices = devices_of(launch)
    compiled = parallel.distribute(program, keys, hyper, only=devices, **options)
    memory.require_fits(compiled.abstract(keys, hyper), inputs.arrays, devices)
    return compiled


def devices_of(launch: LaunchConfig) -> list:
    """The first `num_devices`, or all for 0."""
    there = jax.devices()
    require(
        0 <= launch.num_devices <= len(there),
        f"num_devices must be 0 (all) to {len(there)}, got {launch.num_devices}",
    )
    return there[: launch.num_devices] or there


def lanes_of(group: Group, config: StudyConfig):
    """Keys [L] and hyper-parameters [L] of a group: its arms one after the other, the same seeds in
    each.

    Raises:
        ConfigError: so many that their keys alone do not fit.
    """
    memory.require_keys_fit(len(group.arms) * config.num_seeds, jax.devices()[0])
    root = jax.random.key(config.seed)
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(jnp.arange(config.num_seeds))
    keys = jnp.tile(keys, len(group.arms))
    values = {name: [getattr(arm.config, name) for arm in group.arms] for name in group.swept}
    return keys, {
        name: jnp.repeat(jnp.float32(jnp.array(v)), config.num_seeds) for name, v in values.items()
    }
