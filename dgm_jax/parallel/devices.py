"""Programs over many lanes and many devices.

`distribute` compiles a `LaneProgram` in one of two layouts:

"jit"  One program in the global view on a mesh ("seed", "data"): lanes are placed along
       "seed" without communication, each batch is sharded along "data" and keeps its
       whole-batch meaning, so that statistics over the batch stay right.
"pmap" The same step on every device with its part of each batch, gradients averaged. Right
       for losses that are means over examples only; a task that couples its batch is refused.
       JAX keeps pmap in maintenance; prefer "jit".
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec, Sharding

from dgm_jax import _backend
from dgm_jax.core import (
    SOLO,
    Array,
    Key,
    Lane,
    LaneProgram,
    Metrics,
    PyTree,
    Replica,
    Sums,
    checks,
    lookup,
    require,
)
from dgm_jax.parallel import platforms, processes
from dgm_jax.parallel.mesh import (
    DATA,
    SEED,
    lane_sharding,
    make_mesh,
    place,
    replicated,
    require_divisible,
    shard_batch,
)
from dgm_jax.parallel.parts import compiling, first_part
from dgm_jax.parallel.platforms import Devices, Target
from dgm_jax.parallel.seeds import STRATEGIES, choose_strategy, over_seeds


class Distributed(NamedTuple):
    """A `LaneProgram` over all L lanes.

    Attributes:
        init: `(keys [L], hyper {name: [L]}) -> Lane` with a leading axis of lanes.
        compile_advance: `(lanes, data) -> advance`, one program for any number of steps, compiled
            ahead of time and called as
            `advance(lanes, data, num_steps, sums=None, last=True) -> (lanes, sums, metrics)` with
            metrics {name: [L]}; it may reuse the memory of the lanes. A chunk may be made by
            several calls, with the same bits: each gets the sums of the previous one, and the call
            that completes the chunk is the `last`. With `num_steps` as a third argument the result
            makes a whole chunk of that many steps: `(lanes, data) -> (lanes, metrics)`.
            `advance.compiled` is the `jax.stages.Compiled`, which knows its sizes.
        lower_advance: `(lanes, data) -> jax.stages.Lowered`, the same program lowered for arrays or
            shapes, to inspect or to compile: `.as_text()` is its StableHLO.
        compile_evaluate: `(lanes, data) -> function`, where the function maps `(lanes, data)` to
            {name: [L, ...]}.
        lower_evaluate_final: `(lanes, data)` to the lowered program of the evaluation after the
            last step (its `.compile()` is a function as above), or None if the task has none.
        trace: `(lanes, data) -> shapes` of one step; runs nothing, and raises errors of tracing.
        place_data: `data -> data` on the devices.
        abstract_data: `data` to shapes with the shardings of `place_data`; moves nothing.
        abstract: `(keys, hyper) -> Lane` of shapes with the shardings of `init`, to compile for, or
            to restore a checkpoint into.
        strategy: "vmap" or "map".
        layout: "jit" or "pmap".
        platform: name of the platform that the programs are for.
    """

    init: Callable[[Key, dict[str, Array]], Lane]
    compile_advance: Callable[..., Callable[..., Any]]
    lower_advance: Callable[[Lane, PyTree], jax.stages.Lowered]
    compile_evaluate: Callable[[Lane, PyTree], Callable[..., Metrics]]
    lower_evaluate_final: Callable[[Lane, PyTree], jax.stages.Lowered | None]
    trace: Callable[[Lane, PyTree], PyTree]
    place_data: Callable[[PyTree], PyTree]
    abstract_data: Callable[[PyTree], PyTree]
    abstract: Callable[[Key, dict[str, Array]], Lane]
    strategy: str
    layout: str
    platform: str


def distribute(
    program: LaneProgram,
    keys: Key,
    hyper: dict[str, Array],
    *,
    strategy: str = "auto",
    devices: str = "auto",
    only: Devices | None = None,
    platform: str | None = None,
) -> Distributed:
    """Compile a lane program for many lanes.

    Args:
        program: what one lane does.
        keys: typed keys [L], one for each lane.
        hyper: numeric hyper-parameters, {name: [L, ...]}.
        strategy: "vmap", "map" or "auto" (see `parallel.choose_strategy`).
        devices: the layout: "auto" (which is "jit"), "jit" or "pmap".
        only: the devices to use; None for all of them.
        platform: None for that of the devices. "cpu", "cuda", "rocm" or "tpu" for programs of
            another platform, with every choice made as on that platform: `lower_advance` lowers
            them for inspection, and the devices stand in for as many of that platform.

    Returns:
        The program over all lanes.

    Raises:
        ConfigError: an unknown name, keys and hyper of different lengths, pmap for a platform that
            is not available, or compiling for such a platform. While tracing: a batch that the
            devices cannot share, or pmap with an objective that couples its batch.
    """
    require(
        devices in ("auto", *LAYOUTS),
        f"unknown devices {devices!r}; known: auto, {', '.join(LAYOUTS)}",
    )
    layout = "jit" if devices == "auto" else devices
    checks.lane_keys(keys)
    wrong = {jnp.shape(x) for x in jax.tree.leaves(hyper) if jnp.shape(x)[:1] != keys.shape}
    require(
        not wrong,
        f"hyper must hold arrays [L, ...] with L = {len(keys)}, as many as keys; got {wrong}",
    )
    present = jax.devices() if only is None else list(only)
    target = platforms.target(platform, present)
    processes.require_all_present(present)
    _backend.check_once(platforms.platform_of(present))
    shapes = jax.eval_shape(jax.vmap(program.init), keys, hyper)
    lane = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), shapes)
    strategy = choose_strategy(strategy, lane.train_state.params, platform=target.platform)
    lookup(STRATEGIES, strategy, "seed strategy")
    return LAYOUTS[layout](program, keys.shape[0], strategy, present, target)


def _sharded_jit(
    program: LaneProgram, num_lanes: int, strategy: str, devices: Devices, target: Target
) -> Distributed:
    mesh = make_mesh(num_lanes, devices)
    by_lane = lane_sharding(mesh)
    everywhere = replicated(mesh)
    replica = SOLO._replace(place=functools.partial(shard_batch, mesh)) if mesh.size > 1 else SOLO
    over = functools.partial(_over_mesh, mesh=mesh, strategy=strategy)
    init_lane_by_lane = _over_mesh(lambda start, _: program.init(*start), mesh=mesh, strategy="map")
    init = jax.jit(lambda keys, hyper: init_lane_by_lane((keys, hyper), ()), out_shardings=by_lane)

    @functools.partial(jax.jit, donate_argnums=0, out_shardings=by_lane)
    def advance(lanes: Lane, sums: Sums, *rest: Any) -> tuple[Lane, Sums, Metrics]:
        return over(_part(program, replica))((lanes, sums), rest)

    first = functools.partial(first_part, over(program.no_sums), by_lane)
    evaluate = jax.jit(over(program.evaluate), out_shardings=by_lane)
    evaluate_final = jax.jit(over(program.evaluate_final), out_shardings=by_lane)
    return Distributed(
        init=init,
        compile_advance=compiling(first, functools.partial(platforms.compiled, target, advance)),
        lower_advance=lambda *of: platforms.lower(target, advance, *first(*of)),
        compile_evaluate=functools.partial(platforms.compiled, target, evaluate),
        lower_evaluate_final=functools.partial(_lowered_if_any, target, evaluate_final),
        trace=lambda *of: jax.eval_shape(advance, *first(*of)),
        place_data=lambda data: place(data, everywhere),
        abstract_data=functools.partial(_abstract, lambda data: data, everywhere),
        abstract=functools.partial(_abstract, init, by_lane),
        strategy=strategy,
        layout="jit",
        platform=target.platform,
    )


def _over_mesh(function: Callable[..., Any], *, mesh: Mesh, strategy: str) -> Callable[..., Any]:
    """Let each device along "seed" run its own lanes by a strategy, without communication.

    Where only lanes are spread, every axis is manual. By "map" a lane then computes the same bits
    on any number of devices; by "vmap" it may not: XLA may choose other kernels for other numbers
    of lanes. Where batches are shared too, "data" stays automatic, and batches keep their meaning.
    """
    spread = over_seeds(function, strategy)
    if mesh.shape[SEED] == 1:
        return spread
    by_lane = PartitionSpec(SEED)
    manual = {SEED, DATA} if mesh.shape[DATA] == 1 else {SEED}
    return jax.shard_map(
        spread,
        mesh=mesh,
        in_specs=(by_lane, PartitionSpec()),
        out_specs=by_lane,
        axis_names=manual,
        check_vma=False,
    )


def _pmapped(
    program: LaneProgram, num_lanes: int, strategy: str, devices: Devices, target: Target
) -> Distributed:
    del num_lanes  # every device works on all lanes
    require(not processes.several(), "several processes share a run by devices='jit' only")
    require(
        target.elsewhere is None,
        f"JAX lowers pmap for the devices at hand only, not for {target.elsewhere}: use 'jit'",
    )
    num_devices = len(devices)
    mesh = make_mesh(1, devices)

    def place_batch(batch: PyTree) -> PyTree:
        def part(x: Array) -> Array:
            if x.ndim == 0:
                return x
            require_divisible(x.shape[0], num_devices)
            size = x.shape[0] // num_devices
            return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(DATA) * size, size)

        return jax.tree.map(part, batch)

    replica = Replica(
        place=place_batch,
        average=functools.partial(jax.tree.map, _mean_over_devices),
        fold_key=_device_key if num_devices > 1 else SOLO.fold_key,
        splits_batch=True,
    )

    @functools.partial(
        jax.pmap,
        axis_name=DATA,
        in_axes=(0, None, None, None, None, None),
        out_axes=None,
        devices=devices,
    )
    def advance(index: Array, lanes: Lane, sums: Sums, *rest: Any) -> tuple[Lane, Sums, Metrics]:
        del index  # pmap needs one argument with an axis of devices
        return over_seeds(_part(program, replica), strategy)((lanes, sums), rest)

    index = jnp.arange(num_devices)
    evaluate = jax.jit(over_seeds(program.evaluate, strategy))
    evaluate_final = jax.jit(over_seeds(program.evaluate_final, strategy))
    everywhere = replicated(mesh)
    first = functools.partial(first_part, over_seeds(program.no_sums, strategy), everywhere)
    build = functools.partial(platforms.compiled, target, advance)
    init = jax.jit(jax.vmap(program.init), out_shardings=everywhere)
    return Distributed(
        init=init,
        compile_advance=compiling(first, build, index),
        lower_advance=lambda *of: platforms.lower(target, advance, index, *first(*of)),
        compile_evaluate=functools.partial(platforms.compiled, target, evaluate),
        lower_evaluate_final=functools.partial(_lowered_if_any, target, evaluate_final),
        trace=lambda *of: jax.eval_shape(advance, index, *first(*of)),
        place_data=lambda data: place(data, everywhere),
        abstract_data=functools.partial(_abstract, lambda data: data, everywhere),
        abstract=functools.partial(_abstract, init, everywhere),
        strategy=strategy,
        layout="pmap",
        platform=target.platform,
    )


def _part(program: LaneProgram, replica: Replica) -> Callable[[PyTree, PyTree], PyTree]:
    """Return `program.advance_part` of (what differs between lanes, what they share)."""

    def part(of_lane: PyTree, shared: PyTree) -> tuple[Lane, Sums, Metrics]:
        lane, sums = of_lane
        data, num_steps, last = shared
        return program.advance_part(lane, sums, data, num_steps, last, replica)

    return part


def _lowered_if_any(target: Target, function: Any, *of: Any) -> jax.stages.Lowered | None:
    """Return the lowered function, or None where it returns nothing."""
    lowered = platforms.lower(target, function, *of)
    return lowered if jax.tree.leaves(lowered.out_info) else None


def _device_key(key: Key) -> Key:
    """Return another key on each device."""
    return jax.random.fold_in(key, jax.lax.axis_index(DATA))


def _mean_over_devices(x: Array) -> Array:
    return jax.lax.pmean(x, DATA) if jnp.issubdtype(x.dtype, jnp.inexact) else x


def _abstract(function: Callable[..., Any], sharding: Sharding, *arguments: Any) -> PyTree:
    """Return the shapes of what a function returns, all with one sharding."""

    def placed(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding, weak_type=x.weak_type)

    return jax.tree.map(placed, jax.eval_shape(function, *arguments))


LAYOUTS = {"jit": _sharded_jit, "pmap": _pmapped}
