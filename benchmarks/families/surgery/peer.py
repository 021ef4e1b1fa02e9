"""Surgery in PyTorch, a block of draws at a time."""

import math

import numpy as np
import torch

from benchmarks.contract import Case

BLOCK = 256


def operands(points: int, latents: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(z, loc, scale) as ours."""
    drawn = np.random.default_rng(0).normal(size=(3, points, latents)).astype(np.float32)
    loc, noise, log_scale = torch.from_numpy(drawn)
    scale = torch.exp(0.3 * log_scale - 1)
    return loc + scale * noise, loc, scale


@torch.no_grad()
def terms(z, loc, scale) -> dict[str, torch.Tensor]:
    """Averages of the KL, the mutual information, the marginal KL and the total correlation."""
    half = 0.5 * math.log(2 * math.pi)
    density = lambda x, m, s: -0.5 * ((x - m) / s) ** 2 - s.log() - half
    own, prior = density(z, loc, scale).sum(1), density(z, z * 0, z * 0 + 1).sum(1)
    joint, single = [], []
    for block in z.split(BLOCK):
        each = density(block[:, None], loc, scale)
        joint.append(torch.logsumexp(each.sum(2), 1))
        single.append(torch.logsumexp(each, 1))
    log_num = math.log(len(z))
    aggregate, by_dimension = torch.cat(joint) - log_num, torch.cat(single) - log_num
    return {
        "average_kl": (own - prior).mean(),
        "mutual_information": (own - aggregate).mean(),
        "marginal_kl": (aggregate - prior).mean(),
        "total_correlation": (aggregate - by_dimension.sum(1)).mean(),
    }


def decompose(points: int, latents: int) -> Case:
    """Of all points."""
    inputs = operands(points, latents)
    return Case(lambda: terms(*inputs), float(points) ** 2)
