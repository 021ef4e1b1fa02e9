"""Programs over many lanes and many devices.

`distribute` compiles a `LaneProgram`. Two layouts:

"jit"  One program in the global view on a mesh ("seed", "data"): lanes are placed along
       "seed" without communication, each batch is sharded along "data" and keeps its
       whole-batch meaning, so statistics over the batch stay right.
"pmap" The same step on every device with its part of each batch, gradients averaged. Right
       for losses that are means over examples only; a task that couples its batch is refused.
       JAX keeps pmap in maintenance; prefer "jit".
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from dgm_jax import _backend
from dgm_jax.core import (
    SOLO,
    Lane,
    LaneProgram,
    Metrics,
    Replica,
    Sums,
    checks,
    lookup,
    require,
)
from dgm_jax.parallel import platforms
from dgm_jax.parallel.mesh import (
    DATA,
    SEED,
    lane_sharding,
    make_mesh,
    replicated,
    require_divisible,
    shard_batch,
)
from dgm_jax.parallel.parts import compiling, first_part
from dgm_jax.parallel.seeds import STRATEGIES, choose_strategy, over_seeds


class Distributed(NamedTuple):
    """A `LaneProgram` over all lanes.

    init: `(keys[L], hyper {name: [L]}) -> Lane` with a leading axis of lanes.
    compile_advance: `(lanes, data) -> advance`, one program for any number of steps, compiled
        ahead of time: `advance(lanes, data, num_steps, sums=None, last=True) -> (lanes, sums,
        metrics {name: [L]})`, which may reuse the memory of the lanes it is given. A chunk may be
        made by several calls, with the same bits: each gets the sums of the one before, and the
        one that ends the chunk is the `last`. With `num_steps` as a third argument it is the whole
        chunk of that many: `(lanes, data) -> (lanes, metrics)`. `advance.compiled` is the
        `jax.stages.Compiled`, which knows its sizes.
    lower_advance: `(lanes, data)`, arrays or shapes, to the same program lowered
        (`jax.stages.Lowered`), to look at or to compile: `.as_text()` is its StableHLO.
    compile_evaluate: `(lanes, data) -> function`; the function is
        `(lanes, data) -> {name: [L, ...]}`.
    lower_conclude: `(lanes, data)` to the lowered program of what is evaluated after the last step
        (its `.compile()` is a function as above), or None if there is nothing.
    trace: `(lanes, data) -> shapes` of one step on arrays or shapes; runs nothing, finds every
        error of tracing.
    place_data: `data -> data` on the devices.
    abstract_data: `data` to shapes with shardings, as `place_data` places it; moves nothing.
    abstract: `(keys, hyper) -> Lane` of shapes with shardings, as `init` gives them: to compile
        for, or to restore a checkpoint into.
    strategy, layout, platform: what was chosen, for the record.
    """

    init: Callable
    compile_advance: Callable
    lower_advance: Callable
    compile_evaluate: Callable
    lower_conclude: Callable
    trace: Callable
    place_data: Callable
    abstract_data: Callable
    abstract: Callable
    strategy: str
    layout: str
    platform: str


def distribute(
    program: LaneProgram,
    keys,
    hyper,
    *,
    strategy: str = "auto",
    devices: str = "auto",
    only=None,
    platform: str | None = None,
) -> Distributed:
    """Compiles a lane program for the lanes of `keys[L]`.

    Args:
        program: what one lane does.
        keys: typed keys [L].
        hyper: {name: [L]}.
        strategy: "vmap", "map" or "auto" (see `parallel.choose_strategy`).
        devices: "auto" (= "jit"), "jit" or "pmap".
        only: the `jax.Device`s to use; None for all of them.
        platform: None for that of the devices. "cpu", "cuda", "rocm" or "tpu" for programs of
            another one, decided in every respect as there: `lower_advance` lowers them, to be
            looked at, and the devices stand in for as many of that platform.

    Raises:
        ConfigError: for an unknown name, for pmap with a platform that is not at hand, and where
            something is compiled for such a platform; while tracing, for a batch the devices cannot
            share, or for pmap with an objective that couples its batch.
    """
    require(
        devices in ("auto", *LAYOUTS),
        f"unknown devices {devices!r}; known: auto, {', '.join(LAYOUTS)}",
    )
    layout = "jit" if devices == "auto" else devices
    checks.lane_keys(keys)
    others = {jnp.shape(x) for x in jax.tree.leaves(hyper) if jnp.shape(x)[:1] != keys.shape}
    require(
        not others,
        f"hyper must hold arrays [L, ...] with L = {len(keys)}, as many as keys; got {others}",
    )
    present = jax.devices() if only is None else list(only)
    target = platforms.target(platform, present)
    _backend.check_once(platforms.platform_of(present))
    shapes = jax.eval_shape(jax.vmap(program.init), keys, hyper)
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), shapes)
    strategy = choose_strategy(strategy, one.train_state.params, platform=target.platform)
    lookup(STRATEGIES, strategy, "seed strategy")
    return LAYOUTS[layout](program, keys.shape[0], strategy, present, target)


def _sharded_jit(
    program: LaneProgram, num_lanes: int, strategy: str, devices, target: platforms.Target
) -> Distributed:
    mesh = make_mesh(num_lanes, devices)
    lanes_on, everywhere = lane_sharding(mesh), replicated(mesh)
    replica = SOLO._replace(place=functools.partial(shard_batch, mesh)) if mesh.size > 1 else SOLO
    over = functools.partial(_over_mesh, mesh=mesh, strategy=strategy)
    init_lane_by_lane = _over_mesh(lambda start, _: program.init(*start), mesh=mesh, strategy="map")
    init = jax.jit(lambda keys, hyper: init_lane_by_lane((keys, hyper), ()), out_shardings=lanes_on)

    @functools.partial(jax.jit, donate_argnums=0, out_shardings=lanes_on)
    def advance(lanes: Lane, sums: Sums, *rest) -> tuple[Lane, Sums, Metrics]:
        return over(_part(program, replica))((lanes, sums), rest)

    first = functools.partial(first_part, over(program.no_sums), lanes_on)
    evaluate = jax.jit(over(program.evaluate), out_shardings=lanes_on)
    conclude = jax.jit(over(program.conclude), out_shardings=lanes_on)
    return Distributed(
        init=init,
        compile_advance=compiling(first, functools.partial(platforms.compiled, target, advance)),
        lower_advance=lambda *of: platforms.lower(target, advance, *first(*of)),
        compile_evaluate=functools.partial(platforms.compiled, target, evaluate),
        lower_conclude=functools.partial(_lowered_if_any, target, conclude),
        trace=lambda *of: jax.eval_shape(advance, *first(*of)),
        place_data=lambda data: jax.device_put(data, everywhere),
        abstract_data=functools.partial(_abstract, lambda data: data, everywhere),
        abstract=functools.partial(_abstract, init, lanes_on),
        strategy=strategy,
        layout="jit",
        platform=target.platform,
    )


def _over_mesh(function, *, mesh, strategy):
    """Each device along "seed" runs its own lanes by the chosen strategy; no device asks another.

    Where only lanes are spread, every axis is manual. By "map" a lane then computes the same bits
    on any number of devices; by "vmap" it need not, since XLA may choose other kernels for another
    number of lanes a device. Where batches are shared as well, "data" stays automatic, so that a
    sharded batch keeps its whole-batch meaning.
    """
    spread = over_seeds(function, strategy)
    if mesh.shape[SEED] == 1:
        return spread
    lanes_on, everywhere = PartitionSpec(SEED), PartitionSpec()
    manual = {SEED, DATA} if mesh.shape[DATA] == 1 else {SEED}
    return jax.shard_map(
        spread,
        mesh=mesh,
        in_specs=(lanes_on, everywhere),
        out_specs=lanes_on,
        axis_names=manual,
        check_vma=False,
    )


def _pmapped(
    program: LaneProgram, num_lanes: int, strategy: str, devices, target: platforms.Target
) -> Distributed:
    del num_lanes  # every device works on all lanes
    require(
        target.elsewhere is None,
        f"JAX lowers pmap for the devices at hand only, not for {target.elsewhere}: use 'jit'",
    )
    num_devices = len(devices)
    mesh = make_mesh(1, devices)

    def place(batch):
        def part(x):
            if x.ndim == 0:
                return x
            require_divisible(x.shape[0], num_devices)
            size = x.shape[0] // num_devices
            return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(DATA) * size, size)

        return jax.tree.map(part, batch)

    replica = Replica(
        place=place,
        average=functools.partial(jax.tree.map, _mean_over_devices),
        fold_key=_own_key if num_devices > 1 else SOLO.fold_key,
        splits_batch=True,
    )

    @functools.partial(
        jax.pmap,
        axis_name=DATA,
        in_axes=(0, None, None, None, None, None),
        out_axes=None,
        devices=devices,
    )
    def advance(index, lanes, sums, *rest):
        del index  # pmap needs one argument with an axis of devices
        return over_seeds(_part(program, replica), strategy)((lanes, sums), rest)

    index, evaluate = jnp.arange(num_devices), jax.jit(over_seeds(program.evaluate, strategy))
    conclude = jax.jit(over_seeds(program.conclude, strategy))
    everywhere = replicated(mesh)
    first = functools.partial(first_part, over_seeds(program.no_sums, strategy), everywhere)
    init = jax.jit(jax.vmap(program.init), out_shardings=everywhere)
    return Distributed(
        init=init,
        compile_advance=compiling(
            first, functools.partial(platforms.compiled, target, advance), index
        ),
        lower_advance=lambda *of: platforms.lower(target, advance, index, *first(*of)),
        compile_evaluate=functools.partial(platforms.compiled, target, evaluate),
        lower_conclude=functools.partial(_lowered_if_any, target, conclude),
        trace=lambda *of: jax.eval_shape(advance, index, *first(*of)),
        place_data=lambda data: jax.device_put(data, everywhere),
        abstract_data=functools.partial(_abstract, lambda data: data, everywhere),
        abstract=functools.partial(_abstract, init, everywhere),
        strategy=strategy,
        layout="pmap",
        platform=target.platform,
    )


def _part(program: LaneProgram, replica: Replica):
    """The next part of a lane's chunk, its arguments apart by what differs between lanes."""

    def part(own, shared):
        (lane, sums), (data, num_steps, last) = own, shared
        return program.advance_part(lane, sums, data, num_steps, last, replica)

    return part


def _lowered_if_any(target, function, *arguments):
    """The lowered function, or None where it returns nothing."""
    lowered = platforms.lower(target, function, *arguments)
    return lowered if jax.tree.leaves(lowered.out_info) else None


def _own_key(key):
    """Another key on each device."""
    return jax.random.fold_in(key, jax.lax.axis_index(DATA))


def _mean_over_devices(x):
    return jax.lax.pmean(x, DATA) if jnp.issubdtype(x.dtype, jnp.inexact) else x


def _abstract(function, sharding, *arguments):
    """Shapes of what a function returns, with one sharding."""

    def placed(x):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding, weak_type=x.weak_type)

    return jax.tree.map(placed, jax.eval_shape(function, *arguments))


LAYOUTS = {"jit": _sharded_jit, "pmap": _pmapped}
