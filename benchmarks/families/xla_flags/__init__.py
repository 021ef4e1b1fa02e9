"""What each part of the flag of `dgm_jax/_backend.py` does to speed on CPU. XLA reads its flags
once, so each value is a side."""

from benchmarks.contract import Benchmark, Side
from benchmarks.families import gan_ring as ring
from benchmarks.families import vqvae

FLAG = "--xla_cpu_experimental_ynn_fusion_type"
VALUES = (
    "-reduce",
    "-reduce,-individual_convolution",
    "-reduce,-individual_dot",
    "-reduce,-individual_convolution,-individual_dot",
)


def _of(benchmarks, name: str, **options) -> Side:
    """Our first side of another benchmark, with further options."""
    (found,) = [each for each in benchmarks if each.name == name]
    ours = found.sides["ours"]
    return ours._replace(options={**ours.options, **options})


SIDES = {
    "product_256x128x128": Side("xla_flags.ours:product", {"shapes": [[256, 128], [128, 128]]}),
    "product_128x1152x25088": Side(
        "xla_flags.ours:product", {"shapes": [[128, 1_152], [1_152, 25_088]]}
    ),
    "products_in_a_scan": Side("xla_flags.ours:products_in_a_scan"),
    "weight_gradient": Side("xla_flags.ours:weight_gradient", {"lanes": 1}),
    "weight_gradient_4_lanes": Side("xla_flags.ours:weight_gradient", {"lanes": 4}),
    "ring_1_seed": _of(ring.BENCHMARKS, "gan_ring_small_1_seeds"),
    "ring_8_seeds": _of(ring.BENCHMARKS, "gan_ring_small_8_seeds"),
    "vqvae_1_seed": _of(vqvae.BENCHMARKS, "vqvae_large_1_seeds", convolutions="plain"),
}
BENCHMARKS = [
    Benchmark(
        name=f"xla_flags_{name}",
        family="xla_flags",
        size=name.replace("_", " "),
        unit="units",
        sides={
            value: side._replace(environment={"XLA_FLAGS": f"{FLAG}={value}"}) for value in VALUES
        },
        unchecked="all sides are the library; the ratio of interest is that of two flags",
    )
    for name, side in SIDES.items()
]
