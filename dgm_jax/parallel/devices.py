"""Programs over many lanes and many devices.

`distribute` compiles a `LaneProgram` in one of two layouts:

"jit"  One program in the global view on a mesh ("seed", "data"): lanes are placed along
       "seed" without communication, each batch is sharded along "data" and keeps its
       whole-batch meaning, so that statistics over the batch stay right. Lanes that the devices
       along "seed" do not divide are padded (`parallel.places`).
"pmap" The same step on every device with its part of each batch, gradients averaged. Right
       for losses that are means over examples only; a task that couples its batch is refused.
       JAX keeps pmap in maintenance; prefer "jit".
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Sharding

from dgm_jax import _backend
from dgm_jax.core import (
    Array,
    Key,
    Lane,
    LaneProgram,
    Metrics,
    PyTree,
    Stream,
    Sums,
    checks,
    lookup,
    require,
)
from dgm_jax.parallel import places, platforms, processes, replicas
from dgm_jax.parallel.feeding import examples_sharding, no_sums_over, part_over
from dgm_jax.parallel.mesh import (
    DATA,
    lane_sharding,
    make_mesh,
    place,
    replicated,
)
from dgm_jax.parallel.parts import compiling, first_part
from dgm_jax.parallel.platforms import Devices, Target
from dgm_jax.parallel.seeds import STRATEGIES, choose_strategy, over_seeds


class Distributed(NamedTuple):
    """A `LaneProgram` over all L lanes.

    What the programs take and return has a leading axis of P >= L places for lanes; behind the L
    lanes there is padding, which `places.trim` drops.

    Attributes:
        init: `(keys [L], hyper {name: [L]}) -> Lane` with a leading axis of places.
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
        trace_evaluate: `(lanes, data) -> shapes` of both evaluations.
        place_data: `data -> data` on the devices.
        abstract_data: `data` to shapes with the shardings of `place_data`; moves nothing.
        abstract: `(keys, hyper) -> Lane` of shapes with the shardings of `init`, to compile for, or
            to restore a checkpoint into.
        stream: `hyper -> Stream` of a lane (`LaneProgram.stream`).
        examples_sharding: of `Fed.examples`, which `data` of the steps may be in place of arrays.
        strategy: "vmap" or "map".
        layout: "jit" or "pmap".
        platform: name of the platform that the programs are for.
        num_lanes: L.
        num_places: P.
        microbatches: N of `distribute`.
        place_lanes: `lanes -> lanes` from [n, ...] anywhere, n <= P, to [P, ...] on the devices.
    """

    init: Callable[[Key, dict[str, Array]], Lane]
    compile_advance: Callable[..., Callable[..., Any]]
    lower_advance: Callable[[Lane, PyTree], jax.stages.Lowered]
    compile_evaluate: Callable[[Lane, PyTree], Callable[..., Metrics]]
    lower_evaluate_final: Callable[[Lane, PyTree], jax.stages.Lowered | None]
    trace: Callable[[Lane, PyTree], PyTree]
    trace_evaluate: Callable[[Lane, PyTree], PyTree]
    place_data: Callable[[PyTree], PyTree]
    abstract_data: Callable[[PyTree], PyTree]
    abstract: Callable[[Key, dict[str, Array]], Lane]
    stream: Callable[[dict[str, Array]], Stream] | None
    examples_sharding: Sharding
    strategy: str
    layout: str
    platform: str
    num_lanes: int
    num_places: int
    microbatches: int
    place_lanes: Callable[[Lane], Lane]


class Options(NamedTuple):
    """`microbatches` and `shard_parameters` of `distribute`."""

    microbatches: int
    shard_parameters: bool


def distribute(
    program: LaneProgram,
    keys: Key,
    hyper: dict[str, Array],
    *,
    strategy: str = "auto",
    devices: str = "auto",
    only: Devices | None = None,
    platform: str | None = None,
    microbatches: int = 1,
    shard_parameters: bool = False,
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
        microbatches: N, the number of pieces of a batch whose gradients are taken one after the
            other and averaged: less memory, the same meaning (`core.Replica`).
        shard_parameters: whether all devices lie along "data" and share the parameters and the
            optimizers' state of every lane, each holding a part (`places.sharded_lanes`), for
            models that do not fit on one of them.

    Returns:
        The program over all lanes.

    Raises:
        ConfigError: an unknown name, keys and hyper of different lengths, pmap for a platform that
            is not available or with parameters that are shared, or compiling for such a platform.
            While tracing: a batch that the devices cannot share or that microbatches do not divide,
            or pmap or microbatches with an objective that couples its batch.
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
    options = Options(checks.whole(microbatches, "microbatches"), shard_parameters)
    return LAYOUTS[layout](program, shapes, strategy, present, target, options)


def _sharded_jit(
    program: LaneProgram,
    shapes: Lane,
    strategy: str,
    devices: Devices,
    target: Target,
    options: Options,
) -> Distributed:
    mesh = make_mesh(len(shapes.failed_at), devices, share_lanes=options.shard_parameters)
    num_places = places.num_places(len(shapes.failed_at), mesh)
    by_lane = lane_sharding(mesh)
    of_lanes = places.sharded_lanes(mesh, shapes) if options.shard_parameters else by_lane
    everywhere = replicated(mesh)
    replica = replicas.whole(mesh, options.microbatches)
    over = functools.partial(places.over_mesh, mesh=mesh, strategy=strategy)
    init_lanes = places.over_mesh(lambda start, _: program.init(*start), mesh=mesh, strategy="map")
    init = jax.jit(
        lambda *start: init_lanes(places.pad(start, num_places), ()), out_shardings=of_lanes
    )

    @functools.partial(jax.jit, donate_argnums=0, out_shardings=(of_lanes, by_lane, by_lane))
    def advance(lanes: Lane, sums: Sums, *rest: Any) -> tuple[Lane, Sums, Metrics]:
        return part_over(over, program, replica)(lanes, sums, *rest)

    first = functools.partial(first_part, no_sums_over(over, program), by_lane)
    evaluate = jax.jit(over(program.evaluate), out_shardings=by_lane)
    evaluate_final = jax.jit(over(program.evaluate_final), out_shardings=by_lane)
    return Distributed(
        init=init,
        compile_advance=compiling(first, functools.partial(platforms.compiled, target, advance)),
        lower_advance=lambda *of: platforms.lower(target, advance, *first(*of)),
        compile_evaluate=functools.partial(platforms.compiled, target, evaluate),
        lower_evaluate_final=functools.partial(platforms.lower_if_any, target, evaluate_final),
        trace=lambda *of: jax.eval_shape(advance, *first(*of)),
        trace_evaluate=functools.partial(platforms.shapes, (evaluate, evaluate_final)),
        place_data=lambda data: place(data, everywhere),
        abstract_data=functools.partial(places.shaped, lambda data: data, everywhere),
        abstract=functools.partial(places.shaped, init, of_lanes),
        stream=program.stream,
        examples_sharding=examples_sharding(mesh),
        strategy=strategy,
        layout="jit",
        platform=target.platform,
        num_lanes=len(shapes.failed_at),
        num_places=num_places,
        microbatches=options.microbatches,
        place_lanes=functools.partial(places.place_lanes, of_lanes, num_places),
    )


def _pmapped(
    program: LaneProgram,
    shapes: Lane,
    strategy: str,
    devices: Devices,
    target: Target,
    options: Options,
) -> Distributed:
    num_lanes = len(shapes.failed_at)  # every device works on all of them
    require(not processes.several(), "several processes share a run by devices='jit' only")
    require(
        not options.shard_parameters,
        "with devices='pmap' every device holds all parameters: use 'jit' to shard them",
    )
    require(
        target.elsewhere is None,
        f"JAX lowers pmap for the devices at hand only, not for {target.elsewhere}: use 'jit'",
    )
    num_devices = len(devices)
    mesh = make_mesh(1, devices)

    replica = replicas.per_device(num_devices, options.microbatches)

    over = functools.partial(over_seeds, strategy=strategy)

    @functools.partial(
        jax.pmap,
        axis_name=DATA,
        in_axes=(0, None, None, None, None, None),
        out_axes=None,
        devices=devices,
    )
    def advance(index: Array, lanes: Lane, sums: Sums, *rest: Any) -> tuple[Lane, Sums, Metrics]:
        del index  # pmap needs one argument with an axis of devices
        return part_over(over, program, replica)(lanes, sums, *rest)

    index = jnp.arange(num_devices)
    evaluate = jax.jit(over(program.evaluate))
    evaluate_final = jax.jit(over(program.evaluate_final))
    everywhere = replicated(mesh)
    first = functools.partial(first_part, no_sums_over(over, program), everywhere)
    build = functools.partial(platforms.compiled, target, advance)
    init = jax.jit(jax.vmap(program.init), out_shardings=everywhere)
    return Distributed(
        init=init,
        compile_advance=compiling(first, build, index),
        lower_advance=lambda *of: platforms.lower(target, advance, index, *first(*of)),
        compile_evaluate=functools.partial(platforms.compiled, target, evaluate),
        lower_evaluate_final=functools.partial(platforms.lower_if_any, target, evaluate_final),
        trace=lambda *of: jax.eval_shape(advance, index, *first(*of)),
        trace_evaluate=functools.partial(platforms.shapes, (evaluate, evaluate_final)),
        place_data=lambda data: place(data, everywhere),
        abstract_data=functools.partial(places.shaped, lambda data: data, everywhere),
        abstract=functools.partial(places.shaped, init, everywhere),
        stream=program.stream,
        examples_sharding=everywhere,
        strategy=strategy,
        layout="pmap",
        platform=target.platform,
        num_lanes=num_lanes,
        num_places=num_lanes,
        microbatches=options.microbatches,
        place_lanes=functools.partial(places.place_lanes, everywhere, num_lanes),
    )


LAYOUTS = {"jit": _sharded_jit, "pmap": _pmapped}
