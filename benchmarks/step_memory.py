"""Memory of a training step with rematerialization, microbatches and shared parameters.

    XLA_FLAGS=--xla_backend_optimization_level=0 python -m benchmarks.step_memory
    XLA_FLAGS="--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=8" \
        python -m benchmarks.step_memory --devices 8

Compiles steps of Adam on a transformer over sequences of tokens, and prints what the compiler says
of them: bytes of state on one device, and of working memory. Nothing runs, so that the optimization
of machine code, which the flag turns off, does not matter. With several devices they share one
seed: its batches, and with `shard_parameters` its parameters and the state of Adam.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import optax

from benchmarks import machine, records
from dgm_jax import networks, parallel, training
from dgm_jax.core import Aux, Player, Task
from dgm_jax.run import memory

SIZES = {"vocab_size": 64, "context_length": 128, "width": 64, "num_layers": 4, "num_heads": 4}
BATCH = 64
ONE_DEVICE = {
    "none": {},
    "2 microbatches": {"microbatches": 2},
    "4 microbatches": {"microbatches": 4},
    "remat": {"remat": True},
    "remat, 4 microbatches": {"remat": True, "microbatches": 4},
}
SEVERAL = {"none": {}, "shard_parameters": {"shard_parameters": True}}


def task(remat: bool) -> Task:
    """One seed: a transformer on random tokens."""
    network = networks.from_transformer(networks.Transformer(**SIZES, remat=remat))

    def loss(params, state, batch, key):
        logits = network.logits(params["transformer"], batch)
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, batch)
        return jnp.mean(nats), Aux(state, {})

    def draw(data, data_key, index):
        shape = (BATCH, SIZES["context_length"])
        return jax.random.randint(jax.random.fold_in(data_key, index), shape, 0, 64)

    players = {"transformer": Player(("transformer",), loss)}
    rule = functools.partial(training.alternating, players, optax.adam(1e-3))
    init = lambda key: ({"transformer": network.init(key)}, {})
    return Task(init, draw, rule, lambda *_: {})


def sizes(num_devices: int, remat: bool = False, **options) -> dict[str, int]:
    """Bytes on one device: state of the lane, and working memory of its steps."""
    keys = jax.random.split(jax.random.key(0), 1)
    program = training.lane_program(lambda hyper: task(remat))
    devices = jax.devices()[:num_devices]
    compiled = parallel.distribute(program, keys, {}, only=devices, **options)
    lanes = compiled.abstract(keys, {})
    working = compiled.lower_advance(lanes, ()).compile().memory_analysis().temp_size_in_bytes
    return {"state": memory.tree_bytes(lanes), "working": working}


def main() -> None:
    """Prints a line for each case, and writes the file of results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="the first case; nothing is written")
    arguments = parser.parse_args()
    cases = ONE_DEVICE if arguments.devices == 1 else SEVERAL
    results = {}
    for name, options in list(cases.items())[: 1 if arguments.quick else None]:
        found = sizes(arguments.devices, **options)
        results[name] = found
        shown = ", ".join(f"{what} {size / 1e6:,.2f} MB" for what, size in found.items())
        print(f"{name:24} {shown}", flush=True)
    if not arguments.quick:
        content = {"devices": arguments.devices, "sizes": SIZES, "batch": BATCH, "bytes": results}
        name = f"step_memory_{arguments.devices}"
        print(f"written: {records.write_other(name, machine.surroundings(), content)}")


if __name__ == "__main__":
    main()
