"""Dense layers in PyTorch with the weights of `networks.MLP`, for the benchmarks' peers."""

import itertools

import numpy as np


def mlp(torch, widths: tuple[int, ...], activation):
    """Linear layers of these widths, from input to output, with a module from `activation()`
    between them."""
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [torch.nn.Linear(a, b), activation()]
    return torch.nn.Sequential(*layers[:-1])


def load_layer(torch, layer, params: dict) -> None:
    """Takes over kernel [in, out] and bias."""
    layer.weight.data.copy_(torch.from_numpy(np.asarray(params["kernel"]).T.copy()))
    layer.bias.data.copy_(torch.from_numpy(np.array(params["bias"])))


def load(torch, net, params: dict) -> None:
    """Takes over `Dense_0`, `Dense_1`, ... in order."""
    layers = [layer for layer in net if isinstance(layer, torch.nn.Linear)]
    if len(layers) != len(params):
        raise SystemExit(f"{len(layers)} dense layers here, {sorted(params)} there")
    for i, layer in enumerate(layers):
        load_layer(torch, layer, params[f"Dense_{i}"])
