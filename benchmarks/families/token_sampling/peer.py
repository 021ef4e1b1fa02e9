"""Sampling in PyTorch."""

from benchmarks.contract import Case
from benchmarks.families._shared.torch_transformer import TorchTransformer
from benchmarks.families.token_sampling import HEADS, LAYERS
from benchmarks.families.transformer.peer import initial


def sampling(shape: dict[str, int]) -> Case:
    """Eagerly, with a cache."""
    params = initial(shape["width"], LAYERS, shape["length"])
    peer, batch = TorchTransformer(params, HEADS, shape["length"]), shape["batch"]
    return Case(lambda: peer.sample(batch), batch * shape["length"])
