"""Hamiltonian Monte Carlo on p(z | x) of binary 28x28 images under the decoder of `annealing`:
transitions of ten leapfrog steps at a given step size, every chain of every image with its own
acceptance. numpyro has its kernel `HMC` on a model of one image, mapped by `jax.vmap` over chains
and images, as it maps chains itself. Annealing has no such peer: a kernel of numpyro keeps one
density and its gradient, so a step of the schedule would cost it an eleventh gradient.

The weights of the decoder are constants of the compiled programs in JAX, of which XLA transposes
numpyro's beforehand. The sides "weights as operands" have them as what a program is called with, as
a run has that trains them."""

from benchmarks.contract import BESIDE, PEER, Benchmark, Side
from benchmarks.families.annealing import flops

SIZES = {
    "small": {"images": 5, "chains": 4, "steps": 20},
    "large": {"images": 20, "chains": 16, "steps": 20},
}
OPERANDS = {"as_operands": True}

BENCHMARKS = [
    Benchmark(
        name=f"hmc_{size}",
        family="hmc",
        size="{images} images, {chains} chains, {steps} transitions".format(**options),
        unit="chain-steps",
        sides={
            "ours": Side("hmc.ours:transitions", options),
            "ours, weights as operands": Side("hmc.ours:transitions", options | OPERANDS),
            "torch eager": Side("hmc.peer:transitions", options, PEER),
            "numpyro": Side("hmc.numpyro_peer:transitions", options, PEER),
            "numpyro, weights as operands": Side(
                "hmc.numpyro_peer:transitions", options | OPERANDS, BESIDE
            ),
        },
        flops=flops(),
        check=Side("hmc.check:check", {"images": options["images"]}),
    )
    for size, options in SIZES.items()
]
