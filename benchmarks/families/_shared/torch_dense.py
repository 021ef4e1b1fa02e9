"""Dense layers in PyTorch with the weights of `networks.MLP`, for the peers."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch


def mlp(widths: Sequence[int], activation: Callable[[], torch.nn.Module]) -> torch.nn.Sequential:
    """Linear layers of these widths, from input to output, with a module from `activation()`
    between them."""
    layers: list[torch.nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [torch.nn.Linear(a, b), activation()]
    return torch.nn.Sequential(*layers[:-1])


def load_layer(layer: torch.nn.Module, params: Mapping[str, Any]) -> None:
    """Takes over kernel [in, out] and bias."""
    layer.weight.data.copy_(torch.from_numpy(np.asarray(params["kernel"]).T.copy()))
    layer.bias.data.copy_(torch.from_numpy(np.array(params["bias"])))


def load(net: torch.nn.Sequential, params: Mapping[str, Any]) -> None:
    """Takes over `Dense_0`, `Dense_1`, ... in order."""
    layers = [layer for layer in net if isinstance(layer, torch.nn.Linear)]
    if len(layers) != len(params):
        raise ValueError(f"{len(layers)} dense layers here, {sorted(params)} there")
    for i, layer in enumerate(layers):
        load_layer(layer, params[f"Dense_{i}"])


def tensor(array: Any) -> torch.Tensor:
    """A copy of a JAX or numpy array."""
    return torch.from_numpy(np.array(array))


def image_tensor(array: Any) -> torch.Tensor:
    """[B, H, W, C] as [B, C, H, W]."""
    return torch.from_numpy(np.array(array).transpose(0, 3, 1, 2).copy())
