"""The library's sampler."""

import math

import jax

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families.token_sampling import HEADS, IDS, LAYERS
from dgm_jax.models import AUTOREGRESSIVE, autoregressive
from dgm_jax.networks import CausalNetwork, Transformer, from_transformer


def network(width: int, length: int) -> CausalNetwork:
    """The transformer."""
    module = Transformer(IDS, length, width=width, num_layers=LAYERS, num_heads=HEADS)
    return from_transformer(module)


def parameters(width: int, length: int) -> dict:
    """Larger than at initialization, so that the logits differ from position to position."""
    gain = 1 / math.sqrt(width) / 0.02
    drawn = network(width, length).init(jax.random.key(0))
    return jax.tree.map(lambda w: w * gain if w.ndim == 2 else w, drawn)


def sampling(shape: dict[str, int], cached: bool = True) -> Case:
    """One compiled loop over the positions."""
    width, length, batch = (shape[name] for name in ("width", "length", "batch"))
    model = autoregressive(network(width, length))
    sample = model.sample if cached else model.sample_uncached
    draw = lambda params, key: sample({AUTOREGRESSIVE: params}, {}, key, batch).tokens
    operands = parameters(width, length), jax.random.key(0)
    return shared.compiled(draw, *operands, count=batch * length)
