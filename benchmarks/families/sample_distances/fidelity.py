"""Distances by torch-fidelity."""

import torch
from torch_fidelity import metric_fid, metric_kid

from benchmarks.contract import Case
from benchmarks.families._shared.features import operands


def kernel(rows: int, features: int) -> Case:
    """With the cubic kernel, of one subset of all rows."""
    real, fake = map(torch.from_numpy, operands(rows, features))
    settings = {"kid_subsets": 1, "kid_subset_size": rows, "verbose": False}

    def call():
        found = metric_kid.kid_features_to_metric(real, fake, **settings)
        return found[metric_kid.KEY_METRIC_KID_MEAN]

    return Case(call, 1)


def frechet(rows: int, features: int) -> Case:
    """From the moments of both sets."""
    real, fake = map(torch.from_numpy, operands(rows, features))

    def call():
        moments = map(metric_fid.fid_features_to_statistics, (real, fake))
        return metric_fid.fid_statistics_to_metric(*moments, False)[metric_fid.KEY_METRIC_FID]

    return Case(call, 1)
