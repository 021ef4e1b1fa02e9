"""Vectors per second to their nearest codes: streamed, by the full matrix, and by
vector-quantize-pytorch.

    python -m benchmarks.nearest_code [--rounds 5] [--sizes 4096x1024 65536x16384] [--quick]

D = 64, float32, data and codebook N(0, 1). "full matrix" forms all N x K scores at once, the
minimum by `argmin` or by two reductions (least score, then the lowest index that has it), and does
not compare the best two again as the streamed search does. vector-quantize-pytorch runs its
quantiser in eval mode, which also gathers the codes' vectors. The temporary memory of each compiled
program stands in `checks`, with the number of codes that differ from the float64 distances on a
sample of rows.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import harness
from dgm_jax import core, quantization

WIDTH, SAMPLE = 64, 256


def scores(z, codebook):
    """|e|^2 / 2 - z e: [N, K]."""
    product = jnp.matmul(z, codebook.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(codebook**2, axis=1) / 2 - product


def by_argmin(z, codebook):
    """The full matrix and `argmin`."""
    return jnp.argmin(scores(z, codebook), axis=1).astype(jnp.int32)


def by_reductions(z, codebook):
    """The full matrix, its minimum, and the lowest index that has it."""
    found = scores(z, codebook)
    least = found == jnp.min(found, axis=1, keepdims=True)
    return jnp.min(
        jnp.where(least, jnp.arange(found.shape[1], dtype=jnp.int32), found.shape[1]), axis=1
    )


WAYS = {
    "streamed": quantization.nearest_code,
    "full matrix, argmin": by_argmin,
    "full matrix, reductions": by_reductions,
}


def cases_of(torch, num: int, num_codes: int):
    """(cases, checks) for one size."""
    keys = jax.random.split(jax.random.key(0))
    z, codebook = (
        core.normal(key, (n, WIDTH)) for key, n in zip(keys, (num, num_codes), strict=True)
    )
    rows = np.linspace(0, num - 1, SAMPLE).astype(int)
    exact = np.asarray(z, np.float64)[rows], np.asarray(codebook, np.float64)
    truth = ((exact[0][:, None] - exact[1]) ** 2).sum(-1).argmin(1)
    cases, checks = {}, {}
    for name, function in WAYS.items():
        start = time.perf_counter()
        run = jax.jit(function).lower(z, codebook).compile()
        seconds = time.perf_counter() - start
        wrong = int(np.sum(np.asarray(run(z, codebook))[rows] != truth))
        memory = run.memory_analysis().temp_size_in_bytes
        checks[f"{num}x{num_codes}, {name}"] = {
            "temporary_bytes": memory,
            "differ_from_float64": wrong,
            "of": SAMPLE,
        }
        call = lambda run=run: jax.block_until_ready(run(z, codebook))
        cases[f"{name}, {num}x{num_codes}"] = harness.Case(call, num, seconds)
    peer = _peer(torch, z, codebook)
    if peer is not None:
        cases[f"torch vector-quantize-pytorch, {num}x{num_codes}"] = harness.Case(peer, num)
    return cases, checks


def _peer(torch, z, codebook):
    """vector-quantize-pytorch's search on the same numbers, or None where it is not installed."""
    try:
        from vector_quantize_pytorch import VectorQuantize
    except ImportError:
        return None
    quantizer = VectorQuantize(dim=WIDTH, codebook_size=len(codebook), rotation_trick=False).eval()
    quantizer._codebook.embed.data.copy_(torch.tensor(np.asarray(codebook))[None])
    data = torch.tensor(np.asarray(z))[None]

    def call():
        with torch.no_grad():
            return quantizer(data)[1]

    return call


def main() -> int:
    """Checks, measures, writes; a table and a file for each size."""
    parser = harness.parser(__doc__.splitlines()[0], rounds=5, steps=1, seeds=[1])
    parser.add_argument("--sizes", nargs="+", default=["4096x1024", "65536x16384"], help="NxK")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.sizes = 2, ["512x256"]
    torch = harness.torch_or_none()
    for size in arguments.sizes:
        num, num_codes = map(int, size.split("x"))
        cases, checks = cases_of(torch, num, num_codes)
        print(*(f"{name}: {row}" for name, row in checks.items()), sep="\n")
        harness.report(
            f"nearest_code_{size}", cases, checks, arguments, "vectors/s", peer="full matrix"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
