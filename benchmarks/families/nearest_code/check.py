"""Codes of every way beside the float64 distances, and the temporary memory of ours."""

import importlib.util

import jax
import numpy as np

from benchmarks.contract import Unequal
from benchmarks.families.nearest_code import ours, peer

SAMPLE = 256
STREAMED = "streamed"


def check(num: int, codes: int) -> dict:
    """Numbers of codes that differ on a sample of rows; the streamed search must have none."""
    z, codebook = ours.operands(num, codes)
    rows = np.linspace(0, num - 1, SAMPLE).astype(int)
    exact = z[rows].astype(np.float64), codebook.astype(np.float64)
    truth = ((exact[0][:, None] - exact[1]) ** 2).sum(-1).argmin(1)
    found, memory = {}, {}
    for name, way in ours.WAYS.items():
        compiled = jax.jit(way).lower(z, codebook).compile()
        found[name] = np.asarray(compiled(z, codebook))
        memory[name] = compiled.memory_analysis().temp_size_in_bytes
    installed = importlib.util.find_spec("vector_quantize_pytorch") is not None
    for name in ("cdist", "vector_quantize") if installed else ("cdist",):
        found[name] = np.asarray(getattr(peer, name)(num, codes).call())
    wrong = {name: int(np.sum(codes[rows] != truth)) for name, codes in found.items()}
    if wrong[STREAMED]:
        raise Unequal(f"{wrong[STREAMED]} of {SAMPLE} codes are not the nearest ones")
    return {"differ_from_float64": wrong, "of": SAMPLE, "temporary_bytes": memory}
