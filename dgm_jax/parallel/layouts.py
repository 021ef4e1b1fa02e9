"""The two layouts of a `LaneProgram` over devices.

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

from dgm_jax.core import Array, Lane, LaneProgram, Metrics, PyTree, Sums
from dgm_jax.parallel import places, replicas
from dgm_jax.parallel.feeding import examples_sharding, no_sums_over, part_over
from dgm_jax.parallel.mesh import DATA, lane_sharding, make_mesh, replicated
from dgm_jax.parallel.parts import first_part
from dgm_jax.parallel.platforms import Devices
from dgm_jax.parallel.seeds import over_seeds


class Options(NamedTuple):
    """`microbatches` and `shard_parameters` of `distribute`."""

    microbatches: int
    shard_parameters: bool


class Layout(NamedTuple):
    """The programs of a layout, before they are lowered.

    Attributes:
        name: of the layout.
        init: `(keys, hyper) -> lanes`.
        advance: `(*before, *first(lanes, data)) -> (lanes, sums, metrics)`, compiled by JAX.
        first: `(lanes, data)` to the arguments of the first part of a chunk.
        over: adds the axis of lanes to `(lane, data) -> result`.
        of_lanes: one sharding for each array of the lanes, or one for all.
        of_results: of what an evaluation returns; None to leave it to JAX.
        everywhere: of data.
        of_examples: of `Fed.examples`.
        num_places: P.
        before: arguments of `advance` before those of `first`.
    """

    name: str
    init: Callable[..., Lane]
    advance: Callable[..., Any]
    first: Callable[..., Any]
    over: Callable[..., Any]
    of_lanes: PyTree
    of_results: Sharding | None
    everywhere: Sharding
    of_examples: Sharding
    num_places: int
    before: tuple[Array, ...] = ()


def _sharded_jit(
    program: LaneProgram,
    shapes: Lane,
    strategy: str,
    devices: Devices,
    options: Options,
) -> Layout:
    mesh = make_mesh(len(shapes.failed_at), devices, share_lanes=options.shard_parameters)
    num_places = places.num_places(len(shapes.failed_at), mesh)
    by_lane = lane_sharding(mesh)
    of_lanes = places.sharded_lanes(mesh, shapes) if options.shard_parameters else by_lane
    replica = replicas.whole(mesh, options.microbatches)
    over = functools.partial(places.over_mesh, mesh=mesh, strategy=strategy)
    init_lanes = places.over_mesh(lambda start, _: program.init(*start), mesh=mesh, strategy="map")

    @functools.partial(jax.jit, out_shardings=of_lanes)
    def init(*start: Any) -> Lane:
        return init_lanes(places.pad(start, num_places), ())

    @functools.partial(jax.jit, donate_argnums=0, out_shardings=(of_lanes, by_lane, by_lane))
    def advance(lanes: Lane, sums: Sums, *rest: Any) -> tuple[Lane, Sums, Metrics]:
        return part_over(over, program, replica)(lanes, sums, *rest)

    return Layout(
        name="jit",
        init=init,
        advance=advance,
        first=functools.partial(first_part, no_sums_over(over, program, replica), by_lane),
        over=over,
        of_lanes=of_lanes,
        of_results=by_lane,
        everywhere=replicated(mesh),
        of_examples=examples_sharding(mesh),
        num_places=num_places,
    )


def _pmapped(
    program: LaneProgram,
    shapes: Lane,
    strategy: str,
    devices: Devices,
    options: Options,
) -> Layout:
    replica = replicas.per_device(len(devices), options.microbatches)
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

    everywhere = replicated(make_mesh(1, devices))
    return Layout(
        name="pmap",
        init=jax.jit(jax.vmap(program.init), out_shardings=everywhere),
        advance=advance,
        first=functools.partial(first_part, no_sums_over(over, program), everywhere),
        over=over,
        of_lanes=everywhere,
        of_results=None,
        everywhere=everywhere,
        of_examples=everywhere,
        num_places=len(shapes.failed_at),  # every device works on all lanes
        before=(jnp.arange(len(devices)),),
    )


LAYOUTS = {"jit": _sharded_jit, "pmap": _pmapped}
