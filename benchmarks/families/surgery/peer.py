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


def _density(x, m, s):
    return -0.5 * ((x - m) / s) ** 2 - s.log() - 0.5 * math.log(2 * math.pi)


def _by_products(block, loc, scale):
    """Log-densities of all pairs, from the expanded square."""
    weight, center = scale**-2, loc.mean(0)
    block, loc = block - center, loc - center
    squares = block**2 @ weight.T + (loc**2 * weight).sum(1)
    constant = -(scale.log() + 0.5 * math.log(2 * math.pi)).sum(1)
    return constant - squares / 2 + block @ (loc * weight).T


@torch.no_grad()
def terms(z, loc, scale, *, joint: bool, products: bool = False) -> dict[str, torch.Tensor]:
    """Averages of the KL, the mutual information and the marginal KL, and unless only the joint
    density is wanted of the total correlation."""
    own, prior = _density(z, loc, scale).sum(1), _density(z, z * 0, z * 0 + 1).sum(1)
    total, single = [], []
    for block in z.split(BLOCK):
        if joint and products:
            total.append(torch.logsumexp(_by_products(block, loc, scale), 1))
            continue
        each = _density(block[:, None], loc, scale)
        total.append(torch.logsumexp(each.sum(2), 1))
        if not joint:
            single.append(torch.logsumexp(each, 1))
    log_num = math.log(len(z))
    aggregate = torch.cat(total) - log_num
    found = {
        "average_kl": (own - prior).mean(),
        "mutual_information": (own - aggregate).mean(),
        "marginal_kl": (aggregate - prior).mean(),
    }
    if not joint:
        by_dimension = torch.cat(single) - log_num
        found["total_correlation"] = (aggregate - by_dimension.sum(1)).mean()
    return found


def decompose(points: int, latents: int, joint: bool, products: bool = False) -> Case:
    """Of all points."""
    inputs = operands(points, latents)
    return Case(lambda: terms(*inputs, joint=joint, products=products), float(points) ** 2)
