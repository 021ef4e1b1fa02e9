"""Where computations run: the axis of seeds, meshes, sharded jit and pmap."""

from dgm_jax.parallel.communication import Collective, collectives
from dgm_jax.parallel.devices import Distributed, distribute
from dgm_jax.parallel.kinds import KINDS, Kind
from dgm_jax.parallel.mesh import (
    batch_sharding,
    lane_sharding,
    make_mesh,
    replicated,
    split_devices,
)
from dgm_jax.parallel.places import trim
from dgm_jax.parallel.processes import fetched
from dgm_jax.parallel.seeds import STRATEGIES, choose_strategy, over_seeds

__all__ = [
    "KINDS",
    "STRATEGIES",
    "Collective",
    "Distributed",
    "Kind",
    "batch_sharding",
    "choose_strategy",
    "collectives",
    "distribute",
    "fetched",
    "lane_sharding",
    "make_mesh",
    "over_seeds",
    "replicated",
    "split_devices",
    "trim",
]
