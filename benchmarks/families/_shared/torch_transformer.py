"""The transformer of `networks.transformer` in PyTorch, all positions at once or one by one."""

import torch

from benchmarks.families._shared.torch_dense import tensor

functional = torch.nn.functional


def tensors(tree):
    """A tree of dictionaries of arrays, as tensors."""
    if isinstance(tree, dict):
        return {name: tensors(value) for name, value in tree.items()}
    return tensor(tree)


def leaves(tree) -> list[torch.Tensor]:
    """All tensors of a tree."""
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in leaves(value)]
    return [tree]


def norm(x, weights):
    """Over the last axis."""
    return functional.layer_norm(x, x.shape[-1:], weights["scale"], weights["bias"], 1e-5)


def dense(x, weights):
    """With the kernel [in, out] of the library."""
    return x @ weights["kernel"] + weights["bias"]


class TorchTransformer:
    """Weights in the library's tree; `blocks_0` is the first block."""

    def __init__(self, params: dict, heads: int, length: int):
        self.weights, self.heads, self.length = tensors(params), heads, length
        self.blocks = [name for name in params if name.startswith("blocks_")]
        self.width = self.weights["token_embedding"].shape[1]

    def finish(self, x, mixed, block):
        """Attention's output and the dense layers, onto the residual stream."""
        x = x + dense(mixed, block["attention_out"])
        hidden = dense(norm(x, block["norm_mlp"]), block["mlp_in"])
        return x + dense(functional.gelu(hidden, approximate="tanh"), block["mlp_out"])

    def logits(self, tokens):
        """[B, T] -> [B, T, V], those at t from the tokens before t."""
        w, (batch, length) = self.weights, tokens.shape
        start = w["start_embedding"].expand(batch, 1, self.width)
        x = torch.cat([start, w["token_embedding"][tokens[:, :-1]]], 1)
        x = x + w["position_embedding"][:length]
        for name in sorted(self.blocks):
            block = w[name]
            joint = dense(norm(x, block["norm_attention"]), block["query_key_value"])
            joint = joint.reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(*joint, is_causal=True)
            x = self.finish(x, mixed.transpose(1, 2).reshape(x.shape), block)
        return dense(norm(x, w["norm"]), w["head"])

    def empty(self, batch: int):
        """Caches of fixed shape, for every block."""
        shape = (batch, self.heads, self.length, self.width // self.heads)
        return [(torch.zeros(shape), torch.zeros(shape)) for _ in self.blocks]

    def step(self, caches, token, position: int):
        """Logits [B, V] of the token at `position`, given the one before it."""
        w = self.weights
        before = w["token_embedding"][token]
        x = w["start_embedding"][0].expand(before.shape) if position == 0 else before
        x = x + w["position_embedding"][position]
        for name, (keys, values) in zip(sorted(self.blocks), caches, strict=True):
            block = w[name]
            joint = dense(norm(x, block["norm_attention"]), block["query_key_value"])
            query, key, value = joint.reshape(len(x), 3, self.heads, -1).unbind(1)
            keys[:, :, position], values[:, :, position] = key, value
            seen = position + 1
            mixed = functional.scaled_dot_product_attention(
                query[:, :, None], keys[:, :, :seen], values[:, :, :seen]
            )
            x = self.finish(x, mixed[:, :, 0].reshape(x.shape), block)
        return dense(norm(x, w["norm"]), w["head"])

    @torch.no_grad()
    def sample(self, batch: int):
        """int[B, length] at temperature 1."""
        token, drawn, caches = torch.zeros(batch, dtype=torch.long), [], self.empty(batch)
        for position in range(self.length):
            logits = self.step(caches, token, position)
            token = torch.multinomial(torch.softmax(logits, -1), 1)[:, 0]
            drawn.append(token)
        return torch.stack(drawn, 1)
