"""The search in PyTorch, and in vector-quantize-pytorch."""

import numpy as np
import torch

from benchmarks.contract import Case
from benchmarks.families.nearest_code import WIDTH


def operands(num: int, codes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(vectors, codebook) as ours."""
    both = np.random.default_rng(0).normal(size=(num + codes, WIDTH)).astype(np.float32)
    return torch.from_numpy(both[:num]), torch.from_numpy(both[num:])


def cdist(num: int, codes: int) -> Case:
    """All distances, and the least."""
    z, codebook = operands(num, codes)
    return Case(torch.no_grad()(lambda: torch.cdist(z, codebook).argmin(1)), num)


def vector_quantize(num: int, codes: int) -> Case:
    """That library's quantizer in eval mode."""
    from vector_quantize_pytorch import VectorQuantize

    z, codebook = operands(num, codes)
    quantizer = VectorQuantize(dim=WIDTH, codebook_size=codes, rotation_trick=False).eval()
    quantizer._codebook.embed.data.copy_(codebook[None])
    return Case(torch.no_grad()(lambda: quantizer(z[None])[1][0]), num)
