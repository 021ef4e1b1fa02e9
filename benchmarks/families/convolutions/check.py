"""Gradients of every backend beside those of "lax" in float32."""

import jax
import jax.numpy as jnp

from benchmarks.contract import require_close
from benchmarks.families.convolutions import LAYERS, ours

TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}  # relative to the largest


def check(layer: str, dtype: str) -> dict:
    """Largest relative differences."""
    slope = jax.jit(jax.grad(ours.loss, (0, 1)), static_argnums=(2, 3))
    x, w = map(jnp.asarray, ours.operands(layer))
    stride, found = LAYERS[layer][1], {}
    truth = slope(x, w, stride, "lax")
    for backend in (None, "onednn", "plain"):
        slopes = slope(x.astype(dtype), w.astype(dtype), stride, backend)
        pairs = list(zip(slopes, truth, strict=True))
        found[backend or "auto"] = max(
            float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs
        )
    return {"relative_difference_of_gradients": require_close(found, TOLERANCE[dtype])}
