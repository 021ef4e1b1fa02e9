"""Distances by their definitions."""

import numpy as np
import scipy.linalg
from sklearn.metrics.pairwise import polynomial_kernel

from benchmarks.contract import Case
from benchmarks.families._shared.features import operands


def kernel(rows: int, features: int) -> Case:
    """From the three whole matrices."""
    real, fake = operands(rows, features)

    def off_diagonal(x):
        found = polynomial_kernel(x, x, degree=3, gamma=1 / features, coef0=1)
        return (found.sum() - np.trace(found)) / (rows * (rows - 1))

    def call():
        between = polynomial_kernel(real, fake, degree=3, gamma=1 / features, coef0=1)
        return off_diagonal(real) + off_diagonal(fake) - 2 * between.mean()

    return Case(call, 1)


def frechet(rows: int, features: int) -> Case:
    """With the square root of the product of both covariances."""
    real, fake = (x.astype(np.float64) for x in operands(rows, features))

    def call():
        shift = real.mean(0) - fake.mean(0)
        first, second = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
        root = scipy.linalg.sqrtm(first @ second)
        return shift @ shift + np.trace(first + second - 2 * np.real(root))

    return Case(call, 1)
