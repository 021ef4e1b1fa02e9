"""Where computations run: the axis of seeds, meshes, sharded jit and pmap."""

from dgm_jax.parallel.devices import Distributed, distribute
from dgm_jax.parallel.mesh import batch_sharding, lane_sharding, make_mesh, replicated
from dgm_jax.parallel.places import trim
from dgm_jax.parallel.seeds import STRATEGIES, choose_strategy, over_seeds

__all__ = [
    "STRATEGIES",
    "Distributed",
    "batch_sharding",
    "choose_strategy",
    "distribute",
    "lane_sharding",
    "make_mesh",
    "over_seeds",
    "replicated",
    "trim",
]
