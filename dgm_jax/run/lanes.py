"""The lanes of a group of arms, and its program compiled for them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import parallel, training
from dgm_jax.core import Array, Key, LaneProgram, PyTree, require
from dgm_jax.parallel.devices import Distributed
from dgm_jax.run import memory
from dgm_jax.run.cells import Group
from dgm_jax.run.experiment import Experiment, Inputs
from dgm_jax.run.placement import Placement, placement_of
from dgm_jax.run.settings import LaunchConfig, StudyConfig


def distribute_group(
    experiment: Experiment,
    launch: LaunchConfig,
    group: Group,
    inputs: Inputs,
    keys: Key,
    hyper: dict[str, Array],
) -> Distributed:
    """Builds a group's program over its lanes, or over those that are on the devices at once.

    Args:
        experiment: of the run.
        launch: how it is launched.
        group: the arms.
        inputs: the data.
        keys: [L], one for each lane.
        hyper: {name: float32[L]} of the settings in which lanes differ.

    Returns:
        The program over the first `lanes_at_once` of the lanes, not compiled.

    Raises:
        ConfigError: the program cannot be built or its batches cannot be shared, its data cannot be
            where they are wanted, or the state of its lanes does not fit into memory.
    """
    program = program_of(experiment, group.arms[0].config, inputs)
    devices = devices_of(launch)
    first = first_of((keys, hyper), launch.lanes_at_once or len(keys))
    compiled = parallel.distribute(
        program,
        *first,
        strategy=launch.strategy,
        devices=launch.devices,
        only=devices,
        microbatches=launch.microbatches,
        shard_parameters=launch.shard_parameters,
    )
    placement = placement_in(launch, group, compiled, inputs, (keys, hyper))
    state = compiled.abstract(*first)
    memory.require_fits(state, placement.resident, devices, len(first[0]))
    return compiled


def placement_in(
    launch: LaunchConfig,
    group: Group,
    compiled: Distributed,
    inputs: Inputs,
    start_from: tuple[Key, dict[str, Array]],
) -> Placement:
    """Decides where the data of a group are.

    Args:
        launch: how the run is launched.
        group: the arms.
        compiled: their program.
        inputs: the data.
        start_from: keys [L] and hyper-parameters {name: [L]} of the lanes.

    Returns:
        The placement.

    Raises:
        ConfigError: the data cannot be where they are wanted.
    """
    return placement_of(
        compiled,
        start_from,
        inputs.arrays,
        num_steps=group.arms[0].config.num_steps,
        data_on=launch.data_on,
        devices=devices_of(launch),
    )


def program_of(experiment: Experiment, config: StudyConfig, inputs: Inputs) -> LaneProgram:
    """The run of one lane.

    Args:
        experiment: of the run.
        config: settings of one of the group's arms.
        inputs: the data.

    Returns:
        Its pure functions.
    """
    visible, fixed = experiment.build_view(config)
    build = experiment.functions.build
    return training.lane_program(lambda lane: build(visible, fixed | lane, inputs))


def require_launchable(launch: LaunchConfig) -> None:
    """Checks what can be said of a launch without data.

    Args:
        launch: how a run is launched.

    Raises:
        ConfigError: a setting that no run could have on this machine.
    """
    devices_of(launch)
    require(
        0 <= launch.lanes_at_once < 2**31,
        f"lanes_at_once must be 0 (all) or more, got {launch.lanes_at_once}",
    )
    require(
        1 <= launch.microbatches < 2**31,
        f"microbatches must be at least 1, got {launch.microbatches}",
    )
    require(
        not (launch.shard_parameters and launch.devices == "pmap"),
        "shard_parameters needs devices=jit: under pmap every device has all parameters",
    )


def devices_of(launch: LaunchConfig) -> list:
    """The devices that a run uses.

    Args:
        launch: how it is launched.

    Returns:
        The first `num_devices`, or all for 0.

    Raises:
        ConfigError: there are not so many.
    """
    available = jax.devices()
    require(
        0 <= launch.num_devices <= len(available),
        f"num_devices must be 0 (all) to {len(available)}, got {launch.num_devices}",
    )
    return available[: launch.num_devices] or available


def lanes_of(group: Group, config: StudyConfig) -> tuple[Key, dict[str, Array]]:
    """The lanes of a group: its arms one after the other, with the same seeds in each.

    Args:
        group: the arms.
        config: settings of the study.

    Returns:
        Keys [L] and hyper-parameters {name: float32[L]}.

    Raises:
        ConfigError: there are so many lanes that their keys alone do not fit into memory.
    """
    memory.require_keys_fit(len(group.arms) * config.num_seeds, jax.local_devices()[0])
    keys = _keys(jax.random.key(config.seed), config.num_seeds, len(group.arms))
    values = {name: [getattr(arm.config, name) for arm in group.arms] for name in group.swept}
    return keys, {
        name: jnp.asarray(np.repeat(np.asarray(v, np.float32), config.num_seeds))
        for name, v in values.items()
    }


@functools.partial(jax.jit, static_argnums=(1, 2))  # one program instead of one an operation
def _keys(root: Key, num_seeds: int, num_arms: int) -> Key:
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(jnp.arange(num_seeds))
    return jnp.tile(keys, num_arms)


def first_of(lanes: PyTree, at_once: int) -> PyTree:
    """The lanes that are on the devices first.

    Args:
        lanes: tree of arrays [L, ...].
        at_once: how many.

    Returns:
        Tree of arrays [at_once, ...]; the arrays themselves where these are all.
    """
    return jax.tree.map(lambda x: x if len(x) <= at_once else x[:at_once], lanes)
