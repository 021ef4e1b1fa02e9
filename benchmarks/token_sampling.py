"""Tokens per second drawn from a transformer: cached, uncached, and a cached one in PyTorch.

    python -m benchmarks.token_sampling [--rounds 5] [--steps 256] [--batch 16] [--quick]

A decoder-only transformer (width 128, 4 layers, 4 heads, 512 ids) draws `--steps` tokens for each
of `--batch` rows at temperature 1. JAX runs the library's sampler, one compiled loop: with a cache
of keys and values, and with a full pass for every token. PyTorch runs eagerly with a cache of fixed
shape, no gradients. Before anything is timed, cached and uncached logits of the library and
PyTorch's must agree on the same tokens, from the same weights.
"""

import math
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import harness
from dgm_jax.models import AUTOREGRESSIVE, autoregressive
from dgm_jax.networks import Transformer, from_transformer

IDS, WIDTH, LAYERS, HEADS = 512, 128, 4, 4
TOLERANCE = 1e-4


class TorchTransformer:
    """The same network, position by position."""

    def __init__(self, torch, params, length: int):
        self.torch, self.length = torch, length
        self.weights = jax.tree.map(lambda w: torch.tensor(np.asarray(w)), params)

    def norm(self, x, weights):
        return self.torch.nn.functional.layer_norm(
            x, (WIDTH,), weights["scale"], weights["bias"], 1e-5
        )

    def dense(self, x, weights):
        return x @ weights["kernel"] + weights["bias"]

    def empty(self, batch: int):
        shape = (batch, HEADS, self.length, WIDTH // HEADS)
        return [(self.torch.zeros(shape), self.torch.zeros(shape)) for _ in range(LAYERS)]

    def step(self, caches, token, position: int):
        """Logits [B, V] of the token at `position`, given the one before it."""
        w, functional = self.weights, self.torch.nn.functional
        x = (
            w["start_embedding"][0].expand(len(token), WIDTH)
            if position == 0
            else w["token_embedding"][token]
        )
        x = x + w["position_embedding"][position]
        for layer, (keys, values) in enumerate(caches):
            block = w[f"blocks_{layer}"]
            joint = self.dense(self.norm(x, block["norm_attention"]), block["query_key_value"])
            query, key, value = joint.reshape(len(x), 3, HEADS, -1).unbind(1)
            keys[:, :, position], values[:, :, position] = key, value
            seen = position + 1
            mixed = functional.scaled_dot_product_attention(
                query[:, :, None], keys[:, :, :seen], values[:, :, :seen]
            )
            x = x + self.dense(mixed[:, :, 0].reshape(len(x), WIDTH), block["attention_out"])
            hidden = functional.gelu(
                self.dense(self.norm(x, block["norm_mlp"]), block["mlp_in"]), approximate="tanh"
            )
            x = x + self.dense(hidden, block["mlp_out"])
        return self.dense(self.norm(x, w["norm"]), w["head"])

    def sample(self, batch: int):
        """int[B, length] at temperature 1."""
        torch, token, drawn = self.torch, self.torch.zeros(batch, dtype=self.torch.long), []
        with torch.no_grad():
            caches = self.empty(batch)
            for position in range(self.length):
                logits = self.step(caches, token, position)
                token = torch.multinomial(torch.softmax(logits, -1), 1)[:, 0]
                drawn.append(token)
        return torch.stack(drawn, 1)


def check_logits(torch, network, params, batch: int) -> dict:
    """Raises unless cached, uncached and PyTorch's logits agree at every position of random
    tokens."""
    tokens = jax.random.randint(jax.random.key(1), (batch, network.length), 0, IDS)
    full = np.asarray(jax.jit(network.logits)(params, tokens))

    def step(cache, inputs):
        return network.step(params, cache, *inputs)

    before = jnp.concatenate([jnp.zeros((1, batch), jnp.int32), tokens.T[:-1]])
    inputs = before, jnp.arange(network.length)
    cached = np.asarray(
        jax.jit(lambda c: jax.lax.scan(step, c, inputs)[1])(network.init_cache(batch))
    )
    differences = {"cached": float(np.abs(cached.transpose(1, 0, 2) - full).max())}
    if torch:
        peer = TorchTransformer(torch, params, network.length)
        with torch.no_grad():
            caches = peer.empty(batch)
            theirs = [
                peer.step(caches, torch.tensor(np.asarray(b)), i).numpy()
                for i, b in enumerate(before)
            ]
        differences["torch"] = float(np.abs(np.stack(theirs, 1) - full).max())
    if max(differences.values()) > TOLERANCE:
        raise SystemExit(
            f"the samplers do not compute the same logits: largest differences {differences}"
        )
    return {"largest_difference_of_logits": differences}


def jax_case(sample, params, batch: int, length: int) -> harness.Case:
    """One compiled loop over the positions."""
    run = jax.jit(lambda params, key: sample({AUTOREGRESSIVE: params}, {}, key, batch).tokens)
    start = time.perf_counter()
    compiled = run.lower(params, jax.random.key(0)).compile()
    seconds = time.perf_counter() - start
    return harness.Case(
        lambda: jax.block_until_ready(compiled(params, jax.random.key(0))), batch * length, seconds
    )


def main() -> int:
    """Checks, measures, writes."""
    parser = harness.parser(__doc__.splitlines()[0], rounds=5, steps=256, seeds=[1])
    parser.add_argument("--batch", type=int, default=16, help="rows drawn at once")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.steps, arguments.batch = 2, 16, 2
    torch, length = harness.torch_or_none(), arguments.steps
    network = from_transformer(
        Transformer(IDS, length, width=WIDTH, num_layers=LAYERS, num_heads=HEADS)
    )
    # Larger weights than at initialisation, so that the logits differ from position to position.
    gain = 1 / math.sqrt(WIDTH) / 0.02
    params = jax.tree.map(lambda w: w * gain if w.ndim == 2 else w, network.init(jax.random.key(0)))
    checks = check_logits(torch, network, params, 2)
    model = autoregressive(network)
    cases = {
        "jax, cached": jax_case(model.sample, params, arguments.batch, length),
        "jax, uncached": jax_case(model.sample_uncached, params, arguments.batch, length),
    }
    if torch:
        peer = TorchTransformer(torch, params, length)
        cases["torch eager, cached"] = harness.Case(
            lambda: peer.sample(arguments.batch), arguments.batch * length
        )
    harness.report("token_sampling", cases, checks, arguments, "tokens/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
