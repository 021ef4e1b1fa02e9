"""`distribute`: a `LaneProgram` over many lanes and many devices."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend
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
    checks,
    lookup,
    require,
)
from dgm_jax.parallel import places, platforms, processes
from dgm_jax.parallel.layouts import LAYOUTS, Layout, Options
from dgm_jax.parallel.mesh import place
from dgm_jax.parallel.parts import LoweredAdvance, compiling, lowering
from dgm_jax.parallel.platforms import Devices, Target
from dgm_jax.parallel.seeds import STRATEGIES, choose_strategy


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
        lower_parts: `(lanes, data) -> parts.LoweredAdvance`, for a caller that compiles in threads:
            `part = lower_parts(lanes, data)`, `part.advance(part.lowered.compile())`.
        lower_advance: `(lanes, data) -> jax.stages.Lowered`, the same program lowered for arrays or
            shapes, to inspect or to compile: `.as_text()` is its StableHLO.
        compile_evaluate: `(lanes, data) -> function`, where the function maps `(lanes, data)` to
            {name: [L, ...]}.
        lower_evaluate: `(lanes, data)` to the same program lowered.
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
    lower_parts: Callable[[Lane, PyTree], LoweredAdvance]
    lower_advance: Callable[[Lane, PyTree], jax.stages.Lowered]
    compile_evaluate: Callable[[Lane, PyTree], Callable[..., Metrics]]
    lower_evaluate: Callable[[Lane, PyTree], jax.stages.Lowered]
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
    init, lane = _traced_once(program.init, keys, hyper)
    program = program._replace(init=init)
    of_all = lambda x: jax.ShapeDtypeStruct((len(keys), *x.shape), x.dtype)
    shapes = jax.tree.map(of_all, lane)
    strategy = choose_strategy(strategy, lane.train_state.params, platform=target.platform)
    lookup(STRATEGIES, strategy, "seed strategy")
    options = Options(checks.whole(microbatches, "microbatches"), shard_parameters)
    if layout == "pmap":
        _require_pmap(options, target)
    programs = LAYOUTS[layout](program, shapes, strategy, present, options)
    return _distributed(program, programs, len(keys), strategy, target, options)


def _traced_once(
    init: Callable[[Key, dict[str, Array]], Lane], keys: Key, hyper: dict[str, Array]
) -> tuple[Callable[[Key, dict[str, Array]], Lane], Lane]:
    """The same function of one lane, and the shapes of its result.

    Its Python is run once, and not for every program of it.
    """
    start = jax.eval_shape(lambda lanes: jax.tree.map(lambda x: x[0], lanes), (keys, hyper))
    traced, shapes = jax.make_jaxpr(init, return_shape=True)(*start)
    as_function = jax.extend.core.jaxpr_as_fun(traced)
    structure = jax.tree.structure(shapes)

    def again(key: Key, hyper: dict[str, Array]) -> Lane:
        return structure.unflatten(as_function(*jax.tree.leaves((key, hyper))))

    return jax.jit(again, inline=True), shapes


def _distributed(
    program: LaneProgram,
    layout: Layout,
    num_lanes: int,
    strategy: str,
    target: Target,
    options: Options,
) -> Distributed:
    """Give the programs of a layout the form of `Distributed`."""
    advance, first, before = layout.advance, layout.first, layout.before
    evaluate = jax.jit(layout.over(program.evaluate), out_shardings=layout.of_results)
    evaluate_final = jax.jit(layout.over(program.evaluate_final), out_shardings=layout.of_results)
    lower = functools.partial(platforms.lower_to_compile, target)
    lower_parts = lowering(first, functools.partial(lower, advance), *before)
    lower_evaluate = functools.partial(lower, evaluate)
    return Distributed(
        init=layout.init,
        compile_advance=compiling(lower_parts),
        lower_parts=lower_parts,
        lower_advance=lambda *of: platforms.lower(target, advance, *before, *first(*of)),
        compile_evaluate=lambda *of: lower_evaluate(*of).compile(),
        lower_evaluate=lower_evaluate,
        lower_evaluate_final=functools.partial(platforms.lower_if_any, target, evaluate_final),
        trace=lambda *of: jax.eval_shape(advance, *before, *first(*of)),
        trace_evaluate=functools.partial(platforms.shapes, (evaluate, evaluate_final)),
        place_data=lambda data: place(data, layout.everywhere),
        abstract_data=functools.partial(places.shaped, lambda data: data, layout.everywhere),
        abstract=functools.partial(places.shaped, layout.init, layout.of_lanes),
        stream=program.stream,
        examples_sharding=layout.of_examples,
        strategy=strategy,
        layout=layout.name,
        platform=target.platform,
        num_lanes=num_lanes,
        num_places=layout.num_places,
        microbatches=options.microbatches,
        place_lanes=functools.partial(places.place_lanes, layout.of_lanes, layout.num_places),
    )


def _require_pmap(options: Options, target: Target) -> None:
    require(not processes.several(), "several processes share a run by devices='jit' only")
    require(
        not options.shard_parameters,
        "with devices='pmap' every device holds all parameters: use 'jit' to shard them",
    )
    require(
        target.elsewhere is None,
        f"JAX lowers pmap for the devices at hand only, not for {target.elsewhere}: use 'jit'",
    )
